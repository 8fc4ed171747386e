package problems

import (
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"

	"multirate/examples/data"
)

// LeastSquares is |Xw - y|^2/(2n). It starts at w = 0.
type LeastSquares struct {
	name  string
	data  samples
	least func() optimum
}

var (
	_ Problem       = (*LeastSquares)(nil)
	_ HessianVector = (*LeastSquares)(nil)
	_ Minimum       = (*LeastSquares)(nil)
)

// Diabetes is least squares on the 10 unscaled features and an intercept:
// D = 11.
func Diabetes() *LeastSquares {
	same := func(y float64) float64 { return y }
	return newLeastSquares("diabetes", withIntercept(data.Diabetes(), same))
}

func newLeastSquares(name string, s samples) *LeastSquares {
	p := &LeastSquares{name: name, data: s}
	p.least = sync.OnceValue(func() optimum { return newton(p) })
	return p
}

// Name says which table or basis this is.
func (p *LeastSquares) Name() string { return p.name }

// Dim is the number of features and the intercept.
func (p *LeastSquares) Dim() int { return p.data.columns }

// Start returns D zeros.
func (p *LeastSquares) Start() []float64 { return make([]float64, p.data.columns) }

// LowerBound is 0.
func (p *LeastSquares) LowerBound() float64 { return 0 }

// Minimum is the least loss by Newton's method, computed once.
func (p *LeastSquares) Minimum() float64 { return p.least().loss }

// Minimiser returns the D weights at the minimum.
func (p *LeastSquares) Minimiser() []float64 { return slices.Clone(p.least().at) }

// Gradient fills g = X'(Xw - y)/n.
func (p *LeastSquares) Gradient(x, g []float64) float64 {
	clear(g)
	loss, n := 0.0, float64(p.data.rows)
	for i, y := range p.data.target {
		row := p.data.row(i)
		residual := dot(row, x) - y
		loss += residual * residual / 2
		addScaled(g, residual/n, row)
	}
	return loss / n
}

// HessianVector fills hv = X'Xv/n; x is not looked at.
func (p *LeastSquares) HessianVector(_, v, hv []float64) {
	clear(hv)
	for i := range p.data.rows {
		row := p.data.row(i)
		addScaled(hv, dot(row, v)/float64(p.data.rows), row)
	}
}

func (p *LeastSquares) hessian([]float64) *mat.SymDense { return p.data.secondMoment() }
