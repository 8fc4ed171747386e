package estimator

import (
	"cmp"
	"math"
	"slices"
)

// leastBorder is the least length, relative to the newest complete gradient, of
// its part outside the span for which that part counts as a new direction.
// Rounding and nonlinearity are amplified by its reciprocal, in the tip twice:
// float32 rounding of 2^-24 to a thousandth of the secant.
const leastBorder = 1e-2

// borderGrowth is the factor by which the newest pair may raise a proven
// curvature.
const borderGrowth = 1.05

// border is the direction u that the newest pair adds to the span: its gradient
// b, of unit length, less its projection U p, divided by the length rho of what
// is left. In the basis (U, u) the projected Hessian is T with one more row and
// column, in the Ritz basis an arrowhead.
type border struct {
	row  int       // the window's row of b
	p, e []float64 // U'b and b'H U, then u'H U
	rho  float64
	head arrowhead
	// left and right are the border in the Ritz basis, a pole each; kept[i] is
	// the index of the Ritz value of pole i.
	left, right []float64
	kept        []int
	// u is the current gradient's coordinate along u, cross that of its
	// coordinates in U, c: c'(U'Hu) + (u'HU)c.
	u, cross float64
}

func (b *border) grow(n int) {
	line := func() []float64 { return make([]float64, n) }
	b.p, b.e, b.left, b.right = line(), line(), line(), line()
	b.kept = make([]int, 0, n)
	b.head.pole, b.head.weight = make([]float64, 0, n), make([]float64, 0, n)
}

// prepareBorder computes what is known of the border before its product: all
// but the column and the tip.
func (w *Window) prepareBorder() {
	s := &w.solver
	b := &s.border
	r := s.order
	b.row, b.rho = w.count-1, 0
	norm := math.Sqrt(w.inner(b.row, b.row))
	if norm == 0 {
		return
	}
	w.coordinates(b.row)
	square := 1.0
	for k, p := range s.pivot[:r] {
		b.p[k] = s.coef[k] / norm
		square -= b.p[k] * b.p[k]
		c := s.cols[p]
		b.e[k] = (w.inner(b.row, c) - w.inner(b.row, c+1)) / (w.rates[c] * norm) * s.weight[p]
	}
	s.backward(b.e[:r])
	if square < leastBorder*leastBorder {
		return
	}
	b.rho = math.Sqrt(square)
	for j := range r { // u' H U
		sum := b.e[j]
		for i := range r {
			sum -= b.p[i] * s.t[i*s.rank+j]
		}
		b.e[j] = sum / b.rho
	}
	copy(s.work, b.e[:r])
	s.schur.along(b.left, s.work)
}

// completeBorder adds the product of the newest pair, H b = (s_row -
// s_last)/rate in the sketch, given the current gradient's coordinates in coef.
// It reports whether the border is worth having.
func (w *Window) completeBorder() bool {
	s := &w.solver
	b := &s.border
	r, last := s.order, w.count-1
	if b.rho == 0 || b.row != last-1 {
		return false
	}
	rate, norm := w.rates[b.row], math.Sqrt(w.inner(b.row, b.row))
	product := (w.inner(b.row, b.row) - w.inner(b.row, last)) / (rate * norm * norm) // b'H b
	b.u = w.inner(b.row, last) / norm
	tip := product
	for i := range r {
		uy := (b.p[i] - s.coef[i]/norm) / rate // U'H b
		tip -= b.p[i]*uy + b.rho*b.e[i]*b.p[i]
		b.u -= b.p[i] * s.coef[i]
		for j := range r {
			uy -= s.t[i*s.rank+j] * b.p[j]
		}
		b.right[i] = uy / b.rho // U'H u
	}
	b.u /= b.rho
	b.head.tip = tip / (b.rho * b.rho)
	if !b.consistent(r) {
		return false
	}
	b.cross = 0
	for i := range r {
		b.cross += (b.e[i] + b.right[i]) * s.coef[i]
	}
	s.schur.coordinates(b.right)
	return finite(b.head.tip)
}

// consistent reports whether row and column of the border, in U, nearly agree,
// by the measure that decides the rank.
func (b *border) consistent(r int) bool {
	var skew float64
	norm := b.head.tip * b.head.tip
	for i, row := range b.e[:r] {
		column := b.right[i]
		skew += 2 * (row - column) * (row - column)
		norm += row*row + column*column
	}
	return skew <= consistency*consistency*norm
}

// couple collects the Ritz values that the border is coupled to, largest first,
// and reports whether the bordered problem shows no spurious stiffness.
func (s *solver) couple() bool {
	b := &s.border
	kept := b.kept[:0]
	for i := range s.order {
		if w := b.left[i] * b.right[i]; w > 0 && finite(w) {
			kept = append(kept, i)
		}
	}
	slices.SortFunc(kept, func(i, j int) int { return cmp.Compare(s.schur.re[j], s.schur.re[i]) })
	b.head.pole, b.head.weight = b.head.pole[:0], b.head.weight[:0]
	b.kept = kept[:0]
	for _, i := range kept {
		if n := len(b.kept); n > 0 && s.schur.re[i] == s.schur.re[b.kept[n-1]] {
			continue // equal poles, a conjugate pair's real part, count once
		}
		b.kept = append(b.kept, i)
		b.head.pole = append(b.head.pole, s.schur.re[i])
		b.head.weight = append(b.head.weight, b.left[i]*b.right[i])
	}
	limit := max(s.proven, secantFactor*s.model.Secant)
	n := len(b.kept)
	if n == 0 {
		return math.Abs(b.head.tip) <= limit
	}
	return b.head.root(0) <= limit && b.head.root(n) >= -limit
}

// borderedModel fills the model from the arrowhead and the current gradient's
// Ritz coordinates.
func (s *solver) borderedModel() {
	b, m := &s.border, &s.model
	for i := range s.order {
		if !slices.Contains(b.kept, i) { // not coupled: an eigenvalue as it is
			m.Theta = append(m.Theta, s.schur.re[i])
			m.Energy = append(m.Energy, s.coef[i]*s.coef[i])
		}
	}
	if len(b.kept) == 0 {
		m.Theta = append(m.Theta, b.head.tip)
		m.Energy = append(m.Energy, b.u*b.u)
		return
	}
	for i := range len(b.kept) + 1 {
		x := b.head.root(i)
		m.Theta = append(m.Theta, x)
		m.Energy = append(m.Energy, b.energy(x, s.coef))
	}
}

// energy is the squared coordinate of the current gradient along the eigenvector
// of eigenvalue x, with its length taken as if the arrowhead were symmetric.
func (b *border) energy(x float64, coef []float64) float64 {
	sum, slope := b.u, 1.0
	for k, i := range b.kept {
		if x == b.head.pole[k] { // deflated: the eigenvector is the Ritz vector
			return coef[i] * coef[i]
		}
		d := 1 / (x - b.head.pole[k])
		sum += b.left[i] * d * coef[i]
		slope += b.head.weight[k] * d * d
	}
	return sum * sum / slope
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
