package estimator

import (
	"errors"
	"fmt"
	"math"
)

// roundoff is the unit roundoff of float64.
const roundoff = 0x1p-53

// smallestNormal is the smallest number with all its digits.
const smallestNormal = 0x1p-1022

// largestNorm is the largest product norm that a run takes: sums of products
// then stay finite.
const largestNorm = 0x1p1000

// Errors of [Lanczos] and [FromCoefficients]. All leave the receiver as it was.
var (
	// ErrDimension means a vector of another length than the run's dimension.
	ErrDimension = errors.New("estimator: vector length differs from the dimension")
	// ErrNotFinite means a NaN, an infinity, or a vector whose norm is above
	// 2^1000.
	ErrNotFinite = errors.New("estimator: not finite")
	// ErrDone means that the run has taken all the products it can use.
	ErrDone = errors.New("estimator: no further product is wanted")
)

// Lanczos builds a Krylov basis of a symmetric operator from one product at a
// time and reads Ritz values, weights and residual bounds off the tridiagonal
// matrix (Parlett, The Symmetric Eigenvalue Problem, chapter 13):
//
//	for !l.Done() && !l.Converged(0.02) {
//		err := l.Absorb(product(l.Probe()))
//	}
//
// Every vector is orthogonalised against all before it by two passes of
// classical Gram-Schmidt, which keeps the basis orthogonal to the order of the
// rounding error (Giraud, Langou, Rozloznik and van den Eshof, Numer. Math.
// 101, 2005), so no ghost copies of eigenvalues appear.
//
// When the basis spans an invariant subspace the run goes on with a fresh
// random vector orthogonal to it. The off-diagonal entry is zero there, so Ritz
// values of later blocks have weight zero: they are further copies of repeated
// eigenvalues, or lie outside the reach of the start vector.
//
// A Lanczos is not safe for concurrent use.
type Lanczos struct {
	dim, limit int
	seed       uint64
	// block counts the random vectors drawn; a given start counts as none.
	block uint64
	// closed counts the invariant subspaces completed.
	closed int

	vectors basis
	// diag and off are alpha_1.. and beta_1.., the last beta being the norm of
	// the residual that the next probe points along.
	diag, off []float64
	// skew[j] is the sketch ([fold]) of what full reorthogonalisation removed
	// from product j beyond the three-term recurrence. It is rounding error for
	// a symmetric operator and measures the products' noise otherwise.
	skew [][]float64
	// scale is the largest product norm so far, a lower bound on |H|.
	scale float64
	work  []float64
	// spectrum is the latest one read off, which holds while its Products are
	// Steps.
	spectrum Spectrum
}

// NewLanczos starts a run of at most min(dim, maxSteps) products on an operator
// of dimension dim >= 1, from a random unit vector.
//
// The vector is a function of (seed, dim) alone. Before normalisation its entry
// i is the integer sum of the four 16-bit words of mix(mix(seed) + i) less
// 131070, mix being one step of splitmix64; its law is close to the normal, and
// any language can reproduce it. Later random vectors replace seed by seed + 1,
// seed + 2 and so on.
func NewLanczos(dim, maxSteps int, seed uint64) (*Lanczos, error) {
	l, err := newLanczos(dim, maxSteps, seed)
	if err != nil {
		return nil, err
	}
	l.vectors.append(l.work, l.draw(l.work))
	return l, nil
}

// NewLanczosFrom is [NewLanczos] with a start vector of the caller's, which is
// copied and need not have unit length. It must be finite and not zero. The
// weights then tell the start's energy along each Ritz vector;
// [DetectScales] assumes a random start, and takes a region that holds less
// than its share of the start's energy for empty.
func NewLanczosFrom(start []float64, maxSteps int) (*Lanczos, error) {
	l, err := newLanczos(len(start), maxSteps, 0)
	if err != nil {
		return nil, err
	}
	norm := norm2(start)
	if !isFinite(norm) {
		return nil, fmt.Errorf("start vector: %w", ErrNotFinite)
	}
	if norm == 0 {
		return nil, errors.New("estimator: start vector is zero")
	}
	for i, x := range start {
		l.work[i] = math.Ldexp(x, -exponent(norm))
	}
	l.vectors.append(l.work, norm2(l.work))
	return l, nil
}

