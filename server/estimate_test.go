package server

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "multirate/proto/multirate/v1"
)

// estimating is the trainer's side of EstimateSpectrum for a diagonal Hessian.
type estimating struct {
	t       testing.TB
	stream  pb.LearningRateService_EstimateSpectrumClient
	hessian []float64
	start   *pb.EstimateSpectrumStart
	cancel  context.CancelFunc

	probe    []float64
	progress []*pb.EstimateSpectrumProgress
	spectrum *pb.Spectrum
}

func estimateOf(t testing.TB, c pb.LearningRateServiceClient, hessian []float64, s *pb.EstimateSpectrumStart) *estimating {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := c.EstimateSpectrum(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Start{Start: s}}); err != nil {
		t.Fatal(err)
	}
	return &estimating{t: t, stream: stream, hessian: hessian, start: s, cancel: cancel}
}

func (e *estimating) format() pb.VectorFormat {
	return cmp.Or(e.start.Format, float32Format)
}

func (e *estimating) size() int {
	if e.start.ChunkElements > 0 {
		return int(e.start.ChunkElements)
	}
	return defaultElements
}

// receive reads until a whole probe has arrived, true, or the spectrum, false.
func (e *estimating) receive() (probe bool, err error) {
	var d chunkDecoder
	for {
		m, err := e.stream.Recv()
		if err != nil {
			return false, err
		}
		switch m := m.Message.(type) {
		case *pb.EstimateSpectrumResponse_Progress:
			e.progress = append(e.progress, m.Progress)
		case *pb.EstimateSpectrumResponse_Spectrum:
			e.spectrum = m.Spectrum
			return false, nil
		case *pb.EstimateSpectrumResponse_Probe:
			if m.Probe.Index == 0 {
				d = chunkDecoder{vector: int32(len(e.progress)), elements: make([]float64, len(e.hessian)), format: e.format(), size: e.size()}
			}
			if err := d.take(m.Probe); err != nil {
				e.t.Fatalf("probe: %v", err)
			}
			if d.done() {
				e.probe = d.elements
				return true, nil
			}
		}
	}
}

// chunks are those of the product with the last probe.
func (e *estimating) chunks() []*pb.VectorChunk {
	product := make([]float64, len(e.hessian))
	for i, h := range e.hessian {
		product[i] = h * e.probe[i]
	}
	encoder := chunkEncoder{vector: int32(len(e.progress)), elements: product, format: e.format(), size: e.size()}
	var chunks []*pb.VectorChunk
	for c := encoder.next(); c != nil; c = encoder.next() {
		chunks = append(chunks, c)
	}
	return chunks
}

func (e *estimating) send(chunks ...*pb.VectorChunk) {
	for _, c := range chunks {
		err := e.stream.Send(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Product{Product: c}})
		if err != nil {
			return // Recv tells why
		}
	}
}

// answer answers so many probes and stops with the next one in hand. It
// reports whether the estimate is still on.
func (e *estimating) answer(products int) bool {
	e.t.Helper()
	for range products + 1 {
		probe, err := e.receive()
		if err != nil {
			e.t.Fatal(err)
		}
		if !probe {
			return false
		}
		if len(e.progress) < products {
			e.send(e.chunks()...)
		}
	}
	return true
}

