package server

import (
	"errors"
	"io"

	"google.golang.org/grpc/codes"

	pb "multirate/proto/multirate/v1"
)

// vectors carries an estimate's probes to the trainer and their products back.
type vectors interface {
	// ask shows the trainer a probe.
	ask(vector int32, probe []float64) error
	// answer waits for a product and writes it to the whole of product.
	answer(vector int32, product []float64) error
	close()
}

// link is an estimate's stream.
type link struct {
	in     *estimateInbox
	stream estimateStream
}

// send sends a message, but gives up when the call or the run's life ends: a
// client that does not read would otherwise hold the memory for ever. The send
// left behind fails when the handler returns.
func (l *link) send(m any) error { return l.sendBeside(m, func() {}) }

// sendBeside is send with something to do meanwhile.
func (l *link) sendBeside(m any, meanwhile func()) error {
	sent := make(chan error, 1)
	go func() { sent <- l.stream.SendMsg(m) }()
	meanwhile()
	select {
	case err := <-sent:
		if err != nil && l.in.ctx.Err() != nil {
			return interrupted(l.in.ctx)
		}
		return err
	case <-l.in.ctx.Done():
		return interrupted(l.in.ctx)
	case <-l.in.life.Done():
		return l.in.endedStatus()
	}
}

// chunked is the way that is open to every client: chunks on the stream.
type chunked struct {
	*link
	format pb.VectorFormat
	size   int // elements a chunk at most
}

// ask encodes each chunk while the one before is sent.
func (c chunked) ask(vector int32, probe []float64) error {
	encoder := chunkEncoder{vector: vector, elements: probe, format: c.format, size: c.size}
	for next := encoder.outgoing(); next != nil; {
		present := next
		if err := c.sendBeside(present, func() { next = encoder.outgoing() }); err != nil {
			return err
		}
	}
	return nil
}

func (c chunked) answer(vector int32, product []float64) error {
	decoder := chunkDecoder{vector: vector, elements: product, format: c.format, size: c.size}
	for !decoder.done() {
		m, err := c.in.next()
		if errors.Is(err, io.EOF) {
			return refusef(codes.Aborted, ReasonStreamCut,
				"the stream was closed after %d of %d elements of product %d, before the estimate was done: run it again",
				decoder.offset, len(product), vector)
		}
		if err != nil {
			return err
		}
		if m.Message.GetProduct() == nil {
			var v violations
			v.add(ReasonRequired, "product", "is missing: after start, send nothing but chunks of products")
			return v.err()
		}
		err = decoder.takePieces(m.Message.GetProduct(), m.Data)
		m.Free()
		if err != nil {
			return err
		}
	}
	return nil
}

func (c chunked) close() {}
