package scheduler

import (
	"errors"
	"fmt"
	"math"
)

// Observation is what a trainer measured before one step.
type Observation struct {
	// Step is the number of the step, >= 0 and greater than the last one. A
	// jump of more than one means that the steps between were taken at
	// [Decision.Upcoming] rates without being observed.
	Step int64
	// Loss at the current parameters. NaN: unknown.
	Loss float64
	// GradientNormSquared is |g|^2 >= 0 at the current parameters.
	GradientNormSquared float64
	// GradientDotPrevious is <g_t, g_{t-1}>. NaN: unknown.
	GradientDotPrevious float64
	// ParameterNorm is |x| >= 0. NaN: unknown.
	ParameterNorm float64
	// Sketch is S g, of the length in [Config]. nil: none sent. The controller
	// copies it.
	Sketch []float32
	// Parts are the sketches of n >= 2 equal parts of the batch, each of the mean
	// gradient of its part, of the same length as Sketch. They measure noise and
	// change no rate. nil: none sent.
	Parts [][]float32
	// AppliedRate is the learning rate really applied at the previous step,
	// >= 0. NaN: the advised one.
	AppliedRate float64
	// SameBatch reports that loss and gradient are of the same data as the
	// previous step's. Always true for full batches.
	SameBatch bool
}

// Sentinel errors of [Controller.Observe]. A refused observation leaves the
// controller as it was.
var (
	// ErrNotFinite means that a statistic is NaN or infinite; usually the
	// trainer's loss has overflowed, and it should go back to a checkpoint.
	ErrNotFinite = errors.New("statistic is not finite")
	// ErrStepOrder means that the step isn't after the last one observed;
	// restore a snapshot to go back.
	ErrStepOrder = errors.New("step is not after the latest one")
	// ErrSketchDimension means that the sketch has another length than
	// declared.
	ErrSketchDimension = errors.New("sketch has the wrong dimension")
	// ErrBelowBound means that the loss is below its declared lower bound by
	// more than rounding; declare a true bound, or none.
	ErrBelowBound = errors.New("loss is below its declared lower bound")
)

// boundRounding is how far a float32 loss may fall below its bound by rounding,
// relative to the bound or to 1.
const boundRounding = 1e-5

func (o Observation) validate(c *Controller) error {
	if o.Step < 0 || c.s.Started && o.Step <= c.s.Step {
		return fmt.Errorf("step %d after step %d: %w", o.Step, c.s.Step, ErrStepOrder)
	}
	if math.IsInf(o.Loss, 0) || !finite(o.GradientNormSquared) || o.GradientNormSquared < 0 ||
		math.IsInf(o.GradientDotPrevious, 0) || math.IsInf(o.ParameterNorm, 0) ||
		math.IsInf(o.AppliedRate, 0) || o.AppliedRate < 0 {
		return fmt.Errorf("step %d: %w", o.Step, ErrNotFinite)
	}
	if b := c.cfg.LossLowerBound; c.cfg.HasLossBound && o.Loss < b-boundRounding*max(1, math.Abs(b)) {
		return fmt.Errorf("loss %v below %v: %w", o.Loss, b, ErrBelowBound)
	}
	for i, part := range o.Parts {
		if err := validateSketch(part, c.cfg.SketchDimension); err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
	}
	if o.Sketch == nil {
		return nil
	}
	return validateSketch(o.Sketch, c.cfg.SketchDimension)
}

func validateSketch(sketch []float32, dimension int) error {
	if len(sketch) != dimension {
		return fmt.Errorf("%d values for dimension %d: %w", len(sketch), dimension, ErrSketchDimension)
	}
	for i, v := range sketch {
		if !finite(float64(v)) {
			return fmt.Errorf("sketch value %d: %w", i, ErrNotFinite)
		}
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
