package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"

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

	stopOnce sync.Once
	stopping chan struct{}
}

// New makes a server without runs; see [Server.Recover].
func New(options Options) *Server {
	options = options.withDefaults()
	return &Server{
		options:  options,
		log:      options.Logger,
		runs:     &store.Memory[*run]{Limit: options.MaxRuns},
		memory:   budget{limit: options.MaxTotalBytes},
		stopping: make(chan struct{}),
	}
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