func newLanczos(dim, maxSteps int, seed uint64) (*Lanczos, error) {
	if dim < 1 {
		return nil, fmt.Errorf("estimator: dimension %d, want at least 1", dim)
	}
	if maxSteps < 1 {
		return nil, fmt.Errorf("estimator: %d steps, want at least 1", maxSteps)
	}
	return &Lanczos{
		dim:     dim,
		limit:   min(dim, maxSteps),
		seed:    seed,
		vectors: basis{dim: dim},
		work:    make([]float64, dim),
	}, nil
}

// LanczosBytes is the memory that a run of min(dim, maxSteps) = k products
// holds at its end: 8 * (dim*(k+1) + 5*k + m*(m-1)/2 + m*(k-m)) bytes, m being
// min(k, 32), for k basis vectors and one work vector in float64, the
// tridiagonal matrix, a spectrum, and the sketch of the parts that
// reorthogonalisation removed. Finding the spectrum borrows [SpectrumBytes] more.
// It is a float64 because the product may exceed an int64.
func LanczosBytes(dim, maxSteps int) float64 {
	d, k := float64(dim), float64(min(dim, maxSteps))
	m := min(k, skewRows)
	return 8 * (d*(k+1) + 5*k + m*(m-1)/2 + m*(k-m))
}

// SpectrumBytes bounds what finding the spectrum of k products borrows, here and
// in [FromCoefficients]: 8 * k*(m+15) bytes, m being min(k, 32).
func SpectrumBytes(k int) float64 { return 8 * float64(k) * float64(min(k, skewRows)+15) }

// Steps is the number of products absorbed.
func (l *Lanczos) Steps() int { return len(l.diag) }

// Done reports whether the run has absorbed its last product.
func (l *Lanczos) Done() bool { return l.Steps() == l.limit }

// Probe is the unit vector whose product with the operator is wanted next, or
// nil when the run is done. It must not be written to and is valid until the
// next Absorb.
func (l *Lanczos) Probe() []float64 {
	if l.Done() {
		return nil
	}
	return l.vectors.row(l.Steps())
}

// Absorb takes the product of the operator with [Lanczos.Probe]. It copies
// what it needs. On an error ([ErrDone], [ErrDimension], [ErrNotFinite]) the
// run is as it was and the same probe still stands.
func (l *Lanczos) Absorb(product []float64) error {
	if l.Done() {
		return ErrDone
	}
	if len(product) != l.dim {
		return fmt.Errorf("product of length %d for dimension %d: %w", len(product), l.dim, ErrDimension)
	}
	norm := norm2(product)
	if !(norm <= largestNorm) {
		return fmt.Errorf("product: %w", ErrNotFinite)
	}
	k := l.Steps()
	l.scale = max(l.scale, norm)
	copy(l.work, product)
	removed := l.vectors.orthogonalise(l.work)
	beta := norm2(l.work)
	if beta <= l.negligible() {
		beta = 0
	}
	l.diag = append(l.diag, removed[k])
	if k > 0 {
		removed[k-1] -= l.off[k-1]
	}
	l.skew = append(l.skew, fold(removed[:k]))
	l.off = append(l.off, beta)
	if beta == 0 {
		l.closed++
	}
	if l.Done() {
		return nil
	}
	if beta == 0 {
		beta = l.restart()
	}
	l.vectors.append(l.work, beta)
	return nil
}

// negligible is the residual norm below which the next direction is rounding
// error: products and projections are sums of dim terms, whose errors add up
// like a random walk to about roundoff*sqrt(dim) times the product's norm
// (the statistical rule of Higham, Accuracy and Stability of Numerical Algorithms); four
// such sums meet in a step. Either mistake is harmless: a residual of this size
// taken for zero moves no eigenvalue by more than itself, and noise taken for a
// direction is a restart with a random vector. Below smallestNormal the entries
// have lost their digits.
func (l *Lanczos) negligible() float64 {
	return math.Sqrt(float64(l.dim)) * max(4*roundoff*l.scale, smallestNormal)
}

