package baseline

import (
	"math"
	"testing"
)

func TestMinMaxOfOneIntervalIsChebyshevs(t *testing.T) {
	const low, high, share = 1e-4, 1.0, 1e-10
	root := math.Sqrt(high / low)
	want := math.Acosh(1e5) / math.Log((root+1)/(root-1))
	if got := MinMax([]Interval{{low, high}}, share); math.Abs(got-want) > 1e-5*want {
		t.Errorf("%g, want %g", got, want)
	}
}

// The intervals -1..-c and c..1 around 1 + c are the preimage of one interval
// under (x-m)^2: two steps there do what one does on the image.
func TestMinMaxOfTwoEqualIntervalsIsThatOfTheirSquare(t *testing.T) {
	for _, c := range []float64{0.5, 0.99} {
		const centre = 1.05
		image := Interval{c * c, 1}
		// The image of 0 is centre^2; the Green function of [c^2, 1] there.
		z := (2*centre*centre - image.Low - image.High) / (image.High - image.Low)
		want := 2 * math.Acosh(1e5) / math.Acosh(z)
		got := MinMax([]Interval{{centre - 1, centre - c}, {centre + c, centre + 1}}, 1e-10)
		if math.Abs(got-want) > 1e-4*want {
			t.Errorf("c %g: %g, want %g", c, got, want)
		}
	}
}

// A union is as hard as its hull at most and as any of its members at least.
func TestMinMaxIsMonotone(t *testing.T) {
	three := []Interval{{1e-6, 4e-6}, {1e-3, 4e-3}, {1, 4}}
	all := MinMax(three, 1e-10)
	hull, part := MinMax([]Interval{{1e-6, 4}}, 1e-10), MinMax(three[:2], 1e-10)
	if !(part < all && all < hull/5) {
		t.Errorf("two scales %g, three %g, their hull %g", part, all, hull)
	}
	t.Logf("three scales: %.0f", all)
}
