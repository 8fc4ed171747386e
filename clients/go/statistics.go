package multirate

import (
	"fmt"
	"math"

	multiratev1 "multirate/proto/multirate/v1"
)

// StatisticsOption adds to what [Run.Rate] measures.
type StatisticsOption func(*Statistics)

// OnBatch names the mini-batch that loss and gradient are of. The same id at
// successive steps says that the batch was held.
func OnBatch(id uint64) StatisticsOption {
	return func(s *Statistics) { s.BatchId = &id }
}

// AtParameterNorm gives the Euclidean norm of the parameters, >= 0, which sets
// the length of the first step.
func AtParameterNorm(norm float64) StatisticsOption {
	return func(s *Statistics) { s.ParameterNorm = &norm }
}

// WithoutLoss withholds the loss, where it is unknown. The service then returns
// safe rates only.
func WithoutLoss() StatisticsOption {
	return func(s *Statistics) { s.Loss = nil }
}

// DotPrevious gives the inner product of this gradient with the previous
// step's. It is of use only beside [WithoutSketches].
func DotPrevious(product float64) StatisticsOption {
	return func(s *Statistics) { s.GradientDotPrevious = &product }
}

// measure returns loss and squared norm of g.
func measure[T Float](dimension int64, loss float64, g []T) (*Statistics, error) {
	if int64(len(g)) != dimension {
		return nil, fmt.Errorf("multirate: gradient of %d elements in a run of dimension %d", len(g), dimension)
	}
	norm := NormSquared(g)
	if math.IsNaN(loss+norm) || math.IsInf(loss, 0) || math.IsInf(norm, 0) {
		return nil, fmt.Errorf("%w: loss %g, squared gradient norm %g", ErrNotFinite, loss, norm)
	}
	return &Statistics{Loss: &loss, GradientNormSquared: &norm}, nil
}

func gradientSketch[T Float](s *Sketcher, g []T) *multiratev1.Sketch {
	values := make([]float32, s.buckets)
	Sketch(s, values, g)
	return &multiratev1.Sketch{Kind: multiratev1.SketchKind_SKETCH_KIND_GRADIENT, Values: values}
}

// NormSquared returns |g|^2, summed in float64. Four sums hide the latency of
// the additions.
func NormSquared[T Float](g []T) float64 {
	var a, b, c, d float64
	for ; len(g) >= 4; g = g[4:] {
		w, x, y, z := float64(g[0]), float64(g[1]), float64(g[2]), float64(g[3])
		a += w * w
		b += x * x
		c += y * y
		d += z * z
	}
	for _, x := range g {
		a += float64(x) * float64(x)
	}
	return a + b + (c + d)
}
