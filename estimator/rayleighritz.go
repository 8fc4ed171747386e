package estimator

import (
	"math"
	"slices"
)

// Constants of [Window.Solve]; docs/mathematics.md shows what halving and
// doubling them does.
const (
	// consistency is the largest |T - T'|/|T| at which the projected Hessian T
	// is believed. On a quadratic without sketching T is symmetric; the rest is
	// nonlinearity, sketch distortion and rounding.
	consistency = 0.6
	// spuriousFactor is the largest ratio of a Ritz value to the largest secant
	// in the window. Behind one tiny step next to a long one, differences of
	// rounding errors pose as enormous curvature. A secant is only a lower bound
	// of the largest curvature, so that much below 3 it refuses true ones.
	spuriousFactor = 3
	// secantFactor is the largest ratio of a Ritz value to the largest secant that
	// needs no proof. The secant is a lower bound of the largest curvature; a
	// sketch of dimension 251 distorts it by a factor of 1 +- sqrt(2/251) in the
	// mean, so that what is reported exceeds the truth by no more than a half.
	secantFactor = 1.3
	// provenResidual is the largest residual, relative to a Ritz value beyond
	// that, which proves it: an eigenvalue lies no farther from it.
	provenResidual = 1. / 3
	// recency is the weight of a pair relative to the next younger one. The
	// Hessian changes along the path, so where the window holds more pairs than
	// T has consistent directions, the younger ones decide.
	recency = 0.9
	// gramFloor is the least eigenvalue of the normalised Gram matrix, relative
	// to the largest, that float32 sketches resolve. Rounding perturbs the
	// singular values of B, whose columns have unit length, by about 2^-24 times
	// the square root of their number (Weyl), some 3e-7 for a window of 32; the
	// Gram matrix has their squares. Directions below a few times that are
	// noise.
	gramFloor = 1e-12
)

// Model is a quadratic model of the loss around the current parameters, in the
// span of the window's gradients.
type Model struct {
	// Theta holds the Ritz values, largest first, negative ones included.
	Theta []float64
	// Energy[i] is the share of the current gradient's squared norm along Ritz
	// vector i. The shares and Residual add up to 1.
	Energy []float64
	// Residual is the share outside the span.
	Residual float64
	// Curvature is g'Hg/|g|^2 of the part of the current gradient g in the span,
	// straight from the projected Hessian. It should be the sum of Theta times
	// Energy, and is far above it where the projection is so oblique that a
	// small change of g would move its energy from flat Ritz vectors to stiff
	// ones.
	Curvature float64
	// Secant is the largest |g_j - g_{j+1}|/(rate_j |g_j|) in the window, a
	// lower bound on the largest curvature along the path.
	Secant float64
}

// Known reports whether the model has a Ritz value.
func (m Model) Known() bool { return len(m.Theta) > 0 }

// solver is the workspace of Solve. Vectors in the span of the pairs are written
// in the basis U = B_p R^-1 of rank r, B_p the pivots among the columns, or in
// that of the Ritz vectors U Z.
type solver struct {
	cols   []int     // rows of the window that are columns of B
	weight []float64 // factor that makes each a column: recency over length
	rank   int       // numerical rank of B
	pivot  []int     // the columns that the basis is made of, by index in cols
	u      []float64 // n x n, the coordinates in U of column j as row j
	rest   []float64 // squared distance of each column from the span so far
	t      []float64 // rank x rank, the projected Hessian
	order  int       // r, of the leading block of T that is believed
	proven float64   // the curvature up to which that of the border is believed
	schur  schur     // of that block
	// symmetric[r-1]: the leading block of T of order r is nearly symmetric.
	symmetric []bool

	border border
	coef   []float64
	work   []float64
	model  Model
}

func (s *solver) grow(n int) {
	if cap(s.coef) > n {
		return
	}
	n++ // room for the border
	square := func() []float64 { return make([]float64, n*n) }
	line := func() []float64 { return make([]float64, n) }
	s.cols, s.weight, s.pivot = make([]int, 0, n), make([]float64, 0, n), make([]int, 0, n)
	s.u, s.t, s.rest, s.coef, s.work = square(), square(), line(), line(), line()
	s.symmetric = make([]bool, 0, n)
	s.schur.grow(n)
	s.border.grow(n)
	s.model.Theta, s.model.Energy = make([]float64, 0, n), make([]float64, 0, n)
}

