package scheduler_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"multirate/scheduler"
)

// One scale is plain gradient descent with the optimal rate 2/(mu+L).
func TestMrGDOfOneScale(t *testing.T) {
	for _, kappa := range []float64{1.5, 2, 10, 100} {
		for _, rho := range []float64{0.7, 0.5, 0.1, 1e-3} {
			c, err := scheduler.MrGD(scalesOf([2]float64{3, 3 * kappa}), rho)
			if err != nil {
				t.Fatal(err)
			}
			contraction := (kappa - 1) / (kappa + 1)
			n := int(math.Ceil(math.Log(rho) / math.Log(contraction)))
			if len(c.Rates) != n {
				t.Errorf("condition %g, rho %g: %d rates, want %d", kappa, rho, len(c.Rates), n)
			}
			if want := math.Pow(contraction, float64(n)); math.Abs(c.Rho-want) > 1e-12*want {
				t.Errorf("condition %g, rho %g: Rho %g, want %g", kappa, rho, c.Rho, want)
			}
			if want := 2 / (3 + 3*kappa); math.Abs(c.Rates[0]-want) > 1e-15*want {
				t.Errorf("condition %g: rate %g, want %g", kappa, c.Rates[0], want)
			}
		}
	}
}

// A single eigenvalue takes one exact step.
func TestMrGDOfOneEigenvalue(t *testing.T) {
	c, err := scheduler.MrGD(scalesOf([2]float64{8, 8}), 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rates) != 1 || c.Rates[0] != 0.125 || c.Rho != 0 {
		t.Errorf("got %+v", c)
	}
}

// By hand: scales [1, 3] and [0.001, 0.003], rho 0.5. c = 1/2 for both, eta_2 =
// 500, so n_2 = 1 and n_1 is the least n with 1499/2^n <= 1/2: 12.
func TestMrGDPaysForFlatSteps(t *testing.T) {
	c, err := scheduler.MrGD(scalesOf([2]float64{1, 3}, [2]float64{0.001, 0.003}), 0.5)
	if err != nil {
		t.Fatal(err)
	}
	counts := [2]int{}
	for _, i := range c.Scale {
		counts[i]++
	}
	if counts != [2]int{12, 1} {
		t.Errorf("got counts %v, want 12 and 1", counts)
	}
}

// The stiffest scale can't spare a rate: nothing shrinks it but its own. (A
// single eigenvalue gets more than exact arithmetic needs.)
func TestMrGDCountIsLeast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, s, rho := someCycle(t, designs[0], 400)
		var rates []float64
		dropped := false
		for j, r := range c.Rates {
			if c.Scale[j] == 0 && !dropped {
				dropped = true
				continue
			}
			rates = append(rates, r)
		}
		if !dropped || s.Groups[0].Condition() < 1.001 {
			return
		}
		if sup := scheduler.Sup(rates, s); sup <= rho*(1-1e-9) {
			t.Errorf("with one rate less the sup is %g, rho %g", sup, rho)
		}
	})
}

func BenchmarkMrGD(b *testing.B) {
	for _, tc := range quadratics {
		s := exactScales(tc.spectrum)
		b.Run(tc.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				c, err := scheduler.MrGD(s, 0.5)
				if err != nil {
					b.Fatal(err)
				}
				n = len(c.Rates)
			}
			b.ReportMetric(float64(n), "rates")
		})
	}
}
