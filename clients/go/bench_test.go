package multirate

import "testing"

// BenchmarkSketch measures the one pass over the gradient that a step costs.
func BenchmarkSketch(b *testing.B) {
	const dimension = 10_000_000
	s, err := NewSketcher(dimension, 251, 1)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]float32, 251)
	b.Run("float32", func(b *testing.B) { benchmarkSketch(b, s, dst, make([]float32, dimension)) })
	b.Run("float64", func(b *testing.B) { benchmarkSketch(b, s, dst, make([]float64, dimension)) })
}

func benchmarkSketch[T Float](b *testing.B, s *Sketcher, dst []float32, g []T) {
	for i := range g {
		g[i] = T(i%101) - 50
	}
	b.SetBytes(int64(len(g) * elementWidth[T]()))
	b.ReportAllocs()
	for b.Loop() {
		Sketch(s, dst, g)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(g)), "ns/element")
}

// BenchmarkNormSquared measures the other one.
func BenchmarkNormSquared(b *testing.B) {
	g := make([]float32, 10_000_000)
	b.SetBytes(int64(4 * len(g)))
	for b.Loop() {
		NormSquared(g)
	}
}
