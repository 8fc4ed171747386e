// Command latency measures what a learning rate costs beside an empty call: the
// median of GetLearningRate, with a sketch from a real descent, over that of a
// gRPC call which carries the same messages and does nothing. Beside it stands
// the same for runs that are kept on disk. Client and server are two processes on
// a unix socket, as trainer and sidecar are. Calls of all kinds are interleaved in
// one run, so that a noisy machine disturbs them alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
	"multirate/scheduler"
	"multirate/server"
	"multirate/server/journal"
)

const limit = 1.5

func main() {
	serve := flag.String("serve", "", "internal: serve at this directory's sockets")
	rounds := flag.Int("rounds", 4000, "calls of each kind")
	pause := flag.Duration("pause", 200*time.Microsecond, "time between calls, in which a trainer computes its gradient")
	flag.Parse()
	var err error
	if *serve != "" {
		err = serveAll(*serve)
	} else {
		err = measure(*rounds, *pause)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "latency:", err)
		os.Exit(1)
	}
}

// echo answers every call with the same advice.
type echo struct {
	pb.UnimplementedLearningRateServiceServer
	answer *pb.GetLearningRateResponse
}

func (e echo) GetLearningRate(context.Context, *pb.GetLearningRateRequest) (*pb.GetLearningRateResponse, error) {
	return e.answer, nil
}

func (e echo) StreamLearningRates(s grpc.BidiStreamingServer[pb.StreamLearningRatesRequest, pb.StreamLearningRatesResponse]) error {
	for {
		if _, err := s.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := s.Send(&pb.StreamLearningRatesResponse{Response: e.answer}); err != nil {
			return err
		}
	}
}

func typicalAnswer() *pb.GetLearningRateResponse {
	return &pb.GetLearningRateResponse{
		Step:  1000,
		Rates: []*pb.ParamGroupRate{{LearningRate: 0.125}},
		Explanation: &pb.Explanation{
			Reason: pb.Reason_REASON_PLANNED, Guard: pb.Guard_GUARD_NONE, ScaleIndex: 1, ScaleCount: 3,
			CyclePosition: 3, CycleLength: 12, PredictedLossChange: proto.Float64(-1e-3), StiffestCurvature: 4,
			Text: "the next rate of a planned cycle, nothing held it back",
		},
		SpectrumRevision: 77,
	}
}

// serveAll serves the echo, the service and a raw socket until its standard
// input closes.
func serveAll(dir string) (err error) {
	listen := func(name string) (net.Listener, error) { return net.Listen("unix", filepath.Join(dir, name)) }
	empty, err := listen("echo")
	if err != nil {
		return err
	}
	service, err := listen("service")
	if err != nil {
		return err
	}
	durable, err := listen("durable")
	if err != nil {
		return err
	}
	raw, err := listen("raw")
	if err != nil {
		return err
	}
	es := grpc.NewServer()
	pb.RegisterLearningRateServiceServer(es, echo{answer: typicalAnswer()})
	go es.Serve(empty) //nolint:errcheck // ends with the process
	quiet := slog.New(slog.DiscardHandler)
	kept, err := journal.Open(context.Background(), journal.Options{Dir: filepath.Join(dir, "data"), Logger: quiet})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	for listener, options := range map[net.Listener]server.Options{
		service: {Logger: quiet},
		durable: {Logger: quiet, Journal: kept},
	} {
		srv := server.New(options)
		rs := grpc.NewServer(srv.GRPCOptions()...)
		srv.Register(rs)
		go rs.Serve(listener) //nolint:errcheck // ends with the process
	}
	go func() {
		for {
			c, err := raw.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c) //nolint:errcheck // ends with the connection
		}
	}()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// descent is gradient descent on a quadratic of three scales, at the rates the
// service gives. Its gradient is small enough to be its own sketch.
type descent struct {
	lambda, x []float64
	sketch    []float32
	step      int64
	run       string
}

const dimension = 251

func newDescent() *descent {
	r := rand.New(rand.NewPCG(1, 1))
	d := &descent{sketch: make([]float32, dimension)}
	for i := range dimension {
		l := math.Pow(1e-3, float64(i%3)) * math.Pow(4, r.Float64())
		d.lambda = append(d.lambda, l)
		d.x = append(d.x, r.NormFloat64()/math.Sqrt(l))
	}
	return d
}

