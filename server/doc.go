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
// Each run has one mutex, held while the controller works, and never while
// waiting for the network or orthogonalising vectors. Locks are taken in the
// order store, run, watcher.
package server
