package baseline

import (
	"math"
	"reflect"
	"testing"
)

// The best constant rate on eigenvalues in [mu, L] is 2/(mu + L); the grid's
// factor is 10^(1/4), so its winner lies within that of it. Here it is 1.98:
// 10^(1/4) is next below, and 10^(1/2) diverges.
func TestBestConstantRateIsThatOfTheory(t *testing.T) {
	q := even(20, 100)
	best, all := Best(GradientDescent(), q, below(1e-8), 5000, nil)
	alone := GradientDescent().Run(q, Setting{Rate: math.Pow(10, 0.25) / Curvature(q)}, below(1e-8), 5000)
	if !best.Reached || best.Setting != alone.Setting || best.Gradients != alone.Gradients {
		t.Errorf("best of %d is %s, %d gradients; theory says %s, %d",
			len(all), best.Setting, best.Gradients, alone.Setting, alone.Gradients)
	}
}

func TestBestRunsAreTheSameEveryTime(t *testing.T) {
	for _, m := range append(Methods(), ConjugateGradients(), ConjugateGradientsExact()) {
		q := even(12, 300)
		var seen []Result
		best, all := Best(m, q, below(1e-6), 2000, func(r Result) { seen = append(seen, r) })
		again, allAgain := Best(m, q, below(1e-6), 2000, nil)
		if !reflect.DeepEqual(best, again) || !reflect.DeepEqual(all, allAgain) {
			t.Errorf("%s: a second search differs", m.Name)
		}
		if !reflect.DeepEqual(seen, all) {
			t.Errorf("%s: %d runs told of %d", m.Name, len(seen), len(all))
		}
		if !best.Reached {
			t.Errorf("%s: best %s ends by %v", m.Name, best.Setting, best.End)
		}
	}
}

// No run may cost more than what is needed to tell that it has lost.
func TestBestGivesUpOnBeatenSettings(t *testing.T) {
	best, all := Best(HeavyBall(), even(20, 1000), below(1e-8), 3000, nil)
	reached, beaten := 3001, 0
	for i, r := range all {
		if r.Gradients >= reached {
			t.Errorf("run %d (%s) spent %d after %d was reached", i, r.Setting, r.Gradients, reached)
		}
		if r.Reached {
			reached = r.Gradients
		}
		if r.End == EndBeaten {
			beaten++
		}
	}
	if reached != best.Gradients || beaten == 0 {
		t.Errorf("best %d, last reached %d, beaten %d", best.Gradients, reached, beaten)
	}
}

// At 1e3 the bowl's curvature is 1e-9, at its minimum 1: the best rate is nine
// decades below the middle of the first grid.
func TestGridIsExtendedTowardsItsWinner(t *testing.T) {
	best, _ := Best(GradientDescent(), bowl{[]float64{1e3, -900}}, below(1e-6), 3000, nil)
	if !best.Reached || best.Peak > 2 {
		t.Errorf("%s: %d gradients, %v", best.Setting, best.Gradients, best.End)
	}
	// And upwards: Adam's first grid ends at 10, the minimum lies 1e5 away.
	far := quadratic{[]float64{1, 1}, []float64{1e5, 1e5}}
	best, _ = Best(Adam(), far, below(1e6), 300, nil)
	if !best.Reached || best.Setting == "rate 10" {
		t.Errorf("%s: %d gradients, %v", best.Setting, best.Gradients, best.End)
	}
}

func TestBestOfFailuresHasTheLowestLoss(t *testing.T) {
	best, all := Best(Nesterov(), even(20, 1e6), never, 50, nil)
	if best.Reached {
		t.Error("reached what cannot be")
	}
	for _, r := range all {
		if r.Final < best.Final {
			t.Errorf("%s ends at %g, best %s at %g", r.Setting, r.Final, best.Setting, best.Final)
		}
	}
}

func TestOutwardsVisitsEachPositionOnce(t *testing.T) {
	if got := (Axis{First: -2, Last: 2}).outwards(); !reflect.DeepEqual(got, []int{0, 1, -1, 2, -2}) {
		t.Error(got)
	}
	if got := (Axis{First: 3, Last: 6}).outwards(); !reflect.DeepEqual(got, []int{4, 5, 3, 6}) {
		t.Error(got)
	}
}
