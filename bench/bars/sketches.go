package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gonum.org/v1/gonum/mat"

	multirate "multirate/clients/go"
	"multirate/estimator"
	"multirate/examples/problems"
	"multirate/scheduler"
)

// sketchBars are promises about spectra from sketches alone: no product is
// spent, since there is none to be had in these loops.
func sketchBars() []bar {
	return []bar{
		{"sketches, d = 251, m = 16: a step of the estimator, median", 80, "us", func(context.Context, *bench) (float64, string, error) {
			return stepTime(16)
		}},
		{"sketches, d = 251, m = 32: a step of the estimator, median", 150, "us", func(context.Context, *bench) (float64, string, error) {
			return stepTime(32)
		}},
		{"sketches, quadratics: converged Ritz values off exact ones", 0.02, "relative", convergedRitz},
		{"sketches, quadratics: Ritz values over the true maximum", 1.5, "times", func(ctx context.Context, b *bench) (float64, string, error) {
			return steepest(ctx, b, 500, randomQuadratic)
		}},
		{"sketches, logistic: Ritz values over the true maximum", 1.5, "times", func(ctx context.Context, b *bench) (float64, string, error) {
			return steepest(ctx, b, 500, randomLogistic)
		}},
		structured("one column of an embedding, width 256", func(i int) bool { return i%256 == 17 }),
		structured("one filter of 576", func(i int) bool { return i/576 == 41 }),
		structured("block-sparse, 8 blocks of 64", func(i int) bool { return i/64%97 == 3 && i/64/97 < 8 }),
		structured("a stride of d", func(i int) bool { return i%251 == 17 }),
	}
}

// descent is gradient descent at a controller's rates on sketches of the
// gradients.
type descent struct {
	problem    problems.Problem
	controller *scheduler.Controller
	sketcher   *multirate.Sketcher
	x, g       []float64
	sketch     []float32
	step       int64
	rate, loss float64 // rate led to x
	square     float64 // |g|^2, at the start first
	first      float64
}

func newDescent(p problems.Problem, seed uint64, config scheduler.Config) (*descent, error) {
	config.LossLowerBound, config.HasLossBound = p.LowerBound(), true
	c, err := scheduler.NewController(config)
	if err != nil {
		return nil, err
	}
	s, err := multirate.NewSketcher(int64(p.Dim()), c.Config().SketchDimension, seed)
	if err != nil {
		return nil, err
	}
	return &descent{
		problem: p, controller: c, sketcher: s, x: p.Start(),
		g: make([]float64, p.Dim()), sketch: make([]float32, s.Buckets()),
	}, nil
}

// measure takes the gradient at x and its sketch, and says whether the gradient
// is still far from the rounding of its own terms.
func (d *descent) measure() bool {
	d.loss, d.square = d.problem.Gradient(d.x, d.g), 0
	for _, v := range d.g {
		d.square += v * v
	}
	if d.step == 0 {
		d.first = d.square
	}
	multirate.Sketch(d.sketcher, d.sketch, d.g)
	return d.square > 1e-18*d.first
}

func (d *descent) advance() error {
	decision, err := d.controller.Observe(scheduler.Observation{
		Step: d.step, Loss: d.loss, GradientNormSquared: d.square, SameBatch: true, Sketch: d.sketch,
		GradientDotPrevious: math.NaN(), ParameterNorm: math.NaN(), AppliedRate: math.NaN(),
	})
	if err != nil {
		return err
	}
	d.rate = decision.Rate
	for i, v := range d.g {
		d.x[i] -= d.rate * v
	}
	d.step++
	return nil
}

