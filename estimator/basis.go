package estimator

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/blas/gonum"
	"gonum.org/v1/gonum/floats"
)

const (
	// panel is the number of rows of the basis that one task of a pass takes.
	// Sums over a panel are added in the panels' order, so that results do not
	// depend on how many tasks run at a time.
	panel = 1 << 16
	// block is the part of a panel that stays in the first-level cache while all
	// vectors pass by: 16 KiB in float64.
	block = 1 << 11
	// run32 is the number of products that are added in float32 before they join
	// the float64 sum. gonum adds them in 16 strands of 16, which errs by a few
	// units of float32 rounding of their root mean square: what rounding the
	// vectors themselves to float32 did.
	run32 = 1 << 8
	// tiny is where elements of vectors of unit length are taken for zero in
	// float32, so that products of two are no subnormals, which are slow. 2^40
	// of them together change no length by more than 2^-40.
	tiny = 0x1p-60
	// tiny32 is that number as the bits of a float32.
	tiny32 = (127 - 60) << 23
)

// Parallel calls f(0) .. f(n-1), in any order and at the same time or not, and
// returns when all have returned. It is how a caller lends cores to the
// estimator, whose results do not depend on it. nil calls them one by one.
type Parallel func(n int, f func(i int))

// basis is a nearly orthonormal set of vectors and knows how they are stored and
// walked through. A pass over it reads every vector once, panel by panel and
// block by block.
type basis struct {
	dim      int
	rows     rows
	parallel Parallel
	// sums is the scratch of [basis.reduce], and scratch[p] that of panel p.
	sums    []float64
	scratch []scratch
}

// scratch holds one block in either format.
type scratch struct {
	f64 []float64
	f32 []float32
}

// scratchBytes is the memory of all scratch but the sums.
func scratchBytes(dim int) float64 { return 12 * float64(panels(dim)) * float64(min(dim, block)) }

// rows stores vectors. Methods take a stretch of them: the elements from lo on,
// as many as the slice beside it has, at most [block].
type rows interface {
	// count is the number of vectors.
	count() int
	// grow adds a vector of zeros.
	grow()
	// truncate keeps the first n vectors.
	truncate(n int)
	// remove takes vector j out.
	remove(j int)
	// share is another set that begins with the same vectors.
	share() rows
	// put stores v in vector j, replaces v by what is stored, and returns the
	// squared norm of the difference.
	put(j, lo int, v []float64) (rounding float64)
	// get reads vector j.
	get(j, lo int, v []float64)
	// dots adds <vector j, w> to sums[j] for every j. It may write to the scratch.
	dots(lo int, w, sums []float64, s scratch)
	// subtract takes sum_j c[j] * vector j off w. It may write to the scratch.
	subtract(lo int, w, c []float64, s scratch)
}

func newBasis(dim int, p Precision, parallel Parallel) *basis {
	b := &basis{dim: dim, parallel: parallel, scratch: make([]scratch, panels(dim))}
	for i := range b.scratch {
		b.scratch[i] = scratch{f64: make([]float64, min(dim, block)), f32: make([]float32, min(dim, block))}
	}
	if p == Float64 {
		b.rows = &rows64{dim: dim}
	} else {
		b.rows = &rows32{dim: dim, coarse: p == BFloat16}
	}
	return b
}

func panels(dim int) int { return (dim + panel - 1) / panel }

// walk calls f for every panel, and in it for every block from lo to hi.
func (b *basis) walk(f func(p, lo, hi int)) {
	task := func(p int) {
		end := min(b.dim, (p+1)*panel)
		for lo := p * panel; lo < end; lo += block {
			f(p, lo, min(end, lo+block))
		}
	}
	if n := panels(b.dim); b.parallel != nil && n > 1 {
		b.parallel(n, task)
	} else {
		for p := range n {
			task(p)
		}
	}
}

// reduce walks through the vectors with n sums for f to add to, and returns the
// totals, which stand until the next call.
func (b *basis) reduce(n int, f func(lo, hi int, sums []float64, s scratch)) []float64 {
	size := n * panels(b.dim)
	if cap(b.sums) < size {
		b.sums = make([]float64, size)
	}
	b.sums = b.sums[:size]
	clear(b.sums)
	b.walk(func(p, lo, hi int) {
		s := b.scratch[p]
		f(lo, hi, b.sums[p*n:(p+1)*n], scratch{f64: s.f64[:hi-lo], f32: s.f32[:hi-lo]})
	})
	for p := 1; p < panels(b.dim); p++ {
		floats.Add(b.sums[:n], b.sums[p*n:(p+1)*n])
	}
	return b.sums[:n]
}

