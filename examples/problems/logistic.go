package problems

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"

	"multirate/examples/data"
)

// Logistic is logistic regression, the mean over the rows of
// log(1+exp(z)) - y z with z = <row, w> and y in {0, 1}, plus ridge |w|^2/2. It
// starts at w = 0, where the data's part is log 2.
type Logistic struct {
	name  string
	data  samples
	ridge float64
	least func() optimum
}

var (
	_ Problem       = (*Logistic)(nil)
	_ HessianVector = (*Logistic)(nil)
	_ Minimum       = (*Logistic)(nil)
)

func newLogistic(name string, s samples, ridge float64) *Logistic {
	p := &Logistic{name: name, data: s, ridge: ridge}
	p.least = sync.OnceValue(func() optimum { return newton(p) })
	return p
}

// NewScaledLogistic has one column N(0,1)*scales[j] per scale, a true weight
// 2 N(0,1)/(scales[j] sqrt(D)), so that every column matters alike, labels drawn
// from the true model, no intercept and no ridge. It panics where rows is less
// than 1, or a scale is not above zero.
func NewScaledLogistic(name string, seed uint64, rows int, scales ...float64) *Logistic {
	if rows < 1 || len(scales) == 0 || !(slices.Min(scales) > 0) {
		panic(fmt.Sprintf("problems: %d rows, scales %v", rows, scales))
	}
	random := rand.New(rand.NewPCG(seed, 99))
	s := samples{rows: rows, columns: len(scales)}
	truth := make([]float64, s.columns)
	for j, c := range scales {
		truth[j] = 2 * random.NormFloat64() / (c * math.Sqrt(float64(s.columns)))
	}
	for i := range rows {
		for _, c := range scales {
			s.features = append(s.features, c*random.NormFloat64())
		}
		label := 0.0
		if random.Float64() < sigmoid(dot(s.row(i), truth)) {
			label = 1
		}
		s.target = append(s.target, label)
	}
	return newLogistic(fmt.Sprintf("%s, seed %d", name, seed), s, 0)
}

const syntheticRows = 2000

// GroupedLogistic3 has 2,000 rows, 15 columns at 1, 15 at 0.03, 10 at 0.001.
func GroupedLogistic3(seed uint64) *Logistic { return groupedLogistic3(seed, 1) }

func groupedLogistic3(seed uint64, size int) *Logistic {
	return NewScaledLogistic("logistic, 1/0.03/0.001", seed, syntheticRows, groupedScales(size)...)
}

// groupedScales are three groups of columns, 40 per size.
func groupedScales(size int) []float64 {
	return slices.Concat(slices.Repeat([]float64{1}, 15*size), slices.Repeat([]float64{0.03}, 15*size), slices.Repeat([]float64{0.001}, 10*size))
}

// GroupedLogistic2 has 2,000 rows, 20 columns at 1 and 20 at 0.01.
func GroupedLogistic2(seed uint64) *Logistic { return groupedLogistic2(seed, 1) }

func groupedLogistic2(seed uint64, size int) *Logistic {
	scales := slices.Concat(slices.Repeat([]float64{1}, 20*size), slices.Repeat([]float64{0.01}, 20*size))
	return NewScaledLogistic("logistic, 1/0.01", seed, syntheticRows, scales...)
}

// LogUniformLogistic has 2,000 rows and 40 columns at 10^(-3j/39): three decades
// without a gap.
func LogUniformLogistic(seed uint64) *Logistic { return logUniformLogistic(seed, 1) }

func logUniformLogistic(seed uint64, size int) *Logistic {
	return NewScaledLogistic("logistic, log-uniform", seed, syntheticRows, logUniformScales(size)...)
}

// logUniformScales are 40 per size, over three decades.
func logUniformScales(size int) []float64 {
	scales := make([]float64, 40*size)
	for j := range scales {
		scales[j] = math.Pow(10, -3*float64(j)/float64(len(scales)-1))
	}
	return scales
}

