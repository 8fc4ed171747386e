// Package server offers the scheduler and the estimator as the gRPC service
// multirate.v1.LearningRateService. It translates and guards, and decides
// nothing about learning rates itself.
//
// There is one file for each RPC or small family of them, which resolves the
// run, validates the request, calls the core and translates the result. Every
// refusal is made in status.go and validate*.go, and leaves the run as it was.
//
// # Locks
//
// Each run has one mutex, held while the controller works and while the journal
// keeps what has changed, and never while waiting for a client or
// orthogonalising vectors. A run holds it while the store takes it in or out;
// the store never calls into a run, and a watcher into neither.
//
// # Durability
//
// fold.go makes a run's state of its events, ledger.go keeps each event before
// the call that caused it is answered, recover.go brings runs back at a start.
// What could not be kept is undone by folding the history again.
package server
