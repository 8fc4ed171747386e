package estimator

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
)

// FuzzWindow reads a window's dimension and pairs, then sketches with the rates
// that lead to them, from arbitrary bytes. Whatever finite float32 come, a model
// holds finite numbers, shares that add up to one, and Ritz values in order.
func FuzzWindow(f *testing.F) {
	encode := func(d, pairs byte, rows ...[]float32) []byte {
		data := []byte{d, pairs}
		for _, row := range rows { // the rate first
			for _, v := range row {
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
			}
		}
		return data
	}
	f.Add(encode(1, 4, []float32{0, 1}, []float32{0.5, 0.5}, []float32{0.5, 0.25}, []float32{2, 0}))
	f.Add(encode(2, 4, []float32{0, 0, 0}, []float32{1, 0, 0}, []float32{1, 0, 0}))
	f.Add(encode(2, 4, []float32{0, 1, 1}, []float32{1, 1, 1}, []float32{1, 1, 1}, []float32{1, 1, 1}))
	f.Add(encode(3, 6, []float32{0, 1, 2, 3}, []float32{.1, 2, 1, 3}, []float32{.2, 1, 1, 2}, []float32{.1, 1, 0, 2}, []float32{.3, 0, 0, 1}))
	f.Add(encode(2, 4, []float32{0, 1e-38, 1e-45}, []float32{1e-38, 1e-40, 1e-45}, []float32{3e38, 3e38, 1e-45}, []float32{3e38, -3e38, 3e38}))
	f.Add(encode(2, 4, []float32{0, 1, 1}, []float32{1e-38, 1.0000001, 1}, []float32{1e38, 1, 1.0000001}, []float32{1e-38, -1, 1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		d, pairs := 1+int(data[0])%7, 1+int(data[1])%12
		data = data[2:]
		w := NewWindow(pairs, d)
		row := make([]float32, d)
		for len(data) >= 4*(d+1) {
			rate := float64(finite32(data))
			// float32 reaches from 1e-45 to 3e38; squares and powers reach further.
			rate *= math.Abs(rate)
			for i := range row {
				row[i] = finite32(data[4*(i+1):])
			}
			data = data[4*(d+1):]
			w.Push(row, rate)
			checkModel(t, w.Solve())
			for _, r := range w.Spectrum().Ritz {
				if !finite(r.Value) || !(r.Weight >= 0 && r.Weight <= 1+1e-9) || math.IsNaN(r.Bound) {
					t.Fatalf("Ritz value %+v", r)
				}
			}
			if c, ok := w.Cosine(); ok && math.IsNaN(c) {
				t.Fatalf("cosine %v", c)
			}
		}
	})
}

// finite32 is the float32 at the front of data, or zero if that is none.
func finite32(data []byte) float32 {
	v := math.Float32frombits(binary.LittleEndian.Uint32(data))
	if !finite(float64(v)) {
		return 0
	}
	return v
}

func checkModel(t *testing.T, m Model) {
	t.Helper()
	total := m.Residual
	for i, v := range m.Theta {
		total += m.Energy[i]
		if !finite(v) || !(m.Energy[i] >= 0) {
			t.Fatalf("Ritz value %v with energy %v", v, m.Energy[i])
		}
	}
	if math.Abs(total-1) > 1e-9 || !(m.Residual >= 0) || !finite(m.Curvature) || math.IsNaN(m.Secant) || m.Secant < 0 {
		t.Fatalf("shares add up to %v: %+v", total, m)
	}
	if !slices.IsSortedFunc(m.Theta, func(a, b float64) int {
		switch {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	}) {
		t.Fatalf("not in order: %v", m.Theta)
	}
}
