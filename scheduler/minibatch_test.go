package scheduler

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// stochastic descends sum lambda (x - z)^2/2 over batches z of its own, with
// momentum as in torch.optim.SGD.
type stochastic struct {
	lambda, x, v, z []float64
	random          *rand.Rand
	cfg             Config
	holds           bool // honours wishes to hold a batch
	step            int64
	held            bool
	sharpness       float64 // multiplies all curvature
}

func newStochastic(cfg Config) *stochastic {
	s := &stochastic{
		lambda: []float64{10, 5, 1, 0.5, 0.1}, x: []float64{1, 1, 1, 1, 1},
		v: make([]float64, 5), z: make([]float64, 5),
		random: rand.New(rand.NewPCG(7, 7)), holds: true, sharpness: 1,
	}
	cfg.MiniBatch, cfg.FallbackRate, cfg.SketchDimension, cfg.HasLossBound = true, 1e-3, 5, true
	s.cfg = cfg
	return s
}

func (s *stochastic) observe() Observation {
	if !s.held {
		for i := range s.z {
			s.z[i] = 0.1 * s.random.NormFloat64()
		}
	}
	o := Observation{
		Step: s.step, GradientDotPrevious: math.NaN(), ParameterNorm: math.NaN(), AppliedRate: math.NaN(),
		SameBatch: s.held, Sketch: make([]float32, len(s.x)),
	}
	for i, l := range s.lambda {
		g := s.sharpness * l * (s.x[i] - s.z[i])
		o.Sketch[i] = float32(g)
		o.Loss += g * (s.x[i] - s.z[i]) / 2
		o.GradientNormSquared += g * g
	}
	return o
}

func (s *stochastic) apply(o Observation, d Decision) {
	for i, g := range o.Sketch {
		g := float64(g)
		s.v[i] = s.cfg.Momentum*s.v[i] + g
		u := s.v[i]
		if s.cfg.Nesterov {
			u = g + s.cfg.Momentum*s.v[i]
		}
		s.x[i] -= d.Rate * u
	}
	s.step++
	s.held = s.holds && d.HoldBatch > 0
}

func (s *stochastic) run(t *testing.T, c *Controller, steps int) (last Decision) {
	t.Helper()
	for range steps {
		o := s.observe()
		last = mustObserve(t, c, o)
		s.apply(o, last)
	}
	return last
}

func TestMiniBatchRatesFollowTheSharpness(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		rate float64 // times the sharpness of 10
	}{
		{"plain", Config{}, 1},
		{"heavy ball", Config{Momentum: 0.9}, math.Pow(0.1, 2.0/3)},
		{"Nesterov", Config{Momentum: 0.9, Nesterov: true}, math.Pow(0.1, 2.0/3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStochastic(c.cfg)
			controller := mustController(t, s.cfg)
			d := s.run(t, controller, 400)
			if d.Reason != ReasonPlanned || d.Scale != 0 {
				t.Errorf("after 400 steps: %+v", d)
			}
			// A burst may miss half of the sharpness, and nothing exceeds it but by
			// rounding.
			if low, high := 0.99*c.rate/10, 2*c.rate/10; d.Rate < low || d.Rate > high {
				t.Errorf("rate %v, want %v to %v", d.Rate, low, high)
			}
			// At eight times the curvature the loss outgrows its bound once.
			s.sharpness = 8
			d = s.run(t, controller, 6*burstPeriod)
			if low, high := 0.99*c.rate/80/2, 2*c.rate/80; d.Rate < low || d.Rate > high {
				t.Errorf("rate %v at eight times the curvature, want %v to %v", d.Rate, low, high)
			}
		})
	}
}

