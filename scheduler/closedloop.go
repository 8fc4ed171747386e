package scheduler

import (
	"math"

	"multirate/estimator"
)

// Constants of the closed loop. None is tuned to a problem; halving or
// doubling one changes results by up to 39 % (docs/mathematics.md).
const (
	// firstDisplacement is the length of the first step, relative to the norm
	// of the parameters where that is less than 1, else absolute.
	firstDisplacement = 1e-4
	// stiffestMemory is the decay per step of the largest curvature seen.
	stiffestMemory = 0.97
	// allowance is the share of what the present plan has gained that its next
	// step may be predicted to lose.
	allowance = 0.5
	// warmupGrowth is the factor by which a rate may exceed the longest so far
	// while the window fills.
	warmupGrowth = 10
	// maxDamped is the number of damping steps, as a multiple of the window,
	// after which a plan is given up.
	maxDamped = 1
	// leastMisprediction is the relative error of a predicted fall for which the
	// next displacement may be as long as the last.
	leastMisprediction = 0.1
	// closedLoopCycle is the longest cycle that a closed loop plans: its model
	// is worth about a window of steps.
	closedLoopCycle = 128
)

// closedLoopStep serves the next rate of a plan made from the window's model,
// or a shorter one where the model predicts that the planned rate would cost
// more than the plan has gained.
func (c *Controller) closedLoopStep(o Observation, linked bool, m estimator.Model) Decision {
	s := &c.s
	d := Decision{Reason: ReasonPlanned, Scale: -1, PredictedChange: math.NaN()}
	change := c.lossChange(o, linked)
	c.gain(o, change)
	c.extendTrust(o, change)
	rose := c.judge(o, change)
	grown := c.grown(o.Loss, s.Reference)
	if !grown {
		s.Recoveries = 0
	}
	switch {
	case grown:
		c.recover(o, &d)
	case c.cfg.Policy == PolicyConstant:
		d.Rate = 1 / s.Stiffest
	default:
		c.admit(o, m, &d)
		if rose && d.Reason == ReasonPlanned {
			d.Reason = ReasonRecovery
		}
	}
	c.bound(o, &d)
	return d
}

// recover answers a loss that has outgrown its bound: safe steps, half the last
// displacement at most until predictions hold again. What the loss regains is
// no gain that a plan may spend, so the reference stays, unless a whole window of
// safe steps has not brought the loss back.
func (c *Controller) recover(o Observation, d *Decision) {
	s := &c.s
	s.Plan = nil
	if length := o.AppliedRate * math.Sqrt(s.Last.NormSquared); s.Recoveries == 0 && length > 0 {
		s.Radius = min(s.Radius, length/2)
	}
	if s.Recoveries++; s.Recoveries > c.cfg.Window {
		s.Reference, s.Gain, s.Recoveries = o.Loss, 0, 0
	}
	d.Rate, d.Reason = 1/s.Stiffest, ReasonRecovery
}

// judge compares the change of the loss, NaN if unknown, with the prediction,
// moves the trust region and reports whether the loss rose against it.
func (c *Controller) judge(o Observation, change float64) bool {
	s := &c.s
	predicted := s.Last.predictedAt(o.AppliedRate)
	if math.IsNaN(predicted) {
		return false
	}
	length := o.AppliedRate * math.Sqrt(s.Last.NormSquared)
	switch {
	case predicted < 0 && change > 0:
		s.Radius = length / 2
		if change > -predicted {
			s.Radius = length / 4
		}
		s.Plan = nil
		return true
	case change < predicted/2 && length > 0.8*s.Radius:
		s.Radius *= 2
	}
	return false
}

// extendTrust lets displacements grow with those whose prediction held. Where the
// loss is not quadratic, the error of a prediction, relative to the fall predicted,
// grows like the displacement; so a step that was e off says that one of
// leastMisprediction/e times its length will be leastMisprediction off.
func (c *Controller) extendTrust(o Observation, change float64) {
	s := &c.s
	predicted := s.Last.predictedAt(o.AppliedRate)
	if !(predicted < 0) || !(change < 0) {
		return
	}
	wrong := math.Abs(change/predicted - 1)
	growth := min(max(leastMisprediction/wrong, leastReachGrowth), mostReachGrowth)
	s.Trusted = max(s.Trusted, growth*o.AppliedRate*math.Sqrt(s.Last.NormSquared))
}

// admit takes the head of the plan if the predicted loss allows it, and
// otherwise the step that kills the mode which blocks it.
func (c *Controller) admit(o Observation, m estimator.Model, d *Decision) {
	s := &c.s
	if len(s.Plan) == 0 {
		c.replan(o, m)
	}
	d.Rate = s.Plan[0]
	d.CyclePosition, d.CycleLength = s.PlanLength-len(s.Plan), s.PlanLength
	if predictedChange(d.Rate, o.GradientNormSquared, m, s.Stiffest) > allowance*max(s.Gain, 0) {
		d.Rate = min(d.Rate, dampingRate(m, s.Stiffest))
		d.Reason, d.Guard = ReasonDamping, GuardPredictedLoss
		if s.Damped++; s.Damped >= maxDamped*c.cfg.Window {
			s.Plan = nil
		}
	} else {
		s.Plan = s.Plan[1:]
	}
	d.Scale = nearestScale(s.Scales, 1/d.Rate)
}

