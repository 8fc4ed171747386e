package baseline

import (
	"math"

	"multirate/examples/problems"
)

// Prodigy is the Adam form of Mishchenko and Defazio (arXiv 2306.06101,
// algorithm 4) with their defaults: decay 0.9 and 0.999, first distance 1e-6.
// Rate is the factor that they leave at 1.
func Prodigy() Method {
	return Method{
		Name:    "Prodigy",
		Grid:    func(problems.Problem) []Axis { return []Axis{factorAxis()} },
		iterate: prodigy,
	}
}

func prodigy(r *run, s Setting) {
	const decay1, decay2, epsilon = 0.9, 0.999, 1e-8
	decay3 := math.Sqrt(decay2)
	x, g := r.start()
	x0 := r.problem.Start()
	first, second, sum := make([]float64, len(x)), make([]float64, len(x)), make([]float64, len(x))
	distance, along := 1e-6, 0.0
	for {
		if _, more := r.gradient(x, g); !more {
			return
		}
		weight := (1 - decay3) * s.Rate * distance * distance
		inner, size := 0.0, 0.0
		for i, v := range g {
			first[i] = decay1*first[i] + (1-decay1)*distance*v
			second[i] = decay2*second[i] + (1-decay2)*distance*distance*v*v
			sum[i] = decay3*sum[i] + weight*v
			inner += v * (x0[i] - x[i])
			size += math.Abs(sum[i])
		}
		along = decay3*along + weight*inner
		for i := range x {
			x[i] -= s.Rate * distance * first[i] / (math.Sqrt(second[i]) + distance*epsilon)
		}
		if size > 0 {
			distance = math.Max(distance, along/size)
		}
	}
}
