// Package wire is gRPC's codec for Protocol Buffers, but for the chunks of big
// vectors: their data goes from the sender's buffer to the connection, and from
// the connection's buffers to the receiver, without being copied. What is on the
// wire is the same, so either end may use the generated messages instead.
package wire

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that this one goes by
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
)

// Codec is the codec; see [Outgoing] and [Incoming] for the messages that it
// treats otherwise than gRPC's own does.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

type codec struct{ encoding.CodecV2 }

// Field numbers of the contract.
const (
	probeField   = 1 // of EstimateSpectrumResponse
	productField = 2 // of EstimateSpectrumRequest

	vectorField = 1 // these of VectorChunk
	indexField  = 2
	offsetField = 3
	totalField  = 4
	dataField   = 5
	sumField    = 6
)

// Outgoing is a chunk to send: a probe, in an EstimateSpectrumResponse, or a
// product, in an EstimateSpectrumRequest.
type Outgoing struct {
	// Product tells a product from a probe.
	Product bool
	// Chunk is the chunk without its data.
	Chunk *pb.VectorChunk
	// Data is let go once it is on the wire.
	Data mem.Buffer
}

// Marshal puts the fields before the data into a buffer of their own.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(*Outgoing)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	if len(out.Chunk.GetData()) > 0 {
		return nil, fmt.Errorf("wire: chunk %d has its data in two places", out.Chunk.GetIndex())
	}
	head, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 0, 64), out.Chunk)
	if err != nil {
		return nil, err
	}
	n := out.Data.Len()
	head = protowire.AppendTag(head, dataField, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(n))
	field := protowire.Number(probeField)
	if out.Product {
		field = productField
	}
	outer := protowire.AppendTag(make([]byte, 0, 16+len(head)), field, protowire.BytesType)
	outer = protowire.AppendVarint(outer, uint64(len(head)+n))
	return mem.BufferSlice{mem.SliceBuffer(append(outer, head...)), out.Data}, nil
}

// Message is what an [Incoming] is of.
type Message interface {
	*pb.EstimateSpectrumRequest | *pb.EstimateSpectrumResponse
	proto.Message
}

// Incoming is a message received. Its chunk, if it is one, has its data in Data
// rather than in the message.
type Incoming[M Message] struct {
	Message M
	// Data is the chunk's data, in pieces of any size. It is good until Free.
	Data [][]byte

	buffers mem.BufferSlice
}

// Free lets the data go.
func (in *Incoming[M]) Free() {
	in.buffers.Free()
	in.buffers, in.Data = nil, nil
}

// Unmarshal takes chunks apart itself, and all else, and unusual forms of chunks,
// by way of gRPC's codec.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch in := v.(type) {
	case *Incoming[*pb.EstimateSpectrumRequest]:
		if chunk, ok := in.take(data, productField); ok {
			in.Message = &pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Product{Product: chunk}}
			return nil
		}
		in.Message = &pb.EstimateSpectrumRequest{}
		if err := c.CodecV2.Unmarshal(data, in.Message); err != nil {
			return err
		}
		in.expose(in.Message.GetProduct())
		return nil
	case *Incoming[*pb.EstimateSpectrumResponse]:
		if chunk, ok := in.take(data, probeField); ok {
			in.Message = &pb.EstimateSpectrumResponse{Message: &pb.EstimateSpectrumResponse_Probe{Probe: chunk}}
			return nil
		}
		in.Message = &pb.EstimateSpectrumResponse{}
		if err := c.CodecV2.Unmarshal(data, in.Message); err != nil {
			return err
		}
		in.expose(in.Message.GetProbe())
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// expose moves an ordinary message's data to where that of others is.
func (in *Incoming[M]) expose(chunk *pb.VectorChunk) {
	if len(chunk.GetData()) > 0 {
		in.Data, chunk.Data = [][]byte{chunk.Data}, nil
	}
}

// take reads a message that is one chunk and holds on to the buffers that its
// data is in. It is not ok with any that it does not know how to read.
func (in *Incoming[M]) take(data mem.BufferSlice, field protowire.Number) (*pb.VectorChunk, bool) {
	r := reader{}
	for _, b := range data {
		if piece := b.ReadOnlyData(); len(piece) > 0 {
			r.pieces = append(r.pieces, piece)
			r.left += len(piece)
		}
	}
	if number, kind := r.tag(); number != field || kind != protowire.BytesType || r.varint() != uint64(r.left) || r.failed {
		return nil, false
	}
	chunk, payload, ok := r.chunk()
	if !ok {
		return nil, false
	}
	data.Ref()
	in.buffers, in.Data = data, payload
	return chunk, true
}
