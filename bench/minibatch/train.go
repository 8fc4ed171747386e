package main

import (
	"context"
	"math"
	"math/rand/v2"

	multirate "multirate/clients/go"
)

// rule is what is done with gradient and rate, as in torch.optim.SGD.
type rule struct {
	name     string
	wire     multirate.UpdateRule
	momentum float64
}

var rules = []rule{
	{"plain", multirate.RuleGradientDescent, 0},
	{"Nesterov 0.9", multirate.RuleNesterov, 0.9},
}

// grid is the rates that a tuned schedule may choose from.
func (r rule) grid() []float64 {
	if r.momentum > 0 {
		return []float64{0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1}
	}
	return []float64{0.05, 0.1, 0.2, 0.5, 1, 1.5, 2, 3}
}

// source gives the rate of each step, and whether to hold the batch for the next.
type source interface {
	rate(ctx context.Context, step int, batch uint64, loss float64, g []float64) (rate float64, hold bool, err error)
}

// fixed is a rate, constant or falling over the steps like half a cosine.
type fixed struct {
	top    float64
	cosine bool
	steps  int
}

func (f fixed) rate(_ context.Context, step int, _ uint64, _ float64, _ []float64) (float64, bool, error) {
	if !f.cosine {
		return f.top, false, nil
	}
	return f.top * (1 + math.Cos(math.Pi*float64(step)/float64(f.steps))) / 2, false, nil
}

// ownRate is what the trainer would use if the service knew nothing.
const ownRate = 0.1

// advised asks the service.
type advised struct{ run *multirate.Run }

func newAdvised(ctx context.Context, client *multirate.Client, s setting, seed uint64) (advised, error) {
	run, err := client.NewRun(ctx, multirate.RunConfig{
		Dimension: int64(s.task.network.dim()), Batch: multirate.BatchMini, SketchSeed: seed,
		UpdateRule: s.rule.wire, Momentum: s.rule.momentum,
		LossLowerBound: multirate.Known(0), HorizonSteps: int64(s.steps), FallbackLearningRate: ownRate,
	})
	return advised{run}, err
}

func (a advised) rate(ctx context.Context, _ int, batch uint64, loss float64, g []float64) (float64, bool, error) {
	advice, err := a.run.Rate(ctx, loss, g, multirate.OnBatch(batch))
	return advice.LearningRate, advice.HoldBatchSteps > 0, err
}

// train takes the setting's steps and returns the validation loss, +Inf after a
// divergence.
func (s setting) train(ctx context.Context, seed uint64, rates source) (float64, error) {
	n, data, mu := s.task.network, s.task.train, s.rule.momentum
	x, g, v := n.start(seed), make([]float64, n.dim()), make([]float64, n.dim())
	shuffle := rand.New(rand.NewPCG(seed, 12))
	var order, batch []int
	hold := false
	for step, id := 0, uint64(0); step < s.steps; step++ {
		if !hold {
			if len(order) < s.batch {
				order = shuffle.Perm(len(data.labels))
			}
			batch, order = order[:s.batch], order[s.batch:]
			id++
		}
		loss := n.gradient(x, g, data, batch)
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return math.Inf(1), nil
		}
		rate, held, err := rates.rate(ctx, step, id, loss, g)
		if err != nil {
			return 0, err
		}
		hold = held
		for i, gi := range g {
			v[i] = mu*v[i] + gi
			if u := v[i]; mu > 0 {
				x[i] -= rate * (gi + mu*u)
			} else {
				x[i] -= rate * u
			}
		}
	}
	all := make([]int, len(s.task.validation.labels))
	for i := range all {
		all[i] = i
	}
	loss := n.gradient(x, nil, s.task.validation, all)
	if math.IsNaN(loss) {
		loss = math.Inf(1)
	}
	return loss, nil
}
