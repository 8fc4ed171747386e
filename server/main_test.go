package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// socket is a fresh address; t.TempDir may be too long for one.
func socket(t testing.TB) string {
	dir, err := os.MkdirTemp("", "multirate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return "unix://" + filepath.Join(dir, "s")
}

// serve runs a server at the address until the test ends or stop is called.
func serve(t testing.TB, address string, options Options) (addr string, stop func()) {
	t.Helper()
	if options.Logger == nil {
		options.Logger = quiet
	}
	l, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, options, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(stop)
	if l.Addr().Network() == "tcp" {
		return l.Addr().String(), stop
	}
	return address, stop
}

func dial(t testing.TB, address string) pb.LearningRateServiceClient {
	return pb.NewLearningRateServiceClient(connect(t, address))
}

func connect(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20), grpc.MaxCallSendMsgSize(32<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// start is a client of a fresh server on a unix socket.
func start(t testing.TB, options Options) pb.LearningRateServiceClient {
	t.Helper()
	address, _ := serve(t, socket(t), options)
	return dial(t, address)
}

// serveExisting serves s, whose insides the test looks at, until the test ends.
func serveExisting(t testing.TB, s *Server) pb.LearningRateServiceClient {
	t.Helper()
	address := socket(t)
	l, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(s.GRPCOptions()...)
	s.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return dial(t, address)
}

func create(t testing.TB, c pb.LearningRateServiceClient, r *pb.Run) *pb.Run {
	t.Helper()
	resp, err := c.CreateRun(t.Context(), &pb.CreateRunRequest{Run: r})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Run
}

// trainer descends 0.5 sum_i h_i x_i^2 with the rates it is given.
type trainer struct {
	run     string
	hessian []float64
	x       []float64
	step    int64
	sketch  int // 0: scalars only
}

func newTrainer(run string, hessian []float64, sketch int) *trainer {
	x := make([]float64, len(hessian))
	for i := range x {
		x[i] = 1 / math.Sqrt(hessian[i])
	}
	return &trainer{run: run, hessian: hessian, x: x, sketch: sketch}
}

// threeScales is a spectrum with gaps of about a hundred.
func threeScales() []float64 {
	var h []float64
	for i := range 5 {
		f := 1 + float64(i)/4
		h = append(h, f, 0.01*f, 1e-4*f)
	}
	return h
}

func (tr *trainer) statistics() *pb.Statistics {
	loss, norm := 0.0, 0.0
	sketch := make([]float32, tr.sketch)
	for i, h := range tr.hessian {
		g := h * tr.x[i]
		loss += g * tr.x[i] / 2
		norm += g * g
		if tr.sketch > 0 { // any linear map will do
			sketch[i%tr.sketch] += float32(g)
		}
	}
	st := &pb.Statistics{Loss: &loss, GradientNormSquared: &norm}
	if tr.sketch > 0 {
		st.Sketches = []*pb.Sketch{{Kind: pb.SketchKind_SKETCH_KIND_GRADIENT, Values: sketch}}
	}
	return st
}

func (tr *trainer) request() *pb.GetLearningRateRequest {
	return &pb.GetLearningRateRequest{RunId: tr.run, Step: tr.step, Statistics: tr.statistics()}
}

func (tr *trainer) descend(rate float64) {
	for i, h := range tr.hessian {
		tr.x[i] -= rate * h * tr.x[i]
	}
	tr.step++
}

// train takes steps and returns the answers.
func (tr *trainer) train(t testing.TB, c pb.LearningRateServiceClient, steps int) []*pb.GetLearningRateResponse {
	t.Helper()
	var answers []*pb.GetLearningRateResponse
	for range steps {
		answer, err := c.GetLearningRate(t.Context(), tr.request())
		if err != nil {
			t.Fatalf("step %d: %v", tr.step, err)
		}
		answers = append(answers, answer)
		tr.descend(answer.Rates[0].LearningRate)
	}
	return answers
}

func (tr *trainer) clone() *trainer {
	c := *tr
	c.x = slices.Clone(tr.x)
	return &c
}

// refusal is what a status tells.
type refusal struct {
	code   codes.Code
	reason string
	field  string // of the first violation
}

// wantRefusal checks a status: code, ErrorInfo and, where a field is named, the
// violation, which must say what to do.
func wantRefusal(t testing.TB, err error, want refusal) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v %s", want.code, want.reason)
	}
	st, got := status.Convert(err), refusal{}
	got.code = st.Code()
	description := st.Message()
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			got.reason = d.Reason
			if d.Domain != Domain {
				t.Errorf("domain %q, want %q", d.Domain, Domain)
			}
		case *errdetails.BadRequest:
			got.field = d.FieldViolations[0].Field
			description = d.FieldViolations[0].Description
			if r := d.FieldViolations[0].Reason; r != want.reason {
				t.Errorf("the violation's reason is %q, want %q", r, want.reason)
			}
		}
	}
	if got != want {
		t.Errorf("refused with %+v, want %+v: %v", got, want, st.Message())
	}
	if want.field != "" && !strings.Contains(description, ": ") {
		t.Errorf("%q does not say what to do", description)
	}
}

// sameMessage compares messages by content.
func sameMessage(t testing.TB, what string, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

func snapshot(t testing.TB, c pb.LearningRateServiceClient, id string) *pb.SnapshotRunResponse {
	t.Helper()
	resp, err := c.SnapshotRun(t.Context(), &pb.SnapshotRunRequest{RunId: id})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// lastError is the status that ends a stream.
func lastError[M any](recv func() (M, error)) error {
	for {
		if _, err := recv(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}
