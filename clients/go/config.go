package multirate

import (
	"crypto/rand"
	"maps"

	multiratev1 "multirate/proto/multirate/v1"
)

// RunConfig declares a run. Only Dimension is required; the zero value of every
// other field leaves the choice to the service, as documented at the message
// Run of the contract.
type RunConfig struct {
	// ID names the run on its server, 1 to 128 of [A-Za-z0-9._-]. The same
	// declaration under the same ID is the same run. "": a random one.
	ID string
	// Dimension is the number of trained parameters D >= 1.
	Dimension int64
	// ParamGroups divides the parameters, in the order in which the gradient
	// concatenates them. nil: one group of all.
	ParamGroups []*ParamGroup
	// GroupMode says how rates are shared out over groups. Zero: shared.
	GroupMode GroupMode
	// Policy says how rates are planned. Zero: adaptive.
	Policy Policy
	// UpdateRule says what the trainer does with the gradient. Zero: gradient
	// descent.
	UpdateRule UpdateRule
	// Momentum is the coefficient in [0, 1) of rules that have one.
	Momentum float64
	// WeightDecay is the decoupled weight decay, >= 0, per unit of rate.
	WeightDecay float64
	// Batch says what loss and gradient are of. Zero: all data.
	Batch BatchKind
	// SketchDimension is d, odd, 15 to 4095. 0: 251.
	SketchDimension int
	// SketchSeed is the seed of the sketch's signs.
	SketchSeed uint64
	// LossLowerBound is a known lower bound of the loss, Known(0) for
	// cross-entropy and squared errors. nil: unknown.
	LossLowerBound *float64
	// MaxLossGrowth is the factor, > 1, by which the loss may exceed what it
	// was when the present cycle began before short steps take over. 0: 2.
	MaxLossGrowth float64
	// HorizonSteps is the number of steps that the training will take. 0:
	// unknown.
	HorizonSteps int64
	// FallbackLearningRate is the rate that the trainer would use by itself.
	// Required for mini-batches. 0: one found from the statistics.
	FallbackLearningRate float64
	// MaxLearningRate caps every rate. 0: no limit.
	MaxLearningRate float64
	// Window is the number of sketches that the service keeps, 4 to 64. 0: 32.
	Window int
	// Labels are for the client's own use.
	Labels map[string]string
}

// Known marks a number as known, for fields where zero is a value like any
// other.
func Known(v float64) *float64 { return &v }

func (c RunConfig) declaration() *multiratev1.Run {
	run := &multiratev1.Run{
		RunId:          c.ID,
		Dimension:      c.Dimension,
		ParamGroups:    c.ParamGroups,
		GroupMode:      c.GroupMode,
		Policy:         c.Policy,
		UpdateRule:     c.UpdateRule,
		Momentum:       c.Momentum,
		WeightDecay:    c.WeightDecay,
		BatchKind:      c.Batch,
		LossLowerBound: c.LossLowerBound,
		Labels:         maps.Clone(c.Labels),
		Sketch: &multiratev1.SketchSpec{
			Dimension: int32(c.SketchDimension),
			Seed:      c.SketchSeed,
		},
		MaxLossGrowth:        unlessZero(c.MaxLossGrowth),
		HorizonSteps:         unlessZero(c.HorizonSteps),
		FallbackLearningRate: unlessZero(c.FallbackLearningRate),
		MaxLearningRate:      unlessZero(c.MaxLearningRate),
		Window:               unlessZero(int32(c.Window)),
	}
	if run.RunId == "" {
		// Drawn here and not by the service, since CreateRun can be retried
		// only under an id that the client knows.
		run.RunId = "run-" + rand.Text()
	}
	return run
}

func unlessZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
