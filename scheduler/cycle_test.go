package scheduler_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"multirate/estimator"
	"multirate/scheduler"
)

// scalesOf makes scales of [lo, hi] pairs, stiffest first.
func scalesOf(bounds ...[2]float64) estimator.Scales {
	var s estimator.Scales
	for _, b := range bounds {
		s.Groups = append(s.Groups, estimator.Scale{Lo: b[0], Hi: b[1]})
	}
	return s
}

// someScales draws m scales of condition number 1 to 50 with gaps of 3 to 1e4.
func someScales(t *rapid.T, m int) estimator.Scales {
	var bounds [][2]float64
	hi := 1.0
	for i := range m {
		lo := hi / math.Pow(50, rapid.Float64Range(0, 1).Draw(t, fmt.Sprintf("condition %d", i)))
		bounds = append(bounds, [2]float64{lo, hi})
		hi = lo / (3 * math.Pow(1e4/3, rapid.Float64Range(0, 1).Draw(t, fmt.Sprintf("gap %d", i))))
	}
	return scalesOf(bounds...)
}

type design struct {
	name string
	make func(estimator.Scales, float64) (scheduler.Cycle, error)
	best func(estimator.Scales, int) (scheduler.Cycle, error)
}

var designs = []design{
	{"MrGD", scheduler.MrGD, scheduler.BestMrGD},
	{"Chebyshev", scheduler.Chebyshev, scheduler.BestChebyshev},
}

