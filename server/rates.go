package server

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	pb "multirate/proto/multirate/v1"
)

// GetLearningRate implements the RPC of that name.
func (s *Server) GetLearningRate(ctx context.Context, req *pb.GetLearningRateRequest) (*pb.GetLearningRateResponse, error) {
	r, err := s.lookup(ctx, req.GetRunId())
	if err != nil {
		return nil, err
	}
	if err := r.lock(); err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	if ctx.Err() != nil { // it has waited too long for the run; nobody reads the answer
		return nil, interrupted(ctx)
	}
	a, err := r.advise(reportOf(req), s.options.Now)
	if a.applied {
		s.preparation.soon(r)
	}
	return a.answer, err
}

func reportOf(req *pb.GetLearningRateRequest) *report {
	return &report{step: req.GetStep(), statistics: req.GetStatistics(), applied: req.GetAppliedLearningRates(), asked: true}
}

// StreamLearningRates implements the RPC of that name.
func (s *Server) StreamLearningRates(stream grpc.BidiStreamingServer[pb.StreamLearningRatesRequest, pb.StreamLearningRatesResponse]) error {
	ctx := stream.Context()
	in := receive(ctx, stream.Recv)
	in.stopping = s.stopping
	var r *run
	for {
		message, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		req := message.GetRequest()
		if r, err = follow(ctx, s, in, r, req.GetRunId()); err != nil {
			return err
		}
		a, err := s.adviseAlive(in.life, r, reportOf(req))
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.StreamLearningRatesResponse{Response: a.answer}); err != nil {
			return err
		}
		s.preparation.soon(r)
	}
}

// follow resolves the run of a stream at its first message and holds later ones
// to it.
func follow[M any](ctx context.Context, s *Server, in *inbox[M], r *run, id string) (*run, error) {
	if r == nil {
		r, err := s.lookup(ctx, id)
		if err != nil {
			return nil, err
		}
		return r, in.attach(r)
	}
	if id != "" && id != r.id {
		var v violations
		v.add(ReasonRunMixed, "run_id", "is %.140q, but this stream is of run %q: open one stream for each run", id, r.id)
		return nil, v.err()
	}
	return r, nil
}

func (s *Server) adviseAlive(life context.Context, r *run, rep *report) (advice, error) {
	return patiently(life, s, func() (advice, error) {
		if err := r.lockAlive(life); err != nil {
			return advice{}, err
		}
		defer r.mu.Unlock()
		return r.advise(rep, s.options.Now)
	})
}

// ReportStatistics implements the RPC of that name.
func (s *Server) ReportStatistics(stream grpc.ClientStreamingServer[pb.ReportStatisticsRequest, pb.ReportStatisticsResponse]) error {
	ctx := stream.Context()
	in := receive(ctx, stream.Recv)
	in.stopping = s.stopping
	var r *run
	var reply pb.ReportStatisticsResponse
	for {
		req, err := in.next()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&reply)
		}
		if err != nil {
			return err
		}
		if r, err = follow(ctx, s, in, r, req.GetRunId()); err != nil {
			return err
		}
		a, err := s.adviseAlive(in.life, r, &report{
			step: req.GetStep(), statistics: req.GetStatistics(), applied: req.GetAppliedLearningRates(),
		})
		if err != nil {
			return err
		}
		if a.applied {
			reply.AppliedCount++
		}
		reply.LatestStep = &a.answer.Step
		s.saveIfDue(r)
	}
}

// saveIfDue saves a snapshot behind a report; reports come without a pause in
// which to prepare.
func (s *Server) saveIfDue(r *run) {
	if r.ledger == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.save(r, snapshotEvery)
}