// Solve solves the sketched Rayleigh-Ritz problem (Nakatsukasa and Tropp, arXiv
// 2111.00113): with B the normalised gradient sketches, young ones weighted
// most, Y = S H S^+ B from
// their differences and B = U Sigma V', the Ritz values are the eigenvalues of
// T = U' Y V Sigma^-1, which is not symmetrised, since under a sketch the
// projection is oblique. The model's slices are valid until the next call.
//
// The rank is the largest at which T is consistent (|T - T'| small) and no Ritz
// value exceeds the window's secants by more than a small factor. All of this
// is for the pairs that were complete before the newest sketch; the pair that
// it completes borders the solved problem by one row and column.
func (w *Window) Solve() Model {
	s := &w.solver
	s.grow(w.pairs)
	s.model = Model{Theta: s.model.Theta[:0], Energy: s.model.Energy[:0], Residual: 1, Secant: w.largestSecant()}
	last := w.count - 1
	if s.model.Secant == 0 || !(w.inner(last, last) > 0) {
		return s.model
	}
	w.coordinates(last)
	span, curvature := dot64(s.coef[:s.order], s.coef[:s.order]), s.quadratic()
	bordered := w.linked && w.completeBorder()
	s.schur.coordinates(s.coef)
	if bordered && s.couple() {
		s.borderedModel()
		span += s.border.u * s.border.u
		curvature += s.border.u * (s.border.cross + s.border.u*s.border.head.tip)
	} else {
		s.plainModel()
	}
	s.model.Curvature = curvature / w.inner(last, last)
	s.model.settle(span / w.inner(last, last))
	return s.model
}

// quadratic is c'Tc for the current gradient's coordinates c.
func (s *solver) quadratic() float64 {
	sum := 0.0
	for i := range s.order {
		sum += s.coef[i] * dot64(s.t[i*s.rank:i*s.rank+s.order], s.coef[:s.order])
	}
	return sum
}

// solvePairs solves for all complete pairs.
func (w *Window) solvePairs() {
	s := &w.solver
	s.grow(w.pairs)
	w.columns()
	w.basis()
	w.project()
	secant := w.largestSecant()
	s.consistentRanks(spuriousFactor * secant)
	s.order = 0
	for r := len(s.symmetric); r > 0; r-- {
		if !s.symmetric[r-1] || !s.schur.decompose(s.t, s.rank, r) {
			continue
		}
		s.order = r
		k, radius := s.schur.radius()
		if radius <= secantFactor*secant || radius <= spuriousFactor*secant && s.schur.im[k] == 0 &&
			w.residual(s.schur.re[k], s.inColumns(k)) <= provenResidual*radius {
			s.proven = max(secantFactor*secant, borderGrowth*radius)
			return
		}
	}
	s.order, s.schur.n, s.proven = 0, 0, secantFactor*secant
}

// secant is |s_j - s_{j+1}|/(rate_j |s_j|).
func (w *Window) secant(j int) float64 {
	d := w.inner(j, j) - 2*w.inner(j, j+1) + w.inner(j+1, j+1)
	return math.Sqrt(max(d, 0)/w.inner(j, j)) / w.rates[j]
}

func (w *Window) largestSecant() float64 {
	largest := 0.0
	for j := 0; j+1 < w.count; j++ {
		if w.rates[j] > 0 && w.inner(j, j) > 0 {
			largest = max(largest, w.secant(j))
		}
	}
	return largest
}

// columns picks the rows that are columns of B, those with a known successor,
// and weights them.
func (w *Window) columns() {
	s := &w.solver
	s.cols, s.weight = s.cols[:0], s.weight[:0]
	for j := 0; j+1 < w.count; j++ {
		if w.rates[j] > 0 && w.inner(j, j) > 0 {
			s.cols = append(s.cols, j)
		}
	}
	age := 1.0
	for i := len(s.cols) - 1; i >= 0; i-- {
		j := s.cols[i]
		s.weight = append(s.weight, age/math.Sqrt(w.inner(j, j)))
		age *= recency
	}
	slices.Reverse(s.weight)
}

// basis orthonormalises the columns, each time the one that sticks out most, by
// a pivoted Cholesky decomposition P'B'B P = R'R of their weighted Gram matrix,
// up to its numerical rank.
func (w *Window) basis() {
	s := &w.solver
	n := len(s.cols)
	s.rank, s.pivot = 0, s.pivot[:0]
	for j, cj := range s.cols {
		s.rest[j] = w.inner(cj, cj) * s.weight[j] * s.weight[j]
	}
	least := gramFloor
	for s.rank < n {
		p := 0
		for j, v := range s.rest[:n] {
			if v > s.rest[p] {
				p = j
			}
		}
		if s.rank == 0 {
			least *= s.rest[p]
		}
		if !(s.rest[p] > least) {
			return
		}
		w.pick(p)
	}
}