// stepTime replays the sketches of three descents to a window.
func stepTime(pairs int) (float64, string, error) {
	var all, answer []float64
	for _, p := range []problems.Problem{problems.ThreeScales(1), problems.NoGap(1), problems.GroupedLogistic3(1)} {
		d, err := newDescent(p, 1, scheduler.Config{Window: pairs})
		if err != nil {
			return math.NaN(), "", err
		}
		w := estimator.NewWindow(pairs, len(d.sketch))
		for range 400 {
			d.measure()
			began := time.Now()
			w.Prepare()
			prepared := time.Now()
			w.Push(d.sketch, d.rate)
			w.Solve()
			done := time.Now()
			all = append(all, float64(done.Sub(began).Nanoseconds())/1e3)
			answer = append(answer, float64(done.Sub(prepared).Nanoseconds())/1e3)
			if err := d.advance(); err != nil {
				return math.NaN(), "", err
			}
		}
	}
	slices.Sort(all)
	slices.Sort(answer)
	return all[len(all)/2], fmt.Sprintf("p90 %.3g us; what an answer waits for %.3g us, p90 %.3g us",
		all[len(all)*9/10], answer[len(answer)/2], answer[len(answer)*9/10]), nil
}

// randomQuadratic draws one to four scales over at most eight decades.
func randomQuadratic(seed uint64) problems.Problem {
	r := rand.New(rand.NewPCG(seed, 61))
	var groups []problems.Group
	top := 1.0
	for range 1 + r.IntN(4) {
		low := top / (1 + 9*r.Float64())
		groups = append(groups, problems.Group{Low: low, High: top, Count: 2 + r.IntN(600)})
		top = low * math.Pow(10, -1-r.Float64())
	}
	return problems.NewQuadratic("random quadratic", seed, groups...)
}

// randomLogistic draws feature scales over at most three decades.
func randomLogistic(seed uint64) problems.Problem {
	r := rand.New(rand.NewPCG(seed, 62))
	scales := make([]float64, 5+r.IntN(26))
	decades := 3 * r.Float64()
	for i := range scales {
		scales[i] = math.Pow(10, -decades*r.Float64())
	}
	return problems.NewScaledLogistic("random logistic", seed, 20*len(scales), scales...)
}

// stiffest is the largest eigenvalue of the Hessian at x.
func stiffest(p problems.Problem, x []float64) float64 {
	if q, ok := p.(*problems.Quadratic); ok {
		return slices.Max(q.Eigenvalues())
	}
	n, product := p.Dim(), p.(problems.HessianVector)
	h, unit, column := mat.NewSymDense(n, nil), make([]float64, n), make([]float64, n)
	for j := range n {
		unit[j] = 1
		product.HessianVector(x, unit, column)
		unit[j] = 0
		for i := range j + 1 {
			h.SetSym(i, j, column[i])
		}
	}
	var e mat.EigenSym
	if !e.Factorize(h, false) {
		return math.NaN()
	}
	return e.Values(nil)[n-1]
}

// steepest is the largest Ritz value reported, over the largest curvature on the
// path so far, for so many trajectories.
func steepest(ctx context.Context, b *bench, trajectories int, draw func(uint64) problems.Problem) (float64, string, error) {
	worst, above, steps := 0.0, 0, 0
	for seed := b.first; seed < b.first+uint64(trajectories); seed++ {
		p := draw(seed)
		d, err := newDescent(p, seed, scheduler.Config{})
		if err != nil {
			return math.NaN(), "", err
		}
		w := estimator.NewWindow(d.controller.Config().Window, len(d.sketch))
		truth, reported := 0.0, 0.0
		for range 120 {
			if ctx.Err() != nil {
				return math.NaN(), "", ctx.Err()
			}
			if !d.measure() {
				break
			}
			truth = max(truth, stiffest(p, d.x))
			w.Push(d.sketch, d.rate)
			if m := w.Solve(); m.Known() {
				reported = max(reported, max(m.Theta[0], -m.Theta[len(m.Theta)-1])/truth)
			}
			steps++
			if err := d.advance(); err != nil {
				return math.NaN(), "", err
			}
		}
		if worst = max(worst, reported); reported > 1.5 {
			above++
		}
	}
	return worst, fmt.Sprintf("%d of %d trajectories above 1.5, %d steps", above, trajectories, steps), nil
}

