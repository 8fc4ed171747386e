package multirate

import (
	"fmt"
	"math"
	"unsafe"
)

// Float is an element type of gradients and vectors.
type Float interface {
	~float32 | ~float64
}

// DefaultSketchDimension is the sketch dimension d that a zero one stands for.
const DefaultSketchDimension = 251

// The limits that the contract sets on d.
const (
	minSketchDimension = 15
	maxSketchDimension = 4095
)

// wordBits is the number of signs in a word. Accumulation walks whole words
// into buckets that run past d and are folded at the end, so that the inner
// loop has one length whatever d.
const wordBits = 64

// Sketcher is the linear map S from gradients of dimension D to sketches of
// dimension d that the contract fixes bit by bit (SketchSpec in run.proto):
// the sign of each coordinate is a bit of SplitMix64, its bucket the index
// modulo d.
//
// A Sketcher is immutable: any number of goroutines may use one.
type Sketcher struct {
	dimension int64
	buckets   int
	seed      uint64
}

// NewSketcher returns the map from gradients of dimension >= 1 to sketches of
// dimension d, odd, in [15, 4095], with 0 for 251.
func NewSketcher(dimension int64, d int, seed uint64) (*Sketcher, error) {
	if d == 0 {
		d = DefaultSketchDimension
	}
	if dimension < 1 {
		return nil, fmt.Errorf("multirate: gradient dimension %d, want at least 1", dimension)
	}
	if d < minSketchDimension || d > maxSketchDimension || d%2 == 0 {
		return nil, fmt.Errorf("multirate: sketch dimension %d, want an odd number from %d to %d",
			d, minSketchDimension, maxSketchDimension)
	}
	return &Sketcher{dimension: dimension, buckets: d, seed: seed}, nil
}

// Dimension returns the gradient's dimension D.
func (s *Sketcher) Dimension() int64 { return s.dimension }

// Buckets returns the sketch's dimension d.
func (s *Sketcher) Buckets() int { return s.buckets }

// Sketch writes the sketch of the whole gradient g, of length D, to dst, of
// length d. It allocates nothing and panics on other lengths.
func Sketch[T Float](s *Sketcher, dst []float32, g []T) {
	if int64(len(g)) != s.dimension {
		panic(fmt.Sprintf("multirate: gradient of %d elements, the sketcher is for %d", len(g), s.dimension))
	}
	var sums [maxSketchDimension]float64
	Accumulate(s, sums[:s.buckets], g, 0)
	Round(dst, sums[:s.buckets])
}

// Accumulate adds the sketch of a shard, of which the first element has the
// index offset in the whole gradient, to sums, of length d. Sketches are
// linear: shards in any order, ranks and micro-batches add. It allocates
// nothing and panics on a shard that does not lie within [0, D) or sums of
// another length.
func Accumulate[T Float](s *Sketcher, sums []float64, shard []T, offset int64) {
	if offset < 0 || int64(len(shard)) > s.dimension-offset {
		panic(fmt.Sprintf("multirate: shard [%d, %d+%d) outside the gradient of %d elements",
			offset, offset, len(shard), s.dimension))
	}
	if len(sums) != s.buckets {
		panic(fmt.Sprintf("multirate: %d sums for a sketch of dimension %d", len(sums), s.buckets))
	}
	var padded [maxSketchDimension + wordBits - 1]float64
	local := padded[:s.buckets+wordBits-1]
	bucket, index := int(offset%int64(s.buckets)), uint64(offset)
	for len(shard) > 0 {
		bit := index % wordBits
		run := shard[:min(len(shard), int(wordBits-bit))]
		addSigned(local[bucket:bucket+len(run)], run, signWord(s.seed, index/wordBits)>>bit)
		shard, index = shard[len(run):], index+uint64(len(run))
		for bucket += len(run); bucket >= s.buckets; {
			bucket -= s.buckets
		}
	}
	for b, bucket := 0, 0; b < len(local); b++ {
		sums[bucket] += local[b]
		if bucket++; bucket == s.buckets {
			bucket = 0
		}
	}
}

// Round writes accumulated sums to dst, of the same length, as the float32
// numbers that go on the wire.
func Round(dst []float32, sums []float64) {
	if len(dst) != len(sums) {
		panic(fmt.Sprintf("multirate: %d sketch values for %d sums", len(dst), len(sums)))
	}
	for b, v := range sums {
		dst[b] = float32(v)
	}
}

// addSigned adds v[j], negated if bit j of word is set, to sums[j]. Flipping
// the sign bit in an integer register avoids a branch and a table.
func addSigned[T Float](sums []float64, v []T, word uint64) {
	sums = sums[:len(v)]
	if unsafe.Sizeof(T(0)) == 4 {
		for j, x := range v {
			sums[j] += float64(math.Float32frombits(math.Float32bits(float32(x)) ^ uint32(word)<<31))
			word >>= 1
		}
		return
	}
	for j, x := range v {
		sums[j] += math.Float64frombits(math.Float64bits(float64(x)) ^ word<<63)
		word >>= 1
	}
}

// signWord returns output number k of SplitMix64 seeded with seed (Steele, Lea
// and Flood, OOPSLA 2014), the generator of the contract's signs.
func signWord(seed, k uint64) uint64 {
	z := seed + (k+1)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}
