package estimator

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// leastGap is the width, as a ratio, from which an empty stretch of the log axis
// parts two scales. One Chebyshev polynomial of degree two already contracts
// two points a factor 4 apart to 2/9, so parting closer groups gains nothing.
const leastGap = 4

// unknownDimension stands for D where it is not known. It is large, so that a
// gap needs much evidence.
const unknownDimension = 1 << 30

// farthest is the ratio over which an edge is looked for beyond the last Ritz
// value.
const farthest = 1e6

// rule says from which weight on, as a share of an average eigenvalue's, an
// eigenvalue is taken to be seen.
//
// For a random start the weight of an eigenvalue is z^2/D with z nearly normal:
// the share of them below u/D is sqrt(2u/pi) for small u.
type rule struct {
	// empty decides gaps.
	empty float64
	// upper decides where a scale ends towards larger eigenvalues, where an
	// oversight makes a cycle diverge; lower where it ends towards smaller
	// ones, where an oversight makes a few modes slow.
	upper, lower float64
	// gap is the least ratio of a gap that is claimed to be one of the spectrum.
	gap float64
}

var (
	// One eigenvalue in 125 is fainter than 1e-4/D, one in three than 0.2/D.
	quadratureRule = rule{empty: 1e-4, upper: 1e-4, lower: 0.2, gap: leastGap}
	// Ritz values from a window are no quadrature rule of a known start. With
	// equal weights the Christoffel function is 1/(k sum l_i(x)^2), which stays
	// near 1/k along an interval that the Ritz values fill evenly (Fejer: the
	// sum is at most 1 for Fekete points) and falls in a gap all the same. But
	// the steps themselves take energy out of stretches of the spectrum, by many
	// orders, and a window can't show what its gradients have lost. On gradient
	// descent along Ritz values of gapless spectra 6 % of all windows had such a
	// hole 4 wide, 2 % one 8 wide and 0.3 % one 16 wide.
	windowRule = rule{empty: 1e-2, upper: 0.5, lower: 0.5, gap: 16}
)

// of is the rule for so many probes. The weights of an eigenvalue over P random
// probes have the mean chi^2_P/(P D), so the same chance of an oversight allows
// thresholds nearer to 1.
func (r rule) of(probes int) rule {
	if probes == 1 {
		return r
	}
	chi := distuv.ChiSquared{K: float64(probes)}
	raise := func(u float64) float64 {
		return chi.Quantile(math.Erf(math.Sqrt(u/2))) / float64(probes)
	}
	return rule{empty: raise(r.empty), upper: raise(r.upper), lower: raise(r.lower), gap: r.gap}
}

// band is a scale with a bracket on either edge.
type band struct {
	// ritz are its Ritz values, largest first.
	ritz []RitzValue
	// outHi bounds it from above, outLo from below: an eigenvalue beyond would
	// have been seen. outHi is +Inf and outLo 0 where none was found.
	outHi, outLo float64
	// gapHi is where the gap below begins, 0 if there is none.
	gapHi float64
	// confidence is that of the gap above.
	confidence float64
}

func (b band) first() RitzValue { return b.ritz[0] }
func (b band) last() RitzValue  { return b.ritz[len(b.ritz)-1] }

func (b band) weight() float64 {
	w := 0.0
	for _, r := range b.ritz {
		w += r.Weight
	}
	return w
}

// resolved reports whether an eigenvalue lies within a quarter of the Ritz
// value. One that wanders through a gap never gets there: it stays as far from
// an eigenvalue as its bound says.
func resolved(r RitzValue) bool { return r.Bound <= r.Value/4 }

// evidence is a spectrum made ready for detection: values divided by a power of
// two so that the largest magnitude is in [1/2, 1), and sorted downwards.
type evidence struct {
	exponent int
	ritz     []RitzValue
	// floor is the rounding error of a Ritz value: values below are noise.
	floor float64
	share float64
	rule  rule
	// mass has one Christoffel function a probe; one for a window.
	mass   []christoffel
	window bool
}

func newEvidence(s Spectrum) evidence {
	e := evidence{ritz: slices.Clone(s.Ritz), window: s.Source == SourceSketch}
	largest := 0.0
	for _, r := range e.ritz {
		largest = max(largest, math.Abs(r.Value))
	}
	e.exponent = exponent(largest)
	// The QL iteration errs by a few units of rounding of |T|, and so does each
	// of the k orthogonalisations.
	e.floor = 4 * roundoff * float64(len(e.ritz)) * math.Ldexp(largest, -e.exponent)
	e.share = 1 / float64(max(1, s.Dimension))
	if s.Dimension == 0 {
		e.share = 1.0 / unknownDimension
	}
	for i := range e.ritz {
		r := &e.ritz[i]
		*r = r.within()
		r.Value = math.Ldexp(r.Value, -e.exponent)
		r.Bound = math.Ldexp(r.Bound, -e.exponent)
	}
	slices.SortStableFunc(e.ritz, func(a, b RitzValue) int { return cmp.Compare(b.Value, a.Value) })
	parts := e.parts()
	probes := len(parts)
	e.rule = quadratureRule.of(probes)
	if e.window {
		e.rule = windowRule
		e.share = 1 / float64(max(1, len(e.ritz)))
	}
	for _, points := range parts {
		for i := range points {
			points[i].Weight *= float64(probes)
			if e.window {
				points[i].Weight = e.share
			}
		}
		e.mass = append(e.mass, newChristoffel(points, e.floor, !e.window))
	}
	return e
}

