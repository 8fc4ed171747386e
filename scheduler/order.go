package scheduler

import (
	"cmp"
	"math"
	"slices"

	"multirate/estimator"
)

// Order returns the cycle with its rates in a stable order. Any order gives the
// same p, so Rho is kept; the order decides what happens on the way, in two
// respects.
//
// Partial products up to a position tell how far the error grows before the
// cycle's end ([Peak]). Products of later neighbours tell by how much whatever
// was not foreseen (rounding, gradient noise, a Hessian that moves) is multiplied
// ([Amplification]). Minimising the former alone, rate by rate, uses up the roots
// at the stiff end of each scale first. Then the error never grows on a diagonal
// quadratic, but later products reach 1e15 to 1e280, and in a rotated basis
// rounding destroys the iterate.
//
// So a position may take the remaining rates that keep the partial product at
// most 1 on all scales and the products of neighbours that end here at most
// allowance times what the longest rate alone multiplies by. Of these it takes
// the one for which the rates still to come have the least mean square product
// on a grid; of equals, the smallest rate. That spreads the roots evenly over
// both sides, as the order of Lebedev and Finogenov (1971) does for one scale,
// and brings long rates as early as they can be borne. Where no rate keeps within
// the allowance, the one with the least product of neighbours is taken; where
// none keeps the partial product below 1, the one with the least. Scales of one
// eigenvalue may waste their few rates on a tight allowance; so wider ones are
// tried where it failed, and the order with the least Amplification is returned.
//
// The grid holds the roots, a point or more between neighbouring roots and the
// scales' edges; between its points partial products may exceed 1 by a few per
// cent. The cost is O(N^2) to O(N^3) for N distinct rates (5 ms at 150, 30 ms
// at 400, 0.4 s at 900) and O(N) for a bounded number of distinct rates.
func Order(c Cycle, s estimator.Scales) Cycle {
	if len(c.Rates) == 0 {
		return c
	}
	single := max(1, Sup([]float64{slices.Max(c.Rates)}, s))
	var best Cycle
	least := math.Inf(1)
	for _, allowance := range [...]float64{10, 100, 1000, 1e5, math.Inf(1)} {
		ordered := orderWithin(c, s, allowance*single)
		a := Amplification(ordered, s)
		if best.Rates == nil || a < least {
			best, least = ordered, a
		}
		if a <= 10*allowance*single {
			break
		}
	}
	return best
}

// orderWithin is Order for one limit on products of neighbours.
func orderWithin(c Cycle, s estimator.Scales, noiseLimit float64) Cycle {
	left := countRates(c)
	sel := newSelection(c.Rates, s, noiseLimit)
	ordered := Cycle{
		Rates: make([]float64, 0, len(c.Rates)),
		Scale: make([]int, 0, len(c.Rates)),
		Rho:   c.Rho,
	}
	for len(left) > 0 {
		k := sel.next(left)
		ordered.Rates = append(ordered.Rates, left[k].rate)
		ordered.Scale = append(ordered.Scale, left[k].scale)
		sel.take(left[k].rate)
		if left[k].count--; left[k].count == 0 {
			left = slices.Delete(left, k, k+1)
		}
	}
	return ordered
}

// rateCount is a rate of a scale that is left count times.
type rateCount struct {
	rate  float64
	scale int
	count int
}

// countRates lists the distinct rates of a cycle, smallest first.
func countRates(c Cycle) []rateCount {
	list := make([]rateCount, len(c.Rates))
	for j, r := range c.Rates {
		list[j] = rateCount{rate: r, scale: c.Scale[j], count: 1}
	}
	slices.SortFunc(list, func(a, b rateCount) int {
		return cmp.Or(cmp.Compare(a.rate, b.rate), cmp.Compare(a.scale, b.scale))
	})
	n := 0
	for _, r := range list {
		if n > 0 && list[n-1].rate == r.rate && list[n-1].scale == r.scale {
			list[n-1].count++
			continue
		}
		list[n] = r
		n++
	}
	return list[:n]
}

// selection is the product of the rates taken and that of the rates left, both
// on the same grid.
type selection struct {
	head, tail *running
	// noise is the largest product of the latest rates, at least the empty one:
	// what has become of the worst disturbance so far.
	noise *running
	// noiseLimit is what noise may reach.
	noiseLimit float64
	// weight is the sum of the squared tail over each block of points.
	weight []float64
}

