package estimator

import (
	"math"
	"testing"

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
