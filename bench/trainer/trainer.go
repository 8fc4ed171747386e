// Package trainer is a trainer whose steps can be repeated to the bit: the load of
// the benchmarks that kill what serves it.
package trainer

import (
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
)

const dimension = 251

// Trainer descends a quadratic of three scales at the rates it is given. Its
// gradient is its own sketch.
type Trainer struct {
	// Run is its run's id, Step the number of the next step.
	Run  string
	Step int64

	lambda, x []float64
}

// New makes a trainer at its first step.
func New(run string, seed uint64) *Trainer {
	r := rand.New(rand.NewPCG(seed, 1))
	t := &Trainer{Run: run}
	for i := range dimension {
		l := math.Pow(1e-3, float64(i%3)) * math.Pow(4, r.Float64())
		t.lambda = append(t.lambda, l)
		t.x = append(t.x, r.NormFloat64()/math.Sqrt(l))
	}
	return t
}

// Declared is the declaration of its run.
func (t *Trainer) Declared() *pb.Run {
	return &pb.Run{RunId: t.Run, Dimension: dimension, LossLowerBound: proto.Float64(0), Sketch: &pb.SketchSpec{Dimension: dimension}}
}

// Request asks for the rate of the next step.
func (t *Trainer) Request() *pb.GetLearningRateRequest {
	loss, norm, sketch := 0.0, 0.0, make([]float32, dimension)
	for i, l := range t.lambda {
		g := l * t.x[i]
		sketch[i] = float32(g)
		loss += g * t.x[i] / 2
		norm += g * g
	}
	return &pb.GetLearningRateRequest{RunId: t.Run, Step: t.Step, Statistics: &pb.Statistics{
		Loss: &loss, GradientNormSquared: &norm,
		Sketches: []*pb.Sketch{{Kind: pb.SketchKind_SKETCH_KIND_GRADIENT, Values: sketch}},
	}}
}

// Descend takes the step.
func (t *Trainer) Descend(rate float64) {
	for i, l := range t.lambda {
		t.x[i] -= rate * l * t.x[i]
	}
	t.Step++
}
