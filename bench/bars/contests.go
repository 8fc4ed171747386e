package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"multirate/bench/suite"
	"multirate/examples/problems"
)

// Names of contenders that bars compare.
const (
	sketches     = "multirate/adaptive/sketch"
	withDiagonal = "multirate/adaptive/sketch+diagonal"
	lanczos      = "multirate/chebyshev/vectors"
)

// contestBars are promises about what multirate takes over what others take.
func contestBars() []bar {
	against := func(limit float64, families []string, ours string, theirs ...string) (bars []bar) {
		for _, family := range families {
			bars = append(bars, share(family, limit, ours, theirs...))
		}
		return bars
	}
	gapped := []string{"three-scales", "two-scales", "four-scales", "bulk"}
	grouped := []string{"grouped3", "grouped2", "softmax-grouped"}
	tables := []string{"breast-cancer", "wine", "digits", "diabetes"}
	lbfgs := []string{"L-BFGS 10", "L-BFGS 20"}
	return slices.Concat(
		against(1.15, gapped, lanczos, "min-max (limit)"),
		against(1.5, gapped, sketches, "min-max (limit)"),
		against(0.1, gapped[:3], sketches, "Nesterov", "Nesterov with restart"),
		against(0.7, []string{"no-gap"}, sketches, "Nesterov", "Nesterov with restart"),
		against(0.25, grouped, sketches, "Adam"),
		against(1, grouped, sketches, lbfgs...),
		against(0.5, grouped, withDiagonal, lbfgs...),
		against(0.25, []string{"loguniform"}, withDiagonal, "Adam"),
		against(1.5, []string{"rotated-loguniform"}, sketches, lbfgs...),
		against(1, tables, sketches, "L-BFGS 10"),
		against(1, tables, withDiagonal, "L-BFGS 20"),
		against(1, []string{"mnist"}, sketches, "Nesterov", "Nesterov with restart"),
		against(0.6, []string{"mnist"}, sketches, "Adam"),
		[]bar{peakOfAll(sketches), peakOfAll(withDiagonal)},
	)
}

// costlySeeds bounds the seeds of families whose grids take minutes for each.
var costlySeeds = map[string]int{"mnist": 1, "softmax-grouped": 1}

// share is the bar of the median over the seeds of what ours takes over what
// the best of theirs takes.
func share(family string, limit float64, ours string, theirs ...string) bar {
	name := fmt.Sprintf("%s, %s over %s", family, strings.TrimPrefix(ours, "multirate/"), theirs[0])
	return bar{name, limit, "times", func(ctx context.Context, b *bench) (float64, string, error) {
		entry, err := familyNamed(family)
		if err != nil {
			return math.NaN(), "", err
		}
		seeds := b.seeds
		if few, ok := costlySeeds[family]; ok {
			seeds = min(seeds, few)
		}
		var ratios []float64
		note := ""
		for seed := b.first; seed < b.first+uint64(seeds); seed++ {
			ratio, setting, err := b.ratio(ctx, entry, seed, limit, ours, theirs)
			if err != nil {
				return math.NaN(), "", err
			}
			ratios = append(ratios, ratio)
			note = setting
		}
		slices.Sort(ratios)
		return ratios[len(ratios)/2], fmt.Sprintf("%.3g to %.3g over %d seeds; %s", ratios[0], ratios[len(ratios)-1], seeds, note), nil
	}}
}

// ratio is what ours takes over what the best of theirs takes, on one problem.
// Theirs get little more than the gradients that decide whether the limit is met;
// where they do not get there, the ratio is an upper bound.
func (b *bench) ratio(ctx context.Context, entry problems.Entry, seed uint64, limit float64, ours string, theirs []string) (float64, string, error) {
	mine, err := b.row(ctx, entry, seed, ours)
	if err != nil || !mine.Reached {
		return math.Inf(1), "not reached", err
	}
	best, setting := math.Inf(1), ""
	entry.Budget = int(1.25 * float64(mine.Gradients) / limit)
	for _, name := range theirs {
		row, err := b.row(ctx, entry, seed, name)
		if err != nil {
			return math.NaN(), "", err
		}
		taken, more := float64(row.Gradients), ""
		if !row.Reached {
			taken, more = float64(entry.Budget), "more than "
		}
		if taken < best {
			best = taken
			setting = fmt.Sprintf("last: %d over %s%g (%s)", mine.Gradients, more, taken, strings.TrimSpace(name+" "+row.Setting))
		}
	}
	return float64(mine.Gradients) / best, setting, nil
}

// row measures a contender on a problem, once for all bars that ask for it with
// the same budget.
func (b *bench) row(ctx context.Context, entry problems.Entry, seed uint64, name string) (suite.Row, error) {
	key := fmt.Sprintln(entry.Name, seed, entry.Budget, name)
	if row, ok := b.rows[key]; ok {
		return row, nil
	}
	task, err := problems.NewTask(entry, seed, 1)
	if err != nil {
		return suite.Row{}, err
	}
	for _, c := range suite.Contenders() {
		if c.Name == name {
			row, err := c.Measure(ctx, b.client, task, seed)
			b.rows[key] = row
			return row, err
		}
	}
	return suite.Row{}, fmt.Errorf("no contender is named %q", name)
}

func familyNamed(name string) (problems.Entry, error) {
	for _, e := range suite.Families() {
		if e.Name == name {
			return e, nil
		}
	}
	return problems.Entry{}, fmt.Errorf("no family is named %q", name)
}

// peakSeeds bounds the seeds of a bar that trains on every family.
const peakSeeds = 3

// peakOfAll is the largest loss over its start on every full-batch family.
func peakOfAll(ours string) bar {
	return bar{"peak loss on every family, " + strings.TrimPrefix(ours, "multirate/"), 1.05, "times", func(ctx context.Context, b *bench) (float64, string, error) {
		worst, where := 0.0, ""
		for _, entry := range suite.Families() {
			seeds := min(b.seeds, peakSeeds)
			if entry.Name == "random" {
				continue // has a bar of its own
			}
			if !entry.Sized {
				seeds = 1
			}
			for seed := b.first; seed < b.first+uint64(seeds); seed++ {
				row, err := b.row(ctx, entry, seed, ours)
				if err != nil {
					return math.NaN(), "", err
				}
				if row.Peak > worst || math.IsNaN(row.Peak) {
					worst, where = row.Peak, fmt.Sprintf("%s, seed %d", entry.Name, seed)
				}
			}
		}
		return worst, where, nil
	}}
}
