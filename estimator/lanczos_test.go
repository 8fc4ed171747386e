package estimator

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

// operator is a symmetric matrix through its products.
type operator func(dst, v []float64)

func diagonalOperator(d []float64) operator {
	return func(dst, v []float64) {
		for i, x := range v {
			dst[i] = d[i] * x
		}
	}
}

func denseOperator(a *mat.SymDense) operator {
	n := a.SymmetricDim()
	return func(dst, v []float64) {
		mat.NewVecDense(n, dst).MulVec(a, mat.NewVecDense(n, v))
	}
}

// step feeds l one product.
func step(t testing.TB, l *Lanczos, h operator) {
	t.Helper()
	product := make([]float64, l.dim)
	h(product, l.Probe())
	if err := l.Absorb(product); err != nil {
		t.Fatal(err)
	}
}

// lanczos runs k products on h.
func lanczos(t testing.TB, h operator, dim, k int, seed uint64) *Lanczos {
	t.Helper()
	return LanczosConfig{Dimension: dim, Products: k, Seed: seed}.complete(t, h)
}

// complete runs all products on h.
func (c LanczosConfig) complete(t testing.TB, h operator) *Lanczos {
	t.Helper()
	l, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	for !l.Done() {
		step(t, l, h)
	}
	return l
}

// stored are the vectors of the basis.
func stored(l *Lanczos) [][]float64 {
	rows := make([][]float64, l.vectors.rows.count())
	for j := range rows {
		rows[j] = make([]float64, l.dim)
		l.vectors.read(j, rows[j])
	}
	return rows
}

func randomSymmetric(rng *rand.Rand, n int) *mat.SymDense {
	a := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range i + 1 {
			a.SetSym(i, j, rng.NormFloat64())
		}
	}
	return a
}

func eigenvalues(t testing.TB, a *mat.SymDense) []float64 {
	t.Helper()
	var eig mat.EigenSym
	if !eig.Factorize(a, false) {
		t.Fatal("reference eigenvalues did not converge")
	}
	v := eig.Values(nil)
	slices.Reverse(v)
	return v
}

// nearest is the distance from x to the nearest of values.
func nearest(x float64, values []float64) float64 {
	d := math.Inf(1)
	for _, v := range values {
		d = min(d, math.Abs(x-v))
	}
	return d
}

func TestLanczosAgreesWithDenseSolver(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 50, 120} {
		a := randomSymmetric(rand.New(rand.NewPCG(uint64(n), 1)), n)
		want := eigenvalues(t, a)
		norm := max(math.Abs(want[0]), math.Abs(want[n-1]))
		// Products, orthogonalisation and both eigensolvers err by n*roundoff*|A|
		// each, with small constants.
		tol := 16 * roundoff * float64(n) * norm
		l, err := NewLanczos(n, n, 3)
		if err != nil {
			t.Fatal(err)
		}
		for !l.Done() {
			step(t, l, denseOperator(a))
			// Every Ritz value is within its bound of an eigenvalue.
			weight := 0.0
			for _, r := range l.Spectrum().Ritz {
				weight += r.Weight
				if d := nearest(r.Value, want); d > r.Bound+tol {
					t.Errorf("n=%d k=%d: %v lies %g from an eigenvalue, bound %g", n, l.Steps(), r.Value, d, r.Bound)
				}
			}
			if math.Abs(weight-1) > 16*roundoff*float64(n) {
				t.Errorf("n=%d k=%d: weights sum to %v", n, l.Steps(), weight)
			}
		}
		s := l.Spectrum()
		if s.Source != SourceLanczos || s.Products != n || s.Dimension != int64(n) {
			t.Errorf("n=%d: source %v, products %d, dimension %d", n, s.Source, s.Products, s.Dimension)
		}
		for i, r := range s.Ritz {
			if math.Abs(r.Value-want[i]) > tol {
				t.Errorf("n=%d: Ritz value %d is %v, want %v", n, i, r.Value, want[i])
			}
			if r.Bound > tol {
				t.Errorf("n=%d: bound %d is %g after n products", n, i, r.Bound)
			}
		}
		if s.Stiffest < norm-tol || s.Stiffest > norm+2*tol {
			t.Errorf("n=%d: stiffest %v, want %v", n, s.Stiffest, norm)
		}
	}
}

