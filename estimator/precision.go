package estimator

import "math"

// Precision is the number format in which the Lanczos vectors are stored. The
// zero value is [Float64].
//
// It follows the format in which probes travel: a probe is the stored vector, so
// that the operator is applied to the very vector that the basis holds.
type Precision int

const (
	// Float64 is IEEE 754 binary64.
	Float64 Precision = iota
	// Float32 is IEEE 754 binary32. No scale flatter than about 1e-7 of the
	// stiffest can be seen.
	Float32
	// BFloat16 is the upper half of a binary32, and is stored as one. No scale
	// flatter than about 1e-2 of the stiffest can be seen.
	BFloat16
)

// Bytes is the memory of one stored element.
func (p Precision) Bytes() int {
	if p == Float64 {
		return 8
	}
	return 4
}

// RoundBFloat16 is the bfloat16 next to x, as the upper 16 bits of its binary32:
// 8 significant bits, ties to even. Overflow goes to infinity, and a NaN stays
// one.
func RoundBFloat16(x float32) uint16 {
	bits := math.Float32bits(x)
	if x != x {
		return uint16(bits>>16) | 1<<6 // quiet: no payload may round to infinity
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// BFloat16Value is the number that the upper 16 bits of a binary32 stand for.
func BFloat16Value(bits uint16) float32 { return math.Float32frombits(uint32(bits) << 16) }
