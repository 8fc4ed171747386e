package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"multirate/estimator"
	"multirate/examples/problems"
	"multirate/scheduler"
)

// planningBars are promises about the controller alone, on the planned path: a
// cycle from products, no sketches, no new spectrum.
func planningBars() []bar {
	return []bar{
		{"planned rate, median time", 5, "us", func(context.Context, *bench) (float64, string, error) {
			step, err := plannedSteps()
			if err != nil {
				return math.NaN(), "", err
			}
			times := make([]float64, 10_000)
			for i := range times {
				took, err := step()
				if err != nil {
					return math.NaN(), "", err
				}
				times[i] = float64(took.Nanoseconds()) / 1e3
			}
			slices.Sort(times)
			return times[len(times)/2], fmt.Sprintf("p99 %.3g us", times[len(times)*99/100]), nil
		}},
		{"planned rate, allocations", 0, "per call", func(context.Context, *bench) (float64, string, error) {
			step, err := plannedSteps()
			if err != nil {
				return math.NaN(), "", err
			}
			var failed error
			count := testing.AllocsPerRun(1000, func() {
				if _, err := step(); err != nil {
					failed = err
				}
			})
			return count, "mean over 1,000 calls", failed
		}},
		{"cycle of 1,000 rates ordered, median time", 20, "ms", func(context.Context, *bench) (float64, string, error) {
			cycle, scales, err := thousandRates()
			if err != nil {
				return math.NaN(), "", err
			}
			times := make([]float64, 21)
			for i := range times {
				began := time.Now()
				scheduler.Order(cycle, scales)
				times[i] = time.Since(began).Seconds() * 1e3
			}
			slices.Sort(times)
			return times[len(times)/2], fmt.Sprintf("%d rates for %d scales, peak %.3g", len(cycle.Rates), len(scales.Groups), scheduler.Peak(cycle, scales)), nil
		}},
	}
}

// plannedSteps is gradient descent at the controller's rates on a quadratic with
// a Chebyshev cycle; each call takes a step and returns what the rate took.
func plannedSteps() (func() (time.Duration, error), error) {
	p := problems.TwoScales(1)
	config := scheduler.Config{Policy: scheduler.PolicyChebyshev, HasLossBound: true}
	spectrum := estimator.Spectrum{Source: estimator.SourceLanczos, Dimension: int64(p.Dim())}
	lambda := p.Eigenvalues()
	slices.Sort(lambda)
	for _, l := range slices.Backward(lambda) {
		spectrum.Ritz = append(spectrum.Ritz, estimator.RitzValue{Value: l, Weight: 1 / float64(len(lambda))})
	}
	spectrum.Stiffest = lambda[len(lambda)-1]
	plan, err := scheduler.NewPlan(config, spectrum)
	if err != nil {
		return nil, err
	}
	c, err := scheduler.NewController(config)
	if err != nil {
		return nil, err
	}
	c.Adopt(plan)
	x, g := p.Start(), make([]float64, p.Dim())
	loss, square, number := 0.0, 0.0, int64(0)
	measure := func() {
		loss, square = p.Gradient(x, g), 0
		for _, v := range g {
			square += v * v
		}
	}
	measure()
	return func() (time.Duration, error) {
		began := time.Now()
		d, err := c.Observe(scheduler.Observation{
			Step: number, Loss: loss, GradientNormSquared: square, SameBatch: true,
			GradientDotPrevious: math.NaN(), ParameterNorm: math.NaN(), AppliedRate: math.NaN(),
		})
		took := time.Since(began)
		number++
		for i, v := range g {
			x[i] -= d.Rate * v
		}
		if measure(); loss < 1e-200 { // before all of it underflows
			copy(x, p.Start())
			measure()
		}
		return took, err
	}, nil
}

// thousandRates is a cycle for the four scales of the design, of as many rates
// from about a thousand as contract best.
func thousandRates() (scheduler.Cycle, estimator.Scales, error) {
	var scales estimator.Scales
	for _, lo := range []float64{1, 1e-2, 1e-4, 1e-6} {
		scales.Groups = append(scales.Groups, estimator.Scale{Lo: lo, Hi: 3 * lo})
	}
	scales.Confidence = []float64{1, 1, 1}
	cycle, err := scheduler.MinMax(scales, 1020)
	return cycle, scales, err
}
