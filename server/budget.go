package server

import "sync/atomic"

// budget is an amount of memory that estimates share, in bytes.
type budget struct {
	limit int64
	used  atomic.Int64
}

// reserve takes n bytes, or none when they would exceed the limit.
func (b *budget) reserve(n int64) bool {
	for {
		used := b.used.Load()
		if n > b.limit-used {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *budget) release(n int64) { b.used.Add(-n) }

func (b *budget) free() int64 { return b.limit - b.used.Load() }