// TestEstimateFindsTheScales: the spectrum of a Hessian with three distinct
// eigenvalues is exact after three products, in any format and chunking.
func TestEstimateFindsTheScales(t *testing.T) {
	for name, tt := range map[string]struct {
		start     *pb.EstimateSpectrumStart
		tolerance float64 // of eigenvalues, relative to the largest
	}{
		// Probes are unit vectors and every rounding is one of some ten of the
		// format's unit, relative to the largest eigenvalue.
		"float32":            {&pb.EstimateSpectrumStart{}, 1e-6},
		"float32, in pieces": {&pb.EstimateSpectrumStart{ChunkElements: 7, Seed: 9}, 1e-6},
		"bfloat16":           {&pb.EstimateSpectrumStart{Format: bfloat16}, 1e-2},
		"float64":            {&pb.EstimateSpectrumStart{Format: float64Format}, 1e-14},
		"float64, singly":    {&pb.EstimateSpectrumStart{Format: float64Format, ChunkElements: 1}, 1e-14},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, Options{})
			create(t, c, &pb.Run{RunId: "r", Dimension: 60})
			hessian := make([]float64, 60)
			for i := range hessian {
				hessian[i] = []float64{1, 100, -3}[i%3]
			}
			tt.start.RunId, tt.start.MaxProducts = "r", 3
			e := estimateOf(t, c, hessian, tt.start)
			if e.answer(4) {
				t.Fatal("more probes than products asked for")
			}
			s := e.spectrum
			if s.Source != pb.SpectrumSource_SPECTRUM_SOURCE_LANCZOS || s.Products != 3 || s.Revision != 1 || s.Step != nil || len(s.RitzValues) != 3 {
				t.Fatalf("spectrum %v", s)
			}
			mass := 0.0
			for i, want := range []float64{100, 1, -3} {
				mass += s.RitzValues[i].Weight
				if got := s.RitzValues[i].Value; math.Abs(got-want) > 100*tt.tolerance {
					t.Errorf("eigenvalue %v, want %v", got, want)
				}
			}
			if len(e.progress) != 3 || e.progress[2].Products != 3 || e.progress[2].MaxProducts != 3 ||
				e.progress[2].LargestRitzValue != s.RitzValues[0].Value || e.progress[2].SmallestRitzValue != s.RitzValues[2].Value {
				t.Errorf("progress %v", e.progress)
			}
			if math.Abs(mass-1) > 1e-12 { // the weights are those of an orthogonal matrix, whatever the format
				t.Errorf("weights add up to %v", mass)
			}
			if err := lastError(e.stream.Recv); err != nil {
				t.Errorf("behind the spectrum: %v", err)
			}
			got, err := c.GetSpectrum(t.Context(), &pb.GetSpectrumRequest{RunId: "r", DensityPoints: 4})
			if err != nil {
				t.Fatal(err)
			}
			checkDensity(t, got.Spectrum)
			got.Spectrum.Density = nil
			sameMessage(t, "GetSpectrum", got.Spectrum, s)
		})
	}
}

// checkDensity: one bin for -3, and four from 1 to 100, the masses those of the
// Ritz values.
func checkDensity(t *testing.T, s *pb.Spectrum) {
	t.Helper()
	if len(s.Density) != 5 {
		t.Fatalf("density %v", s.Density)
	}
	ritz := s.RitzValues
	for i, want := range []*pb.DensityPoint{
		{Lower: ritz[2].Value, Upper: 0, Mass: ritz[2].Weight},
		{Lower: ritz[1].Value, Mass: ritz[1].Weight},
		{}, {},
		{Upper: ritz[0].Value, Mass: ritz[0].Weight},
	} {
		got := s.Density[i]
		if math.Abs(got.Mass-want.Mass) > 1e-14 || want.Lower != 0 && got.Lower != want.Lower || i != 0 && got.Upper <= got.Lower ||
			i > 1 && got.Lower != s.Density[i-1].Upper || want.Upper != 0 && got.Upper != want.Upper {
			t.Errorf("bin %d is %v, want %v", i, got, want)
		}
	}
}

// TestEstimateStopsWhenConverged: a Hessian with three tight scales needs far
// fewer products than it may have.
func TestEstimateStopsWhenConverged(t *testing.T) {
	c := start(t, Options{})
	create(t, c, &pb.Run{RunId: "r", Dimension: 300})
	hessian := make([]float64, 300)
	for i := range hessian {
		hessian[i] = []float64{1, 1e-2, 1e-4}[i%3] * (1 + 0.01*float64(i)/300)
	}
	e := estimateOf(t, c, hessian, &pb.EstimateSpectrumStart{RunId: "r", Format: float64Format})
	if e.answer(100) {
		t.Fatal("still on after 100 products")
	}
	if len(e.spectrum.Scales) != 3 || e.spectrum.Scales[0].Gap < 50 || e.spectrum.Scales[2].Gap != 0 {
		t.Errorf("scales %v", e.spectrum.Scales)
	}
}

// TestReportLanczos: the coefficients of a 2 by 2 matrix with eigenvalues 3 and
// 1, and equal weights.
func TestReportLanczos(t *testing.T) {
	c := start(t, Options{})
	create(t, c, &pb.Run{RunId: "r", Dimension: 10})
	got, err := c.ReportLanczos(t.Context(), &pb.ReportLanczosRequest{RunId: "r",
		Coefficients: &pb.LanczosCoefficients{Alpha: []float64{2, 2}, Beta: []float64{1, 0}}})
	if err != nil {
		t.Fatal(err)
	}
	s := got.Spectrum
	if s.Source != pb.SpectrumSource_SPECTRUM_SOURCE_COEFFICIENTS || len(s.RitzValues) != 2 || s.Revision != 1 ||
		math.Abs(s.RitzValues[0].Value-3) > 1e-14 || math.Abs(s.RitzValues[1].Value-1) > 1e-14 ||
		math.Abs(s.RitzValues[0].Weight-0.5) > 1e-14 || math.Abs(s.GetTrace()-20) > 1e-13 {
		t.Errorf("spectrum %v", s)
	}
	run, err := c.GetRun(t.Context(), &pb.GetRunRequest{RunId: "r"})
	if err != nil || run.Run.SpectrumRevision != 1 {
		t.Errorf("GetRun = %v, %v", run, err)
	}
}

