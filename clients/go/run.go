package multirate

import (
	"context"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	multiratev1 "multirate/proto/multirate/v1"
)

// Run is one training process's view of its run. It belongs to one goroutine.
type Run struct {
	client   *Client
	declared *multiratev1.Run
	sketcher *Sketcher

	// step is the number of the step about to be taken.
	step int64
	// applied holds the declared rates of the previous step, nil for the
	// advised ones.
	applied []float64
	// unanswered: Rate failed at step; Applied may yet declare it taken.
	unanswered bool

	safe float64
	last Advice

	scalarsOnly bool

	asker    asker
	upcoming upcomingRates
}

// asker asks for the rate of one step.
type asker interface {
	ask(ctx context.Context, req *multiratev1.GetLearningRateRequest) (*multiratev1.GetLearningRateResponse, error)
	close()
}

// RunOption changes how a run talks to the service.
type RunOption func(*Run)

// OverStream asks over one bidirectional stream instead of a call for each
// step: about a third less latency. [Run.Close] ends it.
func OverStream() RunOption {
	return func(r *Run) { r.asker = &streamAsker{client: r.client, service: r.client.service} }
}

// WithUpcomingRates takes rates that the service gave in advance without a call
// while the loss stays within the limit that came with them. The statistics of those steps are reported
// together before the next call.
func WithUpcomingRates() RunOption {
	return func(r *Run) { r.upcoming.enabled = true }
}

// WithoutSketches sends the loss and norms alone. Where the run has a spectrum
// from products, the service then serves whole cycles, with rates in advance;
// where it has none, safe rates.
func WithoutSketches() RunOption {
	return func(r *Run) { r.scalarsOnly = true }
}

// NewRun declares a run. The same declaration under the same ID returns the
// same run, which goes on after its latest step.
func (c *Client) NewRun(ctx context.Context, config RunConfig, opts ...RunOption) (*Run, error) {
	resp, err := c.service.CreateRun(ctx, &multiratev1.CreateRunRequest{Run: config.declaration()})
	if err != nil {
		return nil, callError("CreateRun", err)
	}
	return c.open(resp.GetRun(), opts)
}

// open makes a Run of a declaration as registered.
func (c *Client) open(declared *multiratev1.Run, opts []RunOption) (*Run, error) {
	r := &Run{client: c, asker: &unaryAsker{service: c.service}}
	if err := r.adopt(declared); err != nil {
		return nil, err
	}
	for _, opt := range opts {
		opt(r)
	}
	return r, nil
}

// adopt puts r where the service says that the run stands.
func (r *Run) adopt(declared *multiratev1.Run) error {
	sketcher, err := NewSketcher(declared.GetDimension(),
		int(declared.GetSketch().GetDimension()), declared.GetSketch().GetSeed())
	if err != nil {
		return err
	}
	r.declared, r.sketcher = declared, sketcher
	r.step = 0
	if declared.LatestStep != nil {
		r.step = declared.GetLatestStep() + 1
	}
	r.applied, r.unanswered = nil, false
	r.safe, r.last = declared.GetFallbackLearningRate(), Advice{}
	r.upcoming.clear()
	return nil
}

// ID returns the run's id.
func (r *Run) ID() string { return r.declared.GetRunId() }

// Declaration returns the run as the service registered it, defaults filled in.
func (r *Run) Declaration() *Declaration { return proto.CloneOf(r.declared) }

// Sketcher returns the run's linear map, for trainers that sketch shards.
func (r *Run) Sketcher() *Sketcher { return r.sketcher }

// Step returns the number of the step that the next Rate will ask for.
func (r *Run) Step() int64 { return r.step }

// Rate returns the learning rate for the step from the current parameters,
// where the loss and the gradient g, of length D, were measured.
//
// Transient failures are retried. On any other the run stays at this step, and
// the advice returned beside the error holds [Run.SafeRate], with
// ReasonFallback. The trainer then either stops, or calls Rate again with the
// same measurements, or takes the step at the safe rate or one of its own and
// says so with [Run.Applied].
func (r *Run) Rate(ctx context.Context, loss float64, g []float64, opts ...StatisticsOption) (Advice, error) {
	return rate(ctx, r, loss, g, opts)
}

