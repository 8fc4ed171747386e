package estimator

import (
	"math"
	"slices"
)

// edgeReach is the exponent of the edge's extrapolation from the two outermost
// Ritz values of a scale. The outermost nodes of a k-point Gauss rule lie
// j_1^2/(2k^2) and j_2^2/(2k^2) half-widths inside, so the edge is
// theta_1 + c (theta_1 - theta_2) with c = j_1^2/(j_2^2 - j_1^2): 0.234 for a
// density that ends in a step (zeros of J_0, Szego, section 8.1), 1/8 for one
// that grows like an arcsine's. This is the middle.
const edgeReach = 0.18

// evenWeight is the average weight, as a multiple of itself.
const evenWeight = 1

// Edge is one edge of a scale: 0 <= Least <= Estimate <= Most.
type Edge struct {
	// Estimate is where the outermost eigenvalue is expected.
	Estimate float64
	// Least and Most bracket it: on the inner side the outermost Ritz value, or
	// its residual bound further in, where an eigenvalue is sure to lie; on the
	// outer side the point beyond which an eigenvalue would have been seen (its
	// weight is fainter with a probability of 1/125). A lower edge whose outer
	// side is open begins at 0.
	Least, Most float64
}

// Edges are those of one scale.
type Edges struct {
	Low, High Edge
}

// ScaleEdges estimates the edges of the scales of [DetectScales], in its order,
// and brackets them. Scale.Lo and Scale.Hi are made for planning, where an
// oversight at the upper edge makes a cycle diverge and one at the lower edge
// is merely slow; these are what the eigenvalues are.
//
// A Ritz value at the edge of a filled stretch lies inside by an amount that
// its distance to the next one tells ([edgeReach]). Independently, the
// Christoffel function falls below the average weight just outside the
// outermost eigenvalue. The estimate is the geometric mean of the first and of
// the second's own mean with the Ritz value; both go to zero as the Ritz value
// converges.
func ScaleEdges(s Spectrum) []Edges {
	e := newEvidence(s)
	var out []Edges
	for i, b := range e.bands(e.rule.gap) {
		edges := Edges{Low: e.lowEdge(b), High: e.highEdge(b, i == 0)}
		for _, edge := range []*Edge{&edges.Low, &edges.High} {
			edge.Least = math.Ldexp(edge.Least, e.exponent)
			edge.Most = clampFinite(math.Ldexp(edge.Most, e.exponent))
			edge.Estimate = clampFinite(math.Ldexp(edge.Estimate, e.exponent))
		}
		out = append(out, edges)
	}
	return out
}

// highEdge: the stiffest Ritz value of all lies below an eigenvalue (Rayleigh);
// others have one within their bound.
func (e evidence) highEdge(b band, stiffest bool) Edge {
	r := b.first()
	edge := Edge{Least: max(0, r.Value-r.Bound), Most: b.hi()}
	if stiffest && !e.window {
		edge.Least = r.Value
	}
	edge.Estimate = min(max(e.extrapolate(b, true), edge.Least), edge.Most)
	return edge
}

func (e evidence) lowEdge(b band) Edge {
	r := b.last()
	edge := Edge{Most: r.Value + r.Bound}
	if at, ok := e.edge(r.Value, e.rule.upper, false); ok {
		edge.Least = min(at, r.Value)
	}
	edge.Estimate = min(max(e.extrapolate(b, false), edge.Least), edge.Most)
	return edge
}

// extrapolate estimates the upper or lower edge of a band.
func (e evidence) extrapolate(b band, up bool) float64 {
	inner := b.last().Value
	if up {
		inner = b.first().Value
	}
	outside := func(u, most float64) float64 {
		at, ok := e.edge(inner, u, up)
		if !ok {
			return most
		}
		if up {
			return min(at, most)
		}
		return max(at, most)
	}
	farthest := inner / 2
	if up {
		farthest = inner * 2
	}
	reach := outside(e.rule.lower, b.spaced(up))
	if up == (reach < inner) {
		reach = inner
	}
	even := outside(evenWeight, farthest)
	return math.Sqrt(reach) * math.Sqrt(math.Sqrt(inner)*math.Sqrt(even))
}

// spaced is the edge that the distance of the two outermost Ritz values of a
// probe tells, in the geometric mean over the probes with two in the band.
func (b band) spaced(up bool) float64 {
	ritz := slices.Clone(b.ritz)
	if !up {
		slices.Reverse(ritz)
	}
	outer, paired := map[int]float64{}, map[int]bool{}
	sum := 0.0
	for _, r := range ritz {
		first, seen := outer[r.Probe]
		switch {
		case !seen:
			outer[r.Probe] = r.Value
		case !paired[r.Probe]:
			paired[r.Probe] = true
			sum += math.Log(first) + edgeReach*math.Log(first/r.Value)
		}
	}
	if len(paired) == 0 {
		return ritz[0].Value
	}
	return math.Exp(sum / float64(len(paired)))
}
