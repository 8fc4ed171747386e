package estimator

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// float32Lanczos is Lanczos as a trainer runs it: two vectors in float32, inner
// products in float32, nothing reorthogonalised. It returns the coefficients and
// the squared component of the start along each coordinate.
func float32Lanczos(rng *rand.Rand, d []float64, k int) (alpha, beta, weights []float64) {
	n := len(d)
	dot := func(u, v []float32) float32 {
		s := float32(0)
		for i := range u {
			s += u[i] * v[i]
		}
		return s
	}
	v, before, w := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	length := float32(math.Sqrt(float64(dot(v, v))))
	weights = make([]float64, n)
	for i := range v {
		v[i] /= length
		weights[i] = float64(v[i]) * float64(v[i])
	}
	last := float32(0)
	for range k {
		for i := range w {
			w[i] = float32(d[i])*v[i] - last*before[i]
		}
		a := dot(w, v)
		for i := range w {
			w[i] -= a * v[i]
		}
		last = float32(math.Sqrt(float64(dot(w, w))))
		alpha, beta = append(alpha, float64(a)), append(beta, float64(last))
		copy(before, v)
		for i := range w {
			v[i] = w[i] / last
		}
	}
	return alpha, beta, weights
}

// outliers is a spectrum with eigenvalues that Lanczos finds soon and then
// finds again.
func outliers(rng *rand.Rand) []float64 {
	return gapped(rng, scale{90, 100, 2}, scale{9, 11, 3}, scale{0.1, 1, 400})
}

// countNear counts the Ritz values within a share of x.
func countNear(ritz []RitzValue, x, share float64) (n int) {
	for _, r := range ritz {
		if math.Abs(r.Value-x) <= share*x {
			n++
		}
	}
	return n
}

// Copies of converged eigenvalues are one Ritz value, which has the weight of the
// eigenvalue, and bounds hold up to the rounding of float32.
func TestCopiesOfEigenvaluesAreOne(t *testing.T) {
	ghosts := 0
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := outliers(rng)
		alpha, beta, weights := float32Lanczos(rng, d, 120)
		e, err := tridiagonal{diag: alpha, off: beta[:119]}.eigen(nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := FromCoefficients(alpha, beta, int64(len(d)))
		if err != nil {
			t.Fatal(err)
		}
		ghosts += len(e.values) - len(s.Ritz)
		checkSpectrum(t, s)
		for i, x := range d {
			if x < 2 {
				continue // the outliers
			}
			if n := countNear(s.Ritz, x, 1e-3); n != 1 {
				t.Errorf("seed %d: eigenvalue %v has %d Ritz values", seed, x, n)
				continue
			}
			for _, r := range s.Ritz {
				// Weights are sums of squares of vectors with float32 entries, after
				// 120 steps each of which errs by 2^-24 of the norm.
				if math.Abs(r.Value-x) <= 1e-3*x && math.Abs(r.Weight-weights[i]) > 1e-3*weights[i]+1e-6 {
					t.Errorf("seed %d: eigenvalue %v has weight %v, want %v", seed, x, r.Weight, weights[i])
				}
			}
		}
		for _, r := range s.Ritz {
			if off := nearest(r.Value, d); off > r.Bound+16*0x1p-24*d[0] {
				t.Errorf("seed %d: %+v is %g off", seed, r, off)
			}
		}
	}
	t.Logf("%d copies merged in 10 runs of 120 steps", ghosts)
	if ghosts < 10 {
		t.Errorf("%d copies in 10 runs: the trainer's Lanczos makes none to merge", ghosts)
	}
}

// The density of Gauss quadrature stays right: its distribution function is that
// of the eigenvalues, weighted by the start vector, up to the mass of one node
// (Chebyshev, Markov, Stieltjes: Szego, section 3.41).
func TestDensityOutlivesCopies(t *testing.T) {
	rng := rand.New(rand.NewPCG(20, 1))
	d := outliers(rng)
	alpha, beta, weights := float32Lanczos(rng, d, 150)
	s, err := FromCoefficients(alpha, beta, int64(len(d)))
	if err != nil {
		t.Fatal(err)
	}
	// Wasserstein-1 distance: the integral of the difference of the two.
	points := append([]float64(nil), d...)
	for _, r := range s.Ritz {
		points = append(points, r.Value)
	}
	below := func(x float64) (difference float64) {
		for i, y := range d {
			if y <= x {
				difference += weights[i]
			}
		}
		for _, r := range s.Ritz {
			if r.Value <= x {
				difference -= r.Weight
			}
		}
		return math.Abs(difference)
	}
	slices.Sort(points)
	distance, mean := 0.0, 0.0
	for i := 1; i < len(points); i++ {
		distance += (points[i] - points[i-1]) * below((points[i]+points[i-1])/2)
	}
	for i, y := range d {
		mean += weights[i] * y
	}
	t.Logf("Wasserstein-1 distance %.2g of the mean eigenvalue %.3g", distance/mean, mean)
	if distance > 0.02*mean {
		t.Errorf("Wasserstein-1 distance %g, mean eigenvalue %g", distance, mean)
	}
}

// The scales are those of the eigenvalues, copies or not.
func TestScalesOutliveCopies(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 2))
		d := gapped(rng, scale{50, 100, 4}, scale{1, 2, 10}, scale{0.01, 0.02, 300})
		alpha, beta, _ := float32Lanczos(rng, d, 110)
		s, err := FromCoefficients(alpha, beta, int64(len(d)))
		if err != nil {
			t.Fatal(err)
		}
		groups := DetectScales(s).Groups
		if len(groups) != 3 {
			t.Errorf("seed %d: %d scales: %+v", seed, len(groups), groups)
			continue
		}
		for i, want := range []Scale{{Lo: 50, Hi: 100}, {Lo: 1, Hi: 2}, {Lo: 0.01, Hi: 0.02}} {
			if g := groups[i]; math.Abs(g.Lo/want.Lo-1) > 0.05 || math.Abs(g.Hi/want.Hi-1) > 0.05 {
				t.Errorf("seed %d: scale %d is [%g, %g], want [%g, %g]", seed, i, g.Lo, g.Hi, want.Lo, want.Hi)
			}
		}
	}
}

// Separate eigenvalues stay separate: flat scales next to stiff ones, and pairs
// further apart than float32 can blur.
func TestNeighboursAreNoCopies(t *testing.T) {
	d := []float64{1, 1.0001}
	for i := range 20 {
		d = append(d, 1e-6*(1+float64(i)/100))
	}
	l := lanczos(t, diagonalOperator(d), len(d), len(d), 1)
	s, err := FromCoefficients(l.diag, l.off, int64(len(d)))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Ritz) != len(d) {
		t.Errorf("%d Ritz values for %d eigenvalues", len(s.Ritz), len(d))
	}
}
