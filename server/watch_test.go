package server

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "multirate/proto/multirate/v1"
)

// watching opens a WatchRun that is sure to be on when it returns.
func watching(t *testing.T, c pb.LearningRateServiceClient, id string) pb.LearningRateService_WatchRunClient {
	t.Helper()
	stream, err := c.WatchRun(t.Context(), &pb.WatchRunRequest{RunId: id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	return stream
}

func next(t *testing.T, stream pb.LearningRateService_WatchRunClient) *pb.WatchRunResponse {
	t.Helper()
	e, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestWatchersSeeEverything: each kind of event, in order, to each watcher, and
// only of the run watched. Retries are no events.
func TestWatchersSeeEverything(t *testing.T) {
	c := start(t, Options{Now: func() time.Time { return time.Unix(5, 0) }})
	create(t, c, sketched("r"))
	create(t, c, sketched("other"))
	streams := []pb.LearningRateService_WatchRunClient{watching(t, c, "r"), watching(t, c, "r")}

	newTrainer("other", threeScales(), 15).train(t, c, 1)
	tr := newTrainer("r", threeScales(), 15)
	request := tr.request()
	answer := tr.train(t, c, 1)[0]
	if _, err := c.GetLearningRate(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, c, "r")
	spectrum, err := c.ReportLanczos(t.Context(), &pb.ReportLanczosRequest{RunId: "r",
		Coefficients: &pb.LanczosCoefficients{Alpha: []float64{1}, Beta: []float64{0}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: snap.Snapshot, Overwrite: true}); err != nil {
		t.Fatal(err)
	}
	deleteRun(t, c, nil)
	for _, stream := range streams {
		e := next(t, stream)
		if !e.Time.AsTime().Equal(time.Unix(5, 0)) || e.MissedCount != 0 {
			t.Errorf("event %v", e)
		}
		sameMessage(t, "step", e.GetStep(), &pb.StepEvent{Advice: answer, Loss: request.Statistics.Loss,
			GradientNormSquared: *request.Statistics.GradientNormSquared})
		sameMessage(t, "spectrum", next(t, stream).GetSpectrum(), spectrum.Spectrum)
		if e := next(t, stream); e.GetRestored() == nil || e.GetRestored().GetLatestStep() != 0 {
			t.Errorf("want restored, got %v", e)
		}
		if e := next(t, stream); e.GetDeleted() == nil {
			t.Errorf("want deleted, got %v", e)
		}
		wantRefusal(t, lastError(stream.Recv), refusal{codes.Aborted, ReasonRunDeleted, ""})
	}
}

// TestSlowWatcherMissesEvents: the queue keeps the latest events and counts the
// others; nobody waits.
func TestSlowWatcherMissesEvents(t *testing.T) {
	w := newWatcher(3)
	push := func(from, to int64) {
		for i := from; i <= to; i++ {
			w.push(&pb.WatchRunResponse{Event: &pb.WatchRunResponse_Step{Step: &pb.StepEvent{
				Advice: &pb.GetLearningRateResponse{Step: i}}}})
		}
	}
	pop := func(step, missed int64) {
		t.Helper()
		if e := w.pop(); e.GetStep().GetAdvice().GetStep() != step || e.GetMissedCount() != missed {
			t.Errorf("event %v, want step %d after %d missed", e, step, missed)
		}
	}
	push(1, 10)
	pop(8, 7)
	pop(9, 0)
	push(11, 13)
	pop(11, 1)
	pop(12, 0)
	pop(13, 0)
	if e := w.pop(); e != nil {
		t.Errorf("event %v of an empty queue", e)
	}
	push(14, 14)
	pop(14, 0)
}

// TestSlowWatcherHoldsNobodyUp: a watcher that never reads, on a run with far
// more events than buffers of any kind can hold.
func TestSlowWatcherHoldsNobodyUp(t *testing.T) {
	c := start(t, Options{WatchBuffer: 4, StopGrace: time.Millisecond})
	groups := make([]*pb.ParamGroup, 500)
	for i := range groups {
		groups[i] = &pb.ParamGroup{Name: string(rune('Ā' + i)), Size: 1}
	}
	create(t, c, &pb.Run{RunId: "r", Dimension: 500, ParamGroups: groups})
	stream := watching(t, c, "r")
	tr := newTrainer("r", threeScales(), 0)
	const steps = 2000 // of some 7 kB each: 14 MB
	tr.train(t, c, steps)
	got, missed := int64(0), int64(0)
	for got+missed < steps {
		e := next(t, stream)
		got++
		missed += e.MissedCount
		if want := got + missed - 1; e.GetStep().Advice.Step != want {
			t.Fatalf("step %d, want %d after %d missed", e.GetStep().Advice.Step, want, missed)
		}
	}
	if missed == 0 {
		t.Error("the watcher was never slow: the test shows nothing")
	}
}
