package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// askWithin bounds each question to a cluster, keepWithin each event. What is
	// sent to a node that dies, or while the others elect a leader, is never
	// answered, and should be sent again soon.
	askWithin  = 700 * time.Millisecond
	keepWithin = 1500 * time.Millisecond
	// listWithin bounds what touches a whole stream.
	listWithin = 5 * time.Second
	// reconnectEvery and pingEvery find another node soon after one is lost.
	reconnectEvery = 100 * time.Millisecond
	pingEvery      = time.Second
	// formWithin bounds the wait for a cluster that is still starting.
	formWithin    = time.Minute
	formingWithin = 4 * time.Second

	codeNoPeers   jetstream.ErrorCode = 10005
	codeNoCluster jetstream.ErrorCode = 10074
)

// Remote is a NATS cluster with JetStream, version 2.11 or later, and an account
// of its own for the streams of one service.
type Remote struct {
	// URL is that of one node or, divided by commas, of several. Required.
	URL string
	// Credentials is a file of a user's JWT and seed. "": none.
	Credentials string
	// CA is a PEM file of the authorities of the nodes' certificates, "" for the
	// system's; Cert and Key are files of this client's own, "" for none.
	CA, Cert, Key string
	// Replicas is the number of nodes that keep each event; an event is
	// acknowledged once most of them have it. 0: 3.
	Replicas int
	// Name tells the operators of the cluster who this client is.
	Name string
}

func (r Remote) withDefaults() Remote {
	r.Replicas = cmp.Or(r.Replicas, 3)
	r.Name = cmp.Or(r.Name, "multirate")
	return r
}

// Connect opens the journal of a NATS cluster. Of the options, Dir, Sync and
// ReserveBytes are the cluster's own affair.
func Connect(ctx context.Context, remote Remote, options Options) (*Journal, error) {
	remote = remote.withDefaults()
	j := &Journal{options: options.withDefaults(), failed: make(chan error, 1)}
	if err := j.connect(ctx, remote); err != nil {
		return nil, fmt.Errorf("journal at %s: %w", remote.URL, errors.Join(err, j.Close()))
	}
	return j, nil
}

func (j *Journal) connect(ctx context.Context, remote Remote) (err error) {
	err = UntilFormed(ctx, j.options.Logger, func(context.Context) error {
		j.conn, err = nats.Connect(remote.URL, j.connection(remote)...)
		return err
	})
	if err != nil {
		return err
	}
	if j.js, err = jetstream.New(j.conn); err != nil {
		return err
	}
	return tooFewNodes(UntilFormed(ctx, j.options.Logger, func(ctx context.Context) error { return j.prepare(ctx, remote.Replicas) }), remote.Replicas)
}

// UntilFormed repeats, for a minute at most, what a cluster that is still starting
// refuses. Without a leader it answers nothing at all.
func UntilFormed(ctx context.Context, log *slog.Logger, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, formWithin)
	defer cancel()
	for {
		attempt, cancel := context.WithTimeout(ctx, formingWithin)
		err := do(attempt)
		cancel()
		if err == nil || !forming(err) {
			return err
		}
		log.Info("waiting for the NATS cluster", "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

func (j *Journal) connection(remote Remote) []nats.Option {
	options := []nats.Option{
		nats.Name(remote.Name), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectEvery),
		nats.ReconnectJitter(reconnectEvery, reconnectEvery), nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2),
		// What was to be sent before a loss may be too late after it.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				j.options.Logger.Warn("NATS connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			j.options.Logger.Info("NATS connected again", "server", c.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			j.options.Logger.Warn("NATS", "error", err)
		}),
	}
	if remote.Credentials != "" {
		options = append(options, nats.UserCredentials(remote.Credentials))
	}
	if remote.CA != "" {
		options = append(options, nats.RootCAs(remote.CA))
	}
	if remote.Cert != "" {
		options = append(options, nats.ClientCert(remote.Cert, remote.Key))
	}
	return options
}

// forming reports whether an error may go away as more nodes join the cluster.
func forming(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode == codeNoPeers || api.Code == 503
	}
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders)
}

// tooFewNodes says what to do about a cluster that is smaller than asked for.
func tooFewNodes(err error, replicas int) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == codeNoPeers || api.ErrorCode == codeNoCluster) {
		return fmt.Errorf("%w: it has not the %d nodes that are to keep each event: start them, or ask for fewer replicas", err, replicas)
	}
	return err
}

// Connection is that to the storage.
func (j *Journal) Connection() *nats.Conn { return j.conn }
