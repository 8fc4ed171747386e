package server

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "multirate/proto/multirate/v1"
	"multirate/scheduler"
)

// run is a live run. Its state may be replaced as a whole by RestoreRun.
type run struct {
	key runKey
	id  string // the key's

	mu sync.Mutex
	state
	deleted bool
	// life ends, with a cause, when the state is replaced or the run deleted;
	// calls that wait for the network hold on to it.
	life context.Context
	end  context.CancelCauseFunc
	// estimating is set while an EstimateSpectrum is under way.
	estimating bool
	watchers   map[*watcher]struct{}
	// left is why another replica has the run now; nil: none has, or nobody knows.
	left error
	// ledger keeps the run's history; nil in memory.
	ledger *ledger
	// queued belongs to [preparation] and its lock.
	queued bool
}

// state is all of a run that a snapshot holds.
type state struct {
	decl       *declaration
	controller *scheduler.Controller
	created    time.Time

	// answer is that of the latest step, nil before the first. Answers are
	// never written to once made, since they are sent without the lock.
	answer      *pb.GetLearningRateResponse
	fingerprint uint64
	// advised is the latest answer that the trainer was given: answer itself,
	// or an older one while steps at upcoming rates are only reported.
	advised *pb.GetLearningRateResponse
	// batch is the latest step's, if hasBatch.
	batch    uint64
	hasBatch bool
	// revision is that of the latest spectrum, and spectrumStep the latest step
	// when it was made, -1 before the first.
	revision, spectrumStep int64
}

func newRun(key runKey, s state) *run {
	r := &run{key: key, id: key.id, state: s}
	r.life, r.end = context.WithCancelCause(context.Background())
	return r
}

func newState(d *declaration, now time.Time) (state, error) {
	c, err := scheduler.NewController(d.config)
	if err != nil {
		return state{}, coreError(err)
	}
	return state{decl: d, controller: c, created: now, spectrumStep: -1}, nil
}

// latestStep is the latest step known, -1 before the first.
func (s *state) latestStep() int64 {
	if s.answer == nil {
		return -1
	}
	return s.answer.Step
}

// view is the run as clients see it. The caller holds the lock.
func (r *run) view() *pb.Run {
	v := proto.Clone(r.decl.run).(*pb.Run)
	v.RunId = r.id
	v.CreateTime = timestamppb.New(r.created)
	v.LatestStep = stepOrAbsent(r.latestStep())
	v.SpectrumRevision = r.revision
	return v
}

func stepOrAbsent(step int64) *int64 {
	if step < 0 {
		return nil
	}
	return &step
}

// lock takes the run's mutex for a call that found the run earlier.
func (r *run) lock() error {
	r.mu.Lock()
	err := r.usable()
	if err != nil {
		r.mu.Unlock()
	}
	return err
}

// usable reports why no call can go on with the run. The caller holds the lock.
func (r *run) usable() error {
	if r.deleted {
		return ended(r.id, errDeleted)
	}
	if r.left != nil {
		return ended(r.id, r.left)
	}
	if err := r.own(); err != nil {
		return err
	}
	return r.refresh()
}

// lockAlive is lock for a call that belongs to one life of the run.
func (r *run) lockAlive(life context.Context) error {
	r.mu.Lock()
	if life.Err() != nil {
		r.mu.Unlock()
		return ended(r.id, context.Cause(life))
	}
	err := r.usable()
	if err == nil && life.Err() != nil { // another replica has written meanwhile
		err = ended(r.id, context.Cause(life))
	}
	if err != nil {
		r.mu.Unlock()
	}
	return err
}

// advise answers a report, once the change is kept. The caller holds the lock.
func (r *run) advise(rep *report, now func() time.Time) (advice, error) {
	if err := r.makeRoom(); err != nil {
		return advice{}, err
	}
	a, err := r.state.advise(rep)
	if err != nil {
		return advice{}, err
	}
	if err := r.recordAdvice(now, rep, a); err != nil {
		return advice{}, journalError(r.id, err)
	}
	if a.handed && len(r.watchers) > 0 {
		r.publish(now(), &pb.WatchRunResponse{Event: &pb.WatchRunResponse_Step{Step: &pb.StepEvent{
			Advice:              r.answer,
			Loss:                rep.statistics.Loss,
			GradientNormSquared: rep.statistics.GetGradientNormSquared(),
		}}})
	}
	return a, nil
}

// advice is the answer to a report, and what the report changed.
type advice struct {
	answer *pb.GetLearningRateResponse
	// applied: the report was new, rather than a retry of the latest one.
	applied bool
	// handed: the trainer is given the answer for the first time.
	handed bool
}

