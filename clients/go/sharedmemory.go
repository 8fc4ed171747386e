package multirate

import (
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	multiratev1 "multirate/proto/multirate/v1"
)

const (
	// blockBytes is what one checksum of the contract is of.
	blockBytes = 1 << 20
	// memorySuffix is behind the path of the service's socket in that of the
	// memory's.
	memorySuffix = ".memory"
)

// sharedMemory is memory that the service maps, too.
type sharedMemory struct {
	bytes     []byte
	productAt int
}

// socketPath is the path of the unix socket that a target names, if it does.
func socketPath(target string) (string, bool) {
	path, ok := strings.CutPrefix(target, "unix:")
	if abs, two := strings.CutPrefix(path, "//"); two {
		path = abs
	}
	return path, ok && path != ""
}

// attach maps the memory offered and tells the service whether that worked. Where
// it did not, vectors go in chunks.
func (e *estimate[T]) attach(offer *multiratev1.SharedMemory) error {
	size := e.chunks.width * len(e.probe)
	at := offer.GetProductOffset()
	if path, ok := socketPath(e.target); ok && at >= int64(size) && at%8 == 0 && offer.GetBytes() >= at+int64(size) {
		if mapped, err := mapShared(path+memorySuffix, offer.GetToken(), int(offer.GetBytes())); err == nil {
			e.memory = &sharedMemory{bytes: mapped, productAt: int(at)}
		}
	}
	return e.send(&multiratev1.EstimateSpectrumRequest{Message: &multiratev1.EstimateSpectrumRequest_Attached{
		Attached: &multiratev1.SharedMemoryAttached{Ok: e.memory != nil},
	}})
}

// receiveShared takes a probe from the shared memory and answers it by its
// product.
func (e *estimate[T]) receiveShared(announced *multiratev1.SharedVector) error {
	if e.memory == nil || announced.GetVector() != e.vector {
		return fmt.Errorf("multirate: EstimateSpectrum: the service announces probe %d in shared memory, want %d in chunks or memory", announced.GetVector(), e.vector)
	}
	width, n := e.chunks.width, len(e.probe)
	probeBytes := e.memory.bytes[:width*n]
	productBytes := e.memory.bytes[e.memory.productAt:][:width*n]
	sums := announced.GetBlockCrc32C()
	if len(sums) != blocks(len(probeBytes)) {
		return fmt.Errorf("multirate: EstimateSpectrum: probe %d has %d checksums, want %d", e.vector, len(sums), blocks(len(probeBytes)))
	}
	probe, product := e.probe, e.product
	// Elements of the trainer's own width are computed with where they lie.
	direct := width == elementWidth[T]() && littleEndian
	if direct {
		probe, product = elementsOf[T](probeBytes, n), elementsOf[T](productBytes, n)
	}
	damaged := atomic.Bool{}
	eachBlock(len(sums), func(i int) {
		block := blockOf(probeBytes, i)
		if crc32.Checksum(block, castagnoli) != sums[i] {
			damaged.Store(true)
		}
		if !direct {
			decodeElements(width, probe[i*(blockBytes/width):], block)
		}
	})
	if damaged.Load() {
		return fmt.Errorf("multirate: EstimateSpectrum: probe %d is damaged: its checksum differs", e.vector)
	}
	if err := e.hvp(probe, product); err != nil {
		return fmt.Errorf("multirate: Hessian-vector product %d: %w", e.vector, err)
	}
	own := make([]uint32, len(sums))
	eachBlock(len(own), func(i int) {
		block := blockOf(productBytes, i)
		if !direct {
			encodeElements(width, block, product[i*(blockBytes/width):][:len(block)/width])
		}
		own[i] = crc32.Checksum(block, castagnoli)
	})
	e.vector++
	return e.send(&multiratev1.EstimateSpectrumRequest{Message: &multiratev1.EstimateSpectrumRequest_SharedProduct{
		SharedProduct: &multiratev1.SharedVector{Vector: announced.GetVector(), BlockCrc32C: own},
	}})
}

func (e *estimate[T]) close() error {
	if e.memory == nil {
		return nil
	}
	memory := e.memory
	e.memory = nil
	return unmapShared(memory.bytes)
}

var littleEndian = func() bool {
	x := uint16(1)
	return *(*byte)(unsafe.Pointer(&x)) == 1
}()

// elementsOf are the elements that bytes hold, aligned as they are by the
// contract.
func elementsOf[T Float](b []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

func blocks(bytes int) int { return (bytes + blockBytes - 1) / blockBytes }

func blockOf(b []byte, i int) []byte { return b[i*blockBytes : min(len(b), (i+1)*blockBytes)] }

// eachBlock calls f for each block, on all cores.
func eachBlock(blocks int, f func(block int)) {
	var working sync.WaitGroup
	var taken atomic.Int64
	for range min(blocks, runtime.GOMAXPROCS(0)) {
		working.Go(func() {
			for i := int(taken.Add(1)) - 1; i < blocks; i = int(taken.Add(1)) - 1 {
				f(i)
			}
		})
	}
	working.Wait()
}

var errNoDescriptor = errors.New("the service sent no descriptor")
