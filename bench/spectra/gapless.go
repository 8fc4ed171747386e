package spectra

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// LogUniform draws 100 to 600 eigenvalues, log-uniform over 2 to 8 decades below
// 1, both ends included: a spectrum without a gap. Draws whose neighbours are a
// factor 4 apart somewhere, a gap by chance, are drawn anew.
func LogUniform(seed uint64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 21))
	for {
		n, decades := 100+rng.IntN(501), 2+6*rng.Float64()
		d := []float64{1, math.Pow(10, -decades)}
		for len(d) < n {
			d = append(d, math.Pow(10, -decades*rng.Float64()))
		}
		if sorted(d); !parted(d) {
			return d
		}
	}
}

// MarchenkoPastur draws the eigenvalues of X'X/n for an n x p normal X, 60 to
// 200 columns and p/n from 0.05 to 0.9. Gaps by chance are drawn anew.
func MarchenkoPastur(seed uint64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 22))
	for {
		p := 60 + rng.IntN(141)
		n := int(float64(p) / (0.05 + 0.85*rng.Float64()))
		x := mat.NewDense(n, p, nil)
		for i := range n {
			for j := range p {
				x.Set(i, j, rng.NormFloat64()/math.Sqrt(float64(n)))
			}
		}
		var h mat.SymDense
		h.SymOuterK(1, x.T())
		if d := Eigenvalues(&h); !parted(d) {
			return d
		}
	}
}

// Eigenvalues are LAPACK's (dsyev, in gonum's translation), largest first.
func Eigenvalues(h mat.Symmetric) []float64 {
	var e mat.EigenSym
	if !e.Factorize(h, false) {
		panic("spectra: the eigenvalue iteration did not converge")
	}
	d := e.Values(nil)
	sorted(d)
	return d
}

// sorted sorts downwards.
func sorted(d []float64) {
	slices.Sort(d)
	slices.Reverse(d)
}
