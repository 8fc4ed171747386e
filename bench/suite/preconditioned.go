package suite

import (
	"slices"

	"multirate/bench/baseline"
	multirate "multirate/clients/go"
	"multirate/examples/problems"
)

// preconditioned is a problem in the variables z = x/s of a frozen diagonal, as
// multirate's trainer sees it with the diagonal.
type preconditioned struct {
	problems.Problem
	diagonal *multirate.Diagonal
}

// Start is z = x/s. s itself is what the diagonal makes of ones.
func (p preconditioned) Start() []float64 {
	z := p.Problem.Start()
	for i, s := range p.scale(len(z)) {
		z[i] /= s
	}
	return z
}

// Gradient fills s*g.
func (p preconditioned) Gradient(z, g []float64) float64 {
	x := make([]float64, len(z))
	p.diagonal.Gradient(x, z)
	loss := p.Problem.Gradient(x, g)
	p.diagonal.Gradient(g, g)
	return loss
}

// Minimum is that of the problem: variables do not change it.
func (p preconditioned) Minimum() float64 { return baseline.Least(p.Problem) }

func (p preconditioned) scale(n int) []float64 {
	ones := slices.Repeat([]float64{1}, n)
	p.diagonal.Gradient(ones, ones)
	return ones
}

// Diagonal is what multirate's trainer makes of a problem with that seed.
func Diagonal(p problems.Problem, probes int, seed uint64) (*multirate.Diagonal, error) {
	x := p.Start()
	difference := multirate.FiniteDifference{Gradient: func(x, g []float64) { p.Gradient(x, g) }}
	product := difference.HessianVector
	if exact, ok := p.(problems.HessianVector); ok {
		product = exact.HessianVector
	}
	magnitude, err := multirate.HutchinsonMagnitude(func(v, hv []float64) error {
		product(x, v, hv)
		return nil
	}, len(x), probes, seed)
	if err != nil {
		return nil, err
	}
	return multirate.NewDiagonal(magnitude, 0)
}
