package estimator

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack"
	lapackgonum "gonum.org/v1/gonum/lapack/gonum"
)

// errQL is returned when the QL iteration does not settle. LAPACK allows 30
// sweeps per eigenvalue; two are usual, and no finite matrix is known to need
// more than a handful.
var errQL = errors.New("tridiagonal eigenvalue iteration did not converge")

// tridiagonal is the symmetric matrix T that k Lanczos steps leave.
type tridiagonal struct {
	// diag is alpha_1 .. alpha_k.
	diag []float64
	// off is beta_1 .. beta_{k-1}. A zero splits T into independent blocks.
	off []float64
}

// eigenpairs holds the spectral decomposition of a tridiagonal of order k.
type eigenpairs struct {
	// values are the eigenvalues, largest first.
	values []float64
	// vectors is k x k, row major: column i belongs to values[k-1-i] (LAPACK
	// sorts upwards).
	vectors []float64
}

// order is k.
func (e eigenpairs) order() int { return len(e.values) }

// component is the j-th entry of the unit eigenvector of values[i].
func (e eigenpairs) component(j, i int) float64 {
	k := e.order()
	return e.vectors[j*k+k-1-i]
}

// weight is the squared first component of the i-th eigenvector: the weight of
// values[i] in the Gauss quadrature rule of T (Golub and Welsch, Math. Comp.
// 23, 1969).
func (e eigenpairs) weight(i int) float64 {
	s := e.component(0, i)
	return s * s
}

// last is the magnitude of the last component of the i-th eigenvector, which
// times beta_k is the residual norm of the Ritz pair.
func (e eigenpairs) last(i int) float64 {
	return math.Abs(e.component(e.order()-1, i))
}

// eigen decomposes t, whose entries must be finite. Values are accurate to a
// few units of rounding of the largest entry, components to a few units of
// rounding of one. The entries are first scaled by a power of two, so that
// nothing overflows, underflows or rounds on the way.
func (t tridiagonal) eigen() (eigenpairs, error) {
	k := len(t.diag)
	if k == 0 {
		return eigenpairs{}, nil
	}
	exp := exponent(max(maxAbs(t.diag), maxAbs(t.off)))
	d, e := make([]float64, k), make([]float64, k-1)
	for i, a := range t.diag {
		d[i] = flush(math.Ldexp(a, -exp))
	}
	for i, b := range t.off {
		e[i] = flush(math.Ldexp(b, -exp))
	}
	z := make([]float64, k*k)
	if !(lapackgonum.Implementation{}).Dsteqr(lapack.EVTridiag, k, d, e, z, k, make([]float64, max(1, 2*k-2))) {
		return eigenpairs{}, errQL
	}
	values := make([]float64, k)
	for i, v := range d {
		values[k-1-i] = clampFinite(math.Ldexp(v, exp))
	}
	return eigenpairs{values: values, vectors: z}, nil
}

// flush replaces entries below 2^-400 of the largest by zero, which moves no
// eigenvalue by a rounding error. Dsteqr scales blocks below 2^-405, and in
// gonum v0.17 then multiplies the blocks after them as well when it undoes that:
// it keeps iscale from block to block.
func flush(x float64) float64 {
	if math.Abs(x) < 0x1p-400 {
		return 0
	}
	return x
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
