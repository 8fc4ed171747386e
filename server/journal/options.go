package journal

import (
	"cmp"
	"log/slog"
	"time"
)

// Sync says when events are forced to the disk.
type Sync int

const (
	// SyncInterval forces events to the disk every second.
	SyncInterval Sync = iota
	// SyncAlways forces each event to the disk before it is acknowledged.
	SyncAlways
)

const syncEvery = time.Second

// LeastKept is the least number of events that a journal may be told to keep of
// a run. Whoever saves a snapshot at least every LeastKept/2 events never loses
// one that a fold still needs.
const LeastKept = 256

// Options are a journal's place and limits.
type Options struct {
	// Dir is the folder, made when absent. Required.
	Dir string
	// Sync says when events are forced to the disk.
	Sync Sync
	// KeepEvents is the number of events kept of each run; the oldest go first.
	// 0: 10,000. Less than [LeastKept] counts as that.
	KeepEvents int64
	// MaxBytes is the size of all events together beyond which Append is
	// [ErrFull]. 0: no limit but the disk's.
	MaxBytes int64
	// ReserveBytes is the free space of the disk below which Append is
	// [ErrDiskFull], since what fills a disk harms others, too. 0: 64 MiB.
	ReserveBytes int64
	// Logger takes warnings and errors of the storage. nil: [slog.Default].
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.KeepEvents = max(cmp.Or(o.KeepEvents, 10_000), LeastKept)
	o.MaxBytes = cmp.Or(o.MaxBytes, -1)
	o.ReserveBytes = cmp.Or(o.ReserveBytes, 64<<20)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return o
}
