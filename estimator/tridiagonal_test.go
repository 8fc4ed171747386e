package estimator

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

// secondDifference is the k x k matrix with 2 on the diagonal and 1 beside it,
// times scale.
func secondDifference(k int, scale float64) tridiagonal {
	t := tridiagonal{diag: make([]float64, k), off: make([]float64, k-1)}
	for i := range t.diag {
		t.diag[i] = 2 * scale
	}
	for i := range t.off {
		t.off[i] = scale
	}
	return t
}

// The eigenvalues are 2+2cos(j*pi/(k+1)) and the components of the eigenvectors
// sqrt(2/(k+1)) sin(i*j*pi/(k+1)), whatever the matrix is multiplied by.
func TestTridiagonalSecondDifference(t *testing.T) {
	for _, scale := range []float64{1, 0x1p-1000, 0x1p1000, 1e-300, 1e300} {
		for _, k := range []int{1, 2, 3, 17, 64} {
			e, err := secondDifference(k, scale).eigen(nil)
			if err != nil {
				t.Fatal(err)
			}
			tol := 4 * roundoff * float64(k)
			for i, v := range e.values {
				angle := math.Pi * float64(i+1) / float64(k+1)
				if want := 2 + 2*math.Cos(angle); math.Abs(v/scale-want) > 4*tol {
					t.Errorf("k=%d scale=%g: value %d is %v, want %v", k, scale, i, v/scale, want)
				}
				end := 2 / float64(k+1) * math.Pow(math.Sin(angle), 2)
				// The eigenvalues next to i lie at least 3/(k+1)^2 away, and a
				// vector errs by the rounding of |T| <= 4 over that.
				vectorTol := 4 * tol * float64((k+1)*(k+1))
				if got := e.weight(i); math.Abs(got-end) > vectorTol {
					t.Errorf("k=%d scale=%g: weight %d is %v, want %v", k, scale, i, got, end)
				}
				if got := e.last(i); math.Abs(got-math.Sqrt(end)) > vectorTol {
					t.Errorf("k=%d scale=%g: last component %d is %v, want %v", k, scale, i, got, math.Sqrt(end))
				}
			}
		}
	}
}

func TestTridiagonalZeroOffDiagonalSeparatesBlocks(t *testing.T) {
	e, err := tridiagonal{diag: []float64{1, 3, 2, 2}, off: []float64{1, 0, 1}}.eigen(nil)
	if err != nil {
		t.Fatal(err)
	}
	// The first block has eigenvalues 2 -+ sqrt(2) and holds all the weight; the
	// second 1 and 3, and none.
	want := []struct{ value, weight float64 }{
		{2 + math.Sqrt2, (2 - math.Sqrt2) / 4}, {3, 0}, {1, 0}, {2 - math.Sqrt2, (2 + math.Sqrt2) / 4},
	}
	for i, w := range want {
		if math.Abs(e.values[i]-w.value) > 8*roundoff || math.Abs(e.weight(i)-w.weight) > 8*roundoff {
			t.Errorf("pair %d is (%v, %v), want %v", i, e.values[i], e.weight(i), w)
		}
		if w.weight == 0 && e.weight(i) != 0 {
			t.Errorf("weight %d is %v, want exactly 0", i, e.weight(i))
		}
	}
}

// A block far below the others must not disturb them.
func TestTridiagonalTinyBlock(t *testing.T) {
	e, err := tridiagonal{diag: []float64{0, 0, 1, 1}, off: []float64{1e-130, 0, 1}}.eigen(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{2, 0, 0, 0} {
		if math.Abs(e.values[i]-want) > 8*roundoff {
			t.Errorf("value %d is %v, want %v", i, e.values[i], want)
		}
	}
}

func TestTridiagonalZeroOrder(t *testing.T) {
	if e, err := (tridiagonal{}).eigen(nil); err != nil || e.order() != 0 {
		t.Errorf("got order %d, %v", e.order(), err)
	}
}

// Weights are a probability, values are sorted, and the trace is kept.
func TestTridiagonalInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, 30).Draw(t, "k")
		magnitude := math.Pow(10, rapid.Float64Range(-300, 300).Draw(t, "magnitude"))
		m := tridiagonal{
			diag: rapid.SliceOfN(rapid.Float64Range(-1, 1), k, k).Draw(t, "diag"),
			off:  rapid.SliceOfN(rapid.Float64Range(0, 1), k-1, k-1).Draw(t, "off"),
		}
		trace, sum, weight := 0.0, 0.0, 0.0
		for i := range m.diag {
			trace += m.diag[i]
			m.diag[i] *= magnitude
		}
		for i := range m.off {
			m.off[i] *= magnitude
		}
		e, err := m.eigen(nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range e.values {
			if i > 0 && v > e.values[i-1] {
				t.Fatalf("values not sorted: %v", e.values)
			}
			sum += v / magnitude
			weight += e.weight(i)
		}
		// |T| <= 3, and each of the k values errs by a few units of rounding of it.
		tol := 3 * 8 * roundoff * float64(k*k)
		if !(math.Abs(sum-trace) <= tol) || !(math.Abs(weight-1) <= tol) {
			t.Fatalf("trace %v, want %v; weight %v, want 1", sum, trace, weight)
		}
	})
}

