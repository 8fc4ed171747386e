package estimator

import (
	"encoding/binary"
	"math"
	"testing"
)

// readSpectrum makes a spectrum of any finite numbers: 25 bytes a Ritz value,
// behind one for the source and one for the dimension.
func readSpectrum(data []byte) Spectrum {
	var s Spectrum
	if len(data) < 2 {
		return s
	}
	s.Source = Source(data[0] % 4)
	s.Dimension = int64(data[1])
	finite := func(b []byte) float64 {
		x := math.Float64frombits(binary.LittleEndian.Uint64(b))
		if !isFinite(x) {
			return 0
		}
		return x
	}
	for data = data[2:]; len(data) >= 25 && len(s.Ritz) < 60; data = data[25:] {
		s.Ritz = append(s.Ritz, RitzValue{Value: finite(data), Weight: finite(data[8:]), Bound: finite(data[16:]), Probe: int(int8(data[24]))})
	}
	return s
}

// writeSpectrum is readSpectrum's inverse.
func writeSpectrum(s Spectrum) []byte {
	out := []byte{byte(s.Source), byte(s.Dimension)}
	for _, r := range s.Ritz {
		for _, x := range []float64{r.Value, r.Weight, r.Bound} {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
		}
		out = append(out, byte(r.Probe))
	}
	return out
}

// FuzzSpectrum: whatever finite numbers a spectrum holds, scales and their edges
// are finite and in order, and a density is free of NaN.
func FuzzSpectrum(f *testing.F) {
	ritz := func(values ...float64) (s Spectrum) {
		s.Source, s.Dimension = SourceLanczos, int64(len(values))
		for i, v := range values {
			s.Ritz = append(s.Ritz, RitzValue{Value: v, Weight: 1 / float64(len(values)), Probe: i % 2})
		}
		return s
	}
	for _, s := range []Spectrum{
		{}, ritz(0, 0, 0), ritz(1), ritz(1, 1, 1), ritz(1e300, 1e-300), ritz(-1e300, 1e300, 0),
		ritz(math.MaxFloat64, 5e-324, -5e-324), ritz(1, 0.5, 1e-3, 5e-4), ritz(2, 2, 1, 1),
		{Source: SourceSketch, Ritz: []RitzValue{{Value: 4, Weight: 0.5, Bound: 0.1}, {Value: 1e-3, Weight: 0.5, Bound: 1e-5}}},
	} {
		f.Add(writeSpectrum(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := readSpectrum(data)
		scales := DetectScales(s)
		checkFuzzed(t, scales)
		checkFuzzed(t, SplitScales(s))
		edges := ScaleEdges(s)
		if len(edges) != len(scales.Groups) {
			t.Fatalf("%d edges for %d scales", len(edges), len(scales.Groups))
		}
		for i, e := range edges {
			for _, side := range []Edge{e.Low, e.High} {
				if !(side.Least >= 0 && side.Least <= side.Estimate && side.Estimate <= side.Most && side.Most <= math.MaxFloat64) {
					t.Errorf("scale %d: edge %+v", i, side)
				}
			}
		}
		for _, v := range Stability(scales, scales, Scales{}) {
			if !(v >= 0 && v <= 1) {
				t.Errorf("stability %v", v)
			}
		}
		Settled(s, 0.05)
		for _, points := range []int{1, 7} {
			for _, b := range s.Density(points) {
				if math.IsNaN(b.Lower) || math.IsNaN(b.Upper) || math.IsNaN(b.Mass.Value) || math.IsNaN(b.Mass.StandardError) {
					t.Errorf("bin %+v", b)
				}
			}
		}
		if trace, ok := s.Trace(); ok && !(isFinite(trace.Value) && isFinite(trace.StandardError)) {
			t.Errorf("trace %+v", trace)
		}
	})
}

func checkFuzzed(t *testing.T, s Scales) {
	t.Helper()
	checkOrder(t, s)
	for i, g := range s.Groups {
		if !(g.Weight <= 1) {
			t.Errorf("scale %d weighs %v", i, g.Weight)
		}
	}
	for _, c := range s.Confidence {
		if !(c >= 0 && c <= 1) {
			t.Errorf("confidence %v", c)
		}
	}
	if math.IsNaN(s.Negative) {
		t.Error("negative curvature is NaN")
	}
}