// norm is the Euclidean norm of any v, free of overflow and underflow of the
// squares.
func (b *basis) norm(v []float64) float64 {
	parts := make([]float64, panels(b.dim))
	b.walk(func(p, lo, hi int) { parts[p] = math.Hypot(parts[p], norm2(v[lo:hi])) })
	return norm2(parts)
}

// scale multiplies v by 2^-exp into dst, which may be v.
func (b *basis) scale(dst, v []float64, exp int) {
	b.walk(func(_, lo, hi int) { times2(dst[lo:hi], v[lo:hi], -exp) })
}

// times2 multiplies v by 2^exp into dst.
func times2(dst, v []float64, exp int) {
	// 2^exp may exceed the largest number, its halves do not.
	f, g := math.Ldexp(1, exp/2), math.Ldexp(1, exp-exp/2)
	for i, x := range v {
		dst[i] = x * f * g
	}
}

// scaleDot is scale, and returns <vector j, dst>, in float64 throughout.
func (b *basis) scaleDot(dst, v []float64, exp, j int) float64 {
	return b.reduce(1, func(lo, hi int, sums []float64, s scratch) {
		times2(dst[lo:hi], v[lo:hi], -exp)
		b.rows.get(j, lo, s.f64)
		sums[0] += floats.Dot(s.f64, dst[lo:hi])
	})[0]
}

// append adds v/norm, leaves in v what was stored, and returns the norm of the
// rounding.
func (b *basis) append(v []float64, norm float64) (rounding float64) {
	j := b.rows.count()
	b.rows.grow()
	return math.Sqrt(b.reduce(1, func(lo, hi int, sums []float64, _ scratch) {
		part := v[lo:hi]
		for i := range part {
			part[i] /= norm
		}
		sums[0] += b.rows.put(j, lo, part)
	})[0])
}

// read copies vector j to v.
func (b *basis) read(j int, v []float64) {
	b.walk(func(_, lo, hi int) { b.rows.get(j, lo, v[lo:hi]) })
}

// term is a multiple of a vector of the basis.
type term struct {
	row int
	by  float64
}

// orthogonalise takes the terms near off w, whose norm is at most one, then
// removes what is left in w of the span of the basis, and returns the
// coefficients removed and the norm of the rest.
//
// With the three-term recurrence in near, what is left is small beside w, and
// one pass of classical Gram-Schmidt keeps the basis orthogonal to the order of
// the rounding error. Where a pass takes more than half of the squared length
// it is repeated (Daniel, Gragg, Kaufman and Stewart, Math. Comp. 30, 1976:
// "twice is enough" with exact inner products; a third pass cleans up after
// vectors of low precision). A pass reads the basis twice: for the inner
// products, and to subtract.
func (b *basis) orthogonalise(w []float64, near ...term) (removed []float64, norm float64) {
	k := b.rows.count()
	removed = make([]float64, k)
	for _, t := range near {
		removed[t.row] += t.by
	}
	for range 3 {
		c := b.coefficients(w, near)
		before := c[k]
		near = nil
		floats.Add(removed, c[:k])
		after := b.remove(w, c[:k])
		norm = math.Sqrt(after)
		if after > before/2 {
			break
		}
	}
	return removed, norm
}

// coefficients takes the terms near off w and returns the inner products of all
// vectors with the rest, and behind them its squared norm.
func (b *basis) coefficients(w []float64, near []term) []float64 {
	k := b.rows.count()
	return append([]float64(nil), b.reduce(k+1, func(lo, hi int, sums []float64, s scratch) {
		part := w[lo:hi]
		for _, t := range near {
			b.rows.get(t.row, lo, s.f64)
			floats.AddScaled(part, -t.by, s.f64)
		}
		b.rows.dots(lo, part, sums[:k], s)
		sums[k] += floats.Dot(part, part)
	})...)
}

