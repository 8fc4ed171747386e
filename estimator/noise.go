package estimator

import "math"

// NoiseSketch is a vector whose mean is zero and whose covariance is that of the
// sketch of the whole batch's gradient, from the sketches of n >= 2 equal parts
// of the batch, each of the mean over its part: half of them are added and half
// subtracted, so that the gradient itself cancels. With two parts it is half
// their difference. Of an odd number the last is left out. It is nil for fewer
// than two.
func NoiseSketch(parts [][]float32) []float32 {
	n := len(parts)
	if n < 2 {
		return nil
	}
	pairs := n / 2
	// A part's variance is n times the batch's; so many parts, of which each
	// counts once, must have the batch's together.
	scale := 1 / math.Sqrt(float64(n)*float64(2*pairs))
	z := make([]float32, len(parts[0]))
	for i := range z {
		sum := 0.0
		for k := range pairs {
			sum += float64(parts[2*k][i]) - float64(parts[2*k+1][i])
		}
		z[i] = float32(max(-math.MaxFloat32, min(math.MaxFloat32, sum*scale)))
	}
	return z
}

// Noise is what the parts of the latest batches tell of the gradient's noise.
type Noise struct {
	// Square is the mean of |g - E g|^2, g being the gradient of a batch, Signal
	// that of |E g|^2; both unbiased, so Signal may be negative.
	Square, Signal float64
}

// Scale is the gradient noise scale in batches: the number of batches whose mean
// gradient has as much noise as signal, so that larger ones hardly help, tr
// Sigma/|G|^2 of McCandlish et al., arXiv 1812.06162, over the batch's size. It
// is infinite where no signal is seen.
func (n Noise) Scale() float64 {
	if n.Square == 0 {
		return 0
	}
	if !(n.Signal > 0) {
		return math.Inf(1)
	}
	return n.Square / n.Signal
}

// MeasureNoise takes the mean over noise sketches and the squared norms of the
// gradients of the same steps.
func MeasureNoise(sketches [][]float32, norms []float64) Noise {
	var n Noise
	for i, z := range sketches {
		square := dot32(z, z)
		n.Square += square / float64(len(sketches))
		n.Signal += (norms[i] - square) / float64(len(sketches))
	}
	return n
}

// SpectrumWithNoise is [Window.Spectrum] with the noise along each Ritz vector,
// in units of squared gradient, in the mean over noise sketches (see
// [NoiseSketch]). Whatever lies outside the span is in none.
func (w *Window) SpectrumWithNoise(sketches [][]float32) Spectrum {
	spectrum, fresh, order := w.spectrum()
	if fresh == nil || len(sketches) == 0 {
		return spectrum
	}
	s := &fresh.solver
	for _, z := range sketches {
		for k, p := range s.pivot[:s.order] {
			s.coef[k] = dot32(fresh.rows[s.cols[p]], z) * s.weight[p]
		}
		s.backward(s.coef[:s.order])
		s.schur.coordinates(s.coef)
		for i, column := range order {
			spectrum.Ritz[i].Noise += s.coef[column] * s.coef[column] / float64(len(sketches))
		}
	}
	for i := range spectrum.Ritz {
		if !finite(spectrum.Ritz[i].Noise) {
			spectrum.Ritz[i].Noise = 0
		}
	}
	return spectrum
}
