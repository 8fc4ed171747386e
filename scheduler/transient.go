package scheduler

import (
	"math"
	"slices"

	"multirate/estimator"
)

// Peak is the largest sup over the scales of a partial product of the cycle's
// rates in their order, the empty product (1) included: the largest factor by
// which the error along any eigenvalue grows on the way through the cycle. On a
// quadratic the loss never exceeds Peak^2 times its value at the cycle's start.
// Maxima are located on a grid, at least four cells between neighbouring roots,
// and refined. The cost is O(N^2) for N rates.
func Peak(c Cycle, s estimator.Scales) float64 {
	g := newGrid(c.Rates, s, 4)
	run := newRunning(g)
	used := polynomial{}
	peak := 0.0 // log
	longest := 0.0
	for _, r := range c.Rates {
		run.multiply(r)
		used.rates = append(used.rates, r)
		used.powers = append(used.powers, 1)
		longest = max(longest, r)
		for i := range s.Groups {
			if longest*s.Groups[i].Hi > 1 { // otherwise |p| <= 1 on the scale
				peak = run.refine(g.start[i], g.start[i+1], used, peak)
			}
		}
	}
	return math.Exp(peak)
}

// Amplification is the largest sup over the scales of a product of neighbouring
// rates of the cycle, the empty product (1) included: the largest factor by which
// an error made at one step (rounding, gradient noise, a Hessian that moved) is
// multiplied at a later one. It is at least [Peak], and about |1 - eta L| for the
// longest rate eta and the stiffest eigenvalue L, whatever the order. Rounding in
// float32 (6e-8) times Amplification should stay below 1. It is taken on a grid,
// at least four cells between neighbouring roots, and true to a few per cent. The
// cost is O(N^2) for N rates.
func Amplification(c Cycle, s estimator.Scales) float64 {
	worst := 1.0
	for _, x := range newGrid(c.Rates, s, 4).points {
		product := 1.0 // the largest that ends here
		for _, r := range c.Rates {
			product = max(product, 1) * math.Abs(factor(r, x))
			worst = max(worst, product)
		}
	}
	return worst
}

// grid holds points on each scale; those of scale i are
// points[start[i]:start[i+1]], ascending. Every root inside a scale is a point.
type grid struct {
	points []float64
	start  []int
}

// leastCells is the least number of cells per scale, for scales with few roots.
const leastCells = 16

// newGrid divides each interval between neighbouring roots, or between a root
// and an edge, into the given number of cells, or more where a scale has few
// roots.
func newGrid(rates []float64, s estimator.Scales, cells int) grid {
	p := newPolynomial(rates)
	var g grid
	for _, scale := range s.Groups {
		g.start = append(g.start, len(g.points))
		knots := p.knots(scale.Lo, scale.Hi)
		n := cells
		if gaps := len(knots) - 1; gaps > 0 {
			n = max(cells, (leastCells+gaps-1)/gaps)
		}
		g.points = append(g.points, scale.Lo)
		for k := 1; k < len(knots); k++ {
			width := knots[k] - knots[k-1]
			for i := 1; i < n; i++ {
				g.points = append(g.points, knots[k-1]+float64(width*(float64(i)/float64(n))))
			}
			g.points = append(g.points, knots[k])
		}
	}
	g.start = append(g.start, len(g.points))
	return g
}

// knots are lo, the roots between lo and hi, and hi, without repetition.
func (p polynomial) knots(lo, hi float64) []float64 {
	knots := []float64{lo}
	for j := len(p.rates) - 1; j >= 0; j-- {
		if root := 1 / p.rates[j]; root > knots[len(knots)-1] && root < hi {
			knots = append(knots, root)
		}
	}
	if hi > lo {
		knots = append(knots, hi)
	}
	return knots
}

// running is |p| of some rates on a grid. Products over part of a cycle may span
// more than a float64's range.
type running struct {
	grid
	level []extended
}

func newRunning(g grid) *running {
	r := &running{grid: g, level: make([]extended, len(g.points))}
	for i := range r.level {
		r.level[i].mantissa = 1
	}
	return r
}

