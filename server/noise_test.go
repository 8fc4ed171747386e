package server

import (
	"math"
	"testing"

	pb "multirate/proto/multirate/v1"
)

// Sketches of half-batches tell the gradient's noise along each Ritz vector and
// the noise scale.
func TestSketchesOfPartsCount(t *testing.T) {
	c := start(t, Options{})
	create(t, c, &pb.Run{RunId: "r", Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}})
	tr := newTrainer("r", threeScales(), 15)
	norms := 0.0
	for range 6 {
		req := tr.request()
		gradient := req.Statistics.Sketches[0].Values
		for part := range int32(2) {
			values := append([]float32(nil), gradient...)
			values[0] += 0.01 * float32(1-2*part)
			req.Statistics.Sketches = append(req.Statistics.Sketches,
				&pb.Sketch{Kind: pb.SketchKind_SKETCH_KIND_BATCH_PART, Part: part, Values: values})
		}
		norms += *req.Statistics.GradientNormSquared
		answer, err := c.GetLearningRate(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		tr.descend(answer.Rates[0].LearningRate)
	}
	got, err := c.GetSpectrum(t.Context(), &pb.GetSpectrumRequest{RunId: "r"})
	if err != nil {
		t.Fatal(err)
	}
	want := 1e-4 / (norms/6 - 1e-4)
	if scale := got.Spectrum.GetNoiseScale(); math.Abs(scale-want) > 1e-3*want {
		t.Errorf("noise scale %v, want %v", scale, want)
	}
	noise := 0.0
	for _, r := range got.Spectrum.RitzValues {
		noise += r.Noise
	}
	if !(noise > 0) {
		t.Errorf("no noise along any of %v", got.Spectrum.RitzValues)
	}
}
