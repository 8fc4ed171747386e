package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"multirate/bench/suite"
)

const (
	comparedProblems  = 100
	survivedProblems  = 1000
	survivedGradients = 500
)

// randomBars are promises about problems that nobody has chosen.
func randomBars() []bar {
	return []bar{
		{"random problems, adaptive/sketch over L-BFGS 10, median", 1.25, "times", func(ctx context.Context, b *bench) (float64, string, error) {
			ratios, err := b.randomRatios(ctx)
			if err != nil {
				return math.NaN(), "", err
			}
			return ratios[len(ratios)/2], fmt.Sprintf("%.3g to %.3g over %d problems", ratios[0], ratios[len(ratios)-1], len(ratios)), nil
		}},
		{"random problems, adaptive/sketch above 10 times L-BFGS 10", 1, "per cent", func(ctx context.Context, b *bench) (float64, string, error) {
			ratios, err := b.randomRatios(ctx)
			above := 0
			for _, r := range ratios {
				if r > 10 {
					above++
				}
			}
			return 100 * float64(above) / float64(len(ratios)), fmt.Sprintf("%d of %d", above, len(ratios)), err
		}},
		diverged(sketches), diverged(withDiagonal),
		randomPeak(sketches), randomPeak(withDiagonal),
	}
}

// randomRatios are sorted; a problem that multirate does not solve counts as
// infinite, one that L-BFGS alone does not solve as 0.
func (b *bench) randomRatios(ctx context.Context) ([]float64, error) {
	var ratios []float64
	for seed := b.first; seed < b.first+comparedProblems; seed++ {
		mine, err := b.row(ctx, suite.Random(), seed, sketches)
		if err != nil {
			return nil, err
		}
		other, err := b.row(ctx, suite.Random(), seed, "L-BFGS 10")
		if err != nil {
			return nil, err
		}
		switch {
		case !mine.Reached:
			ratios = append(ratios, math.Inf(1))
		case !other.Reached:
			ratios = append(ratios, 0)
		default:
			ratios = append(ratios, float64(mine.Gradients)/float64(other.Gradients))
		}
	}
	slices.Sort(ratios)
	return ratios, nil
}

// survive runs a contender for a while on many random problems.
func (b *bench) survive(ctx context.Context, name string, see func(seed uint64, row suite.Row)) error {
	entry := suite.Random()
	entry.Budget = survivedGradients
	for seed := b.first; seed < b.first+survivedProblems; seed++ {
		row, err := b.row(ctx, entry, seed, name)
		if err != nil {
			return err
		}
		see(seed, row)
	}
	return nil
}

// diverged is the bar of runs that ended in an error or above their start.
func diverged(ours string) bar {
	name := fmt.Sprintf("%d random problems, %s, diverged", survivedProblems, strings.TrimPrefix(ours, "multirate/"))
	return bar{name, 0, "problems", func(ctx context.Context, b *bench) (float64, string, error) {
		count, note := 0.0, ""
		err := b.survive(ctx, ours, func(seed uint64, row suite.Row) {
			if (row.End != "target" && row.End != "budget") || !(row.Value <= 1) {
				count++
				note = fmt.Sprintf("seed %d: %s", seed, row.End)
			}
		})
		return count, note, err
	}}
}

func randomPeak(ours string) bar {
	name := fmt.Sprintf("%d random problems, %s, peak loss", survivedProblems, strings.TrimPrefix(ours, "multirate/"))
	return bar{name, 1.05, "times", func(ctx context.Context, b *bench) (float64, string, error) {
		worst, where, above := 0.0, uint64(0), 0
		err := b.survive(ctx, ours, func(seed uint64, row suite.Row) {
			if row.Peak > 1.05 {
				above++
			}
			if !(row.Peak <= worst) {
				worst, where = row.Peak, seed
			}
		})
		return worst, fmt.Sprintf("seed %d; %d above", where, above), err
	}}
}
