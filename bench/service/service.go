// Package service runs the real server on a unix socket for the benchmarks.
package service

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	multirate "multirate/clients/go"
	"multirate/server"
)

// Start serves on a socket of its own and returns a client of it and how to stop
// both.
func Start(ctx context.Context) (client *multirate.Client, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "multirate")
	if err != nil {
		return nil, nil, err
	}
	target := "unix://" + filepath.Join(dir, "s")
	listener, err := server.Listen(target)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(ctx, server.Options{Logger: slog.New(slog.DiscardHandler)}, listener)
	}()
	halt := func() error {
		cancel()
		return errors.Join(<-served, os.RemoveAll(dir))
	}
	client, err = multirate.Dial(ctx, target)
	if err != nil {
		return nil, nil, errors.Join(err, halt())
	}
	return client, func() error { return errors.Join(client.Close(), halt()) }, nil
}
