package estimator

import (
	"cmp"
	"math"
	"slices"
)

// Spectrum returns the spectrum of the pairs held, with residual norms measured
// in the sketch as bounds: |Y w - theta B w| for the Ritz vector B w of unit
// length. It is the zero Spectrum while they show none. It solves the problem
// anew, beside the solution of the last [Window.Solve], and leaves no trace.
func (w *Window) Spectrum() Spectrum {
	s, _, _ := w.spectrum()
	return s
}

// spectrum returns the window that it was solved in and, for each Ritz value, its
// eigenvector's column there; no window if there is no Ritz value.
func (w *Window) spectrum() (Spectrum, *Window, []int) {
	w.Prepare()
	sketches, rates := w.Sketches()
	fresh, err := RestoreWindow(w.pairs, len(w.rows[0]), sketches, rates)
	if err != nil || fresh.count == 0 {
		return Spectrum{}, nil, nil // only when empty: the sketches come from a window
	}
	fresh.solvePairs()
	s, last := &fresh.solver, fresh.count-1
	if s.order == 0 {
		return Spectrum{}, nil, nil
	}
	fresh.coordinates(last)
	span := dot64(s.coef[:s.order], s.coef[:s.order])
	s.schur.coordinates(s.coef)
	s.plainModel()
	s.model.Secant = fresh.largestSecant()
	s.model.settle(span / fresh.inner(last, last))
	spectrum := s.model.Spectrum()
	if !spectrum.Known() {
		return Spectrum{}, nil, nil
	}
	bounds, order := fresh.residuals()
	for i, bound := range bounds {
		spectrum.Ritz[i].Bound = bound
	}
	return spectrum, fresh, order
}

// float32Rounding is the relative rounding of one float32.
const float32Rounding = 0x1p-24

// residuals are those of the Ritz pairs, largest Ritz value first, with the
// columns of their eigenvectors, from the Gram matrix alone. What rounding of the sketches may have added to B w and Y w
// counts.
func (w *Window) residuals() (bounds []float64, order []int) {
	s := &w.solver
	r := len(s.model.Theta)
	order = make([]int, r)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(s.schur.re[j], s.schur.re[i]) })
	bounds = make([]float64, r)
	for k, column := range order {
		bounds[k] = w.residual(s.schur.re[column], s.inColumns(column))
	}
	return bounds, order
}

// residual is |Y x - theta B x|/|B x|.
func (w *Window) residual(theta float64, x []float64) float64 {
	var yy, by, bb, rounding float64
	cols := w.solver.cols
	for i, ci := range cols {
		growth := math.Sqrt(w.inner(ci+1, ci+1) / w.inner(ci, ci))
		rounding += math.Abs(x[i]) * (math.Abs(theta) + (1+growth)/w.rates[ci])
		for j, cj := range cols {
			xij := x[i] * x[j] * w.solver.weight[i] * w.solver.weight[j]
			cross := w.inner(ci, cj) - w.inner(ci, cj+1)
			next := w.inner(ci+1, cj) - w.inner(ci+1, cj+1)
			bb += xij * w.inner(ci, cj)
			by += xij * cross / w.rates[cj]
			yy += xij * (cross - next) / (w.rates[ci] * w.rates[cj])
		}
	}
	return math.Sqrt(max(yy-2*theta*by+theta*theta*bb, 0)/bb) + float32Rounding*rounding/math.Sqrt(bb)
}

// inColumns are the coordinates of Ritz vector k in the columns of B: R^-1 z of
// the pivots.
func (s *solver) inColumns(k int) []float64 {
	x := make([]float64, len(s.cols))
	z := s.schur.vector(k)
	for i := s.order - 1; i >= 0; i-- {
		own := s.pivotRow(i)
		z[i] /= own[i]
		for l, f := range own[:i] {
			z[l] -= f * z[i]
		}
		x[s.pivot[i]] = z[i]
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
