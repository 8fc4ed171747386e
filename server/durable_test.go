package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "multirate/proto/multirate/v1"
	"multirate/server/journal"
)

func openJournal(t testing.TB, options journal.Options) *journal.Journal {
	t.Helper()
	options.Logger = quiet
	options.ReserveBytes = 1
	j, err := journal.Open(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// openUntilEnd is openJournal until the test ends.
func openUntilEnd(t testing.TB, options journal.Options) *journal.Journal {
	j := openJournal(t, options)
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// durable is a client of a server on the journal in dir, until crash is called:
// the server is then gone without the snapshots of a good stop.
func durable(t testing.TB, dir string, options Options) (c pb.LearningRateServiceClient, crash func()) {
	t.Helper()
	j := openJournal(t, journal.Options{Dir: dir})
	options.Journal, options.Logger = j, quiet
	s := New(options)
	if err := s.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	closed := false
	crash = func() {
		if !closed {
			closed = true
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	c = serveExisting(t, s)
	t.Cleanup(crash)
	return c, crash
}

// TestRecoveredRunsGoOnWithTheSameBits compares a run whose server ends after
// every few steps with one that is left alone.
func TestRecoveredRunsGoOnWithTheSameBits(t *testing.T) {
	dir, id := t.TempDir(), "run.with-all_kinds"
	declared := &pb.Run{RunId: id, Dimension: 15, LossLowerBound: proto.Float64(0), Sketch: &pb.SketchSpec{Dimension: 15}}
	at := time.Unix(1_700_000_000, 12345)
	options := Options{Now: func() time.Time { return at }}
	undisturbed := start(t, options)
	create(t, undisturbed, declared)
	want := newTrainer(id, threeScales(), 15)
	got := want.clone()
	for life := range 4 {
		c, crash := durable(t, dir, options)
		if life == 0 {
			create(t, c, declared)
		}
		if life == 2 { // a spectrum from products lies behind the latest snapshot
			for _, client := range []pb.LearningRateServiceClient{undisturbed, c} {
				req := &pb.ReportLanczosRequest{RunId: id, Coefficients: &pb.LanczosCoefficients{Alpha: []float64{1, 0.01}, Beta: []float64{1e-6}}}
				if _, err := client.ReportLanczos(t.Context(), req); err != nil {
					t.Fatal(err)
				}
			}
		}
		steps := 10 + 60*life
		a, b := want.train(t, undisturbed, steps), got.train(t, c, steps)
		for i := range a {
			sameMessage(t, fmt.Sprintf("life %d, answer %d", life, i), b[i], a[i])
		}
		if a, b := snapshot(t, undisturbed, id), snapshot(t, c, id); !bytes.Equal(a.Snapshot, b.Snapshot) {
			t.Errorf("life %d: snapshots differ", life)
		}
		crash()
	}
}

// TestRecoveryKeepsWhatWasAcknowledged does anything to a few runs, ends the
// server at any moment, and compares every run's snapshot.
func TestRecoveryKeepsWhatWasAcknowledged(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b.c"})
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "multirate")
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		c, crash := durable(t, dir, Options{})
		defer func() { crash() }()
		trainers := map[string]*trainer{}
		var saved []byte
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				id := names.Draw(rt, "run")
				_, err := c.CreateRun(t.Context(), &pb.CreateRunRequest{Run: &pb.Run{RunId: id, Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}}})
				if err != nil {
					rt.Fatal(err)
				}
				if trainers[id] == nil {
					trainers[id] = newTrainer(id, threeScales(), 15)
				}
			},
			"steps": func(rt *rapid.T) {
				if tr := trainers[names.Draw(rt, "run")]; tr != nil {
					for range rapid.IntRange(1, 40).Draw(rt, "steps") {
						answer, err := c.GetLearningRate(t.Context(), tr.request())
						if err != nil {
							rt.Fatal(err)
						}
						tr.descend(answer.Rates[0].LearningRate)
					}
				}
			},
			"report, then ask": func(rt *rapid.T) {
				tr := trainers[names.Draw(rt, "run")]
				if tr == nil {
					return
				}
				stream, err := c.ReportStatistics(t.Context())
				if err != nil {
					rt.Fatal(err)
				}
				report := &pb.ReportStatisticsRequest{RunId: tr.run, Step: tr.step, Statistics: tr.statistics()}
				if err := stream.Send(report); err != nil {
					rt.Fatal(err)
				}
				if _, err := stream.CloseAndRecv(); err != nil {
					rt.Fatal(err)
				}
				if rapid.Bool().Draw(rt, "ask") {
					if _, err := c.GetLearningRate(t.Context(), tr.request()); err != nil {
						rt.Fatal(err)
					}
				}
				delete(trainers, tr.run) // its next step would have to tell its rate
				if _, err := c.DeleteRun(t.Context(), &pb.DeleteRunRequest{RunId: tr.run}); rapid.Bool().Draw(rt, "delete") == (err != nil) && err != nil {
					rt.Fatal(err)
				}
			},
			"save": func(rt *rapid.T) {
				if tr := trainers[names.Draw(rt, "run")]; tr != nil {
					saved = snapshot(t, c, tr.run).Snapshot
				}
			},
			"restore": func(rt *rapid.T) {
				if id := names.Draw(rt, "run"); saved != nil {
					resp, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{RunId: id, Snapshot: saved, Overwrite: true})
					if err != nil {
						rt.Fatal(err)
					}
					tr := newTrainer(id, threeScales(), 15)
					tr.step = resp.Run.GetLatestStep() + 1
					if resp.Run.LatestStep == nil {
						tr.step = 0
					}
					trainers[id] = tr
				}
			},
			"end": func(rt *rapid.T) {
				before := map[string][]byte{}
				for id := range trainers {
					before[id] = snapshot(t, c, id).Snapshot
				}
				crash()
				c, crash = durable(t, dir, Options{})
				for id, want := range before {
					if got := snapshot(t, c, id).Snapshot; !bytes.Equal(got, want) {
						rt.Fatalf("run %s came back otherwise", id)
					}
				}
				list, err := c.ListRuns(t.Context(), &pb.ListRunsRequest{})
				if err != nil || len(list.Runs) != len(trainers) {
					rt.Fatalf("%d runs, %v, want %d", len(list.GetRuns()), err, len(trainers))
				}
			},
		})
	})
}

