package spectra

import (
	"math"
	"slices"
	"testing"
)

func TestDrawsAreAsTold(t *testing.T) {
	for seed := range uint64(50) {
		g := NewGapped(seed, Sizes(seed%2))
		if !slices.IsSortedFunc(g.Eigenvalues, func(a, b float64) int { return int(math.Copysign(1, b-a)) }) {
			t.Fatalf("seed %d: not in order", seed)
		}
		for i, n := range g.Groups {
			hi, lo := g.Edges(i)
			if n < 1 || n > 60 || !(hi/lo < 10*(1+1e-12)) {
				t.Errorf("seed %d, group %d: %d in [%g, %g]", seed, i, n, lo, hi)
			}
			if i > 0 {
				if _, above := g.Edges(i - 1); above/hi < 20*(1-1e-12) || above/hi > 1e4*(1+1e-12) {
					t.Errorf("seed %d: gap %g", seed, above/hi)
				}
			}
		}
		for name, d := range map[string][]float64{"log-uniform": LogUniform(seed), "Marchenko-Pastur": MarchenkoPastur(seed)} {
			if parted(d) || !(d[len(d)-1] > 0) {
				t.Errorf("seed %d: %s has a gap, or is not positive", seed, name)
			}
		}
	}
}

// PyHessian's methods find the eigenvalues that are there.
func TestPyHessian(t *testing.T) {
	d := []float64{5, 2, 1, 0.1}
	found, products := PowerIteration(Diagonal(d), 4, 1, func(v []float64) bool { return len(v) == 2 })
	// Stopped at a change of 1e-3: off by no more than a few times that.
	if len(found) != 2 || math.Abs(found[0]/5-1) > 0.01 || math.Abs(found[1]/2-1) > 0.01 || products < 4 {
		t.Errorf("found %v in %d products", found, products)
	}
	for i, x := range LanczosDensity(Diagonal(d), 4, DensityIterations, 1) {
		if math.Abs(x-d[i]) > 1e-12 {
			t.Errorf("node %d is %v, want %v", i, x, d[i])
		}
	}
}