// parts are the Ritz values by probe. A window is one.
func (e evidence) parts() [][]RitzValue {
	if e.window {
		return [][]RitzValue{slices.Clone(e.ritz)}
	}
	return byProbe(e.ritz)
}

// logMass is the log of the mean weight, over the probes, that an eigenvalue at
// x can have at most.
func (e evidence) logMass(x float64) float64 {
	if len(e.mass) == 1 {
		return e.mass[0].logMass(x)
	}
	top, logs := math.Inf(-1), make([]float64, len(e.mass))
	for i, c := range e.mass {
		logs[i] = c.logMass(x)
		top = max(top, logs[i])
	}
	if math.IsInf(top, 0) {
		return top
	}
	sum := 0.0
	for _, v := range logs {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum/float64(len(logs)))
}

// open reports whether an eigenvalue at x with a weight of u average shares is
// ruled out.
func (e evidence) open(x, u float64) bool { return e.logMass(x) < math.Log(u*e.share) }

// least is the smallest Ritz value, +Inf if there is none.
func (e evidence) least() float64 {
	if len(e.ritz) == 0 {
		return math.Inf(1)
	}
	return e.ritz[len(e.ritz)-1].Value
}

// seen are the Ritz values that stand for an eigenvalue above the floor.
func (e evidence) seen() []RitzValue {
	var out []RitzValue
	for _, r := range e.ritz {
		weight := r.Weight * float64(len(e.mass))
		if r.Value > e.floor && (e.window || weight >= quadratureRule.empty*e.share || resolved(r)) {
			out = append(out, r)
		}
	}
	return out
}

// crossing bisects, in the logarithm, between a point that is not open and one
// that is, to the open end of the last interval.
func (e evidence) crossing(full, empty, u float64) float64 {
	for range 50 {
		middle := math.Sqrt(full) * math.Sqrt(empty)
		if e.open(middle, u) {
			empty = middle
		} else {
			full = middle
		}
	}
	return empty
}

// edge walks from x by growing factors, upwards or downwards, to the first open
// point, and returns where the open stretch begins.
func (e evidence) edge(x, u float64, up bool) (at float64, ok bool) {
	if e.open(x, u) {
		return x, true
	}
	full := x
	for step := 0x1p-12; step < farthest; step *= 2 {
		empty := x * (1 + step)
		if !up {
			empty = x / (1 + step)
		}
		if e.open(empty, u) {
			return e.crossing(full, empty, u), true
		}
		full = empty
	}
	return 0, false
}

// gap looks for the widest open stretch between two neighbouring Ritz values,
// of a ratio of least or more.
func (e evidence) gap(below, above RitzValue, least float64) (lo, hi float64, ok bool) {
	ratio := above.Value / below.Value
	if ratio < least {
		return 0, 0, false
	}
	if e.window && below.Value+below.Bound >= above.Value-above.Bound {
		return 0, 0, false
	}
	const n = 64
	at := func(i int) float64 { return below.Value * math.Pow(ratio, float64(i)/n) }
	begin, end, run := 0, 0, 0
	for i := 1; i < n; i++ {
		if !e.open(at(i), e.rule.empty) {
			run = 0
			continue
		}
		if run++; run > end-begin {
			begin, end = i-run, i
		}
	}
	if end == 0 {
		return 0, 0, false
	}
	lo = e.crossing(at(begin), at(begin+1), e.rule.empty)
	hi = e.crossing(at(end+1), at(end), e.rule.empty)
	return lo, hi, hi >= least*lo
}

// confidence is the probability that an eigenvalue in the middle of the stretch
// would have had a weight that the quadrature rule excludes, its weight being
// chi^2_P/P shares for P probes.
func (e evidence) confidence(lo, hi float64) float64 {
	mass := math.Exp(e.logMass(math.Sqrt(lo)*math.Sqrt(hi))) / e.share
	if p := len(e.mass); p > 1 {
		return distuv.ChiSquared{K: float64(p)}.Survival(mass * float64(p))
	}
	return math.Erfc(math.Sqrt(mass / 2))
}

// bands parts the seen Ritz values at the gaps of a ratio of least or more.
func (e evidence) bands(least float64) []band {
	seen := e.seen()
	if len(seen) == 0 {
		return nil
	}
	top := band{outHi: math.Inf(1), confidence: 1}
	if at, ok := e.edge(seen[0].Value, e.rule.upper, true); ok {
		top.outHi = at
	}
	bands := []band{top}
	for i, r := range seen {
		if i > 0 {
			if lo, hi, ok := e.gap(r, seen[i-1], least); ok {
				bands[len(bands)-1].gapHi = hi
				bands = append(bands, band{outHi: lo, confidence: e.confidence(lo, hi)})
			}
		}
		b := &bands[len(bands)-1]
		b.ritz = append(b.ritz, r)
	}
	for i := range bands {
		if at, ok := e.edge(bands[i].last().Value, e.rule.lower, false); ok {
			bands[i].outLo = at
		}
	}
	return e.drop(bands)
}

