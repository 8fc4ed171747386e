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
}

func (d *dataFlags) flags(flags *pflag.FlagSet) {
	flags.StringVar(&d.dir, "data-dir", "", "folder of the runs (default $XDG_STATE_HOME/multirate, else ~/.local/state/multirate)")
	flags.BoolVar(&d.inMemory, "in-memory", false, "keep nothing: runs end with the service")
	flags.StringVar(&d.sync, "sync", "interval", "interval: force steps to the disk every second; always: before each answer")
	flags.Int64Var(&d.keep, "keep-events", 10_000, "events kept of each run's history, 256 at least")
	flags.Int64Var(&d.maxMiB, "max-data-mib", 0, "size of all histories together, in MiB, beyond which steps are refused; 0 for no limit")
}

// serve opens the journal, or none, and serves with it.
func (d *dataFlags) serve(ctx context.Context, options server.Options, addresses []string) (err error) {
	if d.inMemory && d.dir != "" {
		return errors.New("--in-memory keeps nothing: leave --data-dir out, or --in-memory")
	}
	kept, err := d.options(options.Logger)
	if err != nil {
		return err
	}
	if !d.inMemory {
		j, err := journal.Open(ctx, kept)
		switch {
		case errors.Is(err, journal.ErrLocked):
			return fmt.Errorf("%w: stop it, or choose another --data-dir, or --in-memory", err)
		case err != nil:
			return err
		}
		defer func() { err = errors.Join(err, j.Close()) }()
		options.Journal = j
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		go func() {
			select {
			case err := <-j.Failed():
				cancel(err)
			case <-ctx.Done():
			}
		}()
		defer func() {
			if cause := context.Cause(ctx); errors.Is(cause, journal.ErrUnavailable) {
				err = errors.Join(err, cause)
			}
		}()
	}
	listeners, err := listenAll(addresses)
	if err != nil {
		return err
	}
	return server.Serve(ctx, options, listeners...)
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
