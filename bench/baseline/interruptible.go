package baseline

import (
	"context"
	"math"

	"multirate/examples/problems"
)

// Interruptible is p whose losses are infinite once ctx has ended, so that every
// method ends at its next gradient.
func Interruptible(ctx context.Context, p problems.Problem) problems.Problem {
	return interruptible{p, ctx}
}

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

// Minimum is the least loss, or the lower bound where it is not known.
func (p interruptible) Minimum() float64 { return Least(p.Problem) }

// Least is the least loss, or the lower bound where it is not known.
func Least(p problems.Problem) float64 {
	if minimum, ok := p.(problems.Minimum); ok {
		return minimum.Minimum()
	}
	return p.LowerBound()
}
