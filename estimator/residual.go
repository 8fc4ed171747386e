package estimator

import "math"

// Spectrum returns the spectrum of the pairs held, with residual norms measured
// in the sketch as bounds: |Y w - theta B w| for the Ritz vector B w of unit
// length. It is the zero Spectrum while they show none. It solves the problem
// anew, beside the solution of the last [Window.Solve], and leaves no trace.
func (w *Window) Spectrum() Spectrum {
	w.Prepare()
	sketches, rates := w.Sketches()
	fresh, err := RestoreWindow(w.pairs, len(w.rows[0]), sketches, rates)
	if err != nil {
		return Spectrum{} // not reached: they come from a window
	}
	m := fresh.Solve()
	if !m.Known() {
		return Spectrum{}
	}
	spectrum := m.Spectrum()
	for i, bound := range fresh.residuals() {
		spectrum.Ritz[i].Bound = bound
	}
	return spectrum
}

// float32Rounding is the relative rounding of one float32.
const float32Rounding = 0x1p-24

// residuals are those of the Ritz pairs just solved for, from the Gram matrix
// alone. What rounding of the sketches may have added to B w and Y w counts.
func (w *Window) residuals() []float64 {
	s := &w.solver
	r, n := len(s.model.Theta), len(s.cols)
	bounds := make([]float64, 0, r)
	for k := range r {
		x := s.coordinates(s.order[k], r, n)
		theta := s.model.Theta[k]
		var yy, by, bb, rounding float64
		for i, ci := range s.cols {
			growth := math.Sqrt(w.inner(ci+1, ci+1) / w.inner(ci, ci))
			rounding += math.Abs(x[i]) * (math.Abs(theta) + (1+growth)/w.rates[ci])
			for j, cj := range s.cols {
				xij := x[i] * x[j] / math.Sqrt(w.inner(ci, ci)*w.inner(cj, cj))
				cross := w.inner(ci, cj) - w.inner(ci, cj+1)
				next := w.inner(ci+1, cj) - w.inner(ci+1, cj+1)
				bb += xij * w.inner(ci, cj)
				by += xij * cross / w.rates[cj]
				yy += xij * (cross - next) / (w.rates[ci] * w.rates[cj])
			}
		}
		residual := math.Sqrt(max(yy-2*theta*by+theta*theta*bb, 0) / bb)
		bounds = append(bounds, residual+float32Rounding*rounding/math.Sqrt(bb))
	}
	return bounds
}

// coordinates are those of Ritz vector k in the columns of B: V Sigma^-1 z.
func (s *solver) coordinates(k, r, n int) []float64 {
	x := s.block[:n]
	clear(x)
	for i := range r {
		c := s.ritz[i*r+k] / s.sigma[i]
		for j := range n {
			x[j] += c * s.v[i*n+j]
		}
	}
	return x
}

// Spectrum is the model as a [Spectrum] without bounds.
func (m Model) Spectrum() Spectrum {
	if !m.Known() {
		return Spectrum{}
	}
	s := Spectrum{Source: SourceSketch, Ritz: make([]RitzValue, len(m.Theta)), Residual: m.Residual, Stiffest: max(m.Theta[0], m.Secant)}
	for i, t := range m.Theta {
		s.Ritz[i] = RitzValue{Value: t, Weight: m.Energy[i]}
	}
	return s
}
