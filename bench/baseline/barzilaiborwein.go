package baseline

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"multirate/examples/problems"
)

// BarzilaiBorwein takes the step <s,s>/<s,y> (or, with Short, <s,y>/<y,y>) of
// Barzilai and Borwein, IMA J. Numer. Anal. 8 (1988), guarded by the
// non-monotone line search of Grippo, Lampariello and Lucidi over the last
// Memory losses, as in Raydan, SIAM J. Optim. 7 (1997). A rejected point costs
// a gradient. The first step is Rate, 1/L on the grid, which holds memories of
// 1, 10 and 100, and if need be up to 10,000.
func BarzilaiBorwein() Method {
	return Method{
		Name: "Barzilai-Borwein",
		Grid: func(p problems.Problem) []Axis {
			rate := rateAxis(p)
			rate.First, rate.Last, rate.Least, rate.Most = 0, 0, 0, 0
			short := Axis{Last: 1, Most: 1, Set: func(s *Setting, k int) { s.Short = k == 1 }}
			windows := []int{1, 10, 100, 1000, 10000}
			window := Axis{Last: 2, Most: 4, Margin: 1, Set: func(s *Setting, k int) { s.Memory = windows[k] }}
			return []Axis{rate, window, short}
		},
		iterate: barzilaiBorwein,
	}
}

func barzilaiBorwein(r *run, s Setting) {
	x, g := r.start()
	trial, gTrial := make([]float64, len(x)), make([]float64, len(x))
	loss, more := r.gradient(x, g)
	recent := []float64{loss}
	step := s.Rate
	for more {
		square := floats.Dot(g, g)
		if square == 0 {
			r.stop(EndStalled)
			return
		}
		ceiling := slices.Max(recent)
		for {
			floats.AddScaledTo(trial, x, -step, g)
			var next float64
			next, more = r.evaluate(trial, gTrial)
			if next <= ceiling-1e-4*step*square {
				loss = next
				break
			}
			if !more {
				return
			}
			step = backtrack(step, square, loss, next)
		}
		more = r.accept(loss) && more
		recent = append(recent, loss)
		recent = recent[max(0, len(recent)-max(1, s.Memory)):]
		step = spectralStep(step, g, gTrial, s.Short)
		x, trial, g, gTrial = trial, x, gTrial, g
	}
}

// backtrack minimises the parabola through the loss, its slope -square and the
// loss of the rejected step, within a tenth and a half of that step.
func backtrack(step, square, loss, rejected float64) float64 {
	if !finite(rejected) {
		return step / 10
	}
	parabola := step * step * square / (2 * (rejected - loss + step*square))
	return math.Min(math.Max(parabola, step/10), step/2)
}

// spectralStep is the Barzilai-Borwein step after x' = x - step g. Where the
// curvature along g is not positive it tries ten times the last step.
func spectralStep(step float64, g, gNext []float64, short bool) float64 {
	var gg, gy, yy float64
	for i, v := range g {
		y := gNext[i] - v
		gg += v * v
		gy -= v * y
		yy += y * y
	}
	next := step * gg / gy
	if short {
		next = step * gy / yy
	}
	if !(gy > 0) || !finite(next) || next <= 0 {
		return 10 * step
	}
	return next
}
