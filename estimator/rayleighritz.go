package estimator

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/lapack"
	lapackgonum "gonum.org/v1/gonum/lapack/gonum"

	"gonum.org/v1/gonum/blas"
)

// Constants of [Window.Solve]. Results hardly depend on them; see
// docs/mathematics.md.
const (
	// consistency is the largest |T - T'|/|T| at which the projected Hessian T
	// is believed. On a quadratic without sketching T is symmetric; the rest is
	// nonlinearity, sketch distortion and rounding.
	consistency = 0.6
	// spuriousFactor is the largest ratio of a Ritz value to the largest secant
	// in the window. Behind one tiny step next to a long one, differences of
	// rounding errors pose as enormous curvature.
	spuriousFactor = 3
	// gramFloor is the least eigenvalue of the normalised Gram matrix, relative
	// to the largest, that float32 sketches resolve. Rounding perturbs the
	// singular values of B, whose columns have unit length, by about 2^-24 times
	// the square root of their number (Weyl), some 3e-7 for a window of 24; the
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
	// Secant is the largest |g_j - g_{j+1}|/(rate_j |g_j|) in the window, a
	// lower bound on the largest curvature along the path.
	Secant float64
}

// Known reports whether the model has a Ritz value.
func (m Model) Known() bool { return len(m.Theta) > 0 }

// solver is the workspace of Solve.
type solver struct {
	lapack lapackgonum.Implementation
	cols   []int     // rows of the window that are columns of B
	rank   int       // numerical rank of B
	v      []float64 // rank x n, right singular vectors of B as rows
	sigma  []float64 // singular values of B, largest first
	half   []float64 // rank x n, V' B'Y; the newest column filled in by finish
	t      []float64 // rank x rank, the projected Hessian
	ritz   []float64 // r x r, eigenvectors of the leading block of T as columns
	wr, wi []float64
	block  []float64
	work   []float64
	pivots []int
	coef   []float64
	// symmetric[r-1]: the leading block of T of order r is nearly symmetric.
	symmetric []bool
	order     []int // order[i] is the column of ritz that Theta[i] belongs to
	model     Model
}

func (s *solver) grow(n int) {
	if cap(s.sigma) >= n {
		return
	}
	s.cols = make([]int, 0, n)
	s.v, s.half, s.t = make([]float64, n*n), make([]float64, n*n), make([]float64, n*n)
	s.block, s.ritz = make([]float64, n*n), make([]float64, n*n)
	s.sigma, s.wr, s.wi = make([]float64, n), make([]float64, n), make([]float64, n)
	s.coef = make([]float64, n)
	s.work, s.pivots = make([]float64, 64*n), make([]int, n)
	s.order, s.symmetric = make([]int, 0, n), make([]bool, 0, n)
	s.model.Theta, s.model.Energy = make([]float64, 0, n), make([]float64, 0, n)
}