// denseEigen is the reference: the values upwards, the vectors as columns.
type denseEigen struct {
	values  []float64
	vectors *mat.Dense
}

func decomposeDense(t *testing.T, m tridiagonal) denseEigen {
	t.Helper()
	k := len(m.diag)
	a := mat.NewSymDense(k, nil)
	for i, x := range m.diag {
		a.SetSym(i, i, x)
	}
	for i, x := range m.off {
		a.SetSym(i, i+1, x)
	}
	var eig mat.EigenSym
	if !eig.Factorize(a, true) {
		t.Fatal("the reference did not converge")
	}
	e := denseEigen{values: eig.Values(nil), vectors: mat.NewDense(k, k, nil)}
	eig.VectorsTo(e.vectors)
	return e
}

// scaled is m times 2^exp.
func (t tridiagonal) scaled(exp int) tridiagonal {
	out := tridiagonal{diag: make([]float64, len(t.diag)), off: make([]float64, len(t.off))}
	for i, x := range t.diag {
		out.diag[i] = math.Ldexp(x, exp)
	}
	for i, x := range t.off {
		out.off[i] = math.Ldexp(x, exp)
	}
	return out
}

// hardTridiagonals are matrices of norm 1/100 to 100 that have broken solvers.
func hardTridiagonals() map[string]tridiagonal {
	rng := rand.New(rand.NewPCG(3, 4))
	build := func(k int, diag, off func(i int) float64) tridiagonal {
		m := tridiagonal{diag: make([]float64, k), off: make([]float64, k-1)}
		for i := range m.diag {
			m.diag[i] = diag(i)
		}
		for i := range m.off {
			m.off[i] = off(i)
		}
		return m
	}
	constant := func(x float64) func(int) float64 { return func(int) float64 { return x } }
	normal := func(int) float64 { return rng.NormFloat64() }
	down := func(k int) func(int) float64 {
		return func(i int) float64 { return math.Pow(10, -12*float64(i)/float64(k-1)) }
	}
	up := func(k int) func(int) float64 {
		return func(i int) float64 { return down(k)(k - 1 - i) }
	}
	wilkinson := func(i int) float64 { return math.Abs(float64(i%21 - 10)) }
	every := func(n int, at, otherwise float64) func(int) float64 {
		return func(i int) float64 {
			if i%n == n-1 {
				return at
			}
			return otherwise
		}
	}
	return map[string]tridiagonal{
		"order 1":              build(1, constant(-3), nil),
		"order 2":              build(2, constant(1), constant(2)),
		"order 2, equal ends":  build(2, constant(1), constant(0)),
		"random 3":             build(3, normal, normal),
		"random 50":            build(50, normal, normal),
		"random 200":           build(200, normal, normal),
		"graded downwards":     build(120, down(120), func(i int) float64 { return down(120)(i) / 3 }),
		"graded upwards":       build(120, up(120), func(i int) float64 { return up(120)(i) / 3 }),
		"graded, coupled":      build(120, down(120), constant(1e-6)),
		"zero":                 build(30, constant(0), constant(0)),
		"identity":             build(30, constant(1), constant(0)),
		"zero diagonal":        build(101, constant(0), func(int) float64 { return rng.Float64() }),
		"Wilkinson's pairs":    build(21, wilkinson, constant(1)),
		"glued ghosts":         build(189, wilkinson, every(21, 1e-14, 1)),
		"blocks":               build(60, normal, every(7, 0, 1)),
		"blocks of one":        build(40, normal, constant(0)),
		"nearly the identity":  build(80, func(int) float64 { return 1 + 1e-12*rng.NormFloat64() }, constant(1e-13)),
		"block below rounding": build(40, func(i int) float64 { return math.Pow(1e-150, float64(i/20)) }, every(20, 0, 1e-160)),
	}
}

