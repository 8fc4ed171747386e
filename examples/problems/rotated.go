package problems

import (
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Rotated is a quadratic in randomly rotated coordinates: the same spectrum,
// dense eigenvectors.
type Rotated struct {
	plain *Quadratic
	turn  *mat.Dense // x of the plain quadratic is turn'x
	start []float64
}

var (
	_ Problem       = (*Rotated)(nil)
	_ HessianVector = (*Rotated)(nil)
	_ Minimum       = (*Rotated)(nil)
)

// NewRotated rotates a quadratic by an orthogonal matrix drawn from the seed.
func NewRotated(plain *Quadratic, seed uint64) *Rotated {
	p := &Rotated{plain: plain, turn: orthogonal(seed, plain.Dim()), start: make([]float64, plain.Dim())}
	p.apply(p.turn, plain.start, p.start)
	return p
}

// orthogonal is the Q of a normal matrix's QR factorisation.
func orthogonal(seed uint64, n int) *mat.Dense {
	random := rand.New(rand.NewPCG(seed, 55))
	normal := mat.NewDense(n, n, nil)
	for i := range n {
		for j := range n {
			normal.Set(i, j, random.NormFloat64())
		}
	}
	var factor mat.QR
	factor.Factorize(normal)
	var q mat.Dense
	factor.QTo(&q)
	return &q
}

func (p *Rotated) apply(m mat.Matrix, from, to []float64) {
	mat.NewVecDense(len(to), to).MulVec(m, mat.NewVecDense(len(from), from))
}

// Name says which spectrum this is, with its seed.
func (p *Rotated) Name() string { return p.plain.Name() + ", rotated" }

// Dim is the number of eigenvalues.
func (p *Rotated) Dim() int { return p.plain.Dim() }

// Eigenvalues returns a copy of the Hessian's D eigenvalues.
func (p *Rotated) Eigenvalues() []float64 { return p.plain.Eigenvalues() }

// Scales returns a copy of the groups that the eigenvalues were drawn from.
func (p *Rotated) Scales() []Group { return p.plain.Scales() }

// Start returns a fresh copy of x0.
func (p *Rotated) Start() []float64 { return slices.Clone(p.start) }

// LowerBound is 0.
func (p *Rotated) LowerBound() float64 { return 0 }

// Minimum is 0.
func (p *Rotated) Minimum() float64 { return 0 }

// Gradient fills g = Q Lambda Q'x.
func (p *Rotated) Gradient(x, g []float64) float64 {
	z, gz := make([]float64, len(x)), make([]float64, len(x))
	p.apply(p.turn.T(), x, z)
	loss := p.plain.Gradient(z, gz)
	p.apply(p.turn, gz, g)
	return loss
}

// HessianVector fills hv = Q Lambda Q'v; x is not looked at.
func (p *Rotated) HessianVector(_, v, hv []float64) { p.Gradient(v, hv) }