// The first held batch finds the order of the rate: its loss falls as promised at
// each step, so rates double until half of the limit; other batches then get half
// of that, and rise slowly.
func TestHeldBatchesRaiseTheRateFast(t *testing.T) {
	s := newStochastic(Config{})
	for i := range s.lambda {
		s.lambda[i] /= 100 // far below what the trainer's own rate serves
	}
	c := mustController(t, s.cfg)
	var rates []float64
	for range firstPairs + 2 {
		o := s.observe()
		d := mustObserve(t, c, o)
		s.apply(o, d)
		rates = append(rates, d.Rate)
	}
	for i := 2; i <= firstPairs; i++ {
		if rates[i] != heldGrowth*rates[i-1] {
			t.Errorf("rate %d on the held batch is %v after %v", i, rates[i], rates[i-1])
		}
	}
	if got, want := rates[firstPairs+1], heldShare*ceilingGrowth*rates[firstPairs]; math.Abs(got/want-1) > 1e-12 {
		t.Errorf("rate on the next batch is %v, want %v", got, want)
	}
}

// Where noise limits the rate, a sharpness that has fallen lengthens no step.
func TestNoiseKeepsTheSharpness(t *testing.T) {
	for _, c := range []struct {
		name   string
		cosine float64
		falls  bool
	}{{"signal", 0.5, true}, {"noise", 0, false}} {
		controller := mustController(t, newStochastic(Config{}).cfg)
		b := &controller.s.Bursts
		b.Seen, b.Sharpness, b.Provisional, b.Cosine = settledBursts, 10, 1, c.cosine
		b.Shortest = controller.sharpRate(10)
		controller.endBurst()
		if fell := b.Sharpness < 10; fell != c.falls {
			t.Errorf("%s: sharpness %v after a burst that showed a tenth", c.name, b.Sharpness)
		}
	}
}

// Early steps several times too long drive the loss above the first one. One
// halving does not do then.
func TestBlownLossesHalveUntilTheyFall(t *testing.T) {
	s := newStochastic(Config{})
	c := mustController(t, s.cfg)
	before := s.run(t, c, firstPairs+2).Rate
	blown := 5 * c.s.First
	const alarms = 4
	for range alarms * (blownCalm + 1) {
		o := s.observe()
		o.Loss = blown
		s.apply(o, mustObserve(t, c, o))
	}
	after := c.s.Bursts.Ceiling
	if most := before * math.Pow(0.5, alarms) * math.Pow(ceilingGrowth, alarms*(blownCalm+1)); after > most {
		t.Errorf("the ceiling is %v, want at most %v after a rate of %v", after, most, before)
	}
}

func TestMiniBatchRatesFallOverAKnownHorizon(t *testing.T) {
	rateAt := func(step int, horizon int64) float64 {
		s := newStochastic(Config{Horizon: horizon})
		return s.run(t, mustController(t, s.cfg), step).Rate
	}
	early, late, beyond := rateAt(200, 1000), rateAt(900, 1000), rateAt(1200, 1000)
	if !(early > 5*late) || !(late > beyond) || !(beyond > 0) {
		t.Errorf("rates %v, %v and %v", early, late, beyond)
	}
}

// Short steps leave nothing of the gradient along the stiffest direction. What
// bursts then miss must not lengthen the rate.
func TestShortStepsDoNotLowerTheSharpness(t *testing.T) {
	s := newStochastic(Config{Horizon: 1000})
	c := mustController(t, s.cfg)
	s.run(t, c, 500)
	before := c.s.Bursts.Sharpness
	s.run(t, c, 500)
	if after := c.s.Bursts.Sharpness; after < before*sharpnessMemory*0.999 {
		t.Errorf("sharpness %v at half the horizon, %v at its end", before, after)
	}
}

func TestTrainersThatHoldNoBatchKeepTheirRate(t *testing.T) {
	for _, c := range []struct {
		name     string
		sketches bool
	}{{"declines", true}, {"sends no sketch", false}} {
		s := newStochastic(Config{})
		s.holds = false
		controller := mustController(t, s.cfg)
		for range 100 {
			o := s.observe()
			if !c.sketches {
				o.Sketch = nil
			}
			d := mustObserve(t, controller, o)
			if o.Step > 0 && (d.Rate != 1e-3 || d.Reason != ReasonFallback) {
				t.Fatalf("%s, step %d: %+v", c.name, o.Step, d)
			}
			if !c.sketches && d.HoldBatch > 0 {
				t.Fatalf("%s: asked to hold a batch", c.name)
			}
			s.step++
		}
	}
}

