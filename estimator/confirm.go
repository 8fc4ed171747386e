package estimator

import (
	"cmp"
	"math"
	"slices"
)

// maxGeneration is the number of runs in a row that may inherit a spectrum: what
// lies between the edges is then as old as that.
const maxGeneration = 8

// confirmWithin is the number of products from random vectors within which a
// spectrum is confirmed or not: what takes longer has changed too much.
const confirmWithin = 32

// confirm reports whether the spectrum that the kept vectors come from still
// holds, up to movements of its edges, and if so makes it that of the run.
func (l *Lanczos) confirm(rel float64) bool {
	w := l.warm
	if w == nil || w.partial {
		return false
	}
	if w.confirmed != nil {
		return true
	}
	if n := l.order() - w.count(); n < 1 || n > confirmWithin || w.from.generation >= maxGeneration {
		return false
	}
	values, vectors := l.ritzVectors()
	now, coordinates, ok := w.match(values, vectors, rel)
	if !ok || !within(values, now, rel) || !l.guarded(2*maxAbs(tops(now))) {
		return false
	}
	w.confirmed = coordinates
	l.spectrum = w.from.moved(now)
	l.spectrum.Products = l.Steps()
	return true
}

func tops(ritz []RitzValue) []float64 {
	out := make([]float64, len(ritz))
	for i, r := range ritz {
		out[i] = r.Value
	}
	return out
}

// match finds what each kept vector has become: the Ritz vector that holds more
// than half of it. Their residuals must be no larger than they were by more than
// rel of their values, and their order as it was.
func (w *warm) match(values []RitzValue, vectors [][]float64, rel float64) (now []RitzValue, coordinates [][]float64, ok bool) {
	for j := range w.count() {
		i := slices.IndexFunc(vectors, func(y []float64) bool { return y[j]*y[j] > 0.5 })
		if i < 0 || !(values[i].Bound <= w.from.spectrum.Ritz[w.from.ritz[j]].Bound+rel*math.Abs(values[i].Value)) {
			return nil, nil, false
		}
		now, coordinates = append(now, values[i]), append(coordinates, vectors[i])
	}
	for i, a := range w.from.ritz {
		for j, b := range w.from.ritz {
			if a < b && !(now[i].Value > now[j].Value) {
				return nil, nil, false
			}
		}
	}
	return now, coordinates, true
}

// within reports whether no Ritz value lies beyond the outermost of the edges.
// Ritz values lie inside the spectrum, so one that does is news.
func within(ritz, edges []RitzValue, rel float64) bool {
	hi, lo := 0.0, 0.0
	for _, e := range edges {
		hi, lo = max(hi, e.Value), min(lo, e.Value)
	}
	for _, r := range ritz {
		if r.Value > hi*(1+rel) || r.Value+r.Bound < lo*(1+rel) {
			return false
		}
	}
	return true
}

// guarded reports whether an eigenvalue at x would have been seen by the part of
// the run that began at a random vector, which is a Lanczos run on the operator
// without the kept vectors.
func (l *Lanczos) guarded(x float64) bool {
	n, first := l.order(), l.warm.count()
	e, err := tridiagonal{diag: l.diag[first:], off: l.off[first : n-1]}.eigen(nil)
	if err != nil {
		return false
	}
	ritz, exp := make([]RitzValue, n-first), exponent(l.scale)
	for i, v := range e.values {
		ritz[i] = RitzValue{
			Value:  math.Ldexp(v, -exp),
			Weight: e.weight(i),
			Bound:  math.Ldexp(l.off[n-1]*e.last(i), -exp),
		}
	}
	mass := newChristoffel(ritz, 4*roundoff*float64(len(ritz)), true)
	return mass.logMass(math.Ldexp(x, -exp)) < math.Log(quadratureRule.upper/float64(l.dim))
}

// moved is the spectrum with the kept Ritz values where they are now. Those
// between two of them move in proportion, on the logarithmic axis where both are
// positive; their bounds grow by the larger of the two movements. Those outside
// all of them move with the nearest.
func (v *RitzVectors) moved(now []RitzValue) Spectrum {
	order := make([]int, len(v.ritz))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(v.ritz[i], v.ritz[j]) })
	s := v.spectrum
	old := s.Ritz
	s.Ritz = slices.Clone(old)
	for i := range s.Ritz {
		next := slices.IndexFunc(order, func(j int) bool { return v.ritz[j] >= i })
		if next >= 0 && v.ritz[order[next]] == i {
			s.Ritz[i].Value, s.Ritz[i].Bound = now[order[next]].Value, now[order[next]].Bound
			continue
		}
		if next < 0 {
			next = len(order) // below all of them
		}
		above, below := order[max(0, next-1)], order[min(next, len(order)-1)]
		a, b := old[v.ritz[above]].Value, old[v.ritz[below]].Value
		s.Ritz[i].Value = interpolate(old[i].Value, a, b, now[above].Value, now[below].Value)
		moved := max(math.Abs(now[above].Value-a), math.Abs(now[below].Value-b))
		s.Ritz[i].Bound = clampFinite(old[i].Bound + moved)
	}
	slices.SortStableFunc(s.Ritz, func(a, b RitzValue) int { return cmp.Compare(b.Value, a.Value) })
	s.Stiffest = stiffest(s.Ritz)
	return s
}

// interpolate maps x in [b, a] to [toB, toA].
func interpolate(x, a, b, toA, toB float64) float64 {
	switch {
	case a > 0 && x > 0 && toA > 0 && a == b:
		return x / a * toA
	case b > 0 && toB > 0 && a > b:
		t := math.Log(x/b) / math.Log(a/b)
		return toB * math.Pow(toA/toB, t)
	case a > b:
		return toB + (toA-toB)*((x-b)/(a-b))
	default:
		return x + toA - a
	}
}
