package server

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	pb "multirate/proto/multirate/v1"
)

// TestServesOnSocketAndTCP: both at once, one set of runs.
func TestServesOnSocketAndTCP(t *testing.T) {
	address := socket(t)
	unix, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, Options{Logger: quiet}, unix, tcp) }()
	create(t, dial(t, address), sketched("r"))
	newTrainer("r", threeScales(), 15).train(t, dial(t, tcp.Addr().String()), 3)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(unix.Addr().String()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// TestServeFailsWithItsListener: a dead listener ends the server, aloud.
func TestServeFailsWithItsListener(t *testing.T) {
	dead, err := Listen(socket(t))
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	live, err := Listen(socket(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), Options{Logger: quiet}, live, dead); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v", err)
	}
	if err := Serve(t.Context(), Options{Logger: quiet}); err == nil {
		t.Error("served on nothing")
	}
}

// TestServeAlreadyOver: a context that has ended is a clean stop.
func TestServeAlreadyOver(t *testing.T) {
	l, err := Listen(socket(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Serve(ctx, Options{Logger: quiet}, l); err != nil {
		t.Error(err)
	}
}

// TestSocketsAreTheOwners: and stale ones are replaced, live ones and other
// files not.
func TestSocketsAreTheOwners(t *testing.T) {
	address := socket(t)
	path := strings.TrimPrefix(address, "unix://")
	mode := func() fs.FileMode {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	first, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	if m := mode(); m != fs.ModeSocket|0o600 {
		t.Errorf("mode %v", m)
	}
	if _, err := Listen(address); !errors.Is(err, ErrAddressInUse) {
		t.Errorf("second listener: %v", err)
	}
	// Killed: the socket stays.
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	second, err := Listen("unix:" + path)
	if err != nil {
		t.Fatalf("on a stale socket: %v", err)
	}
	if m := mode(); m != fs.ModeSocket|0o600 {
		t.Errorf("mode %v", m)
	}
	second.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(address); err == nil {
		t.Error("listens on a file")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file is %q, %v", b, err)
	}
	if _, err := Listen("unix://" + filepath.Join(path, "x", "y")); err == nil {
		t.Error("listens in a file")
	}
}

// TestHealthAndReflection are on.
func TestHealthAndReflection(t *testing.T) {
	address, stop := serve(t, socket(t), Options{StopGrace: 10 * time.Millisecond})
	conn := connect(t, address)
	for _, service := range []string{"", "multirate.v1.LearningRateService"} {
		got, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, got, err)
		}
	}
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := watch.Recv(); err != nil || m.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", m, err)
	}
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "multirate.v1.Sketch"}})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || m.GetFileDescriptorResponse() == nil {
		t.Errorf("reflection: %v, %v", m, err)
	}
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	if m, err := watch.Recv(); err != nil || m.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("when stopping: %v, %v", m, err)
	}
	<-stopped
}

// TestStopEndsIdleStreams: a stop with all the time in the world does not wait
// for streams that wait for their clients, which learn that they may come back.
func TestStopEndsIdleStreams(t *testing.T) {
	address, stop := serve(t, socket(t), Options{StopGrace: time.Hour})
	c := dial(t, address)
	create(t, c, sketched("r"))
	watch := watching(t, c, "r")
	tr := newTrainer("r", threeScales(), 15)
	rates, err := c.StreamLearningRates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := rates.Send(&pb.StreamLearningRatesRequest{Request: tr.request()}); err != nil {
		t.Fatal(err)
	}
	if _, err := rates.Recv(); err != nil {
		t.Fatal(err)
	}
	next(t, watch)
	stop()
	for name, err := range map[string]error{"rates": lastError(rates.Recv), "watch": lastError(watch.Recv)} {
		t.Run(name, func(t *testing.T) { wantRefusal(t, err, refusal{codes.Unavailable, ReasonStopping, ""}) })
	}
}

// TestStopWaitsForEstimates, which end as if nothing had happened.
func TestStopWaitsForEstimates(t *testing.T) {
	address, stop := serve(t, socket(t), Options{StopGrace: time.Hour})
	c := dial(t, address)
	create(t, c, sketched("r"))
	e := estimateOf(t, c, threeScales(), &pb.EstimateSpectrumStart{RunId: "r"})
	if !e.answer(1) {
		t.Fatal("over")
	}
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	e.send(e.chunks()...)
	if e.answer(100) {
		t.Error("no end")
	}
	<-stopped
}

// TestStopCutsOffAfterItsGrace.
func TestStopCutsOffAfterItsGrace(t *testing.T) {
	address, stop := serve(t, socket(t), Options{StopGrace: 20 * time.Millisecond})
	c := dial(t, address)
	create(t, c, sketched("r"))
	e := estimateOf(t, c, threeScales(), &pb.EstimateSpectrumStart{RunId: "r"})
	if !e.answer(1) {
		t.Fatal("over")
	}
	stop()
	if err := lastError(e.stream.Recv); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

// TestPanicsAreInternal: a panic ends its call alone, says nothing to the
// client and much to the log.
func TestPanicsAreInternal(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	unary := func(context.Context, any) (any, error) { panic("secret") }
	_, err := RecoverUnary(log)(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/m/U"}, unary)
	wantRefusal(t, err, refusal{codes.Internal, ReasonInternal, ""})
	stream := func(any, grpc.ServerStream) error { panic("secret") }
	err2 := RecoverStream(log)(nil, nil, &grpc.StreamServerInfo{FullMethod: "/m/S"}, stream)
	wantRefusal(t, err2, refusal{codes.Internal, ReasonInternal, ""})
	if strings.Contains(err.Error()+err2.Error(), "secret") {
		t.Error("the client learns of the panic")
	}
	for _, want := range []string{"/m/U", "/m/S", "secret", "serve_test.go"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("%q is not logged", want)
		}
	}
}

// TestMessageLimit: a message beyond the limit is refused before it is read, by
// gRPC itself.
func TestMessageLimit(t *testing.T) {
	address, _ := serve(t, socket(t), Options{MaxMessageBytes: 10_000})
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := pb.NewLearningRateServiceClient(conn)
	create(t, c, &pb.Run{RunId: "r", Dimension: 1})
	big := &pb.Statistics{Sketches: []*pb.Sketch{{Values: make([]float32, 4095)}}}
	_, err = c.GetLearningRate(t.Context(), &pb.GetLearningRateRequest{RunId: "r", Statistics: big})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("call: %v", err)
	}
	stream, err := c.StreamLearningRates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&pb.StreamLearningRatesRequest{Request: &pb.GetLearningRateRequest{RunId: "r", Statistics: big}})
	if err := lastError(stream.Recv); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("stream: %v", err)
	}
}
