package estimator

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// heavyBall is n steps on the quadratic with the given eigenvalues, from a start
// with some energy along the first.
func heavyBall(rng *rand.Rand, lambda []float64, rate, momentum float64, n int) (displacements, changes [][]float32) {
	x, v := make([]float64, len(lambda)), make([]float64, len(lambda))
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	x[0] = 1
	for range n {
		dx, dg := make([]float32, len(x)), make([]float32, len(x))
		for i, l := range lambda {
			v[i] = momentum*v[i] + l*x[i]
			x[i] -= rate * v[i]
			dx[i], dg[i] = float32(-rate*v[i]), float32(-rate*l*v[i])
		}
		displacements, changes = append(displacements, dx), append(changes, dg)
	}
	return displacements, changes
}

// Ritz values never exceed the largest eigenvalue, and six steps at four fifths of the
// stability limit see most of it.
func TestSharpnessOfQuadratics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 3))
		momentum := rapid.SampledFrom([]float64{0, 0.5, 0.9}).Draw(t, "momentum")
		lambda := []float64{8}
		for range 40 {
			lambda = append(lambda, math.Exp(-6*rng.Float64()))
		}
		got := Sharpness(heavyBall(rng, lambda, 0.2, momentum, 6))
		// float32 sketches are rounded at 6e-8, amplified by at most 1/leastDirection.
		if got > 8*(1+1e-3) || got < 4 {
			t.Errorf("sharpness %v, want up to 8", got)
		}
	})
}

func TestSharpnessSpecialCases(t *testing.T) {
	dx, dg := heavyBall(rand.New(rand.NewPCG(1, 1)), []float64{3}, 0.1, 0, 4)
	zero := [][]float32{make([]float32, 5)}
	noise, other := [][]float32{{1, 0}, {1, 1e-3}}, [][]float32{{2, 0}, {2, 0.5}}
	for _, c := range []struct {
		name                   string
		displacements, changes [][]float32
		want                   float64
	}{
		{"nothing", nil, nil, 0},
		{"no displacement", zero, zero, 0},
		{"one direction", dx, dg, 3},
		{"negative curvature alone", [][]float32{{1, 0}}, [][]float32{{-2, 0}}, 0},
		{"a nearly repeated displacement says nothing of the rest", noise, other, 2},
		{"overflow", [][]float32{{math.MaxFloat32, math.MaxFloat32}}, [][]float32{{math.MaxFloat32, 0}}, 0.5},
	} {
		if got := Sharpness(c.displacements, c.changes); math.Abs(got-c.want) > 1e-3 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
