package scheduler

import "math"

// lossPrecision is the relative error that a loss may have: a mean over many
// terms in float32, each rounded at 6e-8.
const lossPrecision = 1e-6

// lossChange is the change of the loss since the last step, NaN if the two are
// not linked. Near a minimum it drowns in the rounding of the losses long before
// it does in that of the gradients, so within the losses' precision the gradients
// at both ends decide: along a step x - rate g the loss changes by the integral
// of -<g(x), g>, by the trapezoidal rule
//
//	-rate (|g|^2 + <g, g'>)/2,
//
// exactly on a quadratic (Hager and Zhang, SIAM J. Optim. 16, 2005, use the same
// in their approximate Wolfe condition).
func (c *Controller) lossChange(o Observation, linked bool) float64 {
	if !linked || math.IsNaN(c.s.Last.Loss) {
		return math.NaN()
	}
	change, slack := o.Loss-c.s.Last.Loss, lossPrecision*math.Abs(o.Loss)
	if inner, ok := c.innerWithLast(o); ok {
		trapezoid := -o.AppliedRate * (c.s.Last.NormSquared + inner) / 2
		change = within(trapezoid, change, slack)
	}
	return change
}

// innerWithLast is <g, g'> of the last gradient and this one, as sent or as the
// sketches have it.
func (c *Controller) innerWithLast(o Observation) (float64, bool) {
	if !math.IsNaN(o.GradientDotPrevious) {
		return o.GradientDotPrevious, true
	}
	if o.Sketch == nil {
		return 0, false
	}
	cosine, ok := c.w.Cosine()
	return cosine * math.Sqrt(o.GradientNormSquared*c.s.Last.NormSquared), ok
}

// gain brings up to date what the present plan has gained: the fall of the loss
// from its reference, within the losses' precision the sum of the changes.
func (c *Controller) gain(o Observation, change float64) {
	s := &c.s
	fall := s.Reference - o.Loss
	if math.IsNaN(change) {
		s.Gain = fall
		return
	}
	s.Gain = within(s.Gain-change, fall, lossPrecision*math.Abs(o.Loss))
}

// within is x, moved no further than need be to lie within slack of centre.
func within(x, centre, slack float64) float64 {
	return min(max(x, centre-slack), centre+slack)
}
