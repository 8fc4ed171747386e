package server

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "multirate/proto/multirate/v1"
)

// TestManyAtOnce: calls of all kinds on a few runs from many clients at once.
// Each ends with an answer or one of the codes that races may bring about, and
// runs keep their promise: a step has one answer, whoever asks.
func TestManyAtOnce(t *testing.T) {
	s := New(Options{Logger: quiet, MaxRuns: 3})
	c := serveExisting(t, s)
	const workers, rounds = 8, 40
	allowed := map[codes.Code]bool{codes.OK: true, codes.NotFound: true, codes.Aborted: true, codes.FailedPrecondition: true,
		codes.AlreadyExists: true, codes.ResourceExhausted: true, codes.Canceled: true}
	template := newTrainer("", threeScales(), 15)
	snap := trained(t, 5)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				id := fmt.Sprint("r", (w+i)%4)
				if err := anything(ctx, c, template, w*7+i*3, id, snap); !allowed[status.Code(err)] {
					t.Errorf("worker %d, round %d: %v", w, i, err)
				}
				cancel()
			}
		})
	}
	group.Wait()
	settle(t, "memory released", func() bool { return s.memory.used.Load() == 0 })
}

// anything makes the n-th kind of call.
func anything(ctx context.Context, c pb.LearningRateServiceClient, template *trainer, n int, id string, snap []byte) error {
	request := template.request()
	request.RunId, request.Step = id, int64(n%11)
	switch n % 10 {
	case 0, 1:
		_, err := c.CreateRun(ctx, &pb.CreateRunRequest{Run: sketched(id)})
		return err
	case 2:
		stream, err := c.EstimateSpectrum(ctx)
		if err != nil {
			return err
		}
		_ = stream.Send(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Start{
			Start: &pb.EstimateSpectrumStart{RunId: id, MaxProducts: 5}}})
		_, err = stream.Recv()
		return err
	case 3:
		stream, err := c.WatchRun(ctx, &pb.WatchRunRequest{RunId: id})
		if err != nil {
			return err
		}
		_, err = stream.Header()
		return err
	case 4:
		_, err := c.DeleteRun(ctx, &pb.DeleteRunRequest{RunId: id})
		return err
	case 5:
		_, err := c.RestoreRun(ctx, &pb.RestoreRunRequest{Snapshot: snap, RunId: id, Overwrite: n%3 > 0})
		return err
	case 6:
		if _, err := c.ListRuns(ctx, &pb.ListRunsRequest{}); err != nil {
			return err
		}
		_, err := c.SnapshotRun(ctx, &pb.SnapshotRunRequest{RunId: id})
		return err
	case 7:
		_, err := c.ReportLanczos(ctx, &pb.ReportLanczosRequest{RunId: id,
			Coefficients: &pb.LanczosCoefficients{Alpha: []float64{3, 1}, Beta: []float64{1, 0}}})
		return err
	case 8:
		_, err := c.GetSpectrum(ctx, &pb.GetSpectrumRequest{RunId: id, DensityPoints: 9})
		return err
	}
	_, err := c.GetLearningRate(ctx, request)
	return err
}

// TestOneAnswerForAStep: clients that race for the same steps of a run get the
// same answers.
func TestOneAnswerForAStep(t *testing.T) {
	c := start(t, Options{})
	create(t, c, sketched("r"))
	tr := newTrainer("r", threeScales(), 15)
	const clients, steps = 6, 30
	for range steps {
		request := tr.request()
		answers := make([]*pb.GetLearningRateResponse, clients)
		var group sync.WaitGroup
		for i := range clients {
			group.Go(func() {
				var err error
				if answers[i], err = c.GetLearningRate(t.Context(), request); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, a := range answers {
			sameMessage(t, "answer", a, answers[0])
		}
		tr.descend(answers[0].Rates[0].LearningRate)
	}
}
