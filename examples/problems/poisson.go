package problems

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Poisson is Poisson regression with the logarithmic link: the mean over the
// rows of exp(z) - y z - (y - y log y), z = <row, w>, half the deviance. Its
// curvature is not bounded. It starts at w = 0.
type Poisson struct {
	name  string
	data  samples
	least func() optimum
}

var (
	_ Problem       = (*Poisson)(nil)
	_ HessianVector = (*Poisson)(nil)
	_ Minimum       = (*Poisson)(nil)
)

// GroupedPoisson has 2,000 rows and, per size, 15 columns at 1, 15 at 0.03 and
// 10 at 0.001.
func GroupedPoisson(seed uint64, size int) *Poisson {
	return NewScaledPoisson("Poisson, 1/0.03/0.001", seed, syntheticRows, groupedScales(size)...)
}

// LogUniformPoisson has 2,000 rows and 40 columns per size, scaled log-uniformly
// over three decades.
func LogUniformPoisson(seed uint64, size int) *Poisson {
	return NewScaledPoisson("Poisson, log-uniform", seed, syntheticRows, logUniformScales(size)...)
}

// NewScaledPoisson has one column N(0,1)*scales[j] per scale, a true weight
// N(0,1)/(scales[j] sqrt(columns)), so that z is about N(0,1), and counts drawn
// from the true model.
func NewScaledPoisson(name string, seed uint64, rows int, scales ...float64) *Poisson {
	source := rand.NewPCG(seed, 97)
	random := rand.New(source)
	p := &Poisson{name: fmt.Sprintf("%s, seed %d", name, seed), data: gaussian(random, rows, scales)}
	truth := make([]float64, len(scales))
	for j, c := range scales {
		truth[j] = random.NormFloat64() / (c * math.Sqrt(float64(len(scales))))
	}
	for i := range rows {
		count := distuv.Poisson{Lambda: math.Exp(dot(p.data.row(i), truth)), Src: source}
		p.data.target = append(p.data.target, count.Rand())
	}
	p.least = sync.OnceValue(func() optimum { return newton(p) })
	return p
}

// Name says which scales these are, with the seed.
func (p *Poisson) Name() string { return p.name }

// Dim is the number of columns.
func (p *Poisson) Dim() int { return p.data.columns }

// Start returns D zeros.
func (p *Poisson) Start() []float64 { return make([]float64, p.data.columns) }

// LowerBound is 0.
func (p *Poisson) LowerBound() float64 { return 0 }

// Minimum is the least loss by Newton's method, computed once.
func (p *Poisson) Minimum() float64 { return p.least().loss }

// Minimiser returns the D weights at the minimum.
func (p *Poisson) Minimiser() []float64 { return slices.Clone(p.least().at) }

// Gradient fills g = X'(exp(Xw) - y)/n.
func (p *Poisson) Gradient(x, g []float64) float64 {
	clear(g)
	loss, n := 0.0, float64(p.data.rows)
	for i, y := range p.data.target {
		row := p.data.row(i)
		z := dot(row, x)
		mean := math.Exp(z)
		loss += mean - y*z - y
		if y > 0 {
			loss += y * math.Log(y)
		}
		addScaled(g, (mean-y)/n, row)
	}
	return loss / n
}

// HessianVector fills hv = X' diag(exp(Xw)) X v/n.
func (p *Poisson) HessianVector(x, v, hv []float64) {
	clear(hv)
	for i := range p.data.rows {
		row := p.data.row(i)
		addScaled(hv, math.Exp(dot(row, x))*dot(row, v)/float64(p.data.rows), row)
	}
}

func (p *Poisson) hessian(x []float64) *mat.SymDense {
	h := mat.NewSymDense(p.data.columns, nil)
	for i := range p.data.rows {
		row := p.data.row(i)
		h.SymRankOne(h, math.Exp(dot(row, x))/float64(p.data.rows), mat.NewVecDense(len(row), row))
	}
	return h
}
