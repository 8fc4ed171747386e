package problems

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func eigenvalues(t *testing.T, h mat.Symmetric) []float64 {
	t.Helper()
	var e mat.EigenSym
	if !e.Factorize(h, false) {
		t.Fatal("the eigenproblem did not converge")
	}
	return e.Values(nil)
}

func TestQuadraticsHaveTheirScales(t *testing.T) {
	for _, c := range []struct {
		make   func(uint64) *Quadratic
		groups []Group
	}{
		{ThreeScales, []Group{{1e-6, 4e-6, 60}, {1e-3, 4e-3, 20}, {1, 4, 20}}},
		{TwoScales, []Group{{1e-5, 1e-4, 100}, {1, 10, 100}}},
		{FourScales, []Group{{1e-6, 3e-6, 30}, {1e-4, 3e-4, 30}, {1e-2, 3e-2, 30}, {1, 3, 30}}},
		{NoGap, []Group{{1e-4, 1, 300}}},
		{BulkOutliers, []Group{{1e-3, 0.1, 300}, {10, 12, 5}, {100, 110, 2}}},
	} {
		q := c.make(11)
		t.Run(q.Name(), func(t *testing.T) {
			lambda := q.Eigenvalues()
			for _, g := range c.groups {
				scale := lambda[:g.Count]
				lambda = lambda[g.Count:]
				if slices.Min(scale) != g.Low || slices.Max(scale) != g.High {
					t.Errorf("scale in [%g, %g], want [%g, %g]", slices.Min(scale), slices.Max(scale), g.Low, g.High)
				}
			}
			if len(lambda) != 0 {
				t.Errorf("%d eigenvalues too many", len(lambda))
			}
		})
	}
}

// The log of a log-uniform eigenvalue is uniform: over n of them its mean lies
// within 5 standard errors, 5/sqrt(12 n) of the range, of the middle.
func TestEigenvaluesAreLogUniform(t *testing.T) {
	const n = 10000
	mean := 0.0
	for _, l := range NewQuadratic("wide", 3, Group{1e-4, 1, n}).Eigenvalues() {
		mean += math.Log10(l) / n
	}
	if tolerance := 4 * 5 / math.Sqrt(12*n); math.Abs(mean+2) > tolerance {
		t.Errorf("mean log10 eigenvalue %.4f, want -2 within %.4f", mean, tolerance)
	}
}

// Each mode starts with N(0,1)^2/2, of mean 1/2 and variance 1/2.
func TestQuadraticsStartWithHalfPerMode(t *testing.T) {
	const n = 10000
	q := NewQuadratic("wide", 4, Group{1e-6, 1, n})
	mean := q.Gradient(q.Start(), make([]float64, n)) / n
	if tolerance := 5 * math.Sqrt(0.5/n); math.Abs(mean-0.5) > tolerance {
		t.Errorf("energy per mode %.4f, want 0.5 within %.4f", mean, tolerance)
	}
}

func TestQuadraticRefusesBadGroups(t *testing.T) {
	for _, g := range []Group{{0, 1, 2}, {2, 1, 2}, {1, 2, 1}, {1, 1, 0}, {math.NaN(), 1, 2}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was taken", g)
				}
			}()
			NewQuadratic("bad", 1, g)
		}()
	}
}

// Figures are log10 of eigenvalues of X'X/n, raw features and an intercept, to
// one decimal. With eps |X'X/n| = 4e-10 at most, even the least, 6e-7, is good
// to 0.01 in the logarithm.
func TestRawTablesAreAsIllConditionedAsTheyAre(t *testing.T) {
	for _, c := range []struct {
		name  string
		data  samples
		first []float64 // from the largest
		least float64   // beside 0, where columns are constant
	}{
		{"breast cancer", BreastCancer().data, []float64{6.2, 4.0, 3.1, 2.7, 1.6, 0.8}, -6.2},
		{"wine", Wine().data, []float64{5.8, 3.1, 1.3}, -2.8},
		{"digits", Digits().data, []float64{3.4, 2.3}, -3.4},
		{"diabetes", Diabetes().data, []float64{4.9, 2.8}, -2.9},
	} {
		t.Run(c.name, func(t *testing.T) {
			lambda := eigenvalues(t, c.data.secondMoment())
			last := len(lambda) - 1
			for i, want := range c.first {
				if got := math.Log10(lambda[last-i]); math.Abs(got-want) > 0.06 {
					t.Errorf("eigenvalue %d is 10^%.3f, want 10^%.1f", i+1, got, want)
				}
			}
			rounding := 0x1p-52 * float64(len(lambda)) * lambda[last]
			least := slices.IndexFunc(lambda, func(l float64) bool { return l > rounding })
			if got := math.Log10(lambda[least]); math.Abs(got-c.least) > 0.06 {
				t.Errorf("least eigenvalue is 10^%.3f, want 10^%.1f", got, c.least)
			}
		})
	}
}
