package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"

	"multirate/bench/suite"
	multirate "multirate/clients/go"
	"multirate/examples/problems"
	"multirate/scheduler"
)

// train is gradient descent at the controller's rates, as examples/trainer does it.
func (o options) train(ctx context.Context, j job) result {
	r := result{Family: j.family.Name, Seed: j.seed, Diagonal: j.diagonal, Gradients: math.Inf(1)}
	task, err := problems.NewTask(j.family, j.seed, 1)
	if err != nil {
		panic(err) // the suite's own families
	}
	p := task.Problem
	diagonal, err := multirate.NewDiagonal(slices.Repeat([]float64{1}, p.Dim()), 0)
	gradients := 0
	if j.diagonal && err == nil {
		diagonal, err = suite.Diagonal(p, suite.DiagonalProbes, j.seed)
		gradients = 2 * suite.DiagonalProbes
	}
	if err != nil {
		panic(err)
	}
	sketcher, err := multirate.NewSketcher(int64(p.Dim()), o.dimension, j.seed)
	if err != nil {
		panic(err)
	}
	c, err := scheduler.NewController(scheduler.Config{Policy: o.policy, Window: o.window, SketchDimension: o.dimension, HasLossBound: true, LossLowerBound: p.LowerBound()})
	if err != nil {
		panic(err)
	}
	x, g, z := p.Start(), make([]float64, p.Dim()), make([]float64, p.Dim())
	sketch := make([]float32, sketcher.Buckets())
	for gradients < task.Budget && ctx.Err() == nil {
		loss := p.Gradient(x, g)
		gradients++
		r.Peak = max(r.Peak, (loss-p.LowerBound())/(task.First-p.LowerBound()))
		if task.Reached(loss) {
			r.Gradients = float64(gradients)
			break
		}
		diagonal.Gradient(z, g)
		multirate.Sketch(sketcher, sketch, z)
		square := 0.0
		for _, v := range z {
			square += v * v
		}
		d, err := c.Observe(scheduler.Observation{
			Step: int64(r.Steps), Loss: loss, GradientNormSquared: square, GradientDotPrevious: math.NaN(),
			ParameterNorm: diagonal.Norm(x), Sketch: sketch, AppliedRate: math.NaN(), SameBatch: true,
		})
		if err != nil {
			break
		}
		c.Prepare()
		r.count(d)
		if o.trace {
			fmt.Fprintf(os.Stderr, "%4d %-10.4g |g| %-9.3g value %-9.3g rate %-9.3g %d/%d %d of %d reason %d guard %d predicted %-9.3g L %.3g\n", r.Steps, loss,
				math.Sqrt(square), task.Value(loss), d.Rate, d.CyclePosition, d.CycleLength, d.Scale, d.Scales, d.Reason, d.Guard, d.PredictedChange, d.Stiffest)
		}
		diagonal.Step(x, g, d.Rate)
	}
	return r
}

func (r *result) count(d scheduler.Decision) {
	r.Steps++
	switch d.Reason {
	case scheduler.ReasonDamping:
		r.Damped++
	case scheduler.ReasonRecovery:
		r.Recovered++
	case scheduler.ReasonWarmup:
		r.Warmup++
	}
	if d.Guard != scheduler.GuardNone && d.Guard != scheduler.GuardPredictedLoss {
		r.Cut++
	}
}
