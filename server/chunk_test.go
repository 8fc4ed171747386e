package server

import (
	"hash/crc32"
	"math"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"multirate/estimator"
	pb "multirate/proto/multirate/v1"
)

const (
	float32Format = pb.VectorFormat_VECTOR_FORMAT_FLOAT32
	float64Format = pb.VectorFormat_VECTOR_FORMAT_FLOAT64
	bfloat16      = pb.VectorFormat_VECTOR_FORMAT_BFLOAT16
)

// TestChunksRoundTrip: whatever the vector, format and chunk sizes on either
// side of the limit, decoding gives the encoded vector back: to the bit in
// float64, rounded to nearest in float32 and bfloat16.
func TestChunksRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		format := rapid.SampledFrom([]pb.VectorFormat{float32Format, float64Format, bfloat16}).Draw(t, "format")
		v := rapid.SliceOfN(rapid.Float64Range(-1e30, 1e30), 1, 50).Draw(t, "vector")
		size := rapid.IntRange(1, 60).Draw(t, "size")
		e := chunkEncoder{vector: 3, elements: v, format: format, size: rapid.IntRange(1, size).Draw(t, "chunk")}
		d := chunkDecoder{vector: 3, elements: make([]float64, len(v)), format: format, size: size}
		for c := e.next(); c != nil; c = e.next() {
			if d.done() {
				t.Fatal("a chunk behind the last one")
			}
			if err := d.take(c); err != nil {
				t.Fatal(err)
			}
		}
		want := slices.Clone(v)
		for i, x := range v {
			switch format {
			case float32Format:
				want[i] = float64(float32(x))
			case bfloat16:
				want[i] = float64(estimator.BFloat16Value(estimator.RoundBFloat16(float32(x))))
			}
		}
		if !d.done() || !slices.Equal(d.elements, want) {
			t.Fatalf("%v became %v", want, d.elements)
		}
	})
}

// TestChunksInPiecesRoundTrip: as TestChunksRoundTrip, for the buffers that gRPC
// sends and receives, cut anywhere.
func TestChunksInPiecesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		format := rapid.SampledFrom([]pb.VectorFormat{float32Format, float64Format}).Draw(t, "format")
		v := rapid.SliceOfN(rapid.Float64Range(-1e30, 1e30), 1, 50).Draw(t, "vector")
		size := rapid.IntRange(1, 60).Draw(t, "size")
		e := chunkEncoder{vector: 3, elements: v, format: format, size: size}
		d := chunkDecoder{vector: 3, elements: make([]float64, len(v)), format: format, size: size}
		for c := e.outgoing(); c != nil; c = e.outgoing() {
			var pieces [][]byte
			for rest := c.Data.ReadOnlyData(); len(rest) > 0; {
				n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			if err := d.takePieces(c.Chunk, pieces); err != nil {
				t.Fatal(err)
			}
			c.Data.Free()
		}
		want := slices.Clone(v)
		if format == float32Format {
			for i, x := range v {
				want[i] = float64(float32(x))
			}
		}
		if !d.done() || !slices.Equal(d.elements, want) {
			t.Fatalf("%v became %v", want, d.elements)
		}
	})
}

// secondChunk is the good second chunk of three of the vector 0, 1, 2, 3, 4 in
// float32, two elements each, and a decoder that has taken the first.
func secondChunk(t *testing.T) (*chunkDecoder, *pb.VectorChunk) {
	e := chunkEncoder{elements: []float64{0, 1, 2, 3, 4}, format: float32Format, size: 2}
	d := &chunkDecoder{elements: make([]float64, 5), format: float32Format, size: 2}
	if err := d.take(e.next()); err != nil {
		t.Fatal(err)
	}
	return d, e.next()
}

