package problems

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// convex is a convex loss with a Hessian small enough to factorise.
type convex interface {
	Problem
	hessian(x []float64) *mat.SymDense
}

// optimum is a minimiser and the loss there.
type optimum struct {
	at   []float64
	loss float64
}

// newton minimises by Newton's method. Steps are halved until the loss falls
// (Boyd and Vandenberghe, Convex Optimization, section 9.5); where it falls no
// more in float64, which it does not see below the root of the rounding error,
// full steps go on while they halve the gradient. It panics where the Hessian is
// singular even after scaling: the problems here are fixed, and theirs is not.
func newton(p convex) optimum {
	x, g := p.Start(), make([]float64, p.Dim())
	loss := p.Gradient(x, g)
	trial, gTrial := make([]float64, len(x)), make([]float64, len(x))
	for falls := true; ; {
		direction, err := newtonDirection(p.hessian(x), g)
		if err != nil {
			panic(fmt.Sprintf("problems: %s: %v", p.Name(), err))
		}
		lower, accepted, shortest := loss, false, 1e-16
		if !falls {
			shortest = 1
		}
		for t := 1.0; t >= shortest && !accepted; t /= 2 {
			copy(trial, x)
			addScaled(trial, -t, direction)
			lower = p.Gradient(trial, gTrial)
			accepted = falls && lower < loss || !falls && norm(gTrial) < norm(g)/2
		}
		switch {
		case accepted:
			x, trial, g, gTrial, loss = trial, x, gTrial, g, lower
		case falls:
			falls = false
		default:
			return optimum{at: x, loss: loss}
		}
	}
}

// newtonDirection solves H d = g. Scaling H to a unit diagonal brings the
// condition number within a factor D of the best of any diagonal scaling (van
// der Sluis, Numerische Mathematik 14, 1969), which raw features need.
func newtonDirection(h *mat.SymDense, g []float64) ([]float64, error) {
	n := len(g)
	scale := make([]float64, n)
	for i := range scale {
		scale[i] = 1 / math.Sqrt(h.At(i, i))
	}
	right := mat.NewVecDense(n, nil)
	for i := range n {
		right.SetVec(i, scale[i]*g[i])
		for j := i; j < n; j++ {
			h.SetSym(i, j, h.At(i, j)*scale[i]*scale[j])
		}
	}
	var factor mat.Cholesky
	if !factor.Factorize(h) {
		return nil, fmt.Errorf("hessian is not positive definite")
	}
	d := mat.NewVecDense(n, nil)
	if err := factor.SolveVecTo(d, right); err != nil {
		return nil, fmt.Errorf("solve for the newton direction: %w", err)
	}
	for i, s := range scale {
		d.SetVec(i, s*d.AtVec(i))
	}
	return d.RawVector().Data, nil
}
