package server

import (
	"testing"

	"google.golang.org/grpc/codes"

	"multirate/estimator"
	pb "multirate/proto/multirate/v1"
)

// twoScales is a Hessian of 200 eigenvalues, each scaled by factor.
func twoScales(factor float64) []float64 {
	hessian := make([]float64, 200)
	for i := range hessian {
		hessian[i] = factor * (1 + float64(i%100)/100)
		if i >= 100 {
			hessian[i] /= 1000
		}
	}
	return hessian
}

// complete answers all probes and returns the spectrum.
func complete(t *testing.T, c pb.LearningRateServiceClient, hessian []float64, start *pb.EstimateSpectrumStart) *estimating {
	t.Helper()
	e := estimateOf(t, c, hessian, start)
	if e.answer(len(hessian)) {
		t.Fatal("more probes than dimensions")
	}
	return e
}

// TestSecondEstimateStartsWarm: after a small change it takes a few products
// beside those of the vectors kept, in every format; a cold start is to be had.
func TestSecondEstimateStartsWarm(t *testing.T) {
	for _, format := range []pb.VectorFormat{float32Format, float64Format} {
		s := New(Options{Logger: quiet})
		c := serveExisting(t, s)
		create(t, c, &pb.Run{RunId: "r", Dimension: 200})
		begin := &pb.EstimateSpectrumStart{RunId: "r", Format: format, MaxProducts: 150}
		first := complete(t, c, twoScales(1), begin)
		again := complete(t, c, twoScales(1.02), begin)
		kept := int(again.progress[0].KeptVectors)
		t.Logf("%v: %d products, then %d from %d vectors", format, len(first.progress), len(again.progress), kept)
		if kept != 4 || first.progress[0].KeptVectors != 0 || len(again.progress) > kept+8 || len(again.progress) > len(first.progress)/2 {
			t.Errorf("%v: %d products, then %d from %d vectors", format, len(first.progress), len(again.progress), kept)
		}
		if n := int(again.spectrum.Products); n != len(again.progress) {
			t.Errorf("%v: the spectrum counts %d products, %d were taken", format, n, len(again.progress))
		}
		for i, scale := range again.spectrum.Scales {
			for _, edge := range []struct{ was, is float64 }{
				{first.spectrum.Scales[i].Lowest, scale.Lowest}, {first.spectrum.Scales[i].Highest, scale.Highest},
			} {
				if r := edge.is / edge.was; r < 1.01 || r > 1.03 {
					t.Errorf("%v: edge %v became %v, want 1.02 times as much", format, edge.was, edge.is)
				}
			}
		}
		begin.ColdStart = true
		if e := complete(t, c, twoScales(1.02), begin); e.progress[0].KeptVectors != 0 || len(e.progress) != len(first.progress) {
			t.Errorf("%v: a cold start takes %d products from %d vectors, want %d from none",
				format, len(e.progress), e.progress[0].KeptVectors, len(first.progress))
		}
		settle(t, "vectors counted", func() bool { return s.memory.used.Load() == int64(4*200*elementBytes(format)) })
		deleteRun(t, c, nil)
		settle(t, "vectors released", func() bool { return s.memory.used.Load() == 0 })
	}
}

// TestKeptVectorsGiveWay: another run's estimate that needs the memory gets it,
// and a failed estimate leaves the vectors for the next one.
func TestKeptVectorsGiveWay(t *testing.T) {
	const products = 60
	need := func(kept *estimator.RitzVectors) int64 {
		return (&estimate{dimension: 200, chunk: defaultElements, format: float64Format, kept: kept}).bytes(products)
	}
	s := New(Options{Logger: quiet, MaxTotalBytes: need(nil) + 8*200*3})
	c := serveExisting(t, s)
	begin := func(id string) *pb.EstimateSpectrumStart {
		return &pb.EstimateSpectrumStart{RunId: id, Format: float64Format, MaxProducts: products}
	}
	for _, id := range []string{"a", "b"} {
		create(t, c, &pb.Run{RunId: id, Dimension: 200})
	}
	hessian := make([]float64, 200)
	for i := range hessian {
		hessian[i] = 1 + float64(i%20)/20
	}
	complete(t, c, hessian, begin("a"))
	broken := estimateOf(t, c, hessian, begin("a"))
	if !broken.answer(1) {
		t.Fatal("over")
	}
	_ = broken.stream.CloseSend()
	wantRefusal(t, lastError(broken.stream.Recv), refusal{codes.Aborted, ReasonStreamCut, ""})
	settle(t, "vectors back", func() bool { return s.memory.used.Load() == 8*200*2 })
	if e := complete(t, c, hessian, begin("a")); e.progress[0].KeptVectors != 2 {
		t.Errorf("after a failed estimate %d vectors are left, want 2", e.progress[0].KeptVectors)
	}
	for range 2 { // b's own vectors make room for a's
		complete(t, c, hessian, begin("b"))
		complete(t, c, hessian, begin("a"))
	}
	if used := s.memory.used.Load(); used > s.memory.limit {
		t.Errorf("%d bytes used of %d", used, s.memory.limit)
	}
}
