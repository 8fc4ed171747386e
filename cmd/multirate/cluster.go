package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"multirate/server"
	"multirate/server/cluster"
	"multirate/server/journal"
)

// clusterFlags say which NATS cluster keeps the runs, and who this replica is.
type clusterFlags struct {
	remote    journal.Remote
	advertise string
	ttl       time.Duration
}

func (c *clusterFlags) flags(flags *pflag.FlagSet) {
	flags.StringVar(&c.remote.URL, "nats-url", "", "NATS cluster that keeps the runs for several replicas, as nats://a:4222,nats://b:4222 (default none: --data-dir)")
	flags.StringVar(&c.remote.Credentials, "nats-creds", "", "file of the NATS user's credentials")
	flags.StringVar(&c.remote.CA, "nats-ca", "", "PEM file of the authorities of the NATS nodes' certificates (default the system's)")
	flags.StringVar(&c.remote.Cert, "nats-cert", "", "PEM file of this replica's certificate towards NATS")
	flags.StringVar(&c.remote.Key, "nats-key", "", "PEM file of its private key")
	flags.IntVar(&c.remote.Replicas, "nats-replicas", 3, "NATS nodes that keep each event, 1, 3 or 5")
	flags.StringVar(&c.advertise, "advertise", "", "address at which clients reach this replica (default the first --listen, by the host's name where that is every address)")
	flags.DurationVar(&c.ttl, "lease", 2*time.Second, "time after which the runs of a replica that was killed go to others, 1s at least")
}

// join opens the cluster's journal and takes a place among its replicas.
func (c *clusterFlags) join(ctx context.Context, options *server.Options, listen []string, kept journal.Options) (leave func() error, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	address, err := c.address(listen)
	if err != nil {
		return nil, err
	}
	c.remote.Name = "multirate at " + address
	j, err := journal.Connect(ctx, c.remote, kept)
	if err != nil {
		return nil, err
	}
	member, err := cluster.Join(ctx, j.Connection(), cluster.Options{
		Address: address, TTL: c.ttl, Replicas: c.remote.Replicas, Logger: options.Logger,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("join the replicas at %s: %w", c.remote.URL, err), j.Close())
	}
	options.Logger.Info("joined the replicas", "nats", j.Connection().ConnectedServerName(), "advertised", address)
	options.Journal, options.Cluster = j, member
	return func() error {
		return errors.Join(member.Leave(context.WithoutCancel(ctx)), j.Close())
	}, nil
}

func (c *clusterFlags) check() error {
	switch n := c.remote.Replicas; n {
	case 1, 3, 5:
	default:
		return fmt.Errorf("--nats-replicas %d: use 1, 3 or 5", n)
	}
	if c.ttl < time.Second {
		return fmt.Errorf("--lease %v: use 1s at least, or a short pause loses it", c.ttl)
	}
	if (c.remote.Cert == "") != (c.remote.Key == "") {
		return errors.New("a certificate towards NATS needs both --nats-cert and --nats-key")
	}
	return nil
}

// address is where clients reach this replica.
func (c *clusterFlags) address(listen []string) (string, error) {
	if c.advertise != "" {
		return c.advertise, nil
	}
	if strings.HasPrefix(listen[0], "unix:") {
		return listen[0], nil
	}
	host, port, err := net.SplitHostPort(listen[0])
	if err != nil || port == "0" || port == "" {
		return "", fmt.Errorf("--listen %s is no address for clients: name one with --advertise", listen[0])
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("no name of this host for clients: %w: name an address with --advertise", err)
		}
	}
	return net.JoinHostPort(host, port), nil
}