// The weight of an eigenvalue is the squared component of the start along its
// eigenvector.
func TestLanczosFromWeights(t *testing.T) {
	d := []float64{5, 1, -2}
	l, err := NewLanczosFrom([]float64{6, 0, 8}, 3)
	if err != nil {
		t.Fatal(err)
	}
	for !l.Done() {
		step(t, l, diagonalOperator(d))
	}
	// The second coordinate is out of reach of the start: it comes with a later
	// block and no weight.
	want := []RitzValue{{Value: 5, Weight: 0.36}, {Value: 1}, {Value: -2, Weight: 0.64}}
	for i, r := range l.Spectrum().Ritz {
		if math.Abs(r.Value-want[i].Value) > 40*roundoff || math.Abs(r.Weight-want[i].Weight) > 40*roundoff || r.Bound > 40*roundoff {
			t.Errorf("Ritz value %d is %+v, want %+v", i, r, want[i])
		}
	}
}

func TestLanczosBasisIsOrthonormal(t *testing.T) {
	graded := make([]float64, 150)
	for i := range graded {
		graded[i] = math.Pow(10, -float64(i)/12)
	}
	repeated := make([]float64, 150)
	for i := range repeated {
		repeated[i] = float64(i % 7)
	}
	for name, d := range map[string][]float64{"graded over 12 decades": graded, "repeated": repeated, "zero": make([]float64, 150)} {
		l := lanczos(t, diagonalOperator(d), len(d), len(d), 5)
		// Two passes leave c*k*roundoff (Giraud et al.), and normalisation one
		// unit more.
		tol := 4 * roundoff * float64(len(d))
		rows := stored(l)
		for i, v := range rows {
			for j := range i + 1 {
				dot := 0.0
				for c, x := range v {
					dot += x * rows[j][c]
				}
				if i == j {
					dot--
				}
				if math.Abs(dot) > tol {
					t.Fatalf("%s: <v%d, v%d> is off by %g, tolerance %g", name, i, j, dot, tol)
				}
			}
		}
	}
}

// The Laplacian of a path of n vertices has eigenvalues 4 sin^2(pi j/2n).
func TestLanczosPathGraph(t *testing.T) {
	const n = 80
	laplacian := func(dst, v []float64) {
		for i, x := range v {
			dst[i] = 0
			if i > 0 {
				dst[i] += x - v[i-1]
			}
			if i < n-1 {
				dst[i] += x - v[i+1]
			}
		}
	}
	s := lanczos(t, laplacian, n, n, 1).Spectrum()
	for j, r := range s.Ritz {
		want := 4 * math.Pow(math.Sin(math.Pi*float64(n-1-j)/(2*n)), 2)
		if math.Abs(r.Value-want) > 4*16*roundoff*n {
			t.Errorf("eigenvalue %d is %v, want %v", j, r.Value, want)
		}
	}
}

