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
// Every vector takes the three-term recurrence and is then orthogonalised
// against all before it by classical Gram-Schmidt, repeated where that takes
// much of it away, which keeps the basis orthogonal to the order of the rounding
// error (Daniel, Gragg, Kaufman and Stewart, Math. Comp. 30, 1976; Giraud,
// Langou, Rozloznik and van den Eshof, Numer. Math. 101, 2005), so no ghost
// copies of eigenvalues appear.
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

	vectors *basis
	// rough is a bound on the residuals that storing the vectors leaves: the
	// largest norm of beta_j (v_{j+1} - its stored form), and the largest residual
	// below that which was taken for zero. Float64 leaves none.
	rough     float64
	precision Precision
	// coarseness is the largest norm of a unit vector's rounding so far.
	coarseness float64
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
	// warm is nil in a run from a random vector alone.
	warm *warm
	// dropped is the number of products with kept vectors that were of no use.
	dropped int
	// spectrum is the latest one read off, which holds while its Products are
	// Steps.
	spectrum Spectrum
}

// LanczosConfig says how to run [Lanczos]. Dimension and Products must be at
// least 1.
type LanczosConfig struct {
	// Dimension is that of the operator, and Products the number of products at
	// most; no more than Dimension are taken.
	Dimension, Products int
	// Seed is that of the random start vector.
	//
	// The vector is a function of (seed, dimension) alone. Before normalisation
	// its entry i is the integer sum of the four 16-bit words of mix(mix(seed) + i)
	// less 131070, mix being one step of splitmix64; its law is close to the
	// normal, and any language can reproduce it. Later random vectors replace seed
	// by seed + 1, seed + 2 and so on.
	Seed uint64
	// Precision is that of the stored vectors, and of the probes.
	Precision Precision
	// Parallel lends cores. Results do not depend on it.
	Parallel Parallel
	// Kept are Ritz vectors of an earlier run on an operator close to this one, of
	// the same dimension and precision ([Lanczos.Keep]). They are used where
	// Products exceeds their number.
	Kept *RitzVectors
}

// NewLanczos starts a run of at most min(dim, maxSteps) products on an operator
// of dimension dim >= 1, from a random unit vector, in float64.
func NewLanczos(dim, maxSteps int, seed uint64) (*Lanczos, error) {
	return LanczosConfig{Dimension: dim, Products: maxSteps, Seed: seed}.Start()
}

// Start starts a run from the random unit vector of the seed.
func (c LanczosConfig) Start() (*Lanczos, error) {
	l, err := c.run()
	if err != nil {
		return nil, err
	}
	if n := c.kept(); n > 0 {
		if l.warm, err = c.warmStart(l.vectors); err != nil {
			return nil, err
		}
		l.vectors.read(0, l.work)
		return l, nil
	}
	l.adopt(l.draw(l.work))
	return l, nil
}

// NewLanczosFrom is [NewLanczos] with a start vector of the caller's, which is
// copied and need not have unit length. It must be finite and not zero. The
// weights then tell the start's energy along each Ritz vector;
// [DetectScales] assumes a random start, and takes a region that holds less
// than its share of the start's energy for empty.
func NewLanczosFrom(start []float64, maxSteps int) (*Lanczos, error) {
	l, err := LanczosConfig{Dimension: len(start), Products: maxSteps}.run()
	if err != nil {
		return nil, err
	}
	norm := l.vectors.norm(start)
	if !isFinite(norm) {
		return nil, fmt.Errorf("start vector: %w", ErrNotFinite)
	}
	if norm == 0 {
		return nil, errors.New("estimator: start vector is zero")
	}
	l.vectors.scale(l.work, start, exponent(norm))
	l.adopt(l.vectors.norm(l.work))
	return l, nil
}

