package main

import (
	multirate "multirate/clients/go"
	"multirate/examples/problems"
	"multirate/examples/trainer"
)

// quadraticBars are the five spectra of the design, to 1e-10 of the first loss.
// The limits are 1.3 times the table's figure for multirate gradient descent
// and 1.5 times the upper end of its ranges for the others.
func quadraticBars() []bar {
	var bars []bar
	for _, q := range []struct {
		name                    string
		make                    func(uint64) *problems.Quadratic
		mrgd, chebyshev, sketch float64
	}{
		{"three scales", problems.ThreeScales, 4848, 1072, 1082},
		{"two scales", problems.TwoScales, 3118, 540, 900},
		{"four scales", problems.FourScales, 10323, 2674, 5150},
		{"no gap", problems.NoGap, 46410, 922, 940},
		{"bulk and outliers", problems.BulkOutliers, 3373, 581, 600},
	} {
		build := func(seed uint64) (problems.Problem, func(float64) bool) {
			p := q.make(seed)
			return p, fraction(p, 1e-10)
		}
		add := func(road string, limit float64, config trainer.Config) {
			config.Budget = 100_000
			t := task{"quadratic " + q.name + ", " + road, build, config}
			bars = append(bars, gradients(t.key+": gradients to 1e-10", limit, t), peak(t.key+": peak loss", 1.05, t))
		}
		add("mrgd on Lanczos spectra", 1.3*q.mrgd, trainer.Config{Tier: trainer.TierVectors, Policy: multirate.PolicyMrGD})
		add("chebyshev on Lanczos spectra", 1.5*q.chebyshev, trainer.Config{Tier: trainer.TierVectors, Policy: multirate.PolicyChebyshev})
		add("sketches alone", 1.5*q.sketch, trainer.Config{})
	}
	return bars
}

// fraction is the target of a share of the first loss.
func fraction(p problems.Problem, share float64) func(float64) bool {
	first := p.Gradient(p.Start(), make([]float64, p.Dim()))
	return func(loss float64) bool { return loss <= share*first }
}

// excess is the target of a share of the first excess over the minimum.
func excess(p interface {
	problems.Problem
	problems.Minimum
}, share float64) func(float64) bool {
	first, least := p.Gradient(p.Start(), make([]float64, p.Dim())), p.Minimum()
	return func(loss float64) bool { return problems.Excess(loss, first, least) <= share }
}

// growthBound is the factor by which a run lets the loss grow by default.
const growthBound = 2

func lossBars() []bar {
	var bars []bar
	logistic := func(name string, build func(uint64) *problems.Logistic, share, limit, peakLimit float64, probes int) {
		t := task{name, func(seed uint64) (problems.Problem, func(float64) bool) {
			p := build(seed)
			return p, excess(p, share)
		}, trainer.Config{DiagonalProbes: probes}}
		bars = append(bars, gradients(name+": gradients", limit, t), peak(name+": peak loss", peakLimit, t))
	}
	table := func(load func() *problems.Logistic) func(uint64) *problems.Logistic {
		p := load()
		return func(uint64) *problems.Logistic { return p }
	}
	logistic("logistic 1/0.03/0.001, sketches alone, excess 1e-6", problems.GroupedLogistic3, 1e-6, 600, 1.3, 0)
	logistic("logistic 1/0.01, sketches alone, excess 1e-6", problems.GroupedLogistic2, 1e-6, 150, 1.3, 0)
	logistic("breast cancer, sketches alone, excess 1e-4", table(problems.BreastCancer), 1e-4, 5000, growthBound, 0)
	logistic("breast cancer, with the diagonal, excess 1e-4", table(problems.BreastCancer), 1e-4, 1000, growthBound, 5)
	logistic("wine, sketches alone, excess 1e-4", table(problems.Wine), 1e-4, 2500, growthBound, 0)
	logistic("wine, with the diagonal, excess 1e-4", table(problems.Wine), 1e-4, 450, growthBound, 5)
	network := task{"MNIST network, 1,000 digits, sketches alone, loss 1e-3", func(seed uint64) (problems.Problem, func(float64) bool) {
		return problems.MNISTNetwork(seed, 1000), func(loss float64) bool { return loss <= 1e-3 }
	}, trainer.Config{}}
	return append(bars, gradients(network.key+": gradients", 200, network), peak(network.key+": peak loss", growthBound, network))
}
