package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	multirate "multirate/clients/go"
	"multirate/examples/problems"
)

// Train minimises p from its start by gradient descent at the rates that the
// service behind client advises, until the target is met, the budget is spent
// or ctx ends. An error comes with the result so far.
func Train(ctx context.Context, client *multirate.Client, p problems.Problem, config Config) (Result, error) {
	t := newTraining(p, config)
	if err := t.precondition(); err != nil {
		return t.result, err
	}
	run, err := client.NewRun(ctx, multirate.RunConfig{
		ID:             config.ID,
		Dimension:      int64(p.Dim()),
		Policy:         config.Policy,
		SketchSeed:     config.Seed,
		LossLowerBound: multirate.Known(p.LowerBound()),
	}, t.runOptions()...)
	if err != nil {
		return t.result, err
	}
	t.result.RunID = run.ID()
	if err = t.loop(ctx, run); err != nil {
		err = fmt.Errorf("step %d of %s: %w", t.result.Steps, p.Name(), err)
	}
	return t.result, errors.Join(err, run.Close(ctx))
}

// loop is gradient descent in z = x/s, s the diagonal's scale: without a
// diagonal x itself.
func (t *training) loop(ctx context.Context, run *multirate.Run) error {
	x, g, z := t.x, t.g, t.scaled
	for t.measure() {
		if err := t.estimate(ctx, run); err != nil {
			return err
		}
		t.diagonal.Gradient(z, g)
		advice, err := run.Rate(ctx, t.result.Loss, z, t.statistics()...)
		if err != nil {
			return err
		}
		t.diagonal.Step(x, g, advice.LearningRate)
		t.stepped(run, advice)
	}
	return nil
}

// training is the state of one Train.
type training struct {
	problem  problems.Problem
	config   Config
	result   Result
	diagonal *multirate.Diagonal

	// x, g and scaled are the parameters, the gradient and the gradient in z;
	// previous is the scaled gradient of the step before, for TierScalars.
	x, g, scaled, previous []float64

	// wanted: the service wished for an estimate. estimated is the step of the
	// last one, pause the least number of steps to the next.
	wanted           bool
	estimated, pause int
}

func newTraining(p problems.Problem, config Config) *training {
	if config.Budget == 0 {
		config.Budget = DefaultBudget
	}
	t := &training{problem: p, config: config, x: p.Start()}
	t.g, t.scaled = make([]float64, p.Dim()), make([]float64, p.Dim())
	t.result = Result{Parameters: t.x, Start: math.NaN(), Loss: math.NaN(), Peak: math.Inf(-1)}
	t.wanted = config.Tier == TierVectors
	return t
}

// runOptions says how to talk to the service: over one stream, since the steps
// of small problems are shorter than a call.
func (t *training) runOptions() []multirate.RunOption {
	options := []multirate.RunOption{multirate.OverStream()}
	if t.config.Tier != TierSketch {
		options = append(options, multirate.WithoutSketches())
	}
	return options
}

// measure takes loss and gradient, and says whether to go on.
func (t *training) measure() bool {
	r := &t.result
	r.Loss = t.problem.Gradient(t.x, t.g)
	r.Gradients++
	if r.Steps == 0 {
		r.Start = r.Loss
	}
	r.Peak = max(r.Peak, r.Loss)
	r.Reached = t.config.Target != nil && t.config.Target(r.Loss)
	return !r.Reached && r.Gradients < t.config.Budget
}

// statistics adds what the service is told beside the loss and the gradient.
func (t *training) statistics() []multirate.StatisticsOption {
	options := []multirate.StatisticsOption{multirate.AtParameterNorm(t.diagonal.Norm(t.x))}
	if t.config.Tier != TierScalars {
		return options
	}
	if t.previous != nil {
		product := 0.0
		for i, v := range t.scaled {
			product += v * t.previous[i]
		}
		options = append(options, multirate.DotPrevious(product))
	}
	t.previous = append(t.previous[:0], t.scaled...)
	return options
}

func (t *training) stepped(run *multirate.Run, advice multirate.Advice) {
	t.wanted = advice.EstimateWanted
	t.result.Steps++
	if t.config.OnStep != nil {
		t.config.OnStep(Step{Advice: advice, Loss: t.result.Loss, Gradients: t.result.Gradients, Run: run})
	}
}

// precondition scales the variables by an estimate of the Hessian's diagonal at
// the start, or by ones.
func (t *training) precondition() (err error) {
	diagonal := slices.Repeat([]float64{1}, len(t.x))
	if probes := t.config.DiagonalProbes; probes > 0 {
		diagonal, err = multirate.HutchinsonMagnitude(t.product(), len(t.x), probes, t.config.Seed)
		if err != nil {
			return err
		}
	}
	t.diagonal, err = multirate.NewDiagonal(diagonal, 0)
	t.result.Diagonal = t.diagonal
	return err
}

// estimate lets the service run Lanczos on products at the present parameters,
// if it wished so and the last time is long enough ago. A spectrum that nothing
// can be planned from costs its products; training goes on without it.
func (t *training) estimate(ctx context.Context, run *multirate.Run) error {
	r := &t.result
	if t.config.Tier != TierVectors || !t.wanted || r.Steps < t.estimated+t.pause {
		return nil
	}
	before := r.Gradients
	_, err := run.EstimateSpectrum(ctx, t.diagonal.HessianVector(t.product()), multirate.EstimateOptions{Seed: t.config.Seed})
	if err != nil && multirate.ReasonOf(err) != "SPECTRUM_UNUSABLE" {
		return err
	}
	t.estimated, t.pause = r.Steps, t.config.EstimateEvery
	if t.pause == 0 {
		t.pause = r.Gradients - before
	}
	return nil
}

// product is the Hessian-vector product at the present parameters, exact where
// the problem has one, and counted.
func (t *training) product() multirate.HessianVectorProduct[float64] {
	difference := multirate.FiniteDifference{Gradient: func(x, g []float64) { t.problem.Gradient(x, g) }}
	product := difference.HessianVector
	if exact, ok := t.problem.(problems.HessianVector); ok {
		product = exact.HessianVector
	}
	return func(v, hv []float64) error {
		product(t.x, v, hv)
		t.result.Products++
		t.result.Gradients += gradientsPerProduct
		return nil
	}
}
