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

// scheduleFreeGrid is for Schedule-Free, which takes longer rates.
var scheduleFreeGrid = []float64{0.1, 0.2, 0.5, 1, 2, 3, 5, 10}

// point is where a step is to be taken from.
type point struct {
	step int
	// batch names the data of loss and gradient g, at parameters x.
	batch   uint64
	loss    float64
	x, g    []float64
	descent []float64 // the step is -rate times this
	// gradient is the same batch's at other parameters.
	gradient func(x, g []float64)
}

// source gives the rate of each step, and whether to hold the batch for the next.
type source interface {
	rate(ctx context.Context, p point) (rate float64, hold bool, err error)
}

// fixed is a rate, constant or falling over the steps like half a cosine.
type fixed struct {
	top    float64
	cosine bool
	steps  int
}

func (f fixed) rate(_ context.Context, p point) (float64, bool, error) {
	if !f.cosine {
		return f.top, false, nil
	}
	return f.top * (1 + math.Cos(math.Pi*float64(p.step)/float64(f.steps))) / 2, false, nil
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

func (a advised) rate(ctx context.Context, p point) (float64, bool, error) {
	advice, err := a.run.Rate(ctx, p.loss, p.g, multirate.OnBatch(p.batch))
	return advice.LearningRate, advice.HoldBatchSteps > 0, err
}

// train takes the setting's steps and returns the validation loss, +Inf after a
// divergence.
func (s setting) train(ctx context.Context, seed uint64, c candidate) (float64, error) {
	n, data := s.task.network, s.task.train
	x, g := n.start(seed), make([]float64, n.dim())
	rates, err := c.open(seed)
	if err != nil {
		return 0, err
	}
	update := c.update(s.rule, x)
	shuffle := rand.New(rand.NewPCG(seed, 12))
	var order, batch []int
	p := point{x: x, g: g, gradient: func(x, g []float64) { n.gradient(x, g, data, batch) }}
	for hold := false; p.step < s.steps; p.step++ {
		if !hold {
			if len(order) < s.batch {
				order = shuffle.Perm(len(data.labels))
			}
			batch, order = order[:s.batch], order[s.batch:]
			p.batch++
		}
		p.loss = n.gradient(x, g, data, batch)
		if math.IsNaN(p.loss) || math.IsInf(p.loss, 0) {
			return math.Inf(1), nil
		}
		p.descent = update.descent(g)
		var rate float64
		if rate, hold, err = rates.rate(ctx, p); err != nil {
			return 0, err
		}
		update.step(x, rate)
	}
	return n.judge(update.final(x), s.task.validation), nil
}

// judge is the loss over all of the data, +Inf where there is none.
func (n network) judge(x []float64, data samples) float64 {
	all := make([]int, len(data.labels))
	for i := range all {
		all[i] = i
	}
	if loss := n.gradient(x, nil, data, all); !math.IsNaN(loss) {
		return loss
	}
	return math.Inf(1)
}
