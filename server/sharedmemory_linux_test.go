package server

import (
	"errors"
	"hash/crc32"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	multirate "multirate/clients/go"
	pb "multirate/proto/multirate/v1"
)

// estimateWith is an estimate by the Go client of a Hessian diag(1..n).
func estimateWith(t *testing.T, client *multirate.Client, id string, n int, options multirate.EstimateOptions, hvp func(v, hv []float64) error) (*multirate.Spectrum, error) {
	t.Helper()
	run, err := client.NewRun(t.Context(), multirate.RunConfig{ID: id, Dimension: int64(n)})
	if err != nil {
		t.Fatal(err)
	}
	return run.EstimateSpectrum(t.Context(), hvp, options)
}

func diagonal(v, hv []float64) error {
	for i := range v {
		hv[i] = float64(i%100+1) * v[i]
	}
	return nil
}

// The way that vectors take changes no bit of the spectrum, in any number format,
// and only memory that is really used counts as shared.
func TestSharedMemoryGivesTheSpectrumOfChunks(t *testing.T) {
	address, _ := serve(t, socket(t), Options{})
	client, err := multirate.Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	const n = 300_001 // several blocks, the last of them short
	for _, format := range []multirate.VectorFormat{multirate.FormatFloat64, multirate.FormatFloat32, multirate.FormatBFloat16} {
		options := multirate.EstimateOptions{MaxProducts: 4, Format: format, Seed: 7}
		way := func(chunks bool) *multirate.Spectrum {
			options.ChunksOnly = chunks
			mapped := false
			s, err := estimateWith(t, client, "", n, options, func(v, hv []float64) error {
				mapped = mapped || sharedMappings(t) > 0
				return diagonal(v, hv)
			})
			if err != nil {
				t.Fatal(err)
			}
			if mapped == chunks {
				t.Errorf("chunks only: %v, but memory shared: %v", chunks, mapped)
			}
			return s
		}
		shared, chunked := way(false), way(true)
		for i, v := range shared.RitzValues {
			if math.Float64bits(v.Value) != math.Float64bits(chunked.RitzValues[i].Value) {
				t.Errorf("%v: Ritz value %d is %v through memory, %v in chunks", format, i, v.Value, chunked.RitzValues[i].Value)
			}
		}
	}
	if n := sharedMappings(t); n > 0 {
		t.Errorf("%d mappings are left", n)
	}
}

// sharedMappings counts this process's mappings of estimates' memory.
func sharedMappings(t *testing.T) (n int) {
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "memfd:multirate")
}

// sharing is a trainer's side by hand, up to the first probe.
func sharing(t *testing.T, dimension int) (e *estimating, memory []byte, offer *pb.SharedMemory) {
	address, _ := serve(t, socket(t), Options{})
	c := dial(t, address)
	create(t, c, &pb.Run{RunId: "r", Dimension: int64(dimension)})
	e = estimateOf(t, c, make([]float64, dimension), &pb.EstimateSpectrumStart{RunId: "r", MaxProducts: 2, SharedMemory: true})
	m, err := e.stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	offer = m.GetSharedMemory()
	path := strings.TrimPrefix(address, "unix://") + memorySuffix
	fd, ok := fetchMemory(t, path, offer.GetToken())
	if !ok {
		t.Fatal("no descriptor")
	}
	defer func() { _ = unix.Close(fd) }()
	if _, again := fetchMemory(t, path, offer.GetToken()); again {
		t.Error("a token is good twice")
	}
	if err := unix.Ftruncate(fd, 0); err == nil {
		t.Error("the trainer can cut the memory off under the service")
	}
	memory, err = unix.Mmap(fd, 0, int(offer.GetBytes()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(memory) })
	if err := e.stream.Send(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Attached{Attached: &pb.SharedMemoryAttached{Ok: true}}}); err != nil {
		t.Fatal(err)
	}
	if m, err = e.stream.Recv(); err != nil || m.GetSharedProbe() == nil {
		t.Fatalf("%v, %v: want a shared probe", m, err)
	}
	return e, memory, offer
}

