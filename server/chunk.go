package server

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"

	"multirate/estimator"
	pb "multirate/proto/multirate/v1"
	"multirate/proto/multirate/v1/wire"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// elementBytes is the size of one element.
func elementBytes(format pb.VectorFormat) int {
	switch format {
	case pb.VectorFormat_VECTOR_FORMAT_FLOAT64:
		return 8
	case pb.VectorFormat_VECTOR_FORMAT_BFLOAT16:
		return 2
	default:
		return 4
	}
}

// appendElements appends the wire form of v to dst. Rounding is to nearest, ties
// to even; to bfloat16 it goes through float32. Four elements at a time cost one
// check of the bounds.
func appendElements(dst []byte, v []float64, format pb.VectorFormat) []byte {
	at, width := len(dst), elementBytes(format)
	dst = slices.Grow(dst, len(v)*width)[:at+len(v)*width]
	to := dst[at:]
	switch format {
	case pb.VectorFormat_VECTOR_FORMAT_FLOAT64:
		for ; len(v) >= 4; v, to = v[4:], to[32:] {
			b, x := to[:32], v[:4]
			binary.LittleEndian.PutUint64(b, math.Float64bits(x[0]))
			binary.LittleEndian.PutUint64(b[8:], math.Float64bits(x[1]))
			binary.LittleEndian.PutUint64(b[16:], math.Float64bits(x[2]))
			binary.LittleEndian.PutUint64(b[24:], math.Float64bits(x[3]))
		}
		for i, x := range v {
			binary.LittleEndian.PutUint64(to[8*i:], math.Float64bits(x))
		}
	case pb.VectorFormat_VECTOR_FORMAT_BFLOAT16:
		for i, x := range v {
			binary.LittleEndian.PutUint16(to[2*i:], estimator.RoundBFloat16(float32(x)))
		}
	default:
		for ; len(v) >= 4; v, to = v[4:], to[16:] {
			b, x := to[:16], v[:4]
			binary.LittleEndian.PutUint32(b, math.Float32bits(float32(x[0])))
			binary.LittleEndian.PutUint32(b[4:], math.Float32bits(float32(x[1])))
			binary.LittleEndian.PutUint32(b[8:], math.Float32bits(float32(x[2])))
			binary.LittleEndian.PutUint32(b[12:], math.Float32bits(float32(x[3])))
		}
		for i, x := range v {
			binary.LittleEndian.PutUint32(to[4*i:], math.Float32bits(float32(x)))
		}
	}
	return dst
}

// chunkEncoder cuts one vector into chunks.
type chunkEncoder struct {
	vector   int32
	elements []float64
	format   pb.VectorFormat
	size     int // elements a chunk at most

	index  int32
	offset int
}

// next is the next chunk, or nil behind the last one. Its data is not reused:
// gRPC may look at a message after it was sent.
func (e *chunkEncoder) next() *pb.VectorChunk {
	if e.offset == len(e.elements) {
		return nil
	}
	part := e.elements[e.offset:min(e.offset+e.size, len(e.elements))]
	data := appendElements(make([]byte, 0, len(part)*elementBytes(e.format)), part, e.format)
	c := &pb.VectorChunk{
		Vector: e.vector,
		Index:  e.index,
		Offset: int64(e.offset),
		Total:  int64(len(e.elements)),
		Data:   data,
		Crc32C: crc32.Checksum(data, castagnoli),
	}
	e.index++
	e.offset += len(part)
	return c
}

// outgoing is next as gRPC sends it without copying; its buffer is used again
// once it is sent.
func (e *chunkEncoder) outgoing() *wire.Outgoing {
	if e.offset == len(e.elements) {
		return nil
	}
	part := e.elements[e.offset:min(e.offset+e.size, len(e.elements))]
	data := wire.Buffers.Get(len(part) * elementBytes(e.format))
	*data = appendElements((*data)[:0], part, e.format)
	out := &wire.Outgoing{
		Chunk: &pb.VectorChunk{
			Vector: e.vector,
			Index:  e.index,
			Offset: int64(e.offset),
			Total:  int64(len(e.elements)),
			Crc32C: crc32.Checksum(*data, castagnoli),
		},
		Data: mem.NewBuffer(data, &wire.Buffers),
	}
	e.index++
	e.offset += len(part)
	return out
}

// chunkDecoder puts one vector together again. It takes chunks in order and
// checks every claim they make.
type chunkDecoder struct {
	vector   int32
	elements []float64 // the vector, of the full length
	format   pb.VectorFormat
	size     int // elements a chunk at most

	index  int32
	offset int
}