// TestChunksRefused: each thing that can be wrong with a chunk has its own
// status.
func TestChunksRefused(t *testing.T) {
	const invalid = codes.InvalidArgument
	seal := func(c *pb.VectorChunk) { c.Crc32C = crc32.Checksum(c.Data, castagnoli) }
	element := func(x float64) func(*pb.VectorChunk) {
		return func(c *pb.VectorChunk) {
			c.Data = appendElements(nil, []float64{1, x}, float32Format)
			seal(c)
		}
	}
	for name, tt := range map[string]struct {
		change func(*pb.VectorChunk)
		want   refusal
	}{
		"of another vector":    {func(c *pb.VectorChunk) { c.Vector = 1 }, refusal{invalid, ReasonChunkOutOfOrder, "product.vector"}},
		"repeated":             {func(c *pb.VectorChunk) { c.Index = 0 }, refusal{invalid, ReasonChunkOutOfOrder, "product.index"}},
		"left out":             {func(c *pb.VectorChunk) { c.Index = 2 }, refusal{invalid, ReasonChunkOutOfOrder, "product.index"}},
		"with a gap":           {func(c *pb.VectorChunk) { c.Offset = 3 }, refusal{invalid, ReasonChunkOutOfOrder, "product.offset"}},
		"with an overlap":      {func(c *pb.VectorChunk) { c.Offset = 1 }, refusal{invalid, ReasonChunkOutOfOrder, "product.offset"}},
		"of another dimension": {func(c *pb.VectorChunk) { c.Total = 6 }, refusal{invalid, ReasonWrongDimension, "product.total"}},
		"empty":                {func(c *pb.VectorChunk) { c.Data = nil; seal(c) }, refusal{invalid, ReasonChunkSize, "product.data"}},
		"with half an element": {func(c *pb.VectorChunk) { c.Data = c.Data[:6]; seal(c) }, refusal{invalid, ReasonChunkSize, "product.data"}},
		"too large":            {func(c *pb.VectorChunk) { c.Data = make([]byte, 12); seal(c) }, refusal{invalid, ReasonChunkSize, "product.data"}},
		"damaged":              {func(c *pb.VectorChunk) { c.Data[5] ^= 1 }, refusal{codes.DataLoss, ReasonChunkChecksum, "product.crc32c"}},
		"badly summed":         {func(c *pb.VectorChunk) { c.Crc32C++ }, refusal{codes.DataLoss, ReasonChunkChecksum, "product.crc32c"}},
		"with NaN":             {element(math.NaN()), refusal{invalid, ReasonNotFinite, "product.data"}},
		"with infinity":        {element(math.Inf(-1)), refusal{invalid, ReasonNotFinite, "product.data"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, c := secondChunk(t)
			tt.change(c)
			wantRefusal(t, d.take(c), tt.want)
		})
	}
	d, c := secondChunk(t)
	if err := d.take(c); err != nil {
		t.Errorf("the good chunk: %v", err)
	}
}

// TestLastChunkMayNotOverrun: a chunk within chunk_elements, but beyond the
// vector's end.
func TestLastChunkMayNotOverrun(t *testing.T) {
	d, c := secondChunk(t)
	if err := d.take(c); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 8)
	wantRefusal(t, d.take(&pb.VectorChunk{Index: 2, Offset: 4, Total: 5, Data: data, Crc32C: crc32.Checksum(data, castagnoli)}),
		refusal{codes.InvalidArgument, ReasonChunkSize, "product.data"})
}

// FuzzChunkDecoder: whatever arrives, the decoder neither panics nor writes
// outside the vector, stays where it was when it refuses, and takes nothing
// that is not finite.
func FuzzChunkDecoder(f *testing.F) {
	f.Add(int32(0), int32(0), int64(0), int64(5), []byte("\x00\x00\x80\x3f"), true, byte(1))
	f.Add(int32(0), int32(0), int64(0), int64(5), []byte("12345678"), false, byte(2))
	f.Add(int32(1), int32(-1), int64(-8), int64(1)<<62, []byte(nil), true, byte(3))
	f.Fuzz(func(t *testing.T, vector, index int32, offset, total int64, data []byte, right bool, format byte) {
		formats, backing := []pb.VectorFormat{float32Format, float64Format, bfloat16}, make([]float64, 9)
		d := chunkDecoder{elements: backing[2:7], format: formats[format%3], size: 3}
		c := &pb.VectorChunk{Vector: vector, Index: index, Offset: offset, Total: total, Data: data}
		if right {
			c.Crc32C = crc32.Checksum(data, castagnoli)
		}
		for !d.done() {
			before := d
			if err := d.take(c); err != nil {
				if status.Code(err) == codes.Internal || d.offset != before.offset || d.index != before.index {
					t.Fatalf("%v, at %d", err, d.offset)
				}
				break
			}
			if n := d.offset - before.offset; n < 1 || n > d.size || n*elementBytes(d.format) != len(data) {
				t.Fatalf("took %d elements of %d bytes", n, len(data))
			}
			c.Index, c.Offset = d.index, int64(d.offset)
		}
		for i, x := range backing {
			if (i < 2 || i >= 2+d.offset && i >= 7) && x != 0 || i < 2+d.offset && !isFinite(x) {
				t.Fatalf("element %d is %v", i, x)
			}
		}
	})
}
