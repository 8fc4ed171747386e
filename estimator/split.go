package estimator

import (
	"math"
	"slices"
)

// leastSplit is the ratio from which an open stretch may part two scales for
// cost's sake. Below it a degree more or less decides, which the closed form
// does not see.
const leastSplit = 1.25

// splitRhos are the contractions for which a cycle's cost is predicted; the
// cheapest counts, as it does for the cycle itself.
var splitRhos = []float64{0.5, 0.1, 0.01}

// SplitScales is [DetectScales] with the gaps chosen by the predicted cost of a
// cycle in place of a fixed ratio: every open stretch of the log axis may part
// two scales, and those do that together make the cycle cheapest. Where
// eigenvalues thin out gradually, as in power-law spectra, a fixed ratio parts
// them late or not at all. It never predicts a larger cost than [DetectScales].
//
// The cost is that of Chebyshev's polynomial on each scale (the closed form of
// [PredictedCost]). Partial choices, from the flattest scale up, are compared at
// each candidate, as in dynamic programming, and the cheapest of each candidate
// is kept; what a flatter scale costs those above depends little on which of its
// near equals was kept, so the choice is near the best, not proven to be it.
//
// A window ([SourceSketch]) is parted at every open stretch a factor 4 wide,
// which is less than [DetectScales] asks for: where its gradients have lost all
// energy, a cycle needs no root, gap or not.
func SplitScales(s Spectrum) Scales {
	e := newEvidence(s)
	if e.window {
		return e.scales(leastGap)
	}
	fine := e.scales(leastSplit)
	best := e.scales(leastGap)
	if len(fine.Groups) == 0 {
		return best
	}
	cost := PredictedCost(best)
	for _, rho := range splitRhos {
		merged := fine.merge(cheapestSplit(fine.Groups, -math.Log(rho)))
		if c := PredictedCost(merged); c < cost {
			best, cost = merged, c
		}
	}
	return best
}

// PredictedCost is the number of steps, for each factor e that the error
// contracts, of the cheapest cycle of Chebyshev polynomials on the scales, as a
// closed form predicts it: from the flattest scale up, with y = (kappa+1)/(kappa-1),
//
//	k_i = max(0, log(2/rho) + sum_{j > i} k_j a_j(L_i)) / arcosh(y_i),
//	a_j(L) = arcosh((L - c_j)/h_j) - arcosh(c_j/h_j)
//
// for centres c_j and half widths h_j: T_k(y) is about exp(k arcosh(y))/2, and
// a_j is what a degree on the flatter scale j amplifies at L. A scale counts as
// no narrower than 1 +- 2^-20, and a degree is no less than one. It is +Inf for
// no scales.
func PredictedCost(s Scales) float64 {
	cost := math.Inf(1)
	for _, rho := range splitRhos {
		var stack []served
		for i := len(s.Groups) - 1; i >= 0; i-- {
			stack = append(stack, serve(s.Groups[i], stack, -math.Log(rho)))
		}
		if len(stack) > 0 {
			cost = min(cost, degrees(stack)/-math.Log(rho))
		}
	}
	return cost
}

// served is a scale with the degree of its polynomial.
type served struct {
	centre, half float64
	// atZero is arcosh(centre/half).
	atZero, degree float64
}

// narrowest is the half width, relative to the centre, of the narrowest scale:
// none is known more exactly in float32.
const narrowest = 0x1p-20

func serve(g Scale, flatter []served, contraction float64) served {
	b := served{centre: g.Lo + (g.Hi-g.Lo)/2}
	b.half = max((g.Hi-g.Lo)/2, narrowest*b.centre)
	b.atZero = math.Acosh(b.centre / b.half)
	need := contraction + math.Ln2
	for _, f := range flatter {
		need += f.degree * (math.Acosh(max(1, (g.Hi-f.centre)/f.half)) - f.atZero)
	}
	b.degree = max(1, need/b.atZero)
	return b
}

func degrees(stack []served) float64 {
	sum := 0.0
	for _, b := range stack {
		sum += b.degree
	}
	return sum
}

// cheapestSplit chooses which of the neighbours, stiffest first, to merge: it
// returns, stiffest first, how many go into each scale.
func cheapestSplit(groups []Scale, contraction float64) []int {
	n := len(groups)
	// best[i] serves groups i and flatter.
	type partial struct {
		stack []served
		sizes []int
		cost  float64
	}
	best := make([]partial, n+1)
	for i := n - 1; i >= 0; i-- {
		best[i].cost = math.Inf(1)
		for j := i + 1; j <= n; j++ {
			b := serve(Scale{Lo: groups[j-1].Lo, Hi: groups[i].Hi}, best[j].stack, contraction)
			if cost := best[j].cost + b.degree; cost < best[i].cost {
				best[i] = partial{append(slices.Clone(best[j].stack), b), append(slices.Clone(best[j].sizes), j-i), cost}
			}
		}
	}
	sizes := best[0].sizes
	slices.Reverse(sizes)
	return sizes
}

// merge joins neighbouring groups: sizes tells, stiffest first, how many go into
// each.
func (s Scales) merge(sizes []int) Scales {
	out, at := Scales{Negative: s.Negative}, 0
	for _, n := range sizes {
		members := s.Groups[at : at+n]
		g := Scale{Lo: members[n-1].Lo, Hi: members[0].Hi}
		for _, m := range members {
			g.Count += m.Count
			g.Weight += m.Weight
		}
		g.Weight = min(1, g.Weight)
		if at > 0 {
			out.Confidence = append(out.Confidence, s.Confidence[at-1])
		}
		out.Groups = append(out.Groups, g)
		at += n
	}
	return out
}