// restart fills work with a random vector orthogonal to the basis and returns
// its norm. There is room for one: the basis has fewer than dim vectors. A draw
// that loses nearly all its length is made orthogonal again until a pass keeps
// more than half ("twice is enough", Parlett, section 6.9).
func (l *Lanczos) restart() float64 {
	norm := l.draw(l.work)
	for {
		l.vectors.orthogonalise(l.work)
		next := norm2(l.work)
		if next > norm/2 {
			return next
		}
		if norm = next; norm == 0 {
			norm = l.draw(l.work)
		}
	}
}

// draw fills v with the next random vector and returns its norm, which is not
// zero.
func (l *Lanczos) draw(v []float64) float64 {
	for {
		key := splitmix64(l.seed + l.block)
		l.block++
		for i := range v {
			h := splitmix64(key + uint64(i))
			v[i] = float64(int64(h&0xffff+h>>16&0xffff+h>>32&0xffff+h>>48) - 131070)
		}
		if norm := norm2(v); norm > 0 {
			return norm
		}
	}
}

// splitmix64 is one step of the generator of Steele, Lea and Flood (OOPSLA
// 2014) from state x.
func splitmix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// skewRows is the number of rows to which [fold] sketches: at 32 the norm of a
// sketch has a standard deviation of 1/sqrt(2*32), an eighth.
const skewRows = 32

// fold sums v into min(len(v), skewRows) entries with random signs, entry i into
// i mod skewRows: the sketch of Charikar, Chen and Farach-Colton (Theor. Comput.
// Sci. 312, 2004). It is linear, keeps squared norms in the mean over the signs,
// and is v itself where v is no longer than skewRows.
func fold(v []float64) []float64 {
	out := make([]float64, min(len(v), skewRows))
	copy(out, v)
	for i := skewRows; i < len(v); i++ {
		if splitmix64(uint64(i))&1 == 0 {
			out[i%skewRows] += v[i]
		} else {
			out[i%skewRows] -= v[i]
		}
	}
	return out
}

// Spectrum is what the products absorbed so far tell. Its bounds are the
// residual norms of the Ritz pairs for the products as they were given. Noise
// in the products enters them as far as it breaks the symmetry; from 34
// products on that part is estimated, with a standard deviation of an eighth.
//
// The first call after a product takes of the order of k^2 operations for k
// products, further ones none.
func (l *Lanczos) Spectrum() Spectrum {
	if l.spectrum.Products != l.Steps() || l.Steps() == 0 {
		l.spectrum = l.decompose()
	}
	return l.spectrum
}

// decompose reads the spectrum off T: H V = V (T + F) + beta_k v_{k+1} e_k'
// with the strictly upper triangular F whose columns skew sketches, so the
// residual of a Ritz vector V s is V F s + beta_k s_k v_{k+1}, two orthogonal
// parts.
func (l *Lanczos) decompose() Spectrum {
	k := l.Steps()
	s := Spectrum{Source: SourceLanczos, Dimension: int64(l.dim), Products: k}
	if k == 0 {
		return s
	}
	e, err := tridiagonal{diag: l.diag, off: l.off[:k-1]}.eigen(l.skew)
	if err != nil {
		return s
	}
	s.Ritz = make([]RitzValue, k)
	for i, v := range e.values {
		residual := math.Hypot(l.off[k-1]*e.last(i), norm2(e.image(i)))
		s.Ritz[i] = RitzValue{Value: v, Weight: e.weight(i), Bound: clampFinite(residual)}
	}
	s.Stiffest = stiffest(s.Ritz)
	return s
}

// stiffest is the largest |Value| + Bound.
func stiffest(ritz []RitzValue) float64 {
	m := 0.0
	for _, r := range ritz {
		m = max(m, math.Abs(r.Value)+r.Bound)
	}
	return clampFinite(m)
}

func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Converged reports whether the run can stop: the edges of every scale have
// settled to a share rel of their own size ([Settled]; 0.05 is a good value),
// or the Krylov space of the start vector is complete, which for a random one
// holds every distinct eigenvalue. It takes of the order of k^2 operations for k
// products.
func (l *Lanczos) Converged(rel float64) bool {
	return l.closed > 0 || Settled(l.Spectrum(), rel)
}
