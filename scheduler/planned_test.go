package scheduler

import (
	"math"
	"testing"

	"multirate/estimator"
)

// A power law has few gaps of 4 and many lesser ones. The plan uses them: no
// plan costs more than by gaps of 4 alone, and a steep law's costs at most two thirds.
func TestPlansSplitPowerLaws(t *testing.T) {
	for _, policy := range []Policy{PolicyChebyshev, PolicyMrGD} {
		for _, exponent := range []float64{1, 1.5, 2, 2.5} {
			s := estimator.Spectrum{Source: estimator.SourceLanczos, Dimension: 40}
			for i := range 40 {
				s.Ritz = append(s.Ritz, estimator.RitzValue{Value: math.Pow(float64(i+1), -exponent), Weight: 1.0 / 40})
			}
			p, err := NewPlan(Config{Policy: policy}, s)
			if err != nil {
				t.Fatal(err)
			}
			fixed, err := bestCycle(policy, p.scales)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v, exponent %g: cost %.3g, by gaps of 4 alone %.3g", policy, exponent, p.cycle.Cost(), fixed.Cost())
			if p.cycle.Cost() > fixed.Cost() || policy == PolicyChebyshev && exponent >= 1.5 && p.cycle.Cost() > fixed.Cost()/1.5 {
				t.Errorf("%v, exponent %g: cost %g, by gaps of 4 alone %g", policy, exponent, p.cycle.Cost(), fixed.Cost())
			}
			if err := p.cycle.validate(len(p.scales.Groups)); err != nil {
				t.Errorf("%v, exponent %g: %v", policy, exponent, err)
			}
		}
	}
}
