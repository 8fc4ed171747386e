package scheduler

import (
	"errors"
	"fmt"
	"math"

	"multirate/estimator"
)

// openLoopCycle is the longest Chebyshev cycle planned open loop. Ordering it
// costs the cube of its length; beyond this a cycle gains little.
const openLoopCycle = 512

// maxUpcoming is the number of rates handed out ahead.
const maxUpcoming = 64

// ErrSpectrum means that a spectrum can't be planned for: it holds no positive
// curvature.
var ErrSpectrum = errors.New("spectrum has no positive curvature")

// Plan is a spectrum from Hessian-vector products with the cycle made for it.
type Plan struct {
	spectrum estimator.Spectrum
	scales   estimator.Scales
	cycle    Cycle
}

// NewPlan plans a run's cycle for a spectrum. It may take a tenth of a second,
// which is why it is apart from [Controller.Adopt]. The spectrum must show
// positive curvature; see [ErrSpectrum].
func NewPlan(cfg Config, spectrum estimator.Spectrum) (Plan, error) {
	scales := estimator.DetectScales(spectrum)
	if len(scales.Groups) == 0 {
		return Plan{}, fmt.Errorf("%d Ritz values: %w", len(spectrum.Ritz), ErrSpectrum)
	}
	cycle, err := cycleFor(cfg.Policy, scales)
	if err != nil {
		return Plan{}, fmt.Errorf("plan for %d scales: %w", len(scales.Groups), err)
	}
	return Plan{spectrum, scales, cycle}, nil
}

// Adopt takes a plan over. While no sketches come, its cycle is served open loop
// until the loss refutes it.
func (c *Controller) Adopt(p Plan) {
	s := &c.s
	s.Spectrum, s.Scales, s.Cycle = p.spectrum, p.scales, p.cycle
	s.Revision++
	s.Position, s.CycleLoss, s.Outgrown, s.Sketched = 0, math.NaN(), false, false
	s.Stiffest = max(s.Stiffest, p.scales.Groups[0].Hi)
}

// cycleFor plans by policy. Where the cycle would be too long it leaves out the
// flattest scales, whose error no rate of the stiffer ones amplifies. Negative
// curvature allows no step that is long in its terms, so with it the constant
// rate for the stiffest scale is all that is safe open loop.
func cycleFor(policy Policy, scales estimator.Scales) (Cycle, error) {
	constant := Cycle{Rates: []float64{1 / scales.Groups[0].Hi}, Scale: []int{0}, Rho: 1}
	if policy == PolicyConstant || scales.Negative < 0 {
		return constant, nil
	}
	for n := len(scales.Groups); n > 0; n-- {
		served := estimator.Scales{Groups: scales.Groups[:n], Confidence: scales.Confidence[:n-1]}
		cycle, err := bestCycle(policy, served)
		if err == nil || !errors.Is(err, ErrCycleTooLong) {
			return cycle, err
		}
	}
	return constant, nil
}

func bestCycle(policy Policy, scales estimator.Scales) (Cycle, error) {
	if policy == PolicyMrGD {
		return BestMrGD(scales, MaxCycleLength)
	}
	return BestChebyshev(scales, openLoopCycle)
}

// cycleStep serves the next rate of the open-loop cycle.
func (c *Controller) cycleStep(o Observation) Decision {
	s := &c.s
	n := len(s.Cycle.Rates)
	if skipped := o.Step - s.Step - 1; s.Started && skipped > 0 {
		if skipped > int64(s.Last.Upcoming) {
			s.Position, s.CycleLoss = 0, math.NaN()
		} else {
			s.Position = (s.Position + int(skipped)) % n
		}
	}
	wrapped := s.Position == 0
	if c.grown(o.Loss, s.CycleLoss) || wrapped && o.Loss > s.CycleLoss*(1+lossRounding) {
		s.Cycle, s.Position, s.Outgrown = Cycle{}, 0, true
		d := c.scalarStep(o, false)
		d.EstimateWanted = true
		return d
	}
	if wrapped {
		s.CycleLoss = o.Loss
	}
	d := Decision{
		Rate: s.Cycle.Rates[s.Position], Reason: ReasonPlanned, Scale: s.Cycle.Scale[s.Position],
		CyclePosition: s.Position, CycleLength: n, PredictedChange: math.NaN(),
	}
	s.Position = (s.Position + 1) % n
	d.Upcoming = s.Cycle.Rates[s.Position:min(s.Position+maxUpcoming, n)]
	if s.Position == 0 {
		d.Upcoming = nil
	}
	return d
}
