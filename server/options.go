package server

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/stats"

	"multirate/server/access"
	"multirate/server/cluster"
)

// Options are a server's limits and wiring. The zero value is good.
type Options struct {
	// Logger takes what operators should know: runs made and ended, estimates,
	// panics, the server's start and stop. nil: [slog.Default].
	Logger *slog.Logger
	// Journal keeps the runs. nil: they live in memory and end with the process.
	Journal Journal
	// Cluster is this process's place among the replicas that share the journal.
	// nil: it is the only one. [Server.Serve] serves it; its owner lets it leave.
	Cluster *cluster.Member
	// Credentials terminate TLS. nil: plain text.
	Credentials credentials.TransportCredentials
	// Authenticator names the tenant of each call. nil: there is one tenant.
	Authenticator *access.Authenticator
	// Metrics takes the server's metrics. nil: there are none.
	Metrics prometheus.Registerer
	// Calls is told of each call and stream, to trace it. nil: nobody is.
	Calls stats.Handler
	// Tenant limits what each tenant may take.
	Tenant TenantLimits
	// MaxRuns is the number of runs at most. 0: 10,000.
	MaxRuns int
	// MaxRunBytes is the memory that one run's EstimateSpectrum may take, in
	// bytes. 0: 1 GiB.
	MaxRunBytes int64
	// MaxTotalBytes is the memory that all estimates together may take, in
	// bytes. 0: 4 GiB.
	MaxTotalBytes int64
	// MaxMessageBytes is the largest message taken. 0: 17 MiB, which has room
	// for the largest snapshot (16 MiB) and chunk (8 MiB) of the contract.
	MaxMessageBytes int
	// MaxConcurrentStreams is the number of calls under way at most on one
	// connection; more wait. 0: 1,000.
	MaxConcurrentStreams uint32
	// WatchBuffer is the number of events kept for a watcher that is behind.
	// 0: 256.
	WatchBuffer int
	// StopGrace is how long a graceful stop waits for calls under way before it
	// cuts them off. 0: 10 s.
	StopGrace time.Duration
	// Now is the clock of create times and events; no rate depends on it. nil:
	// [time.Now].
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.MaxRuns = cmp.Or(o.MaxRuns, 10_000)
	o.MaxRunBytes = cmp.Or(o.MaxRunBytes, 1<<30)
	o.MaxTotalBytes = cmp.Or(o.MaxTotalBytes, 4<<30)
	o.MaxMessageBytes = cmp.Or(o.MaxMessageBytes, 17<<20)
	o.MaxConcurrentStreams = cmp.Or(o.MaxConcurrentStreams, 1000)
	o.WatchBuffer = cmp.Or(o.WatchBuffer, 256)
	o.StopGrace = cmp.Or(o.StopGrace, 10*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
