package server

import (
	"context"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"

	"multirate/server/journal"
)

// metrics are a server's numbers; nil where nobody asked for them.
type metrics struct {
	calls     *grpcprom.ServerMetrics
	forwarded prometheus.Counter
}

// newMetrics registers what Prometheus is told: calls by method and status code,
// with their times, runs, memory of estimates, and the journal's times.
func newMetrics(s *Server, r prometheus.Registerer) *metrics {
	if r == nil {
		return nil
	}
	m := &metrics{calls: grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram(
		grpcprom.WithHistogramBuckets([]float64{1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5, 1, 10})))}
	r.MustRegister(m.calls,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "multirate_runs", Help: "Runs."},
			func() float64 { return float64(s.tenants.total()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "multirate_estimate_bytes", Help: "Memory of the spectrum estimates under way."},
			func() float64 { return float64(s.memory.used.Load()) }))
	if s.options.Cluster != nil {
		m.forwarded = prometheus.NewCounter(prometheus.CounterOpts{
			Name: "multirate_forwarded_calls_total", Help: "Calls handed on to the replica that owns the run.",
		})
		r.MustRegister(m.forwarded, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "multirate_lease", Help: "1 while this replica may own runs, else 0."},
			func() float64 {
				if s.options.Cluster.Valid() != nil {
					return 0
				}
				return 1
			}))
	}
	if s.options.Journal != nil {
		timed := &timedJournal{Journal: s.options.Journal,
			appends: prometheus.NewHistogram(prometheus.HistogramOpts{
				Name: "multirate_journal_append_seconds", Help: "Time until an event is kept.",
				Buckets: []float64{2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 1e-2, 0.1, 1, 5},
			}),
			failures: prometheus.NewCounter(prometheus.CounterOpts{
				Name: "multirate_journal_failures_total", Help: "Events and snapshots that were not kept.",
			}),
		}
		r.MustRegister(timed.appends, timed.failures)
		s.options.Journal = timed
	}
	return m
}

// timedJournal measures a journal.
type timedJournal struct {
	Journal
	appends  prometheus.Histogram
	failures prometheus.Counter
}

// Append times and counts.
func (j *timedJournal) Append(ctx context.Context, run string, after uint64, event []byte) (uint64, error) {
	begin := time.Now()
	sequence, err := j.Journal.Append(ctx, run, after, event)
	if err != nil {
		j.failures.Inc()
	} else {
		j.appends.Observe(time.Since(begin).Seconds())
	}
	return sequence, err
}

// Save counts failures.
func (j *timedJournal) Save(ctx context.Context, run string, s journal.Snapshot) (uint64, error) {
	revision, err := j.Journal.Save(ctx, run, s)
	if err != nil {
		j.failures.Inc()
	}
	return revision, err
}
