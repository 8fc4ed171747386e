package problems

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Factorisation is |UV' - M|^2/2 for an M of rank r whose singular values are
// given: not convex, with its minimum 0 wherever UV' = M. D = (rows + columns) r,
// U then V, row by row.
type Factorisation struct {
	name          string
	m             *mat.Dense
	rows, columns int
	rank          int
	start         []float64
}

var (
	_ Problem       = (*Factorisation)(nil)
	_ HessianVector = (*Factorisation)(nil)
	_ Minimum       = (*Factorisation)(nil)
)

// NewFactorisation is 20 x 16 per size with the singular values 10, 3, 1 and 0.3.
func NewFactorisation(seed uint64, size int) *Factorisation {
	return NewScaledFactorisation("factorisation", seed, 20*size, 16*size, 10, 3, 1, 0.3)
}

// NewScaledFactorisation draws the singular vectors from the seed, and a start
// of N(0,1) times the root of the largest singular value over the root of
// the rows and columns together, for balance.
func NewScaledFactorisation(name string, seed uint64, rows, columns int, singular ...float64) *Factorisation {
	p := &Factorisation{
		name: fmt.Sprintf("%s, seed %d", name, seed), rows: rows, columns: columns, rank: len(singular),
		m: mat.NewDense(rows, columns, nil),
	}
	left, right := orthogonal(seed, rows), orthogonal(seed+1<<32, columns)
	for k, s := range singular {
		var outer mat.Dense
		outer.Outer(s, left.ColView(k), right.ColView(k))
		p.m.Add(p.m, &outer)
	}
	random := rand.New(rand.NewPCG(seed, 33))
	p.start = make([]float64, p.Dim())
	size := math.Sqrt(slices.Max(singular) / float64(rows+columns))
	for i := range p.start {
		p.start[i] = size * random.NormFloat64()
	}
	return p
}

// Name is that given, with the seed.
func (p *Factorisation) Name() string { return p.name }

// Dim is (rows + columns) r.
func (p *Factorisation) Dim() int { return (p.rows + p.columns) * p.rank }

// Start returns a fresh copy of the start.
func (p *Factorisation) Start() []float64 { return slices.Clone(p.start) }

// LowerBound is 0.
func (p *Factorisation) LowerBound() float64 { return 0 }

// Minimum is 0.
func (p *Factorisation) Minimum() float64 { return 0 }

// factors are views of U and V.
func (p *Factorisation) factors(x []float64) (u, v *mat.Dense) {
	split := p.rows * p.rank
	return mat.NewDense(p.rows, p.rank, x[:split]), mat.NewDense(p.columns, p.rank, x[split:])
}

// residual is UV' - M.
func (p *Factorisation) residual(u, v *mat.Dense) *mat.Dense {
	var r mat.Dense
	r.Mul(u, v.T())
	r.Sub(&r, p.m)
	return &r
}

// Gradient fills RV and R'U, R = UV' - M.
func (p *Factorisation) Gradient(x, g []float64) float64 {
	u, v := p.factors(x)
	gu, gv := p.factors(g)
	r := p.residual(u, v)
	gu.Mul(r, v)
	gv.Mul(r.T(), u)
	norm := mat.Norm(r, 2)
	return norm * norm / 2
}

// HessianVector fills the derivative of the gradient along (dU, dV).
func (p *Factorisation) HessianVector(x, along, hv []float64) {
	u, v := p.factors(x)
	du, dv := p.factors(along)
	hu, hw := p.factors(hv)
	r := p.residual(u, v)
	var change, other, product mat.Dense
	change.Mul(du, v.T())
	other.Mul(u, dv.T())
	change.Add(&change, &other)
	hu.Mul(&change, v)
	product.Mul(r, dv)
	hu.Add(hu, &product)
	hw.Mul(change.T(), u)
	product.Reset()
	product.Mul(r.T(), du)
	hw.Add(hw, &product)
}
