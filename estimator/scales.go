package estimator

// Scale is a group of eigenvalues that one learning rate, or one Chebyshev
// polynomial, serves.
type Scale struct {
	// Lo and Hi bound the scale's eigenvalues: 0 < Lo <= Hi. They are the
	// paper's mu_i and L_i (arXiv 2402.03021, section 2).
	Lo, Hi float64
	// Count is the number of Ritz values in the scale.
	Count int
	// Weight is the sum of their weights, in [0, 1].
	Weight float64
}

// Condition is the condition number Hi/Lo of the scale.
func (s Scale) Condition() float64 { return s.Hi / s.Lo }

// Scales is an ordered set of disjoint scales, stiffest first.
type Scales struct {
	// Groups holds the scales, stiffest first: Groups[i].Lo > Groups[i+1].Hi.
	Groups []Scale
	// Confidence holds, for each gap between Groups[i] and Groups[i+1], a
	// number in [0, 1]: 1 when the gap is certain, 0 when it may as well be a
	// hole left by too few Ritz values. len = max(0, len(Groups)-1).
	Confidence []float64
	// Negative is the most negative Ritz value, or 0 when there is none beyond
	// rounding. A Ritz value never lies below the least eigenvalue, so it proves
	// negative curvature, whatever its bound, as far as the products are exact.
	Negative float64
}

// Gap is the ratio Groups[i].Lo / Groups[i+1].Hi between a scale and the next
// flatter one.
func (s Scales) Gap(i int) float64 { return s.Groups[i].Lo / s.Groups[i+1].Hi }
