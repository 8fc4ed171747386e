package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"multirate/bench/baseline"
	multirate "multirate/clients/go"
	"multirate/examples/problems"
	"multirate/examples/trainer"
)

// misled is a quadratic whose Hessian-vector products are another's.
type misled struct {
	problems.Problem
	other *problems.Quadratic
}

// HessianVector is that of the other.
func (p misled) HessianVector(x, v, hv []float64) { p.other.HessianVector(x, v, hv) }

// wrongSpectrumBars are promises that a wrong spectrum is not obeyed for long.
func wrongSpectrumBars() (bars []bar) {
	for _, policy := range []multirate.Policy{multirate.PolicyAdaptive, multirate.PolicyChebyshev, multirate.PolicyMrGD, multirate.PolicyConstant} {
		name := strings.ToLower(strings.TrimPrefix(policy.String(), "POLICY_"))
		bars = append(bars, bar{
			"wrong spectra, " + name + "/vectors over the safe constant rate", 2, "times",
			func(ctx context.Context, b *bench) (float64, string, error) { return b.wrongSpectra(ctx, policy) },
		})
	}
	return bars
}

// wrongSpectra trains on two scales with condition number 200 in all, told that
// either scale or both are 10 times stiffer or flatter than they are, or the
// spectrum of another problem. It returns the largest cost to 1e-6 of the start
// over that of the constant rate 1/L.
func (b *bench) wrongSpectra(ctx context.Context, policy multirate.Policy) (worst float64, where string, err error) {
	scales := func(flat, stiff float64) *problems.Quadratic {
		return problems.NewQuadratic("two scales", b.first,
			problems.Group{Low: 0.01 * flat, High: 0.02 * flat, Count: 20}, problems.Group{Low: stiff, High: 2 * stiff, Count: 20})
	}
	p := scales(1, 1)
	target := fraction(p, 1e-6)
	constant := baseline.GradientDescent().Run(p, baseline.Setting{Rate: 0.5}, target, 100_000)
	type lie struct {
		name  string
		other *problems.Quadratic
	}
	told := []lie{
		{"of a softer problem", problems.NewQuadratic("other", b.first, problems.Group{Low: 1e-5, High: 0.3, Count: 40})},
		{"of one half as stiff", problems.NewQuadratic("other", b.first, problems.Group{Low: 1e-5, High: 1, Count: 40})},
		{"of a stiffer problem", problems.NewQuadratic("other", b.first, problems.Group{Low: 1e-5, High: 10, Count: 40})},
	}
	factors := []float64{0.1, 1, 10}
	for _, flat := range factors {
		for _, stiff := range factors {
			told = append(told, lie{fmt.Sprintf("times %g and %g", flat, stiff), scales(flat, stiff)})
		}
	}
	beyond := 0
	for _, l := range told {
		r, err := trainer.Train(ctx, b.client, misled{p, l.other}, trainer.Config{
			Policy: policy, Tier: trainer.TierVectors, Seed: b.first, Target: target, Budget: 20 * constant.Gradients,
		})
		if ctx.Err() != nil {
			return math.NaN(), "", ctx.Err()
		}
		ratio := float64(r.Gradients) / float64(constant.Gradients)
		if err != nil || !r.Reached {
			ratio = math.Inf(1)
		}
		if ratio > 2 {
			beyond++
		}
		if !(ratio <= worst) {
			worst, where = ratio, l.name
		}
	}
	return worst, fmt.Sprintf("%s; %d of %d above 2; the constant rate takes %d", where, beyond, len(told), constant.Gradients), nil
}
