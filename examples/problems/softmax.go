package problems

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"
)

// Softmax is multinomial logistic regression: the mean over the rows of
// -log probability of the row's class. The last class has weights 0, so that
// the minimum is unique; D = (classes-1) x columns, class by class. It starts at
// 0, where the loss is log classes.
type Softmax struct {
	name    string
	data    samples // target is the class, 0..classes-1
	classes int
	least   func() optimum
}

var (
	_ Problem       = (*Softmax)(nil)
	_ HessianVector = (*Softmax)(nil)
	_ Minimum       = (*Softmax)(nil)
)

const softmaxClasses = 4

// GroupedSoftmax has 2,000 rows, 4 classes and, per size, 15 columns at 1, 15 at
// 0.03 and 10 at 0.001.
func GroupedSoftmax(seed uint64, size int) *Softmax {
	return NewScaledSoftmax("softmax, 1/0.03/0.001", seed, syntheticRows, softmaxClasses, groupedScales(size)...)
}

// LogUniformSoftmax has 2,000 rows, 4 classes and 40 columns per size, scaled
// log-uniformly over three decades.
func LogUniformSoftmax(seed uint64, size int) *Softmax {
	return NewScaledSoftmax("softmax, log-uniform", seed, syntheticRows, softmaxClasses, logUniformScales(size)...)
}

// NewScaledSoftmax has one column N(0,1)*scales[j] per scale, true weights
// 2 N(0,1)/(scales[j] sqrt(columns)) and classes drawn from the true model. It
// panics where there are fewer than two classes.
func NewScaledSoftmax(name string, seed uint64, rows, classes int, scales ...float64) *Softmax {
	if classes < 2 {
		panic(fmt.Sprintf("problems: %d classes", classes))
	}
	random := rand.New(rand.NewPCG(seed, 98))
	p := &Softmax{name: fmt.Sprintf("%s, seed %d", name, seed), data: gaussian(random, rows, scales), classes: classes}
	truth := make([]float64, p.Dim())
	for i := range truth {
		truth[i] = 2 * random.NormFloat64() / (scales[i%len(scales)] * math.Sqrt(float64(len(scales))))
	}
	probability := make([]float64, classes)
	for i := range rows {
		p.probabilities(p.data.row(i), truth, probability)
		class, left := 0, random.Float64()
		for class < classes-1 && left > probability[class] {
			left -= probability[class]
			class++
		}
		p.data.target = append(p.data.target, float64(class))
	}
	p.least = sync.OnceValue(func() optimum { return newton(p) })
	return p
}

// Name says which scales these are, with the seed.
func (p *Softmax) Name() string { return p.name }

// Dim is (classes-1) x columns.
func (p *Softmax) Dim() int { return (p.classes - 1) * p.data.columns }

// Start returns D zeros.
func (p *Softmax) Start() []float64 { return make([]float64, p.Dim()) }

// LowerBound is 0.
func (p *Softmax) LowerBound() float64 { return 0 }

// Minimum is the least loss by Newton's method, computed once.
func (p *Softmax) Minimum() float64 { return p.least().loss }

// Minimiser returns the D weights at the minimum.
func (p *Softmax) Minimiser() []float64 { return slices.Clone(p.least().at) }

// class is the part of x that belongs to class k.
func (p *Softmax) class(x []float64, k int) []float64 {
	return x[k*p.data.columns : (k+1)*p.data.columns]
}

// probabilities fills the softmax of a row's logits and returns the logarithm
// of its sum, and the logits' largest, which was taken out of it.
func (p *Softmax) probabilities(row, x, probability []float64) (logSum, top float64) {
	probability[p.classes-1] = 0
	for k := range p.classes - 1 {
		probability[k] = dot(row, p.class(x, k))
	}
	top = slices.Max(probability)
	total := 0.0
	for k, z := range probability {
		probability[k] = math.Exp(z - top)
		total += probability[k]
	}
	scale(probability, 1/total)
	return math.Log(total), top
}

// Gradient fills the part of class k with X'(p_k - [class = k])/n.
func (p *Softmax) Gradient(x, g []float64) float64 {
	clear(g)
	loss, n := 0.0, float64(p.data.rows)
	probability := make([]float64, p.classes)
	for i, y := range p.data.target {
		row, label := p.data.row(i), int(y)
		logSum, top := p.probabilities(row, x, probability)
		loss += logSum + top
		if label < p.classes-1 {
			loss -= dot(row, p.class(x, label))
		}
		probability[label]--
		for k := range p.classes - 1 {
			addScaled(p.class(g, k), probability[k]/n, row)
		}
	}
	return loss / n
}

// HessianVector fills hv = X'(diag(p) - pp')X v/n, class by class.
func (p *Softmax) HessianVector(x, v, hv []float64) {
	clear(hv)
	probability, along := make([]float64, p.classes), make([]float64, p.classes)
	for i := range p.data.rows {
		row := p.data.row(i)
		p.probabilities(row, x, probability)
		for k := range p.classes - 1 {
			along[k] = dot(row, p.class(v, k))
		}
		mean := dot(probability, along)
		for k := range p.classes - 1 {
			addScaled(p.class(hv, k), probability[k]*(along[k]-mean)/float64(p.data.rows), row)
		}
	}
}

func (p *Softmax) hessian(x []float64) *mat.SymDense {
	h := mat.NewSymDense(p.Dim(), nil)
	weights := mat.NewSymDense(p.classes-1, nil)
	probability := make([]float64, p.classes)
	columns := p.data.columns
	for i := range p.data.rows {
		row := p.data.row(i)
		p.probabilities(row, x, probability)
		for a := range p.classes - 1 {
			for b := a; b < p.classes-1; b++ {
				weights.SetSym(a, b, -probability[a]*probability[b]/float64(p.data.rows))
			}
			weights.SetSym(a, a, probability[a]*(1-probability[a])/float64(p.data.rows))
		}
		raw := h.RawSymmetric()
		for a := range p.classes - 1 {
			for b := a; b < p.classes-1; b++ {
				w := weights.At(a, b)
				for j, u := range row {
					at := raw.Data[(a*columns+j)*raw.Stride+b*columns:][:columns]
					addScaled(at, w*u, row)
				}
			}
		}
	}
	return h
}