// TestBrokenEstimatesLeaveTheRun: however an estimate ends early, the run is as
// it was, its memory is free again, and another estimate may begin.
func TestBrokenEstimatesLeaveTheRun(t *testing.T) {
	const invalid = codes.InvalidArgument
	for name, tt := range map[string]struct {
		end  func(*estimating)
		want refusal
	}{
		"cut in a vector": {func(e *estimating) { e.send(e.chunks()[:2]...); _ = e.stream.CloseSend() },
			refusal{codes.Aborted, ReasonStreamCut, ""}},
		"cut between vectors": {func(e *estimating) { _ = e.stream.CloseSend() }, refusal{codes.Aborted, ReasonStreamCut, ""}},
		"chunk out of order": {func(e *estimating) { c := e.chunks(); e.send(c[0], c[2]) },
			refusal{invalid, ReasonChunkOutOfOrder, "product.index"}},
		"chunk damaged": {func(e *estimating) { c := e.chunks(); c[1].Data[0]++; e.send(c...) },
			refusal{codes.DataLoss, ReasonChunkChecksum, "product.crc32c"}},
		"wrong dimension": {func(e *estimating) { c := e.chunks(); c[0].Total++; e.send(c...) },
			refusal{invalid, ReasonWrongDimension, "product.total"}},
		"not finite": {func(e *estimating) { e.probe[3] = math.NaN(); e.send(e.chunks()...) },
			refusal{invalid, ReasonNotFinite, "product.data"}},
		"too long for arithmetic": {func(e *estimating) { e.probe[3] = 0x1p1010; e.send(e.chunks()...) },
			refusal{invalid, ReasonNotFinite, "product.data"}},
		"started twice": {func(e *estimating) {
			_ = e.stream.Send(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Start{Start: e.start}})
		}, refusal{invalid, ReasonRequired, "product"}},
		"cancelled": {func(e *estimating) { e.send(e.chunks()[:1]...); e.cancel() }, refusal{codes.Canceled, "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Options{Logger: quiet})
			c := serveExisting(t, s)
			create(t, c, sketched("r"))
			tr := newTrainer("r", threeScales(), 15)
			tr.train(t, c, 4)
			before := snapshot(t, c, "r")
			begin := &pb.EstimateSpectrumStart{RunId: "r", ChunkElements: 4, Format: float64Format}
			e := estimateOf(t, c, threeScales(), begin)
			if !e.answer(2) {
				t.Fatal("over after two products")
			}
			if s.memory.used.Load() == 0 {
				t.Error("no memory reserved")
			}
			tt.end(e)
			wantRefusal(t, lastError(e.stream.Recv), tt.want)
			settle(t, "memory released", func() bool { return s.memory.used.Load() == 0 })
			if !bytes.Equal(before.Snapshot, snapshot(t, c, "r").Snapshot) {
				t.Error("the run has changed")
			}
			if estimateOf(t, c, threeScales(), begin).answer(100) {
				t.Error("the next estimate has no end")
			}
		})
	}
}

// settle waits for something that another goroutine is about to do.
func settle(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 10 s: %s", what)
		}
	}
}

// TestEstimateHonoursItsDeadline: a client that never answers, and has told how
// long it would wait, holds the memory no longer.
func TestEstimateHonoursItsDeadline(t *testing.T) {
	s := New(Options{Logger: quiet})
	c := serveExisting(t, s)
	create(t, c, &pb.Run{RunId: "r", Dimension: 15})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	stream, err := c.EstimateSpectrum(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Start{Start: &pb.EstimateSpectrumStart{RunId: "r"}}}); err != nil {
		t.Fatal(err)
	}
	if err := lastError(stream.Recv); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
	settle(t, "memory released", func() bool { return s.memory.used.Load() == 0 })
}

// TestRatesDuringAnEstimate: rates are served while an estimate waits, a second
// estimate is not, and the spectrum is of the step it ends at.
func TestRatesDuringAnEstimate(t *testing.T) {
	c := start(t, Options{})
	create(t, c, sketched("r"))
	tr := newTrainer("r", threeScales(), 15)
	begin := &pb.EstimateSpectrumStart{RunId: "r", MaxProducts: 3}
	e := estimateOf(t, c, threeScales(), begin)
	if !e.answer(1) {
		t.Fatal("over")
	}
	tr.train(t, c, 5)
	wantRefusal(t, lastError(estimateOf(t, c, nil, begin).stream.Recv),
		refusal{codes.FailedPrecondition, ReasonEstimateInProgress, ""})
	e.send(e.chunks()...)
	if e.answer(3) {
		t.Fatal("not over")
	}
	if e.spectrum.GetStep() != 4 {
		t.Errorf("spectrum of step %v, want 4", e.spectrum.Step)
	}
	tr.train(t, c, 5)
}

