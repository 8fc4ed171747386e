package baseline

import (
	"gonum.org/v1/gonum/floats"

	"multirate/examples/problems"
)

// HeavyBall is v <- Momentum v - Rate g, x <- x + v (Polyak, 1964), what most
// trainers call SGD with momentum.
func HeavyBall() Method {
	return Method{
		Name:    "heavy ball",
		Grid:    func(p problems.Problem) []Axis { return []Axis{rateAxis(p), momentumAxis()} },
		iterate: heavyBall,
	}
}

func heavyBall(r *run, s Setting) {
	x, g := r.start()
	v := make([]float64, len(x))
	for {
		if _, more := r.gradient(x, g); !more {
			return
		}
		floats.Scale(s.Momentum, v)
		floats.AddScaled(v, -s.Rate, g)
		floats.Add(x, v)
	}
}
