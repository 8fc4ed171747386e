package estimator

import "math"

// sameEdge is the ratio up to which two edges count as the same: a learning rate
// that is off by so little costs nothing.
const sameEdge = 1.05

// Stability compares the scales of the latest estimate with those of earlier
// ones, and returns a score in [0, 1] for each of the latest groups: the mean
// over the earlier estimates of the best overlap with one of their groups, the
// length common to both over the length of both together on the log axis. Each
// group is first widened by 5 % at either edge, so that a scale of one
// eigenvalue has a length. 1: every estimate shows the same group; 0: none has
// it; n groups merged, or one parted in n, score about 1/n. It is nil without
// an earlier estimate.
//
// Multiplying all scales by one number changes nothing.
func Stability(latest Scales, earlier ...Scales) []float64 {
	if len(earlier) == 0 {
		return nil
	}
	scores := make([]float64, len(latest.Groups))
	for i, g := range latest.Groups {
		sum := 0.0
		for _, before := range earlier {
			best := 0.0
			for _, other := range before.Groups {
				best = max(best, overlap(g, other))
			}
			sum += best
		}
		scores[i] = sum / float64(len(earlier))
	}
	return scores
}

// overlap is the common over the joint length of two groups on the log axis.
func overlap(a, b Scale) float64 {
	margin := math.Log(sameEdge)
	aLo, aHi := math.Log(a.Lo)-margin, math.Log(a.Hi)+margin
	bLo, bHi := math.Log(b.Lo)-margin, math.Log(b.Hi)+margin
	common := min(aHi, bHi) - max(aLo, bLo)
	if !(common > 0) {
		return 0
	}
	return min(1, common/(max(aHi, bHi)-min(aLo, bLo)))
}
