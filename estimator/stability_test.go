package estimator

import (
	"math"
	"testing"
)

func TestStability(t *testing.T) {
	of := func(edges ...float64) (s Scales) {
		for i := 0; i < len(edges); i += 2 {
			s.Groups = append(s.Groups, Scale{Lo: edges[i], Hi: edges[i+1]})
		}
		return s
	}
	for _, c := range []struct {
		name    string
		latest  Scales
		earlier []Scales
		want    []float64
	}{
		{"nothing earlier", of(1, 4), nil, nil},
		{"the same", of(1, 4, 1e-3, 1e-3), []Scales{of(1, 4, 1e-3, 1e-3)}, []float64{1, 1}},
		{"nothing found earlier", of(1, 4), []Scales{of()}, []float64{0}},
		{"one gone", of(1, 4, 1e-3, 4e-3), []Scales{of(1, 4)}, []float64{1, 0}},
		// Ends widened by 1.05: half of [1, e^2m r^2] is common.
		{"half of it", of(1, 16), []Scales{of(1, 4)}, []float64{(math.Log(4) + 2*math.Log(1.05)) / (math.Log(16) + 2*math.Log(1.05))}},
		{"mean of two", of(1, 4), []Scales{of(1, 4), of(100, 100)}, []float64{0.5}},
		{"beyond all bounds", of(math.MaxFloat64, math.MaxFloat64), []Scales{of(5e-324, math.MaxFloat64)}, []float64{2 * math.Log(1.05) / (math.Log(math.MaxFloat64) - math.Log(5e-324) + 2*math.Log(1.05))}},
	} {
		got := Stability(c.latest, c.earlier...)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
			continue
		}
		for i, v := range got {
			if math.Abs(v-c.want[i]) > 1e-12 {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
	}
}

// Two runs from different start vectors agree on scales that are there.
func TestStabilityOfTwoRuns(t *testing.T) {
	d := []float64{}
	for i := range 40 {
		d = append(d, 1+float64(i)/20, 1e-4*(1+float64(i)/20))
	}
	of := func(seed uint64) Scales {
		return DetectScales(lanczos(t, diagonalOperator(d), 80, 50, seed).Spectrum())
	}
	for i, v := range Stability(of(1), of(2), of(3)) {
		if v < 0.9 {
			t.Errorf("scale %d: %v", i, v)
		}
	}
}