// The policy constant keeps the trainer's rate while it is stable.
func TestConstantMiniBatchRatesAreCapped(t *testing.T) {
	for _, own := range []float64{1e-3, 10} {
		s := newStochastic(Config{Policy: PolicyConstant})
		s.cfg.FallbackRate = own
		d := s.run(t, mustController(t, s.cfg), 200)
		if d.Rate > own || d.Rate > 0.2 || own == 1e-3 && d.Rate != own {
			t.Errorf("own rate %v: %+v", own, d)
		}
	}
}

// A step that was not reported makes the momentum unknown; no pair is believed
// until it is forgotten.
func TestMissedStepsSpoilNoPair(t *testing.T) {
	s := newStochastic(Config{Momentum: 0.9})
	c := mustController(t, s.cfg)
	for range 600 {
		o := s.observe()
		d := mustObserve(t, c, o)
		s.apply(o, d)
		if s.step%37 == 0 { // a step that the service never hears of
			s.held = false
			s.apply(s.observe(), Decision{Rate: 0.05})
		}
		if shown := c.s.Bursts.Provisional; shown > 10.1 {
			t.Fatalf("step %d: sharpness %v, want up to 10", s.step, shown)
		}
	}
}

// A loss beyond noise halves the rate, once for as long as it lasts: then the
// data has changed.
func TestOutgrownLossesHalveMiniBatchRates(t *testing.T) {
	for _, c := range []struct {
		name string
		held bool
	}{{"of a fresh batch", false}, {"of a held batch", true}} {
		t.Run(c.name, func(t *testing.T) {
			s := newStochastic(Config{})
			controller := mustController(t, s.cfg)
			before := s.run(t, controller, 300)
			for s.held != c.held {
				before = s.run(t, controller, 1)
			}
			for range burstPeriod {
				o := s.observe()
				o.Loss += 1e6
				s.apply(o, mustObserve(t, controller, o))
			}
			// One burst has shown less than that since.
			if ratio := s.run(t, controller, 1).Rate / before.Rate; ratio < 0.499 || ratio > 0.501/sharpnessMemory {
				t.Errorf("the rate is %v of that before", ratio)
			}
		})
	}
}

// Learning a held batch by heart says nothing of the others.
func TestNoisyLossesDoNotHalveMiniBatchRates(t *testing.T) {
	s := newStochastic(Config{})
	controller := mustController(t, s.cfg)
	s.run(t, controller, 100)
	for range 2000 {
		o := s.observe()
		o.Loss = math.Exp(0.2 * s.random.NormFloat64())
		if s.held {
			o.Loss = 0.1
		}
		d := mustObserve(t, controller, o)
		if controller.s.Bursts.Calm == 0 {
			t.Fatalf("step %d: alarm at a loss of %v, mean %v", o.Step, o.Loss, controller.s.Bursts.Smooth)
		}
		s.apply(o, d)
	}
}

func TestMiniBatchStateIsWhole(t *testing.T) {
	s := newStochastic(Config{Momentum: 0.9, Nesterov: true, Horizon: 500})
	c := mustController(t, s.cfg)
	restored := mustController(t, s.cfg)
	for range 150 {
		o := s.observe()
		want, got := mustObserve(t, c, o), mustObserve(t, restored, o)
		if got.Rate != want.Rate || got.HoldBatch != want.HoldBatch {
			t.Fatalf("step %d: %+v restored, %+v otherwise", o.Step, got, want)
		}
		data, err := c.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if restored, err = UnmarshalController(data); err != nil {
			t.Fatalf("step %d: %v", o.Step, err)
		}
		s.apply(o, want)
	}
}

func TestMiniBatchConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{
		{MiniBatch: true},
		{Momentum: 0.9},
		{Nesterov: true},
		{MiniBatch: true, FallbackRate: 1, Momentum: 1},
		{MiniBatch: true, FallbackRate: 1, Momentum: -0.1},
		{MiniBatch: true, FallbackRate: 1, Momentum: math.NaN()},
	} {
		if _, err := NewController(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
