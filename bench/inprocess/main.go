// Command inprocess runs the closed loop on sketches in this process, without a
// service, over the families of the convergence benchmark: a quick look at what
// a change of the estimator or the controller does. For each family it prints
// the median of the gradients to the target, how many seeds failed, the largest
// peak of the loss, and the median of the time that the controller took for a step.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"time"

	"multirate/bench/suite"
	multirate "multirate/clients/go"
	"multirate/examples/problems"
	"multirate/scheduler"
)

func main() {
	only := flag.String("families", "three|four|two|gap|bulk|grouped|breast|wine|diabetes|digits-network", "regular expression of the families")
	seeds := flag.Int("seeds", 5, "seeds for each")
	first := flag.Uint64("first-seed", 1, "the first of them")
	d := flag.Int("dimension", 251, "length of the sketches")
	window := flag.Int("window", 32, "pairs kept")
	share := flag.Float64("share", 0, "target instead of the family's own")
	budget := flag.Int("budget", 20000, "most gradients")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "inprocess:", err)
		os.Exit(2)
	}
	logs, families := 0.0, 0
	for _, family := range suite.Families() {
		if !pattern.MatchString(family.Name) {
			continue
		}
		if *share > 0 {
			family.Goal.Value = *share
		}
		var counts []float64
		failed, peak := 0, 0.0
		var spent []float64
		for seed := *first; seed < *first+uint64(*seeds); seed++ {
			r, err := descend(family, seed, *budget, scheduler.Config{SketchDimension: *d, Window: *window})
			if err != nil {
				fmt.Fprintln(os.Stderr, "inprocess:", err)
				os.Exit(1)
			}
			counts = append(counts, float64(r.gradients))
			peak = max(peak, r.peak)
			spent = append(spent, r.spent...)
			if !r.reached {
				failed++
			}
		}
		m := median(counts)
		logs, families = logs+math.Log(m), families+1
		fmt.Printf("%-22s gradients %7.0f  failed %d of %d  peak %6.2f  controller %5.0f us/step\n",
			family.Name, m, failed, *seeds, peak, median(spent))
	}
	if families > 0 {
		fmt.Printf("%-22s gradients %7.0f\n", "geometric mean", math.Exp(logs/float64(families)))
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

type result struct {
	gradients int
	reached   bool
	peak      float64
	// spent are the microseconds that the controller took for each step.
	spent []float64
}

// descend trains one problem by gradient descent in float64, sketched to
// float32.
func descend(family problems.Entry, seed uint64, budget int, config scheduler.Config) (result, error) {
	var r result
	task, err := problems.NewTask(family, seed, 1)
	if err != nil {
		return r, err
	}
	p := task.Problem
	config.LossLowerBound, config.HasLossBound = p.LowerBound(), !math.IsInf(p.LowerBound(), 0) && !math.IsNaN(p.LowerBound())
	c, err := scheduler.NewController(config)
	if err != nil {
		return r, err
	}
	sketcher, err := multirate.NewSketcher(int64(p.Dim()), config.SketchDimension, seed)
	if err != nil {
		return r, err
	}
	x, g := p.Start(), make([]float64, p.Dim())
	sketch := make([]float32, sketcher.Buckets())
	for r.gradients < budget {
		loss := p.Gradient(x, g)
		r.gradients++
		r.peak = max(r.peak, (loss-p.LowerBound())/(task.First-p.LowerBound()))
		if r.reached = task.Value(loss) <= family.Goal.Value; r.reached {
			break
		}
		multirate.Sketch(sketcher, sketch, g)
		began := time.Now()
		d, err := c.Observe(scheduler.Observation{
			Step: int64(r.gradients), Loss: loss, GradientNormSquared: dot(g, g), GradientDotPrevious: math.NaN(),
			ParameterNorm: math.Sqrt(dot(x, x)), AppliedRate: math.NaN(), SameBatch: true, Sketch: sketch,
		})
		c.Prepare()
		r.spent = append(r.spent, float64(time.Since(began).Nanoseconds())/1e3)
		if err != nil {
			return r, fmt.Errorf("%s, seed %d, gradient %d: %w", family.Name, seed, r.gradients, err)
		}
		for i := range x {
			x[i] -= d.Rate * g[i]
		}
	}
	return r, nil
}

func dot(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}