func (d *descent) statistics() (loss, norm float64) {
	for i, l := range d.lambda {
		g := l * d.x[i]
		d.sketch[i] = float32(g)
		loss += g * d.x[i] / 2
		norm += g * g
	}
	return loss, norm
}

func (d *descent) apply(rate float64) {
	for i, l := range d.lambda {
		d.x[i] -= rate * l * d.x[i]
	}
	d.step++
}

func (d *descent) request() *pb.GetLearningRateRequest {
	loss, norm := d.statistics()
	return &pb.GetLearningRateRequest{RunId: d.run, Step: d.step, Statistics: &pb.Statistics{
		Loss: &loss, GradientNormSquared: &norm,
		Sketches: []*pb.Sketch{{Kind: pb.SketchKind_SKETCH_KIND_GRADIENT, Values: d.sketch}},
	}}
}

// samples holds the durations of one kind of call.
type samples struct {
	name string
	took []float64 // microseconds
}

func (s *samples) time(f func() error) error {
	start := time.Now()
	err := f()
	s.took = append(s.took, float64(time.Since(start).Nanoseconds())/1e3)
	return err
}

func (s *samples) quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(s.took[len(s.took)/10:])) // the first tenth is warmup
	return sorted[int(q*float64(len(sorted)-1))]
}

func measure(rounds int, pause time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "latency")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	stop, err := startServer(dir)
	if err != nil {
		return err
	}
	defer stop()
	b, err := newBench(dir)
	if err != nil {
		return err
	}
	for range rounds {
		if err := b.round(pause); err != nil {
			return err
		}
	}
	return b.report()
}

func startServer(dir string) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-serve", dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		return nil, fmt.Errorf("server did not start: %w", err)
	}
	return func() { in.Close(); cmd.Wait() }, nil //nolint:errcheck // the numbers are in
}

type bench struct {
	ctx                                context.Context
	echo, service, durable             pb.LearningRateServiceClient
	echoStream, stream                 grpc.BidiStreamingClient[pb.StreamLearningRatesRequest, pb.StreamLearningRatesResponse]
	raw                                net.Conn
	unary, kept, streamed, local       *descent
	controller                         *scheduler.Controller
	empty, rate, emptyStream, rateLive samples
	socket, own, rateKept              samples
	buffer                             []byte
	runs                               int
	first                              float64 // loss of a new descent
}

