package estimator

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A gradient G with noise of the variance 0.01 per coordinate and batch, in
// three coordinates, seen in n parts of each batch.
func TestNoiseIsUnbiased(t *testing.T) {
	for _, n := range []int{2, 3, 4, 7} {
		r := rand.New(rand.NewPCG(8, uint64(n)))
		gradient := []float64{1, 0.5, -0.2}
		const batches, variance = 20_000, 0.01
		var sketches [][]float32
		var norms []float64
		for range batches {
			parts, norm := make([][]float32, n), 0.0
			for k := range parts {
				parts[k] = make([]float32, 3)
				for i, g := range gradient {
					parts[k][i] = float32(g + math.Sqrt(variance*float64(n))*r.NormFloat64())
				}
			}
			for i := range gradient {
				mean := 0.0
				for k := range parts {
					mean += float64(parts[k][i]) / float64(n)
				}
				norm += mean * mean
			}
			sketches, norms = append(sketches, NoiseSketch(parts)), append(norms, norm)
		}
		got := MeasureNoise(sketches, norms)
		// |z|^2 is 0.01 chi^2_3: standard error 0.01 sqrt(6/batches), 1.7e-4;
		// |g|^2 has that of 2 sqrt(1.29*0.01/batches), 1.6e-3. Five of each.
		if math.Abs(got.Square-0.03) > 9e-4 || math.Abs(got.Signal-1.29) > 8e-3 {
			t.Errorf("%d parts: %+v, want 0.03 and 1.29", n, got)
		}
		if want := 0.03 / 1.29; math.Abs(got.Scale()-want) > 1e-3 {
			t.Errorf("%d parts: noise scale %v, want %v", n, got.Scale(), want)
		}
	}
}

func TestNoiseScaleOfExtremes(t *testing.T) {
	if got := (Noise{}).Scale(); got != 0 {
		t.Errorf("no noise: %v", got)
	}
	if got := (Noise{Square: 1, Signal: -0.1}).Scale(); !math.IsInf(got, 1) {
		t.Errorf("no signal: %v", got)
	}
	if NoiseSketch([][]float32{{1}}) != nil {
		t.Error("one part tells of noise")
	}
}

func TestNoiseAlongRitzVectors(t *testing.T) {
	w := NewWindow(8, 3)
	descent(w, []float64{10, 1, 0.1}, []float64{1, 1, 1}, []float64{0.05, 0.5, 1.5, 0.08})
	s := w.SpectrumWithNoise([][]float32{{2, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1}})
	if len(s.Ritz) != 3 {
		t.Fatalf("%+v", s)
	}
	for i, want := range []float64{1, 0.5, 0.5} { // means of the squares
		if got := s.Ritz[i].Noise; math.Abs(got-want) > 1e-2 {
			t.Errorf("noise along %v: %v, want %v", s.Ritz[i].Value, got, want)
		}
	}
}
