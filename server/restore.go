package server

import (
	"context"
	"errors"
	"time"

	journalv1 "multirate/proto/multirate/journal/v1"
	pb "multirate/proto/multirate/v1"
	"multirate/server/store"
)

func unixNano(n int64) time.Time { return time.Unix(0, n).UTC() }

// SnapshotRun implements the RPC of that name.
func (s *Server) SnapshotRun(ctx context.Context, req *pb.SnapshotRunRequest) (*pb.SnapshotRunResponse, error) {
	r, err := s.lookup(ctx, req.GetRunId())
	if err != nil {
		return nil, err
	}
	if err := r.lock(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	b, err := r.encode()
	if err != nil {
		return nil, coreError(err)
	}
	return &pb.SnapshotRunResponse{Snapshot: b, LatestStep: stepOrAbsent(r.latestStep())}, nil
}

// RestoreRun implements the RPC of that name.
func (s *Server) RestoreRun(ctx context.Context, req *pb.RestoreRunRequest) (*pb.RestoreRunResponse, error) {
	if err := validateRestore(req); err != nil {
		return nil, err
	}
	restored, err := decodeState(req.Snapshot)
	if err != nil {
		return nil, snapshotError(err)
	}
	id := restored.decl.run.RunId
	if req.RunId != "" {
		id = req.RunId
		restored.decl.run.RunId = id
	}
	view, err := s.place(ctx, keyOf(ctx, id), restored, req.Overwrite)
	if err != nil {
		return nil, err
	}
	s.log.Info("run restored", "run", keyOf(ctx, id), "latest step", restored.latestStep())
	return &pb.RestoreRunResponse{Run: view}, nil
}

func validateRestore(req *pb.RestoreRunRequest) error {
	var v violations
	if n := len(req.GetSnapshot()); n == 0 {
		v.add(ReasonRequired, "snapshot", "is missing: send the bytes that SnapshotRun returned")
	} else if n > maxSnapshotBytes {
		v.add(ReasonOutOfRange, "snapshot", "has %d bytes, at most %d are allowed: send the bytes that SnapshotRun returned", n, maxSnapshotBytes)
	}
	if req.GetRunId() != "" {
		v.runID("run_id", req.GetRunId())
	}
	return v.err()
}

// place puts a restored state into a run of that id, new or overwritten.
func (s *Server) place(ctx context.Context, key runKey, restored state, overwrite bool) (*pb.Run, error) {
	event := &journalv1.Event{}
	if s.options.Journal != nil {
		b, err := restored.encode()
		if err != nil {
			return nil, coreError(err)
		}
		event.Change = &journalv1.Event_Restored{Restored: &journalv1.RestoredEvent{Snapshot: b}}
	}
	for {
		if ctx.Err() != nil {
			return nil, interrupted(ctx)
		}
		view, err := s.begin(ctx, newRun(key, restored), s.options.Now, event)
		if !errors.Is(err, store.ErrExists) {
			return view, err
		}
		if !overwrite {
			return nil, runExists(key.id, "set overwrite to replace it, or restore under another run_id")
		}
		existing, err := s.runs.Get(ctx, key.String())
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted in between
		}
		if err != nil {
			return nil, storeError(err, key.id, s.options.MaxRuns)
		}
		view, err = existing.replace(restored, event, s.options.Now)
		if view != nil || err != nil {
			return view, err
		}
	}
}

// replace puts the run into another state, once that is kept; streams of rates,
// reports and estimates on it are aborted, watchers told. It returns nothing
// when the run was deleted.
func (r *run) replace(s state, event *journalv1.Event, now func() time.Time) (*pb.Run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted {
		return nil, nil
	}
	if r.left != nil {
		return nil, ended(r.id, r.left)
	}
	if err := r.own(); err != nil {
		return nil, err
	}
	if err := r.mend(); err != nil {
		return nil, err
	}
	if err := r.makeRoom(); err != nil {
		return nil, err
	}
	if err := r.record(now, event); err != nil {
		return nil, journalError(r.id, err)
	}
	r.renew(errRestored)
	r.state = s
	if len(r.watchers) > 0 {
		r.publish(now(), &pb.WatchRunResponse{Event: &pb.WatchRunResponse_Restored{
			Restored: &pb.RestoredEvent{LatestStep: stepOrAbsent(s.latestStep())},
		}})
	}
	return r.view(), nil
}
