package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	journalv1 "multirate/proto/multirate/journal/v1"
	"multirate/server/journal"
)

// Recover brings the runs of the journal back. It must come before the first
// call. A run's history is folded at the first call on it, or by [Server.warm]:
// a fold takes milliseconds, thousands of them seconds. A run whose history
// turns out to be damaged says so at each call until it is deleted or restored
// from a checkpoint.
func (s *Server) Recover(ctx context.Context) error {
	if s.options.Journal == nil || s.options.Cluster != nil {
		return nil // replicas of a cluster find runs as they are called for
	}
	begin := time.Now()
	names, err := s.options.Journal.Runs(ctx)
	if err != nil {
		return fmt.Errorf("recover runs: %w", err)
	}
	for _, name := range names {
		if err := s.recoverRun(ctx, name); err != nil {
			return fmt.Errorf("recover run %s: %w", name, err)
		}
	}
	s.log.Info("runs recovered", "runs", len(names), "took", time.Since(begin).Round(time.Millisecond))
	return nil
}

func (s *Server) recoverRun(ctx context.Context, name string) error {
	key, ok := parseRunKey(name)
	if !ok {
		return errors.New("not a run's name")
	}
	latest, err := s.options.Journal.Latest(ctx, name)
	if err != nil {
		return err
	}
	var event journalv1.Event
	if err := proto.Unmarshal(latest.Data, &event); err == nil && event.GetDeleted() != nil {
		s.log.Info("removal of a run completed", "run", key)
		return s.options.Journal.Remove(ctx, name, 0, nil)
	}
	r := newRun(key, state{})
	r.ledger = s.newLedger(key)
	r.ledger.stale = true
	if err := s.runs.Create(ctx, name, r); err != nil {
		return err
	}
	s.tenants.get(key.tenant).runs.Add(1) // also beyond a limit that has been lowered
	return nil
}

// warm folds the histories of all runs, one after the other, so that few of
// them keep a trainer waiting. It ends early when the server stops.
func (s *Server) warm(ctx context.Context) {
	if s.options.Journal == nil {
		return
	}
	runs, err := s.runs.List(ctx, "", s.options.MaxRuns)
	if err != nil {
		s.log.Warn("histories not folded ahead", "error", err)
	}
	for _, r := range runs {
		select {
		case <-s.stopping:
			return
		default:
		}
		if r.lock() == nil {
			r.mu.Unlock()
		}
	}
}

// saveAll saves every run that has changed, so that the next start has little to
// fold. No call may be under way.
func (s *Server) saveAll(ctx context.Context) {
	if s.options.Journal == nil {
		return
	}
	runs, err := s.runs.List(ctx, "", s.options.MaxRuns)
	if err != nil {
		s.log.Warn("runs not saved", "error", err)
	}
	for _, r := range runs {
		r.mu.Lock()
		s.save(r, 1)
		r.ledger.closed = true
		r.mu.Unlock()
	}
}

// report logs what a fold has found.
func (l *ledger) report(f fold, err error) {
	switch {
	case errors.Is(err, journal.ErrUnavailable):
		l.log.Warn("history not read", "run", l.name, "error", err)
	case err != nil:
		l.log.Error("the history of a run is damaged", "run", l.name, "error", err)
	case f.drifted > 0:
		l.log.Warn("this version would have answered otherwise; the answers given stand", "run", l.name, "answers", f.drifted)
	}
}
