package baseline

import (
	"math"

	"multirate/examples/problems"
)

// ScheduleFree is Schedule-Free gradient descent of Defazio et al. (arXiv
// 2405.15682): z <- z - Rate g(y), x the mean of all z, y = (1-Momentum) z +
// Momentum x, with Momentum 0.9 or 0.98. Losses are those at y, where the
// gradients are.
func ScheduleFree() Method {
	return Method{
		Name:    "Schedule-Free",
		Grid:    func(p problems.Problem) []Axis { return []Axis{rateAxis(p), interpolationAxis()} },
		iterate: func(r *run, s Setting) { scheduleFree(r, s, 0) },
	}
}

// ScheduleFreeAdam is [ScheduleFree] with Adam's second moments, decay 0.999,
// and Adam's grid of rates.
func ScheduleFreeAdam() Method {
	return Method{
		Name:    "Schedule-Free Adam",
		Grid:    func(p problems.Problem) []Axis { return append(Adam().Grid(p), interpolationAxis()) },
		iterate: func(r *run, s Setting) { scheduleFree(r, s, 0.999) },
	}
}

func interpolationAxis() Axis {
	return Axis{Last: 1, Most: 1, Set: func(s *Setting, k int) { s.Momentum = []float64{0.9, 0.98}[k] }}
}

// scheduleFree scales gradients by second moments where decay is not 0.
func scheduleFree(r *run, s Setting, decay float64) {
	const epsilon = 1e-8
	y, g := r.start()
	x, z := r.problem.Start(), r.problem.Start()
	second := make([]float64, len(x))
	power := 1.0
	for step := 1.0; ; step++ {
		if _, more := r.gradient(y, g); !more {
			return
		}
		power *= decay
		for i, v := range g {
			if decay > 0 {
				second[i] = decay*second[i] + (1-decay)*v*v
				v /= math.Sqrt(second[i]/(1-power)) + epsilon
			}
			z[i] -= s.Rate * v
			x[i] += (z[i] - x[i]) / step
			y[i] = (1-s.Momentum)*z[i] + s.Momentum*x[i]
		}
	}
}
