package server

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "multirate/proto/multirate/v1"
	"multirate/server/access"
)

func sketched(id string) *pb.Run {
	return &pb.Run{RunId: id, Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}}
}

// TestRetriesGetTheSameAnswer: the latest step may be asked for again.
func TestRetriesGetTheSameAnswer(t *testing.T) {
	c := start(t, Options{})
	create(t, c, sketched("r"))
	tr := newTrainer("r", threeScales(), 15)
	for range 20 {
		req := tr.request()
		first, err := c.GetLearningRate(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		before := snapshot(t, c, "r")
		again, err := c.GetLearningRate(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		sameMessage(t, "retry", again, first)
		if after := snapshot(t, c, "r"); !bytes.Equal(before.Snapshot, after.Snapshot) {
			t.Fatal("a retry has changed the run")
		}
		tr.descend(first.Rates[0].LearningRate)
	}
}

// TestFingerprintCoversEveryField: a change in any field of a report, or its
// presence, is another report. Fields that the contract gains must be added.
func TestFingerprintCoversEveryField(t *testing.T) {
	base := func() *report {
		return &report{applied: []float64{1, 2}, statistics: &pb.Statistics{
			Loss: proto.Float64(1), GradientNormSquared: proto.Float64(2), GradientDotPrevious: proto.Float64(3),
			ParameterNorm: proto.Float64(4), BatchId: proto.Uint64(5),
			Sketches: []*pb.Sketch{{Kind: 1, Values: []float32{1, 2, 3}, Part: 1, ParamGroup: proto.Int32(1)}},
		}}
	}
	want := fingerprint(base())
	if again := fingerprint(base()); again != want {
		t.Fatalf("%#x and %#x for the same report", want, again)
	}
	differs := func(what string, change func(*report)) {
		rep := base()
		change(rep)
		if fingerprint(rep) == want {
			t.Errorf("%s makes no difference", what)
		}
	}
	for _, m := range []func(*report) protoreflect.Message{
		func(r *report) protoreflect.Message { return r.statistics.ProtoReflect() },
		func(r *report) protoreflect.Message { return r.statistics.Sketches[0].ProtoReflect() },
	} {
		fields := m(base()).Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			differs("absence of "+string(f.FullName()), func(r *report) { m(r).Clear(f) })
			if f.HasPresence() {
				differs("the zero of "+string(f.FullName()), func(r *report) { m(r).Set(f, f.Default()) })
			}
		}
	}
	for i := range 3 {
		differs("a sketch value", func(r *report) { r.statistics.Sketches[0].Values[i] *= -1 })
	}
	differs("an applied rate", func(r *report) { r.applied[1] = 3 })
	differs("absence of applied rates", func(r *report) { r.applied = nil })
	differs("another order", func(r *report) { r.applied[0], r.applied[1] = 2, 1 })
}

// TestStreamAnswersLikeCalls: a stream gives the same rates as single calls,
// and ends cleanly.
func TestStreamAnswersLikeCalls(t *testing.T) {
	c := start(t, Options{})
	create(t, c, sketched("calls"))
	create(t, c, sketched("stream"))
	want := newTrainer("calls", threeScales(), 15).train(t, c, 50)

	stream, err := c.StreamLearningRates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tr := newTrainer("stream", threeScales(), 15)
	for _, w := range want {
		req := tr.request()
		if tr.step > 0 {
			req.RunId = "" // may be left out after the first message
		}
		if err := stream.Send(&pb.StreamLearningRatesRequest{Request: req}); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		sameMessage(t, "answer", got.Response, w)
		tr.descend(w.Rates[0].LearningRate)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v, want io.EOF", err)
	}
}

// TestStreamRefusalEndsIt: the stream ends with the refusal's status and the
// run stands after the last answer.
func TestStreamRefusalEndsIt(t *testing.T) {
	const invalid = codes.InvalidArgument
	for name, tt := range map[string]struct {
		change func(*pb.GetLearningRateRequest)
		want   refusal
	}{
		"no norm":     {func(r *pb.GetLearningRateRequest) { r.Statistics.GradientNormSquared = nil }, refusal{invalid, ReasonRequired, "statistics.gradient_norm_squared"}},
		"another run": {func(r *pb.GetLearningRateRequest) { r.RunId = "other" }, refusal{invalid, ReasonRunMixed, "run_id"}},
		"step again":  {func(r *pb.GetLearningRateRequest) { r.Step = 0 }, refusal{codes.FailedPrecondition, ReasonStepAnswered, "step"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, Options{})
			create(t, c, sketched("r"))
			create(t, c, sketched("other"))
			tr := newTrainer("r", threeScales(), 15)
			tr.train(t, c, 1)
			stream, err := c.StreamLearningRates(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(&pb.StreamLearningRatesRequest{Request: tr.request()}); err != nil {
				t.Fatal(err)
			}
			got, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			tr.descend(got.Response.Rates[0].LearningRate)
			before := snapshot(t, c, "r")
			req := tr.request()
			tt.change(req)
			if err := stream.Send(&pb.StreamLearningRatesRequest{Request: req}); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, lastError(stream.Recv), tt.want)
			if after := snapshot(t, c, "r"); !bytes.Equal(before.Snapshot, after.Snapshot) {
				t.Error("the run has changed")
			}
			tr.train(t, c, 1)
		})
	}
}

