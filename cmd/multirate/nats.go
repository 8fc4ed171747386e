package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// largestMessage has room for an event with the largest snapshot, 16 MiB.
const largestMessage = 32 << 20

// natsFlags describe a node of the cluster that replicas share.
type natsFlags struct {
	config  string
	name    string
	listen  string
	cluster string
	routes  []string
	dir     string
	sync    string
	quick   bool
}

func natsCommand() *cobra.Command {
	var f natsFlags
	var config string
	cmd := &cobra.Command{
		Use:   "nats",
		Short: "Run a node of the NATS cluster that replicas of the service share",
		Long: `Run a NATS server with JetStream, one node of the cluster that keeps the runs of
several replicas (serve --nats-url). It is NATS itself, pinned and built in, with
one difference: a leader that was killed is replaced within 3 seconds, where NATS
takes up to 10. Any other NATS cluster, version 2.11 or later, does as well.

--nats-config names a file in NATS's own format, for TLS and accounts; the other
flags come before it.`,
		Example: `  multirate nats --name a --listen 10.0.0.1:4222 --cluster-listen 10.0.0.1:6222 \
    --route nats://10.0.0.2:6222 --route nats://10.0.0.3:6222 --store-dir /var/lib/multirate-nats`,
		Args:    cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return configure(cmd.Flags(), config) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := newLogger(cmd.ErrOrStderr(), "info", "text")
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), logger)
		},
	}
	cmd.Flags().StringVar(&config, configFlag, "", "YAML file of flags by their names")
	f.flags(cmd.Flags())
	return cmd
}

func (f *natsFlags) flags(flags *pflag.FlagSet) {
	flags.StringVar(&f.config, "nats-config", "", "file in NATS's own format")
	flags.StringVar(&f.name, "name", "", "the node's name, another for each; required in a cluster")
	flags.StringVar(&f.listen, "listen", "", "address for replicas of the service (default the file's, else localhost:4222)")
	flags.StringVar(&f.cluster, "cluster-listen", "", "address for the other nodes (default none: one node alone)")
	flags.StringArrayVar(&f.routes, "route", nil, "another node's --cluster-listen, as nats://host:6222; may be repeated")
	flags.StringVar(&f.sync, "sync", "interval", "interval: force events to the disk every second; always: before each is acknowledged")
	flags.BoolVar(&f.quick, "quick-elections", true, "replace a leader that was killed within 3 s; =false: within 10 s, as NATS does")
	flags.StringVar(&f.dir, "store-dir", "", "folder of the node; required unless the file names one")
}

func (f *natsFlags) run(ctx context.Context, logger *slog.Logger) error {
	options, err := f.options()
	if err != nil {
		return err
	}
	if f.quick {
		quickElections()
	}
	node, err := natsserver.NewServer(options)
	if err != nil {
		return err
	}
	node.SetLoggerV2(nodeLog{logger}, false, false, false)
	node.Start()
	defer node.WaitForShutdown()
	defer node.Shutdown()
	if !node.ReadyForConnections(time.Minute) {
		return errors.New("the NATS node did not start; its log says why")
	}
	logger.Info("serving NATS", "name", options.ServerName, "address", node.Addr().String())
	<-ctx.Done()
	return nil
}

func (f *natsFlags) options() (*natsserver.Options, error) {
	o := &natsserver.Options{}
	if f.config != "" {
		var err error
		if o, err = natsserver.ProcessConfigFile(f.config); err != nil {
			return nil, fmt.Errorf("--nats-config: %w", err)
		}
	}
	o.NoSigs, o.JetStream = true, true
	if o.MaxPayload == 0 {
		o.MaxPayload, o.MaxPending = largestMessage, 8*largestMessage
	}
	if f.name != "" {
		o.ServerName = f.name
	}
	if f.dir != "" {
		o.StoreDir = f.dir
	}
	if o.StoreDir == "" {
		return nil, errors.New("--store-dir is missing: where should the node keep the runs?")
	}
	switch f.sync {
	case "interval":
		o.SyncInterval = time.Second // NATS's own default is 2 minutes
	case "always":
		o.SyncAlways = true
	default:
		return nil, fmt.Errorf("--sync %q: use interval or always", f.sync)
	}
	var err error
	if f.listen == "" && o.Port == 0 {
		f.listen = "localhost:4222"
	}
	if f.listen != "" {
		if o.Host, o.Port, err = hostPort("--listen", f.listen); err != nil {
			return nil, err
		}
	}
	if f.cluster == "" {
		return o, nil
	}
	if o.ServerName == "" {
		return nil, errors.New("--name is missing: nodes of a cluster are told apart by it")
	}
	if o.Cluster.Name == "" {
		o.Cluster.Name = "multirate"
	}
	if o.Cluster.Host, o.Cluster.Port, err = hostPort("--cluster-listen", f.cluster); err != nil {
		return nil, err
	}
	for _, route := range f.routes {
		u, err := url.Parse(route)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("--route %s: use nats://host:port", route)
		}
		o.Routes = append(o.Routes, u)
	}
	return o, nil
}

func hostPort(flag, address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		return "", 0, fmt.Errorf("%s %s: use host:port: %w", flag, address, err)
	}
	if port == 0 {
		port = natsserver.RANDOM_PORT // 0 is NATS's own default there
	}
	return host, port, nil
}

// nodeLog hands a node's log on.
type nodeLog struct{ log *slog.Logger }

func (l nodeLog) say(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, strings.TrimSpace(fmt.Sprintf(format, v...)))
}

// Noticef tells of starts, stops and elections.
func (l nodeLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }

// Warnf tells of what may need a hand.
func (l nodeLog) Warnf(format string, v ...any) { l.say(slog.LevelWarn, format, v) }

// Errorf tells of failures.
func (l nodeLog) Errorf(format string, v ...any) { l.say(slog.LevelError, format, v) }

// Fatalf is the node's last word.
func (l nodeLog) Fatalf(format string, v ...any) { l.say(slog.LevelError, format, v) }

// Debugf is switched off.
func (l nodeLog) Debugf(string, ...any) {}

// Tracef is switched off.
func (l nodeLog) Tracef(string, ...any) {}
