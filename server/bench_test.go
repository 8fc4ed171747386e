package server

import (
	"math"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
	"multirate/scheduler"
)

// benchRequest is a request with a sketch of 251 random numbers.
func benchRequest() *pb.GetLearningRateRequest {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, 251)
	for i := range values {
		values[i] = float32(random.NormFloat64())
	}
	return &pb.GetLearningRateRequest{RunId: "r", Statistics: &pb.Statistics{
		Loss: proto.Float64(1), GradientNormSquared: proto.Float64(2),
		Sketches: []*pb.Sketch{{Kind: pb.SketchKind_SKETCH_KIND_GRADIENT, Values: values}},
	}}
}

func benchServer(b *testing.B) *Server {
	s := New(Options{Logger: quiet})
	if _, err := s.CreateRun(b.Context(), &pb.CreateRunRequest{Run: &pb.Run{RunId: "r", Dimension: 1000}}); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkHandler is GetLearningRate without gRPC, the controller included.
func BenchmarkHandler(b *testing.B) {
	s, request := benchServer(b), benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		request.Step++
		if _, err := s.GetLearningRate(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHandlerRetry is what the handler adds to the controller, but for the
// translation of the decision: everything is validated and the answer is there.
func BenchmarkHandlerRetry(b *testing.B) {
	s, request := benchServer(b), benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.GetLearningRate(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTranslate is the translation of a decision, its sentence included.
func BenchmarkTranslate(b *testing.B) {
	d := &scheduler.Decision{Rate: 0.1, Reason: scheduler.ReasonPlanned, Guard: scheduler.GuardTrustRegion,
		Scale: 1, Scales: 3, CyclePosition: 2, CycleLength: 7, PredictedChange: -1, Stiffest: 100}
	b.ReportAllocs()
	for b.Loop() {
		translate(1, []string{""}, d)
	}
}

// BenchmarkFingerprint is the fingerprint of a report with a sketch.
func BenchmarkFingerprint(b *testing.B) {
	rep := reportOf(benchRequest())
	b.ReportAllocs()
	for b.Loop() {
		fingerprint(rep)
	}
}

// BenchmarkCall is GetLearningRate over a unix socket. Its sketches are drawn
// anew at each step, as training would make them.
func BenchmarkCall(b *testing.B) {
	c := start(b, Options{})
	create(b, c, &pb.Run{RunId: "r", Dimension: 1000})
	request := benchRequest()
	random := rand.New(rand.NewPCG(3, 4))
	for b.Loop() {
		request.Step++
		for i := range request.Statistics.Sketches[0].Values {
			request.Statistics.Sketches[0].Values[i] = random.Float32()
		}
		if _, err := c.GetLearningRate(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChunks is the coding of a chunk of the default size, both ways.
func BenchmarkChunks(b *testing.B) {
	v := make([]float64, defaultElements)
	for i := range v {
		v[i] = math.Sqrt(float64(i))
	}
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(4 * defaultElements)
		for b.Loop() {
			(&chunkEncoder{elements: v, format: float32Format, size: defaultElements}).next()
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(4 * defaultElements)
		c := (&chunkEncoder{elements: v, format: float32Format, size: defaultElements}).next()
		for b.Loop() {
			if err := (&chunkDecoder{elements: v, format: float32Format, size: defaultElements}).take(c); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEstimate is one EstimateSpectrum of three products in float32 over a
// unix socket; bytes are those of probes and products.
func BenchmarkEstimate(b *testing.B) {
	const dimension, products = 2 << 20, 3
	c := start(b, Options{})
	create(b, c, &pb.Run{RunId: "r", Dimension: dimension})
	hessian := make([]float64, dimension)
	for i := range hessian {
		hessian[i] = 1 + float64(i)
	}
	b.SetBytes(2 * 4 * dimension * products)
	for b.Loop() {
		estimateOf(b, c, hessian, &pb.EstimateSpectrumStart{RunId: "r", MaxProducts: products}).answer(products + 1)
	}
}
