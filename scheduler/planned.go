package scheduler

import (
	"errors"
	"fmt"
	"math"

	"multirate/estimator"
)

// maxUpcoming is the number of rates handed out ahead.
const maxUpcoming = 64

// ErrSpectrum means that a spectrum can't be planned for: it holds no positive
// curvature.
var ErrSpectrum = errors.New("spectrum has no positive curvature")

// SetSpectrum hands in a spectrum from Hessian-vector products. While no
// sketches come, its cycle is served open loop until the loss refutes it. An
// error leaves the controller as it was.
func (c *Controller) SetSpectrum(spectrum estimator.Spectrum) error {
	scales := estimator.DetectScales(spectrum)
	if len(scales.Groups) == 0 {
		return fmt.Errorf("%d Ritz values: %w", len(spectrum.Ritz), ErrSpectrum)
	}
	cycle, err := c.cycleFor(scales)
	if err != nil {
		return fmt.Errorf("plan for %d scales: %w", len(scales.Groups), err)
	}
	s := &c.s
	s.Spectrum, s.Scales, s.Cycle = spectrum, scales, cycle
	s.Revision++
	s.Position, s.CycleLoss, s.Outgrown = 0, math.NaN(), false
	s.Stiffest = max(s.Stiffest, scales.Groups[0].Hi)
	return nil
}

// cycleFor plans by policy. Negative curvature allows no step that is long in
// its terms, so with it the constant rate for the stiffest scale is all that is
// safe open loop.
func (c *Controller) cycleFor(scales estimator.Scales) (Cycle, error) {
	switch {
	case c.cfg.Policy == PolicyConstant || scales.Negative < 0:
		return Cycle{Rates: []float64{1 / scales.Groups[0].Hi}, Scale: []int{0}, Rho: 1}, nil
	case c.cfg.Policy == PolicyMrGD:
		return BestMrGD(scales, MaxCycleLength)
	default:
		return BestChebyshev(scales, MaxCycleLength)
	}
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
