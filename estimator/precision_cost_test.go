package estimator

import (
	"math"
	"math/rand/v2"
	"testing"
)

// What a precision costs: the edges of scales found with vectors, and products
// rounded likewise, next to the true ones.
func TestPrecisionCost(t *testing.T) {
	for p, limit := range map[Precision]float64{Float64: 0.05, Float32: 0.05, BFloat16: 0.08} {
		top, edge := 0.0, 0.0
		for seed := range uint64(5) {
			rng := rand.New(rand.NewPCG(seed, 8))
			d := gapped(rng, scale{50, 100, 8}, scale{1, 4, 1500})
			l, err := LanczosConfig{Dimension: len(d), Products: 60, Seed: seed, Precision: p}.Start()
			if err != nil {
				t.Fatal(err)
			}
			product := make([]float64, len(d))
			for !l.Done() && !l.Converged(0.05) {
				for i, x := range l.Probe() {
					product[i] = d[i] * x
					switch p {
					case Float32:
						product[i] = float64(float32(product[i]))
					case BFloat16:
						product[i] = float64(BFloat16Value(RoundBFloat16(float32(product[i]))))
					}
				}
				if err := l.Absorb(product); err != nil {
					t.Fatal(err)
				}
			}
			s := l.Spectrum()
			top = max(top, math.Abs(s.Ritz[0].Value/100-1))
			groups := DetectScales(s).Groups
			if len(groups) != 2 {
				t.Fatalf("precision %v, seed %d: %+v", p, seed, groups)
			}
			for i, want := range []Scale{{Lo: 50, Hi: 100}, {Lo: 1, Hi: 4}} {
				edge = max(edge, math.Abs(groups[i].Lo/want.Lo-1), math.Abs(groups[i].Hi/want.Hi-1))
			}
		}
		t.Logf("precision %v: stiffest eigenvalue to %.1g, edges to %.1g", p, top, edge)
		if edge > limit {
			t.Errorf("precision %v: edges are off by %g, want at most %g", p, edge, limit)
		}
	}
}