// someCycle draws a cycle for 1 to 5 scales whose length is about the limit, 40
// or more, or less.
func someCycle(t *rapid.T, d design, limit int) (scheduler.Cycle, estimator.Scales, float64) {
	m := rapid.IntRange(1, 5).Draw(t, "scales")
	share := rapid.Float64Range(0.2, 1).Draw(t, "share")
	for {
		s := someScales(t, m)
		longest, err := d.best(s, limit)
		if errors.Is(err, scheduler.ErrCycleTooLong) && m > 1 {
			m--
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		rho := math.Pow(max(longest.Rho, 1e-5), share)
		c, err := d.make(s, rho)
		if err != nil {
			t.Fatal(err)
		}
		return c, s, rho
	}
}

func TestConstructionRefuses(t *testing.T) {
	good := scalesOf([2]float64{1, 4})
	for _, tc := range []struct {
		name   string
		scales estimator.Scales
		rho    float64
		want   error
	}{
		{"no scale", estimator.Scales{}, 0.5, scheduler.ErrNoScales},
		{"zero edge", scalesOf([2]float64{0, 1}), 0.5, scheduler.ErrScaleBounds},
		{"negative edge", scalesOf([2]float64{-1, 1}), 0.5, scheduler.ErrScaleBounds},
		{"NaN edge", scalesOf([2]float64{1, math.NaN()}), 0.5, scheduler.ErrScaleBounds},
		{"infinite edge", scalesOf([2]float64{1, math.Inf(1)}), 0.5, scheduler.ErrScaleBounds},
		{"edges swapped", scalesOf([2]float64{2, 1}), 0.5, scheduler.ErrScaleBounds},
		{"flattest first", scalesOf([2]float64{1, 2}, [2]float64{10, 20}), 0.5, scheduler.ErrScaleBounds},
		{"overlap", scalesOf([2]float64{1, 2}, [2]float64{0.5, 1}), 0.5, scheduler.ErrScaleBounds},
		{"rho 0", good, 0, scheduler.ErrRho},
		{"rho 1", good, 1, scheduler.ErrRho},
		{"rho NaN", good, math.NaN(), scheduler.ErrRho},
		{"too wide", scalesOf([2]float64{1e-20, 1}), 0.5, scheduler.ErrCycleTooLong},
		{"too wide for an int", scalesOf([2]float64{1e-300, 1}), 0.5, scheduler.ErrCycleTooLong},
	} {
		for _, d := range designs {
			if _, err := d.make(tc.scales, tc.rho); !errors.Is(err, tc.want) {
				t.Errorf("%s, %s: got %v, want %v", d.name, tc.name, err, tc.want)
			}
		}
	}
}

func TestBestRefuses(t *testing.T) {
	for name, best := range map[string]func(estimator.Scales, int) (scheduler.Cycle, error){
		"MrGD": scheduler.BestMrGD, "Chebyshev": scheduler.BestChebyshev,
	} {
		if _, err := best(estimator.Scales{}, 0); !errors.Is(err, scheduler.ErrNoScales) {
			t.Errorf("%s, no scale: got %v", name, err)
		}
		if _, err := best(scalesOf([2]float64{1e-8, 1}), 10); !errors.Is(err, scheduler.ErrCycleTooLong) {
			t.Errorf("%s, limit of 10: got %v", name, err)
		}
	}
}

// Rho is what a dense look at p finds, and what was asked for; every rate is the
// reciprocal of a number inside its scale.
func TestCycleContracts(t *testing.T) {
	for _, d := range designs {
		t.Run(d.name, rapid.MakeCheck(func(t *rapid.T) {
			c, s, rho := someCycle(t, d, 400)
			if c.Rho > rho*(1+1e-9) {
				t.Errorf("Rho %g, wanted at most %g", c.Rho, rho)
			}
			for _, g := range s.Groups {
				for i := range 2001 {
					lambda := min(g.Hi, g.Lo+(g.Hi-g.Lo)*float64(i)/2000)
					p, rounding := product(c.Rates, lambda)
					if p*(1-rounding) > c.Rho*(1+1e-12) {
						t.Fatalf("|p(%g)| is %g, Rho %g", lambda, p, c.Rho)
					}
				}
			}
			for j, r := range c.Rates {
				if g := s.Groups[c.Scale[j]]; r*g.Hi < 1-1e-5 || r*g.Lo > 1+1e-5 {
					t.Errorf("rate %g does not serve scale [%g, %g]", r, g.Lo, g.Hi)
				}
			}
		}))
	}
}

// product is |p| and a bound of its relative rounding error: each factor's
// product is rounded at 2^-53, and so is the multiplication.
func product(rates []float64, lambda float64) (p, rounding float64) {
	p = 1
	for _, r := range rates {
		f := 1 - r*lambda
		p *= f
		rounding += 0x1p-53 * (2 + r*lambda/math.Abs(f))
	}
	return math.Abs(p), rounding
}

// Multiplying the Hessian by c divides the rates by c: exactly, where c is a
// power of two.
func TestCycleIsScaleEquivariant(t *testing.T) {
	for _, d := range designs {
		t.Run(d.name, rapid.MakeCheck(func(t *rapid.T) {
			c, s, rho := someCycle(t, d, 200)
			factor := math.Ldexp(1, rapid.IntRange(-60, 60).Draw(t, "exponent"))
			var scaled estimator.Scales
			for _, g := range s.Groups {
				scaled.Groups = append(scaled.Groups, estimator.Scale{Lo: g.Lo * factor, Hi: g.Hi * factor})
			}
			got, err := d.make(scaled, rho)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Rates) != len(c.Rates) || got.Rho != c.Rho {
				t.Fatalf("N %d and Rho %g became %d and %g", len(c.Rates), c.Rho, len(got.Rates), got.Rho)
			}
			for j := range c.Rates {
				if got.Rates[j] != c.Rates[j]/factor || got.Scale[j] != c.Scale[j] {
					t.Fatalf("rate %d: %g of scale %d, want %g of scale %d", j, got.Rates[j], got.Scale[j], c.Rates[j]/factor, c.Scale[j])
				}
			}
		}))
	}
}

