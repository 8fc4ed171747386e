package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	multirate "multirate/clients/go"
	pb "multirate/proto/multirate/v1"
)

// BenchmarkVectors moves vectors of 1e7 elements (MULTIRATE_BENCH_DIMENSION for
// others) between the service and the Go client, a probe one way and a product the
// other, without Lanczos and without products to compute, and prints the
// throughput as a share of what a bare gRPC stream of the same chunks and a raw
// unix socket do in the same run. Rounds are interleaved; shares are of medians.
//
//	go test ./server -run '^$' -bench '^BenchmarkVectors$' -benchtime 1x
func BenchmarkVectors(b *testing.B) {
	dimension := 10_000_000
	if s := os.Getenv("MULTIRATE_BENCH_DIMENSION"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		dimension = n
	}
	dir, err := os.MkdirTemp("", "vectors")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	const rounds = 9
	for _, format := range []struct {
		name    string
		float32 bool
		width   int
	}{{"float32", true, 4}, {"float64", false, 8}} {
		bytes, chunk := dimension*format.width, defaultElements*format.width
		ways := []*movement{
			{name: "raw unix socket", round: rawSocket(b, filepath.Join(dir, "raw"+format.name), bytes)},
			{name: "bare gRPC stream, raw codec", round: bareStream(ctx, b, filepath.Join(dir, "bytes"+format.name), rawCodec{}, bytes, chunk)},
			{name: "bare gRPC stream, protobuf codec", round: bareStream(ctx, b, filepath.Join(dir, "proto"+format.name), nil, bytes, chunk)},
			{name: "service, chunks", round: throughService(ctx, b, filepath.Join(dir, "c"+format.name), dimension, rounds+2, format.float32, true)},
			{name: "service, shared memory", round: throughService(ctx, b, filepath.Join(dir, "m"+format.name), dimension, rounds+2, format.float32, false)},
		}
		for round := range rounds + 1 {
			for _, w := range ways {
				begin, used := time.Now(), processorSeconds()
				if err := w.round(); err != nil {
					b.Fatal(w.name, err)
				}
				if round > 0 { // the first warms up
					w.took = append(w.took, time.Since(begin).Seconds())
					w.used += processorSeconds() - used
				}
			}
		}
		for _, w := range ways {
			fmt.Printf("%s, D = %d, %s: %.2f GB/s, %.2f s of processor time a GB\n", w.name, dimension, format.name,
				2*float64(bytes)/w.median()/1e9, w.used/rounds/2/float64(bytes)*1e9)
		}
		bare := min(ways[1].median(), ways[2].median())
		share("chunks over the best bare gRPC stream, "+format.name, bare/ways[3].median(), 0.9)
		share("shared memory over a raw unix socket, "+format.name, ways[0].median()/ways[4].median(), 0.6)
	}
	for b.Loop() { // the shares are the result
	}
}

func share(what string, measured, least float64) {
	verdict := "ok"
	if measured < least {
		verdict = "short"
	}
	fmt.Printf("%s: measured %.2f, at least %.2f: %s\n", what, measured, least, verdict)
}

// movement is a way to move a vector there and one back.
type movement struct {
	name  string
	round func() error
	took  []float64 // seconds
	used  float64   // processor seconds of both ends, in all rounds
}

func processorSeconds() float64 {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r) // of itself, which can't fail
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

func (m *movement) median() float64 { return slices.Sorted(slices.Values(m.took))[len(m.took)/2] }

// rawSocket sends so many bytes one way and gets as many back.
func rawSocket(b *testing.B, path string, bytes int) func() error {
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	buffer := func() []byte { return make([]byte, 1<<20) }
	send := func(c net.Conn, buffer []byte) error {
		for left := bytes; left > 0; left -= len(buffer) {
			if _, err := c.Write(buffer[:min(left, len(buffer))]); err != nil {
				return err
			}
		}
		return nil
	}
	receive := func(c net.Conn, buffer []byte) error {
		for left := bytes; left > 0; {
			n, err := c.Read(buffer[:min(left, len(buffer))])
			if err != nil {
				return err
			}
			left -= n
		}
		return nil
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		for own := buffer(); ; {
			if receive(c, own) != nil || send(c, own) != nil {
				break
			}
		}
		_ = c.Close()
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	own := buffer()
	return func() error {
		if err := send(c, own); err != nil {
			return err
		}
		return receive(c, own)
	}
}

// rawCodec carries bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string                           { return "raw" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) { return *v.(*mem.BufferSlice), nil }
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	*v.(*mem.BufferSlice) = data
	return nil
}

