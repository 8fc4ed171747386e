package scheduler

import "math"

// scalarSafety divides rates that rest on a curvature seen only along the
// gradient, which may be any fraction of the largest; on a quadratic the
// gradient turns to the stiffest direction while the rate is too long, so a
// factor of 2 is enough in practice.
const scalarSafety = 2

// firstGrowth is theta_0 of Malitsky and Mishchenko's method: the first rate is
// not to grow before there is evidence.
const firstGrowth = 1.0 / 3

// curvatureAlong is a lower bound of the largest curvature, from what the last
// step did to norms, inner products and the loss: |g - g'|/(rate |g'|) where the
// inner product is known. 0 when they tell nothing.
func (c *Controller) curvatureAlong(o Observation) float64 {
	last := c.s.Last
	length := o.AppliedRate * math.Sqrt(last.NormSquared)
	if !(length > 0) {
		return 0
	}
	if !math.IsNaN(o.GradientDotPrevious) {
		return math.Sqrt(max(o.GradientNormSquared+last.NormSquared-2*o.GradientDotPrevious, 0)) / length
	}
	seen := math.Abs(math.Sqrt(o.GradientNormSquared)-math.Sqrt(last.NormSquared)) / length
	rounding := lossPrecision * math.Abs(o.Loss)
	if excess := o.Loss - last.Loss + o.AppliedRate*last.NormSquared - rounding; excess > 0 {
		seen = max(seen, 2*excess/(length*length))
	}
	return seen
}

// scalarCurvature is curvatureAlong, with a margin for what it doesn't see.
func (c *Controller) scalarCurvature(o Observation) float64 {
	if math.IsNaN(o.GradientDotPrevious) {
		return scalarSafety * c.curvatureAlong(o)
	}
	return c.curvatureAlong(o)
}

// scalarStep is adaptive gradient descent, which needs no line search and no
// constant of the problem (Malitsky and Mishchenko, Adaptive proximal gradient
// method for convex optimization, arXiv 2308.02261, algorithm 1):
//
//	rate <- min(sqrt(2/3 + theta) rate, rate/sqrt((2 rate^2 L^2 - 1)+))
//
// with theta the last growth of the rate and L the curvature just seen. A
// spectrum from products gives it a rate to start from.
func (c *Controller) scalarStep(o Observation, linked bool) Decision {
	s := &c.s
	d := Decision{Reason: ReasonWarmup, Scale: -1, PredictedChange: math.NaN()}
	curvature := 0.0
	if linked {
		curvature = c.scalarCurvature(o)
	}
	seeded := s.Seeded
	s.Seeded = false
	switch {
	case s.Seed > 0:
		d.Rate, d.Reason = s.Seed, ReasonFallback
		s.Seed, s.Seeded = 0, true
	case !s.Started || s.Last.Rate == 0:
		d.Rate = c.firstRate(o)
	case s.Outgrown || c.grown(o.Loss, math.NaN()):
		d.Rate, d.Reason = s.Last.Rate, ReasonRecovery
		if s.Stiffest > 0 {
			d.Rate = min(d.Rate, 1/s.Stiffest)
		}
		s.Outgrown = false
	case linked && curvature == 0 && (o.Sketch != nil || !math.IsNaN(o.GradientDotPrevious)):
		d.Rate = warmupGrowth * o.AppliedRate // the step was too short to change the gradient
	case !(curvature > 0):
		d.Rate, d.Reason = s.Last.Rate, ReasonFallback
	default:
		theta := firstGrowth
		if s.Before > 0 && !seeded {
			theta = o.AppliedRate / s.Before
		}
		d.Rate, d.Reason = math.Sqrt(2.0/3+theta)*o.AppliedRate, ReasonFallback
		if e := o.AppliedRate * curvature; 2*e*e > 1 {
			d.Rate = min(d.Rate, o.AppliedRate/math.Sqrt(2*e*e-1))
		}
	}
	d.EstimateWanted = o.Sketch == nil && s.Started && !s.Spectrum.Known()
	c.bound(o, &d)
	return d
}

// firstRate is a rate for the first step, when nothing is known: short against
// the parameters, and short where these are large, since a few large ones may
// hide that the stiff ones are small.
func (c *Controller) firstRate(o Observation) float64 {
	length := firstDisplacement
	if o.ParameterNorm > 0 {
		length *= min(o.ParameterNorm, 1)
	}
	rate := length / math.Sqrt(o.GradientNormSquared)
	if c.cfg.FallbackRate > 0 {
		rate = min(rate, c.cfg.FallbackRate)
	}
	return rate
}
