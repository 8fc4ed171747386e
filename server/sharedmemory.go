package server

import (
	"errors"
	"hash/crc32"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	pb "multirate/proto/multirate/v1"
	"multirate/proto/multirate/v1/wire"
)

const (
	// blockBytes is what one checksum of the contract is of.
	blockBytes = 1 << 20
	// pageBytes aligns products, as the contract says.
	pageBytes = 4096
)

// wayFor chooses how vectors go: through shared memory where both sides can,
// else in chunks. What goes wrong with the memory is no reason to refuse.
func (s *Server) wayFor(l *link, e *estimate, start *pb.EstimateSpectrumStart) (vectors, error) {
	chunks := chunked{link: l, format: e.format, size: e.chunk}
	if !start.GetSharedMemory() || !s.post.reaches(l.in.ctx) {
		return chunks, nil
	}
	m, err := s.share(l, e)
	if err != nil {
		s.log.Info("no shared memory, chunks instead", "run", e.run.key, "error", err)
		return chunks, nil
	}
	attached, err := m.offer()
	if err != nil || !attached {
		m.close()
		return chunks, err
	}
	return m, nil
}

// sharedMemory is the way through memory that trainer and service both map. The trainer
// may write there at any time, so nothing is believed of it: what is used was
// copied first, then checked.
type sharedMemory struct {
	*link
	format    pb.VectorFormat
	memory    []byte
	token     []byte
	productAt int
	release   func()
}

// share makes the memory for one estimate, and reserves it.
func (s *Server) share(l *link, e *estimate) (*sharedMemory, error) {
	size := e.dimension * elementBytes(e.format)
	productAt := (size + pageBytes - 1) / pageBytes * pageBytes
	total := productAt + size
	if e.reserved+int64(total) > s.options.MaxRunBytes {
		return nil, errors.New("the run's memory has no room for it")
	}
	release, err := s.reserve(e.run.id, int64(total), "")
	if err != nil {
		return nil, err
	}
	memory, token, withdraw, err := s.post.memory(total)
	if err != nil {
		release()
		return nil, err
	}
	return &sharedMemory{
		link: l, format: e.format, memory: memory, token: token, productAt: productAt,
		release: func() { withdraw(); release() },
	}, nil
}

// offer reports whether the trainer has the memory, too.
func (m *sharedMemory) offer() (attached bool, err error) {
	err = m.send(&pb.EstimateSpectrumResponse{Message: &pb.EstimateSpectrumResponse_SharedMemory{
		SharedMemory: &pb.SharedMemory{Token: m.token, Bytes: int64(len(m.memory)), ProductOffset: int64(m.productAt)},
	}})
	if err != nil {
		return false, err
	}
	answer, err := m.next("attached", 0)
	if err != nil {
		return false, err
	}
	if answer.Message.GetAttached() == nil {
		var v violations
		v.add(ReasonRequired, "attached", "is missing: answer shared_memory before anything else, or leave start.shared_memory out")
		return false, v.err()
	}
	return answer.Message.GetAttached().GetOk(), nil
}

// next waits for a message.
func (m *sharedMemory) next(what string, vector int32) (*incoming, error) {
	in, err := m.in.next()
	if errors.Is(err, io.EOF) {
		return nil, refusef(codes.Aborted, ReasonStreamCut,
			"the stream was closed before %s of vector %d, before the estimate was done: run it again", what, vector)
	}
	return in, err
}

func (m *sharedMemory) ask(vector int32, probe []float64) error {
	width := elementBytes(m.format)
	sums := make([]uint32, blocks(len(probe)*width))
	err := eachBlock(len(sums), func(i int) error {
		from, to := blockElements(i, width, len(probe))
		block := m.memory[from*width : to*width : to*width]
		appendElements(block[:0], probe[from:to], m.format)
		sums[i] = crc32.Checksum(block, castagnoli)
		return nil
	})
	if err != nil {
		return err
	}
	return m.send(&pb.EstimateSpectrumResponse{Message: &pb.EstimateSpectrumResponse_SharedProbe{
		SharedProbe: &pb.SharedVector{Vector: vector, BlockCrc32C: sums},
	}})
}

func (m *sharedMemory) answer(vector int32, product []float64) error {
	in, err := m.next("the product", vector)
	if err != nil {
		return err
	}
	width := elementBytes(m.format)
	announced := in.Message.GetSharedProduct()
	if announced == nil {
		var v violations
		v.add(ReasonRequired, "shared_product", "is missing: with shared memory, send nothing but shared products")
		return v.err()
	}
	if announced.Vector != vector {
		return refuseField(codes.InvalidArgument, ReasonChunkOutOfOrder, "shared_product.vector",
			"is %d, must be %d: answer each probe once, in order", announced.Vector, vector)
	}
	sums := announced.BlockCrc32C
	if want := blocks(len(product) * width); len(sums) != want {
		return refuseField(codes.InvalidArgument, ReasonChunkSize, "shared_product.block_crc32c",
			"has %d numbers, must have %d: send one for each MiB of %d elements of %d bytes", len(sums), want, len(product), width)
	}
	return eachBlock(len(sums), func(i int) error {
		from, to := blockElements(i, width, len(product))
		at := m.productAt + from*width
		private := wire.Buffers.Get((to - from) * width)
		defer wire.Buffers.Put(private)
		copy(*private, m.memory[at:at+len(*private)])
		if sum := crc32.Checksum(*private, castagnoli); sum != sums[i] {
			return refuseField(codes.DataLoss, ReasonChunkChecksum, "shared_product.block_crc32c",
				"is %#08x for block %d, but the block of vector %d has the CRC-32C %#08x: it was written to after it was announced, "+
					"or summed with another polynomial; run the estimate again", sums[i], i, vector, sum)
		}
		d := chunkDecoder{elements: product, format: m.format, offset: from}
		return d.decode(*private)
	})
}

func (m *sharedMemory) close() { m.release() }

func blocks(bytes int) int { return (bytes + blockBytes - 1) / blockBytes }

// blockElements are the first element of a block and the one behind its last.
func blockElements(block, width, elements int) (from, to int) {
	from = block * (blockBytes / width)
	return from, min(from+blockBytes/width, elements)
}

// eachBlock calls f for each block, on all cores, and returns an error if any
// call does.
func eachBlock(blocks int, f func(block int) error) error {
	var group errgroup.Group
	var taken atomic.Int64
	for range min(blocks, runtime.GOMAXPROCS(0)) {
		group.Go(func() error {
			for {
				i := int(taken.Add(1)) - 1
				if i >= blocks {
					return nil
				}
				if err := f(i); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}
