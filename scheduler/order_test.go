package scheduler_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"multirate/scheduler"
)

// Order permutes the rates, each with its scale, and does not care how they came.
func TestOrderPermutes(t *testing.T) {
	for _, d := range designs {
		t.Run(d.name, rapid.MakeCheck(func(t *rapid.T) {
			c, s, _ := someCycle(t, d, 100)
			shuffled := scheduler.Cycle{Rates: slices.Clone(c.Rates), Scale: slices.Clone(c.Scale), Rho: c.Rho}
			rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
			rng.Shuffle(len(c.Rates), func(i, j int) {
				shuffled.Rates[i], shuffled.Rates[j] = shuffled.Rates[j], shuffled.Rates[i]
				shuffled.Scale[i], shuffled.Scale[j] = shuffled.Scale[j], shuffled.Scale[i]
			})
			// The product of all rates is rounded in another order, which may
			// decide near ties: so sets are compared, not sequences.
			got := scheduler.Order(shuffled, s)
			if got.Rho != c.Rho || fmt.Sprint(pairs(got)) != fmt.Sprint(pairs(c)) {
				t.Errorf("got %v, want %v", got, c)
			}
		}))
	}
}

func pairs(c scheduler.Cycle) []string {
	var list []string
	for j, r := range c.Rates {
		list = append(list, fmt.Sprint(r, c.Scale[j]))
	}
	slices.Sort(list)
	return list
}

// On the way through a cycle the error grows by no more than a few per cent.
func TestOrderKeepsPeakLow(t *testing.T) {
	for _, d := range designs {
		t.Run(d.name, rapid.MakeCheck(func(t *rapid.T) {
			c, s, _ := someCycle(t, d, 150)
			if peak := scheduler.Peak(c, s); peak > 1.1 {
				t.Errorf("peak %g", peak)
			}
		}))
	}
}

// A disturbance is multiplied by little more than by the longest rate alone: over
// random scales at most 20 times that in the median and 1e3 times in nine cases
// of ten. In the order that minimises partial products alone it is 1e15 to 1e280.
func TestOrderKeepsAmplificationLow(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, d := range designs {
		var ratios []float64
		for len(ratios) < 150 {
			var bounds [][2]float64
			hi := 1.0
			for range 2 + rng.IntN(3) {
				lo := hi / math.Pow(50, rng.Float64())
				bounds = append(bounds, [2]float64{lo, hi})
				hi = lo / (3 * math.Pow(1e4/3, rng.Float64()))
			}
			s := scalesOf(bounds...)
			c, err := d.best(s, 200)
			if err != nil {
				continue // longer than 200 at any rho
			}
			ratios = append(ratios, scheduler.Amplification(c, s)/scheduler.Sup([]float64{slices.Max(c.Rates)}, s))
		}
		slices.Sort(ratios)
		median, most := ratios[75], ratios[135]
		t.Logf("%s: median %.3g, 90 %% %.3g, max %.3g", d.name, median, most, ratios[149])
		if median > 20 || most > 1e3 {
			t.Errorf("%s: median %g, limit 20; 90 %% %g, limit 1e3", d.name, median, most)
		}
	}
}

func TestPeakIsLargestPartial(t *testing.T) {
	for _, d := range designs {
		t.Run(d.name, rapid.MakeCheck(func(t *rapid.T) {
			c, s, _ := someCycle(t, d, 40)
			if rapid.Bool().Draw(t, "reversed") {
				slices.Reverse(c.Rates)
			}
			want := slices.Max(scheduler.Partial(c.Rates, s))
			if got := scheduler.Peak(c, s); math.Abs(got-want) > 1e-9*want {
				t.Errorf("got %g, want %g", got, want)
			}
		}))
	}
}

// Amplification is taken on a grid: below the largest product of neighbours, and
// above 0.9 times it.
func TestAmplificationIsLargestRange(t *testing.T) {
	for _, d := range designs {
		t.Run(d.name, rapid.MakeCheck(func(t *rapid.T) {
			c, s, _ := someCycle(t, d, 40)
			if len(c.Rates) > 20 {
				c.Rates, c.Scale = c.Rates[:20], c.Scale[:20]
			}
			want := 1.0
			for n := range c.Rates {
				want = max(want, slices.Max(scheduler.Partial(c.Rates[n:], s)))
			}
			if got := scheduler.Amplification(c, s); got > want*(1+1e-9) || got < 0.9*want {
				t.Errorf("got %g, want %g", got, want)
			}
		}))
	}
}

func BenchmarkOrder(b *testing.B) {
	s := exactScales(quadratics[0].spectrum)
	for _, rho := range []float64{0.5, 0.01, 1e-5} {
		c, err := scheduler.Chebyshev(s, rho)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("rates=%d", len(c.Rates)), func(b *testing.B) {
			for b.Loop() {
				scheduler.Order(c, s)
			}
		})
	}
}

func BenchmarkPeak(b *testing.B) {
	s := exactScales(quadratics[0].spectrum)
	c, err := scheduler.Chebyshev(s, 0.01)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		scheduler.Peak(c, s)
	}
}