// failing fails chosen appends, before or after they take place, and saves.
type failing struct {
	*journal.Journal
	before, after, saves atomic.Bool
}

func (f *failing) Save(ctx context.Context, run string, s journal.Snapshot) (uint64, error) {
	if f.saves.Load() {
		return 0, journal.ErrUnavailable
	}
	return f.Journal.Save(ctx, run, s)
}

// TestUnsavedEventsAreNotForgotten: where no snapshot can be saved, a run stops
// before the journal forgets events that recovery needs.
func TestUnsavedEventsAreNotForgotten(t *testing.T) {
	j := &failing{Journal: openUntilEnd(t, journal.Options{Dir: t.TempDir(), KeepEvents: journal.LeastKept})}
	c := serveExisting(t, New(Options{Logger: quiet, Journal: j}))
	create(t, c, &pb.Run{RunId: "r", Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}})
	tr := newTrainer("r", threeScales(), 15)
	j.saves.Store(true)
	var err error
	for err == nil && tr.step < 2*journal.LeastKept {
		var answer *pb.GetLearningRateResponse
		if answer, err = c.GetLearningRate(t.Context(), tr.request()); err == nil {
			tr.descend(answer.Rates[0].LearningRate)
		}
	}
	wantRefusal(t, err, refusal{codes.Unavailable, ReasonJournalUnavailable, ""})
	j.saves.Store(false)
	tr.train(t, c, 5)
	saved := snapshot(t, c, "r").Snapshot
	for range journal.LeastKept + 1 { // changes behind which nothing is saved by itself
		if _, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: saved, Overwrite: true}); err != nil {
			t.Fatal(err)
		}
	}
	want := snapshot(t, c, "r").Snapshot
	again := New(Options{Logger: quiet, Journal: j})
	if err := again.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, serveExisting(t, again), "r").Snapshot; !bytes.Equal(got, want) {
		t.Error("the run came back otherwise")
	}
}

