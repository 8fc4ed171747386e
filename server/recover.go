package server

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"multirate/server/journal"
)

// Recover brings the runs of the journal back. It must come before the first
// call. A run whose history is damaged is there, too, but each call on it says
// so until it is deleted or restored from a checkpoint.
func (s *Server) Recover(ctx context.Context) error {
	if s.options.Journal == nil {
		return nil
	}
	begin := time.Now()
	names, err := s.options.Journal.Runs(ctx)
	if err != nil {
		return fmt.Errorf("recover runs: %w", err)
	}
	work := make(chan string)
	go func() {
		defer close(work)
		for _, name := range names {
			work <- name
		}
	}()
	var first error
	var once sync.Once
	var events atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for name := range work {
				n, err := s.recoverRun(ctx, name)
				if err != nil {
					once.Do(func() { first = fmt.Errorf("recover run %s: %w", name, err) })
				}
				events.Add(n)
			}
		})
	}
	workers.Wait()
	if first == nil {
		s.log.Info("runs recovered", "runs", len(names), "events", events.Load(), "took", time.Since(begin).Round(time.Millisecond))
	}
	return first
}

// recoverRun returns the number of events that were folded.
func (s *Server) recoverRun(ctx context.Context, name string) (int64, error) {
	key, ok := parseRunKey(name)
	if !ok {
		return 0, errors.New("not a run's name")
	}
	r := newRun(key, state{})
	r.ledger = s.newLedger(key)
	f, err := r.ledger.load()
	switch {
	case errors.Is(err, journal.ErrUnavailable):
		return 0, err
	case err != nil:
		s.log.Error("the history of a run is damaged", "run", key, "error", err)
		r.ledger.broken = err
	case f.deleted || f.index == 0:
		s.log.Info("removal of a run completed", "run", key)
		return 0, r.ledger.journal.Remove(ctx, name, 0, nil)
	case f.drifted > 0:
		s.log.Warn("this version would have answered otherwise; the answers given stand", "run", key, "answers", f.drifted)
	}
	r.state = f.state
	if err := s.runs.Create(ctx, name, r); err != nil {
		return 0, err
	}
	return f.index - r.ledger.saved, nil
}

// saveAll saves every run that has changed, so that the next start has nothing
// to fold. No call may be under way.
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
