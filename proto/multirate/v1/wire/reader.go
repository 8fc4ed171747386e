package wire

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"

	pb "multirate/proto/multirate/v1"
)

// reader reads fields out of a message in pieces. After the first failure it
// reads zeros.
type reader struct {
	pieces [][]byte // none is empty
	left   int      // bytes in all of them
	failed bool
}

// chunk reads the fields of a VectorChunk up to the end. Fields that are unknown
// or come twice are left to others.
func (r *reader) chunk() (*pb.VectorChunk, [][]byte, bool) {
	var c pb.VectorChunk
	var payload [][]byte
	var seen [sumField + 1]bool
	for r.left > 0 && !r.failed {
		number, kind := r.tag()
		if r.failed || number > sumField || seen[number] || kind != kinds[number] {
			return nil, nil, false
		}
		seen[number] = true
		switch number {
		case vectorField:
			c.Vector = int32(r.varint())
		case indexField:
			c.Index = int32(r.varint())
		case offsetField:
			c.Offset = int64(r.varint())
		case totalField:
			c.Total = int64(r.varint())
		case dataField:
			payload = r.bytes(r.varint())
		case sumField:
			c.Crc32C = r.fixed32()
		}
	}
	return &c, payload, !r.failed
}

var kinds = [sumField + 1]protowire.Type{
	0:           -1,
	vectorField: protowire.VarintType, indexField: protowire.VarintType,
	offsetField: protowire.VarintType, totalField: protowire.VarintType,
	dataField: protowire.BytesType, sumField: protowire.Fixed32Type,
}

func (r *reader) byte() byte {
	if r.left == 0 {
		r.failed = true
		return 0
	}
	b := r.pieces[0][0]
	r.skip(1)
	return b
}

// skip drops n bytes of the first piece.
func (r *reader) skip(n int) {
	r.left -= n
	if r.pieces[0] = r.pieces[0][n:]; len(r.pieces[0]) == 0 {
		r.pieces = r.pieces[1:]
	}
}

func (r *reader) varint() uint64 {
	var x uint64
	for shift := 0; shift < 70; shift += 7 {
		b := r.byte()
		if shift == 63 && b > 1 { // beyond 64 bits
			break
		}
		x |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return x
		}
	}
	r.failed = true
	return 0
}

func (r *reader) tag() (protowire.Number, protowire.Type) {
	x := r.varint()
	number, kind := protowire.DecodeTag(x)
	if number < protowire.MinValidNumber {
		r.failed = true
	}
	return number, kind
}

func (r *reader) fixed32() uint32 {
	var b [4]byte
	for i := range b {
		b[i] = r.byte()
	}
	return binary.LittleEndian.Uint32(b[:])
}

// bytes are the next n bytes, where they lie.
func (r *reader) bytes(n uint64) (out [][]byte) {
	if n > uint64(r.left) {
		r.failed = true
		return nil
	}
	for n > 0 {
		piece := r.pieces[0]
		if uint64(len(piece)) > n {
			piece = piece[:n:n]
		}
		out = append(out, piece)
		n -= uint64(len(piece))
		r.skip(len(piece))
	}
	return out
}
