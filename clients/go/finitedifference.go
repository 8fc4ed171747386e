package multirate

import "math"

// FiniteDifference computes Hessian-vector products by central differences, for
// trainers that have nothing but gradients:
//
//	H v ~ |v|/(2t) (g(x + t v/|v|) - g(x - t v/|v|)).
//
// Truncation errs by about t^2/6 |g(3)|, rounding by eps/t |g|. Where g changes
// over a length l, so that |g(3)| ~ |g|/l^3, their sum is least at
// t = cbrt(3 eps) l, with a relative error of about eps^(2/3) = 2e-11 (Nocedal
// and Wright, Numerical Optimization, 2nd ed., section 8.1).
//
// It keeps two vectors between products and belongs to one goroutine.
type FiniteDifference struct {
	// Gradient writes the gradient at x to g. It must be of the same data at
	// each call.
	Gradient func(x, g []float64)
	// Length is the length l over which the gradient changes, > 0. 0 means
	// max(|x|, 1).
	Length float64
	// Evaluations counts the gradients spent, two for each product.
	Evaluations int

	shifted, backward []float64
}

// HessianVector writes H*v at x to hv; all three have one length, and neither x
// nor v is changed. The product of v = 0 is 0 and costs nothing.
func (f *FiniteDifference) HessianVector(x, v, hv []float64) {
	norm := math.Sqrt(NormSquared(v))
	if norm == 0 {
		clear(hv)
		return
	}
	length := f.Length
	if length == 0 {
		length = max(math.Sqrt(NormSquared(x)), 1)
	}
	const epsilon = 0x1p-53
	t := math.Cbrt(3*epsilon) * length / norm
	if len(f.shifted) != len(x) {
		f.shifted, f.backward = make([]float64, len(x)), make([]float64, len(x))
	}
	f.gradientAt(x, v, t, hv)
	f.gradientAt(x, v, -t, f.backward)
	for i, b := range f.backward {
		hv[i] = (hv[i] - b) / (2 * t)
	}
}

// At returns the product at x, which must stay as it is meanwhile, for
// [Run.EstimateSpectrum] and the like.
func (f *FiniteDifference) At(x []float64) HessianVectorProduct[float64] {
	return func(v, hv []float64) error {
		f.HessianVector(x, v, hv)
		return nil
	}
}

func (f *FiniteDifference) gradientAt(x, v []float64, t float64, g []float64) {
	for i, xi := range x {
		f.shifted[i] = xi + t*v[i]
	}
	f.Gradient(f.shifted, g)
	f.Evaluations++
}

// FiniteDifferenceHessianVector writes H*v at x to hv by central differences,
// at the cost of two gradients; see [FiniteDifference], which saves the
// allocations of repeated products.
func FiniteDifferenceHessianVector(gradient func(x, g []float64), x, v, hv []float64) {
	(&FiniteDifference{Gradient: gradient}).HessianVector(x, v, hv)
}
