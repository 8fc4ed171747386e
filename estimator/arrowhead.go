package estimator

import "math"

// arrowhead is a real matrix with a diagonal, one more row and one more column:
//
//	[ diag(pole)  column ]
//	[ row         tip    ]
//
// It is what a solved eigenproblem becomes when one vector joins the basis, and
// its eigenvalues cost O(n) each: they are the roots of the secular function
//
//	f(x) = x - tip - sum_i weight_i/(x - pole_i), weight_i = row_i column_i
//
// (O'Leary and Stewart, Computing the eigenvalues and eigenvectors of symmetric
// arrowhead matrices, J. Comput. Phys. 90, 1990). With positive weights, which
// symmetry makes squares, f rises from -Inf to +Inf between neighbouring poles,
// so each root is alone there. Weights that sketching has made negative are
// taken for zero.
type arrowhead struct {
	pole, weight []float64 // poles strictly descending, weights > 0
	tip          float64
}

// evaluate returns f and the parts of its slope from the poles with index at
// most `split` (above x) and from the others and the linear term.
func (a *arrowhead) evaluate(x float64, split int) (f, above, below float64) {
	f, below = x-a.tip, 1
	for i, p := range a.pole {
		d := 1 / (x - p)
		t := a.weight[i] * d
		f -= t
		if i <= split {
			above += t * d
		} else {
			below += t * d
		}
	}
	return f, above, below
}

const (
	// secularSteps bounds the iteration; five or six are usual.
	secularSteps = 60
	// secularAccuracy is the length of the last correction, relative to the root
	// and to the interval between the poles. Corrections square: the root is then
	// exact to twice as many digits.
	secularAccuracy = 1e-7
)

// root returns the eigenvalue below pole i-1 and above pole i, for i from 0 to
// the number of poles.
func (a *arrowhead) root(i int) float64 {
	lo, hi := a.bracket(i)
	width := hi - lo
	x := lo + width/2
	for range secularSteps {
		f, above, below := a.evaluate(x, i-1)
		if f > 0 {
			hi = x
		} else {
			lo = x
		}
		next := a.step(i, x, f, above, below)
		if math.Abs(next-x) <= secularAccuracy*min(math.Abs(x), width) {
			return min(max(next, lo), hi)
		}
		if !(next > lo && next < hi) {
			next = lo + (hi-lo)/2
			if next == lo || next == hi {
				return next
			}
		}
		x = next
	}
	return x
}

// bracket is the interval that root i lies in. The outermost two are closed by
// Gershgorin's theorem for the symmetrised matrix.
func (a *arrowhead) bracket(i int) (lo, hi float64) {
	n := len(a.pole)
	reach := 0.0
	for _, w := range a.weight {
		reach += w
	}
	reach = math.Sqrt(reach)
	if i == 0 {
		hi = max(a.pole[0], a.tip) + reach
	} else {
		hi = a.pole[i-1]
	}
	if i == n {
		lo = min(a.pole[n-1], a.tip) - reach
	} else {
		lo = a.pole[i]
	}
	return lo, hi
}

// step fits a + b/(z - pole above) + c/(z - pole below) to f in value and both
// parts of its slope and returns the root of the fit between the poles; beyond
// the outermost poles the linear term of f takes the missing pole's place.
func (a *arrowhead) step(i int, x, f, above, below float64) float64 {
	n := len(a.pole)
	switch i {
	case 0: // z - pole - k - s/(z - pole)
		p := a.pole[0]
		t := x - p
		s := (below - 1) * t * t
		k := t - s/t - f
		return p + positiveRoot(k, s)
	case n:
		p := a.pole[n-1]
		t := p - x
		s := above * t * t
		k := t - s/t + f
		return p - positiveRoot(k, s)
	}
	hi, lo := a.pole[i-1], a.pole[i]
	h, t := hi-lo, x-lo
	b, c := -below*t*t, -above*(x-hi)*(x-hi)
	m := f + below*t + above*(x-hi)
	// m t^2 + (b + c - m h) t - b h = 0
	q := b + c - m*h
	root := math.Sqrt(max(q*q+4*m*b*h, 0))
	if q < 0 {
		root = -root
	}
	u := -(q + root) / 2
	if t1 := -b * h / u; t1 > 0 && t1 < h {
		return lo + t1
	}
	return lo + u/m
}

// positiveRoot is the positive root of t^2 - k t - s, s > 0.
func positiveRoot(k, s float64) float64 {
	r := math.Sqrt(k*k + 4*s)
	if k > 0 {
		return (k + r) / 2
	}
	return 2 * s / (r - k)
}
