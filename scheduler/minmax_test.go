package scheduler_test

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"multirate/scheduler"
)

// On two scales of equal width the square of the distance from the middle maps
// both to one interval, and Chebyshev's polynomial of that square is the best
// there is: 2k rates reach 1/T_k(y) (Fischer, Polynomial Based Iteration Methods,
// 1996, section 3.3).
func TestMinMaxMeetsTheBestOnTwoScalesOfEqualWidth(t *testing.T) {
	for _, gap := range []float64{8, 30, 1000} {
		lo, width := 1.0, 3.0
		s := scalesOf([2]float64{gap, gap + width}, [2]float64{lo, lo + width})
		centre := (lo + gap + width) / 2
		near, far := (gap-centre)*(gap-centre), (centre-lo)*(centre-lo)
		y := (2*centre*centre - near - far) / (far - near)
		c, err := scheduler.MinMax(s, 0)
		if err != nil {
			t.Fatal(err)
		}
		best := 2 * math.Acosh(1/c.Rho) / math.Acosh(y)
		t.Logf("gap to %g: %d rates to %.3g, %.1f at best", gap, len(c.Rates), c.Rho, best)
		if n := float64(len(c.Rates)); n > 1.03*best+1 {
			t.Errorf("gap to %g: %g rates for %g, want %g at best", gap, n, c.Rho, best)
		}
	}
}

// On one scale nothing is better than Chebyshev's cycle.
func TestMinMaxIsChebyshevOnOneScale(t *testing.T) {
	for _, condition := range []float64{1.5, 10, 1e4} {
		s := scalesOf([2]float64{1, condition})
		c, err := scheduler.MinMax(s, 0)
		if err != nil {
			t.Fatal(err)
		}
		best := math.Acosh(1/c.Rho) / math.Acosh((condition+1)/(condition-1))
		if n := float64(len(c.Rates)); n > 1.001*best+1e-6 {
			t.Errorf("condition %g: %g rates for %g, want %g", condition, n, c.Rho, best)
		}
	}
}

// Every cycle contracts as it says and can be borne on the way.
func TestMinMaxContracts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := someScales(t, rapid.IntRange(1, 4).Draw(t, "scales"))
		c, err := scheduler.MinMax(s, 600)
		if err != nil {
			return // scale by scale, or not at all
		}
		if rho := scheduler.Sup(c.Rates, s); !(rho < 1) || rho != c.Rho {
			t.Errorf("contracts by %g, says %g", rho, c.Rho)
		}
		if peak := scheduler.Peak(c, s); peak > 1.1 {
			t.Errorf("peak %g", peak)
		}
		for j, r := range c.Rates {
			g := s.Groups[c.Scale[j]]
			if !(r >= 1/g.Hi*(1-1e-5) && r <= 1/g.Lo*(1+1e-5)) {
				t.Errorf("rate %g is not of its scale [%g, %g]", r, g.Lo, g.Hi)
			}
		}
	})
}

// The spectra of the design: no more than 5 per cent above the bound
// acosh(1/rho)/G(0) of their union, whose figures bench/baseline computes.
func TestMinMaxComesNearTheBound(t *testing.T) {
	bounds := []float64{706, 347, 1244, 611, 371} // for 1e-5
	for i, q := range quadratics {
		c, err := scheduler.MinMax(exactScales(q.spectrum), 0)
		if err != nil {
			t.Fatal(err)
		}
		bound := bounds[i] * math.Acosh(1/c.Rho) / math.Acosh(1e5)
		t.Log(fmt.Sprintf("%s: %d rates to %.3g, bound %.0f", q.name, len(c.Rates), c.Rho, bound))
		if n := float64(len(c.Rates)); n > 1.05*bound {
			t.Errorf("%s: %g rates to %g, bound %g", q.name, n, c.Rho, bound)
		}
	}
}
