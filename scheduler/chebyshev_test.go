package scheduler_test

import (
	"math"
	"slices"
	"testing"

	"multirate/scheduler"
)

// On one scale the sup is 1/T_k((kappa+1)/(kappa-1)), and k the least integer
// that brings it to rho.
func TestChebyshevOfOneScale(t *testing.T) {
	supOf := func(k int, kappa float64) float64 {
		return 1 / math.Cosh(float64(k)*math.Acosh((kappa+1)/(kappa-1)))
	}
	for _, kappa := range []float64{1.5, 4, 100, 1e4} {
		for _, rho := range []float64{0.5, 0.1, 1e-3, 1e-5} {
			c, err := scheduler.Chebyshev(scalesOf([2]float64{7, 7 * kappa}), rho)
			if err != nil {
				t.Fatal(err)
			}
			k := len(c.Rates)
			// Rates rounded at 2^-53 change the factors at the upper edge by
			// 2^-53 sum_j (4k/(pi (2j+1)))^2 = 2^-53 2 k^2 relative; Sup's own
			// error is 1e-12.
			tolerance := 1e-12 + 0x1p-51*float64(k*k)
			if want := supOf(k, kappa); math.Abs(c.Rho-want) > tolerance*want {
				t.Errorf("condition %g, rho %g: Rho %.15g, want %.15g", kappa, rho, c.Rho, want)
			}
			if supOf(k, kappa) > rho || supOf(k-1, kappa) <= rho {
				t.Errorf("condition %g, rho %g: %d rates are not the least number", kappa, rho, k)
			}
		}
	}
}

func TestChebyshevRatesAreReciprocalRoots(t *testing.T) {
	c, err := scheduler.Chebyshev(scalesOf([2]float64{1, 3}), 0.1)
	if err != nil {
		t.Fatal(err)
	}
	// T_3(2) = 26, T_2(2) = 7: three roots, at 2 and 2 +- sqrt(3)/2.
	want := []float64{1 / (2 + math.Sqrt(3)/2), 0.5, 1 / (2 - math.Sqrt(3)/2)}
	got := slices.Sorted(slices.Values(c.Rates))
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for j := range want {
		if math.Abs(got[j]-want[j]) > 1e-15 {
			t.Errorf("rate %d: got %v, want %v", j, got[j], want[j])
		}
	}
}

// Where a gap is as small as 1.2 the stiffer scale's roots help the flatter: the
// cycle is shorter than what the two scales need apart from each other.
func TestChebyshevDropsRoots(t *testing.T) {
	s := scalesOf([2]float64{1.2, 12}, [2]float64{0.1, 1})
	flat, err := scheduler.Chebyshev(scalesOf([2]float64{0.1, 1}), 0.01)
	if err != nil {
		t.Fatal(err)
	}
	c, err := scheduler.Chebyshev(s, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, i := range c.Scale {
		n += i
	}
	if n >= len(flat.Rates) {
		t.Errorf("flat scale has %d roots, alone it needs %d", n, len(flat.Rates))
	}
	if c.Rho > 0.01 {
		t.Errorf("Rho %g, want at most 0.01", c.Rho)
	}
}

func TestBestChebyshevIsCheapest(t *testing.T) {
	for _, tc := range quadratics {
		s := exactScales(tc.spectrum)
		best, err := scheduler.BestChebyshev(s, 400)
		if err != nil {
			t.Fatal(err)
		}
		if len(best.Rates) > 400 {
			t.Errorf("%s: %d rates, limit 400", tc.name, len(best.Rates))
		}
		for _, rho := range []float64{0.5, 0.1, 0.01, 1e-3} {
			c, err := scheduler.Chebyshev(s, rho)
			if err != nil || len(c.Rates) > 400 {
				continue
			}
			// Plans are compared by a bound of Rho that is a little too large.
			if best.Cost() > c.Cost()*1.02 {
				t.Errorf("%s: cost %.1f, with rho %g %.1f", tc.name, best.Cost(), rho, c.Cost())
			}
		}
	}
}

func BenchmarkChebyshev(b *testing.B) {
	for _, tc := range quadratics {
		s := exactScales(tc.spectrum)
		b.Run(tc.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				c, err := scheduler.BestChebyshev(s, 512)
				if err != nil {
					b.Fatal(err)
				}
				n = len(c.Rates)
			}
			b.ReportMetric(float64(n), "rates")
		})
	}
}
