package multirate

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	multiratev1 "multirate/proto/multirate/v1"
)

// streamAttempts and streamBackoff repeat on streams what serviceConfig does
// for calls, which gRPC cannot retry once a stream has carried an answer.
const (
	streamAttempts = 5
	streamBackoff  = 50 * time.Millisecond
)

// streamAsker asks over one stream, opened at the first question and again
// after a loss. Repeating the last question is safe, since the contract makes
// it idempotent for each step.
type streamAsker struct {
	client *Client
	// service is at the replica that owns the run, as far as is known.
	service multiratev1.LearningRateServiceClient
	stream  multiratev1.LearningRateService_StreamLearningRatesClient
	cancel  context.CancelFunc
}

func (s *streamAsker) ask(ctx context.Context, req *multiratev1.GetLearningRateRequest) (*multiratev1.GetLearningRateResponse, error) {
	wait := streamBackoff
	for attempt := 1; ; attempt++ {
		resp, err := s.exchange(ctx, req)
		if err == nil {
			return resp, nil
		}
		s.close()
		if ctx.Err() != nil {
			return nil, callError("StreamLearningRates", status.FromContextError(ctx.Err()).Err())
		}
		if status.Code(err) != codes.Unavailable || attempt == streamAttempts {
			return nil, callError("StreamLearningRates", err)
		}
		var moved bool
		if s.service, moved = s.client.elsewhere(err); moved {
			continue
		}
		s.service = s.client.service
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// exchange asks once. The stream outlives ctx, which bounds this exchange only
// but lends it its metadata.
func (s *streamAsker) exchange(ctx context.Context, req *multiratev1.GetLearningRateRequest) (*multiratev1.GetLearningRateResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.stream == nil {
		streamContext, cancel := context.WithCancel(context.WithoutCancel(ctx))
		s.cancel = cancel
		stop := context.AfterFunc(ctx, cancel)
		defer stop()
		stream, err := s.service.StreamLearningRates(streamContext)
		if err != nil {
			return nil, err
		}
		s.stream = stream
	}
	stop := context.AfterFunc(ctx, s.cancel)
	err := s.stream.Send(&multiratev1.StreamLearningRatesRequest{Request: req})
	if err != nil && !errors.Is(err, io.EOF) {
		stop()
		return nil, err
	}
	// After io.EOF from Send, Recv returns the status that ended the stream.
	resp, err := s.stream.Recv()
	if !stop() {
		s.close()
	}
	if errors.Is(err, io.EOF) {
		return nil, status.Error(codes.Unavailable, "the service ended the stream")
	}
	return resp.GetResponse(), err
}

// close ends the stream, if there is one.
func (s *streamAsker) close() {
	if s.cancel != nil {
		s.cancel()
	}
	s.stream, s.cancel = nil, nil
}
