package store

import (
	"context"
	"slices"
	"sync"
)

// Memory keeps runs in the memory of this process; they end with it. The zero
// value is an empty store without a limit.
type Memory[R any] struct {
	// Limit is the number of runs at most. 0: no limit.
	Limit int

	mu   sync.RWMutex
	runs map[string]R
	ids  []string // the keys of runs, ascending
}

var _ Store[int] = (*Memory[int])(nil)

// Create implements [Store].
func (m *Memory[R]) Create(_ context.Context, id string, run R) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.runs[id]; ok {
		return ErrExists
	}
	if m.Limit > 0 && len(m.runs) >= m.Limit {
		return ErrFull
	}
	if m.runs == nil {
		m.runs = make(map[string]R)
	}
	m.runs[id] = run
	at, _ := slices.BinarySearch(m.ids, id)
	m.ids = slices.Insert(m.ids, at, id)
	return nil
}

// Get implements [Store].
func (m *Memory[R]) Get(_ context.Context, id string) (R, error) {
	m.mu.RLock()
	run, ok := m.runs[id]
	m.mu.RUnlock()
	if !ok {
		return run, ErrNotFound
	}
	return run, nil
}

// List implements [Store].
func (m *Memory[R]) List(_ context.Context, after string, limit int) ([]R, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	at, found := slices.BinarySearch(m.ids, after)
	if found {
		at++
	}
	ids := m.ids[at:]
	ids = ids[:min(len(ids), limit)]
	runs := make([]R, len(ids))
	for i, id := range ids {
		runs[i] = m.runs[id]
	}
	return runs, nil
}

// Delete implements [Store].
func (m *Memory[R]) Delete(_ context.Context, id string) (R, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	run, ok := m.runs[id]
	if !ok {
		return run, ErrNotFound
	}
	delete(m.runs, id)
	at, _ := slices.BinarySearch(m.ids, id)
	m.ids = slices.Delete(m.ids, at, at+1)
	return run, nil
}
