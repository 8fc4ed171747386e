// Package store keeps runs by id.
package store

import (
	"context"
	"errors"
)

// Errors of a [Store].
var (
	// ErrNotFound means that there is no run of that id.
	ErrNotFound = errors.New("no such run")
	// ErrExists means that there is a run of that id already.
	ErrExists = errors.New("run exists")
	// ErrFull means that the store holds as many runs as it may; delete some.
	ErrFull = errors.New("store is full")
)

// Store keeps live runs of type R by id. Its methods are safe for concurrent
// use; guarding what happens inside a run is the run's own affair, so no method
// may call into a run.
//
// There is no method that saves a change inside a run: runs that outlive the
// process are brought back from their histories, which are kept elsewhere.
type Store[R any] interface {
	// Create adds a run. ErrExists, ErrFull.
	Create(ctx context.Context, id string, run R) error
	// Get returns the run of that id. ErrNotFound.
	Get(ctx context.Context, id string) (R, error)
	// List returns up to limit runs with ids greater than after, in ascending
	// order of id; fewer only when there are no more.
	List(ctx context.Context, after string, limit int) ([]R, error)
	// Delete takes the run of that id out and returns it. ErrNotFound.
	Delete(ctx context.Context, id string) (R, error)
}
