package estimator

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/lapack"
	lapackgonum "gonum.org/v1/gonum/lapack/gonum"

	"gonum.org/v1/gonum/blas"
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
// in the basis U = B V Sigma^-1 of rank r, or in that of the Ritz vectors U Z.
type solver struct {
	lapack lapackgonum.Implementation

	cols   []int     // rows of the window that are columns of B
	weight []float64 // factor that makes each a column: recency over length
	rank   int       // numerical rank of B
	v      []float64 // rank x n, right singular vectors of B as rows
	sigma  []float64 // singular values of B, largest first
	half   []float64 // rank x n, V' B'Y
	t      []float64 // rank x rank, the projected Hessian
	order  int       // r, of the leading block of T that is believed
	z      []float64 // r x r, its eigenvectors as columns
	lu     []float64 // r x r, z factorised
	pivots []int
	wr, wi []float64
	// symmetric[r-1]: the leading block of T of order r is nearly symmetric.
	symmetric []bool

	border border
	coef   []float64
	block  []float64
	work   []float64
	model  Model
}

func (s *solver) grow(n int) {
	if cap(s.sigma) > n {
		return
	}
	n++ // room for the border
	square := func() []float64 { return make([]float64, n*n) }
	line := func() []float64 { return make([]float64, n) }
	s.cols, s.weight = make([]int, 0, n), make([]float64, 0, n)
	s.v, s.half, s.t, s.z, s.lu, s.block = square(), square(), square(), square(), square(), square()
	s.sigma, s.wr, s.wi, s.coef = line(), line(), line(), line()
	s.work, s.pivots, s.symmetric = make([]float64, 64*n), make([]int, n), make([]bool, 0, n)
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
	s.toRitz(s.coef)
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
	s.consistentRanks()
	secant := w.largestSecant()
	s.order = 0
	for r := s.rank; r > 0; r-- {
		if s.symmetric[r-1] && s.eigen(r) && s.stiffest(r) <= spuriousFactor*secant {
			copy(s.lu[:r*r], s.z[:r*r])
			if s.lapack.Dgetrf(r, r, s.lu, r, s.pivots[:r]) {
				s.order = r
				return
			}
		}
	}
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

// basis decomposes the weighted Gram matrix B'B = V Sigma^2 V' up to its
// numerical rank.
func (w *Window) basis() {
	s := &w.solver
	n := len(s.cols)
	s.rank = 0
	if n == 0 {
		return
	}
	a := s.block[:n*n]
	for i, ci := range s.cols {
		for j, cj := range s.cols {
			a[i*n+j] = w.inner(ci, cj) * s.weight[i] * s.weight[j]
		}
	}
	if !s.lapack.Dsyev(lapack.EVCompute, blas.Lower, n, a, n, s.sigma[:n], s.work, len(s.work)) {
		return
	}
	slices.Reverse(s.sigma[:n])
	for s.rank < n && s.sigma[s.rank] > gramFloor*s.sigma[0] {
		i := s.rank
		s.sigma[i] = math.Sqrt(s.sigma[i])
		for k := range n {
			s.v[i*n+k] = a[k*n+n-1-i]
		}
		s.rank++
	}
}

// project forms T = Sigma^-1 V' (B'Y) V Sigma^-1.
func (w *Window) project() {
	s := &w.solver
	n := len(s.cols)
	for j, cj := range s.cols {
		y := s.coef[:n]
		for i, ci := range s.cols {
			y[i] = (w.inner(ci, cj) - w.inner(ci, cj+1)) / w.rates[cj] * s.weight[i] * s.weight[j]
		}
		for i := range s.rank {
			s.half[i*n+j] = dot64(s.v[i*n:i*n+n], y)
		}
	}
	for i := range s.rank {
		for j := range s.rank {
			s.t[i*s.rank+j] = dot64(s.half[i*n:i*n+n], s.v[j*n:j*n+n]) / (s.sigma[i] * s.sigma[j])
		}
	}
}

// consistentRanks fills, for each order r up to the rank, whether the leading
// block of T is nearly symmetric.
func (s *solver) consistentRanks() {
	var skew, norm float64
	s.symmetric = s.symmetric[:0]
	for i := range s.rank {
		norm += s.t[i*s.rank+i] * s.t[i*s.rank+i]
		for j := range i {
			a, b := s.t[i*s.rank+j], s.t[j*s.rank+i]
			skew += 2 * (a - b) * (a - b)
			norm += a*a + b*b
		}
		s.symmetric = append(s.symmetric, skew <= consistency*consistency*norm && norm > 0 && !math.IsInf(norm, 0))
	}
}

// eigen computes eigenvalues and right eigenvectors of the leading block. The
// block is scaled to entries of at most 1 and cleared of what is then below
// tiny: balancing in gonum 0.17 may not end on matrices that reach from
// underflow to overflow.
func (s *solver) eigen(r int) bool {
	const tiny = 1e-100
	largest := 0.0
	for i := range r {
		for _, v := range s.t[i*s.rank : i*s.rank+r] {
			largest = max(largest, math.Abs(v))
		}
	}
	_, exponent := math.Frexp(largest)
	for i := range r {
		for j, v := range s.t[i*s.rank : i*s.rank+r] {
			if v = math.Ldexp(v, -exponent); math.Abs(v) < tiny {
				v = 0
			}
			s.block[i*r+j] = v
		}
	}
	if s.lapack.Dgeev(lapack.LeftEVNone, lapack.RightEVCompute, r, s.block[:r*r], r,
		s.wr[:r], s.wi[:r], nil, 1, s.z[:r*r], r, s.work, len(s.work)) != 0 {
		return false
	}
	for i := range r {
		s.wr[i], s.wi[i] = math.Ldexp(s.wr[i], exponent), math.Ldexp(s.wi[i], exponent)
	}
	return true
}

func (s *solver) stiffest(r int) float64 {
	m := 0.0
	for i := range r {
		m = max(m, math.Hypot(s.wr[i], s.wi[i]))
	}
	return m
}

// coordinates fills coef with those of a row of the window in U.
func (w *Window) coordinates(row int) {
	s := &w.solver
	n := len(s.cols)
	for i := range s.order {
		sum := 0.0
		for k, ck := range s.cols {
			sum += s.v[i*n+k] * w.inner(ck, row) * s.weight[k]
		}
		s.coef[i] = sum / s.sigma[i]
	}
}

// toRitz changes a vector from U to the Ritz vectors: Z^-1 x.
func (s *solver) toRitz(x []float64) {
	if s.order == 0 {
		return
	}
	s.lapack.Dgetrs(blas.NoTrans, s.order, 1, s.lu, s.order, s.pivots[:s.order], x, 1)
}

// plainModel fills the model from the complete pairs and the current gradient's
// Ritz coordinates.
func (s *solver) plainModel() {
	for i := range s.order {
		s.model.Theta = append(s.model.Theta, s.wr[i])
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
