package estimator

import (
	"cmp"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

func newSchur(a *mat.Dense) (*schur, bool) {
	n, _ := a.Dims()
	s := new(schur)
	s.grow(n)
	return s, s.decompose(a.RawMatrix().Data, n, n)
}

// drawSquare draws matrices of the kinds that projections are: nearly
// symmetric, graded, with repeated eigenvalues, singular, and any other.
func drawSquare(t *rapid.T) *mat.Dense {
	n := rapid.IntRange(1, 24).Draw(t, "order")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 31))
	skew := rapid.SampledFrom([]float64{0, 1e-9, 0.1, 1}).Draw(t, "skew")
	decades := rapid.SampledFrom([]float64{0, 6, 12}).Draw(t, "decades")
	distinct := rapid.IntRange(1, n).Draw(t, "distinct")
	var qr mat.QR
	qr.Factorize(mat.NewDense(n, n, normals(r, n*n)))
	var q, a mat.Dense
	qr.QTo(&q)
	values := make([]float64, distinct)
	for i := range values {
		values[i] = math.Pow(10, -decades*r.Float64()) * float64(1-2*r.IntN(2))
	}
	diagonal := make([]float64, n)
	for i := range diagonal {
		diagonal[i] = values[i%distinct]
	}
	a.Product(&q, mat.NewDiagDense(n, diagonal), q.T())
	a.Apply(func(_, _ int, v float64) float64 { return v + skew*r.NormFloat64()/float64(n) }, &a)
	return &a
}

func normals(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

func TestSchurAgreesWithLAPACK(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawSquare(t)
		n, _ := a.Dims()
		s, ok := newSchur(a)
		var e mat.Eigen
		if !ok || !e.Factorize(a, mat.EigenBoth) {
			t.Fatal("no eigenvalues")
		}
		want, left, right := e.Values(nil), new(mat.CDense), new(mat.CDense)
		e.LeftVectorsTo(left)
		e.VectorsTo(right)
		got := make([]complex128, n)
		for i := range got {
			got[i] = complex(s.re[i], s.im[i])
		}
		// Both are exact for a matrix within p(n) roundings of A, by which an
		// eigenvalue moves as its condition number 1/|y'x| says, or, where that
		// is large, as the n-th root of the rounding.
		backward := 100 * float64(n) * roundoff * mat.Norm(a, 2)
		for i, w := range want {
			product := complex128(0)
			for k := range n {
				product += cmplx.Conj(left.At(k, i)) * right.At(k, i)
			}
			if cmplx.Abs(product) < 1e-4 {
				continue
			}
			nearest := slices.MinFunc(got, func(x, y complex128) int { return cmp.Compare(cmplx.Abs(x-w), cmplx.Abs(y-w)) })
			if cmplx.Abs(nearest-w) > backward/cmplx.Abs(product)*10 {
				t.Fatalf("eigenvalue %v, nearest to it %v", w, nearest)
			}
		}
	})
}

func TestSchurVectorsAreEigenvectors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawSquare(t)
		n, _ := a.Dims()
		s, ok := newSchur(a)
		if !ok {
			t.Fatal("no eigenvalues")
		}
		tolerance := 100 * float64(n) * roundoff * max(mat.Norm(a, 2), 1e-300)
		for k := 0; k < n; k++ {
			re, im := mat.NewVecDense(n, s.vector(k)), mat.NewVecDense(n, nil)
			if s.im[k] != 0 {
				im = mat.NewVecDense(n, s.vector(k+1))
			}
			var left, right mat.VecDense
			left.MulVec(a, re) // = re*re - im*im
			right.ScaleVec(s.re[k], re)
			right.AddScaledVec(&right, -s.im[k], im)
			left.SubVec(&left, &right)
			if off := mat.Norm(&left, 2); off > tolerance {
				t.Fatalf("eigenvalue %v + %vi: residual %v", s.re[k], s.im[k], off)
			}
			length := mat.Dot(re, re) + mat.Dot(im, im)
			if math.Abs(length-1) > 1e-12 {
				t.Fatalf("eigenvector of length %v", length)
			}
			if s.im[k] != 0 {
				k++
			}
		}
	})
}

func TestSchurCoordinates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawSquare(t)
		n, _ := a.Dims()
		s, ok := newSchur(a)
		if !ok {
			t.Fatal("no eigenvalues")
		}
		r := rand.New(rand.NewPCG(3, uint64(n)))
		y := normals(r, n)
		c, inner := slices.Clone(y), make([]float64, n)
		s.coordinates(c)
		largest := maxAbs(c)
		back := make([]float64, n)
		s.along(inner, slices.Clone(y))
		for k := range n {
			z := s.vector(k)
			for i, v := range z {
				back[i] += c[k] * v
			}
			if got, want := inner[k], dot64(z, y); math.Abs(got-want) > 1e-12*float64(n) {
				t.Fatalf("inner product with vector %d: %v, want %v", k, got, want)
			}
		}
		for i := range y {
			// Coordinates in a nearly dependent basis cancel.
			if math.Abs(back[i]-y[i]) > 1e-12*float64(n)*max(1, largest) {
				t.Fatalf("entry %d: %v, want %v (coordinates up to %v)", i, back[i], y[i], largest)
			}
		}
	})
}

func TestSchurOfExtremes(t *testing.T) {
	for name, entries := range map[string][]float64{
		"zero":        {0, 0, 0, 0, 0, 0, 0, 0, 0},
		"identity":    {1, 0, 0, 0, 1, 0, 0, 0, 1},
		"nilpotent":   {0, 1, 0, 0, 0, 1, 0, 0, 0},
		"shift":       {0, 0, 1, 1, 0, 0, 0, 1, 0},
		"tiny":        {1e-300, 2e-300, 0, 2e-300, 1e-300, 0, 0, 0, 5e-300},
		"subnormal":   {5e-324, 0, 0, 0, 5e-324, 0, 0, 5e-324, 0},
		"huge":        {1e308, 1e308, 1e308, 1e308, 1e308, 1e308, 1e308, 1e308, 1e308},
		"far apart":   {1e300, 1e-300, 0, 1, 1e-300, 1e-300, 1e300, 1, 1},
		"not numbers": {math.NaN(), 1, 2, math.Inf(1), 1, 1, 0, 0, 1},
	} {
		s, ok := newSchur(mat.NewDense(3, 3, entries))
		if !ok {
			if name != "not numbers" {
				t.Errorf("%s: no eigenvalues", name)
			}
			continue
		}
		for i := range 3 {
			if !finite(s.re[i]) && name != "huge" || math.IsNaN(s.re[i]) || math.IsNaN(s.im[i]) {
				t.Errorf("%s: eigenvalue %v + %vi", name, s.re[i], s.im[i])
			}
		}
	}
}
