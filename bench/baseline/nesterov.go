package baseline

import (
	"math"

	"gonum.org/v1/gonum/floats"

	"multirate/examples/problems"
)

// Nesterov is x' = y - Rate g(y), y' = x' + Momentum (x' - x) with constant
// momentum (Nesterov, Introductory Lectures on Convex Optimization, 2004,
// scheme 2.2.11). Losses are those at y, where the gradients are.
func Nesterov() Method {
	return Method{
		Name: "Nesterov",
		Grid: func(p problems.Problem) []Axis { return []Axis{rateAxis(p), momentumAxis()} },
		iterate: func(r *run, s Setting) {
			accelerate(r, s.Rate, func(bool) float64 { return s.Momentum })
		},
	}
}

// NesterovRestart is Nesterov's method with the momentum of the convex case,
// (t-1)/t', t' = (1 + sqrt(1 + 4t^2))/2, which starts again from t = 1 when
// the step goes uphill: the gradient scheme of O'Donoghue and Candès, Found.
// Comput. Math. 15 (2015), section 3.2. Only Rate is open.
func NesterovRestart() Method {
	return Method{
		Name: "Nesterov with restart",
		Grid: func(p problems.Problem) []Axis { return []Axis{rateAxis(p)} },
		iterate: func(r *run, s Setting) {
			t := 1.0
			accelerate(r, s.Rate, func(uphill bool) float64 {
				if uphill {
					t = 1
				}
				before := t
				t = (1 + math.Sqrt(1+4*t*t)) / 2
				return (before - 1) / t
			})
		},
	}
}

// accelerate asks for the momentum of each step and tells whether the step,
// from the last x to the next, goes against the descent direction at y.
func accelerate(r *run, rate float64, momentum func(uphill bool) float64) {
	y, g := r.start()
	x := r.problem.Start()
	step := make([]float64, len(x))
	for {
		if _, more := r.gradient(y, g); !more {
			return
		}
		floats.AddScaled(y, -rate, g)
		floats.SubTo(step, y, x)
		copy(x, y)
		floats.AddScaled(y, momentum(floats.Dot(g, step) > 0), step)
	}
}
