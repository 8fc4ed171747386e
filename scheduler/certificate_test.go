package scheduler_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"

	"multirate/estimator"
	"multirate/scheduler"
)

// Without coupling the certificate is the quadratic bound.
func TestCertificateOfQuadratic(t *testing.T) {
	for _, d := range designs {
		t.Run(d.name, rapid.MakeCheck(func(t *rapid.T) {
			c, s, _ := someCycle(t, d, 200)
			if got, ok := scheduler.Certify(c, s, 0); got != c.Rho || !ok {
				t.Errorf("got %g, %t, want Rho %g", got, ok, c.Rho)
			}
		}))
	}
}

// One rate: |e_1| <= (sup + eta delta) |e_0|, and nothing better holds.
func TestCertificateOfOneRate(t *testing.T) {
	c := scheduler.Cycle{Rates: []float64{0.5}, Scale: []int{0}, Rho: 0.5}
	got, ok := scheduler.Certify(c, scalesOf([2]float64{1, 3}), 0.25)
	if math.Abs(got-0.625) > 1e-12 || !ok {
		t.Errorf("got %g, %t, want 0.625", got, ok)
	}
	if got, ok := scheduler.Certify(c, scalesOf([2]float64{1, 3}), 1); ok {
		t.Errorf("delta as large as the least eigenvalue: certified %g", got)
	}
}

func TestCertificateRefuses(t *testing.T) {
	s := scalesOf([2]float64{1, 3})
	c := scheduler.Cycle{Rates: []float64{0.5}, Scale: []int{0}, Rho: 0.5}
	for _, tc := range []struct {
		name  string
		cycle scheduler.Cycle
		s     estimator.Scales
		delta float64
	}{
		{"NaN delta", c, s, math.NaN()},
		{"negative delta", c, s, -1},
		{"infinite delta", c, s, math.Inf(1)},
		{"no scale", c, estimator.Scales{}, 0},
		{"negative rate", scheduler.Cycle{Rates: []float64{-0.5}}, s, 0},
	} {
		if got, ok := scheduler.Certify(tc.cycle, tc.s, tc.delta); ok || !math.IsInf(got, 1) {
			t.Errorf("%s: got %g, %t", tc.name, got, ok)
		}
	}
	if got, ok := scheduler.Certify(scheduler.Cycle{}, s, 0.1); ok || got != 1 {
		t.Errorf("empty cycle: got %g, %t, want 1 and no certificate", got, ok)
	}
}

func TestCertificateGrowsWithDelta(t *testing.T) {
	for _, d := range designs {
		t.Run(d.name, rapid.MakeCheck(func(t *rapid.T) {
			c, s, _ := someCycle(t, d, 60)
			last := c.Rho
			for _, f := range []float64{1e-8, 1e-4, 1e-2, 1} {
				got, ok := scheduler.Certify(c, s, f*s.Groups[len(s.Groups)-1].Lo)
				if got < last || ok != (got < 1) {
					t.Errorf("delta %g mu: got %g, %t after %g", f, got, ok, last)
				}
				last = got
			}
		}))
	}
}

// The norm of a cycle's error map never exceeds the certificate, whatever
// couples the eigenspaces at each step within delta: symmetric and random, or
// sending the flattest mode straight into the stiffest.
func TestCertificateHolds(t *testing.T) {
	for _, d := range designs {
		t.Run(d.name, rapid.MakeCheck(func(t *rapid.T) {
			c, s, _ := someCycle(t, d, 80)
			rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
			delta := s.Groups[len(s.Groups)-1].Lo * math.Pow(10, rapid.Float64Range(-6, -0.5).Draw(t, "log10 delta/mu"))
			bound, _ := scheduler.Certify(c, s, delta)
			for _, kind := range []string{"symmetric", "flat to stiff"} {
				norm := spectralNorm(errorMap(c, s, delta, kind, rng))
				// 80 products of 12x12 matrices in floating point, disturbed at
				// 2^-53 of the stiffest eigenvalue each.
				rounding := 1e-14 * scheduler.Amplification(c, s) * scheduler.Sup(c.Rates[:1], s) * slack(c, s)
				if norm > bound*(1+1e-9)+rounding {
					t.Errorf("%s, delta %g: norm %g, certificate %g", kind, delta, norm, bound)
				}
			}
		}))
	}
}

// slack is the longest rate times the stiffest eigenvalue: rounding of H is a
// disturbance of 2^-53 L per unit of rate.
func slack(c scheduler.Cycle, s estimator.Scales) float64 {
	sum := 0.0
	for _, r := range c.Rates {
		sum += r * s.Groups[0].Hi
	}
	return max(1, sum)
}

// errorMap is the product of I - eta_t (H + E_t) over a cycle, in the eigenbasis
// of H, with the edges of each scale and two more eigenvalues inside.
func errorMap(c scheduler.Cycle, s estimator.Scales, delta float64, kind string, rng *rand.Rand) *mat.Dense {
	var lambda []float64
	for _, g := range s.Groups {
		lambda = append(lambda, g.Hi, g.Lo)
		for range 2 {
			lambda = append(lambda, g.Lo+(g.Hi-g.Lo)*rng.Float64())
		}
	}
	n := len(lambda)
	product := mat.NewDense(n, n, nil)
	for i := range n {
		product.Set(i, i, 1)
	}
	for _, r := range c.Rates {
		step := coupling(n, delta, kind, rng)
		step.Scale(-r, step)
		for i, l := range lambda {
			step.Set(i, i, step.At(i, i)+1-r*l)
		}
		var next mat.Dense
		next.Mul(step, product)
		product = &next
	}
	return product
}

func spectralNorm(a *mat.Dense) float64 {
	var svd mat.SVD
	if !svd.Factorize(a, mat.SVDNone) {
		return math.NaN()
	}
	return svd.Values(nil)[0]
}

// coupling is a matrix of spectral norm delta.
func coupling(n int, delta float64, kind string, rng *rand.Rand) *mat.Dense {
	e := mat.NewDense(n, n, nil)
	if kind == "flat to stiff" {
		e.Set(0, n-3, delta)
		return e
	}
	for i := range n {
		for j := range i + 1 {
			v := rng.NormFloat64()
			e.Set(i, j, v)
			e.Set(j, i, v)
		}
	}
	e.Scale(delta/spectralNorm(e), e)
	return e
}

// How large delta, in units of the least eigenvalue, may be.
func ExampleCertify() {
	s := estimator.Scales{Groups: []estimator.Scale{{Lo: 1, Hi: 4}, {Lo: 0.001, Hi: 0.004}}}
	c, err := scheduler.Chebyshev(s, 0.1)
	if err != nil {
		panic(err)
	}
	for _, f := range []float64{0, 1e-3, 1e-2, 1e-1, 1} {
		contraction, ok := scheduler.Certify(c, s, f*0.001)
		fmt.Printf("delta = %g mu: %.2g %t\n", f, contraction, ok)
	}
	// Output:
	// delta = 0 mu: 0.073 true
	// delta = 0.001 mu: 0.076 true
	// delta = 0.01 mu: 0.11 true
	// delta = 0.1 mu: 0.43 true
	// delta = 1 mu: 5.8 false
}

func BenchmarkCertify(b *testing.B) {
	s := exactScales(quadratics[1].spectrum)
	for _, rho := range []float64{0.1, 1e-5} {
		c, err := scheduler.Chebyshev(s, rho)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("rates=%d", len(c.Rates)), func(b *testing.B) {
			for b.Loop() {
				scheduler.Certify(c, s, 1e-9)
			}
		})
	}
}