// headLimit allows for rounding in products of factors that are all just below
// 1, as on the flattest scale before its first rate.
const headLimit = 1 + 1e-12

func newSelection(rates []float64, s estimator.Scales, noiseLimit float64) *selection {
	g := newGrid(rates, widen(s), 2)
	sel := &selection{head: newRunning(g), tail: newRunning(g), noise: newRunning(g), noiseLimit: noiseLimit}
	for _, r := range rates {
		sel.tail.include(r)
	}
	sel.tail.survey()
	sel.weight = make([]float64, len(sel.tail.blocks))
	sel.weigh()
	return sel
}

// widen makes each scale as wide as leastFactor says: a
// single eigenvalue that one rate hits exactly would bear any amplification.
func widen(s estimator.Scales) estimator.Scales {
	groups := slices.Clone(s.Groups)
	for i, g := range groups {
		b := newBand(g, 0)
		groups[i].Lo, groups[i].Hi = min(g.Lo, b.bottom), max(g.Hi, b.centre+b.half)
	}
	return estimator.Scales{Groups: groups}
}

// take moves a rate from the tail to the head.
func (s *selection) take(rate float64) {
	s.head.multiply(rate)
	s.noise.multiply(rate)
	s.noise.atLeastOne()
	s.tail.exclude(rate)
	s.weigh()
}

func (s *selection) weigh() {
	for b := range s.weight {
		sum := 0.0
		for _, v := range s.tail.level[b*blockSize : min((b+1)*blockSize, len(s.tail.level))] {
			sum += float64(v * v)
		}
		s.weight[b] = sum
	}
}

// next is the index of the candidate to take. Candidates come with ascending
// rates.
func (s *selection) next(candidates []rateCount) int {
	if k, ok := s.stable(candidates); ok {
		return k
	}
	if k, ok := s.calmest(candidates); ok {
		return k
	}
	return s.head.leastNext(candidates)
}

// stable is the index of the candidate whose removal leaves the tail with the
// least mean square among those that keep the head at most 1 and the noise
// within its limit.
func (s *selection) stable(candidates []rateCount) (index int, ok bool) {
	least := math.Inf(1)
	headLimit, noiseLimit := headLimit/s.head.unit, s.noiseLimit/s.noise.unit
	for k, c := range candidates {
		if s.head.atWitnesses(c.rate) > headLimit || s.noise.atWitnesses(c.rate) > noiseLimit {
			continue
		}
		if v := s.score(c.rate, least); v < least && !s.head.exceedsWith(c.rate, headLimit) && !s.noise.exceedsWith(c.rate, noiseLimit) {
			index, least, ok = k, v, true
		}
	}
	return index, ok
}

// calmest is the index of the candidate with the least noise among those that
// keep the head at most 1.
func (s *selection) calmest(candidates []rateCount) (index int, ok bool) {
	least := math.Inf(1)
	for k, c := range candidates {
		if s.noise.atWitnesses(c.rate) >= least || s.head.exceedsWith(c.rate, headLimit/s.head.unit) {
			continue
		}
		if v := s.noise.supWith(c.rate, least); v < least {
			index, least, ok = k, v, true
		}
	}
	return index, ok
}

// score is the sum over the grid of the squared tail without the rate; above
// limit, any value above limit. Over a block well away from the rate's root the
// factor hardly changes and stands before the sum.
func (s *selection) score(rate, limit float64) float64 {
	sum := 0.0
	for b, w := range s.weight {
		k := s.tail.blocks[b]
		lo, hi := factor(rate, k.lo), factor(rate, k.hi)
		if near, far := math.Abs(hi), math.Abs(lo); lo*hi > 0 && near < 2*far && far < 2*near {
			sum += w / float64(lo*hi)
		} else {
			sum += s.blockScore(rate, b)
		}
		if sum > limit {
			break
		}
	}
	return sum
}

func (s *selection) blockScore(rate float64, b int) float64 {
	sum := 0.0
	for i := b * blockSize; i < min((b+1)*blockSize, len(s.tail.points)); i++ {
		v := s.tail.level[i] / max(leastTailFactor, math.Abs(factor(rate, s.tail.points[i])))
		sum += float64(v * v)
	}
	return sum
}
