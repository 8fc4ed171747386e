package baseline

import (
	"gonum.org/v1/gonum/floats"

	"multirate/examples/problems"
)

// GradientDescent is x <- x - Rate g with one constant rate.
func GradientDescent() Method {
	return Method{
		Name:    "gradient descent",
		Grid:    func(p problems.Problem) []Axis { return []Axis{rateAxis(p)} },
		iterate: gradientDescent,
	}
}

func gradientDescent(r *run, s Setting) {
	x, g := r.start()
	for {
		if _, more := r.gradient(x, g); !more {
			return
		}
		floats.AddScaled(x, -s.Rate, g)
	}
}
