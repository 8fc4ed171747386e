package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"multirate/server"
	"multirate/server/journal"
)

// dataFlags say where runs are kept, and how.
type dataFlags struct {
	inMemory bool
	dir      string
	sync     string
	keep     int64
	maxMiB   int64
	cluster  clusterFlags
}

func (d *dataFlags) flags(flags *pflag.FlagSet) {
	flags.StringVar(&d.dir, "data-dir", "", "folder of the runs (default $XDG_STATE_HOME/multirate, else ~/.local/state/multirate)")
	flags.BoolVar(&d.inMemory, "in-memory", false, "keep nothing: runs end with the service")
	flags.StringVar(&d.sync, "sync", "interval", "interval: force steps to the disk every second; always: before each answer")
	flags.Int64Var(&d.keep, "keep-events", 10_000, "events kept of each run's history, 256 at least")
	d.cluster.flags(flags)
	flags.Int64Var(&d.maxMiB, "max-data-mib", 0, "size of all histories together, in MiB, beyond which steps are refused; 0 for no limit")
}

// open opens the journal, or none. The context that it returns ends also when
// the journal fails, and closeAll returns why.
func (d *dataFlags) open(ctx context.Context, options *server.Options, listen []string) (_ context.Context, closeAll func() error, err error) {
	if d.cluster.remote.URL != "" {
		if d.inMemory || d.dir != "" {
			return nil, nil, errors.New("--nats-url keeps runs in a NATS cluster: leave --data-dir and --in-memory out")
		}
		leave, err := d.cluster.join(ctx, options, listen, journal.Options{KeepEvents: d.keep, MaxBytes: d.maxMiB << 20, Logger: options.Logger})
		return ctx, leave, err
	}
	if d.inMemory && d.dir != "" {
		return nil, nil, errors.New("--in-memory keeps nothing: leave --data-dir out, or --in-memory")
	}
	kept, err := d.options(options.Logger)
	if err != nil {
		return nil, nil, err
	}
	if d.inMemory {
		return ctx, func() error { return nil }, nil
	}
	j, err := journal.Open(ctx, kept)
	switch {
	case errors.Is(err, journal.ErrLocked):
		return nil, nil, fmt.Errorf("%w: stop it, or choose another --data-dir, or --in-memory", err)
	case err != nil:
		return nil, nil, err
	}
	options.Journal = j
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case err := <-j.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	return ctx, func() error {
		cancel(nil)
		<-watched
		err := j.Close()
		if cause := context.Cause(ctx); errors.Is(cause, journal.ErrUnavailable) {
			err = errors.Join(cause, err)
		}
		return err
	}, nil
}

func (d *dataFlags) options(logger *slog.Logger) (journal.Options, error) {
	o := journal.Options{Dir: d.dir, KeepEvents: d.keep, MaxBytes: d.maxMiB << 20, Logger: logger}
	switch d.sync {
	case "interval":
	case "always":
		o.Sync = journal.SyncAlways
	default:
		return o, fmt.Errorf("--sync %q: use interval or always", d.sync)
	}
	if o.Dir == "" && !d.inMemory {
		state, err := stateFolder()
		if err != nil {
			return o, fmt.Errorf("no folder for the runs: %w: name one with --data-dir, or keep nothing with --in-memory", err)
		}
		o.Dir = filepath.Join(state, "multirate")
	}
	return o, nil
}

// stateFolder is where programs keep what outlives them but is no document, by
// the XDG Base Directory Specification, version 0.8.
func stateFolder() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state"), err
}