// run is a run without a start vector.
func (c LanczosConfig) run() (*Lanczos, error) {
	if c.Dimension < 1 {
		return nil, fmt.Errorf("estimator: dimension %d, want at least 1", c.Dimension)
	}
	if c.Products < 1 {
		return nil, fmt.Errorf("estimator: %d steps, want at least 1", c.Products)
	}
	return &Lanczos{
		dim:       c.Dimension,
		limit:     min(c.Dimension, c.Products),
		seed:      c.Seed,
		vectors:   newBasis(c.Dimension, c.Precision, c.Parallel),
		precision: c.Precision,
		work:      make([]float64, c.Dimension),
	}, nil
}

// Bytes is the memory that a run of k = min(Dimension, Products) products holds
// at its end:
//
//	Dimension * (b*k + 8)                    k basis vectors of b bytes an element
//	                                         (8, or 4 below float64), one work vector
//	8 * (5*k + m*(m-1)/2 + m*(k-m))          the tridiagonal matrix, a spectrum, and
//	                                         the sketch of what reorthogonalisation
//	                                         removed, m = min(k, 32)
//	p * (12*min(Dimension, 2048) + 8*(k+1))  scratch, p = ceil(Dimension/65536)
//
// Kept vectors are among the k, and bring 8*n*(k+1) bytes more for n of them.
// Finding the spectrum borrows [SpectrumBytes] more. It is a float64 because the
// sum may exceed an int64.
func (c LanczosConfig) Bytes() float64 {
	d, k := float64(c.Dimension), float64(min(c.Dimension, c.Products))
	m := min(k, skewRows)
	return d*(float64(c.Precision.Bytes())*k+8) +
		8*(5*k+m*(m-1)/2+m*(k-m)) +
		scratchBytes(c.Dimension) + 8*float64(panels(c.Dimension))*(k+1) +
		8*float64(c.kept())*(k+1)
}

// SpectrumBytes bounds what finding the spectrum of k products borrows, here and
// in [FromCoefficients]: 8 * k*(m+15) bytes, m being min(k, 32).
func SpectrumBytes(k int) float64 { return 8 * float64(k) * float64(min(k, skewRows)+15) }

// Warm reports whether the run started from kept Ritz vectors.
func (l *Lanczos) Warm() bool { return l.warm != nil }

// Steps is the number of products absorbed.
func (l *Lanczos) Steps() int { return l.order() + l.dropped }

// order is the number of products that the projected matrix rests on.
func (l *Lanczos) order() int { return len(l.diag) }

// Done reports whether the run has absorbed its last product.
func (l *Lanczos) Done() bool { return l.order() == l.limit }

// Probe is the unit vector whose product with the operator is wanted next, or
// nil when the run is done: the stored vector, so that rounding it to the
// [Precision] is exact. It must not be written to and is valid until the next
// Absorb.
func (l *Lanczos) Probe() []float64 {
	if l.Done() {
		return nil
	}
	return l.work
}

// adopt makes work/norm the next vector of the basis and the next probe, and
// returns the norm of its rounding.
func (l *Lanczos) adopt(norm float64) float64 {
	rounding := l.vectors.append(l.work, norm)
	l.coarseness = max(l.coarseness, rounding)
	return rounding
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
	norm := l.vectors.norm(product)
	if !(norm <= largestNorm) {
		return fmt.Errorf("product: %w", ErrNotFinite)
	}
	l.scale = max(l.scale, norm)
	// The passes work on a vector of length 1/2 to 1.
	exp := exponent(norm)
	alpha := l.vectors.scaleDot(l.work, product, exp, l.order())
	if l.order() < l.warm.count() {
		l.absorbKept(alpha, exp)
		return nil
	}
	removed, rest := l.vectors.orthogonalise(l.work, l.recurrence(alpha, exp)...)
	for i, c := range removed {
		removed[i] = math.Ldexp(c, exp)
	}
	l.extend(removed, math.Ldexp(rest, exp))
	if l.Done() {
		return nil
	}
	if l.off[len(l.off)-1] == 0 {
		l.adopt(l.restart())
	} else {
		l.rough = max(l.rough, l.off[len(l.off)-1]*l.adopt(rest))
	}
	return nil
}