func (f *failing) Append(ctx context.Context, run string, last uint64, event []byte) (uint64, error) {
	if f.before.Swap(false) {
		return 0, journal.ErrUnavailable
	}
	sequence, err := f.Journal.Append(ctx, run, last, event)
	if f.after.Swap(false) {
		return 0, errors.Join(err, journal.ErrUnavailable)
	}
	return sequence, err
}

// TestUnknownOutcomesAreLookedUp: a step whose event may have been kept or not
// is answered alike when it is asked for again.
func TestUnknownOutcomesAreLookedUp(t *testing.T) {
	j := &failing{Journal: openUntilEnd(t, journal.Options{Dir: t.TempDir()})}
	c := serveExisting(t, New(Options{Logger: quiet, Journal: j}))
	undisturbed := start(t, Options{})
	declared := &pb.Run{RunId: "r", Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}}
	create(t, undisturbed, declared)
	unavailable := refusal{codes.Unavailable, ReasonJournalUnavailable, ""}

	j.after.Store(true)
	_, err := c.CreateRun(t.Context(), &pb.CreateRunRequest{Run: declared})
	wantRefusal(t, err, unavailable)
	create(t, c, declared)

	want := newTrainer("r", threeScales(), 15)
	got := want.clone()
	for i := range 80 {
		j.before.Store(i%5 == 1)
		j.after.Store(i%5 == 3)
		if i%5 == 1 || i%5 == 3 {
			_, err := c.GetLearningRate(t.Context(), got.request())
			wantRefusal(t, err, unavailable)
		}
		a, b := want.train(t, undisturbed, 1), got.train(t, c, 1)
		sameMessage(t, fmt.Sprintf("answer %d", i), b[0], a[0])
	}
	j.after.Store(true)
	if _, err := c.DeleteRun(t.Context(), &pb.DeleteRunRequest{RunId: "r"}); err != nil {
		t.Fatal(err)
	}
	j.after.Store(false)
	create(t, c, declared)
}

func TestFullJournalRefusesAndGoesOn(t *testing.T) {
	j := openUntilEnd(t, journal.Options{Dir: t.TempDir(), MaxBytes: 64 << 10})
	c := serveExisting(t, New(Options{Logger: quiet, Journal: j}))
	for _, id := range []string{"a", "b"} {
		create(t, c, &pb.Run{RunId: id, Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}})
	}
	a, b := newTrainer("a", threeScales(), 15), newTrainer("b", threeScales(), 15)
	b.train(t, c, 30)
	var err error
	for err == nil {
		var answer *pb.GetLearningRateResponse
		if answer, err = c.GetLearningRate(t.Context(), a.request()); err == nil {
			a.descend(answer.Rates[0].LearningRate)
		}
	}
	wantRefusal(t, err, refusal{codes.ResourceExhausted, ReasonJournalFull, ""})
	run, err := c.GetRun(t.Context(), &pb.GetRunRequest{RunId: "a"})
	if err != nil || run.Run.GetLatestStep() != a.step-1 {
		t.Errorf("latest step %d, %v, want %d: the refused step was taken", run.GetRun().GetLatestStep(), err, a.step-1)
	}
	if _, err := c.DeleteRun(t.Context(), &pb.DeleteRunRequest{RunId: "b"}); err != nil {
		t.Fatal(err)
	}
	a.train(t, c, 5)
}

