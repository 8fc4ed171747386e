package main

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func TestGradientIsTheLosssDerivative(t *testing.T) {
	n := network{3, 4, 2}
	s := samples{mat.NewDense(2, 3, []float64{0.1, -0.4, 0.9, 1, 0.2, -0.3}), []int{1, 0}}
	x, g := n.start(5), make([]float64, n.dim())
	rows := []int{0, 1}
	n.gradient(x, g, s, rows)
	const h = 1e-5
	for i := range x {
		up, down := append([]float64(nil), x...), append([]float64(nil), x...)
		up[i] += h
		down[i] -= h
		want := (n.gradient(up, nil, s, rows) - n.gradient(down, nil, s, rows)) / (2 * h)
		// Central differences err by h^2 times a third derivative below 10, and by
		// rounding over h.
		if math.Abs(g[i]-want) > 1e-8 {
			t.Errorf("derivative %d is %v, want %v", i, g[i], want)
		}
	}
}
