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

// Plan is a spectrum from Hessian-vector products with the cycles made for it:
// one that serves the stiffest scale alone, one that serves the next as well,
// and so on.
type Plan struct {
	spectrum estimator.Spectrum
	scales   estimator.Scales
	cycles   []Cycle
}

// NewPlan plans a run's cycles for a spectrum. It may take a tenth of a second,
// which is why it is apart from [Controller.Adopt]. The spectrum must show
// positive curvature; see [ErrSpectrum].
func NewPlan(cfg Config, spectrum estimator.Spectrum) (Plan, error) {
	scales := estimator.DetectScales(spectrum)
	if len(scales.Groups) == 0 {
		return Plan{}, fmt.Errorf("%d Ritz values: %w", len(spectrum.Ritz), ErrSpectrum)
	}
	cycles, err := cyclesFor(cfg.withDefaults(), scales)
	if err != nil {
		return Plan{}, fmt.Errorf("plan for %d scales: %w", len(scales.Groups), err)
	}
	return Plan{spectrum, scales, cycles}, nil
}

// Adopt takes a plan over. While no sketches come, its cycles are served open
// loop until the loss refutes them. A run whose loss has refuted a spectrum once
// is not quadratic enough for open-loop steps beyond the stiffest scale: later
// spectra serve that scale alone.
func (c *Controller) Adopt(p Plan) {
	s := &c.s
	s.Spectrum, s.Scales, s.Cycles = p.spectrum, p.scales, p.cycles
	if s.Refuted {
		s.Cycles = s.Cycles[:1]
	}
	s.Revision++
	s.Serving, s.Position, s.CycleLoss, s.Outgrown, s.Sketched = 0, 0, math.NaN(), false, false
	s.Stiffest = max(s.Stiffest, p.scales.Groups[0].Hi)
}

// cyclesFor plans by policy, stiffest scales first, as long as the cycles are not
// too long: scales left out are not hurt by the rates of stiffer ones. Along
// negative curvature a step amplifies, so a cycle must not multiply what lies
// there by more than the growth that the run allows. Long steps are blind where
// the loss is not quadratic, so only a policy that asks for them by name gets
// them; the adaptive one waits for sketches.
func cyclesFor(cfg Config, scales estimator.Scales) ([]Cycle, error) {
	constant := []Cycle{{Rates: []float64{1 / scales.Groups[0].Hi}, Scale: []int{0}, Rho: 1}}
	if cfg.Policy == PolicyConstant || cfg.Policy == PolicyAdaptive {
		return constant, nil
	}
	var cycles []Cycle
	for n := 1; n <= len(scales.Groups); n++ {
		served := estimator.Scales{Groups: scales.Groups[:n], Confidence: scales.Confidence[:n-1]}
		cycle, err := bestCycle(cfg.Policy, served)
		if errors.Is(err, ErrCycleTooLong) {
			break
		}
		if err != nil {
			return nil, err
		}
		if cycle.amplification(scales.Negative) > cfg.MaxLossGrowth {
			break
		}
		cycles = append(cycles, cycle)
	}
	if len(cycles) == 0 {
		return constant, nil
	}
	return cycles, nil
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
	return BestChebyshev(scales, openLoopCycle)
}

// cycleStep serves the next rate of the open-loop cycle. Nothing but the loss
// tells whether the spectrum still holds, so service begins with the stiffest
// scale, takes in the next one each time a whole cycle has let the loss fall,
// and falls back by one for good when the loss refutes it.
func (c *Controller) cycleStep(o Observation) Decision {
	s := &c.s
	c.advanceUnobserved(o)
	wrapped := s.Position == 0
	if c.grown(o.Loss, s.CycleLoss) || wrapped && o.Loss > s.CycleLoss+lossRounding*math.Abs(s.CycleLoss) {
		return c.retreat(o)
	}
	if wrapped {
		if !math.IsNaN(s.CycleLoss) && s.Serving < len(s.Cycles)-1 {
			s.Serving++
		}
		s.CycleLoss = o.Loss
	}
	cycle := s.Cycles[s.Serving]
	d := Decision{
		Rate: cycle.Rates[s.Position], Reason: ReasonPlanned, Scale: cycle.Scale[s.Position],
		CyclePosition: s.Position, CycleLength: len(cycle.Rates), PredictedChange: math.NaN(),
	}
	s.Position = (s.Position + 1) % len(cycle.Rates)
	if s.Position > 0 {
		d.Upcoming = cycle.Rates[s.Position:min(s.Position+maxUpcoming, len(cycle.Rates))]
	}
	return d
}

// advanceUnobserved moves past rates that were taken ahead. After steps at rates
// that nobody advised the cycle starts again.
func (c *Controller) advanceUnobserved(o Observation) {
	s := &c.s
	skipped := o.Step - s.Step - 1
	switch {
	case !s.Started || skipped <= 0:
	case skipped > int64(s.Last.Upcoming):
		s.Position, s.CycleLoss = 0, math.NaN()
	default:
		s.Position = (s.Position + int(skipped)) % len(s.Cycles[s.Serving].Rates)
	}
}

// retreat answers a loss that has refuted the cycle: a safe step, then the cycle
// of one scale less, or safe rates where the stiffest alone was too much. Either
// way a new spectrum is wanted.
func (c *Controller) retreat(o Observation) Decision {
	s := &c.s
	s.Cycles = s.Cycles[:s.Serving]
	s.Serving = max(s.Serving-1, 0)
	s.Position, s.CycleLoss, s.Outgrown, s.Refuted = 0, math.NaN(), true, true
	d := c.scalarStep(o, false)
	d.EstimateWanted = true
	return d
}