// messages is either end of a gRPC stream.
type messages interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// bareStream is a gRPC stream of chunks that nobody looks at, all of one buffer.
// A nil codec is gRPC's own for Protocol Buffers.
func bareStream(ctx context.Context, b *testing.B, path string, codec encoding.CodecV2, bytes, chunk int) func() error {
	data := make([]byte, chunk)
	send := func(s messages) error {
		for left := bytes; left > 0; left -= chunk {
			var m any = &pb.VectorChunk{Data: data[:min(left, chunk)]}
			if codec != nil {
				m = &mem.BufferSlice{mem.SliceBuffer(data[:min(left, chunk)])}
			}
			if err := s.SendMsg(m); err != nil {
				return err
			}
		}
		return nil
	}
	receive := func(s messages) error {
		for left := bytes; left > 0; {
			if codec == nil {
				var m pb.VectorChunk
				if err := s.RecvMsg(&m); err != nil {
					return err
				}
				left -= len(m.Data)
				continue
			}
			var m mem.BufferSlice
			if err := s.RecvMsg(&m); err != nil {
				return err
			}
			left -= m.Len()
			m.Free()
		}
		return nil
	}
	options := []grpc.ServerOption{grpc.InitialWindowSize(windowBytes), grpc.InitialConnWindowSize(windowBytes), grpc.MaxRecvMsgSize(17 << 20)}
	call := []grpc.CallOption{grpc.MaxCallRecvMsgSize(17 << 20)}
	if codec != nil {
		options = append(options, grpc.ForceServerCodecV2(codec))
		call = append(call, grpc.ForceCodecV2(codec))
	}
	g := grpc.NewServer(options...)
	g.RegisterService(&grpc.ServiceDesc{ServiceName: "bare", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Move", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error {
			for {
				if err := receive(s); err != nil {
					return nil
				}
				if err := send(s); err != nil {
					return err
				}
			}
		},
	}}}, nil)
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	go g.Serve(l) //nolint:errcheck // ends with the benchmark
	b.Cleanup(g.GracefulStop)
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "Move", ServerStreams: true, ClientStreams: true}, "/bare/Move", call...)
	if err != nil {
		b.Fatal(err)
	}
	return func() error {
		if err := send(s); err != nil {
			return err
		}
		return receive(s)
	}
}

// unlooked is the service with estimates that move vectors and look at none.
type unlooked struct{ *Server }

func (u unlooked) EstimateSpectrum(stream estimateStream) error {
	in := receive(stream.Context(), func() (*incoming, error) {
		var m incoming
		return &m, stream.RecvMsg(&m)
	})
	first, err := in.next()
	if err != nil {
		return err
	}
	start := first.Message.GetStart()
	r, err := u.lookup(stream.Context(), start.GetRunId())
	if err != nil {
		return err
	}
	e, err := u.openEstimate(r, start)
	if err != nil {
		return err
	}
	defer e.close(u.Server)
	in.life, in.id = e.life, r.id
	l := &link{in: in, stream: stream}
	way, err := u.wayFor(l, e, start)
	if err != nil {
		return err
	}
	defer way.close()
	probe, product := make([]float64, e.dimension), make([]float64, e.dimension)
	for i := range e.products {
		if err := way.ask(int32(i), probe); err != nil {
			return err
		}
		if err := way.answer(int32(i), product); err != nil {
			return err
		}
	}
	return l.send(&pb.EstimateSpectrumResponse{Message: &pb.EstimateSpectrumResponse_Spectrum{Spectrum: &pb.Spectrum{}}})
}

// throughService lets the client's estimate go on by one product and one probe a
// round.
func throughService(ctx context.Context, b *testing.B, path string, dimension, rounds int, float32s, chunks bool) func() error {
	s := New(Options{Logger: quiet, MaxRunBytes: 1 << 50, MaxTotalBytes: 1 << 50})
	l, err := Listen("unix://" + path)
	if err != nil {
		b.Fatal(err)
	}
	closePost := s.post.open(l)
	b.Cleanup(closePost)
	g := grpc.NewServer(s.GRPCOptions()...)
	pb.RegisterLearningRateServiceServer(g, unlooked{s})
	go g.Serve(l) //nolint:errcheck // ends with the benchmark
	b.Cleanup(g.GracefulStop)
	client, err := multirate.Dial(ctx, "unix://"+path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	run, err := client.NewRun(ctx, multirate.RunConfig{Dimension: int64(dimension)})
	if err != nil {
		b.Fatal(err)
	}
	resume, arrived, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	pause := func() error {
		select {
		case arrived <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-resume:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
	go func() {
		options := multirate.EstimateOptions{MaxProducts: rounds + 1, ChunksOnly: chunks}
		var err error
		if float32s {
			_, err = run.EstimateSpectrum32(ctx, func(_, _ []float32) error { return pause() }, options)
		} else {
			_, err = run.EstimateSpectrum(ctx, func(_, _ []float64) error { return pause() }, options)
		}
		ended <- err
	}()
	wait := func() error {
		select {
		case <-arrived:
			return nil
		case err := <-ended:
			return fmt.Errorf("ended: %w", err)
		}
	}
	if err := wait(); err != nil {
		b.Fatal(err)
	}
	return func() error {
		resume <- struct{}{}
		return wait()
	}
}
