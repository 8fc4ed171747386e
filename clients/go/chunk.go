package multirate

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"math"
	"unsafe"

	"google.golang.org/grpc/mem"

	multiratev1 "multirate/proto/multirate/v1"
	"multirate/proto/multirate/v1/wire"
)

// defaultChunkElements is the contract's chunk_elements for 0.
const defaultChunkElements = 262_144

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunking says how vectors are cut up on the wire.
type chunking struct {
	// elements a chunk at most.
	elements int
	// width of an element on the wire: 8 bytes of float64, 4 of float32 or 2 of
	// bfloat16.
	width int
}

func elementWidth[T Float]() int { return int(unsafe.Sizeof(T(0))) }

// encodeChunks cuts v, vector number vector of its stream, into chunks that gRPC
// sends without copying.
func encodeChunks[T Float](c chunking, vector int32, v []T) iter.Seq[*wire.Outgoing] {
	return func(yield func(*wire.Outgoing) bool) {
		for offset, index := 0, int32(0); offset < len(v); index++ {
			part := v[offset:min(len(v), offset+c.elements)]
			data := wire.Buffers.Get(c.width * len(part))
			encodeElements(c.width, *data, part)
			if !yield(&wire.Outgoing{
				Product: true,
				Chunk: &multiratev1.VectorChunk{
					Vector: vector,
					Index:  index,
					Offset: int64(offset),
					Total:  int64(len(v)),
					Crc32C: crc32.Checksum(*data, castagnoli),
				},
				Data: mem.NewBuffer(data, &wire.Buffers),
			}) {
				return
			}
			offset += len(part)
		}
	}
}

// encodeElements writes part to the whole of data.
func encodeElements[T Float](width int, data []byte, part []T) {
	if littleEndian && width == elementWidth[T]() {
		copy(data, bytesOf(part))
		return
	}
	switch width {
	case 2:
		for i, x := range part {
			binary.LittleEndian.PutUint16(data[2*i:], roundBFloat16(float32(x)))
		}
	case 4:
		for i, x := range part {
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(float32(x)))
		}
	default:
		for i, x := range part {
			binary.LittleEndian.PutUint64(data[8*i:], math.Float64bits(float64(x)))
		}
	}
}

// roundBFloat16 is the upper half of the float32 with 8 significant bits next to
// x, ties to even. NaN stays one.
func roundBFloat16(x float32) uint16 {
	bits := math.Float32bits(x)
	if math.IsNaN(float64(x)) {
		return uint16(bits>>16) | 1<<6
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// decodeChunk writes the chunk's elements, whose data is in pieces, to v[filled:]
// and returns how many there are. A chunk of another vector, out of order, too
// long or damaged is an error and leaves v as it was.
func decodeChunk[T Float](c chunking, v []T, filled int, vector int32, chunk *multiratev1.VectorChunk, data [][]byte) (int, error) {
	length, sum := 0, uint32(0)
	for _, piece := range data {
		length += len(piece)
		sum = crc32.Update(sum, castagnoli, piece)
	}
	n := length / c.width
	switch {
	case chunk.GetVector() != vector:
		return 0, fmt.Errorf("chunk of vector %d", chunk.GetVector())
	case chunk.GetTotal() != int64(len(v)):
		return 0, fmt.Errorf("chunk of a vector of %d elements, want %d", chunk.GetTotal(), len(v))
	case chunk.GetOffset() != int64(filled):
		return 0, fmt.Errorf("chunk at element %d, want %d", chunk.GetOffset(), filled)
	case n == 0 || length%c.width != 0 || n > len(v)-filled:
		return 0, fmt.Errorf("chunk of %d bytes at element %d of %d, %d bytes each", length, filled, len(v), c.width)
	case sum != chunk.GetCrc32C():
		return 0, fmt.Errorf("chunk at element %d is damaged: its checksum differs", filled)
	}
	for piece := range wire.WholeElements(data, c.width) {
		decodeElements(c.width, v[filled:], piece)
		filled += len(piece) / c.width
	}
	return n, nil
}

func decodeElements[T Float](width int, into []T, data []byte) {
	into = into[:len(data)/width]
	if littleEndian && width == elementWidth[T]() {
		copy(bytesOf(into), data)
		return
	}
	switch width {
	case 2:
		for i := range into {
			into[i] = T(math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:])) << 16))
		}
	case 4:
		for i := range into {
			into[i] = T(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
		}
	default:
		for i := range into {
			into[i] = T(math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:])))
		}
	}
}

// bytesOf is the memory of v.
func bytesOf[T Float](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*elementWidth[T]())
}