// remove takes sum_j c[j] * vector j off w and returns the squared norm of the
// rest.
func (b *basis) remove(w, c []float64) float64 {
	return b.reduce(1, func(lo, hi int, sums []float64, s scratch) {
		part := w[lo:hi]
		b.rows.subtract(lo, part, c, s)
		sums[0] += floats.Dot(part, part)
	})[0]
}

// rows64 stores vectors in float64.
type rows64 struct {
	dim int
	v   [][]float64
}

func (r *rows64) count() int     { return len(r.v) }
func (r *rows64) grow()          { r.v = append(r.v, make([]float64, r.dim)) }
func (r *rows64) truncate(n int) { clear(r.v[n:]); r.v = r.v[:n] }
func (r *rows64) remove(j int)   { r.v = slices.Delete(r.v, j, j+1) }
func (r *rows64) share() rows    { return &rows64{dim: r.dim, v: slices.Clone(r.v)} }

func (r *rows64) put(j, lo int, v []float64) float64 {
	copy(r.v[j][lo:], v)
	return 0
}

func (r *rows64) get(j, lo int, v []float64) { copy(v, r.v[j][lo:]) }

func (r *rows64) dots(lo int, w, sums []float64, _ scratch) {
	for j, v := range r.v {
		sums[j] += floats.Dot(v[lo:lo+len(w)], w)
	}
}

func (r *rows64) subtract(lo int, w, c []float64, _ scratch) {
	for j, v := range r.v {
		floats.AddScaled(w, -c[j], v[lo:lo+len(w)])
	}
}

// rows32 stores vectors in float32, or coarser.
//
// Its passes multiply in float32 and add in float64 after [run32] products. The
// coefficients then err by about 2^-24 |w|/sqrt(D), as they do by the rounding
// of the vectors, so nothing is lost: vectors of unit length stay orthogonal to
// a few 2^-24/sqrt(D) and, where one element rules, 2^-24. What is subtracted is
// a correction, small beside w, and w stays in float64.
type rows32 struct {
	dim int
	v   [][]float32
	// coarse rounds to bfloat16.
	coarse bool
}

// kernels are the vectorised loops.
var kernels gonum.Implementation

func (r *rows32) count() int     { return len(r.v) }
func (r *rows32) grow()          { r.v = append(r.v, make([]float32, r.dim)) }
func (r *rows32) truncate(n int) { clear(r.v[n:]); r.v = r.v[:n] }
func (r *rows32) remove(j int)   { r.v = slices.Delete(r.v, j, j+1) }
func (r *rows32) share() rows {
	return &rows32{dim: r.dim, v: slices.Clone(r.v), coarse: r.coarse}
}

func (r *rows32) put(j, lo int, v []float64) (rounding float64) {
	to := r.v[j][lo : lo+len(v)]
	for i, x := range v {
		y := normal32(x)
		if r.coarse {
			y = BFloat16Value(RoundBFloat16(y))
		}
		to[i], v[i] = y, float64(y)
		x -= float64(y)
		rounding += x * x
	}
	return rounding
}

// normal32 rounds to float32, tiny numbers to zero.
func normal32(x float64) float32 {
	bits := math.Float32bits(float32(x))
	if bits&0x7fffffff < tiny32 {
		bits = 0
	}
	return math.Float32frombits(bits)
}

func (r *rows32) get(j, lo int, v []float64) {
	from := r.v[j][lo : lo+len(v)]
	for i, x := range from {
		v[i] = float64(x)
	}
}

func (r *rows32) dots(lo int, w, sums []float64, scratch scratch) {
	rounded := scratch.f32
	for i, x := range w {
		rounded[i] = normal32(x)
	}
	for j, v := range r.v {
		v, s := v[lo:lo+len(w)], 0.0
		for from := 0; from < len(w); from += run32 {
			to := min(len(w), from+run32)
			s += float64(kernels.Sdot(to-from, v[from:to], 1, rounded[from:to], 1))
		}
		sums[j] += s
	}
}

func (r *rows32) subtract(lo int, w, c []float64, s scratch) {
	sum := s.f32
	clear(sum)
	for j, v := range r.v {
		if a := normal32(c[j]); a != 0 {
			kernels.Saxpy(len(w), a, v[lo:lo+len(w)], 1, sum, 1)
		}
	}
	for i, x := range sum {
		w[i] -= float64(x)
	}
}
