package estimator

import (
	"math"
	deep "reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawSpectrum draws Ritz values over eight decades, all of one age.
func drawWindowSpectrum(t *rapid.T, name string) Spectrum {
	s := Spectrum{Source: SourceSketch, Products: rapid.IntRange(0, 50).Draw(t, name+" products")}
	age := rapid.Int64Range(0, 1000).Draw(t, name+" age")
	for range rapid.IntRange(0, 8).Draw(t, name+" values") {
		value := math.Pow(10, rapid.Float64Range(-8, 0).Draw(t, name+" value"))
		s.Ritz = append(s.Ritz, RitzValue{Value: value, Weight: 0.1, Bound: value * rapid.Float64Range(0, 0.2).Draw(t, name+" bound"), Age: age})
	}
	slices.SortStableFunc(s.Ritz, func(a, b RitzValue) int { return compareDescending(a.Value, b.Value) })
	if s.Known() {
		s.Stiffest = s.Ritz[0].Value
	}
	return s
}

func compareDescending(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

func TestMergeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawWindowSpectrum(t, "a"), drawWindowSpectrum(t, "b"), drawWindowSpectrum(t, "c")
		m := Merge(a, b, c)
		if other := Merge(c, Spectrum{}, b, a); !deep.DeepEqual(m, other) {
			t.Fatalf("the order of arguments matters:\n%+v\n%+v", m, other)
		}
		if again := Merge(a, a); a.Known() && !deep.DeepEqual(again.Ritz, a.Ritz) {
			t.Fatalf("merged with itself %+v becomes %+v", a, again)
		}
		if !slices.IsSortedFunc(m.Ritz, func(x, y RitzValue) int { return compareDescending(x.Value, y.Value) }) {
			t.Fatalf("not in order: %+v", m.Ritz)
		}
		youngest := int64(math.MaxInt64)
		for _, s := range []Spectrum{a, b, c} {
			for _, r := range s.Ritz {
				youngest = min(youngest, r.Age)
				if m.Stiffest < 0 || !covered(r, m.Ritz) {
					t.Fatalf("%+v is lost from %+v", r, m)
				}
			}
		}
		for _, r := range m.Ritz {
			if r.Value > m.Stiffest {
				t.Fatalf("value %v beyond the stiffest, %v", r.Value, m.Stiffest)
			}
			if r.Age > youngest && r.Weight != 0 {
				t.Fatalf("an old value with weight: %+v", r)
			}
		}
	})
}

func TestNewerEvidenceOutweighsOlder(t *testing.T) {
	window := Spectrum{Source: SourceSketch, Stiffest: 1.2, Ritz: []RitzValue{{Value: 1.2, Weight: 1, Bound: 0.01}}}
	products := Spectrum{Source: SourceLanczos, Stiffest: 1.15, Products: 12, Ritz: []RitzValue{{Value: 1.15, Weight: 0.5}, {Value: 1e-3, Weight: 0.5}}}
	m := Merge(products.Aged(100), window)
	want := []RitzValue{{Value: 1.2, Weight: 1, Bound: 0.01}, {Value: 1e-3, Age: 100}}
	if !deep.DeepEqual(m.Ritz, want) || m.Source != SourceSketch || m.Products != 12 {
		t.Errorf("%+v, want Ritz values %+v", m, want)
	}
}
