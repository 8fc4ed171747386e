package multirate

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// symmetric returns the product of a random symmetric matrix, and the matrix.
func symmetric(n int, seed uint64) (HessianVectorProduct[float64], [][]float64) {
	a := make([][]float64, n)
	for i := range a {
		a[i] = make([]float64, n)
	}
	for i := range n {
		for j := range i + 1 {
			a[i][j] = float64(signWord(seed, uint64(i*n+j))>>11)*0x1p-52 - 1
			a[j][i] = a[i][j]
		}
	}
	return func(v, hv []float64) error {
		for i := range a {
			hv[i] = dot(a[i], v)
		}
		return nil
	}, a
}

func diagonalProduct(h []float64) HessianVectorProduct[float64] {
	return func(v, hv []float64) error {
		for i := range v {
			hv[i] = h[i] * v[i]
		}
		return nil
	}
}

func TestHutchinsonIsExactOnDiagonals(t *testing.T) {
	h := []float64{1, -2, 0, 1e6}
	got, err := HutchinsonDiagonal(diagonalProduct(h), 4, 1, 3)
	if err != nil || !slices.Equal(got, h) {
		t.Errorf("got %v, %v, want %v", got, err, h)
	}
}

// One probe is exact on a diagonal; on any other matrix the mean square over
// many is the squared norm of the row.
func TestHutchinsonMagnitudeIsTheRowsNorm(t *testing.T) {
	h := []float64{1, -2, 0, 1e6}
	got, err := HutchinsonMagnitude(diagonalProduct(h), 4, 1, 3)
	if err != nil || !slices.Equal(got, []float64{1, 2, 0, 1e6}) {
		t.Errorf("got %v, %v, want the magnitudes of %v", got, err, h)
	}
	const n, probes = 30, 2000
	hvp, a := symmetric(n, 1)
	if got, err = HutchinsonMagnitude(hvp, n, probes, 9); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		// (z'a)^2 for signs z has the variance of at most 2 |a|^4.
		square := NormSquared(a[i])
		if tolerance := 5 * square * math.Sqrt(2.0/probes); math.Abs(got[i]*got[i]-square) > tolerance {
			t.Errorf("entry %d squared is %g, want %g within %g", i, got[i]*got[i], square, tolerance)
		}
	}
}

// The mean over n probes errs by at most 5 standard errors, the variance of one
// probe's entry i being the sum of H_ij^2 over j != i.
func TestHutchinsonIsUnbiased(t *testing.T) {
	const n, probes = 30, 2000
	hvp, a := symmetric(n, 1)
	got, err := HutchinsonDiagonal(hvp, n, probes, 9)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		tolerance := 5 * math.Sqrt((NormSquared(a[i])-a[i][i]*a[i][i])/probes)
		if math.Abs(got[i]-a[i][i]) > tolerance {
			t.Errorf("entry %d is %g, want %g within %g", i, got[i], a[i][i], tolerance)
		}
	}
}

func TestHutchinsonErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := HutchinsonDiagonal(func(_, _ []float64) error { return broken }, 2, 2, 0); !errors.Is(err, broken) {
		t.Errorf("error %v, want the product's", err)
	}
	for _, c := range [][2]int{{0, 1}, {1, 0}} {
		if _, err := HutchinsonDiagonal(diagonalProduct([]float64{1}), c[0], c[1], 0); err == nil {
			t.Errorf("dimension %d with %d probes was not refused", c[0], c[1])
		}
	}
}

// On a diagonal quadratic the scaled Hessian is the identity, so that a single
// step of rate 1 reaches the minimum, whatever the condition.
func TestDiagonalRemovesADiagonalHessian(t *testing.T) {
	h := []float64{1e-6, 1, 1e6}
	d, err := NewDiagonal(h, 0)
	if err != nil {
		t.Fatal(err)
	}
	x, g := []float64{3, -2, 1}, make([]float64, 3)
	_ = diagonalProduct(h)(x, g)
	d.Step(x, g, 1)
	for i, v := range x {
		if math.Abs(v) > 4*0x1p-52*3 {
			t.Errorf("x[%d] = %g after one step, want 0", i, v)
		}
	}
	hv := make([]float64, 3)
	if err := d.HessianVector(diagonalProduct(h))([]float64{1, 1, 1}, hv); err != nil {
		t.Fatal(err)
	}
	for i, v := range hv {
		if math.Abs(v-1) > 4*0x1p-52 {
			t.Errorf("scaled Hessian has %g at %d, want 1", v, i)
		}
	}
}

// A step in x is the step in z = x/s with the gradient in z.
func TestDiagonalStepsInScaledVariables(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "n")
		number := rapid.Float64Range(-100, 100)
		h := rapid.SliceOfN(rapid.Float64Range(1e-3, 1e3), n, n).Draw(t, "h")
		x := rapid.SliceOfN(number, n, n).Draw(t, "x")
		g := rapid.SliceOfN(number, n, n).Draw(t, "g")
		rate := rapid.Float64Range(0, 1).Draw(t, "rate")
		d, err := NewDiagonal(h, 1e-3)
		if err != nil {
			t.Fatal(err)
		}
		scaled, stepped := make([]float64, n), slices.Clone(x)
		d.Gradient(scaled, g)
		d.Step(stepped, g, rate)
		for i := range x {
			s := 1 / math.Sqrt(h[i])
			want := s * (x[i]/s - rate*scaled[i])
			// Below 2^-1022 rounding errors no longer shrink with the number.
			size := math.Abs(x[i]) + math.Abs(rate*s*s*g[i]) + 0x1p-1022
			if math.Abs(stepped[i]-want) > 8*0x1p-52*size {
				t.Fatalf("x[%d] = %g, want %g", i, stepped[i], want)
			}
		}
		if got, want := d.Norm(x), d.normByHand(x); math.Abs(got-want) > 1e-13*want+0x1p-500 { // squares of less underflow
			t.Fatalf("norm %g, want %g", got, want)
		}
	})
}

func (d *Diagonal) normByHand(x []float64) float64 {
	z := make([]float64, len(x))
	for i := range x {
		z[i] = x[i] / d.scale[i]
	}
	return math.Sqrt(NormSquared(z))
}

func TestNewDiagonal(t *testing.T) {
	for _, c := range []struct {
		name  string
		h     []float64
		floor float64
		want  []float64 // nil: refused
	}{
		{"magnitudes", []float64{-4, 16}, 0, []float64{0.5, 0.25}},
		{"floor", []float64{0, 16}, 0.25, []float64{2, 0.25}},
		{"default floor", []float64{0, 4}, 0, []float64{0x1p25, 0.5}},
		{"zeros over a floor", []float64{0, 0}, 4, []float64{0.5, 0.5}},
		{"zeros", []float64{0, 0}, 0, nil},
		{"not finite", []float64{1, math.Inf(1)}, 0, nil},
		{"not a number", []float64{1, math.NaN()}, 1, nil},
		{"negative floor", []float64{1}, -1, nil},
		{"endless floor", []float64{1}, math.Inf(1), nil},
	} {
		d, err := NewDiagonal(c.h, c.floor)
		switch {
		case c.want == nil && err == nil:
			t.Errorf("%s: not refused", c.name)
		case c.want != nil && (err != nil || !slices.Equal(d.scale, c.want)):
			t.Errorf("%s: got %v, %v, want %v", c.name, d, err, c.want)
		}
	}
}
