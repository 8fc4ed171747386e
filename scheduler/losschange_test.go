package scheduler

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A float32 mean over many samples, far above its fall, hides what each step
// gains; the schedule must not suffer from it.
func TestRoundedLossesDoNotStallTheSchedule(t *testing.T) {
	exact := func(loss float64) float64 { return loss }
	random := rand.New(rand.NewPCG(1, 2))
	rounded := func(loss float64) float64 { return float64(float32(loss * (1 + 2e-7*random.NormFloat64()))) }
	const budget = 3000
	for _, tier := range []struct {
		name               string
		sketches, products bool
		lambda             []float64
	}{
		{"sketches", true, false, threeScales(30)},
		{"inner products", false, true, []float64{1, 0.5, 0.1, 0.02}},
		{"norms alone", false, false, []float64{1, 0.5, 0.1, 0.02}},
	} {
		t.Run(tier.name, func(t *testing.T) {
			count := func(round func(float64) float64) int {
				tr := newTrainer(3, tier.lambda...)
				tr.sketches, tr.products = tier.sketches, tier.products
				cfg := tr.config()
				cfg.HasLossBound = false
				c := mustController(t, cfg)
				first := tr.loss()
				offset := 100 * first
				for n := range budget {
					if tr.loss() < 1e-9*first {
						return n
					}
					o := tr.observe()
					o.Loss = round(offset + o.Loss)
					tr.apply(mustObserve(t, c, o).Rate)
				}
				return budget
			}
			want, got := count(exact), count(rounded)
			if want == budget || got > 2*want {
				t.Errorf("%d steps with exact losses, %d with rounded ones", want, got)
			}
		})
	}
}

func TestLossChange(t *testing.T) {
	tests := []struct {
		name        string
		before, now float64
		norm, inner float64 // |g|^2 before, <g, g'>; the step has rate 1
		want        float64
	}{
		{"beyond the losses' precision they decide", 1, 0.9, 1e-3, 0, -0.1 + 1e-6*0.9},
		{"within it the gradients do", 1, 1 + 5e-8, 1e-8, 0, -0.5e-8},
		{"gradients that agree too well don't promise more than the losses allow", 1, 1, 1, 1, -1e-6},
		{"a rise that the gradients show", 1, 1, 1e-8, -2e-8, 0.5e-8},
		{"no inner product", 1, 1.25, 1, math.NaN(), 0.25},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := mustController(t, Config{})
			c.s.Started = true
			c.s.Last = step{Rate: 1, Loss: tt.before, NormSquared: tt.norm}
			o := Observation{Loss: tt.now, AppliedRate: 1, GradientNormSquared: tt.norm, GradientDotPrevious: tt.inner}
			if got := c.lossChange(o, true); math.Abs(got-tt.want) > 1e-12 {
				t.Errorf("%v, want %v", got, tt.want)
			}
			if got := c.lossChange(o, false); !math.IsNaN(got) {
				t.Errorf("unlinked: %v, want NaN", got)
			}
		})
	}
}

func TestDisplacementsGrowWithPredictionsThatHold(t *testing.T) {
	const length = 3 // of the last step
	tests := []struct {
		name              string
		predicted, change float64
		want              float64
	}{
		{"exact, as on a quadratic", -1, -1, mostTrustGrowth * length},
		{"two thousandths off", -1, -0.998, 5 * length},
		{"two thousandths off the other way", -1, -1.002, 5 * length},
		{"half off", -1, -0.5, leastTrustGrowth * length},
		{"far better than predicted is wrong as well", -1, -9, leastTrustGrowth * length},
		{"the loss rose", -1, 0.1, 0},
		{"a rise was predicted", 1, -1, 0},
		{"no prediction", math.NaN(), -1, 0},
		{"no change known", -1, math.NaN(), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := mustController(t, Config{})
			c.s.Last = step{Rate: 0.5, NormSquared: 4 * length * length, Predicted: tt.predicted}
			c.extendTrust(Observation{AppliedRate: 0.5}, tt.change)
			if got := c.s.Trusted; math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("trusted %v, want %v", got, tt.want)
			}
		})
	}
}

// A trainer that caps a rate, or went on before it was there, took another step
// than the one advised; the model that made the prediction has one for it, too.
func TestAppliedRatesAreJudgedByTheirOwnPrediction(t *testing.T) {
	const norm, curvature, advised = 6.0, 3.0, 0.5
	predicted := func(rate float64) float64 { return (-rate + rate*rate*curvature/2) * norm * norm }
	for _, applied := range []float64{0.5, 0.4, 1e-3} {
		c := mustController(t, Config{})
		c.s.Last = step{Rate: advised, NormSquared: norm * norm, Predicted: predicted(advised)}
		o := Observation{AppliedRate: applied}
		c.extendTrust(o, (1-leastMisprediction/5)*predicted(applied))
		if want := 5 * applied * norm; math.Abs(c.s.Trusted-want) > 1e-6*want {
			t.Errorf("rate %v, a fifth of the tolerance off: trusted %v, want %v", applied, c.s.Trusted, want)
		}
		if !c.judge(o, 1e-3) {
			t.Errorf("rate %v: the loss rose against the prediction, and nothing came of it", applied)
		}
		if want := applied * norm / 2; math.Abs(c.s.Radius/want-1) > 0.5 {
			t.Errorf("rate %v: radius %v after the rise, want %v or half of it", applied, c.s.Radius, want)
		}
	}
	for _, none := range []step{{}, {Rate: 0.5}, {Rate: 0.5, NormSquared: 1, Predicted: math.NaN()}, {NormSquared: 1}} {
		if got := none.predictedAt(0.25); !math.IsNaN(got) {
			t.Errorf("%+v predicts %v, want nothing", none, got)
		}
	}
}

// After a fall of less than half of what was predicted the next displacement is no
// longer than the last; the trust region shrinks only where the loss rose.
func TestDisplacementsHoldAfterAPoorFall(t *testing.T) {
	const length = 3 // of the last step
	for _, tt := range []struct{ change, want float64 }{
		{-1, math.Inf(1)}, {-0.6, math.Inf(1)}, {-0.4, length}, {0.5, length / 2.0}, {1.5, length / 4.0},
	} {
		c := mustController(t, Config{})
		c.s.Last = step{Rate: 0.5, NormSquared: 4 * length * length, Predicted: -1}
		c.judge(Observation{AppliedRate: 0.5}, tt.change)
		if c.s.Radius != tt.want {
			t.Errorf("change %v of -1 predicted: radius %v, want %v", tt.change, c.s.Radius, tt.want)
		}
	}
}
