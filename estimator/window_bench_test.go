package estimator

import (
	"math"
	"math/rand/v2"
	"testing"
)

// BenchmarkWindow times one Push and Solve on a descent over three scales.
func BenchmarkWindow(b *testing.B) {
	for _, m := range []int{16, 24, 32} {
		b.Run("", func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			const d = 251
			lam := make([]float64, d)
			g := make([]float64, d)
			for i := range lam {
				lam[i] = math.Pow(10, float64(-3*(i%3))) * (1 + r.Float64())
				g[i] = r.NormFloat64()
			}
			w := NewWindow(m, d)
			s := make([]float32, d)
			rates := []float64{0.4, 0.5, 0.6, 0.45, 0.55, 300, 500, 0.5, 0.4, 0.5, 0.6, 3e5}
			for i := 0; b.Loop(); i++ {
				eta := rates[i%len(rates)]
				for k := range s {
					s[k] = float32(g[k])
				}
				w.Push(s, rates[(i+len(rates)-1)%len(rates)])
				w.Solve()
				for k := range g {
					g[k] -= eta * lam[k] * g[k]
					if math.Abs(g[k]) < 1e-20 || math.Abs(g[k]) > 1e20 {
						g[k] = r.NormFloat64()
					}
				}
			}
		})
	}
}
