package baseline

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"

	"multirate/examples/problems"
)

// Curvature estimates the largest |eigenvalue| of the Hessian at the start by
// ten power iterations on central differences of the gradient. It takes 20
// gradients which no result counts: a user of the method would have to find
// the rate in some other way. It only places the grid, so a few per cent do
// not matter. Where the curvature is zero or not finite it returns 1.
func Curvature(p problems.Problem) float64 {
	const iterations = 10
	x, n := p.Start(), p.Dim()
	plus, minus := make([]float64, n), make([]float64, n)
	at, v := make([]float64, n), make([]float64, n)
	source := rand.New(rand.NewPCG(1, 2))
	for i := range v {
		v[i] = source.NormFloat64()
	}
	floats.Scale(1/floats.Norm(v, 2), v)
	// The cube root of the rounding unit balances rounding and truncation in a
	// central difference (Nocedal and Wright, 2006, section 8.1).
	h := math.Cbrt(0x1p-52) * math.Max(1, floats.Norm(x, 2))
	curvature := 0.0
	for range iterations {
		floats.AddScaledTo(at, x, h, v)
		p.Gradient(at, plus)
		floats.AddScaledTo(at, x, -h, v)
		p.Gradient(at, minus)
		floats.SubTo(v, plus, minus)
		norm := floats.Norm(v, 2)
		curvature = norm / (2 * h)
		if !(curvature > 0) || math.IsInf(curvature, 0) {
			return 1
		}
		floats.Scale(1/norm, v)
	}
	return curvature
}
