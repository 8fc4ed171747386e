// Command mutate sends malformed calls to a real server over a real socket: good
// messages of every method with bytes flipped, cut, repeated, inserted and
// replaced, as raw bytes below the generated code. No call may hang, end without
// a status of the service's or gRPC's own, or crash the server; and a run that no
// good call has changed must give the same snapshot afterwards.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	multirate "multirate/clients/go"
	pb "multirate/proto/multirate/v1"
)

// patience is how long a call may take before it counts as hung.
const patience = 20 * time.Second

func main() {
	inputs := flag.Int("inputs", 1_000_000, "malformed calls")
	seed := flag.Uint64("seed", 101, "of the mutations")
	callers := flag.Int("callers", 8, "connections")
	length := flag.Duration("for", 0, "stop after so long, whatever has been sent; 0: never")
	flag.Parse()
	if err := measure(*inputs, *callers, *seed, *length); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// method is one RPC with a good call of it.
type method struct {
	name   string
	stream bool
	good   []byte
}

// watched is a run that the mutations are not about: their run ids are near it,
// but reach it only by a call that is wholly good.
const watched = "watched"

func methods() ([]method, error) {
	stats := &pb.Statistics{Loss: proto.Float64(1), GradientNormSquared: proto.Float64(2), BatchId: proto.Uint64(3),
		Sketches: []*pb.Sketch{{Kind: pb.SketchKind_SKETCH_KIND_GRADIENT, Values: sketch(5)}}}
	rate := &pb.GetLearningRateRequest{RunId: "target", Step: 3, Statistics: stats, AppliedLearningRates: []float64{0.1}}
	chunk := &pb.VectorChunk{Total: 8, Data: make([]byte, 32), Crc32C: 0x8a9136aa}
	var all []method
	for _, m := range []struct {
		name   string
		stream bool
		good   proto.Message
	}{
		{"CreateRun", false, &pb.CreateRunRequest{Run: &pb.Run{RunId: "new", Dimension: 8, Sketch: &pb.SketchSpec{Dimension: 15}, Labels: map[string]string{"a": "b"}}}},
		{"GetRun", false, &pb.GetRunRequest{RunId: "target"}},
		{"ListRuns", false, &pb.ListRunsRequest{PageSize: 3, Labels: map[string]string{"a": "b"}}},
		{"DeleteRun", false, &pb.DeleteRunRequest{RunId: "new"}},
		{"GetLearningRate", false, rate},
		{"ReportLanczos", false, &pb.ReportLanczosRequest{RunId: "target", Coefficients: &pb.LanczosCoefficients{Alpha: []float64{3, 2, 1}, Beta: []float64{0.1, 0.01}}}},
		{"GetSpectrum", false, &pb.GetSpectrumRequest{RunId: "target", DensityPoints: 8}},
		{"SnapshotRun", false, &pb.SnapshotRunRequest{RunId: "target"}},
		{"RestoreRun", false, &pb.RestoreRunRequest{RunId: "restored", Snapshot: []byte("not one"), Overwrite: true}},
		{"StreamLearningRates", true, &pb.StreamLearningRatesRequest{Request: rate}},
		{"ReportStatistics", true, &pb.ReportStatisticsRequest{RunId: "target", Step: 4, Statistics: stats}},
		{"EstimateSpectrum", true, &pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Start{Start: &pb.EstimateSpectrumStart{RunId: "target", MaxProducts: 2, SharedMemory: true}}}},
		{"EstimateSpectrum", true, &pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Product{Product: chunk}}},
		{"WatchRun", true, &pb.WatchRunRequest{RunId: "target"}},
	} {
		b, err := proto.Marshal(m.good)
		if err != nil {
			return nil, err
		}
		all = append(all, method{m.name, m.stream, b})
	}
	return all, nil
}

// raw sends bytes as messages.
type raw struct{}

func (raw) Name() string { return "proto" }
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }

func measure(inputs, callers int, seed uint64, length time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	address := "unix://" + filepath.Join(dir, "s")
	ended, stop, err := start(dir, address)
	if err != nil {
		return err
	}
	defer stop()
	client, err := multirate.Dial(context.Background(), address)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	before, err := prepare(client.Service())
	if err != nil {
		return err
	}
	all, err := methods()
	if err != nil {
		return err
	}
	var sent, refused, failures atomic.Int64
	var working sync.WaitGroup
	begin := time.Now()
	for i := range callers {
		working.Go(func() {
			if err := call(address, all, rand.New(rand.NewPCG(seed, uint64(i))), inputs/callers, length, &sent, &refused); err != nil {
				failures.Add(1)
				fmt.Println("failure:", err)
			}
		})
	}
	working.Wait()
	after, err := client.Service().SnapshotRun(context.Background(), &pb.SnapshotRunRequest{RunId: watched})
	if err != nil || !bytes.Equal(after.GetSnapshot(), before) {
		failures.Add(1)
		fmt.Println("failure: the watched run has changed, or can't be read:", err)
	}
	select {
	case err := <-ended:
		failures.Add(1)
		fmt.Println("failure: the server has ended:", err)
	default:
	}
	verdict := "ok"
	if failures.Load() > 0 {
		verdict = "short"
	}
	fmt.Printf("%d malformed calls in %.0f s, of which %d were refused\n", sent.Load(), time.Since(begin).Seconds(), refused.Load())
	fmt.Printf("crashes, hangs and changes by %d malformed calls: measured %d, limit 0: %s\n", sent.Load(), failures.Load(), verdict)
	return nil
}

