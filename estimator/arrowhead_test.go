package estimator

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

func TestArrowheadAgreesWithDenseSolver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 3))
		n := rapid.IntRange(1, 30).Draw(t, "poles")
		spread := rapid.Float64Range(0, 6).Draw(t, "decades")
		coupling := math.Pow(10, rapid.Float64Range(-6, 1).Draw(t, "coupling"))
		a := arrowhead{tip: r.NormFloat64()}
		for range n {
			a.pole = append(a.pole, math.Pow(10, -spread*r.Float64()))
		}
		slices.Sort(a.pole)
		slices.Reverse(a.pole)
		dense := mat.NewSymDense(n+1, nil)
		for i, p := range a.pole {
			b := coupling * r.NormFloat64()
			a.weight = append(a.weight, b*b)
			dense.SetSym(i, i, p)
			dense.SetSym(i, n, b)
		}
		dense.SetSym(n, n, a.tip)
		var eig mat.EigenSym
		if !eig.Factorize(dense, false) {
			t.Fatal("no eigenvalues")
		}
		want := eig.Values(nil)
		slices.Reverse(want)
		// The dense solver is accurate to some n 2^-52 |A|, |A| at most the
		// largest pole or tip plus the coupling.
		tolerance := 1e-9 * (1 + math.Abs(a.tip) + coupling*math.Sqrt(float64(n)))
		for i := range want {
			if got := a.root(i); math.Abs(got-want[i]) > tolerance {
				t.Fatalf("root %d is %v, want %v; %+v", i, got, want[i], a)
			}
		}
	})
}
