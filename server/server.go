package server

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	journalv1 "multirate/proto/multirate/journal/v1"
	pb "multirate/proto/multirate/v1"
	"multirate/server/store"
)

// Server implements multirate.v1.LearningRateService.
type Server struct {
	pb.UnimplementedLearningRateServiceServer

	options Options
	log     *slog.Logger
	runs    store.Store[*run]
	memory  budget
	kept    keptVectors
	tenants tenants
	// post shares memory with trainers on this machine.
	post post
	// numerics has a place for each estimate that computes. Calls for rates take
	// none, and find every other core free.
	numerics chan struct{}
	// preparation works ahead of runs' next steps.
	preparation preparation
	owners      owners

	metrics *metrics
	ready   atomic.Bool

	stopOnce sync.Once
	stopping chan struct{}
}

// New makes a server without runs; see [Server.Recover].
func New(options Options) *Server {
	options = options.withDefaults()
	s := &Server{
		options:  options,
		log:      options.Logger,
		runs:     &store.Memory[*run]{Limit: options.MaxRuns},
		memory:   budget{limit: options.MaxTotalBytes},
		tenants:  tenants{limits: options.Tenant},
		stopping: make(chan struct{}),
		numerics: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	s.preparation.work = s.prepare
	s.post.log = s.log
	s.metrics = newMetrics(s, options.Metrics)
	return s
}

// Register registers the service, and that of its runs' histories.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	pb.RegisterLearningRateServiceServer(registrar, s)
	journalv1.RegisterHistoryServiceServer(registrar, history{Server: s})
}

// Stop tells streams of rates, reports and events to end, UNAVAILABLE, once
// they wait for the next message. Estimates go on; a graceful stop of the gRPC
// server waits for them. Calling it again does nothing.
func (s *Server) Stop() { s.stopOnce.Do(func() { close(s.stopping) }) }

// Ready reports why calls should go elsewhere: runs are not recovered yet, the
// server is stopping, or its journal takes nothing. nil: they are welcome.
func (s *Server) Ready() error {
	if !s.ready.Load() {
		return errors.New("not serving")
	}
	if s.options.Cluster != nil {
		if err := s.options.Cluster.Valid(); err != nil {
			return err
		}
	}
	if s.options.Journal == nil {
		return nil
	}
	return s.options.Journal.Writable()
}

// lookup resolves the run that a request names.
func (s *Server) lookup(ctx context.Context, id string) (*run, error) {
	r, err := s.runs.Get(ctx, keyOf(ctx, id).String())
	if err == nil {
		return r, nil
	}
	var v violations
	if v.runID("run_id", id); len(v.list) > 0 {
		return nil, v.err()
	}
	if s.options.Cluster != nil && errors.Is(err, store.ErrNotFound) {
		return s.find(ctx, keyOf(ctx, id))
	}
	return nil, storeError(err, id, s.options.MaxRuns)
}

// storeError translates an error of the store.
func storeError(err error, id string, limit int) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return runNotFound(id)
	case errors.Is(err, store.ErrFull):
		return refuseQuota(ReasonTooManyRuns, "runs", "runs", int64(limit),
			"the server holds %d runs, as many as it may: delete finished ones with DeleteRun", limit)
	}
	return coreError(err)
}
