package estimator

import (
	"cmp"
	"math"
	"slices"
)

// sameValue is the relative distance up to which Ritz values of different
// evidence count as the same eigenvalue where their bounds are tighter: between
// two estimates the Hessian has moved.
const sameValue = 0.1

// Aged is the spectrum so many steps after it was made.
func (s Spectrum) Aged(steps int64) Spectrum {
	s.Ritz = slices.Clone(s.Ritz)
	for i := range s.Ritz {
		s.Ritz[i].Age += max(steps, 0)
	}
	return s
}

// Merge joins spectra of one run into one, newer evidence outweighing older. Of
// the youngest spectrum everything is kept. A Ritz value of another counts where
// nothing younger lies within its bound, the younger one's, or a tenth of its
// value: it is what the younger evidence does not see, such as a flat scale that
// has left the window. Its weight is then 0, since nothing is known of the
// present gradient along it; its Age says how old it is. Where two are of the
// same age the tighter bounds go first. Spectra that know nothing change
// nothing, and the order of the arguments does not matter.
func Merge(spectra ...Spectrum) Spectrum {
	known := slices.DeleteFunc(slices.Clone(spectra), func(s Spectrum) bool { return !s.Known() })
	if len(known) == 0 {
		return Spectrum{}
	}
	slices.SortStableFunc(known, compareEvidence)
	merged := known[0]
	merged.Ritz = slices.Clone(merged.Ritz)
	for _, older := range known[1:] {
		younger := len(merged.Ritz)
		for _, r := range older.Ritz {
			if !covered(r, merged.Ritz[:younger]) {
				r.Weight, r.Probe = 0, 0
				merged.Ritz = append(merged.Ritz, r)
				merged.Stiffest = max(merged.Stiffest, r.Value)
			}
		}
		merged.Products += older.Products
		merged.Dimension = max(merged.Dimension, older.Dimension)
	}
	slices.SortStableFunc(merged.Ritz, func(a, b RitzValue) int { return cmp.Compare(b.Value, a.Value) })
	return merged
}

// compareEvidence puts the spectrum with the youngest Ritz value first, of equals
// the one with the tightest, and then by whatever differs.
func compareEvidence(a, b Spectrum) int {
	least := func(s Spectrum, of func(RitzValue) float64) float64 {
		m := math.Inf(1)
		for _, r := range s.Ritz {
			m = min(m, of(r))
		}
		return m
	}
	for _, of := range []func(RitzValue) float64{
		func(r RitzValue) float64 { return float64(r.Age) },
		func(r RitzValue) float64 { return r.Bound },
		func(r RitzValue) float64 { return r.Value },
	} {
		if c := cmp.Compare(least(a, of), least(b, of)); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(len(b.Ritz), len(a.Ritz)), cmp.Compare(a.Source, b.Source), cmp.Compare(b.Stiffest, a.Stiffest))
}

func covered(r RitzValue, by []RitzValue) bool {
	return slices.ContainsFunc(by, func(s RitzValue) bool {
		return math.Abs(r.Value-s.Value) <= max(r.Bound, s.Bound, sameValue*math.Abs(r.Value))
	})
}
