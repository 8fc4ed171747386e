package estimator

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

// Rounding to bfloat16 is to the nearest of its numbers, and to the even one
// half way.
func TestRoundBFloat16(t *testing.T) {
	for _, c := range []struct {
		x, want float32
	}{
		{0, 0}, {1, 1}, {-2.5, -2.5}, {0x1p-126, 0x1p-126},
		{1 + 0x1p-8, 1},            // half way, 1 is even
		{1 + 3*0x1p-8, 1 + 0x1p-6}, // half way, 1 + 2^-7 is odd
		{1 + 0x1p-8 + 0x1p-20, 1 + 0x1p-7},
		{-1 - 0x1p-9, -1},
		{math.MaxFloat32, float32(math.Inf(1))},
		{float32(math.Inf(-1)), float32(math.Inf(-1))},
	} {
		if got := BFloat16Value(RoundBFloat16(c.x)); got != c.want {
			t.Errorf("%v becomes %v, want %v", c.x, got, c.want)
		}
	}
	for _, bits := range []uint32{0x7fc00000, 0x7f800001, 0xffffffff} {
		if got := BFloat16Value(RoundBFloat16(math.Float32frombits(bits))); got == got {
			t.Errorf("NaN %#x becomes %v", bits, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float32Range(-3e38, 3e38).Draw(t, "x")
		got := BFloat16Value(RoundBFloat16(x))
		// 8 significant bits; below the least normal number the spacing is 2^-133.
		if half := max(0x1p-8*math.Abs(float64(x)), 0x1p-134); math.Abs(float64(got)-float64(x)) > half {
			t.Fatalf("%v becomes %v", x, got)
		}
		if again := BFloat16Value(RoundBFloat16(got)); again != got {
			t.Fatalf("%v becomes %v, and that %v", x, got, again)
		}
	})
}

// What storing vectors in float32 costs against LAPACK: less than 1e-6 of the
// stiffest eigenvalue anywhere, and bounds that own up to it.
func TestLanczosInFloat32AgreesWithDenseSolver(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 50, 120, 400} {
		a := randomSymmetric(rand.New(rand.NewPCG(uint64(n), 1)), n)
		want := eigenvalues(t, a)
		norm := max(math.Abs(want[0]), math.Abs(want[n-1]))
		k := min(n, 200)
		s := LanczosConfig{Dimension: n, Products: k, Seed: 3, Precision: Float32}.complete(t, denseOperator(a)).Spectrum()
		for _, r := range s.Ritz {
			// Beside the residual, the basis is off orthonormal by a few 2^-24,
			// which moves values by as much of the norm (Parlett, section 11.8).
			if d := nearest(r.Value, want); d > r.Bound+8*0x1p-24*norm {
				t.Errorf("n=%d: %v lies %g from an eigenvalue, bound %g", n, r.Value, d, r.Bound)
			}
			if n > 1 && r.Bound < 1e-9*norm {
				t.Errorf("n=%d: bound %g claims more than float32 vectors hold", n, r.Bound)
			}
		}
		for _, end := range []int{0, k - 1} {
			if e := nearest(s.Ritz[end].Value, want); s.Ritz[end].Bound < 1e-6*norm && e > 1e-6*math.Abs(s.Ritz[end].Value) {
				t.Errorf("n=%d: extreme Ritz value %v is %g off", n, s.Ritz[end].Value, e)
			}
		}
	}
}

// The basis in float32 stays orthonormal to float32 rounding however long the
// run, and however soon eigenvalues converge.
func TestLanczosInFloat32StaysOrthogonal(t *testing.T) {
	const dim, k = 3000, 150
	rng := rand.New(rand.NewPCG(4, 4))
	d := gapped(rng, scale{50, 100, 3}, scale{1, 4, 200}, scale{1e-3, 4e-3, dim - 203})
	for p, unit := range map[Precision]float64{Float32: 0x1p-24, BFloat16: 0x1p-8} {
		rows := stored(LanczosConfig{Dimension: dim, Products: k, Seed: 5, Precision: p}.complete(t, diagonalOperator(d)))
		worst, length := 0.0, 0.0
		for i, v := range rows {
			for _, u := range rows[:i] {
				if dot := mat.Dot(mat.NewVecDense(dim, v), mat.NewVecDense(dim, u)); math.Abs(dot) > math.Abs(worst) {
					worst = dot
				}
			}
			length = max(length, math.Abs(norm2(v)-1))
		}
		t.Logf("precision %v: inner products to %.2g, lengths to %.2g", p, worst, length)
		// Where one element rules, the stored vector, the one it is made from and
		// its product with another are off by a unit each, and the sums by as much.
		if math.Abs(worst) > 4*unit || length > unit {
			t.Errorf("precision %v: inner products to %g, lengths to %g", p, worst, length)
		}
	}
}

// Rounding is no direction: repeated eigenvalues close the Krylov space in
// float32 as they do in float64.
func TestLanczosInFloat32SeesInvariantSubspaces(t *testing.T) {
	for name, c := range map[string]struct {
		diagonal []float64
		distinct int
	}{
		"zero":         {make([]float64, 50), 1},
		"identity":     {slices.Repeat([]float64{1}, 50), 1},
		"two repeated": {append(slices.Repeat([]float64{1}, 25), slices.Repeat([]float64{3}, 25)...), 2},
		"rank one":     {append(make([]float64, 49), 4), 2},
	} {
		l, err := LanczosConfig{Dimension: 50, Products: 50, Seed: 11, Precision: Float32}.Start()
		if err != nil {
			t.Fatal(err)
		}
		for !l.Done() {
			if got, want := l.closed > 0, l.Steps() >= c.distinct; got != want {
				t.Fatalf("%s: subspace closed is %v after %d products, want %v", name, got, l.Steps(), want)
			}
			step(t, l, diagonalOperator(c.diagonal))
		}
		for _, r := range l.Spectrum().Ritz {
			if e := nearest(r.Value, c.diagonal); e > r.Bound+8*0x1p-24*l.scale {
				t.Errorf("%s: %+v is %g off", name, r, e)
			}
		}
	}
}

// The same bits come out however many cores work, and in whatever order.
func TestLanczosDoesNotDependOnCores(t *testing.T) {
	const dim = 3*panel + 77
	d := make([]float64, dim)
	for i := range d {
		d[i] = math.Pow(10, -6*float64(i)/dim)
	}
	backwards := func(n int, f func(int)) {
		for i := range n {
			f(n - 1 - i)
		}
	}
	together := func(n int, f func(int)) {
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { f(i) })
		}
		wg.Wait()
	}
	for _, p := range []Precision{Float64, Float32} {
		c := LanczosConfig{Dimension: dim, Products: 6, Seed: 1, Precision: p}
		want := c.complete(t, diagonalOperator(d)).Spectrum()
		for name, parallel := range map[string]Parallel{"backwards": backwards, "together": together} {
			c.Parallel = parallel
			if got := c.complete(t, diagonalOperator(d)).Spectrum(); !slices.Equal(got.Ritz, want.Ritz) {
				t.Errorf("precision %v, %s: %v, want %v", p, name, got.Ritz, want.Ritz)
			}
		}
	}
}
