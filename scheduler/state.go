package scheduler

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"multirate/estimator"
)

// state is everything a controller knows besides its configuration and window.
// Exported fields are the stored form; changing the meaning of one raises
// stateVersion.
type state struct {
	Started bool
	Step    int64
	// Last is the latest step served, Before the rate of the one before it.
	Last   step
	Before float64
	// First and Least are the first and the least loss seen, NaN: none.
	First, Least float64
	// Stiffest is a slowly decaying memory of the largest curvature seen.
	Stiffest float64
	// Longest is the longest rate served.
	Longest float64

	// Plan holds the rates of the closed loop that are still to be served, of
	// PlanLength made when the loss was Reference, Gain above the present one.
	Plan            []float64
	PlanLength      int
	Reference, Gain float64
	// Damped counts the damping steps of the present plan, Recoveries the safe
	// steps since the loss outgrew its bound.
	Damped, Recoveries int
	// Radius is the trust region, the longest displacement admitted, Trusted the
	// longest that those so far vouch for, 0: none yet.
	Radius, Trusted float64

	// Cycle is served open loop while a spectrum from products is valid.
	Cycle Cycle
	// Position is the index in Cycle of the next rate, CycleLoss the loss when
	// this pass through it began, NaN: unknown.
	Position  int
	CycleLoss float64
	// Reach is the longest displacement that a rate of the cycle may cause;
	// Shortened: it has shortened one of this pass; Proven: the pass before was
	// served in full and did not raise the loss.
	Reach             float64
	Shortened, Proven bool
	// Doubt is the factor by which the policy constant exceeds the spectrum's rate,
	// Seen the largest curvature along a step since the spectrum came, Unseen the
	// number of steps that it was less than the spectrum says.
	Doubt, Seen float64
	Unseen      int
	// Seed > 0 is the rate of a spectrum without a cycle, to be served next by the
	// scalar road; Seeded: it was the last one served.
	Seed   float64
	Seeded bool
	// Outgrown: the loss has just refuted the spectrum from products; Refuted:
	// it has done so at least once.
	Outgrown, Refuted bool

	// Bursts is all that mini-batches tell.
	Bursts bursts

	// Noise is what parts of batches tell.
	Noise noiseRecord

	// Adopted is the step at which Spectrum was adopted.
	Adopted int64
	// Spectrum is the latest from products, Revision the number of the latest
	// of any source, which is the window's if Sketched. Scales is what was last
	// planned for, Earlier what before that.
	Spectrum        estimator.Spectrum
	Sketched        bool
	Revision        int64
	Scales, Earlier estimator.Scales
}

// step is what was known and done at one step.
type step struct {
	Rate, Loss, NormSquared, Predicted float64
	// Upcoming is the number of further rates that were handed out.
	Upcoming int
}

func newState() state {
	nan := math.NaN()
	return state{First: nan, Least: nan, Radius: math.Inf(1), CycleLoss: nan, Reference: nan}
}

const stateVersion = 2

// stored is the binary form of a controller.
type stored struct {
	Version  int
	Config   Config
	State    state
	Sketches [][]float32
	Rates    []float64
}

// ErrState means that bytes are not a controller's state: damaged, or of
// another version.
var ErrState = errors.New("not the state of a controller")

var (
	encoding = mustEncMode(cbor.CoreDetEncOptions())
	decoding = mustDecMode(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxArrayElements:  1 << 17,
		IndefLength:       cbor.IndefLengthForbidden,
	})
)

func mustEncMode(o cbor.EncOptions) cbor.EncMode {
	m, err := o.EncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}

func mustDecMode(o cbor.DecOptions) cbor.DecMode {
	m, err := o.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}

// MarshalBinary writes the whole state out, versioned. The same state gives the
// same bytes.
func (c *Controller) MarshalBinary() ([]byte, error) {
	c.w.Prepare() // so that the bytes do not depend on whether it was called
	out := stored{Version: stateVersion, Config: c.cfg, State: c.s}
	out.Sketches, out.Rates = c.w.Sketches()
	data, err := encoding.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode controller state: %w", err)
	}
	return data, nil
}

// UnmarshalController reads what [Controller.MarshalBinary] wrote; the
// controller goes on with the same bits. Damaged or foreign input is
// [ErrState], never a panic.
func UnmarshalController(data []byte) (*Controller, error) {
	var in stored
	if err := decoding.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if in.Version != stateVersion {
		return nil, fmt.Errorf("%w: version %d, this build reads %d", ErrState, in.Version, stateVersion)
	}
	if err := in.Config.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := in.State.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := in.State.Bursts.validate(in.Config.SketchDimension); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := in.State.Noise.validate(in.Config.SketchDimension); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	w, err := estimator.RestoreWindow(in.Config.Window, in.Config.SketchDimension, in.Sketches, in.Rates)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	return &Controller{cfg: in.Config, s: in.State, w: w}, nil
}

func (s *state) validate() error {
	switch {
	case s.Step < 0 || s.PlanLength < len(s.Plan) || s.Damped < 0 || s.Recoveries < 0 || s.Revision < 0:
		return errors.New("counter out of range")
	case !(s.Stiffest >= 0) || !(s.Longest >= 0) || !(s.Radius >= 0) || !(s.Trusted >= 0) || !(s.Before >= 0) || math.IsInf(s.Stiffest, 0) || math.IsInf(s.Longest, 0):
		return errors.New("negative or undefined curvature, rate or radius")
	case !(s.Last.Rate >= 0) || math.IsInf(s.Last.Rate, 0) || !(s.Last.NormSquared >= 0) || s.Last.Upcoming < 0:
		return errors.New("latest step is out of range")
	case s.Position < 0 || s.Position > 0 && s.Position >= len(s.Cycle.Rates):
		return errors.New("cycle position out of range")
	case !(s.Doubt >= 0) || math.IsInf(s.Doubt, 0) || !(s.Seen >= 0) || s.Unseen < 0:
		return errors.New("doubt of the spectrum is out of range")
	case !(s.Reach >= 0) || !(s.Seed >= 0) || math.IsInf(s.Seed, 0):
		return errors.New("negative or undefined reach or rate")
	case len(s.Cycle.Rates) > 0 && len(s.Scales.Groups) == 0:
		return errors.New("cycle without scales")
	}
	for _, r := range s.Plan {
		if !(r > 0) || math.IsInf(r, 0) {
			return fmt.Errorf("planned rate %v", r)
		}
	}
	if err := s.Cycle.validate(len(s.Scales.Groups)); err != nil {
		return err
	}
	for _, g := range slices.Concat(s.Scales.Groups, s.Earlier.Groups) {
		if !(g.Lo > 0) || !(g.Hi >= g.Lo) || math.IsInf(g.Hi, 0) {
			return fmt.Errorf("scale [%v, %v]", g.Lo, g.Hi)
		}
	}
	return nil
}

func (c Cycle) validate(scales int) error {
	if n := len(c.Rates); n != len(c.Scale) || n > MaxCycleLength {
		return fmt.Errorf("cycle of %d rates for %d", n, len(c.Scale))
	}
	for j, r := range c.Rates {
		if !(r > 0) || math.IsInf(r, 0) || c.Scale[j] < 0 || c.Scale[j] >= scales {
			return fmt.Errorf("rate %v of a cycle, for scale %d of %d", r, c.Scale[j], scales)
		}
	}
	return nil
}
