package problems

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Group is a scale of a quadratic: Count eigenvalues in [Low, High]. The first
// two are Low and High themselves, the rest log-uniform between them.
type Group struct {
	Low, High float64
	Count     int
}

// Quadratic is f(x) = sum_i lambda_i x_i^2 / 2 with its minimum 0 at x = 0. It
// starts with an equal expected energy of 1/2 in every mode:
// x0_i = N(0,1)/sqrt(lambda_i).
type Quadratic struct {
	name   string
	scales []Group
	lambda []float64
	start  []float64
}

var (
	_ Problem       = (*Quadratic)(nil)
	_ HessianVector = (*Quadratic)(nil)
	_ Minimum       = (*Quadratic)(nil)
)

// NewQuadratic draws a quadratic from the seed. Eigenvalues lie in the order of
// the groups. It panics unless 0 < Low <= High and Count >= 1 in each of them,
// with Count >= 2 where Low < High so that both ends are taken.
func NewQuadratic(name string, seed uint64, groups ...Group) *Quadratic {
	random := rand.New(rand.NewPCG(seed, 77))
	q := &Quadratic{name: fmt.Sprintf("%s, seed %d", name, seed), scales: slices.Clone(groups)}
	for _, g := range groups {
		if !(g.Low > 0 && g.Low <= g.High) || g.Count < 1 || (g.Low < g.High && g.Count < 2) {
			panic(fmt.Sprintf("problems: bad group %+v", g))
		}
		first := len(q.lambda)
		for range g.Count {
			q.lambda = append(q.lambda, g.Low*math.Pow(g.High/g.Low, random.Float64()))
		}
		q.lambda[first] = g.Low
		if g.Count > 1 {
			q.lambda[first+1] = g.High
		}
	}
	for _, l := range q.lambda {
		q.start = append(q.start, random.NormFloat64()/math.Sqrt(l))
	}
	return q
}

// ThreeScales has 100 parameters in 3 scales with condition number 4 and gaps
// of 250 between them; condition number 4e6 in all.
func ThreeScales(seed uint64) *Quadratic { return threeScales(seed, 1) }

func threeScales(seed uint64, size int) *Quadratic {
	return NewQuadratic("quadratic, 3 scales", seed,
		Group{1e-6, 4e-6, 60 * size}, Group{1e-3, 4e-3, 20 * size}, Group{1, 4, 20 * size})
}

// TwoScales has 200 parameters in 2 scales with condition number 10 and a gap
// of 1e4 between them; condition number 1e6 in all.
func TwoScales(seed uint64) *Quadratic { return twoScales(seed, 1) }

func twoScales(seed uint64, size int) *Quadratic {
	return NewQuadratic("quadratic, 2 scales", seed, Group{1e-5, 1e-4, 100 * size}, Group{1, 10, 100 * size})
}

// FourScales has 120 parameters in 4 scales with condition number 3 and gaps of
// 33 between them; condition number 3e6 in all.
func FourScales(seed uint64) *Quadratic { return fourScales(seed, 1) }

func fourScales(seed uint64, size int) *Quadratic {
	return NewQuadratic("quadratic, 4 scales", seed,
		Group{1e-6, 3e-6, 30 * size}, Group{1e-4, 3e-4, 30 * size}, Group{1e-2, 3e-2, 30 * size}, Group{1, 3, 30 * size})
}

// NoGap has 300 parameters log-uniform over condition number 1e4.
func NoGap(seed uint64) *Quadratic { return noGap(seed, 1) }

func noGap(seed uint64, size int) *Quadratic {
	return NewQuadratic("quadratic, no gap", seed, Group{1e-4, 1, 300 * size})
}

// BulkOutliers has a bulk of 300 parameters with condition number 100 and two
// groups of outliers, 5 and 2; condition number 1.1e5 in all.
func BulkOutliers(seed uint64) *Quadratic { return bulkOutliers(seed, 1) }

func bulkOutliers(seed uint64, size int) *Quadratic {
	return NewQuadratic("quadratic, bulk and outliers", seed,
		Group{1e-3, 0.1, 300 * size}, Group{10, 12, 5 * size}, Group{100, 110, 2 * size})
}

// PowerLaw has 300 parameters per size with eigenvalues i^-2: condition number
// 9e4 at size 1.
func PowerLaw(seed uint64, size int) *Quadratic {
	random := rand.New(rand.NewPCG(seed, 77))
	q := &Quadratic{name: fmt.Sprintf("quadratic, power law, seed %d", seed)}
	for i := range 300 * size {
		root := 1 / float64(i+1)
		q.lambda = append(q.lambda, root*root)
		q.start = append(q.start, random.NormFloat64()/root)
	}
	q.scales = []Group{{Low: q.lambda[len(q.lambda)-1], High: 1, Count: len(q.lambda)}}
	return q
}

// Eigenvalues returns a copy of the Hessian's D eigenvalues, in coordinate order.
func (q *Quadratic) Eigenvalues() []float64 { return slices.Clone(q.lambda) }

// Scales returns a copy of the groups that the eigenvalues were drawn from.
func (q *Quadratic) Scales() []Group { return slices.Clone(q.scales) }

// Name says which spectrum this is, with its seed.
func (q *Quadratic) Name() string { return q.name }

// Dim is the number of eigenvalues.
func (q *Quadratic) Dim() int { return len(q.lambda) }

// Start returns a fresh copy of x0.
func (q *Quadratic) Start() []float64 { return slices.Clone(q.start) }

// LowerBound is 0.
func (q *Quadratic) LowerBound() float64 { return 0 }

// Minimum is 0.
func (q *Quadratic) Minimum() float64 { return 0 }

// Gradient fills g_i = lambda_i x_i.
func (q *Quadratic) Gradient(x, g []float64) float64 {
	loss := 0.0
	for i, l := range q.lambda {
		g[i] = l * x[i]
		loss += g[i] * x[i] / 2
	}
	return loss
}

// HessianVector fills hv_i = lambda_i v_i; x is not looked at.
func (q *Quadratic) HessianVector(_, v, hv []float64) {
	for i, l := range q.lambda {
		hv[i] = l * v[i]
	}
}
