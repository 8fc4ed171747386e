package scheduler

import (
	"fmt"

	"multirate/estimator"
)

// noiseMemory is the number of batches whose parts are remembered: enough that
// the mean noise along one Ritz vector is known to a factor of two.
const noiseMemory = 8

// noiseRecord is what the parts of the latest batches tell, oldest first.
type noiseRecord struct {
	// Sketches are those of [estimator.NoiseSketch], Norms the squared norms of
	// the gradients of the same steps.
	Sketches [][]float32
	Norms    []float64
}

// hear takes in the parts of a batch.
func (n *noiseRecord) hear(o Observation) {
	z := estimator.NoiseSketch(o.Parts)
	if z == nil {
		return
	}
	n.Sketches, n.Norms = append(n.Sketches, z), append(n.Norms, o.GradientNormSquared)
	if excess := len(n.Norms) - noiseMemory; excess > 0 {
		n.Sketches, n.Norms = n.Sketches[excess:], n.Norms[excess:]
	}
}

func (n *noiseRecord) validate(dimension int) error {
	if len(n.Sketches) != len(n.Norms) || len(n.Norms) > noiseMemory {
		return fmt.Errorf("noise of %d batches for %d", len(n.Sketches), len(n.Norms))
	}
	for i, z := range n.Sketches {
		if len(z) != dimension {
			return fmt.Errorf("noise sketch of %d values", len(z))
		}
		for _, v := range z {
			if !finite(float64(v)) {
				return fmt.Errorf("noise of %v", v)
			}
		}
		if !(n.Norms[i] >= 0) || !finite(n.Norms[i]) {
			return fmt.Errorf("squared norm of %v", n.Norms[i])
		}
	}
	return nil
}

// Noise is that of the gradient over the latest batches of which parts were
// sketched. False: there were none.
func (c *Controller) Noise() (estimator.Noise, bool) {
	n := &c.s.Noise
	if len(n.Norms) == 0 {
		return estimator.Noise{}, false
	}
	return estimator.MeasureNoise(n.Sketches, n.Norms), true
}
