package estimator

import (
	"math"
	"math/rand/v2"
	"testing"
)

// drifting is a symmetric operator with known eigenvalues in a turned basis.
type drifting struct {
	d  []float64
	us [][]float64 // unit vectors of Householder reflections
}

func (h drifting) product(dst, v []float64) {
	copy(dst, v)
	for _, u := range h.us {
		reflect(dst, u)
	}
	for i := range dst {
		dst[i] *= h.d[i]
	}
	for i := len(h.us) - 1; i >= 0; i-- {
		reflect(dst, h.us[i])
	}
}

func reflect(v, u []float64) {
	c := 0.0
	for i, x := range u {
		c += x * v[i]
	}
	for i, x := range u {
		v[i] -= 2 * c * x
	}
}

// turned is d with every eigenvalue changed by up to share of itself, and the
// basis turned by about the angle: two reflections at unit vectors so far apart.
func turned(rng *rand.Rand, d []float64, share, angle float64) drifting {
	h := drifting{d: make([]float64, len(d))}
	for i, x := range d {
		h.d[i] = x * (1 + share*(2*rng.Float64()-1))
	}
	u, v := make([]float64, len(d)), make([]float64, len(d))
	for i := range u {
		u[i] = rng.NormFloat64()
	}
	scaleTo(u, 1)
	for i := range v {
		v[i] = u[i] + angle*rng.NormFloat64()/math.Sqrt(float64(len(d)))
	}
	scaleTo(v, 1)
	h.us = [][]float64{u, v}
	return h
}

func scaleTo(v []float64, length float64) {
	n := norm2(v)
	for i := range v {
		v[i] *= length / n
	}
}

func untilConverged(t testing.TB, c LanczosConfig, h operator) *Lanczos {
	t.Helper()
	l, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	for !l.Done() && !l.Converged(0.05) {
		step(t, l, h)
	}
	return l
}

// sameScales reports whether scales are those of the eigenvalues d, grouped as
// want, to within share.
func sameScales(got Scales, d []float64, want []scale, share float64) bool {
	if len(got.Groups) != len(want) {
		return false
	}
	for i, w := range want {
		lo, hi := math.Inf(1), 0.0
		for _, x := range d {
			if x >= w.lo/1.5 && x <= w.hi*1.5 {
				lo, hi = min(lo, x), max(hi, x)
			}
		}
		if g := got.Groups[i]; math.Abs(g.Lo/lo-1) > share || math.Abs(g.Hi/hi-1) > share {
			return false
		}
	}
	return true
}

var warmFamilies = map[string][]scale{
	"three scales":      {{1, 4, 20}, {1e-3, 4e-3, 20}, {1e-6, 4e-6, 60}},
	"bulk and outliers": {{100, 110, 2}, {10, 12, 5}, {1e-3, 0.1, 300}},
	"network":           {{50, 100, 10}, {0.01, 1, 300}},
}

// After a small drift a warm run takes a few products beside those of the kept
// vectors, finds where the edges have gone, and may be kept again.
func TestWarmStartTakesAFewProducts(t *testing.T) {
	for name, scales := range warmFamilies {
		rng := rand.New(rand.NewPCG(1, 1))
		d := gapped(rng, scales...)
		c := LanczosConfig{Dimension: len(d), Products: 120, Seed: 1}
		l := untilConverged(t, c, diagonalOperator(d))
		cold := l.Steps()
		for drift := range 3 {
			c.Kept, c.Seed = l.Keep(), uint64(drift)
			h := turned(rng, d, 0.01, 1e-9)
			d = h.d
			l = untilConverged(t, c, h.product)
			t.Logf("%s: cold %d, kept %d, warm %d products", name, cold, c.Kept.Count(), l.Steps())
			if l.Steps() > c.Kept.Count()+8 {
				t.Errorf("%s: %d products from %d kept vectors", name, l.Steps(), c.Kept.Count())
			}
			s := l.Spectrum()
			checkSpectrum(t, s)
			if s.Products != l.Steps() || !sameScales(DetectScales(s), d, scales, 0.05) {
				t.Errorf("%s: %d products, scales %+v", name, s.Products, DetectScales(s).Groups)
			}
		}
	}
}

