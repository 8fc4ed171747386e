package wire

import (
	"iter"
	"sync"
)

// Buffers are buffers of chunks. gRPC's own pool clears them first, which
// takes as long as filling them.
var Buffers Pool

// Pool is a pool of buffers that hold anything. The zero value is ready.
type Pool struct{ pool sync.Pool }

// Get is a buffer of that length, which holds anything.
func (p *Pool) Get(length int) *[]byte {
	if b, _ := p.pool.Get().(*[]byte); b != nil && cap(*b) >= length {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length)
	return &b
}

// Put takes a buffer back.
func (p *Pool) Put(b *[]byte) { p.pool.Put(b) }

// WholeElements joins what the cuts between pieces divide: each of its pieces has
// whole elements of width bytes, at most 8. It drops what is less than one element
// at the end.
func WholeElements(data [][]byte, width int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var cut [8]byte
		have := 0
		for _, piece := range data {
			if have > 0 {
				n := copy(cut[have:width], piece)
				piece = piece[n:]
				if have += n; have < width {
					continue
				}
				if !yield(cut[:width]) {
					return
				}
			}
			whole := len(piece) - len(piece)%width
			if whole > 0 && !yield(piece[:whole]) {
				return
			}
			have = copy(cut[:], piece[whole:])
		}
	}
}
