package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"multirate/server"
	"multirate/server/admin"
	"multirate/server/telemetry"
)

// defaultAddress is where serve listens and where the other commands look.
const defaultAddress = "localhost:7400"

// serveFlags are what an operator sets.
type serveFlags struct {
	listen     []string
	socketMode string
	admin      string
	logLevel   string
	logFormat  string
	maxRunMiB  int64
	maxAllMiB  int64
	data       dataFlags
	access     accessFlags
	otlp       telemetry.OTLP
	options    server.Options
}

func serveCommand() *cobra.Command {
	var f serveFlags
	var config string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve learning rates over gRPC",
		Long: `Serve learning rates over gRPC, with health checks and reflection, until SIGINT
or SIGTERM. It then stops gracefully: calls under way may finish.

Runs are kept in the data directory: a step is answered once it is written there,
and a server that was killed goes on with the same rates. --in-memory keeps
nothing. With --nats-url several replicas share the runs of a NATS cluster; any of
them takes any call.

A unix socket is for its owner alone. An address that other machines reach needs
a certificate, and clients that show a token or a certificate of their own, or
--insecure.

Each flag may also be set as an environment variable, MULTIRATE_ and its name
in upper case with '_' for '-', or by its name in a YAML file (--config). A flag
comes before the variable, the variable before the file.`,
		Example: `  multirate serve --listen unix:///run/multirate.sock
  multirate serve --listen 0.0.0.0:7400 --tls-cert cert.pem --tls-key key.pem --tokens tokens`,
		Args: cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			return configure(cmd.Flags(), config)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return f.serve(cmd.Context(), cmd.ErrOrStderr()) },
	}
	cmd.Flags().StringVar(&config, configFlag, "", "YAML file of flags by their names")
	f.flags(cmd.Flags())
	return cmd
}

func (f *serveFlags) flags(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.listen, "listen", "l", []string{defaultAddress}, "address, unix:///path or host:port; may be repeated")
	flags.StringVar(&f.socketMode, "socket-mode", "0600", "mode of unix sockets: who may write may call")
	flags.StringVar(&f.admin, "admin", "", "address of probes, metrics and profiles over HTTP, as localhost:7401 (default none)")
	flags.StringVar(&f.otlp.Endpoint, "otlp-endpoint", "", "URL of an OpenTelemetry collector for traces and metrics, as http://localhost:4317 (default none)")
	flags.Float64Var(&f.otlp.TraceShare, "otlp-trace-share", 0.01, "share of calls that are traced, where the caller has not decided")
	f.data.flags(flags)
	f.access.flags(flags)
	flags.IntVar(&f.options.MaxRuns, "max-runs", 10_000, "runs at most")
	flags.Int64Var(&f.maxRunMiB, "max-run-mib", 1<<10, "memory that one run's spectrum estimate may take, in MiB")
	flags.Int64Var(&f.maxAllMiB, "max-total-mib", 4<<10, "memory that all spectrum estimates together may take, in MiB")
	flags.IntVar(&f.options.Tenant.Runs, "tenant-max-runs", 0, "runs of each tenant at most; 0 for no limit")
	flags.IntVar(&f.options.Tenant.Streams, "tenant-max-streams", 0, "streams of each tenant at most; 0 for no limit")
	flags.Float64Var(&f.options.Tenant.Rate, "tenant-rate", 0, "calls and stream messages of each tenant a second; 0 for no limit")
	flags.DurationVar(&f.options.StopGrace, "stop-grace", 10*time.Second, "how long a stop waits for calls under way")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
}

func (f *serveFlags) serve(ctx context.Context, stderr io.Writer) (err error) {
	if f.options.Logger, err = newLogger(stderr, f.logLevel, f.logFormat); err != nil {
		return err
	}
	mode, err := strconv.ParseUint(f.socketMode, 8, 9)
	if err != nil {
		return fmt.Errorf("--socket-mode %q: use three octal digits, as 0660", f.socketMode)
	}
	if err := f.access.guard(f.listen); err != nil {
		return err
	}
	f.options.MaxRunBytes, f.options.MaxTotalBytes = f.maxRunMiB<<20, f.maxAllMiB<<20
	closeAccess, err := f.access.apply(ctx, &f.options)
	if err != nil {
		return err
	}
	defer closeAccess()
	ctx, closeData, err := f.data.open(ctx, &f.options, f.listen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeData()) }()
	listeners, err := listenAll(f.listen, fs.FileMode(mode))
	if err != nil {
		return err
	}
	return f.serveWithAdmin(ctx, listeners)
}

// serveWithAdmin serves on the listeners and, if asked, on the admin address and
// to a collector.
func (f *serveFlags) serveWithAdmin(ctx context.Context, listeners []net.Listener) (err error) {
	if f.admin == "" && f.otlp.Endpoint == "" {
		return server.Serve(ctx, f.options, listeners...)
	}
	closeAll := func() {
		for _, open := range listeners {
			_ = open.Close()
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f.options.Metrics = registry
	flush, err := f.startTelemetry(ctx, registry)
	if err != nil {
		closeAll()
		return fmt.Errorf("--otlp-endpoint: %w", err)
	}
	defer flush()
	s := server.New(f.options)
	if f.admin == "" {
		return s.Serve(ctx, listeners...)
	}
	l, err := net.Listen("tcp", f.admin)
	if err != nil {
		closeAll()
		return fmt.Errorf("--admin: %w", err)
	}
	f.options.Logger.Info("serving probes and metrics", "address", l.Addr().String())
	// Probes are answered until the last call has ended.
	probing, done := context.WithCancel(context.WithoutCancel(ctx))
	probed := make(chan error, 1)
	go func() { probed <- admin.Serve(probing, l, admin.Handler(registry, s.Ready)) }()
	err = s.Serve(ctx, listeners...)
	done()
	return errors.Join(err, <-probed)
}

// flushPatience bounds how long the end waits for a collector.
const flushPatience = 3 * time.Second

// startTelemetry sends to a collector, if there is one, until flush is called. A
// collector that is not there is no reason to stop.
func (f *serveFlags) startTelemetry(ctx context.Context, registry *prometheus.Registry) (flush func(), err error) {
	if f.otlp.Endpoint == "" {
		return func() {}, nil
	}
	f.otlp.Version = version
	calls, shutdown, err := f.otlp.Start(ctx, registry)
	if err != nil {
		return nil, err
	}
	f.options.Calls = calls
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushPatience)
		defer cancel()
		if err := shutdown(ctx); err != nil {
			f.options.Logger.Warn("traces or metrics were not sent", "error", err)
		}
	}, nil
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
func listenAll(addresses []string, mode fs.FileMode) (listeners []net.Listener, err error) {
	for _, address := range addresses {
		l, err := server.ListenMode(address, mode)
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

// isLocal reports whether only this machine reaches an address.
func isLocal(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