// Rate32 is [Run.Rate] for float32 gradients.
func (r *Run) Rate32(ctx context.Context, loss float64, g []float32, opts ...StatisticsOption) (Advice, error) {
	return rate(ctx, r, loss, g, opts)
}

func rate[T Float](ctx context.Context, r *Run, loss float64, g []T, opts []StatisticsOption) (Advice, error) {
	statistics, err := measure(r.sketcher.dimension, loss, g)
	if err != nil {
		return r.failed(err)
	}
	if !r.scalarsOnly {
		statistics.Sketches = []*multiratev1.Sketch{gradientSketch(r.sketcher, g)}
	}
	for _, opt := range opts {
		opt(statistics)
	}
	return r.Advise(ctx, statistics)
}

// Advise is [Run.Rate] for trainers that measure by themselves: ranks that add
// their sketches, say. The run keeps statistics; the caller must not change
// them afterwards.
func (r *Run) Advise(ctx context.Context, statistics *Statistics) (Advice, error) {
	request := &multiratev1.GetLearningRateRequest{
		RunId:                r.ID(),
		Step:                 r.step,
		Statistics:           statistics,
		AppliedLearningRates: r.applied,
	}
	if rates, ok := r.upcoming.take(request); ok {
		advice := r.last
		advice.Step, advice.Rates, advice.LearningRate, advice.Upcoming = r.step, rates, rates[0], true
		advice.PredictedChange = math.NaN()
		r.answered(advice)
		// The service can't know that this trainer held to the rate.
		r.applied = rates
		return advice, nil
	}
	if err := r.Flush(ctx); err != nil {
		return r.failed(err)
	}
	response, err := r.asker.ask(ctx, request)
	if err != nil {
		return r.failed(err)
	}
	advice, err := adviceOf(response)
	if err != nil {
		return r.failed(err)
	}
	r.upcoming.offer(response, statistics)
	r.answered(advice)
	return advice, nil
}

func (r *Run) answered(advice Advice) {
	r.last, r.safe = advice, advice.safeRate()
	r.step, r.applied, r.unanswered = r.step+1, nil, false
}

func (r *Run) failed(err error) (Advice, error) {
	r.unanswered = true
	rates := slices.Repeat([]float64{r.safe}, max(1, len(r.declared.GetParamGroups())))
	return Advice{
		Step: r.step, LearningRate: r.safe, Rates: rates,
		Reason: ReasonFallback, Scale: -1, PredictedChange: math.NaN(),
		Text: "no answer from the service; the last rate known to be safe",
	}, err
}

// SafeRate returns a rate that the last answer showed to be safe to repeat: the
// advised one or 1/L for the stiffest curvature L, whichever is less. Before
// any answer it is the declared fallback rate, or 0.
func (r *Run) SafeRate() float64 { return r.safe }

// Applied declares the rates that the trainer really applied at the step last
// asked for, one for all parameters or one for each param group, whenever they
// differ from the advised ones: 0 for a skipped step, the effective rate after
// clipping. After a Rate that failed it declares that the step was taken
// nevertheless.
func (r *Run) Applied(rates ...float64) error {
	groups := max(1, len(r.declared.GetParamGroups()))
	if len(rates) == 1 && groups > 1 {
		rates = slices.Repeat(rates, groups)
	}
	if err := checkRates(rates, groups); err != nil {
		return err
	}
	switch {
	case r.unanswered:
		r.step, r.unanswered = r.step+1, false
		r.upcoming.withdraw()
	case r.last.Rates == nil:
		return fmt.Errorf("multirate: run %s: Applied before any step", r.ID())
	case !slices.Equal(rates, r.last.Rates):
		r.upcoming.withdraw()
	}
	r.applied = slices.Clone(rates)
	return nil
}

// Close reports what is unreported and ends the run's stream. The run itself
// lives on in the service.
func (r *Run) Close(ctx context.Context) error {
	defer r.asker.close()
	return r.Flush(ctx)
}

type unaryAsker struct {
	service multiratev1.LearningRateServiceClient
}

func (u *unaryAsker) ask(ctx context.Context, req *multiratev1.GetLearningRateRequest) (*multiratev1.GetLearningRateResponse, error) {
	resp, err := u.service.GetLearningRate(ctx, req)
	return resp, callError("GetLearningRate", err)
}

func (u *unaryAsker) close() {}
