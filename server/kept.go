package server

import (
	"context"
	"sync"

	"multirate/estimator"
)

// keptVectors are the Ritz vectors of the runs' last estimates, from which the
// next ones start. They count in the memory budget of all estimates and give way
// to estimates that need it, those kept longest first.
type keptVectors struct {
	mu      sync.Mutex
	entries []*keptEntry // oldest first
}

type keptEntry struct {
	run     *run
	vectors *estimator.RitzVectors
	// forget ends the watch on the run's life.
	forget func() bool
}

// take hands out a run's vectors, of the given precision, and frees their share
// of the budget. It returns nil where there are none.
func (k *keptVectors) take(s *Server, r *run, p estimator.Precision) *estimator.RitzVectors {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, e := range k.entries {
		if e.run == r && e.vectors.Precision() == p {
			k.drop(s, i)
			return e.vectors
		}
	}
	return nil
}

// put keeps a run's vectors until its life ends, in place of those it has, as
// long as there is room. vectors may be nil.
func (k *keptVectors) put(life context.Context, s *Server, r *run, vectors *estimator.RitzVectors) {
	if vectors == nil || life.Err() != nil || !s.memory.reserve(vectors.Bytes()) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropRun(s, r)
	e := &keptEntry{run: r, vectors: vectors}
	k.entries = append(k.entries, e)
	e.forget = context.AfterFunc(life, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		for i, other := range k.entries {
			if other == e {
				k.drop(s, i)
				return
			}
		}
	})
}

// makeRoom gives vectors up until so many bytes could be reserved. It reports
// whether they were.
func (k *keptVectors) makeRoom(s *Server, bytes int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.entries) > 0 {
		k.drop(s, 0)
		if s.memory.reserve(bytes) {
			return true
		}
	}
	return false
}

func (k *keptVectors) dropRun(s *Server, r *run) {
	for i, e := range k.entries {
		if e.run == r {
			k.drop(s, i)
			return
		}
	}
}

// drop forgets an entry. The caller holds the lock.
func (k *keptVectors) drop(s *Server, i int) {
	e := k.entries[i]
	e.forget()
	s.memory.release(e.vectors.Bytes())
	k.entries = append(k.entries[:i:i], k.entries[i+1:]...)
}
