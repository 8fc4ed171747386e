package estimator

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// MaxKept is the number of Ritz vectors that [Lanczos.Keep] keeps at most.
const MaxKept = 16

// RitzVectors are approximate eigenvectors from a [Lanczos] run, kept to start
// the next one warm. They are not written to by runs that start from them, until
// one of these is itself kept.
type RitzVectors struct {
	dim       int
	precision Precision
	rows      rows
	// spectrum is the one they come from, and ritz[j] the index in it of the value
	// of vector j. generation counts the runs since one that settled by itself.
	spectrum   Spectrum
	ritz       []int
	generation int
}

// Count is the number of vectors.
func (r *RitzVectors) Count() int { return r.rows.count() }

// Precision is that of the vectors.
func (r *RitzVectors) Precision() Precision { return r.precision }

// Bytes is the memory that they hold.
func (r *RitzVectors) Bytes() int64 {
	return int64(r.Count()) * int64(r.dim) * int64(r.precision.Bytes())
}

// warm is the part of a run that starts from kept Ritz vectors u_1 .. u_n, as
// thick-restart Lanczos does from those of its last cycle (Wu and Simon, SIAM J.
// Matrix Anal. Appl. 22, 2000). The operator has changed in the meantime, so each
// is multiplied anew, and the residuals R = H U - U (U'HU) have no common
// direction. Then a random start vector x, less its part in U, begins a Lanczos
// run that stays orthogonal to U. Rayleigh-Ritz on all of these vectors gives the
// Ritz values: the projected matrix is U'HU, bordered by U'H v_j = R'v_j, beside
// the tridiagonal matrix. Weights are the shares of x, which lies in the span.
type warm struct {
	// projected[j] is column j of U'HU.
	projected [][]float64
	// residual[j] is the norm of column j of R outside the vectors so far.
	residual []float64
	// borders[j] is R'v_j for the j-th vector behind U.
	borders [][]float64
	// start holds the coordinates of x: those in U, and the last along v_1.
	start []float64
	// from is where U comes from, of which partial has lost some.
	from    *RitzVectors
	partial bool
	// confirmed are the coordinates of what the kept Ritz vectors have become, once
	// the spectrum that they come from is confirmed.
	confirmed [][]float64
	// values and vectors are the solution of the projected problem after solved
	// products.
	values  []RitzValue
	vectors [][]float64
	solved  int
}

// count is the number of kept vectors.
func (w *warm) count() int {
	if w == nil {
		return 0
	}
	return len(w.residual)
}

// kept is the number of kept vectors that the run starts from.
func (c LanczosConfig) kept() int {
	if c.Kept == nil || c.Kept.Count() >= min(c.Dimension, c.Products) {
		return 0
	}
	return c.Kept.Count()
}

func (c LanczosConfig) warmStart(b *basis) (*warm, error) {
	if c.Kept.dim != c.Dimension {
		return nil, fmt.Errorf("kept vectors of dimension %d for a run of %d: %w", c.Kept.dim, c.Dimension, ErrDimension)
	}
	if c.Kept.precision != c.Precision {
		return nil, errors.New("estimator: kept vectors are of another precision")
	}
	b.rows = c.Kept.rows.share()
	return &warm{residual: make([]float64, c.kept()), from: c.Kept}, nil
}

// border notes R'v_j.
func (w *warm) border(along []float64) {
	if w == nil {
		return
	}
	w.borders = append(w.borders, slices.Clone(along))
	for i, c := range along {
		c = min(math.Abs(c), w.residual[i])
		w.residual[i] = math.Sqrt(w.residual[i]-c) * math.Sqrt(w.residual[i]+c)
	}
}