// TestEndOfARunEndsItsEstimate, wherever it stands: with the client slow to
// answer, or not even reading, so that the flow control window is full.
func TestEndOfARunEndsItsEstimate(t *testing.T) {
	const large = 4 << 20 // elements: 16 MiB, beyond any window
	for name, tt := range map[string]struct {
		dimension int64
		end       func(t *testing.T, c pb.LearningRateServiceClient, snap []byte)
		want      refusal
	}{
		"deleted, waiting for a product": {15, deleteRun, refusal{codes.Aborted, ReasonRunDeleted, ""}},
		"deleted, sending a probe":       {large, deleteRun, refusal{codes.Aborted, ReasonRunDeleted, ""}},
		"restored": {15, func(t *testing.T, c pb.LearningRateServiceClient, snap []byte) {
			if _, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: snap, Overwrite: true}); err != nil {
				t.Fatal(err)
			}
		}, refusal{codes.Aborted, ReasonRunRestored, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Options{Logger: quiet})
			c := serveExisting(t, s)
			create(t, c, &pb.Run{RunId: "r", Dimension: tt.dimension})
			snap := snapshot(t, c, "r").Snapshot
			e := estimateOf(t, c, nil, &pb.EstimateSpectrumStart{RunId: "r", MaxProducts: 4})
			if _, err := e.stream.Recv(); err != nil { // it has begun
				t.Fatal(err)
			}
			tt.end(t, c, snap)
			settle(t, "memory released", func() bool { return s.memory.used.Load() == 0 })
			wantRefusal(t, lastError(e.stream.Recv), tt.want)
		})
	}
}

func deleteRun(t *testing.T, c pb.LearningRateServiceClient, _ []byte) {
	if _, err := c.DeleteRun(t.Context(), &pb.DeleteRunRequest{RunId: "r"}); err != nil {
		t.Fatal(err)
	}
}

// TestMemoryBudgets: beyond either budget an estimate is refused, and told of
// the ways out: fewer products, as many as it says, or coefficients.
func TestMemoryBudgets(t *testing.T) {
	const dimension = 1000
	s := New(Options{Logger: quiet, MaxRunBytes: 50 * 8 * dimension, MaxTotalBytes: 75 * 8 * dimension})
	c := serveExisting(t, s)
	for _, id := range []string{"a", "b"} {
		create(t, c, &pb.Run{RunId: id, Dimension: dimension})
	}
	quota := func(id string, products int32) *errdetails.QuotaFailure_Violation {
		t.Helper()
		err := lastError(estimateOf(t, c, nil, &pb.EstimateSpectrumStart{RunId: id, MaxProducts: products}).stream.Recv)
		wantRefusal(t, err, refusal{codes.ResourceExhausted, ReasonMemoryBudget, ""})
		for _, d := range status.Convert(err).Details() {
			if q, ok := d.(*errdetails.QuotaFailure); ok {
				return q.Violations[0]
			}
		}
		t.Fatalf("no quota failure: %v", err)
		return nil
	}
	q := quota("a", 100)
	if q.Subject != "run:a" || q.QuotaValue != 50*8*dimension || !strings.Contains(q.Description, "ReportLanczos") ||
		!strings.Contains(q.Description, "ask for at most ") {
		t.Errorf("quota failure %v", q)
	}
	// What it offers is what fits: so many products and no more.
	var fit int
	if _, err := fmt.Sscanf(q.Description[strings.Index(q.Description, "at most "):], "at most %d products", &fit); err != nil {
		t.Fatal(err)
	}
	e := estimateOf(t, c, make([]float64, dimension), &pb.EstimateSpectrumStart{RunId: "a", MaxProducts: int32(fit)})
	if !e.answer(0) {
		t.Fatal("over")
	}
	quota("b", int32(fit+1))
	if q := quota("b", int32(fit)); q.Subject != "server" {
		t.Errorf("quota failure %v, want the server's", q)
	}
	e.cancel()
	settle(t, "memory released", func() bool { return s.memory.used.Load() == 0 })
	estimateOf(t, c, make([]float64, dimension), &pb.EstimateSpectrumStart{RunId: "b", MaxProducts: int32(fit)}).answer(0)
}
