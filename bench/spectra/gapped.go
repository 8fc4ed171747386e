// Package spectra draws random spectra with known groups, and none, to measure
// the estimator on.
package spectra

import (
	"math"
	"math/rand/v2"
)

// Gapped is a spectrum of a few groups of eigenvalues far apart.
type Gapped struct {
	// Eigenvalues are all eigenvalues, largest first.
	Eigenvalues []float64
	// Groups are the sizes of the groups, stiffest first.
	Groups []int
}

// largestCondition is the largest ratio of the extreme eigenvalues drawn. In
// float64 the products' rounding is 1e-16 of the largest eigenvalue, so the
// least is known to 1e-4.
const largestCondition = 1e12

// Sizes is the law of the sizes of groups.
type Sizes int

const (
	// UniformSizes are uniform from 1 to 60.
	UniformSizes Sizes = iota
	// LogUniformSizes are log-uniform from 1 to 60.
	LogUniformSizes
)

// NewGapped draws 2 to 5 groups of 1 to 60 eigenvalues, kappa from 1 to 10 and
// gaps from 20 to 1e4, kappa and gaps log-uniform. A group of n > 1 holds both
// its ends; between them its eigenvalues are log-uniform. Sizes are uniform, or
// log-uniform with small. Spectra of more than 1e12 in condition are drawn anew.
func NewGapped(seed uint64, sizes Sizes) Gapped {
	rng := rand.New(rand.NewPCG(seed, 20))
	logUniform := func(lo, hi float64) float64 { return lo * math.Pow(hi/lo, rng.Float64()) }
	for {
		var g Gapped
		hi, whole := 1.0, true
		for range 2 + rng.IntN(4) {
			n := 1 + rng.IntN(60)
			if sizes == LogUniformSizes {
				n = int(logUniform(1, 61))
			}
			lo := hi
			if n > 1 {
				lo = hi / logUniform(1, 10)
			}
			g.Groups = append(g.Groups, n)
			members := []float64{hi}
			if n > 1 {
				members = append(members, lo)
			}
			for range n - 2 {
				members = append(members, logUniform(lo, hi))
			}
			sorted(members)
			whole = whole && !parted(members)
			g.Eigenvalues = append(g.Eigenvalues, members...)
			hi = lo / logUniform(20, 1e4)
		}
		if last := g.Eigenvalues[len(g.Eigenvalues)-1]; whole && g.Eigenvalues[0] <= largestCondition*last {
			return g
		}
	}
}

func parted(members []float64) bool {
	for i, x := range members[1:] {
		if members[i] >= 4*x {
			return true
		}
	}
	return false
}

// Edges are the largest and the least eigenvalue of group i.
func (g Gapped) Edges(i int) (hi, lo float64) {
	begin := 0
	for _, n := range g.Groups[:i] {
		begin += n
	}
	return g.Eigenvalues[begin], g.Eigenvalues[begin+g.Groups[i]-1]
}

// Budget is the sum over the groups of the least of each*n and most products.
func (g Gapped) Budget(each, most int) int {
	sum := 0
	for _, n := range g.Groups {
		sum += min(each*n, most)
	}
	return sum
}
