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
// the one at whose root the rates taken leave most, in proportion to what those
// to come will leave there: a weighted Leja order (Saff and Totik, Logarithmic
// Potentials with External Fields, 1997, chapter V), which spreads the roots over
// both sides and brings long rates as early as they can be borne. Of equals it
// takes the longest, and where no rate keeps within the limits, the shortest.
// Scales of one eigenvalue may waste their few rates on a tight allowance; so
// wider ones are tried where it failed, and the order with the least
// amplification is returned.
//
// The grid holds the roots, a point or more between neighbouring roots and the
// scales' edges; between its points partial products may exceed 1 by a few per
// cent. The cost is O(N^2) for N distinct rates, some 10 ns N^2, and O(N) for a
// bounded number of them.
func Order(c Cycle, s estimator.Scales) Cycle {
	if len(c.Rates) == 0 {
		return c
	}
	single := max(1, Sup([]float64{slices.Max(c.Rates)}, s))
	var best Cycle
	least := math.Inf(1)
	for _, allowance := range [...]float64{10, 100, 1000, 1e5, math.Inf(1)} {
		ordered, noise := orderWithin(c, s, allowance*single)
		if best.Rates == nil || noise < least {
			best, least = ordered, noise
		}
		if noise <= 10*allowance*single {
			break
		}
	}
	return best
}

// orderWithin is Order for one limit on products of neighbours. It returns the
// largest that there is on its grid.
func orderWithin(c Cycle, s estimator.Scales, noiseLimit float64) (ordered Cycle, worst float64) {
	wide := widen(s)
	left := newCandidates(c, wide)
	t := newTransient(newGrid(c.Rates, wide, 2).points, noiseLimit)
	ordered = Cycle{
		Rates: make([]float64, 0, len(c.Rates)),
		Scale: make([]int, 0, len(c.Rates)),
		Rho:   c.Rho,
	}
	for len(left) > 0 {
		k := left.next(t.leastRoot)
		rate := left[k].rate
		ordered.Rates = append(ordered.Rates, rate)
		ordered.Scale = append(ordered.Scale, left[k].scale)
		worst = max(worst, t.multiply(rate))
		left.taken(k)
		if left[k].count == 0 {
			left = slices.Delete(left, k, k+1)
		}
	}
	return ordered, worst
}

// rateCount is a rate of a scale that is left count times.
type rateCount struct {
	rate  float64
	scale int
	count int
	// worth is what the rates taken leave at the rate's root, over what those to
	// come will leave there, the rate itself left out.
	worth extended
	// own is what one step at the rate leaves of its scale at worst.
	own float64
}

// candidates are the distinct rates that are left, smallest first.
type candidates []rateCount

func newCandidates(c Cycle, s estimator.Scales) candidates {
	left := countRates(c)
	for k := range left {
		at := &left[k]
		at.own = math.Abs(factor(at.rate, s.Groups[at.scale].Lo))
		at.worth = extended{mantissa: 1}
		for j, other := range left {
			f, times := math.Abs(factor(other.rate, 1/at.rate)), other.count
			if j == k {
				f, times = at.own, at.count-1
			}
			for range times {
				at.worth.multiply(max(f, leastOwn))
			}
		}
		at.worth = at.worth.reciprocal()
	}
	return left
}

// leastOwn stands in for a factor that is 0.
const leastOwn = 0x1p-60

// countRates lists the distinct rates of a cycle, smallest first.
func countRates(c Cycle) candidates {
	list := make(candidates, len(c.Rates))
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

// next is the index of the candidate to take, among those whose root is at least
// leastRoot.
func (left candidates) next(leastRoot float64) int {
	best := 0
	for k := range left {
		if left[k].rate*leastRoot > 1+rounding {
			break
		}
		if !left[k].worth.less(left[best].worth) {
			best = k
		}
	}
	return best
}

// taken moves one copy of candidate k from the rates to come to those taken: both
// sides of every worth change by its factor.
func (left candidates) taken(k int) {
	rate := left[k].rate
	for j := range left {
		f := math.Abs(factor(rate, 1/left[j].rate))
		if j == k {
			f = left[j].own
		}
		f = max(f, leastOwn)
		left[j].worth.multiply(f * f)
	}
	left[k].count--
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
