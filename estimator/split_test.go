package estimator

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// A single scale [1, kappa] takes arcosh((kappa+1)/(kappa-1)) degrees for each
// factor e, and log 2 once.
func TestPredictedCostOfOneScale(t *testing.T) {
	for _, kappa := range []float64{2, 10, 1e4} {
		rate := math.Acosh((kappa + 1) / (kappa - 1))
		want := (1 + math.Ln2/-math.Log(0.01)) / rate
		// Small kappa: a whole degree is more than it needs.
		want = min(want, math.Max(1, (math.Log(2)+math.Log(2))/rate)/math.Log(2), math.Max(1, math.Log(200)/rate)/math.Log(100))
		got := PredictedCost(Scales{Groups: []Scale{{Lo: 3, Hi: 3 * kappa}}})
		if math.Abs(got/want-1) > 1e-9 {
			t.Errorf("kappa %g: %g, want %g", kappa, got, want)
		}
	}
	if got := PredictedCost(Scales{}); !math.IsInf(got, 1) {
		t.Errorf("no scales: %g", got)
	}
}

// SplitScales never predicts more than DetectScales, finds the best of all
// splits to 5 %, and parts nothing that is filled.
func TestSplitScales(t *testing.T) {
	t.Run("against all splits", rapid.MakeCheck(func(t *rapid.T) {
		n := rapid.IntRange(2, 9).Draw(t, "eigenvalues")
		s := Spectrum{Source: SourceLanczos, Dimension: int64(n)}
		x := 1.0
		for range n {
			s.Ritz = append(s.Ritz, RitzValue{Value: x, Weight: 1 / float64(n)})
			x /= math.Pow(10, rapid.Float64Range(0.01, 1.5).Draw(t, "distance"))
		}
		got := SplitScales(s)
		fine := newEvidence(s).scales(leastSplit)
		best := math.Inf(1)
		for mask := range 1 << (len(fine.Groups) - 1) {
			sizes := []int{1}
			for i := range len(fine.Groups) - 1 {
				if mask>>i&1 == 1 {
					sizes = append(sizes, 1)
				} else {
					sizes[len(sizes)-1]++
				}
			}
			best = min(best, PredictedCost(fine.merge(sizes)))
		}
		cost := PredictedCost(got)
		if cost > best*1.05 || cost > PredictedCost(DetectScales(s)) {
			t.Errorf("cost %g, best %g, by gaps of 4 %g", cost, best, PredictedCost(DetectScales(s)))
		}
		checkOrder(t, got)
	}))
	t.Run("filled", func(t *testing.T) {
		for seed := uint64(1); seed <= 5; seed++ {
			d := gapped(rand.New(rand.NewPCG(seed, 1)), scale{1e-3, 1, 400})
			got := SplitScales(lanczos(t, diagonalOperator(d), len(d), 30, seed).Spectrum())
			if len(got.Groups) != 1 {
				t.Errorf("seed %d: %+v", seed, got.Groups)
			}
		}
	})
	t.Run("power law", func(t *testing.T) {
		var d []float64
		for i := range 60 {
			d = append(d, math.Pow(float64(i+1), -3))
		}
		s := lanczos(t, diagonalOperator(d), len(d), 60, 1).Spectrum()
		got, fixed := SplitScales(s), DetectScales(s)
		if cost, before := PredictedCost(got), PredictedCost(fixed); cost > before/2 {
			t.Errorf("%d scales cost %g, %d by gaps of 4 cost %g: want at most half", len(got.Groups), cost, len(fixed.Groups), before)
		}
	})
}

type errorer interface {
	Errorf(format string, args ...any)
}

// checkOrder: scales are disjoint and in order.
func checkOrder(t errorer, s Scales) {
	if len(s.Confidence) != max(0, len(s.Groups)-1) {
		t.Errorf("%d confidences for %d groups", len(s.Confidence), len(s.Groups))
	}
	for i, g := range s.Groups {
		if !(g.Lo > 0 && g.Lo <= g.Hi && g.Hi <= math.MaxFloat64) {
			t.Errorf("scale %d is %+v", i, g)
		}
		if i > 0 && !(s.Groups[i-1].Lo > g.Hi) {
			t.Errorf("scales %+v overlap", s.Groups)
		}
	}
}
