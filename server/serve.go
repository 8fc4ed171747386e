package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	pb "multirate/proto/multirate/v1"
	"multirate/proto/multirate/v1/wire"
)

const (
	// idlePing is after how long without traffic a client is asked whether it
	// is still there, pingTimeout how long it has to answer. Streams of dead
	// clients, and the memory of their estimates, then end.
	idlePing    = time.Minute
	pingTimeout = 20 * time.Second
	// leastPing is how often clients may ping, also between calls: a trainer's
	// steps may be minutes apart.
	leastPing = 10 * time.Second
	// windowBytes is HTTP/2's flow control window: a few chunks, so that big
	// vectors are not held up by acknowledgements.
	windowBytes = 4 << 20
	// callWorkers are goroutines that serve one call after the other, as long as
	// one is free. A goroutine for each call would grow its stack anew each time:
	// 8 % of the time of a server at 10,000 steps a second.
	callWorkers = 64
)

// GRPCOptions are the options of a gRPC server that [Server] is registered on:
// limits, keepalive, authentication and recovery from panics.
func (s *Server) GRPCOptions() []grpc.ServerOption {
	unary := []grpc.UnaryServerInterceptor{RecoverUnary(s.log), s.admitUnary, s.shareUnary}
	streams := []grpc.StreamServerInterceptor{RecoverStream(s.log), s.admitStream}
	if s.metrics != nil { // outermost, so that refusals count
		unary = slices.Insert(unary, 0, s.metrics.calls.UnaryServerInterceptor())
		streams = slices.Insert(streams, 0, s.metrics.calls.StreamServerInterceptor())
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(s.options.MaxMessageBytes),
		grpc.MaxConcurrentStreams(s.options.MaxConcurrentStreams),
		grpc.NumStreamWorkers(callWorkers),
		grpc.ForceServerCodecV2(wire.Codec()),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(windowBytes),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: idlePing, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: leastPing, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(unary...),
		grpc.ChainStreamInterceptor(streams...),
	}
	if s.options.Calls != nil {
		options = append(options, grpc.StatsHandler(s.options.Calls))
	}
	return options
}

// Serve is [Server.Serve] of a new [Server].
func Serve(ctx context.Context, options Options, listeners ...net.Listener) error {
	return New(options).Serve(ctx, listeners...)
}

// Serve serves with the journal's runs, health and reflection, on all listeners
// until ctx ends or a listener fails, and closes them. It then stops gracefully:
// no new calls, streams of rates and events end UNAVAILABLE, other calls may
// finish within [Options.StopGrace]. The error is nil when ctx has ended.
//
// The health of the whole server, "", says that the process is alive, that of
// the service's name whether it is ready.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	if len(listeners) == 0 {
		return errors.New("server: no listener")
	}
	if err := s.Recover(ctx); err != nil {
		for _, l := range listeners {
			_ = l.Close() // the error that matters is the recovery's
		}
		return err
	}
	g, state := s.grpcServer()
	serving, done := context.WithCancel(ctx)
	defer done()
	var background sync.WaitGroup
	background.Go(func() { s.warm(ctx) })
	background.Go(func() { s.reclaim(serving) })
	if s.options.Cluster != nil {
		s.options.Cluster.Serve(s.answerForwarded)
	}
	background.Go(func() { s.tellHealth(serving, state) })
	s.ready.Store(true)
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		s.log.Info("serving", "network", l.Addr().Network(), "address", l.Addr().String())
		defer s.post.open(l)()
		go func() { failed <- g.Serve(l) }()
	}
	var err error
	waiting := len(listeners)
	select {
	case <-ctx.Done():
	case err = <-failed:
		waiting--
	}
	s.ready.Store(false)
	s.Stop()
	done()
	background.Wait()
	state.Shutdown() // watchers of the health see NOT_SERVING
	s.handOver(context.WithoutCancel(ctx))
	stopWithin(g, s.options.StopGrace, s.log)
	s.saveAll(context.WithoutCancel(ctx))
	for range waiting {
		if e := <-failed; !errors.Is(e, grpc.ErrServerStopped) { // stopped before it began
			err = errors.Join(err, e)
		}
	}
	s.log.Info("stopped")
	return err
}

// grpcServer is a gRPC server with all services.
func (s *Server) grpcServer() (*grpc.Server, *health.Server) {
	options := s.GRPCOptions()
	if s.options.Credentials != nil {
		options = append(options, grpc.Creds(s.options.Credentials))
	}
	g := grpc.NewServer(options...)
	s.Register(g)
	state := health.NewServer()
	state.SetServingStatus(pb.LearningRateService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(g, state)
	reflection.Register(g)
	if s.metrics != nil {
		s.metrics.calls.InitializeMetrics(g)
	}
	return g, state
}

// tellHealth keeps the service's health what [Server.Ready] says.
func (s *Server) tellHealth(ctx context.Context, state *health.Server) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		status := healthpb.HealthCheckResponse_SERVING
		if s.Ready() != nil {
			status = healthpb.HealthCheckResponse_NOT_SERVING
		}
		state.SetServingStatus(pb.LearningRateService_ServiceDesc.ServiceName, status)
	}
}

// stopWithin stops gracefully, and hard after the time given.
func stopWithin(g *grpc.Server, grace time.Duration, log *slog.Logger) {
	timer := time.AfterFunc(grace, func() {
		log.Warn("calls were cut off by the stop", "grace", grace)
		g.Stop()
	})
	defer timer.Stop()
	g.GracefulStop()
}
