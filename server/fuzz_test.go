package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
	"multirate/proto/multirate/v1/wire"
	"multirate/server/access"
)

// fed is a stream whose client has sent all it will.
type fed[In, Out any] struct {
	ctx  context.Context
	in   []*In
	sent int
}

func (f *fed[In, Out]) Recv() (*In, error) {
	if len(f.in) == 0 {
		return nil, io.EOF
	}
	m := f.in[0]
	f.in = f.in[1:]
	return m, nil
}

func (f *fed[In, Out]) Send(*Out) error              { f.sent++; return nil }
func (f *fed[In, Out]) SendAndClose(*Out) error      { return nil }
func (f *fed[In, Out]) Context() context.Context     { return f.ctx }
func (f *fed[In, Out]) SetHeader(metadata.MD) error  { return nil }
func (f *fed[In, Out]) SendHeader(metadata.MD) error { return nil }
func (f *fed[In, Out]) SetTrailer(metadata.MD)       {}
func (f *fed[In, Out]) SendMsg(any) error            { return nil }

// RecvMsg is for the streams whose messages the handler has a type of its own for.
func (f *fed[In, Out]) RecvMsg(into any) error {
	m, err := f.Recv()
	if err != nil {
		return err
	}
	b, err := proto.Marshal(any(m).(proto.Message))
	if err != nil {
		return err
	}
	return wire.Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, into)
}

// feed splits data into messages, each behind its length.
func feed[In, Out any, P interface {
	*In
	proto.Message
}](ctx context.Context, data []byte) (*fed[In, Out], bool) {
	f := &fed[In, Out]{ctx: ctx}
	for len(data) >= 2 && len(f.in) < 64 {
		n := min(int(binary.LittleEndian.Uint16(data)), len(data)-2)
		m := P(new(In))
		if proto.Unmarshal(data[2:2+n], m) != nil {
			return nil, false
		}
		f.in = append(f.in, (*In)(m))
		data = data[2+n:]
	}
	return f, true
}

// caller calls one method with bytes that any client might send. ok is false
// where gRPC would have refused them itself; streamed tells that what came before
// the refusal may have counted.
type caller func(ctx context.Context, s *Server, data []byte) (streamed, ok bool, err error)

func unary[In, Out any, P interface {
	*In
	proto.Message
}](call func(*Server, context.Context, P) (Out, error)) caller {
	return func(ctx context.Context, s *Server, data []byte) (bool, bool, error) {
		m := P(new(In))
		if proto.Unmarshal(data, m) != nil {
			return false, false, nil
		}
		_, err := call(s, ctx, m)
		return false, true, err
	}
}

var callers = []caller{
	unary((*Server).CreateRun), unary((*Server).GetRun), unary((*Server).ListRuns), unary((*Server).DeleteRun),
	unary((*Server).GetLearningRate), unary((*Server).ReportLanczos), unary((*Server).GetSpectrum),
	unary((*Server).SnapshotRun), unary((*Server).RestoreRun),
	func(ctx context.Context, s *Server, data []byte) (bool, bool, error) {
		f, ok := feed[pb.StreamLearningRatesRequest, pb.StreamLearningRatesResponse](ctx, data)
		if !ok {
			return true, false, nil
		}
		return true, true, s.StreamLearningRates(f)
	},
	func(ctx context.Context, s *Server, data []byte) (bool, bool, error) {
		f, ok := feed[pb.ReportStatisticsRequest, pb.ReportStatisticsResponse](ctx, data)
		if !ok {
			return true, false, nil
		}
		return true, true, s.ReportStatistics(f)
	},
	func(ctx context.Context, s *Server, data []byte) (bool, bool, error) {
		f, ok := feed[pb.EstimateSpectrumRequest, pb.EstimateSpectrumResponse](ctx, data)
		if !ok {
			return false, false, nil
		}
		return false, true, s.EstimateSpectrum(f)
	},
	func(ctx context.Context, s *Server, data []byte) (bool, bool, error) {
		var m pb.WatchRunRequest
		if proto.Unmarshal(data, &m) != nil {
			return false, false, nil
		}
		ended, cancel := context.WithCancel(ctx)
		cancel() // it would wait for events
		return false, true, s.WatchRun(&m, &fed[pb.WatchRunRequest, pb.WatchRunResponse]{ctx: ended})
	},
}

var _ grpc.BidiStreamingServer[pb.StreamLearningRatesRequest, pb.StreamLearningRatesResponse] = (*fed[pb.StreamLearningRatesRequest, pb.StreamLearningRatesResponse])(nil)

// FuzzCalls sends anything to any method of a server with one run. No call may
// panic or end without a status of this service, and a refused one leaves the
// run as it was.
func FuzzCalls(f *testing.F) {
	message := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	framed := func(m proto.Message) []byte {
		b := message(m)
		return append(binary.LittleEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	next := newTrainer("r", threeScales(), 15)
	next.step = 20
	report := &pb.ReportStatisticsRequest{RunId: "r", Step: 20, Statistics: next.statistics()}
	seed := trained(f, 20)
	for i, data := range [][]byte{
		message(&pb.CreateRunRequest{Run: &pb.Run{RunId: "n", Dimension: 10, ParamGroups: []*pb.ParamGroup{{Name: "g", Size: 10}}}}),
		message(&pb.GetRunRequest{RunId: "r"}),
		message(&pb.ListRunsRequest{PageSize: 3, Labels: map[string]string{"k": "v"}}),
		message(&pb.DeleteRunRequest{RunId: "s"}),
		message(next.request()),
		message(&pb.ReportLanczosRequest{RunId: "r", Coefficients: &pb.LanczosCoefficients{Alpha: []float64{1, 0.01}, Beta: []float64{1e-6}}}),
		message(&pb.GetSpectrumRequest{RunId: "r", DensityPoints: 8}),
		message(&pb.SnapshotRunRequest{RunId: "r"}),
		message(&pb.RestoreRunRequest{Snapshot: seed, RunId: "t", Overwrite: true}),
		framed(&pb.StreamLearningRatesRequest{Request: next.request()}),
		framed(report),
		framed(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Start{Start: &pb.EstimateSpectrumStart{RunId: "r", MaxProducts: 2}}}),
		message(&pb.WatchRunRequest{RunId: "r"}),
	} {
		f.Add(uint8(i), data)
	}
	f.Fuzz(func(t *testing.T, method uint8, data []byte) {
		restored, err := decodeState(seed)
		if err != nil {
			t.Fatal(err)
		}
		s := New(Options{Logger: quiet, MaxRunBytes: 1 << 20, MaxTotalBytes: 1 << 20})
		key := runKey{access.DefaultTenant, "r"}
		r := newRun(key, restored)
		if err := s.runs.Create(t.Context(), key.String(), r); err != nil {
			t.Fatal(err)
		}
		streamed, ok, err := callers[int(method)%len(callers)](t.Context(), s, data)
		if !ok || err == nil {
			return
		}
		if code := status.Code(err); code == codes.Unknown || code == codes.Internal || errors.Is(err, io.EOF) {
			t.Errorf("refused with %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		after, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if !streamed && !bytes.Equal(after, seed) {
			t.Error("the refused call changed the run")
		}
	})
}
