package server

import (
	"context"
	"errors"
	"time"

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
	r, err := s.place(ctx, id, restored, req.Overwrite)
	if err != nil {
		return nil, err
	}
	s.log.Info("run restored", "run", id, "latest step", restored.latestStep())
	if err := r.lock(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	return &pb.RestoreRunResponse{Run: r.view()}, nil
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
func (s *Server) place(ctx context.Context, id string, restored state, overwrite bool) (*run, error) {
	for {
		if ctx.Err() != nil {
			return nil, interrupted(ctx)
		}
		fresh := newRun(id, restored)
		err := s.runs.Create(ctx, id, fresh)
		if err == nil {
			return fresh, nil
		}
		if !errors.Is(err, store.ErrExists) {
			return nil, storeError(err, id, s.options.MaxRuns)
		}
		if !overwrite {
			return nil, runExists(id, "set overwrite to replace it, or restore under another run_id")
		}
		existing, err := s.runs.Get(ctx, id)
		if err == nil && existing.replace(restored, s.options.Now) {
			return existing, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, storeError(err, id, s.options.MaxRuns)
		}
		// The run was deleted in between.
	}
}

// replace puts the run into another state; streams of rates, reports and
// estimates on it are aborted, watchers told. It reports false when the run was
// deleted.
func (r *run) replace(s state, now func() time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted {
		return false
	}
	r.end(errRestored)
	r.life, r.end = context.WithCancelCause(context.Background())
	r.state = s
	if len(r.watchers) > 0 {
		r.publish(now(), &pb.WatchRunResponse{Event: &pb.WatchRunResponse_Restored{
			Restored: &pb.RestoredEvent{LatestStep: stepOrAbsent(s.latestStep())},
		}})
	}
	return true
}