func TestSup(t *testing.T) {
	both := scalesOf([2]float64{10, 20}, [2]float64{1, 2})
	for _, tc := range []struct {
		name   string
		rates  []float64
		scales estimator.Scales
		want   float64
	}{
		{"no rate", nil, both, 1},
		{"no scale", []float64{1}, estimator.Scales{}, 0},
		{"one rate, stiff edge", []float64{1}, both, 19},
		{"one rate, flat edge", []float64{0.1}, both, 1},
		{"killed", []float64{0.5}, scalesOf([2]float64{2, 2}), 0},
		// (1-x)(1-x/3) = ((x-2)^2-1)/3: 1/3 in the middle, 0 at the edges.
		{"between two roots", []float64{1, 1.0 / 3}, scalesOf([2]float64{1, 3}), 1.0 / 3},
		// (1-x)^2 (1-x/4): the derivative vanishes at x = 3, where it is 1.
		{"double root", []float64{1, 1, 0.25}, scalesOf([2]float64{1, 4}), 1},
		{"beyond float64's range", append(repeat(1e-200, 3), repeat(1e200, 3)...), scalesOf([2]float64{1, 1}), math.Inf(1)},
	} {
		if got := scheduler.Sup(tc.rates, tc.scales); math.Abs(got-tc.want) > 1e-12*tc.want+1e-300 && got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

func repeat(r float64, n int) []float64 {
	rates := make([]float64, n)
	for i := range rates {
		rates[i] = r
	}
	return rates
}

func TestPartial(t *testing.T) {
	got := scheduler.Partial([]float64{1, 0.25}, scalesOf([2]float64{1, 4}))
	// |1-x| reaches 3; |(1-x)(1-x/4)| = |(x-2.5)^2-2.25|/4 reaches 9/16.
	want := []float64{1, 3, 9.0 / 16}
	for n := range want {
		if math.Abs(got[n]-want[n]) > 1e-12 {
			t.Errorf("after %d rates: got %v, want %v", n, got[n], want[n])
		}
	}
}

func TestCost(t *testing.T) {
	c := scheduler.Cycle{Rates: []float64{1, 1, 1}, Rho: math.Exp(-2)}
	if got := c.Cost(); math.Abs(got-1.5) > 1e-15 {
		t.Errorf("got %v, want 1.5", got)
	}
	if got := (scheduler.Cycle{Rates: []float64{1}, Rho: 1}).Cost(); !math.IsInf(got, 1) {
		t.Errorf("no contraction: got %v, want +Inf", got)
	}
}

// scaleOfModes is a scale with the number of its eigenvalues: both ends, the
// rest log-uniform.
type scaleOfModes struct {
	lo, hi float64
	modes  int
}

// quadratics are the five spectra on which the schedules were first measured,
// with the gradients needed to reduce the loss by 1e-10 then: MrGD with rho 0.5,
// and the upper end of Chebyshev's over several rho.
var quadratics = []struct {
	name            string
	spectrum        []scaleOfModes
	mrgd, chebyshev int
}{
	{"3 scales, condition 4, gaps 250", []scaleOfModes{{1, 4, 20}, {1e-3, 4e-3, 20}, {1e-6, 4e-6, 60}}, 4848, 1072},
	{"2 scales, condition 10, gap 1e4", []scaleOfModes{{1, 10, 100}, {1e-5, 1e-4, 100}}, 3118, 540},
	{"4 scales, condition 3, gaps 33", []scaleOfModes{{1, 3, 30}, {1e-2, 3e-2, 30}, {1e-4, 3e-4, 30}, {1e-6, 3e-6, 30}}, 10323, 2674},
	{"no gap, condition 1e4", []scaleOfModes{{1e-4, 1, 300}}, 46410, 922},
	{"bulk of condition 100 and outliers", []scaleOfModes{{100, 110, 2}, {10, 12, 5}, {1e-3, 0.1, 300}}, 3373, 581},
}

func exactScales(spectrum []scaleOfModes) estimator.Scales {
	var s estimator.Scales
	for _, g := range spectrum {
		s.Groups = append(s.Groups, estimator.Scale{Lo: g.lo, Hi: g.hi, Count: g.modes})
	}
	return s
}

func eigenvalues(spectrum []scaleOfModes, rng *rand.Rand) []float64 {
	var lambda []float64
	for _, g := range spectrum {
		lambda = append(lambda, g.lo, g.hi)
		for range g.modes - 2 {
			lambda = append(lambda, g.lo*math.Pow(g.hi/g.lo, rng.Float64()))
		}
	}
	return lambda
}

// rotation is a product of three Householder reflections.
type rotation [3][]float64

func newRotation(n int, rng *rand.Rand) rotation {
	var q rotation
	for k := range q {
		q[k] = make([]float64, n)
		norm := 0.0
		for i := range q[k] {
			q[k][i] = rng.NormFloat64()
			norm += q[k][i] * q[k][i]
		}
		for i := range q[k] {
			q[k][i] /= math.Sqrt(norm)
		}
	}
	return q
}

func reflect(x, v []float64) {
	dot := 0.0
	for i := range x {
		dot += x[i] * v[i]
	}
	for i := range x {
		x[i] -= 2 * dot * v[i]
	}
}

func (q rotation) apply(x []float64) {
	for k := range q {
		reflect(x, q[k])
	}
}

func (q rotation) transpose(x []float64) {
	for k := range q {
		reflect(x, q[len(q)-1-k])
	}
}

// descend counts gradients of a quadratic until the loss has fallen by 1e-10,
// repeating the cycle, and finds the largest loss over the first. Each mode
// starts with equal expected energy. With a rotation, modes mix in rounding, and
// gradients are rounded to float32.
func descend(lambda []float64, c scheduler.Cycle, q *rotation, rng *rand.Rand) (gradients int, peak float64) {
	const most = 100_000
	x := make([]float64, len(lambda))
	for i := range x {
		x[i] = rng.NormFloat64() / math.Sqrt(lambda[i])
	}
	if q != nil {
		q.transpose(x)
	}
	g := make([]float64, len(x))
	first := 0.0
	for n := range most {
		copy(g, x)
		if q != nil {
			q.apply(g)
		}
		loss := 0.0
		for i, l := range lambda {
			loss += l * g[i] * g[i]
			g[i] *= l
		}
		if n == 0 {
			first = loss
		}
		if peak = max(peak, loss/first); loss <= 1e-10*first || !(peak < 1e3) {
			return n, peak
		}
		if q != nil {
			q.transpose(g)
			for i := range g {
				g[i] = float64(float32(g[i]))
			}
		}
		for i := range x {
			x[i] -= c.Rates[n%len(c.Rates)] * g[i]
		}
	}
	return most, peak
}

// With exact scale bounds the cycles cost what was measured first, within 1.3
// (MrGD) and 1.5 times (Chebyshev), and the loss never rises by more than 5 %: in
// a rotated basis with gradients in float32 as much as in the eigenbasis.
func TestQuadraticsCost(t *testing.T) {
	for _, tc := range quadratics {
		s := exactScales(tc.spectrum)
		rng := rand.New(rand.NewPCG(1, 2))
		lambda := eigenvalues(tc.spectrum, rng)
		q := newRotation(len(lambda), rng)
		for _, run := range []struct {
			name  string
			cycle func() (scheduler.Cycle, error)
			limit float64
		}{
			{"MrGD, rho 0.5", func() (scheduler.Cycle, error) { return scheduler.MrGD(s, 0.5) }, 1.3 * float64(tc.mrgd)},
			{"Chebyshev, rho 0.1", func() (scheduler.Cycle, error) { return scheduler.Chebyshev(s, 0.1) }, 1.5 * float64(tc.chebyshev)},
			{"best Chebyshev of 512", func() (scheduler.Cycle, error) { return scheduler.BestChebyshev(s, 512) }, 1.5 * float64(tc.chebyshev)},
		} {
			c, err := run.cycle()
			if err != nil {
				t.Fatal(err)
			}
			for _, basis := range []*rotation{nil, &q} {
				// 44,000 gradients in a rotated basis take too long.
				if basis != nil && run.limit > 2e4 {
					continue
				}
				gradients, peak := descend(lambda, c, basis, rand.New(rand.NewPCG(3, 4)))
				t.Logf("%s; %s, rotated %t: %d rates, Rho %.3g, %d gradients, peak %.4f", tc.name, run.name, basis != nil, len(c.Rates), c.Rho, gradients, peak)
				if float64(gradients) > run.limit || !(peak <= 1.05) {
					t.Errorf("%s; %s, rotated %t: %d gradients, limit %.0f; peak %g, limit 1.05", tc.name, run.name, basis != nil, gradients, run.limit, peak)
				}
			}
		}
	}
}
