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

// running is |p| of some rates on a grid, as mantissa * base^exponent: products
// over part of a cycle may span more than a float64's range.
type running struct {
	grid
	mantissa []float64
	exponent []int
	// level is |p| / unit, unit = base^(largest exponent); what underflows is
	// irrelevant to the sup.
	level []float64
	unit  float64
	// blocks summarise the levels.
	blocks []block
	// witness holds the points that rule out most candidates: the highest level
	// on each scale, and the point that ruled one out last.
	witness []int
}

// block is a run of up to blockSize points, their range and the largest level
// among them.
type block struct{ lo, hi, top float64 }

const (
	base      = 0x1p300
	blockSize = 16
	// leastTailFactor stands in for the factor of a rate at its own root, so
	// that it can be divided out again.
	leastTailFactor = 0x1p-60
)

// largest is the largest |1 - rate*lambda| on the block's range: it is convex.
func (b block) largest(rate float64) float64 {
	return max(math.Abs(factor(rate, b.lo)), math.Abs(factor(rate, b.hi)))
}

func newRunning(g grid) *running {
	r := &running{
		grid:     g,
		mantissa: make([]float64, len(g.points)),
		exponent: make([]int, len(g.points)),
		level:    make([]float64, len(g.points)),
		witness:  make([]int, len(g.start)),
	}
	for i := range r.mantissa {
		r.mantissa[i] = 1
	}
	for points := range slices.Chunk(g.points, blockSize) {
		r.blocks = append(r.blocks, block{lo: slices.Min(points), hi: slices.Max(points)})
	}
	r.survey()
	return r
}

// multiply takes one more rate into the product.
func (r *running) multiply(rate float64) {
	for i, x := range r.points {
		r.set(i, r.mantissa[i]*math.Abs(factor(rate, x)))
	}
	r.survey()
}

// include takes a rate into the product so that exclude can take it out again,
// and leaves the survey to the caller.
func (r *running) include(rate float64) {
	for i, x := range r.points {
		r.set(i, r.mantissa[i]*max(leastTailFactor, math.Abs(factor(rate, x))))
	}
}

// exclude takes an included rate out of the product.
func (r *running) exclude(rate float64) {
	for i, x := range r.points {
		r.set(i, r.mantissa[i]/max(leastTailFactor, math.Abs(factor(rate, x))))
	}
	r.survey()
}

// atLeastOne raises the product to 1 where it is less.
func (r *running) atLeastOne() {
	for i, v := range r.mantissa {
		if r.exponent[i] < 0 || r.exponent[i] == 0 && v < 1 {
			r.mantissa[i], r.exponent[i] = 1, 0
		}
	}
	r.survey()
}

// set stores a mantissa, carried into the exponent where it leaves [1/base,
// base].
func (r *running) set(i int, mantissa float64) {
	if mantissa > base {
		mantissa /= base
		r.exponent[i]++
	} else if mantissa < 1/base && mantissa > 0 {
		mantissa *= base
		r.exponent[i]--
	}
	r.mantissa[i] = mantissa
}

// lift is v * base^e for v between 1/base and base, or 0; it rounds the very
// small to 0 and the very large to +Inf.
func lift(v float64, e int) float64 {
	switch {
	case e == 0 || v == 0:
		return v
	case e == 1:
		return v * base
	case e == -1:
		return v / base
	case e < 0:
		return 0
	}
	return math.Inf(1)
}

// survey refreshes levels, blocks and witnesses.
func (r *running) survey() {
	top := math.MinInt
	for i, e := range r.exponent {
		if e > top && r.mantissa[i] > 0 {
			top = e
		}
	}
	r.unit = lift(1, max(top, -2))
	for i, v := range r.mantissa {
		r.level[i] = lift(v, r.exponent[i]-top)
	}
	for b := range r.blocks {
		r.blocks[b].top = slices.Max(r.level[b*blockSize : min((b+1)*blockSize, len(r.level))])
	}
	for s := range len(r.start) - 1 {
		highest := r.start[s]
		for i := r.start[s]; i < r.start[s+1]; i++ {
			if r.level[i] > r.level[highest] {
				highest = i
			}
		}
		r.witness[s] = highest
	}
	r.witness[len(r.witness)-1] = r.witness[0]
}

// leastNext is the index of the candidate that makes the sup least; candidates
// come with ascending rates.
func (r *running) leastNext(candidates []rateCount) int {
	best, least := 0, math.Inf(1)
	for k, c := range candidates {
		if !beats(r.atWitnesses(c.rate), k, least, best) {
			continue
		}
		if v := r.supWith(c.rate, least); beats(v, k, least, best) {
			best, least = k, v
		}
	}
	return best
}

// beats orders candidates by value, then by index.
func beats(v float64, k int, least float64, best int) bool {
	return v < least || v == least && k < best
}

func (r *running) atWitnesses(rate float64) float64 {
	v := 0.0
	for _, i := range r.witness {
		v = max(v, r.level[i]*math.Abs(factor(rate, r.points[i])))
	}
	return v
}

// supWith is the sup, in units of level, of the running product times one more
// factor; above limit, any value above limit.
func (r *running) supWith(rate, limit float64) float64 {
	sup := 0.0
	for b, k := range r.blocks {
		if k.top*k.largest(rate) <= sup {
			continue
		}
		for i := b * blockSize; i < min((b+1)*blockSize, len(r.points)); i++ {
			sup = max(sup, r.level[i]*math.Abs(factor(rate, r.points[i])))
		}
		if sup > limit {
			break
		}
	}
	return sup
}

// exceedsWith reports whether the running product times one more factor exceeds
// limit, in units of level, anywhere. The point where it does becomes a witness.
func (r *running) exceedsWith(rate, limit float64) bool {
	for b, k := range r.blocks {
		if k.top*k.largest(rate) <= limit {
			continue
		}
		for i := b * blockSize; i < min((b+1)*blockSize, len(r.points)); i++ {
			if r.level[i]*math.Abs(factor(rate, r.points[i])) > limit {
				r.witness[len(r.witness)-1] = i
				return true
			}
		}
	}
	return false
}

// refine is the larger of floor and the max of log|p| on the points from to
// to-1 and between them. No used root lies inside a cell, so log|p| is concave
// there. A cell whose ends are well below the floor is passed over: with at
// least four cells between neighbouring roots the max inside exceeds the ends by
// less than a quarter.
func (r *running) refine(from, to int, used polynomial, floor float64) float64 {
	promising := math.Exp(floor) / 1.25
	for i := from; i < to; i++ {
		here := lift(r.mantissa[i], r.exponent[i])
		if here > promising {
			v, _ := used.at(r.points[i])
			floor = max(floor, v)
		}
		if i+1 == to {
			break
		}
		if here > promising || lift(r.mantissa[i+1], r.exponent[i+1]) > promising {
			floor = concaveMax(used.at, r.points[i], r.points[i+1], floor)
		}
	}
	return floor
}
