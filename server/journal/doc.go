// Package journal keeps the histories of runs on disk: for each run its events
// in order, and a snapshot from which a fold of the later events starts. It
// knows bytes and order, and nothing of what they mean.
//
// Storage is NATS JetStream, embedded in this process without a listening port
// (decision 0013): one stream of events with a subject for each run, and one
// key-value bucket of snapshots. An event is acknowledged once the stream has
// written it to its file. With [SyncInterval] the kernel may still hold it, so
// that a killed process loses nothing, and a power cut up to a second; with
// [SyncAlways] it is on the disk.
package journal
