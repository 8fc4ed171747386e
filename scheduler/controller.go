package scheduler

import (
	"errors"
	"fmt"
	"math"

	"multirate/estimator"
)

// Config is a run's declaration. The zero value of each field but
// SketchDimension is useful.
type Config struct {
	// Policy plans the rates. Zero: [PolicyAdaptive].
	Policy Policy
	// SketchDimension is d, the length of sketches. Zero: 251.
	SketchDimension int
	// Window is m, the number of gradient pairs kept, 4 to 64. Zero: 32.
	Window int
	// LossLowerBound is a known lower bound of the loss, if HasLossBound.
	LossLowerBound float64
	// HasLossBound tells whether LossLowerBound is known.
	HasLossBound bool
	// MaxLossGrowth > 1 is the factor by which the loss may exceed, measured
	// from the lower bound, what it was when the present cycle began, before the
	// controller falls back to short steps. Zero: 2.
	MaxLossGrowth float64
	// FallbackRate > 0 is the trainer's own rate. Zero: unknown.
	FallbackRate float64
	// MaxRate > 0 limits every rate. Zero: no limit.
	MaxRate float64
	// Horizon is the number of steps of the whole training. Zero: unknown.
	Horizon int64
	// MiniBatch tells that loss and gradient change their data.
	MiniBatch bool
	// Momentum in [0, 1) is the trainer's, as in torch.optim.SGD without
	// dampening, from a buffer of zero at the first step; Nesterov says of which
	// kind. Of mini-batches only.
	Momentum float64
	Nesterov bool
}

// ErrConfig means that a [Config] field is out of range.
var ErrConfig = errors.New("configuration out of range")

func (c Config) withDefaults() Config {
	if c.SketchDimension == 0 {
		c.SketchDimension = 251
	}
	if c.Window == 0 {
		c.Window = 32
	}
	if c.MaxLossGrowth == 0 {
		c.MaxLossGrowth = 2
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Policy < PolicyAdaptive || c.Policy > PolicyChebyshev:
		return fmt.Errorf("policy %d: %w", c.Policy, ErrConfig)
	case c.SketchDimension < 1 || c.SketchDimension > 1<<16:
		return fmt.Errorf("sketch dimension %d: %w", c.SketchDimension, ErrConfig)
	case c.Window < 4 || c.Window > 64:
		return fmt.Errorf("window %d: %w", c.Window, ErrConfig)
	case c.HasLossBound && !finite(c.LossLowerBound):
		return fmt.Errorf("loss lower bound %v: %w", c.LossLowerBound, ErrConfig)
	case !(c.MaxLossGrowth > 1) || !finite(c.MaxLossGrowth):
		return fmt.Errorf("maximum loss growth %v: %w", c.MaxLossGrowth, ErrConfig)
	case c.FallbackRate < 0 || !finite(c.FallbackRate):
		return fmt.Errorf("fallback rate %v: %w", c.FallbackRate, ErrConfig)
	case c.MaxRate < 0 || !finite(c.MaxRate):
		return fmt.Errorf("maximum rate %v: %w", c.MaxRate, ErrConfig)
	case c.Horizon < 0:
		return fmt.Errorf("horizon %d: %w", c.Horizon, ErrConfig)
	case c.MiniBatch && c.FallbackRate == 0:
		return fmt.Errorf("mini-batches need a fallback rate: %w", ErrConfig)
	case !(c.Momentum >= 0) || c.Momentum >= 1:
		return fmt.Errorf("momentum %v: %w", c.Momentum, ErrConfig)
	case (c.Momentum > 0 || c.Nesterov) && !c.MiniBatch:
		return fmt.Errorf("momentum with full batches: %w", ErrConfig)
	}
	return nil
}