// absorbKept takes work as the product with a kept vector times 2^-exp.
func (l *Lanczos) absorbKept(alpha float64, exp int) {
	removed, rest := l.vectors.orthogonalise(l.work, term{l.order(), alpha})
	for i, c := range removed {
		removed[i] = math.Ldexp(c, exp)
	}
	k, w := l.order(), l.warm
	w.projected = append(w.projected, removed)
	w.residual[k] = math.Ldexp(rest, exp)
	l.diag = append(l.diag, removed[k])
	l.skew = append(l.skew, nil)
	l.off = append(l.off, 0)
	if next := k + 1; next < w.count() {
		l.vectors.read(next, l.work)
		return
	}
	l.drop(w.useless())
	l.vectors.scale(l.work, l.work, exponent(l.draw(l.work)))
	inside, outside := l.vectors.orthogonalise(l.work)
	if outside <= tiny {
		// x lies in the span, which happens in few dimensions.
		outside = l.restart()
		w.start = append(inside, 0)
	} else {
		w.start = append(inside, outside)
	}
	floats.Scale(1/norm2(w.start), w.start)
	l.adopt(outside)
}

// useless are the kept vectors that are no longer near an eigenvector: their
// residual, beside what it was, is more than a quarter of the Rayleigh quotient.
// The run would have to find again what they hide.
func (w *warm) useless() (list []int) {
	for j, r := range w.residual {
		if !(r <= w.from.spectrum.Ritz[w.from.ritz[j]].Bound+math.Abs(w.projected[j][j])/4) {
			list = append(list, j)
		}
	}
	return list
}

// drop leaves kept vectors out, whose products are then lost.
func (l *Lanczos) drop(list []int) {
	w := l.warm
	w.partial = len(list) > 0
	for _, j := range slices.Backward(list) {
		l.vectors.rows.remove(j)
		w.projected = slices.Delete(w.projected, j, j+1)
		w.residual = slices.Delete(w.residual, j, j+1)
		l.diag = slices.Delete(l.diag, j, j+1)
		l.off, l.skew = l.off[:len(l.off)-1], l.skew[:len(l.skew)-1]
		for i, column := range w.projected {
			w.residual[i] = math.Hypot(w.residual[i], column[j])
			w.projected[i] = slices.Delete(column, j, j+1)
		}
	}
	l.dropped = len(list)
	l.limit = min(l.dim, l.limit-l.dropped)
}

// rayleighRitz is the projected matrix times 2^-exp.
func (l *Lanczos) rayleighRitz(exp int) *mat.SymDense {
	n, first := l.order(), l.warm.count()
	h := mat.NewSymDense(n, nil)
	set := func(i, j int, x float64) { h.SetSym(i, j, math.Ldexp(x, -exp)) }
	for j, column := range l.warm.projected {
		for i := range j {
			set(i, j, column[i]/2+l.warm.projected[i][j]/2)
		}
		set(j, j, column[j])
	}
	for j, column := range l.warm.borders {
		for i, x := range column {
			set(i, first+j, x)
		}
		set(first+j, first+j, l.diag[first+j])
		if j > 0 {
			set(first+j-1, first+j, l.off[first+j-1])
		}
	}
	return h
}

// ritzVectors solves the projected problem: the Ritz values, largest first, and
// the coordinates of their vectors. It is nil until a random vector has had its
// product too.
func (l *Lanczos) ritzVectors() (values []RitzValue, coordinates [][]float64) {
	if w := l.warm; w.solved != l.Steps() {
		w.values, w.vectors = l.solveProjected()
		w.solved = l.Steps()
	}
	return l.warm.values, l.warm.vectors
}

func (l *Lanczos) solveProjected() (values []RitzValue, coordinates [][]float64) {
	n, first := l.order(), l.warm.count()
	exp := exponent(l.scale)
	var eigen mat.EigenSym
	if n <= first || !eigen.Factorize(l.rayleighRitz(exp), true) {
		return nil, nil
	}
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	values, coordinates = make([]RitzValue, n), make([][]float64, n)
	for i, value := range eigen.Values(nil) {
		y := mat.Col(nil, i, &vectors)
		c := floats.Dot(l.warm.start, y[:first+1])
		coordinates[n-1-i] = y
		values[n-1-i] = RitzValue{
			Value:  clampFinite(math.Ldexp(value, exp)),
			Weight: c * c,
			Bound:  clampFinite(l.warmBound(y)),
		}
	}
	return values, coordinates
}