// replan makes a new plan from the model, which supersedes a spectrum from
// products.
func (c *Controller) replan(o Observation, m estimator.Model) {
	s := &c.s
	s.Cycle, s.Position = Cycle{}, 0
	s.Revision++
	s.Sketched = m.Known()
	s.Scales, s.Earlier = estimator.SplitScales(m.Spectrum()), s.Scales
	s.Plan = c.modelPlan(m)
	if len(s.Plan) == 0 {
		s.Plan = []float64{1 / s.Stiffest}
	}
	s.PlanLength, s.Damped = len(s.Plan), 0
	if math.IsNaN(s.Reference) || s.Gain >= 0 {
		s.Reference, s.Gain = o.Loss, 0
	}
}

// modelPlan returns the rates that the policy makes of the model, none if it
// can't.
func (c *Controller) modelPlan(m estimator.Model) []float64 {
	var cycle Cycle
	var err error
	switch c.cfg.Policy {
	case PolicyMrGD:
		cycle, err = BestMrGD(c.s.Scales, closedLoopCycle)
	case PolicyChebyshev:
		cycle, err = BestChebyshev(c.s.Scales, closedLoopCycle)
	default:
		return ritzRates(m)
	}
	if err != nil {
		return ritzRates(m)
	}
	return cycle.Rates
}

// ritzRates are the reciprocals of the positive Ritz values, ascending: the
// sweep of limited memory steepest descent (Fletcher, Math. Program. 135,
// 2012), stiff directions first, so that each long step finds them damped.
func ritzRates(m estimator.Model) []float64 {
	var rates []float64
	for _, t := range m.Theta {
		if rate := 1 / t; t > 0 && finite(rate) {
			rates = append(rates, rate)
		}
	}
	return rates
}

// dampingRate is the reciprocal of the curvature that carries most of the
// predicted loss of a long step, the residual's being the stiffest known, but
// no longer than the step that the model predicts to gain most.
func dampingRate(m estimator.Model, stiffest float64) float64 {
	worst, rate := stiffest*m.Residual, 1/stiffest
	for i, t := range m.Theta {
		if e := math.Abs(t) * m.Energy[i]; e > worst {
			worst, rate = e, 1/math.Abs(t)
		}
	}
	return max(min(rate, 1/charge(m, stiffest)), 1/stiffest)
}

// charge is the curvature along the current gradient that the model is charged
// with. Negative curvature counts like positive, and the residual like the
// stiffest curvature known, so that it errs on the safe side. Of the two ways to
// the span's share the larger counts: a single mistaken energy of a stiff Ritz
// vector makes a long step raise the loss a thousandfold.
func charge(m estimator.Model, stiffest float64) float64 {
	sum := 0.0
	for i, t := range m.Theta {
		sum += math.Abs(t) * m.Energy[i]
	}
	return max(sum, m.Curvature) + stiffest*m.Residual
}

// predictedChange is the loss change that the model predicts for a step at the
// given rate.
func predictedChange(rate, normSquared float64, m estimator.Model, stiffest float64) float64 {
	return (-rate + rate*rate*charge(m, stiffest)/2) * normSquared
}

// predictedAt is the loss change that the model of the step predicted for the rate
// really applied: trainers that go on before the answer is there, or cap it, take
// others than the advised one. NaN: there was no model.
func (s step) predictedAt(rate float64) float64 {
	if rate == s.Rate {
		return s.Predicted
	}
	if s.Rate == 0 || s.NormSquared == 0 {
		return math.NaN()
	}
	// predictedChange is -rate + rate^2 charge/2, in units of the squared norm.
	half := (s.Predicted/s.NormSquared + s.Rate) / (s.Rate * s.Rate)
	return (-rate + rate*rate*half) * s.NormSquared
}

// bound applies the guards that need no model.
func (c *Controller) bound(o Observation, d *Decision) {
	s := &c.s
	lower := func(limit float64, g Guard) {
		if d.Rate > limit {
			d.Rate, d.Guard = limit, g
		}
	}
	if s.Trusted > 0 && o.Sketch != nil {
		lower(s.Trusted/math.Sqrt(o.GradientNormSquared), GuardTrustRegion)
	}
	lower(s.Radius/math.Sqrt(o.GradientNormSquared), GuardTrustRegion)
	if fall := o.Loss - c.cfg.LossLowerBound; c.cfg.HasLossBound && fall > 0 {
		lower(2*fall/o.GradientNormSquared, GuardLossBound)
	}
	if o.Sketch != nil && c.w.Pairs() < c.cfg.Window && s.Longest > 0 {
		lower(warmupGrowth*s.Longest, GuardWarmupGrowth)
	}
}

// nearestScale is the index of the scale whose interval is nearest to the
// curvature in ratio, -1 if there is none.
func nearestScale(s estimator.Scales, curvature float64) int {
	nearest, least := -1, math.Inf(1)
	for i, g := range s.Groups {
		ratio := max(g.Lo/curvature, curvature/g.Hi, 1)
		if ratio < least {
			nearest, least = i, ratio
		}
	}
	return nearest
}
