package server

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"multirate/estimator"
	journalv1 "multirate/proto/multirate/journal/v1"
	pb "multirate/proto/multirate/v1"
	"multirate/scheduler"
)

var (
	// errGap means that events are missing from a history.
	errGap = errors.New("events are missing")
	// errForeignEvent means that an event is not one of this version's.
	errForeignEvent = errors.New("event is of another version, or damaged")
)

// fold is a state and how many events it is made of. Folding the same events
// gives the same bits; it reads no clock and no disk.
type fold struct {
	state   state
	index   int64 // of the latest event
	deleted bool
	drifted int64 // answers that this version computes otherwise
}

// apply takes the next event in. An error leaves the fold where it was.
func (f *fold) apply(e *journalv1.Event) error {
	if e.GetIndex() != f.index+1 {
		return fmt.Errorf("%w: number %d follows number %d", errGap, e.GetIndex(), f.index)
	}
	if err := f.change(e); err != nil {
		return fmt.Errorf("event %d: %w", e.Index, err)
	}
	f.index = e.Index
	return nil
}

func (f *fold) change(e *journalv1.Event) (err error) {
	switch c := e.GetChange().(type) {
	case *journalv1.Event_Created:
		d, err := declare(c.Created.GetRun())
		if err != nil {
			return err
		}
		f.state, err = newState(d, e.GetTime().AsTime())
		return err
	case *journalv1.Event_Restored:
		f.state, err = decodeState(c.Restored.GetSnapshot())
		return err
	case *journalv1.Event_Deleted:
		f.deleted = true
		return nil
	}
	if f.state.controller == nil {
		return fmt.Errorf("%w: the run was not created before", errGap)
	}
	switch c := e.GetChange().(type) {
	case *journalv1.Event_Observed:
		return f.observe(c.Observed)
	case *journalv1.Event_Handed:
		f.state.advised = f.state.answer
		return nil
	case *journalv1.Event_Adopted:
		return f.state.adopt(c.Adopted.GetSpectrum())
	}
	return errForeignEvent
}

// observe takes a step. What the trainer was answered stands, whatever this
// version would have answered.
func (f *fold) observe(o *journalv1.ObservedEvent) error {
	rep := &report{step: o.GetStep(), statistics: o.GetStatistics(), applied: o.GetAppliedLearningRates(), asked: o.GetAsked()}
	a, err := f.state.advise(rep)
	if err != nil {
		return err
	}
	if !a.applied || len(o.GetAnswer().GetRates()) != len(a.answer.Rates) {
		return errForeignEvent
	}
	if !proto.Equal(a.answer, o.Answer) {
		f.drifted++
		f.state.answer = o.Answer
		if a.handed {
			f.state.advised = o.Answer
		}
	}
	return nil
}

// adopt takes a spectrum over that was adopted before.
func (s *state) adopt(m *pb.Spectrum) error {
	plan, err := scheduler.NewPlan(s.controller.Config(), spectrumOf(m, s.decl.run.Dimension))
	if err != nil {
		return err
	}
	s.take(plan)
	return nil
}

// take hands the controller a plan.
func (s *state) take(plan scheduler.Plan) {
	s.controller.Adopt(plan)
	_, s.revision = s.controller.Spectrum()
	s.spectrumStep = s.latestStep()
}

// spectrumOf is the inverse of spectrumMessage.
func spectrumOf(m *pb.Spectrum, dimension int64) estimator.Spectrum {
	s := estimator.Spectrum{
		Residual: m.GetResidual(), Stiffest: m.GetStiffestCurvature(),
		Dimension: dimension, Products: int(m.GetProducts()),
	}
	for source, message := range sources {
		if message == m.GetSource() {
			s.Source = source
		}
	}
	for _, v := range m.GetRitzValues() {
		s.Ritz = append(s.Ritz, estimator.RitzValue{Value: v.GetValue(), Weight: v.GetWeight(), Bound: v.GetBound(), Probe: int(v.GetProbe())})
	}
	return s
}