// convergedRitz compares the spectra of a window of sketches with those of a
// window of the gradients themselves: every Ritz value that has converged in the
// latter, with a residual below a hundredth of it, with the nearest one in the
// sketch.
func convergedRitz(ctx context.Context, b *bench) (float64, string, error) {
	var off []float64
	for seed := b.first; seed < b.first+40; seed++ {
		p := randomQuadratic(seed)
		d, err := newDescent(p, seed, scheduler.Config{Window: 16})
		if err != nil {
			return math.NaN(), "", err
		}
		sketched, exact := estimator.NewWindow(16, len(d.sketch)), estimator.NewWindow(16, p.Dim())
		row := make([]float32, p.Dim())
		for step := range 120 {
			if ctx.Err() != nil {
				return math.NaN(), "", ctx.Err()
			}
			if !d.measure() {
				break
			}
			for i, v := range d.g {
				row[i] = float32(v)
			}
			sketched.Push(d.sketch, d.rate)
			exact.Push(row, d.rate)
			if step > 16 && step%8 == 0 {
				seen := sketched.Spectrum()
				for _, v := range exact.Spectrum().Ritz {
					if v.Bound < 0.01*v.Value {
						off = append(off, distance(seen, v.Value))
					}
				}
			}
			if err := d.advance(); err != nil {
				return math.NaN(), "", err
			}
		}
	}
	slices.Sort(off)
	within, _ := slices.BinarySearch(off, 0.02)
	return off[len(off)*99/100], fmt.Sprintf("99th percentile of %d values; %.2f %% within 2 %%, median %.2g, worst %.2g",
		len(off), 100*float64(within)/float64(len(off)), off[len(off)/2], off[len(off)-1]), nil
}

// distance is that of a value from the nearest Ritz value, relative to it.
func distance(s estimator.Spectrum, value float64) float64 {
	nearest := math.Inf(1)
	for _, r := range s.Ritz {
		nearest = min(nearest, math.Abs(r.Value/value-1))
	}
	return nearest
}

// structured is the bar of vectors whose energy lies where in says: the
// condition number of the sketch of an orthonormal basis of 16 of them. Were
// they full, the singular values would lie within 1 +- sqrt(16/251) for nearly
// all signs (Halko, Martinsson and Tropp, SIAM Review 53, 2011), a condition of
// 1.7; 10 leaves the rank beyond doubt.
func structured(name string, in func(i int) bool) bar {
	const columns, dimension, limit = 16, 1 << 16, 10
	return bar{"sketched structure: " + name, limit, "condition", func(_ context.Context, b *bench) (float64, string, error) {
		var places []int
		for i := range dimension {
			if in(i) {
				places = append(places, i)
			}
		}
		worst := 0.0
		for seed := b.first; seed < b.first+20; seed++ {
			r := rand.New(rand.NewPCG(seed, 63))
			full := mat.NewDense(len(places), columns, nil)
			full.Apply(func(int, int, float64) float64 { return r.NormFloat64() }, full)
			var qr mat.QR
			qr.Factorize(full)
			var q mat.Dense
			qr.QTo(&q)
			s, err := multirate.NewSketcher(dimension, 0, seed)
			if err != nil {
				return math.NaN(), "", err
			}
			sketches := mat.NewDense(s.Buckets(), columns, nil)
			g, sketch := make([]float64, dimension), make([]float32, s.Buckets())
			for j := range columns {
				for i, place := range places {
					g[place] = q.At(i, j)
				}
				multirate.Sketch(s, sketch, g)
				for i, v := range sketch {
					sketches.Set(i, j, float64(v))
				}
			}
			worst = max(worst, mat.Cond(sketches, 2))
		}
		return worst, fmt.Sprintf("worst of 20 seeds, %d coordinates", len(places)), nil
	}}
}
