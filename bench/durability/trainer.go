package main

import (
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
)

const dimension = 251

// trainer descends a quadratic of three scales at the rates it is given. Its
// gradient is its own sketch.
type trainer struct {
	run       string
	lambda, x []float64
	step      int64
	goal      int64 // steps to take before the server is killed
}

func newTrainer(run string, seed uint64) *trainer {
	r := rand.New(rand.NewPCG(seed, 1))
	t := &trainer{run: run}
	for i := range dimension {
		l := math.Pow(1e-3, float64(i%3)) * math.Pow(4, r.Float64())
		t.lambda = append(t.lambda, l)
		t.x = append(t.x, r.NormFloat64()/math.Sqrt(l))
	}
	return t
}

func (t *trainer) declared() *pb.Run {
	return &pb.Run{RunId: t.run, Dimension: dimension, LossLowerBound: proto.Float64(0), Sketch: &pb.SketchSpec{Dimension: dimension}}
}

func (t *trainer) request() *pb.GetLearningRateRequest {
	loss, norm, sketch := 0.0, 0.0, make([]float32, dimension)
	for i, l := range t.lambda {
		g := l * t.x[i]
		sketch[i] = float32(g)
		loss += g * t.x[i] / 2
		norm += g * g
	}
	return &pb.GetLearningRateRequest{RunId: t.run, Step: t.step, Statistics: &pb.Statistics{
		Loss: &loss, GradientNormSquared: &norm,
		Sketches: []*pb.Sketch{{Kind: pb.SketchKind_SKETCH_KIND_GRADIENT, Values: sketch}},
	}}
}

func (t *trainer) descend(rate float64) {
	for i, l := range t.lambda {
		t.x[i] -= rate * l * t.x[i]
	}
	t.step++
}