// recurrence is what the three-term recurrence takes off the product with the
// latest vector, both times 2^-exp.
func (l *Lanczos) recurrence(alpha float64, exp int) []term {
	k := l.order()
	near := []term{{k, alpha}}
	if k > l.warm.count() && l.off[k-1] > 0 {
		near = append(near, term{k - 1, math.Ldexp(l.off[k-1], -exp)})
	}
	return near
}

// extend adds a column to the tridiagonal matrix: what orthogonalisation
// removed from a product, and the norm of the rest.
func (l *Lanczos) extend(removed []float64, beta float64) {
	k := l.order()
	if beta <= l.negligible() {
		if l.precision != Float64 {
			l.rough = max(l.rough, beta)
		}
		beta = 0
		l.closed++
	}
	l.diag = append(l.diag, removed[k])
	first := l.warm.count()
	l.warm.border(removed[:first])
	if k > first {
		removed[k-1] -= l.off[k-1]
	}
	l.skew = append(l.skew, fold(removed[first:k]))
	l.off = append(l.off, beta)
}

// negligible is the residual norm below which the next direction is rounding
// error: products and projections are sums of dim terms, whose errors add up
// like a random walk to about roundoff*sqrt(dim) times the product's norm
// (the statistical rule of Higham, Accuracy and Stability of Numerical Algorithms); four
// such sums meet in a step. What rounding a stored vector, or a product of that
// precision, adds is at most coarseness times the norm of the operator; the two
// may add up. Either mistake is harmless: a residual of this size taken for zero
// moves no eigenvalue by more than itself, and noise taken for a direction is a
// restart with a random vector. Below smallestNormal the entries have lost their
// digits.
func (l *Lanczos) negligible() float64 {
	rounding := math.Sqrt(float64(l.dim)) * max(4*roundoff*l.scale, smallestNormal)
	return max(rounding, 2*l.coarseness*l.scale)
}

// restart fills work with a random vector orthogonal to the basis and returns
// its norm. There is room for one: the basis has fewer than dim vectors. A draw
// that loses nearly all its length is made orthogonal again until a pass keeps
// more than half ("twice is enough", Parlett, section 6.9).
func (l *Lanczos) restart() float64 {
	for {
		l.vectors.scale(l.work, l.work, exponent(l.draw(l.work)))
		// The passes repeat while they take more than half of what is left.
		if _, norm := l.vectors.orthogonalise(l.work); norm > tiny {
			return norm
		}
	}
}

// draw fills v with the next random vector and returns its norm, which is not
// zero.
func (l *Lanczos) draw(v []float64) float64 {
	for {
		key := splitmix64(l.seed + l.block)
		l.block++
		l.vectors.walk(func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				h := splitmix64(key + uint64(i))
				v[i] = float64(int64(h&0xffff+h>>16&0xffff+h>>32&0xffff+h>>48) - 131070)
			}
		})
		if norm := l.vectors.norm(v); norm > 0 {
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
	k := l.order()
	s := Spectrum{Source: SourceLanczos, Dimension: int64(l.dim), Products: l.Steps()}
	if l.warm.count() > 0 {
		s.Ritz, _ = l.ritzVectors()
		s.Stiffest = stiffest(s.Ritz)
		return s
	}
	if k == 0 {
		return s
	}
	e, err := tridiagonal{diag: l.diag, off: l.off[:k-1]}.eigen(l.skew)
	if err != nil {
		return s
	}
	s.Ritz = make([]RitzValue, k)
	for i, v := range e.values {
		residual := math.Hypot(math.Hypot(l.off[k-1]*e.last(i), norm2(e.image(i))), l.rough)
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
// holds every distinct eigenvalue. A run from kept Ritz vectors can also stop
// when it has confirmed the spectrum that they come from ([Lanczos.Spectrum]
// then returns that, moved to where its edges are now): every kept vector is
// still a Ritz vector, its residual larger by no more than rel of its value, no
// Ritz value lies outside the edges, and an eigenvalue twice as stiff as the stiffest edge would
// have been seen. It takes of the order of k^2 operations for k products, k^3
// with kept vectors.
func (l *Lanczos) Converged(rel float64) bool {
	return l.closed > 0 || l.confirm(rel) || Settled(l.Spectrum(), rel)
}
