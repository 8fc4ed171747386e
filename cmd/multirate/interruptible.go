package main

import (
	"context"
	"math"

	"multirate/examples/problems"
)

// interruptible is a problem whose loss is infinite once ctx has ended, which
// every method takes for divergence and gives up.
type interruptible struct {
	problems.Problem
	ctx context.Context
}

// Gradient is that of the problem while ctx lasts.
func (p interruptible) Gradient(x, g []float64) float64 {
	if p.ctx.Err() != nil {
		return math.Inf(1)
	}
	return p.Problem.Gradient(x, g)
}
