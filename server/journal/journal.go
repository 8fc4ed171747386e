package journal

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	eventStream    = "EVENTS"
	eventSubject   = "event."
	snapshotStream = "KV_SNAPSHOTS"
	snapshotPrefix = "$KV.SNAPSHOTS."
)

// Journal is an open journal: a folder of this process's own, see [Open], or a
// NATS cluster's, see [Connect]. Its methods are safe for concurrent use.
type Journal struct {
	options  Options
	conn     *nats.Conn
	js       jetstream.JetStream
	events   jetstream.Stream
	stored   jetstream.Stream // of snapshots, one a subject: a key-value bucket
	embedded *embedded        // nil: the storage is elsewhere
	// reached is the sequence of the latest event that is known to be there.
	reached atomic.Uint64

	failed chan error
}

// prepare makes the stream and the bucket, or brings their limits up to date.
// Of several replicas each message is kept.
//
// A storage of one replica may be read past its queue of requests. Of several,
// only the leader's answer is sure to hold what was acknowledged last.
func (j *Journal) prepare(ctx context.Context, replicas int) (err error) {
	j.events, err = j.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: eventStream, Subjects: []string{eventSubject + ">"}, Storage: jetstream.FileStorage,
		// What is full refuses new events rather than forget some that a fold
		// needs; of one run, the oldest go, which its snapshot covers.
		Discard: jetstream.DiscardNew, MaxBytes: j.options.MaxBytes, MaxMsgsPerSubject: j.options.KeepEvents,
		Replicas: replicas, AllowDirect: replicas == 1, Duplicates: duplicates,
	})
	if err != nil {
		return translate("stream of events", err)
	}
	j.reached.Store(j.events.CachedInfo().State.LastSeq)
	j.stored, err = j.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: snapshotStream, Subjects: []string{snapshotPrefix + ">"}, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 1, DenyDelete: true, AllowRollup: true,
		Replicas: replicas, AllowDirect: replicas == 1, Duplicates: duplicates,
	})
	if err != nil {
		return translate("bucket of snapshots", err)
	}
	return nil
}

// Failed delivers the error that ended the storage, if one does. All calls fail
// from then on, and only opening the folder again helps. A storage elsewhere is
// waited for, and never fails for good.
func (j *Journal) Failed() <-chan error { return j.failed }

// Writable reports why nothing can be kept now, nil when all is well.
func (j *Journal) Writable() error {
	if j.embedded != nil {
		return j.embedded.writable()
	}
	if !j.conn.IsConnected() {
		return fmt.Errorf("%w: no NATS server answers", ErrUnavailable)
	}
	return nil
}

// full is ErrDiskFull where that is known before asking.
func (j *Journal) full() error {
	if j.embedded != nil && j.embedded.diskFull.Load() {
		return ErrDiskFull
	}
	return nil
}

// Close forces everything to the disk and lets the folder go, or the connection.
func (j *Journal) Close() error {
	if j.embedded != nil {
		return j.embedded.close(j.conn)
	}
	if j.conn != nil {
		j.conn.Close()
	}
	return nil
}