func TestLanczosInvariantSubspaces(t *testing.T) {
	constant := func(n int, x float64) []float64 { return slices.Repeat([]float64{x}, n) }
	for _, c := range []struct {
		name     string
		diagonal []float64
		// distinct is the number of products that tell all eigenvalues.
		distinct int
	}{
		{"one dimension", []float64{7}, 1},
		{"one dimension, zero", []float64{0}, 1},
		{"one dimension, negative", []float64{-3}, 1},
		{"zero", constant(20, 0), 1},
		{"identity", constant(20, 1), 1},
		{"rank one", append(constant(19, 0), 4), 2},
		{"two repeated", append(constant(30, 1e-3), constant(30, 1)...), 2},
		{"four repeated, one alone", append(append(constant(9, -1), constant(9, 2)...), 1e-4), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := len(c.diagonal)
			l, err := NewLanczos(n, n, 11)
			if err != nil {
				t.Fatal(err)
			}
			for !l.Done() {
				if got, want := l.closed > 0, l.Steps() >= c.distinct; got != want {
					t.Fatalf("subspace closed is %v after %d products, want %v", got, l.Steps(), want)
				}
				step(t, l, diagonalOperator(c.diagonal))
			}
			if !l.Converged(1e-9) {
				t.Error("not converged at the end")
			}
			want := slices.Clone(c.diagonal)
			slices.Sort(want)
			slices.Reverse(want)
			weighted := 0
			tol := 16 * roundoff * float64(n) * maxAbs(want)
			for i, r := range l.Spectrum().Ritz {
				if math.Abs(r.Value-want[i]) > tol || r.Bound > tol {
					t.Errorf("Ritz value %d is %+v, want %v", i, r, want[i])
				}
				if r.Weight > 0 {
					weighted++
				}
			}
			if weighted != c.distinct {
				t.Errorf("%d Ritz values carry weight, want %d", weighted, c.distinct)
			}
			if l.Probe() != nil {
				t.Error("a probe after the last product")
			}
		})
	}
}

// Multiplying by a power of two multiplies every value by it, to the last bit.
func TestLanczosExtremeMagnitudes(t *testing.T) {
	d := []float64{3, 2, 1.5, 1e-3, -0.25, 1e-6, 0, 0.75}
	reference := lanczos(t, diagonalOperator(d), len(d), 6, 2).Spectrum()
	for _, exp := range []int{-960, -500, 500, 990} {
		scaled := make([]float64, len(d))
		for i := range d {
			scaled[i] = math.Ldexp(d[i], exp)
		}
		s := lanczos(t, diagonalOperator(scaled), len(d), 6, 2).Spectrum()
		for i, r := range s.Ritz {
			want := reference.Ritz[i]
			if r.Value != math.Ldexp(want.Value, exp) || r.Weight != want.Weight {
				t.Errorf("2^%d: Ritz value %d is %+v, want %+v times 2^%d", exp, i, r, want, exp)
			}
		}
	}
	for _, magnitude := range []float64{1e-300, 1e300} {
		s := lanczos(t, diagonalOperator([]float64{magnitude, 2 * magnitude}), 2, 2, 1).Spectrum()
		for i, want := range []float64{2, 1} {
			if math.Abs(s.Ritz[i].Value/magnitude-want) > 16*roundoff {
				t.Errorf("%g: Ritz value %d is %v", magnitude, i, s.Ritz[i].Value)
			}
		}
	}
}

