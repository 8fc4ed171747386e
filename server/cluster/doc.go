// Package cluster lets several replicas of the service share the runs of one
// NATS cluster: at any time at most one of them, its owner, advises a run, and
// the others hand calls on to it.
//
// A replica holds one lease, a key with a time to live that it renews (bucket
// LEASES), and claims runs under it (bucket OWNERS), with compare-and-set. A
// claim is good while the lease is, so that thousands of runs cost no more
// renewals than one. When a lease ends, any replica may claim its runs.
//
// Leases are about who answers, and rest on clocks that run at like rates. That
// no acknowledged step is lost rests on none: the journal takes an event only
// behind the one that its writer has seen last (decision 0042).
//
// The package knows runs by name and calls as bytes.
package cluster
