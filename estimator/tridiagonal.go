package estimator

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas/blas64"
)

// errQL is returned when the QL iteration does not settle within sweepLimit
// sweeps for each eigenvalue. Two are usual, and no finite matrix is known to
// need more than a handful.
var errQL = errors.New("tridiagonal eigenvalue iteration did not converge")

// sweepLimit is LAPACK's and EISPACK's.
const sweepLimit = 30

// tridiagonal is the symmetric matrix T that k Lanczos steps leave.
type tridiagonal struct {
	// diag is alpha_1 .. alpha_k.
	diag []float64
	// off is beta_1 .. beta_{k-1}. A zero splits T into independent blocks.
	off []float64
}

// eigenpairs holds the eigenvalues of a tridiagonal of order k and, of its unit
// eigenvectors s, the first component, the last, and the image F s under a
// matrix F of few rows.
type eigenpairs struct {
	// values are the eigenvalues, largest first.
	values []float64
	// parts[i] belongs to values[i]: the first component, the last, then F s.
	parts [][]float64
}

// order is k.
func (e eigenpairs) order() int { return len(e.values) }

// weight is the squared first component of the i-th eigenvector: the weight of
// values[i] in the Gauss quadrature rule of T (Golub and Welsch, Math. Comp.
// 23, 1969).
func (e eigenpairs) weight(i int) float64 { return e.parts[i][0] * e.parts[i][0] }

// last is the magnitude of the last component of the i-th eigenvector, which
// times beta_k is the residual norm of the Ritz pair.
func (e eigenpairs) last(i int) float64 { return math.Abs(e.parts[i][1]) }

// image is F s for the i-th eigenvector s.
func (e eigenpairs) image(i int) []float64 { return e.parts[i][2:] }

// eigen decomposes t, whose entries must be finite. f holds the k columns of F,
// each as far as its last entry that is not zero, or is nil.
//
// Values are accurate to a few units of rounding of the largest entry,
// components to a few units of rounding of one. It takes of the order of
// (2+m)*k^2 operations for m rows of F: the QL iteration finds the rotations
// without the eigenvectors, and rows of the eigenvector matrix turn
// independently of each other (Golub and Welsch carry the first alone).
func (t tridiagonal) eigen(f [][]float64) (eigenpairs, error) {
	k := len(t.diag)
	exp := exponent(max(maxAbs(t.diag), maxAbs(t.off)))
	q := ql{d: make([]float64, k), e: make([]float64, k), z: carry(k, f)}
	for i, a := range t.diag {
		q.d[i] = math.Ldexp(a, -exp)
	}
	for i, b := range t.off {
		q.e[i] = math.Ldexp(b, -exp)
	}
	if err := q.run(); err != nil {
		return eigenpairs{}, err
	}
	pairs := eigenpairs{values: make([]float64, k), parts: make([][]float64, k)}
	for i, j := range q.descending() {
		pairs.values[i] = clampFinite(math.Ldexp(q.d[j], exp))
		pairs.parts[i] = q.z[j]
	}
	return pairs, nil
}

// carry makes the matrix whose rows are the first and the last of the identity
// and those of F, as k columns of equal length.
func carry(k int, f [][]float64) [][]float64 {
	rows := 2
	for _, column := range f {
		rows = max(rows, 2+len(column))
	}
	entries := make([]float64, k*rows)
	z := make([][]float64, k)
	for j := range z {
		z[j] = entries[j*rows : (j+1)*rows : (j+1)*rows]
	}
	for j, column := range f {
		copy(z[j][2:], column)
	}
	if k > 0 {
		z[0][0], z[k-1][1] = 1, 1
	}
	return z
}

// ql is the implicit QL iteration on a symmetric tridiagonal matrix with
// entries of at most one (Dubrulle, Martin and Wilkinson, Numer. Math. 12,
// 1968; Parlett, The Symmetric Eigenvalue Problem, chapter 8).
type ql struct {
	// d is the diagonal, and in the end the eigenvalues, unsorted. e[i] couples
	// d[i] and d[i+1]; the last e is zero.
	d, e []float64
	// z[j] is column j of the rows carried along.
	z [][]float64
}