// TestClockJumpsBack: times come from the clock, and nothing else does.
func TestClockJumpsBack(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	options := Options{Now: func() time.Time { now = now.Add(-time.Hour); return now }}
	undisturbed := start(t, Options{})
	declared := &pb.Run{RunId: "r", Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}}
	create(t, undisturbed, declared)
	want := newTrainer("r", threeScales(), 15)
	got := want.clone()
	for life := range 3 {
		c, crash := durable(t, dir, options)
		if life == 0 {
			create(t, c, declared)
		}
		a, b := want.train(t, undisturbed, 70), got.train(t, c, 70)
		for i := range a {
			sameMessage(t, "answer", b[i], a[i])
		}
		crash()
	}
}

// TestDamagedFiles: a run whose last events are damaged is as it was before
// them.
func TestDamagedFiles(t *testing.T) {
	for name, at := range map[string]func(size int) int{
		"in the last event":  func(size int) int { return size - 40 },
		"in the middle":      func(size int) int { return size / 2 },
		"in the first event": func(int) int { return 40 },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c, crash := durable(t, dir, Options{})
			create(t, c, &pb.Run{RunId: "r", Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}})
			tr := newTrainer("r", threeScales(), 15)
			var states [][]byte
			for range 20 {
				states = append(states, snapshot(t, c, "r").Snapshot)
				tr.train(t, c, 1)
			}
			states = append(states, snapshot(t, c, "r").Snapshot)
			crash()
			flip(t, dir, at)
			c, _ = durable(t, dir, Options{})
			list, err := c.ListRuns(t.Context(), &pb.ListRunsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Runs) != 1 {
				t.Fatalf("%d runs, want 1", len(list.Runs))
			}
			got := snapshot(t, c, "r").Snapshot
			step := list.Runs[0].GetLatestStep() + 1 // as many were taken
			t.Logf("%d of 20 steps are left", step)
			if !bytes.Equal(got, states[step]) {
				t.Errorf("the run did not come back as it was at step %d", step)
			}
			if name == "in the last event" && step != 19 {
				t.Errorf("%d steps are left, want 19", step)
			}
		})
	}
}

// holed lacks one event.
type holed struct{ Journal }

func (h holed) Events(ctx context.Context, run string, behind uint64, do func(journal.Event) error) error {
	n := 0
	return h.Journal.Events(ctx, run, behind, func(e journal.Event) error {
		if n++; n == 2 {
			return nil
		}
		return do(e)
	})
}

// TestMissingEventsAreTold: a run with a hole in its history is not advised from
// what is left, but can be brought back from a checkpoint, or deleted.
func TestMissingEventsAreTold(t *testing.T) {
	j := openUntilEnd(t, journal.Options{Dir: t.TempDir()})
	before := serveExisting(t, New(Options{Logger: quiet, Journal: j}))
	create(t, before, &pb.Run{RunId: "r", Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15}})
	tr := newTrainer("r", threeScales(), 15)
	tr.train(t, before, 20)
	checkpoint := snapshot(t, before, "r").Snapshot

	s := New(Options{Logger: quiet, Journal: holed{j}})
	if err := s.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := serveExisting(t, s)
	damaged := refusal{codes.DataLoss, ReasonHistoryDamaged, ""}
	_, err := c.GetLearningRate(t.Context(), tr.request())
	wantRefusal(t, err, damaged)
	_, err = c.CreateRun(t.Context(), &pb.CreateRunRequest{Run: &pb.Run{RunId: "r", Dimension: 15}})
	wantRefusal(t, err, damaged)
	if _, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: checkpoint, Overwrite: true}); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, c, "r").Snapshot; !bytes.Equal(got, checkpoint) {
		t.Error("restored otherwise")
	}
	tr.train(t, c, 3)
	if _, err := c.DeleteRun(t.Context(), &pb.DeleteRunRequest{RunId: "r"}); err != nil {
		t.Error(err)
	}
}

// flip inverts a byte of the file of events.
func flip(t *testing.T, dir string, at func(size int) int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream/*/streams/EVENTS/msgs/*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files of events: %q, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[at(len(b))] ^= 0xff
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	// What a good stop leaves beside it would hide the damage until it is read.
	if err := os.Remove(filepath.Join(filepath.Dir(files[0]), "index.db")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