// pick takes column p into the basis.
func (w *Window) pick(p int) {
	s := &w.solver
	n, k := len(s.cols), s.rank
	length := math.Sqrt(s.rest[p])
	own := s.u[p*n : p*n+k]
	row, factor := w.gram[s.cols[p]*(w.pairs+1):], s.weight[p]/length
	for j, cj := range s.cols {
		c := s.u[j*n : j*n+k+1]
		if s.rest[j] < 0 {
			continue
		}
		c[k] = row[cj]*s.weight[j]*factor - dot64(own, c[:k])/length
		s.rest[j] = max(s.rest[j]-c[k]*c[k], 0)
	}
	s.u[p*n+k], s.rest[p] = length, -1
	s.pivot = append(s.pivot, p)
	s.rank++
}

// pivotRow is row k of R', as far as its diagonal.
func (s *solver) pivotRow(k int) []float64 {
	from := s.pivot[k] * len(s.cols)
	return s.u[from : from+k+1]
}

// project forms T = R'^-1 (B'Y) R^-1 of the pivots.
func (w *Window) project() {
	s := &w.solver
	r := s.rank
	for k, p := range s.pivot {
		row := s.t[k*r : k*r+r]
		gram := w.gram[s.cols[p]*(w.pairs+1):]
		for l, q := range s.pivot {
			c := s.cols[q]
			row[l] = (gram[c] - gram[c+1]) / w.rates[c] * s.weight[p] * s.weight[q]
		}
		own := s.pivotRow(k)
		for i, f := range own[:k] {
			for l, v := range s.t[i*r : i*r+r] {
				row[l] -= f * v
			}
		}
		for l := range row {
			row[l] /= own[k]
		}
	}
	for i := range r {
		s.backward(s.t[i*r : i*r+r])
	}
}

// backward replaces the row vector x by x R^-1.
func (s *solver) backward(x []float64) {
	for k := range x {
		own := s.pivotRow(k)
		x[k] = (x[k] - dot64(own[:k], x[:k])) / own[k]
	}
}

// consistentRanks fills, for each order r up to the rank, whether the leading
// block of T is nearly symmetric, with no curvature of a basis vector beyond the
// limit.
func (s *solver) consistentRanks(limit float64) {
	var skew, norm float64
	s.symmetric = s.symmetric[:0]
	for i := range s.rank {
		if math.Abs(s.t[i*s.rank+i]) > limit {
			return
		}
		norm += s.t[i*s.rank+i] * s.t[i*s.rank+i]
		for j := range i {
			a, b := s.t[i*s.rank+j], s.t[j*s.rank+i]
			skew += 2 * (a - b) * (a - b)
			norm += a*a + b*b
		}
		s.symmetric = append(s.symmetric, skew <= consistency*consistency*norm && norm > 0 && !math.IsInf(norm, 0))
	}
}

// coordinates fills coef with those of a row of the window in U.
func (w *Window) coordinates(row int) {
	s := &w.solver
	for k, p := range s.pivot[:s.order] {
		s.coef[k] = w.inner(s.cols[p], row) * s.weight[p]
	}
	s.backward(s.coef[:s.order])
}

// plainModel fills the model from the complete pairs and the current gradient's
// Ritz coordinates.
func (s *solver) plainModel() {
	for i := range s.order {
		s.model.Theta = append(s.model.Theta, s.schur.re[i])
		s.model.Energy = append(s.model.Energy, s.coef[i]*s.coef[i])
	}
}

// settle scales the energies to the share of the gradient that lies in the span,
// and sorts. A model whose numbers have overflowed knows nothing.
func (m *Model) settle(share float64) {
	total := 0.0
	for _, e := range m.Energy {
		total += e
	}
	share = min(share, 1)
	if !(total > 0) || math.IsInf(total, 0) || !(share >= 0) || !finite(m.Curvature) {
		m.Theta, m.Energy, m.Curvature = m.Theta[:0], m.Energy[:0], 0
		return
	}
	for i := range m.Energy {
		m.Energy[i] *= share / total
	}
	m.Residual = 1 - share
	for i := range m.Theta { // by insertion: they are few, and nearly in order
		for j := i; j > 0 && m.Theta[j] > m.Theta[j-1]; j-- {
			m.Theta[j], m.Theta[j-1] = m.Theta[j-1], m.Theta[j]
			m.Energy[j], m.Energy[j-1] = m.Energy[j-1], m.Energy[j]
		}
	}
}

// dot64 sums in a fixed order.
func dot64(a, b []float64) float64 {
	b = b[:len(a)]
	var s0, s1 float64
	i := 0
	for ; i+2 <= len(a); i += 2 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
	}
	if i < len(a) {
		s0 += a[i] * b[i]
	}
	return s0 + s1
}