// The reference and the iteration each decompose a matrix that is c*k*roundoff
// of |T| off. So do the values differ, and projections on the eigenvectors of
// values that lie a gap away from the others by that over the gap (Davis and
// Kahan): components are compared where this is below 1e-10, and summed over
// the cluster elsewhere.
func TestTridiagonalAgreesWithDenseSolver(t *testing.T) {
	for name, m := range hardTridiagonals() {
		want := decomposeDense(t, m)
		k := len(m.diag)
		norm := max(math.Abs(want.values[0]), math.Abs(want.values[k-1]))
		backward := 8 * roundoff * math.Sqrt(float64(k)) * norm
		f := randomColumns(rand.New(rand.NewPCG(1, uint64(k))), k, 3)
		for _, exp := range []int{0, 990, -990} {
			if norm < 1e-100 && exp < 0 {
				continue // would lose digits to underflow
			}
			got, err := m.scaled(exp).eigen(f)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			from := k - 1
			for i := k - 1; i >= 0; i-- {
				j := k - 1 - i
				if v := math.Ldexp(got.values[i], -exp); math.Abs(v-want.values[j]) > backward {
					t.Errorf("%s 2^%d: value %d is %v, want %v", name, exp, i, v, want.values[j])
				}
				if i > 0 && want.values[j+1]-want.values[j] <= 4*backward/1e-10 {
					continue
				}
				compareCluster(t, name, got, want, f, i, from)
				from = i - 1
			}
		}
	}
}

// compareCluster compares the energies of the first and last basis vector, and
// of the rows of F, in the span of the eigenvectors of values lo to hi.
func compareCluster(t *testing.T, name string, got eigenpairs, want denseEigen, f [][]float64, lo, hi int) {
	t.Helper()
	k := got.order()
	var first, last, image float64
	for i := lo; i <= hi; i++ {
		s := mat.Col(nil, k-1-i, want.vectors)
		first += s[0]*s[0] - got.weight(i)
		last += s[k-1]*s[k-1] - got.last(i)*got.last(i)
		for r, x := range got.image(i) {
			dot := 0.0
			for j := range s {
				dot += f[j][r] * s[j]
			}
			image += dot*dot - x*x
		}
	}
	// F has rows of about unit length, three of them.
	if !(math.Abs(first) <= 1e-10 && math.Abs(last) <= 1e-10 && math.Abs(image) <= 1e-9) {
		t.Errorf("%s: values %d to %d: squared first components are off by %g, last by %g, images by %g", name, lo, hi, first, last, image)
	}
}

func randomColumns(rng *rand.Rand, k, rows int) [][]float64 {
	f := make([][]float64, k)
	for j := range f {
		f[j] = make([]float64, rows)
		for r := range f[j] {
			f[j][r] = rng.NormFloat64() / math.Sqrt(float64(k))
		}
	}
	return f
}

// Columns of F end with their last entry that is not zero.
func TestTridiagonalRaggedImage(t *testing.T) {
	// The eigenvectors are (1, 1)/sqrt(2) for 1 and (1, -1)/sqrt(2) for -1; F
	// has the one row (0, 3).
	e, err := tridiagonal{diag: []float64{0, 0}, off: []float64{1}}.eigen([][]float64{nil, {3}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if got := e.image(i); len(got) != 1 || math.Abs(math.Abs(got[0])-3/math.Sqrt2) > 8*roundoff {
			t.Errorf("image %d is %v, want 3/sqrt(2) in magnitude", i, got)
		}
	}
}

// What never settles ends with an error.
func TestTridiagonalIterationIsBounded(t *testing.T) {
	m := secondDifference(20, 1)
	m.diag[10] = math.NaN()
	if _, err := m.eigen(nil); !errors.Is(err, errQL) {
		t.Errorf("error %v, want %v", err, errQL)
	}
}

func BenchmarkFromCoefficients(b *testing.B) {
	for _, k := range []int{128, 512, 1024, 4096} {
		b.Run(fmt.Sprint(k), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			alpha, beta := make([]float64, k), make([]float64, k)
			for i := range alpha {
				alpha[i], beta[i] = rng.NormFloat64(), rng.Float64()
			}
			for b.Loop() {
				if _, err := FromCoefficients(alpha, beta, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLanczosSpectrum carries the sketch of the products' noise as well.
func BenchmarkLanczosSpectrum(b *testing.B) {
	for _, k := range []int{128, 512, 1024} {
		b.Run(fmt.Sprint(k), func(b *testing.B) {
			d := make([]float64, k+1)
			for i := range d {
				d[i] = math.Pow(10, -6*float64(i)/float64(k))
			}
			l := lanczos(b, diagonalOperator(d), k+1, k, 1)
			for b.Loop() {
				l.decompose()
			}
		})
	}
}