// multiply takes one more rate into the product.
func (r *running) multiply(rate float64) {
	for i, x := range r.points {
		r.level[i].multiply(math.Abs(factor(rate, x)))
	}
}

// extended is mantissa * base^exponent, positive or 0.
type extended struct {
	mantissa float64
	exponent int
}

const base = 0x1p300

// multiply carries the mantissa into the exponent where it leaves [1/base, base].
func (s *extended) multiply(by float64) {
	s.mantissa *= by
	if s.mantissa > base {
		s.mantissa /= base
		s.exponent++
	} else if s.mantissa < 1/base && s.mantissa > 0 {
		s.mantissa *= base
		s.exponent--
	}
}

func (s extended) less(t extended) bool {
	if s.exponent == t.exponent || s.mantissa == 0 || t.mantissa == 0 {
		return s.mantissa < t.mantissa
	}
	// Neighbouring exponents overlap.
	if s.exponent < t.exponent {
		return s.exponent < t.exponent-1 || s.mantissa/base < t.mantissa
	}
	return s.exponent == t.exponent+1 && s.mantissa < t.mantissa/base
}

// value rounds the very small to 0 and the very large to +Inf.
func (s extended) value() float64 {
	switch {
	case s.exponent == 0 || s.mantissa == 0:
		return s.mantissa
	case s.exponent == 1:
		return s.mantissa * base
	case s.exponent == -1:
		return s.mantissa / base
	case s.exponent < 0:
		return 0
	}
	return math.Inf(1)
}

// reciprocal is 1/s, s > 0.
func (s extended) reciprocal() extended {
	return extended{mantissa: 1 / s.mantissa, exponent: -s.exponent}
}

// transient is what has become, at points of the scales, of an error that was
// there from the start (head) and of the worst that came in on the way (noise),
// each 1 when it came in.
type transient struct {
	points, head, noise []float64
	noiseLimit          float64
	// leastRoot is the least root that the next rate may have for the head to
	// stay at most 1 and the noise within its limit.
	leastRoot float64
}

func newTransient(points []float64, noiseLimit float64) *transient {
	ones := func() []float64 { return slices.Repeat([]float64{1}, len(points)) }
	t := &transient{points: points, head: ones(), noise: ones(), noiseLimit: noiseLimit}
	t.multiply(0)
	return t
}

const (
	// rounding allows for that in products of factors that are all just below
	// 1, as on the flattest scale before its first rate.
	rounding = 1e-12
	// leastHead keeps a product from underflow; nothing so small is ever large again
	// within the limits.
	leastHead = 1e-280
)

// multiply takes one more rate in and returns the largest noise. |1 - x/root| <=
// limit/level holds at x <= 2 root as soon as level <= limit, and elsewhere where
// root >= x level/(limit + level).
func (t *transient) multiply(rate float64) float64 {
	worst, least, limit := 1.0, 0.0, t.noiseLimit
	noise := t.noise[:len(t.points)]
	head := t.head[:len(t.points)]
	for i, x := range t.points {
		f := math.Abs(factor(rate, x))
		h := max(head[i]*f, leastHead)
		n := max(noise[i]*f, 1)
		head[i], noise[i] = h, n
		if h*(x-least) > (1+rounding)*least {
			least = x * h / (1 + rounding + h)
		}
		if n*(x-least) > limit*least {
			least = x * n / (limit + n)
		}
		worst = max(worst, n)
	}
	t.leastRoot = least
	return worst
}

// refine is the larger of floor and the max of log|p| on the points from to
// to-1 and between them. No used root lies inside a cell, so log|p| is concave
// there. A cell whose ends are well below the floor is passed over: with at
// least four cells between neighbouring roots the max inside exceeds the ends by
// less than a quarter.
func (r *running) refine(from, to int, used polynomial, floor float64) float64 {
	promising := math.Exp(floor) / 1.25
	for i := from; i < to; i++ {
		here := r.level[i].value()
		if here > promising {
			v, _ := used.at(r.points[i])
			floor = max(floor, v)
		}
		if i+1 == to {
			break
		}
		if here > promising || r.level[i+1].value() > promising {
			floor = concaveMax(used.at, r.points[i], r.points[i+1], floor)
		}
	}
	return floor
}
