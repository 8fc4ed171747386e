package baseline

import (
	"math"

	"gonum.org/v1/gonum/floats"

	"multirate/examples/problems"
)

// ConjugateGradients is the method of Hestenes and Stiefel (J. Res. Natl. Bur.
// Stand. 49, 1952), for convex quadratics alone. It has no setting.
//
// A step costs one gradient: the product H d is the change of the gradient
// along d, and residual and loss at the new point follow without a further
// one. When the loss so found meets the target, a gradient at the point itself
// confirms it; where rounding has misled, the method starts again from there.
func ConjugateGradients() Method {
	return Method{
		Name:    "conjugate gradients",
		Grid:    func(problems.Problem) []Axis { return nil },
		iterate: func(r *run, _ Setting) { conjugateGradients(r, false) },
	}
}

// ConjugateGradientsExact is [ConjugateGradients] with every residual made
// orthogonal to all before it, as it would be without rounding, at the cost of
// keeping them. No method that moves along the span of its gradients gets a
// quadratic lower with as many products, so this is the limit for all others;
// on a spectrum with gaps it takes a quarter of the gradients of the former.
func ConjugateGradientsExact() Method {
	return Method{
		Name:    "conjugate gradients, exact",
		Grid:    func(problems.Problem) []Axis { return nil },
		iterate: func(r *run, _ Setting) { conjugateGradients(r, true) },
	}
}

func conjugateGradients(r *run, exact bool) {
	x, g := r.start()
	for {
		loss, more := r.gradient(x, g)
		if !more {
			return
		}
		if !conjugateDescent(r, x, g, loss, exact) {
			r.stop(EndStalled)
			return
		}
	}
}

// conjugateDescent moves x until the loss by recurrence meets the target or
// the run is over. It returns false where no direction of positive curvature
// is left.
func conjugateDescent(r *run, x, g []float64, loss float64, exact bool) bool {
	d, probe, hd := make([]float64, len(x)), make([]float64, len(x)), make([]float64, len(x))
	floats.AddScaled(d, -1, g)
	square := floats.Dot(g, g)
	var earlier [][]float64
	// Any length of probe gives H d of a quadratic, but a short one loses the
	// flat directions to rounding: take the size of x.
	size := math.Max(1, floats.Norm(x, 2))
	for !r.target(loss) {
		length := size / floats.Norm(d, 2)
		floats.AddScaledTo(probe, x, length, d)
		if _, more := r.evaluate(probe, hd); !more && r.result.Reached {
			return true
		}
		floats.Sub(hd, g)
		floats.Scale(1/length, hd)
		curvature := floats.Dot(d, hd)
		if !(curvature > 0) {
			return false
		}
		step := square / curvature
		if exact {
			earlier = append(earlier, unit(g))
		}
		floats.AddScaled(x, step, d)
		floats.AddScaled(g, step, hd)
		orthogonalise(g, earlier)
		loss -= step * square / 2
		if !r.accept(loss) {
			return true
		}
		next := floats.Dot(g, g)
		floats.Scale(next/square, d)
		floats.Sub(d, g)
		square = next
	}
	return true
}

func unit(v []float64) []float64 {
	return floats.ScaleTo(make([]float64, len(v)), 1/floats.Norm(v, 2), v)
}

// orthogonalise takes the parts along the basis out of v, twice: once leaves
// too much where nearly nothing remains (Parlett, The Symmetric Eigenvalue
// Problem, 1998, section 6.9, "twice is enough").
func orthogonalise(v []float64, basis [][]float64) {
	for range 2 {
		for _, u := range basis {
			floats.AddScaled(v, -floats.Dot(u, v), u)
		}
	}
}
