package scheduler

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"multirate/estimator"
)

// openLoopCycle is the longest Chebyshev cycle planned open loop.
const openLoopCycle = 1536

// leastReachGrowth and mostReachGrowth bound the ratio of a displacement to the
// longest so far that has done no harm.
const (
	leastReachGrowth = 2.0
	mostReachGrowth  = 16.0
)

// wrongSpectrum is the ratio of the curvature seen along a step to the stiffest of
// the spectrum from which on the spectrum is wrong. A constant rate stays stable
// up to twice.
const wrongSpectrum = 1.5

// Constants of the policy constant where a spectrum says that the loss is stiffer
// than it looks: after unseenSteps steps whose curvature stayed below unseenShare of
// what was told, the rate grows by unseenGrowth a step.
const (
	unseenSteps  = 32
	unseenShare  = 1.0 / 3
	unseenGrowth = 1.05
)

// maxUpcoming is the number of rates handed out ahead.
const maxUpcoming = 64

// ErrSpectrum means that a spectrum can't be planned for: it resolves no positive
// curvature.
var ErrSpectrum = errors.New("spectrum resolves no positive curvature")

// Plan is a spectrum from Hessian-vector products with the cycle made for it.
type Plan struct {
	spectrum estimator.Spectrum
	scales   estimator.Scales
	cycle    Cycle
}

// NewPlan plans a run's cycle for a spectrum. It may take a tenth of a second,
// which is why it is apart from [Controller.Adopt]. The spectrum must
// resolve positive curvature; see [ErrSpectrum].
func NewPlan(cfg Config, spectrum estimator.Spectrum) (Plan, error) {
	scales := estimator.DetectScales(spectrum)
	if len(scales.Groups) == 0 {
		return Plan{}, fmt.Errorf("%d Ritz values: %w", len(spectrum.Ritz), ErrSpectrum)
	}
	cycle, err := cycleFor(cfg.withDefaults(), scales)
	if err != nil {
		return Plan{}, fmt.Errorf("plan for %d scales: %w", len(scales.Groups), err)
	}
	split := estimator.SplitScales(spectrum)
	if len(cycle.Rates) > 0 && len(split.Groups) > len(scales.Groups) {
		finer, err := cycleFor(cfg.withDefaults(), split)
		if err != nil {
			return Plan{}, fmt.Errorf("plan for %d scales: %w", len(split.Groups), err)
		}
		if finer.flattest(split) < cycle.flattest(scales) ||
			finer.flattest(split) == cycle.flattest(scales) && finer.Cost() < cycle.Cost() {
			cycle = finer.relabelled(scales)
		}
	}
	return Plan{spectrum, scales, cycle}, nil
}

// flattest is the lower edge of the flattest scale that the cycle serves, +Inf
// for no rates.
func (c Cycle) flattest(scales estimator.Scales) float64 {
	if len(c.Rates) == 0 {
		return math.Inf(1)
	}
	return scales.Groups[slices.Max(c.Scale)].Lo
}

// relabelled names each rate after the scale of s that is nearest to its root,
// for a cycle that was made for other scales.
func (c Cycle) relabelled(s estimator.Scales) Cycle {
	c.Scale = slices.Clone(c.Scale)
	for i, r := range c.Rates {
		c.Scale[i] = nearestScale(s, 1/r)
	}
	return c
}

// Adopt takes a plan over. While no sketches come, its cycle is served open loop
// until the loss refutes it; without a cycle, the rate that is safe for the
// stiffest scale is where scalars start from. Once a run's loss has refuted a
// spectrum, scalars alone decide.
func (c *Controller) Adopt(p Plan) {
	s := &c.s
	s.Spectrum, s.Scales, s.Earlier = p.spectrum, p.scales, s.Scales
	s.Adopted = s.Step
	s.Revision++
	s.Sketched, s.Outgrown, s.Reach = false, false, 0
	s.Doubt, s.Seen, s.Unseen = 1, 0, 0
	s.Cycle, s.Seed = p.cycle, 0
	if s.Refuted {
		s.Cycle = Cycle{}
	} else {
		s.Stiffest = max(s.Stiffest, p.scales.Groups[0].Hi)
		if len(s.Cycle.Rates) == 0 {
			s.Seed = 1 / s.Stiffest
		}
	}
	c.startPass(math.NaN())
}

// cycleFor plans by policy for as many scales, stiffest first, as fit: those left
// out are not hurt by the rates of stiffer ones. Along negative curvature a step
// amplifies, so a cycle must not multiply what lies there by more than the growth
// that the run allows. Long steps are blind where the loss is not quadratic, so
// only a policy that asks for them by name gets them; the adaptive one waits for
// sketches. The zero Cycle: there is none.
func cycleFor(cfg Config, scales estimator.Scales) (Cycle, error) {
	switch cfg.Policy {
	case PolicyConstant:
		return Cycle{Rates: []float64{1 / scales.Groups[0].Hi}, Scale: []int{0}, Rho: 1}, nil
	case PolicyAdaptive:
		return Cycle{}, nil
	}
	for n := len(scales.Groups); n > 0; n-- {
		served := estimator.Scales{Groups: scales.Groups[:n], Confidence: scales.Confidence[:n-1]}
		cycle, err := bestCycle(cfg.Policy, served)
		if err != nil && !errors.Is(err, ErrCycleTooLong) {
			return Cycle{}, err
		}
		if err == nil && cycle.amplification(scales.Negative) <= cfg.MaxLossGrowth {
			return cycle, nil
		}
	}
	return Cycle{}, nil
}