func TestLanczosRefusals(t *testing.T) {
	h := diagonalOperator([]float64{3, 2, 1})
	l, err := NewLanczos(3, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	step(t, l, h)
	before, probe := l.Spectrum(), slices.Clone(l.Probe())
	for name, c := range map[string]struct {
		product []float64
		want    error
	}{
		"short":     {[]float64{1, 2}, ErrDimension},
		"long":      {[]float64{1, 2, 3, 4}, ErrDimension},
		"nil":       {nil, ErrDimension},
		"NaN":       {[]float64{1, math.NaN(), 3}, ErrNotFinite},
		"infinity":  {[]float64{1, 2, math.Inf(-1)}, ErrNotFinite},
		"overflows": {[]float64{math.MaxFloat64, math.MaxFloat64, 0}, ErrNotFinite},
	} {
		if err := l.Absorb(c.product); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
		if after := l.Spectrum(); !slices.Equal(after.Ritz, before.Ritz) || !slices.Equal(l.Probe(), probe) || l.Steps() != 1 {
			t.Errorf("%s: the run changed", name)
		}
	}
	for !l.Done() {
		step(t, l, h)
	}
	if err := l.Absorb([]float64{1, 2, 3}); !errors.Is(err, ErrDone) {
		t.Errorf("after the last product: error %v, want %v", err, ErrDone)
	}
	for name, err := range map[string]error{
		"dimension 0": second(NewLanczos(0, 1, 0)), "no steps": second(NewLanczos(1, 0, 0)),
		"no start": second(NewLanczosFrom(nil, 1)), "zero start": second(NewLanczosFrom(make([]float64, 4), 1)),
		"NaN start": second(NewLanczosFrom([]float64{math.NaN()}, 1)),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func second[A any](_ A, err error) error { return err }

// Numbers too small to have digits left neither hang a run nor spoil its basis.
func TestLanczosSubnormal(t *testing.T) {
	const tiny = math.SmallestNonzeroFloat64
	l, err := NewLanczosFrom([]float64{tiny, 3 * tiny, 0, 2 * tiny}, 4)
	if err != nil {
		t.Fatal(err)
	}
	for !l.Done() {
		if norm := norm2(l.Probe()); math.Abs(norm-1) > 4*roundoff {
			t.Errorf("probe %d has norm %v", l.Steps(), norm)
		}
		step(t, l, diagonalOperator([]float64{tiny, 7 * tiny, 0, 1e-310}))
	}
	checkSpectrum(t, l.Spectrum())
}

// The start vector is a contract with other languages.
func TestLanczosStartVector(t *testing.T) {
	l, err := NewLanczos(5, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []float64{-8542, 25735, 13677, -30950, -14015}
	norm := norm2(want)
	for i, x := range l.Probe() {
		if x != want[i]/norm {
			t.Errorf("entry %d is %v, want %v/%v", i, x, want[i], norm)
		}
	}
	if got := splitmix64(0); got != 0xe220a8397b1dcdaf {
		t.Errorf("splitmix64(0) = %#x", got)
	}
}

func TestLanczosBytes(t *testing.T) {
	const dim = 60
	d := make([]float64, dim)
	for i := range d {
		d[i] = float64(i)
	}
	for _, k := range []int{1, 12, skewRows, skewRows + 1, dim} {
		for _, p := range []Precision{Float64, Float32, BFloat16} {
			c := LanczosConfig{Dimension: dim, Products: k, Seed: 1, Precision: p}
			l := c.complete(t, diagonalOperator(d))
			const numbersPerRitzValue = 3
			held := 8 * (len(l.work) + len(l.diag) + len(l.off) + numbersPerRitzValue*len(l.Spectrum().Ritz) + cap(l.vectors.sums))
			switch r := l.vectors.rows.(type) {
			case *rows64:
				for _, v := range r.v {
					held += 8 * len(v)
				}
			case *rows32:
				for _, v := range r.v {
					held += 4 * len(v)
				}
			}
			for _, column := range l.skew {
				held += 8 * cap(column)
			}
			for _, s := range l.vectors.scratch {
				held += 8*len(s.f64) + 4*len(s.f32)
			}
			if got := c.Bytes(); got != float64(held) {
				t.Errorf("%+v takes %v bytes, the run holds %d", c, got, held)
			}
		}
	}
	if many := (LanczosConfig{Dimension: dim, Products: 1000}); many.Bytes() != (LanczosConfig{Dimension: dim, Products: dim}).Bytes() {
		t.Error("more steps than dimensions need more memory")
	}
}

// A spectrum is read off once for each product.
func TestLanczosSpectrumIsKept(t *testing.T) {
	l, err := NewLanczos(10, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	h := diagonalOperator([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	for k := 1; k <= 10; k++ {
		step(t, l, h)
		_ = l.Converged(0.05)
		if got, want := l.Spectrum(), l.decompose(); got.Products != k || !slices.Equal(got.Ritz, want.Ritz) {
			t.Fatalf("after %d products: %+v, want %+v", k, got, want)
		}
		if allocs := testing.AllocsPerRun(5, func() { l.Spectrum() }); allocs != 0 {
			t.Errorf("after %d products: %v allocations for the same spectrum", k, allocs)
		}
	}
}

// Every entry is kept, with its own magnitude, in the row that it falls into;
// signs differ within a row.
func TestFoldKeepsEveryEntry(t *testing.T) {
	const n = 5 * skewRows
	negative := 0
	for i := range n {
		v := make([]float64, i+1)
		v[i] = 3
		out := fold(v)
		if len(out) != min(i+1, skewRows) || math.Abs(out[i%skewRows]) != 3 || norm2(out) != 3 {
			t.Errorf("entry %d becomes %v", i, out)
		}
		if out[i%skewRows] < 0 {
			negative++
		}
	}
	// 128 random signs: 64 with a standard deviation of 5.7, four of which are 23.
	if negative < 41 || negative > 87 {
		t.Errorf("%d of %d signs are negative", negative, n-skewRows)
	}
}

// Bounds are the residual norms |A y - theta y| for an operator that is not
// quite symmetric, also where they are estimated. The estimate of each has a
// standard deviation of an eighth; five of them are not exceeded in 160.
func TestLanczosBoundsAreResidualNorms(t *testing.T) {
	const dim, k, noise = 200, 160, 1e-3
	rng := rand.New(rand.NewPCG(5, 5))
	a := mat.NewDense(dim, dim, nil)
	for i := range dim {
		for j := range dim {
			a.Set(i, j, noise/math.Sqrt(dim)*rng.NormFloat64())
		}
		a.Set(i, i, a.At(i, i)+math.Pow(10, -4*rng.Float64()))
	}
	l := lanczos(t, func(dst, v []float64) {
		mat.NewVecDense(dim, dst).MulVec(a, mat.NewVecDense(dim, v))
	}, dim, k, 9)
	basis, rows := mat.NewDense(dim, k, nil), stored(l)
	for j := range k {
		basis.SetCol(j, rows[j])
	}
	reference := decomposeDense(t, tridiagonal{diag: l.diag, off: l.off[:k-1]})
	var ritz, residuals mat.Dense
	ritz.Mul(basis, reference.vectors)
	residuals.Mul(a, &ritz)
	for i, r := range l.Spectrum().Ritz {
		y := ritz.ColView(k - 1 - i)
		var residual mat.VecDense
		residual.AddScaledVec(residuals.ColView(k-1-i), -r.Value, y)
		want := mat.Norm(&residual, 2)
		if math.Abs(r.Bound-want) > 5.0/8*want {
			t.Errorf("bound %d is %g, the residual norm %g", i, r.Bound, want)
		}
	}
}

// Noise that breaks the symmetry of the products shows in the bounds, so that
// what lies below it is not taken for a scale.
func TestLanczosNoiseEntersBounds(t *testing.T) {
	d := gapped(rand.New(rand.NewPCG(1, 1)), scale{1, 4, 20}, scale{1e-6, 4e-6, 40})
	rng := rand.New(rand.NewPCG(2, 2))
	const noise = 1e-3
	l := lanczos(t, func(dst, v []float64) {
		for i, x := range v {
			dst[i] = d[i]*x + noise/math.Sqrt(60)*rng.NormFloat64()
		}
	}, 60, 45, 3)
	s := l.Spectrum()
	for _, r := range s.Ritz {
		// Each product errs by noise, so a unit combination of 45 by at most
		// sqrt(45) times as much, typically by noise.
		if d := nearest(r.Value, d); d > r.Bound+math.Sqrt(45)*noise {
			t.Errorf("%v lies %g from an eigenvalue, bound %g", r.Value, d, r.Bound)
		}
		if r.Bound < noise/10 && r.Value < 0.5 {
			t.Errorf("%v has bound %g under noise %g", r.Value, r.Bound, noise)
		}
	}
	for i, g := range DetectScales(s).Groups {
		if g.Hi < 0.5 && g.Lo < noise/10 {
			t.Errorf("scale %d is [%g, %g], below the noise", i, g.Lo, g.Hi)
		}
	}
}

func TestFromCoefficientsIsTheSameSpectrum(t *testing.T) {
	d := gapped(rand.New(rand.NewPCG(1, 1)), scale{1, 4, 20}, scale{1e-3, 4e-3, 20})
	l := lanczos(t, diagonalOperator(d), 40, 12, 3)
	want := l.Spectrum()
	got, err := FromCoefficients(l.diag, l.off, 40)
	if err != nil {
		t.Fatal(err)
	}
	if got.Source != SourceCoefficients || got.Dimension != 40 || got.Products != 12 {
		t.Errorf("source %v, dimension %d, products %d", got.Source, got.Dimension, got.Products)
	}
	short, err := FromCoefficients(l.diag, l.off[:11], 40)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got.Ritz {
		if r.Value != want.Ritz[i].Value || r.Weight != want.Ritz[i].Weight {
			t.Errorf("Ritz value %d is %+v, want %+v", i, r, want.Ritz[i])
		}
		if math.Abs(r.Bound-want.Ritz[i].Bound) > 16*roundoff*40 {
			t.Errorf("bound %d is %v, want %v", i, r.Bound, want.Ritz[i].Bound)
		}
		if short.Ritz[i].Value != r.Value || short.Ritz[i].Bound < r.Bound {
			t.Errorf("without the last beta, Ritz value %d is %+v, want bound >= %v", i, short.Ritz[i], r.Bound)
		}
	}
}

func TestFromCoefficientsRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		alpha, beta []float64
		dim         int64
	}{
		"empty":              {},
		"too few betas":      {alpha: []float64{1, 2, 3}, beta: []float64{1}},
		"too many betas":     {alpha: []float64{1}, beta: []float64{1, 1}},
		"NaN alpha":          {alpha: []float64{math.NaN()}, beta: []float64{1}},
		"infinite alpha":     {alpha: []float64{math.Inf(1)}, beta: []float64{1}},
		"NaN beta":           {alpha: []float64{1}, beta: []float64{math.NaN()}},
		"infinite beta":      {alpha: []float64{1}, beta: []float64{math.Inf(1)}},
		"negative beta":      {alpha: []float64{1, 1}, beta: []float64{-1}},
		"negative dimension": {alpha: []float64{1}, beta: []float64{1}, dim: -1},
	} {
		if s, err := FromCoefficients(c.alpha, c.beta, c.dim); err == nil || s.Known() {
			t.Errorf("%s: got %+v, %v", name, s, err)
		}
	}
}

// reporter is what testing.TB and *rapid.T share.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkSpectrum asserts what holds for every spectrum and its scales.
func checkSpectrum(t reporter, s Spectrum) {
	t.Helper()
	weight := 0.0
	for i, r := range s.Ritz {
		if !isFinite(r.Value) || !(r.Weight >= 0) || !(r.Bound >= 0) || !isFinite(r.Bound) {
			t.Fatalf("Ritz value %d is %+v", i, r)
		}
		if i > 0 && r.Value > s.Ritz[i-1].Value {
			t.Fatalf("Ritz values not sorted: %v", s.Ritz)
		}
		if s.Stiffest < r.Value {
			t.Fatalf("stiffest %v below %v", s.Stiffest, r.Value)
		}
		weight += r.Weight
	}
	if !(math.Abs(weight-1) <= 64*roundoff*float64(len(s.Ritz))) {
		t.Fatalf("weights sum to %v", weight)
	}
	checkScales(t, DetectScales(s))
}

func checkScales(t reporter, s Scales) {
	t.Helper()
	if len(s.Confidence) != max(0, len(s.Groups)-1) {
		t.Fatalf("%d confidences for %d scales", len(s.Confidence), len(s.Groups))
	}
	for i, g := range s.Groups {
		if !(0 < g.Lo && g.Lo <= g.Hi) || math.IsInf(g.Hi, 0) || g.Count < 1 || !(g.Weight >= 0 && g.Weight <= 1) {
			t.Fatalf("scale %d is %+v", i, g)
		}
		if i > 0 && !(g.Hi < s.Groups[i-1].Lo) {
			t.Fatalf("scales %d and %d overlap: %+v", i-1, i, s.Groups)
		}
	}
	for i, c := range s.Confidence {
		if !(c >= 0 && c <= 1) {
			t.Fatalf("confidence %d is %v", i, c)
		}
	}
	if !(s.Negative <= 0) {
		t.Fatalf("negative is %v", s.Negative)
	}
}

func TestLanczosNoNaN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		entry := rapid.OneOf(rapid.Just(0.0), rapid.Just(1.0), rapid.Float64Range(-1, 1), rapid.Float64Range(-1e295, 1e295), rapid.Float64Range(-1e-290, 1e-290))
		d := rapid.SliceOfN(entry, n, n).Draw(t, "diagonal")
		u := rapid.SliceOfN(entry, n, n).Draw(t, "vector")
		l, err := LanczosConfig{
			Dimension: n, Products: n, Seed: rapid.Uint64().Draw(t, "seed"),
			Precision: rapid.SampledFrom([]Precision{Float64, Float32, BFloat16}).Draw(t, "precision"),
		}.Start()
		if err != nil {
			t.Fatal(err)
		}
		for !l.Done() {
			v := l.Probe()
			product := make([]float64, n)
			for i := range v {
				dot := 0.0
				for j := range v {
					dot += u[j] * v[j]
				}
				product[i] = d[i]*v[i] + u[i]*dot
			}
			if err := l.Absorb(product); err != nil {
				if !errors.Is(err, ErrNotFinite) {
					t.Fatal(err)
				}
				return
			}
			checkSpectrum(t, l.Spectrum())
			_ = l.Converged(0.05)
		}
	})
}

func FuzzLanczos(f *testing.F) {
	seed := func(v ...float64) []byte {
		var b []byte
		for _, x := range v {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
		return b
	}
	f.Add(seed(1, 2, 3))
	f.Add(seed(0, 0, 0, 0))
	f.Add(seed(1e300, 1e-300, -1e300, 5e-324))
	f.Add(seed(5e-324, 1e-323, 5e-324, 1.5e-323, 5e-324))
	f.Add(seed(1, 1, 1, 1e-3, 1e-3, 1e-6, -1))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d []float64
		for len(data) >= 8 && len(d) < 24 {
			if x := math.Float64frombits(binary.LittleEndian.Uint64(data)); isFinite(x) {
				d = append(d, x)
			}
			data = data[8:]
		}
		if len(d) == 0 {
			return
		}
		product := make([]float64, len(d))
		for _, p := range []Precision{Float64, Float32, BFloat16} {
			l, err := LanczosConfig{Dimension: len(d), Products: len(d), Seed: uint64(len(data)), Precision: p}.Start()
			if err != nil {
				t.Fatal(err)
			}
			for !l.Done() {
				diagonalOperator(d)(product, l.Probe())
				if err := l.Absorb(product); err != nil {
					if !errors.Is(err, ErrNotFinite) {
						t.Fatal(err)
					}
					break
				}
				checkSpectrum(t, l.Spectrum())
			}
		}
		beta := make([]float64, len(d))
		for i, x := range d {
			beta[i] = math.Abs(x)
		}
		s, err := FromCoefficients(d, beta, int64(len(d)))
		if err != nil {
			t.Fatal(err)
		}
		checkSpectrum(t, s)
	})
}