// drop leaves out the bands that are not known to hold a positive eigenvalue.
// Where nothing is resolved and the weight is less than an eigenvalue's, a Ritz
// value wanders through a gap; where nothing is resolved and no edge was found
// below, the eigenvalue may be zero, negative, or noise.
func (e evidence) drop(bands []band) []band {
	if e.window {
		return bands
	}
	kept, confidence := bands[:0], 1.0
	for _, b := range bands {
		confidence = min(confidence, b.confidence)
		bracketed := b.outLo > 0 && b.weight() >= e.rule.lower*e.share
		if bracketed || slices.ContainsFunc(b.ritz, resolved) {
			b.confidence = confidence
			kept, confidence = append(kept, b), 1
		}
	}
	return kept
}

// DetectScales groups the positive Ritz values of s into scales, by the empty
// stretches of the log axis between them. It is equivariant: multiplying every
// Value and Bound by c multiplies every edge by c, exactly so for powers of two.
//
// A stretch is empty where no eigenvalue can hide: an eigenvalue at x has a
// weight of at most lambda(x), the Christoffel function of the Ritz values and
// weights, while a random start gives each of the D eigenvalues a weight near
// 1/D. Empty stretches a factor 4 wide or more part scales. So a spectrum
// without gaps shows none however few the products, and a Ritz value that has
// not converged and wanders through a gap, whose weight is small by the same
// bound, is no scale. For [SourceSketch] the weights are taken to be equal, a
// stretch that the intervals Value +- Bound cover is no gap, and a gap is 16 wide
// or more: a window sees only what its gradients have not lost.
//
// Ritz values lie inside the spectrum, so edges are moved outwards. Hi is where
// an eigenvalue with 1e-4 of the average weight would have been seen (half the
// average for [SourceSketch]); while products are few it may be well above the
// stiffest Ritz value. Lo is the geometric mean of the flattest Ritz value and
// the point below which a fifth of the average weight would have been seen (half
// for [SourceSketch]), but no less than the Ritz value over sqrt(2).
//
// Values within rounding of zero, and groups that may be zero, negative or
// noise (Bound > Value/4 throughout and no empty stretch below), are no scales.
func DetectScales(s Spectrum) Scales {
	e := newEvidence(s)
	return e.scales(e.rule.gap)
}

// scales are the bands as they are reported.
func (e evidence) scales(least float64) Scales {
	var out Scales
	if lowest := e.least(); lowest < -e.floor {
		out.Negative = math.Ldexp(lowest, e.exponent)
	}
	for i, b := range e.bands(least) {
		out.Groups = append(out.Groups, Scale{
			Lo:     math.Ldexp(b.lo(), e.exponent),
			Hi:     clampFinite(math.Ldexp(b.hi(), e.exponent)),
			Count:  len(b.ritz),
			Weight: min(1, b.weight()),
		})
		if i > 0 {
			out.Confidence = append(out.Confidence, b.confidence)
		}
	}
	return out
}

// hi is the upper edge reported.
func (b band) hi() float64 {
	if math.IsInf(b.outHi, 1) {
		return b.first().Value + b.first().Bound
	}
	return max(b.outHi, b.first().Value)
}

// lo is the lower edge reported.
func (b band) lo() float64 {
	in := b.last().Value
	return max(math.Sqrt(in*b.outLo), in*math.Sqrt2/2, min(in, b.gapHi))
}

// Settled reports whether further products would move no edge of
// [DetectScales] by more than a share rel > 0 or so. Each edge has a bracket
// of its own, relative to its own size: the last Ritz value of the scale inside
// and the place where an eigenvalue would have been seen outside. All brackets
// must be closed to within rel on either side of the edge reported, and the
// Ritz values at the edges resolved.
func Settled(s Spectrum, rel float64) bool {
	e := newEvidence(s)
	seen, bands := e.seen(), e.bands(e.rule.gap)
	count := 0
	for _, b := range bands {
		count += len(b.ritz)
		if !(b.first().Bound <= b.first().Value/2) || !(b.last().Bound <= b.last().Value/2) ||
			!(b.outHi <= b.first().Value*(1+rel)) ||
			!(b.last().Value <= b.outLo*(1+rel)*(1+rel)) {
			return false
		}
	}
	return count == len(seen) && count > 0
}

// HiddenWeight is the largest weight that an eigenvalue at x > 0 can have, over
// the average weight 1/D, whatever the rest of the spectrum: the Christoffel
// function, in the mean over the probes. A spectrum with such an eigenvalue has
// the same moments as the one at hand, so no method that uses the same products
// tells the two apart. For a random probe the weight of an eigenvalue exceeds
// 0.455 averages in one half of all cases.
func HiddenWeight(s Spectrum, x float64) float64 {
	e := newEvidence(s)
	return math.Exp(e.logMass(math.Ldexp(x, -e.exponent))) / e.share
}
