package multirate

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	multiratev1 "multirate/proto/multirate/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeService keeps the contract's order of steps and answers every step by the
// same advice. It records what it was told.
type fakeService struct {
	multiratev1.UnimplementedLearningRateServiceServer

	// advice is the answer to every step.
	advice *multiratev1.GetLearningRateResponse
	// hold, if any, keeps every rate from being answered until it is closed.
	hold chan struct{}

	mu       sync.Mutex
	run      *multiratev1.Run
	failures []error
	// failReports fails a report stream after so many reports, once.
	failReports int
	asked       []*multiratev1.GetLearningRateRequest
	answered    *multiratev1.GetLearningRateRequest
	reported    []*multiratev1.ReportStatisticsRequest
	streams     int
	// probes are what EstimateSpectrum streams, before changing them by damage.
	probes   [][]float64
	damage   func(*multiratev1.VectorChunk)
	products [][]float64
	estimate chan error
}

func rateAdvice(rate float64, upcoming ...float64) *multiratev1.GetLearningRateResponse {
	advice := &multiratev1.GetLearningRateResponse{
		Rates:       []*multiratev1.ParamGroupRate{{LearningRate: rate}},
		Explanation: &multiratev1.Explanation{Reason: ReasonPlanned, ScaleIndex: 1, ScaleCount: 3},
	}
	for _, u := range upcoming {
		advice.Upcoming = append(advice.Upcoming, &multiratev1.UpcomingRates{LearningRates: []float64{u}})
	}
	return advice
}

// serve starts the service on a unix socket and returns a client of it.
func serve(t *testing.T, service *fakeService) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	multiratev1.RegisterLearningRateServiceServer(server, service)
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	client, err := Dial(t.Context(), "unix://"+socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return client
}

func (f *fakeService) CreateRun(_ context.Context, req *multiratev1.CreateRunRequest) (*multiratev1.CreateRunResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fail(); err != nil {
		return nil, err
	}
	if f.run == nil {
		f.run = proto.CloneOf(req.GetRun())
		if f.run.Sketch.GetDimension() == 0 {
			f.run.Sketch.Dimension = 251
		}
	}
	return &multiratev1.CreateRunResponse{Run: f.run}, nil
}

func (f *fakeService) GetRun(context.Context, *multiratev1.GetRunRequest) (*multiratev1.GetRunResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &multiratev1.GetRunResponse{Run: f.run}, nil
}

func (f *fakeService) fail() error {
	if len(f.failures) == 0 {
		return nil
	}
	err := f.failures[0]
	f.failures = f.failures[1:]
	return err
}

// advance moves the run to a step, which must come after the latest one.
func (f *fakeService) advance(step int64) error {
	if f.run.LatestStep != nil && step <= f.run.GetLatestStep() {
		return status.Errorf(codes.FailedPrecondition, "step %d after step %d", step, f.run.GetLatestStep())
	}
	f.run.LatestStep = &step
	return nil
}

func (f *fakeService) GetLearningRate(ctx context.Context, req *multiratev1.GetLearningRateRequest) (*multiratev1.GetLearningRateResponse, error) {
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, req)
	if err := f.fail(); err != nil {
		return nil, err
	}
	if !proto.Equal(req, f.answered) {
		if err := f.advance(req.GetStep()); err != nil {
			return nil, err
		}
	}
	f.answered = req
	advice := proto.CloneOf(f.advice)
	advice.Step = req.GetStep()
	return advice, nil
}

func (f *fakeService) StreamLearningRates(stream multiratev1.LearningRateService_StreamLearningRatesServer) error {
	f.mu.Lock()
	f.streams++
	f.mu.Unlock()
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp, err := f.GetLearningRate(stream.Context(), req.GetRequest())
		if err != nil {
			return err
		}
		if err := stream.Send(&multiratev1.StreamLearningRatesResponse{Response: resp}); err != nil {
			return err
		}
	}
}

func (f *fakeService) ReportStatistics(stream multiratev1.LearningRateService_ReportStatisticsServer) error {
	for n := int64(0); ; n++ {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&multiratev1.ReportStatisticsResponse{AppliedCount: n})
		}
		if err != nil {
			return err
		}
		if err := f.report(req, int(n)); err != nil {
			return err
		}
	}
}

func (f *fakeService) report(req *multiratev1.ReportStatisticsRequest, n int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failReports > 0 && n == f.failReports {
		f.failReports = 0
		return status.Error(codes.Unavailable, "going away")
	}
	if err := f.advance(req.GetStep()); err != nil {
		return err
	}
	f.reported = append(f.reported, req)
	return nil
}

func (f *fakeService) EstimateSpectrum(stream multiratev1.LearningRateService_EstimateSpectrumServer) (err error) {
	defer func() {
		if f.estimate != nil {
			f.estimate <- err
		}
	}()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	c := chunking{elements: int(start.GetChunkElements()), width: wireWidths[start.GetFormat()]}
	for i, probe := range f.probes {
		for out := range encodeChunks(c, int32(i), probe) {
			chunk := out.Chunk
			chunk.Data = out.Data.ReadOnlyData()
			if f.damage != nil {
				f.damage(chunk)
			}
			if err := stream.Send(&multiratev1.EstimateSpectrumResponse{
				Message: &multiratev1.EstimateSpectrumResponse_Probe{Probe: chunk},
			}); err != nil {
				return err
			}
		}
		product := make([]float64, len(probe))
		for filled := 0; filled < len(probe); {
			req, err := stream.Recv()
			if err != nil {
				return err
			}
			n, err := decodeChunk(c, product, filled, int32(i), req.GetProduct(), [][]byte{req.GetProduct().GetData()})
			if err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
			filled += n
		}
		f.products = append(f.products, product)
		if err := stream.Send(&multiratev1.EstimateSpectrumResponse{
			Message: &multiratev1.EstimateSpectrumResponse_Progress{Progress: &Progress{Products: int32(i + 1)}},
		}); err != nil {
			return err
		}
	}
	return stream.Send(&multiratev1.EstimateSpectrumResponse{
		Message: &multiratev1.EstimateSpectrumResponse_Spectrum{Spectrum: &Spectrum{Products: int32(len(f.probes))}},
	})
}

func (f *fakeService) SnapshotRun(context.Context, *multiratev1.SnapshotRunRequest) (*multiratev1.SnapshotRunResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	snapshot, err := proto.Marshal(f.run)
	return &multiratev1.SnapshotRunResponse{Snapshot: snapshot}, err
}

func (f *fakeService) RestoreRun(_ context.Context, req *multiratev1.RestoreRunRequest) (*multiratev1.RestoreRunResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	run := new(multiratev1.Run)
	if err := proto.Unmarshal(req.GetSnapshot(), run); err != nil {
		return nil, status.Error(codes.DataLoss, err.Error())
	}
	if f.run != nil && f.run.GetRunId() == req.GetRunId() && !req.GetOverwrite() {
		return nil, status.Error(codes.AlreadyExists, "there is one")
	}
	if req.GetRunId() != "" {
		run.RunId = req.GetRunId()
	}
	f.run, f.answered = run, nil
	return &multiratev1.RestoreRunResponse{Run: run}, nil
}