// TestEmptyStreamsEndCleanly: a client may think better of it.
func TestEmptyStreamsEndCleanly(t *testing.T) {
	c := start(t, Options{})
	rates, err := c.StreamLearningRates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := rates.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := lastError(rates.Recv); err != nil {
		t.Error(err)
	}
	reports, err := c.ReportStatistics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := reports.CloseAndRecv(); err != nil || reply.AppliedCount != 0 {
		t.Errorf("%v, %v", reply, err)
	}
}

// reportSteps reports the trainer's next steps at a rate that it declares.
func reportSteps(t *testing.T, c pb.LearningRateServiceClient, tr *trainer, steps int, rate float64) (*pb.ReportStatisticsResponse, error) {
	t.Helper()
	stream, err := c.ReportStatistics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range steps {
		req := &pb.ReportStatisticsRequest{Step: tr.step, Statistics: tr.statistics()}
		if i == 0 {
			req.RunId = tr.run
		} else {
			req.AppliedLearningRates = []float64{rate}
		}
		if err := stream.Send(req); err != nil {
			break // CloseAndRecv tells why
		}
		tr.descend(rate)
	}
	return stream.CloseAndRecv()
}

// TestReportsCount: reports move the run on, and a repetition is not a new one.
func TestReportsCount(t *testing.T) {
	c := start(t, Options{})
	create(t, c, sketched("r"))
	tr := newTrainer("r", threeScales(), 15)
	tr.train(t, c, 3)
	at := tr.clone()
	reply, err := reportSteps(t, c, tr, 1, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	sameMessage(t, "reply", reply, &pb.ReportStatisticsResponse{AppliedCount: 1, LatestStep: proto.Int64(3)})
	before := snapshot(t, c, "r")
	reply, err = reportSteps(t, c, at, 1, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	sameMessage(t, "reply to a repetition", reply, &pb.ReportStatisticsResponse{LatestStep: proto.Int64(3)})
	if !bytes.Equal(before.Snapshot, snapshot(t, c, "r").Snapshot) {
		t.Error("a repetition has changed the run")
	}
}

// TestRateAfterReports: a step that was only reported was taken at the upcoming
// rate the trainer held, not at what the controller would have advised; where
// there was none, the trainer must say. Upcoming rates are put into the run's
// state, so that the test does not hang on when the controller gives some.
func TestRateAfterReports(t *testing.T) {
	d, err := declare(sketched("r"))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(step int64, upcoming ...float64) *pb.GetLearningRateResponse {
		return &pb.GetLearningRateResponse{Step: step, Upcoming: upcomingOf(1, upcoming)}
	}
	given := answer(10, 0.5, 0.25)
	own := []float64{0.75}
	for name, tt := range map[string]struct {
		answer, advised *pb.GetLearningRateResponse
		step            int64
		applied         []float64
		want            float64 // NaN: the advised one; 0: refused
	}{
		"before any step":           {nil, nil, 0, nil, nan},
		"after an answer":           {given, given, 11, nil, nan},
		"after an answer, declared": {given, given, 11, own, 0.75},
		"after one report":          {answer(11), given, 12, nil, 0.5},
		"after two reports":         {answer(12), given, 13, nil, 0.25},
		"after three reports":       {answer(13), given, 14, nil, 0},
		"after three, declared":     {answer(13), given, 14, own, 0.75},
		"a step left out":           {answer(11), given, 13, nil, 0.25},
		"nothing but reports":       {answer(0), nil, 1, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(runKey{access.DefaultTenant, "r"}, state{decl: d, answer: tt.answer, advised: tt.advised})
			got, err := r.appliedRate(&report{step: tt.step, applied: tt.applied})
			if tt.want == 0 {
				wantRefusal(t, err, refusal{codes.InvalidArgument, ReasonAppliedRateRequired, "applied_learning_rates"})
			} else if err != nil || got != tt.want && !(got != got && tt.want != tt.want) {
				t.Errorf("%v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// TestReportedStepCanBeAskedFor: after a report, the same step's answer is
// there for the asking, and the trainer is then taken to follow it.
func TestReportedStepCanBeAskedFor(t *testing.T) {
	c := start(t, Options{})
	create(t, c, sketched("r"))
	tr := newTrainer("r", threeScales(), 15)
	tr.train(t, c, 3)
	if _, err := reportSteps(t, c, tr.clone(), 1, 0.1); err != nil {
		t.Fatal(err)
	}
	tr.train(t, c, 2) // the second step would be refused after a mere report
}

// TestMiniBatches: batch_id tells which pairs are of one batch; it is part of
// the state.
func TestMiniBatches(t *testing.T) {
	d, err := declare(&pb.Run{Dimension: 1, BatchKind: pb.BatchKind_BATCH_KIND_MINI, FallbackLearningRate: proto.Float64(0.1)})
	if err != nil {
		t.Fatal(err)
	}
	one, two := proto.Uint64(1), proto.Uint64(2)
	for name, tt := range map[string]struct {
		before, now *uint64
		want        bool
	}{
		"held": {one, one, true}, "changed": {one, two, false}, "named now": {nil, one, false},
		"not named now": {one, nil, false}, "never named": {nil, nil, false},
	} {
		r := newRun(runKey{access.DefaultTenant, "r"}, state{decl: d})
		r.hasBatch, r.batch = tt.before != nil, (&pb.Statistics{BatchId: tt.before}).GetBatchId()
		o, err := r.observation(&report{step: 1, statistics: &pb.Statistics{BatchId: tt.now}}, nil)
		if err != nil || o.SameBatch != tt.want {
			t.Errorf("%s: same batch %v, %v, want %v", name, o.SameBatch, err, tt.want)
		}
	}
}

// TestHeldBatchesGiveTheRate: a trainer with momentum that honours
// hold_batch_steps is served multiples of the reciprocal sharpness, 4 here.
func TestHeldBatchesGiveTheRate(t *testing.T) {
	const momentum = 0.9
	c := start(t, Options{})
	create(t, c, &pb.Run{
		RunId: "r", Dimension: 3, BatchKind: pb.BatchKind_BATCH_KIND_MINI, FallbackLearningRate: proto.Float64(1e-3),
		UpdateRule: pb.UpdateRule_UPDATE_RULE_NESTEROV, Momentum: momentum, Sketch: &pb.SketchSpec{Dimension: 15},
	})
	tr := newTrainer("r", []float64{4, 1, 0.1}, 15)
	v := make([]float64, 3)
	batch, held := uint64(0), int32(0)
	var last *pb.GetLearningRateResponse
	for range 120 {
		if held == 0 {
			batch++
			for i := range tr.x {
				tr.x[i] += float64(batch%2) - 0.5 // another batch has another minimum
			}
		}
		req := tr.request()
		req.Statistics.BatchId = proto.Uint64(batch)
		var err error
		if last, err = c.GetLearningRate(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		held = last.HoldBatchSteps
		for i, h := range tr.hessian {
			g := h * tr.x[i]
			v[i] = momentum*v[i] + g
			tr.x[i] -= last.Rates[0].LearningRate * (g + momentum*v[i])
		}
		tr.step++
	}
	want := 2 * math.Pow(1-momentum, 2.0/3) / 4 / 2 // no horizon: half
	if got := last.Rates[0].LearningRate; last.Explanation.Reason != pb.Reason_REASON_PLANNED || got < 0.99*want || got > 2*want {
		t.Errorf("rate %v, want %v to %v: %v", got, want, 2*want, last.Explanation)
	}
	spectrum, err := c.GetSpectrum(t.Context(), &pb.GetSpectrumRequest{RunId: "r"})
	if err != nil || len(spectrum.Spectrum.RitzValues) != 1 {
		t.Errorf("spectrum %v, %v, want the sharpness", spectrum, err)
	}
}

// TestEndOfARunEndsItsStreams: a deleted or restored run's streams of rates and
// reports are aborted while they wait for their clients.
func TestEndOfARunEndsItsStreams(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(t *testing.T, c pb.LearningRateServiceClient, snap []byte)
		want string
	}{
		"deleted": {deleteRun, ReasonRunDeleted},
		"restored": {func(t *testing.T, c pb.LearningRateServiceClient, snap []byte) {
			if _, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: snap, Overwrite: true}); err != nil {
				t.Fatal(err)
			}
		}, ReasonRunRestored},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, Options{})
			create(t, c, sketched("r"))
			tr := newTrainer("r", threeScales(), 15)
			tr.train(t, c, 2)
			snap := snapshot(t, c, "r").Snapshot
			reports, err := c.ReportStatistics(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			err = reports.Send(&pb.ReportStatisticsRequest{RunId: "r", Step: 2, Statistics: tr.statistics()})
			if err != nil {
				t.Fatal(err)
			}
			settle(t, "report applied", func() bool { return snapshot(t, c, "r").GetLatestStep() == 2 })
			rates, err := c.StreamLearningRates(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := rates.Send(&pb.StreamLearningRatesRequest{Request: tr.request()}); err != nil {
				t.Fatal(err)
			}
			if _, err := rates.Recv(); err != nil {
				t.Fatal(err)
			}
			tt.end(t, c, snap)
			wantRefusal(t, lastError(rates.Recv), refusal{codes.Aborted, tt.want, ""})
			wantRefusal(t, reports.RecvMsg(new(pb.ReportStatisticsResponse)), refusal{codes.Aborted, tt.want, ""})
		})
	}
}
