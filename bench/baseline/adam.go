package baseline

import (
	"math"

	"multirate/examples/problems"
)

// Adam is algorithm 1 of Kingma and Ba (arXiv 1412.6980) with their defaults:
// decay 0.9 and 0.999, epsilon 1e-8, bias correction. Only Rate is open: half
// decades from 1e-5 to 10.
func Adam() Method {
	return Method{
		Name: "Adam",
		Grid: func(problems.Problem) []Axis {
			return []Axis{{First: -10, Last: 2, Least: -30, Most: 10, Margin: 2, Set: func(s *Setting, k int) {
				s.Rate = math.Pow(10, float64(k)/2)
			}}}
		},
		iterate: adam,
	}
}

// AdamW is [Adam] with the decoupled weight decay of Loshchilov and Hutter (arXiv
// 1711.05101), x <- x - Rate (step + Decay x). Decay is 1e-6, 1e-4
// or 1e-2. It moves the minimum; a target below the new one is out of reach.
func AdamW() Method {
	decays := []float64{1e-6, 1e-4, 1e-2}
	return Method{
		Name: "AdamW",
		Grid: func(p problems.Problem) []Axis {
			decay := Axis{Last: 2, Most: 2, Set: func(s *Setting, k int) { s.Decay = decays[k] }}
			return append(Adam().Grid(p), decay)
		},
		iterate: adam,
	}
}

func adam(r *run, s Setting) {
	const decay1, decay2, epsilon = 0.9, 0.999, 1e-8
	x, g := r.start()
	first, second := make([]float64, len(x)), make([]float64, len(x))
	power1, power2 := 1.0, 1.0
	for {
		if _, more := r.gradient(x, g); !more {
			return
		}
		power1 *= decay1
		power2 *= decay2
		for i, v := range g {
			first[i] = decay1*first[i] + (1-decay1)*v
			second[i] = decay2*second[i] + (1-decay2)*v*v
			x[i] -= s.Rate * ((first[i]/(1-power1))/(math.Sqrt(second[i]/(1-power2))+epsilon) + s.Decay*x[i])
		}
	}
}