func fetchMemory(t *testing.T, path string, token []byte) (fd int, ok bool) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(token); err != nil {
		t.Fatal(err)
	}
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(make([]byte, 1), control)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	messages, _ := unix.ParseSocketControlMessage(control[:n])
	if len(messages) == 0 {
		return 0, false
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], true
}

// Each claim about a shared product is checked, and what is written to the memory
// after it was announced counts for nothing.
func TestSharedProductsRefused(t *testing.T) {
	const dimension = 300_000
	announce := func(memory []byte, offer *pb.SharedMemory) *pb.SharedVector {
		product := memory[offer.ProductOffset:]
		v := &pb.SharedVector{}
		for i := 0; i < len(product); i += blockBytes {
			v.BlockCrc32C = append(v.BlockCrc32C, crc32.Checksum(product[i:min(len(product), i+blockBytes)], castagnoli))
		}
		return v
	}
	for name, tt := range map[string]struct {
		change func(v *pb.SharedVector, product []byte)
		want   refusal
	}{
		"of another vector": {func(v *pb.SharedVector, _ []byte) { v.Vector = 1 }, refusal{codes.InvalidArgument, ReasonChunkOutOfOrder, "shared_product.vector"}},
		"with a checksum too few": {func(v *pb.SharedVector, _ []byte) { v.BlockCrc32C = v.BlockCrc32C[:1] },
			refusal{codes.InvalidArgument, ReasonChunkSize, "shared_product.block_crc32c"}},
		"changed since": {func(_ *pb.SharedVector, p []byte) { p[len(p)-1] ^= 1 }, refusal{codes.DataLoss, ReasonChunkChecksum, "shared_product.block_crc32c"}},
		"not finite": {func(v *pb.SharedVector, p []byte) {
			copy(p[8:], []byte{0, 0, 0x80, 0x7f}) // +Inf
			v.BlockCrc32C[0] = crc32.Checksum(p[:blockBytes], castagnoli)
		}, refusal{codes.InvalidArgument, ReasonNotFinite, "product.data"}},
		"not announced": {nil, refusal{codes.InvalidArgument, ReasonRequired, "shared_product"}},
	} {
		t.Run(name, func(t *testing.T) {
			e, memory, offer := sharing(t, dimension)
			request := &pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Product{Product: &pb.VectorChunk{}}}
			if tt.change != nil {
				v := announce(memory, offer)
				tt.change(v, memory[offer.ProductOffset:])
				request = &pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_SharedProduct{SharedProduct: v}}
			}
			if err := e.stream.Send(request); err != nil {
				t.Fatal(err)
			}
			_, err := e.stream.Recv()
			wantRefusal(t, err, tt.want)
		})
	}
}

// A trainer that can't have the memory goes on in chunks, and a caller over TCP
// is offered none.
func TestChunksWhereMemoryCanNotBeShared(t *testing.T) {
	for _, address := range []string{socket(t), "127.0.0.1:0"} {
		address, _ := serve(t, address, Options{})
		c := dial(t, address)
		create(t, c, &pb.Run{RunId: "r", Dimension: 10})
		e := estimateOf(t, c, slices.Repeat([]float64{2}, 10), &pb.EstimateSpectrumStart{RunId: "r", MaxProducts: 2, SharedMemory: true})
		if strings.HasPrefix(address, "unix") {
			m, err := e.stream.Recv()
			if err != nil || m.GetSharedMemory() == nil {
				t.Fatalf("%v, %v: want an offer", m, err)
			}
			if err := e.stream.Send(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Attached{Attached: &pb.SharedMemoryAttached{}}}); err != nil {
				t.Fatal(err)
			}
		}
		if probe, err := e.receive(); err != nil || !probe {
			t.Fatalf("%s: %v, %v: want a probe in chunks", address, probe, err)
		}
	}
}
