package estimator

import (
	"fmt"
	"testing"
)

// BenchmarkAbsorb takes one product into a basis of 32 vectors; MB/s are those
// of reading the basis twice.
func BenchmarkAbsorb(b *testing.B) {
	const dim, k = 1 << 21, 32
	for _, p := range []Precision{Float64, Float32} {
		b.Run(fmt.Sprintf("%d bytes", p.Bytes()), func(b *testing.B) {
			d := make([]float64, dim)
			for i := range d {
				d[i] = float64(i)
			}
			product := make([]float64, dim)
			l, err := LanczosConfig{Dimension: dim, Products: 1 << 20, Precision: p}.Start()
			if err != nil {
				b.Fatal(err)
			}
			for l.Steps() < k-1 {
				step(b, l, diagonalOperator(d))
			}
			diagonalOperator(d)(product, l.Probe())
			b.SetBytes(int64(2 * k * p.Bytes() * dim))
			for b.Loop() {
				l.vectors.rows.truncate(k)
				l.diag, l.off, l.skew = l.diag[:k-1], l.off[:k-1], l.skew[:k-1]
				if err := l.Absorb(product); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
