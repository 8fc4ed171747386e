package server

import (
	"math"
)

// fingerprint hashes all of a report but its step. It tells a retry from a step
// with other statistics, so it must be quick and stay the same from version to
// version, since snapshots carry it; it need not withstand forgery.
//
// The state starts at fingerprintSeed. Each 64-bit word is taken in by one
// round of xor, multiplication by an odd number and xor with a right shift, all
// of them bijective: reports that differ in one word always differ in their
// fingerprint. The multiplier is that of MurmurHash3's finaliser.
func fingerprint(rep *report) uint64 {
	const fingerprintSeed = 1
	h := mixer(fingerprintSeed)
	st := rep.statistics
	h.optional(st.Loss)
	h.optional(st.GradientNormSquared)
	h.optional(st.GradientDotPrevious)
	h.optional(st.ParameterNorm)
	h.present(st.BatchId != nil)
	h.word(st.GetBatchId())
	h.word(uint64(len(st.Sketches)))
	for _, s := range st.Sketches {
		h.word(uint64(uint32(s.GetKind()))<<32 | uint64(uint32(s.GetPart())))
		h.present(s.ParamGroup != nil)
		h.word(uint64(uint32(s.GetParamGroup())))
		h.floats(s.GetValues())
	}
	h.word(uint64(len(rep.applied)))
	for _, x := range rep.applied {
		h.word(math.Float64bits(x))
	}
	return uint64(h)
}

type mixer uint64

func (h *mixer) word(w uint64) {
	x := (uint64(*h) ^ w) * 0xff51afd7ed558ccd
	*h = mixer(x ^ x>>33)
}

func (h *mixer) present(set bool) {
	if set {
		h.word(1)
	} else {
		h.word(0)
	}
}

func (h *mixer) optional(x *float64) {
	h.present(x != nil)
	if x != nil {
		h.word(math.Float64bits(*x))
	}
}

// floats takes two numbers a word, and their count.
func (h *mixer) floats(values []float32) {
	h.word(uint64(len(values)))
	for ; len(values) >= 2; values = values[2:] {
		h.word(uint64(math.Float32bits(values[0]))<<32 | uint64(math.Float32bits(values[1])))
	}
	for _, x := range values {
		h.word(uint64(math.Float32bits(x)))
	}
}
