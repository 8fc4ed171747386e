package baseline

import (
	"gonum.org/v1/gonum/floats"

	"multirate/examples/problems"
)

// Polyak takes the rate Rate (f - f*)/|g|^2 (Polyak, Introduction to
// Optimization, 1987, section 5.3). It is given the least loss f* where the
// problem knows it, which no trainer does, and the lower bound elsewhere. Rate is
// a factor around 1.
func Polyak() Method {
	return Method{
		Name: "Polyak step",
		Grid: func(problems.Problem) []Axis { return []Axis{factorAxis()} },
		iterate: func(r *run, s Setting) {
			least := Least(r.problem)
			x, g := r.start()
			for {
				loss, more := r.gradient(x, g)
				if !more {
					return
				}
				square := floats.Dot(g, g)
				if square == 0 || !(loss > least) {
					r.stop(EndStalled)
					return
				}
				floats.AddScaled(x, -s.Rate*(loss-least)/square, g)
			}
		},
	}
}
