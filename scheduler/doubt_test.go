package scheduler

import (
	"math"
	"testing"

	"multirate/estimator"
)

// A spectrum ten times too stiff costs the policy constant little: told the truth,
// told ten times too much, and left to 1/L itself, descent on two eigenvalues.
func TestConstantDoubtsCurvatureThatNeverShows(t *testing.T) {
	lambda := []float64{1, 0.01}
	honest := descendConstant(t, lambda, 1)
	deceived := descendConstant(t, lambda, 10)
	// The constant rate 1/L takes log(1e-6)/(2 log(1 - 0.01)) = 687 steps.
	if want := 688; honest > want {
		t.Errorf("told the truth: %d steps, want at most %d", honest, want)
	}
	if most := 2 * 688; deceived > most {
		t.Errorf("told ten times too much: %d steps, want at most %d", deceived, most)
	}
}

// descendConstant is the number of steps to a millionth of the loss, which must
// never exceed its start.
func descendConstant(t *testing.T, lambda []float64, lie float64) int {
	t.Helper()
	config := Config{Policy: PolicyConstant, HasLossBound: true}
	spectrum := estimator.Spectrum{Source: estimator.SourceLanczos, Dimension: int64(len(lambda)), Stiffest: lie * lambda[0]}
	for _, l := range lambda {
		spectrum.Ritz = append(spectrum.Ritz, estimator.RitzValue{Value: lie * l, Weight: 1 / float64(len(lambda))})
	}
	plan, err := NewPlan(config, spectrum)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewController(config)
	if err != nil {
		t.Fatal(err)
	}
	c.Adopt(plan)
	x := []float64{1, 10}
	first := 0.0
	for n := range 20_000 {
		loss, square := 0.0, 0.0
		for i, l := range lambda {
			loss += l * x[i] * x[i] / 2
			square += l * l * x[i] * x[i]
		}
		if n == 0 {
			first = loss
		}
		if loss > first {
			t.Fatalf("step %d: loss %g above its start %g", n, loss, first)
		}
		if loss < 1e-6*first {
			return n
		}
		d, err := c.Observe(Observation{
			Step: int64(n), Loss: loss, GradientNormSquared: square, SameBatch: true,
			GradientDotPrevious: math.NaN(), ParameterNorm: math.NaN(), AppliedRate: math.NaN(),
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range lambda {
			x[i] -= d.Rate * l * x[i]
		}
	}
	t.Fatal("20,000 steps were not enough")
	return 0
}