func start(dir, address string) (ended <-chan error, stop func(), err error) {
	binary := filepath.Join(dir, "multirate")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/multirate").CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("build: %w: %s", err, out)
	}
	cmd := exec.Command(binary, "serve", "--in-memory", "--listen", address, "--log-level", "warn",
		"--max-run-mib", "16", "--max-total-mib", "64", "--max-runs", "500")
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return done, func() { _ = cmd.Process.Kill() }, nil
}

func sketch(last float32) []float32 {
	return []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, last}
}

// prepare makes the runs and returns the snapshot of the watched one.
func prepare(service pb.LearningRateServiceClient) ([]byte, error) {
	ctx := context.Background()
	for _, id := range []string{watched, "target"} {
		_, err := service.CreateRun(ctx, &pb.CreateRunRequest{Run: &pb.Run{RunId: id, Dimension: 8, Sketch: &pb.SketchSpec{Dimension: 15}}})
		if err != nil {
			return nil, err
		}
		for step := range int64(3) {
			_, err := service.GetLearningRate(ctx, &pb.GetLearningRateRequest{RunId: id, Step: step, Statistics: &pb.Statistics{
				Loss: proto.Float64(1), GradientNormSquared: proto.Float64(2),
				Sketches: []*pb.Sketch{{Kind: pb.SketchKind_SKETCH_KIND_GRADIENT, Values: sketch(float32(step))}},
			}})
			if err != nil {
				return nil, err
			}
		}
	}
	s, err := service.SnapshotRun(ctx, &pb.SnapshotRunRequest{RunId: watched})
	return s.GetSnapshot(), err
}

// call sends its share of the inputs on a connection of its own.
func call(address string, all []method, random *rand.Rand, inputs int, length time.Duration, sent, refused *atomic.Int64) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	begin := time.Now()
	for range inputs {
		if length > 0 && time.Since(begin) > length {
			return nil
		}
		m := all[random.IntN(len(all))]
		message := mutate(random, m.good)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := one(ctx, conn, m, message)
		hung := ctx.Err() != nil
		cancel()
		sent.Add(1)
		switch code := status.Code(err); {
		case hung:
			return fmt.Errorf("%s hung on %x", m.name, message)
		case code == codes.Unknown || code == codes.Unavailable || code == codes.Internal && !badBytes(err):
			return fmt.Errorf("%s on %x: %w", m.name, message, err)
		case err != nil:
			refused.Add(1)
		}
	}
	return nil
}

// badBytes tells the status with which gRPC itself refuses what is no message.
func badBytes(err error) bool {
	return bytes.Contains([]byte(status.Convert(err).Message()), []byte("unmarshal"))
}

func one(ctx context.Context, conn *grpc.ClientConn, m method, message []byte) error {
	path := "/multirate.v1.LearningRateService/" + m.name
	if !m.stream {
		return conn.Invoke(ctx, path, message, new(any), grpc.ForceCodecV2(raw{}))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, path, grpc.ForceCodecV2(raw{}))
	if err != nil {
		return err
	}
	_ = s.SendMsg(message) // RecvMsg tells why it failed
	if m.name == "WatchRun" {
		return nil // a good one waits for events
	}
	_ = s.CloseSend()
	for range 8 {
		if err := s.RecvMsg(new(any)); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
	return nil
}

// mutate changes a few bytes of a message.
func mutate(random *rand.Rand, good []byte) []byte {
	b := bytes.Clone(good)
	for range 1 + random.IntN(4) {
		if len(b) == 0 {
			b = append(b, byte(random.Uint32()))
		}
		at := random.IntN(len(b))
		switch random.IntN(6) {
		case 0:
			b[at] ^= 1 << random.IntN(8)
		case 1:
			b[at] = byte(random.Uint32())
		case 2:
			b = b[:at]
		case 3:
			b = append(b[:at:at], append([]byte{byte(random.Uint32()), byte(random.Uint32())}, b[at:]...)...)
		case 4:
			b = append(b, b[at:]...)
		case 5: // a number of many bits: NaN, infinity, the largest integers
			for i := at; i < min(len(b), at+8); i++ {
				b[i] = 0xff
			}
		}
	}
	return b
}