// Whatever has happened to the operator, a warm run that stops early or not tells
// the scales as they are now.
func TestWarmStartSeesChanges(t *testing.T) {
	scales := []scale{{50, 100, 10}, {0.01, 1, 300}}
	rng := rand.New(rand.NewPCG(2, 2))
	d := gapped(rng, scales...)
	for name, change := range map[string]func() (drifting, []scale){
		"turned by a radian": func() (drifting, []scale) { return turned(rng, d, 0.01, 1), scales },
		"ten times as stiff": func() (drifting, []scale) {
			h := turned(rng, d, 0, 0)
			for i := range h.d {
				h.d[i] *= 10
			}
			return h, []scale{{500, 1000, 10}, {0.1, 10, 300}}
		},
		"one stiffer direction": func() (drifting, []scale) {
			h := turned(rng, d, 0, 0)
			h.d[len(d)/2] = 2000
			return h, []scale{{2000, 2000, 1}, {50, 100, 10}, {0.01, 1, 299}}
		},
		"nothing flat left": func() (drifting, []scale) {
			h := turned(rng, d, 0, 0)
			for i := range h.d {
				h.d[i] = max(h.d[i], 20)
			}
			return h, []scale{{20, 100, 310}}
		},
	} {
		c := LanczosConfig{Dimension: len(d), Products: 200, Seed: 1}
		c.Kept = untilConverged(t, c, diagonalOperator(d)).Keep()
		h, want := change()
		l := untilConverged(t, c, h.product)
		t.Logf("%s: %d products", name, l.Steps())
		// Settled closes the bracket of a lower edge to 5 % on either side, and one
		// eigenvalue in three is too faint to be seen there.
		if s := l.Spectrum(); !sameScales(DetectScales(s), h.d, want, 0.1) {
			t.Errorf("%s: after %d products scales are %+v", name, l.Steps(), DetectScales(s).Groups)
		}
	}
}

// Ritz values of a warm run that has not been confirmed are as good as their
// bounds say, at every step.
func TestWarmStartBounds(t *testing.T) {
	for _, p := range []Precision{Float64, Float32} {
		rng := rand.New(rand.NewPCG(3, 3))
		d := gapped(rng, scale{50, 100, 5}, scale{0.01, 1, 60})
		c := LanczosConfig{Dimension: len(d), Products: 40, Seed: 1, Precision: p}
		c.Kept = c.complete(t, diagonalOperator(d)).Keep()
		h := turned(rng, d, 0.01, 0.1)
		c.Products = len(d)
		l, err := c.Start()
		if err != nil {
			t.Fatal(err)
		}
		for !l.Done() {
			step(t, l, h.product)
			if !l.Spectrum().Known() {
				continue
			}
			weight := 0.0
			for _, r := range l.Spectrum().Ritz {
				weight += r.Weight
				if off := nearest(r.Value, h.d); off > r.Bound+8*0x1p-24*d[0] {
					t.Errorf("precision %v, %d products: %+v is %g off", p, l.Steps(), r, off)
				}
			}
			if math.Abs(weight-1) > 1e-12 {
				t.Errorf("weights sum to %v", weight)
			}
		}
	}
}

// A warm run holds up wherever a cold one does, and refuses what is not its own.
func TestWarmStartEdgeCases(t *testing.T) {
	for name, d := range map[string][]float64{
		"identity": {1, 1, 1, 1, 1, 1}, "rank one": {0, 0, 0, 0, 0, 4}, "tiny": {1e-300, 2e-300, 5e-300, 1e-300},
		"huge": {1e299, 2e299, 1e297, 3e299}, "one": {7}, "two": {7, 1}, "negative": {-1, -2, 3, 4, 5},
	} {
		for _, p := range []Precision{Float64, Float32, BFloat16} {
			c := LanczosConfig{Dimension: len(d), Products: len(d), Seed: 1, Precision: p}
			c.Kept = c.complete(t, diagonalOperator(d)).Keep()
			l := c.complete(t, diagonalOperator(d))
			for i, r := range l.Spectrum().Ritz {
				if !isFinite(r.Value) || !isFinite(r.Bound) || !(r.Weight >= 0) {
					t.Errorf("%s, precision %v: Ritz value %d is %+v", name, p, i, r)
				}
			}
			l.Converged(0.05)
			l.Keep()
		}
	}
	if (LanczosConfig{Dimension: 3, Products: 3}).complete(t, diagonalOperator(make([]float64, 3))).Keep() != nil {
		t.Error("vectors kept of the zero operator")
	}
	c := LanczosConfig{Dimension: 9, Products: 9}
	c.Kept = c.complete(t, diagonalOperator([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9})).Keep()
	if second(LanczosConfig{Dimension: 10, Products: 9, Kept: c.Kept}.Start()) == nil ||
		second(LanczosConfig{Dimension: 9, Products: 9, Kept: c.Kept, Precision: Float32}.Start()) == nil {
		t.Error("foreign vectors accepted")
	}
}
