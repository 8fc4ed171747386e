package estimator

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func seen(values ...float64) Spectrum {
	s := Spectrum{Source: SourceSketch}
	for _, v := range values {
		s.Ritz = append(s.Ritz, RitzValue{Value: v, Bound: 0.01 * v})
	}
	return s
}

func TestMemoryKeepsAScaleThatHasLeftTheWindow(t *testing.T) {
	var m Memory
	m.Update(seen(1, 1e-4), 10)
	for step := int64(20); step <= 200; step += 10 {
		m.Update(seen(1), step)
	}
	s := m.Spectrum(210)
	if len(s.Ritz) != 2 || s.Ritz[1].Value != 1e-4 || s.Ritz[1].Age != 200 || s.Ritz[0].Age != 10 {
		t.Fatalf("%+v, want 1 of age 10 and 1e-4 of age 200", s.Ritz)
	}
	if stiff, flat := m.Confidence(0, 210), m.Confidence(1, 210); !(stiff > flat) || !(flat > 0.4) {
		t.Errorf("confidences %v and %v: no drift was seen, and 1 was seen often", stiff, flat)
	}
}

// Where the largest curvature doubles every ten steps, what was seen a hundred
// steps ago says nothing.
func TestMemoryForgetsAsCurvatureDrifts(t *testing.T) {
	var m Memory
	m.Update(seen(1, 1e-4), 0)
	for step := int64(10); step <= 300; step += 10 {
		m.Update(seen(math.Exp2(float64(step)/10)), step)
	}
	for _, g := range m.Sightings {
		if g.Value == 1e-4 {
			t.Errorf("still remembered: %+v, drift %v", g, m.Drift)
		}
	}
	if want := math.Ln2 / 10; math.Abs(m.Drift-want) > 0.1*want {
		t.Errorf("drift %v a step, want about %v", m.Drift, want)
	}
	if got := m.Staleness(10); math.Abs(got-1) > 0.1 {
		t.Errorf("staleness %v after the curvature has doubled, want 1", got)
	}
}

func TestMemoryIgnoresWhatIsNotResolved(t *testing.T) {
	var m Memory
	m.Update(Spectrum{Ritz: []RitzValue{{Value: 1, Bound: 0.5}, {Value: -1}}}, 0)
	if len(m.Sightings) != 0 {
		t.Errorf("%+v", m)
	}
}

func TestAnEstimatePaysOnceCurvatureHasDrifted(t *testing.T) {
	drifting := Memory{Drift: 1e-3}
	for _, c := range []struct {
		age      int64
		products int
		want     bool
	}{
		{10, 12, false},    // as good as new
		{200, 12, false},   // 24 gradients in 200 steps are more than a tenth
		{300, 12, true},    // drifted by 30 %
		{300, 40, false},   // too dear
		{10_000, 40, true}, // it is time
	} {
		if got := drifting.EstimatePays(c.age, c.products); got != c.want {
			t.Errorf("%d steps, %d products: %v", c.age, c.products, got)
		}
	}
	if (&Memory{}).EstimatePays(1e9, 1) {
		t.Error("an estimate pays though nothing drifts")
	}
}

func TestMemoryStaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Memory
		step := int64(0)
		for range rapid.IntRange(1, 30).Draw(t, "updates") {
			step += rapid.Int64Range(1, 50).Draw(t, "steps")
			m.Update(drawWindowSpectrum(t, "window"), step)
			if len(m.Sightings) > memorySize || !(m.Drift >= 0) || !finite(m.Drift) {
				t.Fatalf("%+v", m)
			}
			for i, g := range m.Sightings {
				if c := m.Confidence(i, step+100); !(c >= 0 && c <= 1) {
					t.Fatalf("confidence %v in %+v", c, g)
				}
				if i > 0 && m.Sightings[i-1].Value < g.Value {
					t.Fatalf("not in order: %+v", m.Sightings)
				}
			}
		}
	})
}
