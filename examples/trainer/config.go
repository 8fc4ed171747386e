package trainer

import (
	"fmt"

	multirate "multirate/clients/go"
)

// Tier says what the trainer tells the service of the curvature.
type Tier int

const (
	// TierSketch, the zero value, sends a sketch of about 1 KiB of each
	// gradient. No product, no stored vector.
	TierSketch Tier = iota
	// TierVectors answers the service's probes by Hessian-vector products, at
	// the start and again when the service wishes it, and sends only the loss
	// and the gradient's norm between.
	TierVectors
	// TierScalars sends the loss, the gradient's norm and its inner product with
	// the one before: a safe rate, no scales.
	TierScalars
)

var tierNames = [...]string{"sketch", "vectors", "scalars"}

// String is the tier's name on command lines.
func (t Tier) String() string {
	if t < 0 || int(t) >= len(tierNames) {
		return fmt.Sprintf("Tier(%d)", int(t))
	}
	return tierNames[t]
}

// ParseTier is the inverse of [Tier.String].
func ParseTier(name string) (Tier, error) {
	for i, n := range tierNames {
		if n == name {
			return Tier(i), nil
		}
	}
	return 0, fmt.Errorf("unknown tier %q: use one of %v", name, tierNames)
}

// Config says how to train. The zero value takes 20,000 gradients at adaptive
// rates from sketches.
type Config struct {
	// ID names the run on the server. "": a random one.
	ID string
	// Policy says how rates are planned. Zero: adaptive.
	Policy multirate.Policy
	// Tier says what the service is told. Zero: sketches.
	Tier Tier
	// DiagonalProbes is the number of Hutchinson probes, each a Hessian-vector
	// product, of the diagonal that scales the variables. 0: nothing is scaled.
	DiagonalProbes int
	// Seed is the seed of sketches and probes.
	Seed uint64
	// Target ends training at the first loss for which it is true. nil: the
	// budget alone does.
	Target func(loss float64) bool
	// Budget is the number of gradient-equivalents that training may take. 0:
	// 20,000.
	Budget int
	// EstimateEvery is the least number of steps between two estimates of the
	// spectrum from products. 0: as many as the last estimate cost gradients, so
	// that products never cost more than steps.
	EstimateEvery int
	// OnStep, if any, is called after each step.
	OnStep func(Step)
}

// DefaultBudget is the number of gradient-equivalents that a zero
// [Config.Budget] stands for.
const DefaultBudget = 20_000

// gradientsPerProduct is what a Hessian-vector product costs: a
// forward-over-reverse or double-backward pass is about two gradients, a central
// difference is two.
const gradientsPerProduct = 2

// Step is a step just taken.
type Step struct {
	// Advice is what the service answered.
	multirate.Advice
	// Loss is the loss before the step.
	Loss float64
	// Gradients counts the gradient-equivalents spent so far.
	Gradients int
	// Run is the run, for callbacks that ask the service for more.
	Run *multirate.Run
}

// Result is how training ended.
type Result struct {
	// RunID names the run on the server.
	RunID string
	// Parameters are those of the last loss.
	Parameters []float64
	// Diagonal scales the variables; ones where nothing was scaled.
	Diagonal *multirate.Diagonal
	// Start, Loss and Peak are the first, the last and the largest loss.
	Start, Loss, Peak float64
	// Reached says whether the last loss met the target.
	Reached bool
	// Steps counts the steps taken, Products the Hessian-vector products.
	Steps, Products int
	// Gradients counts gradient-equivalents: every call of the gradient, the
	// last one that found the target met included, and 2 for each product.
	Gradients int
}