// Controller serves the learning rates of one run, one step at a time. It is
// not safe for concurrent use.
//
// What it does depends on what it is told. With a sketch and a loss at every
// step it runs the closed loop on the model of [estimator.Window]. Without
// sketches it serves the cycle of a spectrum from Hessian-vector products if it
// has one, and otherwise a safe rate found from norms and inner products.
type Controller struct {
	cfg Config
	s   state
	w   *estimator.Window
}

// NewController starts a run.
func NewController(cfg Config) (*Controller, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Controller{
		cfg: cfg,
		s:   newState(),
		w:   estimator.NewWindow(cfg.Window, cfg.SketchDimension),
	}, nil
}

// Observe takes what was measured before a step and returns the advice for it.
// An error leaves the controller as it was; see the sentinel errors.
func (c *Controller) Observe(o Observation) (Decision, error) {
	if err := o.validate(c); err != nil {
		return Decision{}, err
	}
	c.s.Noise.hear(o)
	linked := c.link(&o)
	m := c.learn(o, linked)
	d := c.decide(o, linked, m)
	if !finite(d.Rate) {
		d.Rate, d.Reason = c.s.Last.Rate, ReasonFallback
	}
	if c.cfg.MaxRate > 0 && d.Rate > c.cfg.MaxRate {
		d.Rate, d.Guard = c.cfg.MaxRate, GuardMaxRate
	}
	if m.Secant > 0 {
		d.PredictedChange = predictedChange(d.Rate, o.GradientNormSquared, m, c.s.Stiffest)
	}
	d.UpcomingLossLimit = math.NaN()
	if len(d.Upcoming) > 0 {
		d.UpcomingLossLimit = c.lossLimit(c.s.CycleLoss)
	}
	d.Stiffest, d.SpectrumRevision, d.Scales = c.s.Stiffest, c.s.Revision, len(c.s.Scales.Groups)
	c.remember(o, d)
	return d, nil
}

// Prepare does work that the next [Controller.Observe] would otherwise do. It
// is optional and changes no result.
func (c *Controller) Prepare() { c.w.Prepare() }

// link resolves the rate really applied at the previous step and reports
// whether the two observations form a curvature pair.
func (c *Controller) link(o *Observation) bool {
	if math.IsNaN(o.AppliedRate) {
		o.AppliedRate = c.s.Last.Rate
	}
	return c.s.Started && o.SameBatch && o.Step == c.s.Step+1 && o.AppliedRate > 0
}

// learn takes the evidence in: the window's model if there is a sketch, and the
// memory of the stiffest curvature.
func (c *Controller) learn(o Observation, linked bool) estimator.Model {
	s := &c.s
	var m estimator.Model
	if c.cfg.MiniBatch {
		return m // bursts have a road of their own
	}
	seen := 0.0
	if o.Sketch != nil {
		rate := 0.0
		if linked {
			rate = o.AppliedRate
		}
		c.w.Push(o.Sketch, rate)
		m = c.w.Solve()
		seen = c.stiffest(o, linked, m)
	} else if linked {
		seen = c.scalarCurvature(o)
	}
	if c.cfg.Policy != PolicyConstant {
		s.Stiffest *= stiffestMemory
	}
	if finite(seen) {
		s.Stiffest = max(s.Stiffest, seen)
	}
	return m
}

// stiffest is the curvature at which the residual part of the gradient is
// charged: the largest Ritz value, or secant where there is none, plus a margin
// for what lies outside the span. The residual r that the last step brought in
// is, in Lanczos' terms, the coupling beta = |r|/(rate |g|) to the next basis
// vector, and theta + beta bounds the largest eigenvalue of the extended
// tridiagonal when the new vector's own curvature is no larger (Zhou and Li,
// Bounding the spectrum of large Hermitian matrices, LAA 435, 2011). Since that
// is not known, beta counts twice. Nothing that a step brings in exceeds the
// secant, so that an old residual does not pose as steep behind a short step.
// The margin vanishes once the span is complete; without it the first long step
// can meet curvature ten times the largest seen.
func (c *Controller) stiffest(o Observation, linked bool, m estimator.Model) float64 {
	seen := m.Secant
	if m.Known() {
		seen = max(m.Theta[0], -m.Theta[len(m.Theta)-1])
	}
	if linked && seen > 0 && c.s.Last.NormSquared > 0 {
		beta := math.Sqrt(m.Residual*o.GradientNormSquared/c.s.Last.NormSquared) / o.AppliedRate
		seen += 2 * min(beta, m.Secant)
	}
	return seen
}

