package estimator

import (
	"cmp"
	"math"
	"slices"
)

const (
	// memoryResolution is the least ratio between two sightings: an eighth of a
	// decade.
	memoryResolution = 1.33
	// memorySize bounds the sightings, eight decades at that resolution.
	memorySize = 64
	// resolvedSighting is the largest bound, relative to the value, of a Ritz value
	// worth remembering.
	resolvedSighting = 0.1
	// driftMemory is the weight of the drift so far against one more measurement.
	driftMemory = 0.9
	// leastConfidence is that below which a sighting is forgotten.
	leastConfidence = 0.05
)

// Sighting is a positive eigenvalue that a window has shown.
type Sighting struct {
	// Value and Bound are those of the Ritz value when last seen, at Step.
	Value, Bound float64
	Step         int64
	// Times counts how often it was seen, at most once for each update.
	Times int
}

// Memory keeps the scales that windows have shown after their directions have
// left the window. The zero Memory is empty. Exported fields are the stored form.
type Memory struct {
	// Sightings are a third of their value or more apart, largest first.
	Sightings []Sighting
	// Drift is the mean change of the largest Ritz value from one step to the
	// next, as a logarithm.
	Drift float64
	// Largest is that value when last measured, at Step. 0: never.
	Largest float64
	Step    int64
}

// Update takes the resolved Ritz values of a spectrum in, made at a step later
// than those before. A younger value takes the place of all that lie within a
// third of it.
func (m *Memory) Update(s Spectrum, step int64) {
	var fresh []Sighting
	for _, r := range s.Ritz { // largest first
		if !(r.Value > 0) || !(r.Bound <= resolvedSighting*r.Value) {
			continue
		}
		if n := len(fresh); n > 0 && fresh[n-1].Value < memoryResolution*r.Value {
			continue
		}
		fresh = append(fresh, Sighting{Value: r.Value, Bound: r.Bound, Step: step, Times: 1})
	}
	if len(fresh) == 0 {
		return
	}
	m.measureDrift(fresh[0].Value, step)
	kept := slices.DeleteFunc(slices.Clone(m.Sightings), func(old Sighting) bool {
		for i := range fresh {
			if ratio := old.Value / fresh[i].Value; ratio < memoryResolution && ratio > 1/memoryResolution {
				fresh[i].Times = max(fresh[i].Times, old.Times+1)
				return true
			}
		}
		return m.confidence(old, step) < leastConfidence
	})
	m.Sightings = append(kept, fresh...)
	slices.SortStableFunc(m.Sightings, func(a, b Sighting) int { return cmp.Compare(b.Value, a.Value) })
	for len(m.Sightings) > memorySize {
		oldest := 0
		for i, g := range m.Sightings {
			if g.Step < m.Sightings[oldest].Step {
				oldest = i
			}
		}
		m.Sightings = slices.Delete(m.Sightings, oldest, oldest+1)
	}
}

func (m *Memory) measureDrift(largest float64, step int64) {
	if m.Largest > 0 && step > m.Step {
		change := math.Abs(math.Log(largest/m.Largest)) / float64(step-m.Step)
		m.Drift = driftMemory*m.Drift + (1-driftMemory)*change
	}
	m.Largest, m.Step = largest, step
}

// confidence falls with the bound, with few sightings, and by a factor e for
// each factor of two that curvature drifts in the mean since.
func (m *Memory) confidence(g Sighting, step int64) float64 {
	return (1 - g.Bound/g.Value) * (1 - math.Ldexp(1, -min(g.Times, 60))) * math.Exp(-m.Staleness(step-g.Step))
}

// Staleness is how far curvature has drifted in the mean over so many steps, as
// a logarithm to base two: at 1 it may have doubled or halved.
func (m *Memory) Staleness(steps int64) float64 { return m.Drift * float64(max(steps, 0)) / math.Ln2 }

// Confidence is that in sighting i at a later step, in [0, 1].
func (m *Memory) Confidence(i int, step int64) float64 { return m.confidence(m.Sightings[i], step) }

// Spectrum is the memory as evidence for [Merge]: values with their age, whose
// bounds have grown with the drift, without weights.
func (m *Memory) Spectrum(step int64) Spectrum {
	if len(m.Sightings) == 0 {
		return Spectrum{}
	}
	s := Spectrum{Source: SourceSketch, Residual: 1, Stiffest: m.Sightings[0].Value}
	for _, g := range m.Sightings {
		age := max(step-g.Step, 0)
		moved := g.Value * math.Expm1(min(m.Drift*float64(age), 1))
		s.Ritz = append(s.Ritz, RitzValue{Value: g.Value, Bound: g.Bound + moved, Age: age})
	}
	return s
}

// EstimatePays tells whether a spectrum from Hessian-vector products is worth
// making again: curvature has drifted by more than scales are resolved to since,
// and the products, two gradients each, are at most a tenth of the steps since.
func (m *Memory) EstimatePays(age int64, products int) bool {
	const share = 10
	return m.Drift*float64(age) > math.Log(1+sameValue) && 2*share*int64(products) <= age
}
