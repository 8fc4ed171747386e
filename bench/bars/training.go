package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"multirate/bench/service"
	"multirate/bench/suite"
	multirate "multirate/clients/go"
	"multirate/examples/problems"
	"multirate/examples/trainer"
)

// bench is a server on a unix socket and a client of it.
type bench struct {
	client *multirate.Client
	seeds  int
	first  uint64
	stop   func() error
	done   map[string][]outcome // training runs that several bars share
	rows   map[string]suite.Row // and those of the suite
	dense  []dense              // matrices that two bars share
}

// outcome is one training run.
type outcome struct {
	gradients int
	reached   bool
	peak      float64
}

func newBench(ctx context.Context, seeds int, first uint64) (*bench, error) {
	client, stop, err := service.Start(ctx)
	if err != nil {
		return nil, err
	}
	return &bench{
		client: client, seeds: seeds, first: first, stop: stop,
		done: map[string][]outcome{}, rows: map[string]suite.Row{},
	}, nil
}

// task is a problem, by seed, with the loss to reach and how to train for it.
type task struct {
	key    string
	make   func(seed uint64) (problems.Problem, func(loss float64) bool)
	config trainer.Config
}

// train runs a task with every seed, once for all bars that ask for it.
func (b *bench) train(ctx context.Context, t task) ([]outcome, error) {
	if done, ok := b.done[t.key]; ok {
		return done, nil
	}
	var all []outcome
	for seed := b.first; seed < b.first+uint64(b.seeds); seed++ {
		p, target := t.make(seed)
		config := t.config
		config.Seed, config.Target = seed, target
		r, err := trainer.Train(ctx, b.client, p, config)
		if err != nil {
			return nil, err
		}
		all = append(all, outcome{r.Gradients, r.Reached, (r.Peak - p.LowerBound()) / (r.Start - p.LowerBound())})
	}
	b.done[t.key] = all
	return all, nil
}

// gradients is the bar of the median number of gradients, an unreached target
// counting as infinitely many.
func gradients(name string, limit float64, t task) bar {
	return bar{name, limit, "gradients", func(ctx context.Context, b *bench) (float64, string, error) {
		all, err := b.train(ctx, t)
		if err != nil {
			return math.NaN(), "", err
		}
		var counts []float64
		for _, o := range all {
			if o.reached {
				counts = append(counts, float64(o.gradients))
			} else {
				counts = append(counts, math.Inf(1))
			}
		}
		slices.Sort(counts)
		return counts[len(counts)/2], fmt.Sprintf("range %g to %g", counts[0], counts[len(counts)-1]), nil
	}}
}

// peak is the bar of the largest loss of any seed over its start.
func peak(name string, limit float64, t task) bar {
	return bar{name, limit, "times", func(ctx context.Context, b *bench) (float64, string, error) {
		all, err := b.train(ctx, t)
		worst := 0.0
		for _, o := range all {
			worst = max(worst, o.peak)
		}
		return worst, "worst seed", err
	}}
}
