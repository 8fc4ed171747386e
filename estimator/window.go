package estimator

import (
	"fmt"
	"math"
)

// Window holds the sketches of the last gradients of a gradient descent run,
// with their Gram matrix, from which [Window.Solve] recovers the curvature
// along the path at no cost to the trainer.
//
// With x_{j+1} = x_j - rate_j g_j, two successive gradients give a
// Hessian-vector product: H g_j = (g_j - g_{j+1})/rate_j, exactly for a
// quadratic (Fletcher, Math. Program. 135, 2012). A linear sketch S commutes
// with that, so sketches S g_j serve in place of gradients.
type Window struct {
	pairs int
	rows  [][]float32 // chronological; spare rows beyond count
	count int
	gram  []float64 // (pairs+1)^2, row-major, chronological
	rates []float64 // rates[j] leads from row j to row j+1; 0: no known pair
	// prepared: the solver holds the solution for the pairs held, and what is
	// known of the pair that the next Push completes.
	prepared bool
	// linked: the newest two sketches are that pair.
	linked bool
	solver solver
}

// NewWindow makes a window of at most `pairs` >= 1 gradient pairs for sketches
// of the given dimension.
func NewWindow(pairs, dimension int) *Window {
	w := &Window{
		pairs: pairs,
		rows:  make([][]float32, pairs+1),
		gram:  make([]float64, (pairs+1)*(pairs+1)),
		rates: make([]float64, pairs+1),
	}
	for i := range w.rows {
		w.rows[i] = make([]float32, dimension)
	}
	return w
}

// Len is the number of sketches held.
func (w *Window) Len() int { return w.count }

// Pairs is the number of known gradient pairs held.
func (w *Window) Pairs() int {
	n := 0
	for j := 0; j+1 < w.count; j++ {
		if w.rates[j] > 0 {
			n++
		}
	}
	return n
}

// Push adds the newest gradient sketch; rate is the learning rate of the step
// that led to it from the previous one. A rate that is not positive says that
// the two do not form a pair: the step was not taken, was taken on another
// mini-batch, or is not known. The oldest sketch goes when the window is full.
func (w *Window) Push(sketch []float32, rate float64) {
	w.Prepare()
	if w.count > 0 {
		w.rates[w.count-1] = max(rate, 0)
	}
	w.linked, w.prepared = w.count > 0 && rate > 0, false
	copy(w.rows[w.count], sketch)
	w.count++
	w.fillGramRow(w.count - 1)
}

// Prepare does the part of the next [Window.Solve] that does not depend on the
// next sketch, nearly all of it, and makes room for that sketch. Calling it is
// optional and changes no result: it takes work off the path between a request
// and its answer.
func (w *Window) Prepare() {
	if w.prepared || w.count == 0 {
		return
	}
	if w.count == w.pairs+1 {
		w.dropOldest()
	}
	w.solvePairs()
	w.prepareBorder()
	w.prepared = true
}

func (w *Window) dropOldest() {
	first := w.rows[0]
	copy(w.rows, w.rows[1:])
	w.rows[w.pairs] = first
	copy(w.rates, w.rates[1:])
	n := w.pairs + 1
	for i := 1; i < n; i++ {
		copy(w.gram[(i-1)*n:(i-1)*n+n-1], w.gram[i*n+1:i*n+n])
	}
	w.count--
}

func (w *Window) fillGramRow(i int) {
	n := w.pairs + 1
	for j := 0; j <= i; j++ {
		d := dot32(w.rows[i], w.rows[j])
		w.gram[i*n+j], w.gram[j*n+i] = d, d
	}
}

func (w *Window) inner(i, j int) float64 { return w.gram[i*(w.pairs+1)+j] }

// Cosine is the cosine of the angle between the newest two sketches, an estimate
// of that between their gradients. False: they are not a pair, or one is zero.
func (w *Window) Cosine() (float64, bool) {
	if !w.linked || w.count < 2 {
		return 0, false
	}
	now, last := w.count-1, w.count-2
	squares := w.inner(now, now) * w.inner(last, last)
	return w.inner(now, last) / math.Sqrt(squares), squares > 0
}

// Forget drops all sketches but the newest.
func (w *Window) Forget() {
	if w.count <= 1 {
		return
	}
	w.rows[0], w.rows[w.count-1] = w.rows[w.count-1], w.rows[0]
	w.count, w.prepared, w.linked = 1, false, false
	w.fillGramRow(0)
}

// Sketches returns copies of the sketches, oldest first, and the rates that
// lead from each to the next: len(rates) = max(0, len(sketches)-1). With
// [RestoreWindow] it saves and restores a window.
func (w *Window) Sketches() (sketches [][]float32, rates []float64) {
	for _, r := range w.rows[:w.count] {
		sketches = append(sketches, append([]float32(nil), r...))
	}
	if w.count > 1 {
		rates = append(rates, w.rates[:w.count-1]...)
	}
	return sketches, rates
}

// RestoreWindow remakes a window from [Window.Sketches]; its answers have the
// same bits.
func RestoreWindow(pairs, dimension int, sketches [][]float32, rates []float64) (*Window, error) {
	if len(sketches) > pairs+1 || len(rates) != max(0, len(sketches)-1) {
		return nil, fmt.Errorf("window of %d pairs: %d sketches, %d rates", pairs, len(sketches), len(rates))
	}
	w := NewWindow(pairs, dimension)
	for i, s := range sketches {
		if len(s) != dimension {
			return nil, fmt.Errorf("sketch %d has %d values, want %d", i, len(s), dimension)
		}
		rate := 0.0
		if i > 0 {
			rate = rates[i-1]
		}
		if math.IsNaN(rate) || math.IsInf(rate, 0) || rate < 0 {
			return nil, fmt.Errorf("rate %d is %v", i-1, rate)
		}
		w.Push(s, rate)
	}
	return w, nil
}

// dot32 accumulates in float64 and in a fixed order.
func dot32(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i])
		s1 += float64(a[i+1]) * float64(b[i+1])
		s2 += float64(a[i+2]) * float64(b[i+2])
		s3 += float64(a[i+3]) * float64(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return (s0 + s1) + (s2 + s3)
}