// amplification is the factor by which one pass multiplies an error along the
// eigenvalue.
func (c Cycle) amplification(eigenvalue float64) float64 {
	product := 1.0
	for _, r := range c.Rates {
		product *= math.Abs(1 - r*eigenvalue)
	}
	return product
}

func bestCycle(policy Policy, scales estimator.Scales) (Cycle, error) {
	if policy == PolicyMrGD {
		return BestMrGD(scales, MaxCycleLength)
	}
	return bestOfBoth(scales, openLoopCycle)
}

// cycleStep serves the next rate of the open-loop cycle. Nothing but the loss and
// the gradient's norm tells whether the spectrum still holds.
func (c *Controller) cycleStep(o Observation, linked bool) Decision {
	s := &c.s
	c.advanceUnobserved(o)
	rose := o.Loss > s.CycleLoss+lossPrecision*math.Abs(s.CycleLoss)
	curvature := 0.0
	if linked {
		curvature = c.curvatureAlong(o)
	}
	wrong := curvature*max(s.Doubt, 1) > wrongSpectrum*s.Scales.Groups[0].Hi
	if c.grown(o.Loss, s.CycleLoss) || rose && s.Position == 0 || wrong {
		return c.refute(o)
	}
	if !rose && o.Step == s.Step+1 {
		c.extendReach(o)
	}
	if s.Position == 0 {
		s.Proven = !math.IsNaN(s.CycleLoss) && !s.Shortened
		c.startPass(o.Loss)
	}
	d := Decision{
		Rate: s.Cycle.Rates[s.Position], Reason: ReasonPlanned, Scale: s.Cycle.Scale[s.Position],
		CyclePosition: s.Position, CycleLength: len(s.Cycle.Rates), PredictedChange: math.NaN(),
	}
	if c.cfg.Policy == PolicyConstant {
		c.doubt(curvature)
		d.Rate *= s.Doubt
	}
	s.Position = (s.Position + 1) % len(s.Cycle.Rates)
	if !s.Proven {
		c.holdWithinReach(o, &d)
	}
	if s.Proven && s.Position > 0 && c.cfg.Policy != PolicyConstant {
		d.Upcoming = s.Cycle.Rates[s.Position:min(s.Position+maxUpcoming, len(s.Cycle.Rates))]
	}
	return d
}

// doubt lets the policy constant exceed the rate of a spectrum that tells of more
// curvature than steps show. What it tells may be true all the same, with nothing
// of the gradient along it: then steps of more than twice the true rate turn the
// gradient there, which shows in its curvature long before it does in the loss,
// and refutes the spectrum.
func (c *Controller) doubt(curvature float64) {
	s := &c.s
	told := s.Scales.Groups[0].Hi
	s.Doubt = max(s.Doubt, 1)
	s.Seen = max(s.Seen, curvature)
	if s.Unseen++; s.Seen >= unseenShare*told {
		s.Unseen = 0
	}
	if s.Unseen > unseenSteps && 2*curvature*s.Doubt < told {
		s.Doubt *= unseenGrowth
	}
}

func (c *Controller) startPass(loss float64) {
	c.s.Position, c.s.CycleLoss, c.s.Shortened = 0, loss, false
}

// extendReach lets displacements grow with those that have done no harm: a step
// is blind beyond the distance over which the loss was seen to follow the
// spectrum. The curvature k/rate that the loss shows along the last step says
// how far along it the loss would have broken even, 2/k times as far.
func (c *Controller) extendReach(o Observation) {
	last := c.s.Last
	gain := last.Rate * last.NormSquared
	growth := leastReachGrowth
	if k := 2 * (o.Loss - last.Loss + gain) / gain; k > 0 {
		growth = min(max(2/k, leastReachGrowth), mostReachGrowth)
	}
	c.s.Reach = max(c.s.Reach, growth*last.Rate*math.Sqrt(last.NormSquared))
}

// holdWithinReach shortens a rate that would go further than the reach. Going on
// in a Chebyshev cycle would then let a later, longer step meet what the
// shortened one has left undamped, so the pass starts again: what was served of
// it amplifies no eigenvalue by more than the partial product that it stands for,
// or not at all. MrGD repeats each rate so often that one shortened step leaves
// little undamped.
func (c *Controller) holdWithinReach(o Observation, d *Decision) {
	s := &c.s
	limit := max(1/s.Scales.Groups[0].Hi, s.Reach/math.Sqrt(o.GradientNormSquared))
	if d.Rate <= limit {
		return
	}
	d.Rate, d.Guard, s.Shortened = limit, GuardTrustRegion, true
	if c.cfg.Policy == PolicyChebyshev {
		s.Position = 0
	}
}

// advanceUnobserved moves past rates that were taken ahead. After steps at rates
// that nobody advised the pass starts again.
func (c *Controller) advanceUnobserved(o Observation) {
	s := &c.s
	skipped := o.Step - s.Step - 1
	switch {
	case !s.Started || skipped <= 0:
	case skipped > int64(s.Last.Upcoming):
		c.startPass(math.NaN())
	default:
		s.Position = (s.Position + int(skipped)) % len(s.Cycle.Rates)
	}
}

// refute answers a loss that the spectrum can't explain: safe rates from here on.
func (c *Controller) refute(o Observation) Decision {
	s := &c.s
	s.Cycle, s.Outgrown, s.Refuted = Cycle{}, true, true
	c.startPass(math.NaN())
	return c.scalarStep(o, false)
}