// done reports whether the vector is complete.
func (d *chunkDecoder) done() bool { return d.offset == len(d.elements) }

// take takes the next chunk. An error is a status; the decoder is then of no
// further use. It must not be called when done.
func (d *chunkDecoder) take(c *pb.VectorChunk) error { return d.takePieces(c, [][]byte{c.GetData()}) }

// takePieces is take for a chunk whose data is in pieces.
func (d *chunkDecoder) takePieces(c *pb.VectorChunk, data [][]byte) error {
	if err := d.expect(c); err != nil {
		return err
	}
	length, width, sum := 0, elementBytes(d.format), uint32(0)
	for _, piece := range data {
		length += len(piece)
		sum = crc32.Update(sum, castagnoli, piece)
	}
	if n := length / width; length == 0 || length%width != 0 || n > d.size || n > len(d.elements)-d.offset {
		return refuseField(codes.InvalidArgument, ReasonChunkSize, "product.data",
			"has %d bytes, must be 1 to %d elements of %d bytes each: send each product in chunks of at most chunk_elements",
			length, min(d.size, len(d.elements)-d.offset), width)
	}
	if sum != c.GetCrc32C() {
		return refuseField(codes.DataLoss, ReasonChunkChecksum, "product.crc32c",
			"is %#08x, but the data of vector %d, chunk %d has the CRC-32C %#08x: it was damaged on the way or summed with "+
				"another polynomial; run the estimate again", c.GetCrc32C(), d.vector, d.index, sum)
	}
	for piece := range wire.WholeElements(data, width) {
		if err := d.decode(piece); err != nil {
			return err
		}
	}
	d.index++
	return nil
}

// expect checks the chunk's place.
func (d *chunkDecoder) expect(c *pb.VectorChunk) error {
	refused := func(field string, got, want int64) error {
		return refuseField(codes.InvalidArgument, ReasonChunkOutOfOrder, "product."+field,
			"is %d, must be %d: send each product's chunks in order, without gap or overlap", got, want)
	}
	switch {
	case c.GetTotal() != int64(len(d.elements)):
		return refuseField(codes.InvalidArgument, ReasonWrongDimension, "product.total",
			"is %d, but the run's dimension is %d: send the product for all parameters", c.GetTotal(), len(d.elements))
	case c.GetVector() != d.vector:
		return refused("vector", int64(c.GetVector()), int64(d.vector))
	case c.GetIndex() != d.index:
		return refused("index", int64(c.GetIndex()), int64(d.index))
	case c.GetOffset() != int64(d.offset):
		return refused("offset", c.GetOffset(), int64(d.offset))
	}
	return nil
}

func (d *chunkDecoder) decode(data []byte) error {
	width := elementBytes(d.format)
	into := d.elements[d.offset : d.offset+len(data)/width]
	// Numbers that are not finite have an exponent of ones. Asking for it waits for
	// no other element, as a sum would.
	odd := 0
	const exponent64, exponent32 = 0x7ff << 52, 0xff << 23
	switch d.format {
	case pb.VectorFormat_VECTOR_FORMAT_FLOAT64:
		for i := range into {
			bits := binary.LittleEndian.Uint64(data[8*i:])
			if bits&exponent64 == exponent64 {
				odd++
			}
			into[i] = math.Float64frombits(bits)
		}
	case pb.VectorFormat_VECTOR_FORMAT_BFLOAT16:
		for i := range into {
			into[i] = float64(estimator.BFloat16Value(binary.LittleEndian.Uint16(data[2*i:])))
			if !isFinite(into[i]) {
				odd++
			}
		}
	default:
		for i := range into {
			bits := binary.LittleEndian.Uint32(data[4*i:])
			if bits&exponent32 == exponent32 {
				odd++
			}
			into[i] = float64(math.Float32frombits(bits))
		}
	}
	if odd > 0 {
		return d.notFinite(into)
	}
	d.offset += len(into)
	return nil
}

func (d *chunkDecoder) notFinite(into []float64) error {
	for i, x := range into {
		if !isFinite(x) {
			return refuseField(codes.InvalidArgument, ReasonNotFinite, "product.data",
				"has %v for element %d of the vector, must be finite: %s", x, d.offset+i, trainerOverflow)
		}
	}
	return refuse(codes.Internal, ReasonInternal, "no element explains an exponent of ones")
}