// Solve solves the sketched Rayleigh-Ritz problem (Nakatsukasa and Tropp, arXiv
// 2111.00113): with B the normalised gradient sketches, Y = S H S^+ B from
// their differences and B = U Sigma V', the Ritz values are the eigenvalues of
// T = U' Y V Sigma^-1, which is not symmetrised, since under a sketch the
// projection is oblique. The model's slices are valid until the next call.
//
// The rank is the largest at which T is consistent (|T - T'| small) and no Ritz
// value exceeds the window's secants by more than a small factor.
func (w *Window) Solve() Model {
	s := &w.solver
	last := w.count - 1
	if !w.ready && w.count > 0 {
		w.prepared = false
		w.columns(last)
		w.basis()
		w.project()
	}
	s.order = s.order[:0]
	s.model = Model{Theta: s.model.Theta[:0], Energy: s.model.Energy[:0], Residual: 1, Secant: w.largestSecant()}
	if s.model.Secant == 0 || !(w.inner(last, last) > 0) {
		return s.model
	}
	if w.ready {
		w.ready = false
		w.finish()
	}
	s.consistentRanks()
	for r := s.rank; r > 0; r-- {
		if s.symmetric[r-1] && s.eigen(r) && s.stiffest(r) <= spuriousFactor*s.model.Secant {
			w.energies(r)
			break
		}
	}
	return s.model
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

// columns picks the rows, below the given one, that are columns of B: those
// with a known successor, and the newest, whose successor comes next.
func (w *Window) columns(below int) {
	s := &w.solver
	s.grow(w.pairs)
	s.cols = s.cols[:0]
	for j := range below {
		if (w.rates[j] > 0 || j == w.count-1) && w.inner(j, j) > 0 {
			s.cols = append(s.cols, j)
		}
	}
}

// basis decomposes the normalised Gram matrix B'B = V Sigma^2 V' up to its
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
			a[i*n+j] = w.inner(ci, cj) / math.Sqrt(w.inner(ci, ci)*w.inner(cj, cj))
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

// project forms T = Sigma^-1 V' (B'Y) V Sigma^-1, leaving out the newest
// column of Y where its successor isn't there yet.
func (w *Window) project() {
	s := &w.solver
	n := len(s.cols)
	clear(s.half[:s.rank*n])
	for j, cj := range s.cols {
		if cj+1 < w.count {
			w.productColumn(j)
		}
	}
	for i := range s.rank {
		for j := range s.rank {
			s.t[i*s.rank+j] = dot64(s.half[i*n:i*n+n], s.v[j*n:j*n+n]) / (s.sigma[i] * s.sigma[j])
		}
	}
}

// productColumn fills column j of V' B'Y.
func (w *Window) productColumn(j int) {
	s := &w.solver
	n, cj := len(s.cols), s.cols[j]
	y := s.coef[:n]
	for i, ci := range s.cols {
		y[i] = (w.inner(ci, cj) - w.inner(ci, cj+1)) / (w.rates[cj] * math.Sqrt(w.inner(ci, ci)*w.inner(cj, cj)))
	}
	for i := range s.rank {
		s.half[i*n+j] = dot64(s.v[i*n:i*n+n], y)
	}
}

// finish adds the newest column of Y, a rank-one update of T.
func (w *Window) finish() {
	s := &w.solver
	n := len(s.cols)
	if n == 0 || s.cols[n-1] != w.count-2 {
		return
	}
	w.productColumn(n - 1)
	for i := range s.rank {
		h := s.half[i*n+n-1] / s.sigma[i]
		for j := range s.rank {
			s.t[i*s.rank+j] += h * s.v[j*n+n-1] / s.sigma[j]
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
		s.wr[:r], s.wi[:r], nil, 1, s.ritz[:r*r], r, s.work, len(s.work)) != 0 {
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

// energies fills the model: the current sketch's coefficients in the Ritz
// basis, squared, and scaled to the part of it that lies in the span.
func (w *Window) energies(r int) {
	s := &w.solver
	n, last := len(s.cols), w.count-1
	span := 0.0
	for i := range r {
		sum := 0.0
		for k, ck := range s.cols {
			sum += s.v[i*n+k] * w.inner(ck, last) / math.Sqrt(w.inner(ck, ck))
		}
		s.coef[i] = sum / s.sigma[i]
		span += s.coef[i] * s.coef[i]
	}
	share := min(span/w.inner(last, last), 1)
	copy(s.block[:r*r], s.ritz[:r*r])
	if !s.lapack.Dgetrf(r, r, s.block, r, s.pivots[:r]) {
		return
	}
	s.lapack.Dgetrs(blas.NoTrans, r, 1, s.block, r, s.pivots[:r], s.coef, 1)
	total := 0.0
	for i := range r {
		s.coef[i] *= s.coef[i]
		total += s.coef[i]
	}
	if !(total > 0) || math.IsInf(total, 0) {
		return
	}
	for i := range r {
		s.order = append(s.order, i)
		s.model.Theta = append(s.model.Theta, s.wr[i])
		s.model.Energy = append(s.model.Energy, s.coef[i]/total*share)
	}
	s.model.Residual = 1 - share
	s.sort()
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

// sort puts the largest Ritz value first; insertion, since the order is short.
func (s *solver) sort() {
	m := &s.model
	for i := range m.Theta {
		for j := i; j > 0 && m.Theta[j] > m.Theta[j-1]; j-- {
			m.Theta[j], m.Theta[j-1] = m.Theta[j-1], m.Theta[j]
			m.Energy[j], m.Energy[j-1] = m.Energy[j-1], m.Energy[j]
			s.order[j], s.order[j-1] = s.order[j-1], s.order[j]
		}
	}
}
