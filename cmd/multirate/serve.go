package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"multirate/server"
)

// defaultAddress is where serve listens and where the other commands look.
const defaultAddress = "localhost:7400"

func serveCommand() *cobra.Command {
	var (
		listen    []string
		options   server.Options
		logLevel  string
		logFormat string
		maxRunMiB int64
		maxAllMiB int64
		data      dataFlags
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve learning rates over gRPC",
		Long: `Serve learning rates over gRPC, with health checks and reflection, until SIGINT
or SIGTERM. It then stops gracefully: calls under way may finish.

Runs are kept in the data directory: a step is answered once it is written there,
and a server that was killed goes on with the same rates. --in-memory keeps
nothing.

Connections are in plain text. A unix socket is for its owner alone; listen on
an address that others can reach only behind something that guards it.`,
		Example: `  multirate serve --listen unix:///run/multirate.sock
  multirate serve --listen localhost:7400 --listen unix:///tmp/multirate.sock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := newLogger(cmd.ErrOrStderr(), logLevel, logFormat)
			if err != nil {
				return err
			}
			options.Logger = logger
			options.MaxRunBytes, options.MaxTotalBytes = maxRunMiB<<20, maxAllMiB<<20
			return data.serve(cmd.Context(), options, listen)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&listen, "listen", "l", []string{defaultAddress}, "address, unix:///path or host:port; may be repeated")
	data.flags(flags)
	flags.IntVar(&options.MaxRuns, "max-runs", 10_000, "runs at most")
	flags.Int64Var(&maxRunMiB, "max-run-mib", 1<<10, "memory that one run's spectrum estimate may take, in MiB")
	flags.Int64Var(&maxAllMiB, "max-total-mib", 4<<10, "memory that all spectrum estimates together may take, in MiB")
	flags.DurationVar(&options.StopGrace, "stop-grace", 10*time.Second, "how long a stop waits for calls under way")
	flags.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&logFormat, "log-format", "text", "text or json")
	return cmd
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: use debug, info, warn or error", level)
	}
	options.Level = l
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: use text or json", format)
}

// listenAll listens on all addresses, or on none.
func listenAll(addresses []string) (listeners []net.Listener, err error) {
	for _, address := range addresses {
		l, err := server.Listen(address)
		if err != nil {
			for _, open := range listeners {
				_ = open.Close()
			}
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}