// run diagonalises the matrix, block by block.
func (q ql) run() error {
	for lo := 0; lo < len(q.d); {
		hi := q.blockEnd(lo)
		// QL takes the eigenvalues off the top, and is at its most accurate on a
		// matrix that grows downwards (Parlett, section 8.13; LAPACK's choice
		// between QL and QR is the same by other means).
		if math.Abs(q.d[hi]) < math.Abs(q.d[lo]) {
			slices.Reverse(q.d[lo : hi+1])
			slices.Reverse(q.e[lo:hi])
			slices.Reverse(q.z[lo : hi+1])
		}
		if err := q.block(lo, hi); err != nil {
			return err
		}
		lo = hi + 1
	}
	return nil
}

// block diagonalises rows lo to hi.
func (q ql) block(lo, hi int) error {
	sweeps := sweepLimit * (hi - lo + 1)
	for l := lo; l <= hi; {
		m := q.blockEnd(l)
		if m == l {
			l++
			continue
		}
		if sweeps--; sweeps < 0 {
			return errQL
		}
		q.sweep(l, m)
	}
	return nil
}

// blockEnd is the last row of the unreduced block that begins at row l; the
// coupling behind it is made zero.
func (q ql) blockEnd(l int) int {
	for !q.negligible(l) {
		l++
	}
	q.e[l] = 0
	return l
}

// negligible reports whether e[i] is lost in rounding next to its neighbours on
// the diagonal (LAPACK's criterion, which errs by less than a rounding of
// either), or moves no eigenvalue by more than 2^-450, below which squares
// would lose digits.
func (q ql) negligible(i int) bool {
	e := math.Abs(q.e[i])
	return e <= 0x1p-450 ||
		e <= roundoff*math.Sqrt(math.Abs(q.d[i]))*math.Sqrt(math.Abs(q.d[i+1]))
}

// sweep is one QL step on the unreduced rows l to m, shifted by the eigenvalue
// of the leading 2 x 2 block that lies nearer to d[l] (Wilkinson's shift).
func (q ql) sweep(l, m int) {
	d, e := q.d, q.e
	half := (d[l+1] - d[l]) / (2 * e[l])
	shift := d[l] - e[l]/(half+math.Copysign(math.Hypot(half, 1), half))
	g, s, c, p := d[m]-shift, 1.0, 1.0, 0.0
	for i := m - 1; i >= l; i-- {
		f, b := s*e[i], c*e[i]
		r := math.Hypot(f, g)
		e[i+1] = r
		if r == 0 {
			// The bulge has vanished: the matrix splits here.
			d[i+1] -= p
			e[m] = 0
			return
		}
		s, c = f/r, g/r
		g = d[i+1] - p
		r = (d[i]-g)*s + 2*c*b
		p = s * r
		d[i+1] = g + p
		g = c*r - b
		rotate(q.z[i], q.z[i+1], c, s)
	}
	d[l] -= p
	e[l] = g
	e[m] = 0
}

// rotate applies a plane rotation to two columns of equal length.
func rotate(x, y []float64, c, s float64) {
	y = y[:len(x)]
	for i, a := range x {
		b := y[i]
		x[i], y[i] = c*a-s*b, s*a+c*b
	}
}

// descending is the order of d from the largest down.
func (q ql) descending() []int {
	order := make([]int, len(q.d))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(q.d[j], q.d[i]) })
	return order
}

// maxAbs is the largest magnitude in v, or 0.
func maxAbs(v []float64) float64 {
	m := 0.0
	for _, x := range v {
		m = max(m, math.Abs(x))
	}
	return m
}

// exponent is the least e with |x| < 2^e, or 0 for zero.
func exponent(x float64) int {
	_, e := math.Frexp(x)
	return e
}

// clampFinite replaces an overflow by the largest number: an eigenvalue may
// exceed the largest entry of its matrix.
func clampFinite(x float64) float64 {
	return max(-math.MaxFloat64, min(math.MaxFloat64, x))
}

// norm2 is the Euclidean norm, free of overflow and underflow of the squares.
func norm2(v []float64) float64 {
	return blas64.Nrm2(blas64.Vector{N: len(v), Inc: 1, Data: v})
}