func newBench(dir string) (*bench, error) {
	b := &bench{
		ctx:         context.Background(),
		empty:       samples{name: "empty call, same messages"},
		rate:        samples{name: "GetLearningRate"},
		rateKept:    samples{name: "GetLearningRate, kept on disk"},
		emptyStream: samples{name: "empty stream ping-pong, same messages"},
		rateLive:    samples{name: "StreamLearningRates"},
		socket:      samples{name: "raw socket ping-pong, 1 KiB"},
		own:         samples{name: "scheduler's own share (Observe)"},
		buffer:      make([]byte, 1024),
	}
	dial := func(name string) (pb.LearningRateServiceClient, error) {
		c, err := grpc.NewClient("unix://"+filepath.Join(dir, name), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		return pb.NewLearningRateServiceClient(c), nil
	}
	var err error
	if b.echo, err = dial("echo"); err != nil {
		return nil, err
	}
	if b.service, err = dial("service"); err != nil {
		return nil, err
	}
	if b.durable, err = dial("durable"); err != nil {
		return nil, err
	}
	if b.raw, err = net.Dial("unix", filepath.Join(dir, "raw")); err != nil {
		return nil, err
	}
	if b.echoStream, err = b.echo.StreamLearningRates(b.ctx); err != nil {
		return nil, err
	}
	return b, b.restart()
}

// round makes one call of each kind.
func (b *bench) round(pause time.Duration) error {
	request := b.unary.request()
	ping := func(s grpc.BidiStreamingClient[pb.StreamLearningRatesRequest, pb.StreamLearningRatesResponse], r *pb.GetLearningRateRequest) (*pb.StreamLearningRatesResponse, error) {
		if err := s.Send(&pb.StreamLearningRatesRequest{Request: r}); err != nil {
			return nil, err
		}
		return s.Recv()
	}
	steps := []func() error{
		func() error {
			return b.empty.time(func() error { _, err := b.echo.GetLearningRate(b.ctx, request); return err })
		},
		func() error {
			var answer *pb.GetLearningRateResponse
			err := b.rate.time(func() (err error) { answer, err = b.service.GetLearningRate(b.ctx, request); return err })
			b.unary.apply(answer.GetRates()[0].GetLearningRate())
			return err
		},
		func() error {
			var answer *pb.GetLearningRateResponse
			r := b.kept.request()
			err := b.rateKept.time(func() (err error) { answer, err = b.durable.GetLearningRate(b.ctx, r); return err })
			b.kept.apply(answer.GetRates()[0].GetLearningRate())
			return err
		},
		func() error {
			return b.emptyStream.time(func() error { _, err := ping(b.echoStream, request); return err })
		},
		func() error {
			var answer *pb.StreamLearningRatesResponse
			r := b.streamed.request()
			err := b.rateLive.time(func() (err error) { answer, err = ping(b.stream, r); return err })
			b.streamed.apply(answer.GetResponse().GetRates()[0].GetLearningRate())
			return err
		},
		func() error {
			return b.socket.time(func() error {
				if _, err := b.raw.Write(b.buffer); err != nil {
					return err
				}
				_, err := io.ReadFull(b.raw, b.buffer)
				return err
			})
		},
		b.observe,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
		if pause > 0 {
			time.Sleep(pause)
		}
	}
	if loss, _ := b.unary.statistics(); loss <= converged*b.first {
		return b.restart()
	}
	return nil
}

// converged is the share of the first loss at which the descents start afresh:
// beyond it they would measure the rounding of float32.
const converged = 1e-12

// restart begins four new runs of one descent.
func (b *bench) restart() error {
	b.unary, b.kept, b.streamed, b.local = newDescent(), newDescent(), newDescent(), newDescent()
	b.first, _ = b.unary.statistics()
	b.runs++
	for d, service := range map[*descent]pb.LearningRateServiceClient{b.unary: b.service, b.streamed: b.service, b.kept: b.durable} {
		d.run = fmt.Sprintf("%d-%p", b.runs, d)
		run := &pb.Run{RunId: d.run, Dimension: dimension, LossLowerBound: proto.Float64(0), Sketch: &pb.SketchSpec{Dimension: dimension}}
		if _, err := service.CreateRun(b.ctx, &pb.CreateRunRequest{Run: run}); err != nil {
			return err
		}
	}
	if b.stream != nil {
		if err := b.stream.CloseSend(); err != nil {
			return err
		}
	}
	var err error
	if b.stream, err = b.service.StreamLearningRates(b.ctx); err != nil {
		return err
	}
	b.controller, err = scheduler.NewController(scheduler.Config{SketchDimension: dimension, HasLossBound: true})
	return err
}

// observe times the controller alone, prepared as the server prepares it.
func (b *bench) observe() error {
	loss, norm := b.local.statistics()
	b.controller.Prepare()
	var d scheduler.Decision
	err := b.own.time(func() (err error) {
		d, err = b.controller.Observe(scheduler.Observation{
			Step: b.local.step, Loss: loss, GradientNormSquared: norm, GradientDotPrevious: math.NaN(),
			ParameterNorm: math.NaN(), Sketch: b.local.sketch, AppliedRate: math.NaN(), SameBatch: true,
		})
		return err
	})
	b.local.apply(d.Rate)
	return err
}

func (b *bench) report() error {
	fmt.Printf("%-40s %10s %10s %10s\n", "microseconds", "p50", "p90", "p99")
	for _, s := range []*samples{&b.socket, &b.empty, &b.rate, &b.rateKept, &b.emptyStream, &b.rateLive, &b.own} {
		fmt.Printf("%-40s %10.1f %10.1f %10.1f\n", s.name, s.quantile(0.5), s.quantile(0.9), s.quantile(0.99))
	}
	ratio := b.rate.quantile(0.5) / b.empty.quantile(0.5)
	verdict := "ok"
	if ratio > limit {
		verdict = "short"
	}
	fmt.Printf("GetLearningRate, kept on disk, over an empty call, p50: %.2f\n", b.rateKept.quantile(0.5)/b.empty.quantile(0.5))
	fmt.Printf("GetLearningRate over an empty call, p50: measured %.2f, limit %.2f: %s\n", ratio, limit, verdict)
	return nil
}
