// Package problems holds losses with curvature of widely different scale, for
// trainers, tests and benchmarks: quadratics of known spectrum, logistic
// regression on scaled and on real raw features, least squares, and a small
// network on handwritten digits. Everything is made from a seed or from data
// that the package carries.
package problems

// Problem is a loss over D parameters. Implementations are deterministic and
// return +Inf or NaN, never panic, where the parameters have blown up.
type Problem interface {
	// Name says which problem this is, with its seed.
	Name() string
	// Dim is the number of parameters D.
	Dim() int
	// Start returns a fresh copy of the start point, D numbers.
	Start() []float64
	// Gradient fills g, D numbers, with the gradient at x and returns the loss.
	Gradient(x, g []float64) float64
	// LowerBound is a known lower bound of the loss.
	LowerBound() float64
}

// HessianVector is implemented by problems with exact Hessian-vector products.
type HessianVector interface {
	// HessianVector fills hv with H(x) v, each D numbers.
	HessianVector(x, v, hv []float64)
}

// Minimum is implemented by problems whose least loss is known or can be
// computed to machine precision.
type Minimum interface {
	// Minimum is the least loss.
	Minimum() float64
}

// Excess is (loss - least)/(first - least): 1 at the start, 0 at the minimum.
func Excess(loss, first, least float64) float64 { return (loss - least) / (first - least) }
