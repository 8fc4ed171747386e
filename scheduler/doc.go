// Package scheduler turns what is known of a loss's curvature into a learning
// rate for each step.
//
// Data flows one way: statistics -> spectrum -> scales -> cycle -> rate.
// [MrGD] and [Chebyshev] make a [Cycle] of rates out of scales, [Controller]
// serves rates one at a time and guards them against what the loss really does.
//
// The package is pure: no clock, no I/O, no goroutine, no randomness. A
// Controller is a state machine whose whole state can be written out and read
// back ([Controller.MarshalBinary]); the same observations from the same state
// give the same rates, bit for bit.
package scheduler
