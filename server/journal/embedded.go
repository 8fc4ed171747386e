package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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
	// maxPayload has room for an event with the largest snapshot, 16 MiB.
	maxPayload = 32 << 20
	// readyWithin bounds the start of the storage, which checks what a killed
	// process left behind.
	readyWithin = time.Minute
	watchEvery  = 250 * time.Millisecond
	// duplicates is JetStream's window of message ids, of which there are none.
	duplicates = 100 * time.Millisecond
)

// embedded is the storage inside this process.
type embedded struct {
	dir      string
	log      *slog.Logger
	reserve  int64
	lock     *flock.Flock
	server   *natsserver.Server
	diskFull atomic.Bool
	closing  chan struct{}
	watching sync.WaitGroup
}

// Open opens a folder, or makes it. ErrLocked while another process has it.
func Open(ctx context.Context, options Options) (*Journal, error) {
	options = options.withDefaults()
	e := &embedded{dir: options.Dir, log: options.Logger, reserve: options.ReserveBytes, closing: make(chan struct{})}
	j := &Journal{options: options, embedded: e, failed: make(chan error, 1)}
	if err := j.open(ctx); err != nil {
		return nil, fmt.Errorf("journal in %s: %w", options.Dir, errors.Join(err, j.Close()))
	}
	e.look()
	e.watching.Go(func() { e.watch(j.failed) })
	return j, nil
}

func (j *Journal) open(ctx context.Context) (err error) {
	e := j.embedded
	if e.lock, err = lockFolder(e.dir); err != nil {
		return err
	}
	if err := e.start(j.options.Sync); err != nil {
		return err
	}
	if j.conn, err = nats.Connect("", nats.InProcessServer(e.server), nats.MaxReconnects(-1)); err != nil {
		return err
	}
	if j.js, err = jetstream.New(j.conn); err != nil {
		return err
	}
	if err := j.prepare(ctx, 1); err != nil {
		return err
	}
	e.reportLoss(ctx, j.conn)
	return nil
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
func (e *embedded) start(sync Sync) error {
	log := &serverLog{log: e.log}
	server, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "multirate", DontListen: true, NoSigs: true,
		JetStream: true, StoreDir: e.dir, JetStreamMaxMemory: 1 << 20, JetStreamMaxStore: math.MaxInt64 / 2,
		SyncAlways: sync == SyncAlways, SyncInterval: syncEvery,
		MaxPayload: maxPayload, MaxPending: 8 * maxPayload,
	})
	if err != nil {
		return err
	}
	server.SetLoggerV2(log, false, false, false)
	e.server = server
	server.Start() // returns once JetStream has read its files
	if !server.ReadyForConnections(readyWithin) || !server.JetStreamEnabled() {
		return fmt.Errorf("%w: it did not start: %s", ErrUnavailable, log.last())
	}
	return nil
}

// reportLoss tells of events that damage to the files has cost. The client's own
// type leaves that out.
func (e *embedded) reportLoss(ctx context.Context, conn *nats.Conn) {
	var info struct {
		State struct {
			Lost *natsserver.LostStreamData `json:"lost"`
		} `json:"state"`
	}
	m, err := conn.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+eventStream, nil)
	if err == nil {
		err = json.Unmarshal(m.Data, &info)
	}
	if err != nil {
		e.log.Warn("can't tell whether events were lost", "error", err)
	} else if lost := info.State.Lost; lost != nil {
		e.log.Error("damaged files: events are lost, runs are as the intact ones before have them",
			"dir", e.dir, "events", len(lost.Msgs), "bytes", lost.Bytes)
	}
}

func (e *embedded) writable() error {
	if !e.server.JetStreamEnabled() {
		return ErrUnavailable
	}
	if e.diskFull.Load() {
		return ErrDiskFull
	}
	return nil
}

// watch looks after the storage until close.
func (e *embedded) watch(failed chan<- error) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-e.closing:
			return
		case <-ticker.C:
		}
		if !e.server.JetStreamEnabled() {
			failed <- fmt.Errorf("journal in %s: %w: most often the disk is full", e.dir, ErrUnavailable)
			return
		}
		e.look()
	}
}

// look compares the disk's free space with the reserve.
func (e *embedded) look() {
	free, err := freeBytes(e.dir)
	full := err == nil && free < uint64(e.reserve)
	if was := e.diskFull.Swap(full); full && !was {
		e.log.Error("the disk is almost full: no step is taken until there is room",
			"dir", e.dir, "free", free, "reserve", e.reserve)
	} else if was && !full {
		e.log.Info("the disk has room again", "dir", e.dir, "free", free)
	}
}

func (e *embedded) close(conn *nats.Conn) error {
	close(e.closing)
	e.watching.Wait()
	if conn != nil {
		conn.Close()
	}
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
	if e.lock == nil {
		return nil
	}
	return e.lock.Unlock()
}
