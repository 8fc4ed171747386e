package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
	"multirate/server/access"
)

// TestRestoreGoesOnWithTheSameBits: on another server, from any step, a run
// goes on as if it had never stopped, a retry of the latest step included.
func TestRestoreGoesOnWithTheSameBits(t *testing.T) {
	for name, declared := range map[string]*pb.Run{
		"sketches": sketched("r"),
		"scalars":  {RunId: "r", Dimension: 15},
		"groups":   {RunId: "r", Dimension: 15, ParamGroups: []*pb.ParamGroup{{Name: "a", Size: 5}, {Name: "b", Size: 10}}},
		"mini-batches": {RunId: "r", Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15},
			BatchKind: pb.BatchKind_BATCH_KIND_MINI, FallbackLearningRate: proto.Float64(0.1)},
	} {
		for _, steps := range []int{0, 1, 2, 17, 40} {
			t.Run(name, func(t *testing.T) {
				here, there := start(t, Options{}), start(t, Options{})
				create(t, here, declared)
				tr := newTrainer("r", threeScales(), int(declared.GetSketch().GetDimension()))
				tr.train(t, here, max(0, steps-1))
				var last *pb.GetLearningRateRequest
				var answer *pb.GetLearningRateResponse
				if steps > 0 {
					last = tr.request()
					answer = tr.train(t, here, 1)[0]
				}
				snap := snapshot(t, here, "r")
				restored, err := there.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: snap.Snapshot})
				if err != nil {
					t.Fatal(err)
				}
				original, err := here.GetRun(t.Context(), &pb.GetRunRequest{RunId: "r"})
				if err != nil {
					t.Fatal(err)
				}
				sameMessage(t, "run", restored.Run, original.Run)
				if last != nil {
					again, err := there.GetLearningRate(t.Context(), last)
					if err != nil {
						t.Fatal(err)
					}
					sameMessage(t, "retry", again, answer)
				}
				twin := tr.clone()
				want, got := tr.train(t, here, 30), twin.train(t, there, 30)
				for i := range want {
					sameMessage(t, "answer", got[i], want[i])
				}
				if !bytes.Equal(snapshot(t, here, "r").Snapshot, snapshot(t, there, "r").Snapshot) {
					t.Error("the states differ in the end")
				}
			})
		}
	}
}

// TestRestoreOverwrites: a trainer that went back to a checkpoint takes its run
// back with it.
func TestRestoreOverwrites(t *testing.T) {
	c := start(t, Options{})
	create(t, c, sketched("r"))
	tr := newTrainer("r", threeScales(), 15)
	tr.train(t, c, 10)
	checkpoint, snap := tr.clone(), snapshot(t, c, "r")
	want := tr.train(t, c, 10)

	reply, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: snap.Snapshot, Overwrite: true})
	if err != nil || reply.Run.GetLatestStep() != 9 {
		t.Fatalf("RestoreRun = %v, %v", reply, err)
	}
	for i, got := range checkpoint.train(t, c, 10) {
		sameMessage(t, "answer", got, want[i])
	}
}

// TestRestoreUnderAnotherName: a copy is a run of its own.
func TestRestoreUnderAnotherName(t *testing.T) {
	c := start(t, Options{})
	create(t, c, sketched("r"))
	tr := newTrainer("r", threeScales(), 15)
	tr.train(t, c, 5)
	reply, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: snapshot(t, c, "r").Snapshot, RunId: "copy"})
	if err != nil || reply.Run.RunId != "copy" {
		t.Fatalf("RestoreRun = %v, %v", reply, err)
	}
	twin := tr.clone()
	twin.run = "copy"
	want, got := tr.train(t, c, 5), twin.train(t, c, 5)
	for i := range want {
		sameMessage(t, "answer", got[i], want[i])
	}
	// The copy carries its own name on.
	again, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: snapshot(t, c, "copy").Snapshot, Overwrite: true})
	if err != nil || again.Run.RunId != "copy" {
		t.Errorf("RestoreRun = %v, %v", again, err)
	}
}

// trained is the snapshot of a run after some steps.
func trained(t testing.TB, steps int) []byte {
	t.Helper()
	d, err := declare(sketched("r"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newState(d, time.Unix(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	r, tr := newRun(runKey{access.DefaultTenant, "r"}, s), newTrainer("r", threeScales(), 15)
	for range steps {
		a, err := r.advise(reportOf(tr.request()), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		tr.descend(a.answer.Rates[0].LearningRate)
	}
	b, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sealed puts the right checksum on a snapshot.
func sealed(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[8:], snapshotChecksum(b))
	return b
}

// TestDamagedSnapshotsAreDataLoss: any flipped bit, cut or addition is found.
func TestDamagedSnapshotsAreDataLoss(t *testing.T) {
	good := trained(t, 20)
	if _, err := decodeState(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if _, err := decodeState(bad); !errors.Is(err, errDamaged) {
			t.Fatalf("bit %d of byte %d: %v", i%8, i, err)
		}
		if _, err := decodeState(good[:i]); !errors.Is(err, errDamaged) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := decodeState(append(bytes.Clone(good), 0)); !errors.Is(err, errDamaged) {
		t.Fatalf("one byte more: %v", err)
	}
	c := start(t, Options{})
	_, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: good[:100]})
	wantRefusal(t, err, refusal{codes.DataLoss, ReasonSnapshotDamaged, ""})
}

// TestForeignSnapshotsAreRefused: bytes that a later version wrote, or that
// contradict themselves under a right checksum, are not read.
func TestForeignSnapshotsAreRefused(t *testing.T) {
	const created = snapshotHeader
	for name, change := range map[string]func([]byte) []byte{
		"a later version": func(b []byte) []byte { b[4] = 2; return b },
		"unknown flags":   func(b []byte) []byte { b[created+8] |= 0x80; return b },
		"a spectrum of the future": func(b []byte) []byte {
			binary.LittleEndian.PutUint64(b[created+25:], 1<<40)
			return b
		},
		"an answer that is missing": func(b []byte) []byte { b[created+8] &^= snapshotHasAnswer; return b },
		"bytes behind the end":      func(b []byte) []byte { return append(b, 1, 2, 3) },
		"a section too long": func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[created+41:], math.MaxUint32)
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, Options{})
			_, err := c.RestoreRun(t.Context(), &pb.RestoreRunRequest{Snapshot: sealed(change(trained(t, 3)))})
			wantRefusal(t, err, refusal{codes.FailedPrecondition, ReasonSnapshotVersion, ""})
		})
	}
}

// FuzzDecodeState: whatever the body, decoding either fails or yields a state
// that encodes and serves.
func FuzzDecodeState(f *testing.F) {
	for _, steps := range []int{0, 1, 5, 30} {
		f.Add(trained(f, steps)[snapshotHeader:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b := sealed(append([]byte(snapshotMagic+"\x01\x00\x00\x00\x00\x00\x00\x00"), body...))
		s, err := decodeState(b)
		if err != nil {
			if !errors.Is(err, errVersion) {
				t.Fatalf("%v", err)
			}
			return
		}
		r := newRun(runKey{access.DefaultTenant, "r"}, s)
		if _, err := r.encode(); err != nil {
			t.Fatal(err)
		}
		step := r.latestStep()
		if step == math.MaxInt64 {
			return
		}
		_, err = r.advise(&report{step: step + 1, asked: true, applied: make([]float64, len(s.decl.groups)),
			statistics: &pb.Statistics{GradientNormSquared: proto.Float64(1), Loss: proto.Float64(1)}}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
	})
}
