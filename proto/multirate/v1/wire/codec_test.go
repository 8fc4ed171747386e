package wire_test

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "multirate/proto/multirate/v1"
	"multirate/proto/multirate/v1/wire"
)

func product(c *pb.VectorChunk) *pb.EstimateSpectrumRequest {
	return &pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Product{Product: c}}
}

func probe(c *pb.VectorChunk) *pb.EstimateSpectrumResponse {
	return &pb.EstimateSpectrumResponse{Message: &pb.EstimateSpectrumResponse_Probe{Probe: c}}
}

// cut divides a message as a connection might.
func cut(t *rapid.T, b []byte) (s mem.BufferSlice) {
	for len(b) > 0 {
		n := rapid.IntRange(0, len(b)).Draw(t, "piece")
		s = append(s, mem.SliceBuffer(b[:n]))
		b = b[n:]
		if n == 0 && len(s) > 20 {
			s = append(s, mem.SliceBuffer(b))
			break
		}
	}
	return s
}

var chunks = rapid.Custom(func(t *rapid.T) *pb.VectorChunk {
	return &pb.VectorChunk{
		Vector: rapid.Int32().Draw(t, "vector"), Index: rapid.Int32().Draw(t, "index"),
		Offset: rapid.Int64().Draw(t, "offset"), Total: rapid.Int64().Draw(t, "total"),
		Data: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data"), Crc32C: rapid.Uint32().Draw(t, "crc32c"),
	}
})

// What goes out is what the generated code reads, and what the generated code
// writes comes in, however the connection cuts it.
func TestChunksAreTheContract(t *testing.T) {
	codec := wire.Codec()
	rapid.Check(t, func(t *rapid.T) {
		want := chunks.Draw(t, "chunk")
		head := proto.Clone(want).(*pb.VectorChunk)
		head.Data = nil
		out, err := codec.Marshal(&wire.Outgoing{Product: true, Chunk: head, Data: mem.SliceBuffer(want.Data)})
		if err != nil {
			t.Fatal(err)
		}
		var sent pb.EstimateSpectrumRequest
		if err := proto.Unmarshal(out.Materialize(), &sent); err != nil || !proto.Equal(&sent, product(want)) {
			t.Fatalf("on the wire as %v, %v; want %v", &sent, err, want)
		}
		b, err := proto.Marshal(probe(want))
		if err != nil {
			t.Fatal(err)
		}
		var in wire.Incoming[*pb.EstimateSpectrumResponse]
		if err := codec.Unmarshal(cut(t, b), &in); err != nil {
			t.Fatal(err)
		}
		got := in.Message.GetProbe()
		got.Data = slices.Concat(in.Data...)
		if !proto.Equal(got, want) {
			t.Fatalf("came in as %v, want %v", got, want)
		}
		in.Free()
	})
}

// Unusual forms mean what they mean to the generated code.
func TestUnusualFormsAreReadAsTheGeneratedCodeDoes(t *testing.T) {
	whole, err := proto.Marshal(product(&pb.VectorChunk{Vector: 1, Index: 2, Data: []byte("abcd"), Crc32C: 7}))
	if err != nil {
		t.Fatal(err)
	}
	start, err := proto.Marshal(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Start{Start: &pb.EstimateSpectrumStart{RunId: "r"}}})
	if err != nil {
		t.Fatal(err)
	}
	twice := protowire.AppendTag(nil, 2, protowire.BytesType)
	twice = protowire.AppendBytes(twice, []byte{2 << 3, 1, 2 << 3, 3, 5<<3 | 2, 1, 'x', 5<<3 | 2, 1, 'y'})
	for name, b := range map[string][]byte{
		"nothing": nil, "another message": start, "a chunk": whole, "two chunks, which merge": slices.Concat(whole, whole),
		"a chunk, then another message": slices.Concat(whole, start), "fields twice": twice,
		"an unknown field": slices.Concat([]byte{2<<3 | 2, 4}, []byte{1 << 3, 1, 9 << 3, 1}),
		"a wrong type":     {2<<3 | 2, 2, 5 << 3, 1}, "cut short": whole[:len(whole)-1],
		"longer than it is": {2<<3 | 2, 200, 1, 0}, "a tag of zero": {2<<3 | 2, 1, 0},
		"a varint of eleven bytes": {2<<3 | 2, 12, 1 << 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1},
	} {
		t.Run(name, func(t *testing.T) { agree(t, b) })
	}
}

func agree(t *testing.T, b []byte) {
	t.Helper()
	var want pb.EstimateSpectrumRequest
	wantErr := proto.Unmarshal(b, &want)
	var in wire.Incoming[*pb.EstimateSpectrumRequest]
	err := wire.Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &in)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("error %v, the generated code's %v", err, wantErr)
	}
	if err != nil {
		return
	}
	if c := in.Message.GetProduct(); c != nil && len(in.Data) > 0 {
		if len(c.Data) > 0 {
			t.Fatal("the data is in two places")
		}
		c.Data = bytes.Join(in.Data, nil)
	}
	if !proto.Equal(in.Message, &want) {
		t.Errorf("read as %v, the generated code reads %v", in.Message, &want)
	}
}

// FuzzIncoming reads any bytes as the generated code does.
func FuzzIncoming(f *testing.F) {
	b, err := proto.Marshal(product(&pb.VectorChunk{Vector: 1, Index: 2, Data: []byte("abcd"), Crc32C: 7}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(agree)
}
