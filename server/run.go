package server

import (
	"context"
	"math"
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
	id string

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

func newRun(id string, s state) *run {
	r := &run{id: id, state: s}
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
	if r.deleted {
		r.mu.Unlock()
		return ended(r.id, errDeleted)
	}
	return nil
}

// lockAlive is lock for a call that belongs to one life of the run.
func (r *run) lockAlive(life context.Context) error {
	r.mu.Lock()
	if life.Err() != nil {
		r.mu.Unlock()
		return ended(r.id, context.Cause(life))
	}
	return nil
}

// advise answers a report. applied tells whether it was new, rather than a
// retry of the latest one. The caller holds the lock.
func (r *run) advise(rep *report, now func() time.Time) (answer *pb.GetLearningRateResponse, applied bool, err error) {
	sketch, err := r.decl.validateReport(rep)
	if err != nil {
		return nil, false, err
	}
	seen := fingerprint(rep)
	if r.answer != nil && rep.step <= r.answer.Step {
		if rep.step < r.answer.Step || seen != r.fingerprint {
			return nil, false, r.alreadyAnswered(rep)
		}
		r.hand(rep, now)
		return r.answer, false, nil
	}
	observation, err := r.observation(rep, sketch)
	if err != nil {
		return nil, false, err
	}
	decision, err := r.controller.Observe(observation)
	if err != nil {
		return nil, false, coreError(err)
	}
	r.answer, r.fingerprint = translate(rep.step, r.decl.groups, &decision), seen
	r.hasBatch, r.batch = rep.statistics.BatchId != nil, rep.statistics.GetBatchId()
	if decision.SpectrumRevision != r.revision {
		r.revision, r.spectrumStep = decision.SpectrumRevision, rep.step
	}
	r.hand(rep, now)
	return r.answer, true, nil
}

// hand notes that the trainer is given the latest answer, if it asked for it.
func (r *run) hand(rep *report, now func() time.Time) {
	if !rep.asked || r.advised == r.answer {
		return
	}
	r.advised = r.answer
	if len(r.watchers) > 0 {
		r.publish(now(), &pb.WatchRunResponse{Event: &pb.WatchRunResponse_Step{Step: &pb.StepEvent{
			Advice:              r.answer,
			Loss:                rep.statistics.Loss,
			GradientNormSquared: rep.statistics.GetGradientNormSquared(),
		}}})
	}
}

func (r *run) alreadyAnswered(rep *report) error {
	latest := r.answer.Step
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
func (r *run) observation(rep *report, sketch []float32) (scheduler.Observation, error) {
	rate, err := r.appliedRate(rep)
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
		AppliedRate:         rate,
		SameBatch:           !r.decl.mini || st.BatchId != nil && r.hasBatch && r.batch == *st.BatchId,
	}, nil
}

// appliedRate is the rate of the previous step, NaN for the advised one. After
// a step that was only reported, it is the upcoming rate that the trainer held
// for it, which need not be what the controller would have advised there.
func (r *run) appliedRate(rep *report) (float64, error) {
	if len(rep.applied) > 0 {
		return rep.applied[0], nil
	}
	if r.answer == nil || r.advised == r.answer {
		return math.NaN(), nil
	}
	previous, held := rep.step-1, int64(0)
	if r.advised != nil {
		held = int64(len(r.advised.Upcoming))
		if i := previous - r.advised.Step - 1; i < held {
			return r.advised.Upcoming[i].LearningRates[0], nil
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