// RotatedLogistic is [LogUniformLogistic], of 40 columns per size, in randomly
// rotated coordinates: its Hessian has no diagonal worth dividing by.
func RotatedLogistic(seed uint64, size int) *Logistic {
	p := logUniformLogistic(seed, size)
	s := p.data
	s.features = make([]float64, len(p.data.features))
	mat.NewDense(s.rows, s.columns, s.features).Mul(mat.NewDense(s.rows, s.columns, p.data.features), orthogonal(seed, s.columns))
	return newLogistic(fmt.Sprintf("logistic, log-uniform, rotated, seed %d", seed), s, 0)
}

// rawRidge keeps separable tables bounded.
const rawRidge = 1e-4

// BreastCancer is benign against malignant on raw features with an intercept:
// D = 31, ridge 1e-4 on every weight.
func BreastCancer() *Logistic {
	same := func(y float64) float64 { return y }
	return newLogistic("breast cancer", withIntercept(data.BreastCancer(), same), rawRidge)
}

// Wine is cultivar 0 against the rest on raw features with an intercept:
// D = 14, ridge 1e-4 on every weight.
func Wine() *Logistic {
	first := func(y float64) float64 {
		if y == 0 {
			return 1
		}
		return 0
	}
	return newLogistic("wine", withIntercept(data.Wine(), first), rawRidge)
}

// Digits is odd against even on raw 8x8 counts with an intercept: D = 65, ridge
// 1e-4 on every weight.
func Digits() *Logistic {
	odd := func(y float64) float64 { return math.Mod(y, 2) }
	return newLogistic("digits", withIntercept(data.Digits(), odd), rawRidge)
}

// Name says which table or scales these are.
func (p *Logistic) Name() string { return p.name }

// Dim is the number of columns, with the intercept where there is one.
func (p *Logistic) Dim() int { return p.data.columns }

// Start returns D zeros.
func (p *Logistic) Start() []float64 { return make([]float64, p.data.columns) }

// LowerBound is 0.
func (p *Logistic) LowerBound() float64 { return 0 }

// Data returns the rows of features, one after another, and the labels, for
// trainers in other languages; both are the problem's own.
func (p *Logistic) Data() (features, labels []float64) { return p.data.features, p.data.target }

// Minimum is the least loss by Newton's method, computed once.
func (p *Logistic) Minimum() float64 { return p.least().loss }

// Minimiser returns the D weights at the minimum.
func (p *Logistic) Minimiser() []float64 { return slices.Clone(p.least().at) }

// Gradient fills g = X'(sigmoid(Xw) - y)/n + ridge w.
func (p *Logistic) Gradient(x, g []float64) float64 {
	clear(g)
	loss, n := 0.0, float64(p.data.rows)
	for i, y := range p.data.target {
		row := p.data.row(i)
		z := dot(row, x)
		// max(z, 0) + log(1+exp(-|z|)) is log(1+exp(z)) without overflow.
		loss += math.Max(z, 0) - z*y + math.Log1p(math.Exp(-math.Abs(z)))
		addScaled(g, (sigmoid(z)-y)/n, row)
	}
	addScaled(g, p.ridge, x)
	return loss/n + p.ridge*dot(x, x)/2
}

// HessianVector fills hv = X' diag(s(1-s)) X v/n + ridge v, s = sigmoid(Xw).
func (p *Logistic) HessianVector(x, v, hv []float64) {
	clear(hv)
	for i := range p.data.rows {
		row := p.data.row(i)
		addScaled(hv, p.curvature(row, x)*dot(row, v), row)
	}
	addScaled(hv, p.ridge, v)
}

func (p *Logistic) hessian(x []float64) *mat.SymDense {
	h := mat.NewSymDense(p.data.columns, nil)
	for i := range p.data.rows {
		row := p.data.row(i)
		h.SymRankOne(h, p.curvature(row, x), mat.NewVecDense(len(row), row))
	}
	for j := range p.data.columns {
		h.SetSym(j, j, h.At(j, j)+p.ridge)
	}
	return h
}

// curvature is a row's weight s(1-s)/n in the Hessian.
func (p *Logistic) curvature(row, x []float64) float64 {
	s := sigmoid(dot(row, x))
	return s * (1 - s) / float64(p.data.rows)
}