// decide picks the road that the evidence allows.
func (c *Controller) decide(o Observation, linked bool, m estimator.Model) Decision {
	switch {
	case o.GradientNormSquared == 0:
		return Decision{Rate: c.s.Last.Rate, Reason: ReasonFallback, Scale: -1, PredictedChange: math.NaN()}
	case c.cfg.MiniBatch:
		return c.miniBatchStep(o, linked)
	case m.Secant > 0 && !math.IsNaN(o.Loss):
		return c.closedLoopStep(o, linked, m)
	case o.Sketch == nil && len(c.s.Cycle.Rates) > 0 && !math.IsNaN(o.Loss):
		return c.cycleStep(o, linked)
	default:
		return c.scalarStep(o, linked)
	}
}

func (c *Controller) remember(o Observation, d Decision) {
	s := &c.s
	if !math.IsNaN(o.Loss) {
		if math.IsNaN(s.First) {
			s.First, s.Least = o.Loss, o.Loss
		}
		s.Least = min(s.Least, o.Loss)
	}
	s.Before = o.AppliedRate
	s.Started, s.Step = true, o.Step
	s.Longest = max(s.Longest, d.Rate)
	s.Last = step{
		Rate: d.Rate, Loss: o.Loss, NormSquared: o.GradientNormSquared,
		Predicted: d.PredictedChange, Upcoming: len(d.Upcoming),
	}
}

// lossLimit is the loss above which [Config.MaxLossGrowth] is exceeded, NaN
// while no loss is known. Growth is measured from the loss at which the present
// cycle began, since a cycle may give back part of what it has gained. Without
// a lower bound, the unit is the fall from the first loss to the least.
func (c *Controller) lossLimit(began float64) float64 {
	s := &c.s
	if math.IsNaN(began) {
		began = s.Least
	}
	unit := s.First - s.Least
	if c.cfg.HasLossBound {
		unit = began - c.cfg.LossLowerBound
	}
	return began + (c.cfg.MaxLossGrowth-1)*unit
}

func (c *Controller) grown(loss, began float64) bool {
	return loss > c.lossLimit(began)+lossPrecision*math.Abs(loss)
}

// Spectrum returns the latest spectrum and its revision; the zero Spectrum when
// nothing is known.
func (c *Controller) Spectrum() (estimator.Spectrum, int64) {
	if s := c.s.Bursts.spectrum(); s.Known() {
		return s, c.s.Revision
	}
	if !c.s.Sketched {
		return c.s.Spectrum, c.s.Revision
	}
	s := c.w.SpectrumWithNoise(c.s.Noise.Sketches)
	if !s.Known() {
		return c.s.Spectrum, c.s.Revision
	}
	if !c.s.Refuted {
		s = estimator.Merge(s, c.s.Spectrum.Aged(c.s.Step-c.s.Adopted))
	}
	s.Stiffest = max(s.Stiffest, c.s.Stiffest)
	return s, c.s.Revision
}

// Stability compares scales of the latest spectrum with those that the
// controller planned for before ([estimator.Stability]). It is nil where there
// was no such plan.
func (c *Controller) Stability(latest estimator.Scales) []float64 {
	if len(c.s.Earlier.Groups) == 0 {
		return nil
	}
	return estimator.Stability(latest, c.s.Earlier)
}

// Config returns the configuration with its defaults filled in.
func (c *Controller) Config() Config { return c.cfg }
