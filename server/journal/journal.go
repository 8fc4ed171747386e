package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	eventStream    = "EVENTS"
	eventSubject   = "event."
	snapshotBucket = "SNAPSHOTS"
	snapshotStream = "KV_" + snapshotBucket
	snapshotPrefix = "$KV." + snapshotBucket + "."

	// maxPayload has room for an event with the largest snapshot, 16 MiB.
	maxPayload = 32 << 20
	// readyWithin bounds the start of the storage, which checks what a killed
	// process left behind.
	readyWithin = time.Minute
	watchEvery  = 250 * time.Millisecond
)

// Journal is an open folder of histories. Its methods are safe for concurrent
// use.
type Journal struct {
	options   Options
	lock      *flock.Flock
	server    *natsserver.Server
	conn      *nats.Conn
	js        jetstream.JetStream
	events    jetstream.Stream
	stored    jetstream.Stream // of snapshots
	snapshots jetstream.KeyValue
	// lastAtOpen is the sequence of the last event when the journal was opened.
	lastAtOpen uint64

	diskFull atomic.Bool
	failed   chan error
	closing  chan struct{}
	watching sync.WaitGroup
}

// Open opens a folder, or makes it. ErrLocked while another process has it.
func Open(ctx context.Context, options Options) (*Journal, error) {
	j := &Journal{options: options.withDefaults(), failed: make(chan error, 1), closing: make(chan struct{})}
	if err := j.open(ctx); err != nil {
		return nil, fmt.Errorf("journal in %s: %w", j.options.Dir, errors.Join(err, j.Close()))
	}
	j.look()
	j.watching.Go(j.watch)
	return j, nil
}

func (j *Journal) open(ctx context.Context) (err error) {
	if j.lock, err = lockFolder(j.options.Dir); err != nil {
		return err
	}
	if err := j.start(); err != nil {
		return err
	}
	return j.prepare(ctx)
}

// lockFolder makes the folder and takes its lock, which ends with the process.
func lockFolder(dir string) (*flock.Flock, error) {
	if dir == "" {
		return nil, errors.New("no folder is named")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("can't be written to: %w", err)
	}
	if !held {
		return nil, ErrLocked
	}
	return lock, nil
}

// start runs JetStream in this process.
func (j *Journal) start() error {
	log := &serverLog{log: j.options.Logger}
	server, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "multirate", DontListen: true, NoSigs: true,
		JetStream: true, StoreDir: j.options.Dir, JetStreamMaxMemory: 1 << 20, JetStreamMaxStore: math.MaxInt64 / 2,
		SyncAlways: j.options.Sync == SyncAlways, SyncInterval: syncEvery,
		MaxPayload: maxPayload, MaxPending: 8 * maxPayload,
	})
	if err != nil {
		return err
	}
	server.SetLoggerV2(log, false, false, false)
	j.server = server
	server.Start() // returns once JetStream has read its files
	if !server.ReadyForConnections(readyWithin) || !server.JetStreamEnabled() {
		return fmt.Errorf("%w: it did not start: %s", ErrUnavailable, log.last())
	}
	j.conn, err = nats.Connect("", nats.InProcessServer(server), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	j.js, err = jetstream.New(j.conn)
	return err
}

// prepare makes the stream and the bucket, or brings their limits up to date.
func (j *Journal) prepare(ctx context.Context) (err error) {
	j.events, err = j.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: eventStream, Subjects: []string{eventSubject + ">"}, Storage: jetstream.FileStorage,
		// What is full refuses new events rather than forget some that a fold
		// needs; of one run, the oldest go, which its snapshot covers.
		Discard: jetstream.DiscardNew, MaxBytes: j.options.MaxBytes, MaxMsgsPerSubject: j.options.KeepEvents,
		AllowDirect: true, Duplicates: 100 * time.Millisecond,
	})
	if err != nil {
		return translate("stream of events", err)
	}
	j.lastAtOpen = j.events.CachedInfo().State.LastSeq
	j.reportLoss(ctx)
	j.snapshots, err = j.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: snapshotBucket, History: 1})
	if err != nil {
		return translate("bucket of snapshots", err)
	}
	if j.stored, err = j.js.Stream(ctx, snapshotStream); err != nil {
		return translate("bucket of snapshots", err)
	}
	return nil
}

// reportLoss tells of events that damage to the files has cost. The client's own
// type leaves that out.
func (j *Journal) reportLoss(ctx context.Context) {
	var info struct {
		State struct {
			Lost *natsserver.LostStreamData `json:"lost"`
		} `json:"state"`
	}
	m, err := j.conn.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+eventStream, nil)
	if err == nil {
		err = json.Unmarshal(m.Data, &info)
	}
	if err != nil {
		j.options.Logger.Warn("can't tell whether events were lost", "error", err)
	} else if lost := info.State.Lost; lost != nil {
		j.options.Logger.Error("damaged files: events are lost, runs are as the intact ones before have them",
			"dir", j.options.Dir, "events", len(lost.Msgs), "bytes", lost.Bytes)
	}
}

// Failed delivers the error that ended the storage, if one does. All calls fail
// from then on, and only opening the folder again helps.
func (j *Journal) Failed() <-chan error { return j.failed }

// Writable reports why nothing can be kept now, nil when all is well.
func (j *Journal) Writable() error {
	if !j.server.JetStreamEnabled() {
		return ErrUnavailable
	}
	if j.diskFull.Load() {
		return ErrDiskFull
	}
	return nil
}

// watch looks after the storage until Close.
func (j *Journal) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-j.closing:
			return
		case <-ticker.C:
		}
		if !j.server.JetStreamEnabled() {
			j.failed <- fmt.Errorf("journal in %s: %w: most often the disk is full", j.options.Dir, ErrUnavailable)
			return
		}
		j.look()
	}
}

// look compares the disk's free space with the reserve.
func (j *Journal) look() {
	free, err := freeBytes(j.options.Dir)
	full := err == nil && free < uint64(j.options.ReserveBytes)
	if was := j.diskFull.Swap(full); full && !was {
		j.options.Logger.Error("the disk is almost full: no step is taken until there is room",
			"dir", j.options.Dir, "free", free, "reserve", j.options.ReserveBytes)
	} else if was && !full {
		j.options.Logger.Info("the disk has room again", "dir", j.options.Dir, "free", free)
	}
}

// Close forces everything to the disk and lets the folder go.
func (j *Journal) Close() error {
	close(j.closing)
	j.watching.Wait()
	if j.conn != nil {
		j.conn.Close()
	}
	if j.server != nil {
		j.server.Shutdown()
		j.server.WaitForShutdown()
	}
	if j.lock == nil {
		return nil
	}
	return j.lock.Unlock()
}