// advise answers a report. An error leaves the state as it was.
func (s *state) advise(rep *report) (advice, error) {
	sketch, err := s.decl.validateReport(rep)
	if err != nil {
		return advice{}, err
	}
	seen := fingerprint(rep)
	if s.answer != nil && rep.step <= s.answer.Step {
		if rep.step < s.answer.Step || seen != s.fingerprint {
			return advice{}, s.alreadyAnswered(rep)
		}
		return advice{answer: s.answer, handed: s.hand(rep)}, nil
	}
	observation, err := s.observation(rep, sketch)
	if err != nil {
		return advice{}, err
	}
	decision, err := s.controller.Observe(observation)
	if err != nil {
		return advice{}, coreError(err)
	}
	s.answer, s.fingerprint = translate(rep.step, s.decl.groups, &decision), seen
	s.hasBatch, s.batch = rep.statistics.BatchId != nil, rep.statistics.GetBatchId()
	if decision.SpectrumRevision != s.revision {
		s.revision, s.spectrumStep = decision.SpectrumRevision, rep.step
	}
	return advice{answer: s.answer, applied: true, handed: s.hand(rep)}, nil
}

// hand notes that the trainer is given the latest answer, if it asked for it,
// and reports whether that is new.
func (s *state) hand(rep *report) bool {
	if !rep.asked || s.advised == s.answer {
		return false
	}
	s.advised = s.answer
	return true
}

func (s *state) alreadyAnswered(rep *report) error {
	latest := s.answer.Step
	if rep.step == latest {
		return refuseField(codes.FailedPrecondition, ReasonStepAnswered, "statistics",
			"differ from those that step %d was answered for: a step is answered once; go on with step %d, "+
				"or, back at a checkpoint, bring its snapshot back with RestoreRun first", latest, latest+1)
	}
	return refuseField(codes.FailedPrecondition, ReasonStepAnswered, "step",
		"is %d, but step %d was answered already: go on with step %d, "+
			"or, back at a checkpoint, bring its snapshot back with RestoreRun first", rep.step, latest, latest+1)
}

// observation translates a report that is later than every one before.
func (s *state) observation(rep *report, sketch []float32) (scheduler.Observation, error) {
	rate, err := s.appliedRate(rep)
	if err != nil {
		return scheduler.Observation{}, err
	}
	st := rep.statistics
	return scheduler.Observation{
		Step:                rep.step,
		Loss:                orNaN(st.Loss),
		GradientNormSquared: st.GetGradientNormSquared(),
		GradientDotPrevious: orNaN(st.GradientDotPrevious),
		ParameterNorm:       orNaN(st.ParameterNorm),
		Sketch:              sketch,
		Parts:               partSketches(st.GetSketches()),
		AppliedRate:         rate,
		SameBatch:           !s.decl.mini || st.BatchId != nil && s.hasBatch && s.batch == *st.BatchId,
	}, nil
}

// partSketches are those of the parts of the whole batch, in order, nil if there
// are none. Their numbers were validated.
func partSketches(sketches []*pb.Sketch) [][]float32 {
	var parts []*pb.Sketch
	for _, s := range sketches {
		if s.GetKind() == pb.SketchKind_SKETCH_KIND_BATCH_PART && s.ParamGroup == nil {
			parts = append(parts, s)
		}
	}
	slices.SortFunc(parts, func(a, b *pb.Sketch) int { return cmp.Compare(a.GetPart(), b.GetPart()) })
	var values [][]float32
	for _, p := range parts {
		values = append(values, p.GetValues())
	}
	return values
}

// appliedRate is the rate of the previous step, NaN for the advised one. After
// a step that was only reported, it is the upcoming rate that the trainer held
// for it, which need not be what the controller would have advised there.
func (s *state) appliedRate(rep *report) (float64, error) {
	if len(rep.applied) > 0 {
		return rep.applied[0], nil
	}
	if s.answer == nil || s.advised == s.answer {
		return math.NaN(), nil
	}
	previous, held := rep.step-1, int64(0)
	if s.advised != nil {
		held = int64(len(s.advised.Upcoming))
		if i := previous - s.advised.Step - 1; i < held {
			return s.advised.Upcoming[i].LearningRates[0], nil
		}
	}
	var v violations
	v.add(ReasonAppliedRateRequired, "applied_learning_rates",
		"is missing, and step %d went beyond the %d upcoming rates last given: send the rate that was applied at it", previous, held)
	return 0, v.err()
}

func orNaN(x *float64) float64 {
	if x == nil {
		return math.NaN()
	}
	return *x
}
