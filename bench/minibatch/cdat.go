package main

import (
	"context"
	"math"
)

// cdat is the curvature-dynamics-aware tuner of Roulet et al. (Stepping on the
// edge, arXiv 2407.06183): the rate is sigma times that which minimises the
// batch's quadratic model along the step, g'u/(u'Hu), numerator and denominator
// averaged over steps. The product is a central difference of the batch's
// gradient; it and its two gradients are not counted, in CDAT's favour.
type cdat struct {
	sigma                   float64
	slope, curvature        float64
	ahead, behind, up, down []float64
}

const (
	// cdatMemory is the decay of CDAT's averages per step.
	cdatMemory = 0.9
	// cdatReach is the length of the displacement of CDAT's differences.
	cdatReach = 1e-4
)

// cdatGrid is the sigmas to choose from; 2 is the edge of stability.
var cdatGrid = []float64{0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2}

func newCDAT(sigma float64, dim int) *cdat {
	line := func() []float64 { return make([]float64, dim) }
	return &cdat{sigma: sigma, ahead: line(), behind: line(), up: line(), down: line()}
}

func (c *cdat) rate(_ context.Context, p point) (float64, bool, error) {
	var slope, length, curvature float64
	for i, u := range p.descent {
		slope += p.g[i] * u
		length += u * u
	}
	h := cdatReach / math.Sqrt(length)
	for i, u := range p.descent {
		c.ahead[i], c.behind[i] = p.x[i]+h*u, p.x[i]-h*u
	}
	p.gradient(c.ahead, c.up)
	p.gradient(c.behind, c.down)
	for i, u := range p.descent {
		curvature += u * (c.up[i] - c.down[i]) / (2 * h)
	}
	c.slope = cdatMemory*c.slope + (1-cdatMemory)*max(slope, 0)
	c.curvature = cdatMemory*c.curvature + (1-cdatMemory)*math.Abs(curvature)
	if !(c.curvature > 0) {
		return 0, false, nil
	}
	return c.sigma * c.slope / c.curvature, false, nil
}