// warmBound bounds the residual norm of the Ritz vector with coordinates y. Its
// parts are those of [Lanczos.decompose], of the asymmetry of U'HU, and of R
// outside the span, whose columns may all point the same way.
func (l *Lanczos) warmBound(y []float64) float64 {
	n, first := l.order(), l.warm.count()
	outside := l.off[n-1] * math.Abs(y[n-1])
	for j, r := range l.warm.residual {
		outside += r * math.Abs(y[j])
	}
	skew, asymmetry := make([]float64, skewRows), make([]float64, first)
	for j, column := range l.skew {
		for i, x := range column {
			skew[i] += x * y[j]
		}
	}
	for j, column := range l.warm.projected {
		for i, x := range column {
			asymmetry[i] += (x - l.warm.projected[i][j]) / 2 * y[j]
		}
	}
	return math.Hypot(math.Hypot(outside, norm2(skew)), math.Hypot(norm2(asymmetry), l.rough))
}

// Keep ends the run and returns the Ritz vectors at the edges of the scales that
// its spectrum shows, at most [MaxKept] of them, for a later run to start from;
// nil where there are none. The run must not be used afterwards: the vectors are
// made where its basis was.
func (l *Lanczos) Keep() *RitzVectors {
	kept := &RitzVectors{dim: l.dim, precision: l.precision, rows: l.vectors.rows, spectrum: l.Spectrum()}
	var coordinates [][]float64
	if l.warm != nil && l.warm.confirmed != nil {
		kept.ritz, kept.generation = l.warm.from.ritz, l.warm.from.generation+1
		coordinates = l.warm.confirmed
	} else {
		kept.ritz = edges(kept.spectrum)
		coordinates = l.coordinates(kept.ritz)
	}
	if len(coordinates) == 0 {
		return nil
	}
	l.vectors.combine(coordinates)
	kept.rows.truncate(len(coordinates))
	return kept
}

// edges are the indices of the Ritz values next to the edges of the scales, the
// upper ones first, and of the least one if it is negative.
func edges(s Spectrum) (chosen []int) {
	scales := DetectScales(s)
	add := func(i int) {
		if i >= 0 && len(chosen) < MaxKept && !slices.Contains(chosen, i) {
			chosen = append(chosen, i)
		}
	}
	if scales.Negative < 0 {
		add(len(s.Ritz) - 1)
	}
	within := func(g Scale, r RitzValue) bool { return r.Value >= g.Lo && r.Value <= g.Hi && r.Bound <= r.Value/2 }
	for _, g := range scales.Groups {
		add(slices.IndexFunc(s.Ritz, func(r RitzValue) bool { return within(g, r) }))
	}
	for _, g := range scales.Groups {
		for i := len(s.Ritz) - 1; i >= 0; i-- {
			if within(g, s.Ritz[i]) {
				add(i)
				break
			}
		}
	}
	return chosen
}

// coordinates are those of the chosen Ritz vectors, numbered from the largest
// Ritz value down, in the basis.
func (l *Lanczos) coordinates(chosen []int) [][]float64 {
	if len(chosen) == 0 {
		return nil
	}
	out := make([][]float64, len(chosen))
	if l.warm.count() > 0 {
		_, all := l.ritzVectors()
		for i, c := range chosen {
			out[i] = all[c]
		}
		return out
	}
	n := l.order()
	identity := make([][]float64, n)
	for j := range identity {
		identity[j] = make([]float64, n)
		identity[j][j] = 1
	}
	e, err := tridiagonal{diag: l.diag, off: l.off[:n-1]}.eigen(identity)
	if err != nil {
		return nil
	}
	for i, c := range chosen {
		out[i] = e.image(c)
	}
	return out
}

// combine replaces the first vectors by combinations of all, whose coordinates
// are given, block by block and so in place.
func (b *basis) combine(coordinates [][]float64) {
	b.walk(func(p, lo, hi int) {
		v := b.scratch[p].f64[:hi-lo]
		sums := make([][]float64, len(coordinates))
		for i := range sums {
			sums[i] = make([]float64, hi-lo)
		}
		for j := range len(coordinates[0]) {
			b.rows.get(j, lo, v)
			for i, c := range coordinates {
				floats.AddScaled(sums[i], c[j], v)
			}
		}
		for i, s := range sums {
			b.rows.put(i, lo, s)
		}
	})
}
