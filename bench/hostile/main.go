// Command hostile measures what clients that misbehave cost those that don't: the
// p99 of GetLearningRate of a few trainers while 200 connections are half open,
// send a byte now and then, begin a stream and go silent, don't read what they
// asked for, or send more than is taken, over the p99 without them. Quiet and
// hostile spells alternate, so that a busy machine disturbs both alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	multirate "multirate/clients/go"
	pb "multirate/proto/multirate/v1"
)

const limit = 2.0

func main() {
	hostile := flag.Int("hostile", 200, "connections that misbehave")
	trainers := flag.Int("trainers", 8, "trainers that don't")
	spell := flag.Duration("spell", 4*time.Second, "length of each spell; three of either kind are measured")
	only := flag.String("only", "", "one way to misbehave: half-open, slow, silent, unread or oversized; empty: all")
	flag.Parse()
	if *only != "" {
		way, ok := ways[*only]
		if !ok {
			fmt.Fprintln(os.Stderr, "hostile: no such way:", *only)
			os.Exit(2)
		}
		ways = map[string]misbehaviour{*only: way}
	}
	if err := measure(*hostile, *trainers, *spell); err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

func measure(hostile, trainers int, spell time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	socket := filepath.Join(dir, "s")
	stop, err := start(dir, socket)
	if err != nil {
		return err
	}
	defer stop()
	client, err := multirate.Dial(context.Background(), "unix://"+socket)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	runs := make([]*pb.GetLearningRateRequest, trainers)
	for i := range runs {
		if runs[i], err = begin(client.Service(), fmt.Sprintf("run-%d", i)); err != nil {
			return err
		}
	}
	var quiet, disturbed []float64
	for range 3 {
		took, err := steps(client.Service(), runs, spell)
		if err != nil {
			return err
		}
		quiet = append(quiet, took...)
		end := disturb(socket, hostile)
		took, err = steps(client.Service(), runs, spell)
		end()
		if err != nil {
			return err
		}
		disturbed = append(disturbed, took...)
	}
	without, with := quantile(quiet, 0.99), quantile(disturbed, 0.99)
	fmt.Printf("p99 of GetLearningRate: %.2f ms without, %.2f ms with %d hostile connections; %d and %d calls, none failed\n",
		without, with, hostile, len(quiet), len(disturbed))
	verdict := "ok"
	if with/without > limit {
		verdict = "short"
	}
	fmt.Printf("p99 with %d hostile connections over without: measured %.2f, limit %g: %s\n", hostile, with/without, limit, verdict)
	return nil
}

func start(dir, socket string) (stop func(), err error) {
	binary := filepath.Join(dir, "multirate")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/multirate").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w: %s", err, out)
	}
	cmd := exec.Command(binary, "serve", "--in-memory", "--listen", "unix://"+socket, "--log-level", "error")
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }, nil
}

func begin(service pb.LearningRateServiceClient, id string) (*pb.GetLearningRateRequest, error) {
	_, err := service.CreateRun(context.Background(), &pb.CreateRunRequest{Run: &pb.Run{RunId: id, Dimension: 1000}})
	return &pb.GetLearningRateRequest{RunId: id, Statistics: &pb.Statistics{
		Loss: proto.Float64(1), GradientNormSquared: proto.Float64(2),
	}}, err
}

// steps lets each trainer take a step every 5 ms.
func steps(service pb.LearningRateServiceClient, runs []*pb.GetLearningRateRequest, length time.Duration) ([]float64, error) {
	took, failed := make([][]float64, len(runs)), make([]error, len(runs))
	var working sync.WaitGroup
	end := time.Now().Add(length)
	for i, request := range runs {
		working.Go(func() {
			for time.Now().Before(end) {
				begin := time.Now()
				if _, failed[i] = service.GetLearningRate(context.Background(), request); failed[i] != nil {
					return
				}
				took[i] = append(took[i], time.Since(begin).Seconds()*1e3)
				request.Step++
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	working.Wait()
	return slices.Concat(took...), errors.Join(failed...)
}

func quantile(v []float64, q float64) float64 {
	slices.Sort(v)
	return v[int(q*float64(len(v)-1))]
}

// misbehaviour holds or hammers one connection until ctx ends.
type misbehaviour func(ctx context.Context, socket string) error

var ways = map[string]misbehaviour{
	"half-open": halfOpen, "slow": slowly, "silent": silent, "unread": unread, "oversized": oversized,
}

// disturb keeps so many connections misbehaving, a fifth in each way.
func disturb(socket string, n int) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	all := slices.Collect(maps.Values(ways))
	for i := range n {
		working.Go(func() {
			for ctx.Err() == nil {
				_ = all[i%len(all)](ctx, socket) // whatever it is, again
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	time.Sleep(500 * time.Millisecond) // all are there
	return func() { cancel(); working.Wait() }
}

// halfOpen connects and says nothing.
func halfOpen(ctx context.Context, socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	stopped := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stopped()
	_, err = io.Copy(io.Discard, c)
	return err
}

// slowly sends HTTP/2's preface and a frame's header, a byte each 20 ms.
func slowly(ctx context.Context, socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for _, b := range []byte(http2.ClientPreface + "\x00\x00\xff\x04\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 200)) {
		if _, err := c.Write([]byte{b}); err != nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// silent opens a few streams and sends nothing on them.
func silent(ctx context.Context, socket string) error {
	conn, err := dial(socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for range 5 {
		if _, err := pb.NewLearningRateServiceClient(conn).StreamLearningRates(ctx); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// unread asks for a spectrum estimate of a big run and never reads the probe.
func unread(ctx context.Context, socket string) error {
	conn, err := dial(socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	service := pb.NewLearningRateServiceClient(conn)
	run, err := service.CreateRun(ctx, &pb.CreateRunRequest{Run: &pb.Run{Dimension: 200_000}})
	if err != nil {
		return err
	}
	stream, err := service.EstimateSpectrum(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Start{
		Start: &pb.EstimateSpectrumStart{RunId: run.GetRun().GetRunId(), MaxProducts: 2},
	}})
	<-ctx.Done()
	_, gone := service.DeleteRun(context.Background(), &pb.DeleteRunRequest{RunId: run.GetRun().GetRunId()})
	return errors.Join(err, gone)
}

// oversized sends a message longer than the server takes, again each second. Its
// bytes are made once: the load is to be the server's.
func oversized(ctx context.Context, socket string) error {
	conn, err := dial(socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for ctx.Err() == nil {
		err = conn.Invoke(ctx, "/multirate.v1.LearningRateService/RestoreRun", tooLong, new(any), grpc.ForceCodecV2(raw{}))
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return err
}

var tooLong = make([]byte, 20<<20)

// raw sends bytes as messages.
type raw struct{}

func (raw) Name() string { return "proto" }
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }
