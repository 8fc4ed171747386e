package problems

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Rosenbrock is the chained function, the sum over i of
// 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2, in the variables z = x/c. It is not
// convex; its minimum is 0 at x = 1. It starts at x uniform in [0, 1], away
// from the function's other local minimum, near x_1 = -1.
type Rosenbrock struct {
	name   string
	scales []float64
	start  []float64
}

var (
	_ Problem       = (*Rosenbrock)(nil)
	_ HessianVector = (*Rosenbrock)(nil)
	_ Minimum       = (*Rosenbrock)(nil)
)

// NewRosenbrock has 20 variables per size, all with c = 1.
func NewRosenbrock(seed uint64, size int) *Rosenbrock {
	return NewScaledRosenbrock("chained Rosenbrock", seed, slices.Repeat([]float64{1}, 20*size)...)
}

// NewScaledRosenbrock has one variable for each scale c.
func NewScaledRosenbrock(name string, seed uint64, scales ...float64) *Rosenbrock {
	random := rand.New(rand.NewPCG(seed, 34))
	p := &Rosenbrock{name: fmt.Sprintf("%s, seed %d", name, seed), scales: scales}
	for _, c := range scales {
		p.start = append(p.start, random.Float64()/c)
	}
	return p
}

// Name is that given, with the seed.
func (p *Rosenbrock) Name() string { return p.name }

// Dim is the number of variables.
func (p *Rosenbrock) Dim() int { return len(p.scales) }

// Start returns a fresh copy of the start.
func (p *Rosenbrock) Start() []float64 { return slices.Clone(p.start) }

// LowerBound is 0.
func (p *Rosenbrock) LowerBound() float64 { return 0 }

// Minimum is 0.
func (p *Rosenbrock) Minimum() float64 { return 0 }

// Gradient fills g with the slopes in z.
func (p *Rosenbrock) Gradient(z, g []float64) float64 {
	clear(g)
	loss := 0.0
	for i := range len(z) - 1 {
		x, next := p.scales[i]*z[i], p.scales[i+1]*z[i+1]
		valley, rest := next-x*x, 1-x
		loss += 100*valley*valley + rest*rest
		g[i] -= p.scales[i] * (400*valley*x + 2*rest)
		g[i+1] += p.scales[i+1] * 200 * valley
	}
	return loss
}

// HessianVector multiplies by the tridiagonal Hessian.
func (p *Rosenbrock) HessianVector(z, v, hv []float64) {
	clear(hv)
	for i := range len(z) - 1 {
		c, d := p.scales[i], p.scales[i+1]
		x, next := c*z[i], d*z[i+1]
		hv[i] += c*c*(1200*x*x-400*next+2)*v[i] - c*d*400*x*v[i+1]
		hv[i+1] += d*d*200*v[i+1] - c*d*400*x*v[i]
	}
}
