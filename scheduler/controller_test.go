package scheduler

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"multirate/estimator"
)

// trainer descends the quadratic sum lambda x^2/2 at the rates of a controller.
type trainer struct {
	lambda, x []float64
	scale     float64 // of the loss
	step      int64
	previous  []float64
	sketches  bool
	products  bool // send inner products
}

func newTrainer(seed uint64, lambda ...float64) *trainer {
	r := rand.New(rand.NewPCG(seed, 31))
	x := make([]float64, len(lambda))
	for i, l := range lambda {
		x[i] = r.NormFloat64() / math.Sqrt(math.Abs(l))
	}
	return &trainer{lambda: lambda, x: x, scale: 1, sketches: true}
}

func (t *trainer) loss() float64 {
	f := 0.0
	for i, l := range t.lambda {
		f += l * t.x[i] * t.x[i] / 2
	}
	return f * t.scale
}

func (t *trainer) observe() Observation {
	o := Observation{
		Step: t.step, Loss: t.loss(), GradientDotPrevious: math.NaN(),
		ParameterNorm: math.NaN(), AppliedRate: math.NaN(), SameBatch: true,
	}
	g := make([]float64, len(t.x))
	row := make([]float32, len(t.x))
	dot := 0.0
	for i, l := range t.lambda {
		g[i] = t.scale * l * t.x[i]
		row[i] = float32(g[i])
		o.GradientNormSquared += g[i] * g[i]
		if t.previous != nil {
			dot += g[i] * t.previous[i]
		}
	}
	if t.sketches {
		o.Sketch = row
	}
	if t.products && t.previous != nil {
		o.GradientDotPrevious = dot
	}
	t.previous = g
	return o
}

func (t *trainer) apply(rate float64) {
	for i, l := range t.lambda {
		t.x[i] -= rate * t.scale * l * t.x[i]
	}
	t.step++
}

func (t *trainer) config() Config {
	return Config{SketchDimension: len(t.lambda), HasLossBound: true}
}

func mustController(t testing.TB, cfg Config) *Controller {
	t.Helper()
	c, err := NewController(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustObserve(t testing.TB, c *Controller, o Observation) Decision {
	t.Helper()
	d, err := c.Observe(o)
	if err != nil {
		t.Fatalf("step %d: %v", o.Step, err)
	}
	if !finite(d.Rate) || d.Rate < 0 {
		t.Fatalf("step %d: rate %v", o.Step, d.Rate)
	}
	return d
}

// run trains until the loss is `share` of the first, and returns the steps
// taken and the peak.
func run(t testing.TB, c *Controller, tr *trainer, share float64, budget int) (steps int, peak float64) {
	t.Helper()
	first := tr.loss()
	for steps = range budget {
		if tr.loss() <= share*first {
			return steps, peak
		}
		tr.apply(mustObserve(t, c, tr.observe()).Rate)
		peak = max(peak, tr.loss()/first)
	}
	t.Fatalf("loss is %v of the first after %d steps", tr.loss()/first, budget)
	return 0, 0
}

// scales returns n eigenvalues per scale, spread over a factor of 4, each scale
// a thousandth of the one before.
func threeScales(n int) []float64 {
	var l []float64
	for s := range 3 {
		for i := range n {
			l = append(l, math.Pow(1e-3, float64(s))*math.Pow(4, float64(i)/float64(n-1)))
		}
	}
	return l
}

// Gradient descent at the best constant rate needs about kappa/4 log(1/share) =
// 1e6 log(1e6) steps here: the schedule must be a different kind of thing.
func TestSketchesGiveTheMultirateSchedule(t *testing.T) {
	for _, policy := range []Policy{PolicyAdaptive, PolicyMrGD, PolicyChebyshev} {
		t.Run(policy.String(), func(t *testing.T) {
			for seed := uint64(1); seed <= 3; seed++ {
				tr := newTrainer(seed, threeScales(8)...)
				cfg := tr.config()
				cfg.Policy = policy
				steps, peak := run(t, mustController(t, cfg), tr, 1e-6, 6000)
				if peak > 2 {
					t.Errorf("seed %d: peak %v in %d steps", seed, peak, steps)
				}
			}
		})
	}
}

func TestConstantPolicyIsTheStabilityLimit(t *testing.T) {
	tr := newTrainer(1, 8, 2, 1)
	cfg := tr.config()
	cfg.Policy = PolicyConstant
	c := mustController(t, cfg)
	run(t, c, tr, 1e-6, 300)
	rate := mustObserve(t, c, tr.observe()).Rate
	// 1/8, less the margin for what the span did not hold in the first steps.
	if rate > 1/8.0*(1+1e-3) || rate < 1/32.0 {
		t.Errorf("rate %v for a stiffest curvature of 8", rate)
	}
}

func TestScalarsGiveASafeRate(t *testing.T) {
	for _, products := range []bool{true, false} {
		tr := newTrainer(2, 10, 3, 1)
		tr.sketches, tr.products = false, products
		c := mustController(t, tr.config())
		steps, peak := run(t, c, tr, 1e-8, 400)
		if peak > 1 {
			t.Errorf("inner products %v: peak %v in %d steps", products, peak, steps)
		}
	}
}

func TestWithoutALossOnlySafeRatesAreServed(t *testing.T) {
	tr := newTrainer(3, threeScales(6)...)
	c := mustController(t, tr.config())
	for range 100 {
		o := tr.observe()
		o.Loss = math.NaN()
		d := mustObserve(t, c, o)
		if d.Reason == ReasonPlanned {
			t.Fatalf("step %d: planned rate without a loss", o.Step)
		}
		tr.apply(d.Rate)
	}
	if tr.loss() > newTrainer(3, threeScales(6)...).loss() {
		t.Errorf("loss rose to %v", tr.loss())
	}
}

// A plan from sketches takes over from one from products, for good: its scales
// are others. The state stays whole throughout.
func TestSketchesSupersedeProducts(t *testing.T) {
	lambda := threeScales(6)
	tr := newTrainer(3, lambda...)
	cfg := tr.config()
	cfg.Policy = PolicyChebyshev
	c := mustController(t, cfg)
	if err := adopt(c, exactSpectrum(lambda)); err != nil {
		t.Fatal(err)
	}
	for i := range 120 {
		tr.sketches = i >= 40 && i < 80
		tr.apply(mustObserve(t, c, tr.observe()).Rate)
		data, err := c.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if c, err = UnmarshalController(data); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if len(c.s.Cycle.Rates) > 0 {
		t.Error("the cycle from products outlived sketches")
	}
}

func TestWithoutALossNoCycleIsServed(t *testing.T) {
	lambda := threeScales(6)
	tr := newTrainer(3, lambda...)
	tr.sketches = false
	cfg := tr.config()
	cfg.Policy = PolicyChebyshev
	c := mustController(t, cfg)
	if err := adopt(c, exactSpectrum(lambda)); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		o := tr.observe()
		o.Loss = math.NaN()
		if d := mustObserve(t, c, o); d.Reason == ReasonPlanned || len(d.Upcoming) > 0 {
			t.Fatalf("step %d: planned rates without a loss: %+v", o.Step, d)
		} else {
			tr.apply(d.Rate)
		}
	}
	if d := mustObserve(t, c, tr.observe()); d.Reason != ReasonPlanned {
		t.Errorf("with a loss again: %+v", d)
	}
}

func TestSpectrumFromProductsIsServedOpenLoop(t *testing.T) {
	lambda := threeScales(10)
	for _, policy := range []Policy{PolicyMrGD, PolicyChebyshev} {
		tr := newTrainer(4, lambda...)
		tr.sketches = false
		cfg := tr.config()
		cfg.Policy = policy
		c := mustController(t, cfg)
		if err := adopt(c, exactSpectrum(lambda)); err != nil {
			t.Fatal(err)
		}
		steps, peak := run(t, c, tr, 1e-10, 6000)
		if peak > 1.05 {
			t.Errorf("%v: peak %v in %d steps", policy, peak, steps)
		}
	}
}

func adopt(c *Controller, s estimator.Spectrum) error {
	p, err := NewPlan(c.Config(), s)
	if err == nil {
		c.Adopt(p)
	}
	return err
}

func exactSpectrum(lambda []float64) estimator.Spectrum {
	s := estimator.Spectrum{Source: estimator.SourceLanczos, Dimension: int64(len(lambda)), Products: len(lambda)}
	for _, l := range lambda {
		s.Ritz = append(s.Ritz, estimator.RitzValue{Value: l, Weight: 1 / float64(len(lambda))})
		s.Stiffest = max(s.Stiffest, l)
	}
	for i := range s.Ritz { // largest first
		for j := i; j > 0 && s.Ritz[j].Value > s.Ritz[j-1].Value; j-- {
			s.Ritz[j], s.Ritz[j-1] = s.Ritz[j-1], s.Ritz[j]
		}
	}
	return s
}

func TestUpcomingRatesAreThoseServedLater(t *testing.T) {
	lambda := threeScales(10)
	tr := newTrainer(5, lambda...)
	tr.sketches = false
	cfg := tr.config()
	cfg.Policy = PolicyChebyshev
	asked, ahead := mustController(t, cfg), mustController(t, cfg)
	for _, c := range []*Controller{asked, ahead} {
		if err := adopt(c, exactSpectrum(lambda)); err != nil {
			t.Fatal(err)
		}
	}
	var upcoming []float64
	for range 300 {
		o := tr.observe()
		want := mustObserve(t, asked, o).Rate
		if len(upcoming) == 0 {
			d := mustObserve(t, ahead, o)
			upcoming = append([]float64{d.Rate}, d.Upcoming...)
		}
		if upcoming[0] != want {
			t.Fatalf("step %d: %v ahead, %v asked", o.Step, upcoming[0], want)
		}
		upcoming = upcoming[1:]
		tr.apply(want)
	}
}

// A spectrum that is wrong by a factor of ten either way may cost steps, never
// the run.
func TestWrongSpectrumIsAbandoned(t *testing.T) {
	lambda := threeScales(10)
	for _, factor := range []float64{0.1, 10} {
		wrong := make([]float64, len(lambda))
		for i, l := range lambda {
			wrong[i] = l * factor
		}
		tr := newTrainer(6, lambda...)
		tr.sketches, tr.products = false, true
		cfg := tr.config()
		cfg.Policy = PolicyChebyshev
		c := mustController(t, cfg)
		if err := adopt(c, exactSpectrum(wrong)); err != nil {
			t.Fatal(err)
		}
		first := tr.loss()
		for range 3000 {
			tr.apply(mustObserve(t, c, tr.observe()).Rate)
		}
		if !(tr.loss() < first) {
			t.Errorf("factor %v: loss %v of the first", factor, tr.loss()/first)
		}
		if factor < 1 && len(c.s.Cycle.Rates) > 0 {
			t.Errorf("factor %v: the cycle is still served", factor)
		}
	}
}

// At rates of 2/L for the true L the stiffest mode neither falls nor grows: the
// loss alone would never refute a spectrum told to be half as stiff.
func TestHalfTheStiffnessIsRefuted(t *testing.T) {
	tr := newTrainer(6, 2, 1.5, 1e-3)
	tr.sketches = false
	cfg := tr.config()
	cfg.Policy = PolicyMrGD
	c := mustController(t, cfg)
	if err := adopt(c, exactSpectrum([]float64{1, 0.75, 5e-4})); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		tr.apply(mustObserve(t, c, tr.observe()).Rate)
	}
	if !c.s.Refuted {
		t.Error("the spectrum still stands")
	}
}

// Without sketches nothing tells whether a long step is still safe, so the
// adaptive policy starts from the stiffest scale's rate and goes on by scalars.
func TestAdaptiveStartsFromTheStiffestScale(t *testing.T) {
	lambda := threeScales(10)
	tr := newTrainer(5, lambda...)
	tr.sketches = false
	c := mustController(t, tr.config())
	if err := adopt(c, exactSpectrum(lambda)); err != nil {
		t.Fatal(err)
	}
	first := tr.loss()
	for i := range 300 {
		d := mustObserve(t, c, tr.observe())
		if i == 0 && math.Abs(d.Rate-0.25) > 1e-9 { // the stiffest scale is [1, 4]
			t.Fatalf("first rate %v", d.Rate)
		}
		if d.EstimateWanted {
			t.Fatalf("step %d: another estimate is wanted, which nothing would come of", i)
		}
		tr.apply(d.Rate)
		if tr.loss() > first {
			t.Fatalf("step %d: loss %v of the first", i, tr.loss()/first)
		}
	}
}

// A cycle multiplies what lies along negative curvature by prod_j (1 + rate_j
// |lambda|), which must stay within the growth that the run allows. The scale at
// 1e-3 needs rates of nearly 1e3 in all.
func TestNegativeCurvatureLimitsTheScalesServed(t *testing.T) {
	for _, c := range []struct{ negative, longest float64 }{
		{-1e-5, 1e3}, {-1e-2, 1}, {-10, 0}, // 0: no cycle
	} {
		lambda := []float64{4, 1, 1e-3, c.negative}
		cfg := Config{Policy: PolicyChebyshev}
		plan, err := NewPlan(cfg, exactSpectrum(lambda))
		if err != nil {
			t.Fatal(err)
		}
		longest := slices.Max(append([]float64{0}, plan.cycle.Rates...))
		if got := plan.cycle.amplification(c.negative); got > 2 && len(plan.cycle.Rates) > 1 {
			t.Errorf("eigenvalue %v is multiplied by %v", c.negative, got)
		}
		if longest > c.longest*1.01 || longest < c.longest/2 {
			t.Errorf("eigenvalue %v: longest rate %v, want about %v", c.negative, longest, c.longest)
		}
	}
}

// What the loss regains after a peak is no gain that a plan may spend.
func TestAPeakIsNoGain(t *testing.T) {
	tr := newTrainer(9, threeScales(6)...)
	c := mustController(t, tr.config())
	for range 60 {
		tr.apply(mustObserve(t, c, tr.observe()).Rate)
	}
	before := c.s.Reference
	mustObserve(t, c, tr.observe())
	const blunder = 1e5 // far beyond 2/4
	tr.apply(blunder)
	for first := true; tr.loss() > 2*before; first = false {
		o := tr.observe()
		if first {
			o.AppliedRate = blunder
		}
		if d := mustObserve(t, c, o); d.Reason != ReasonRecovery {
			t.Fatalf("loss %v, limit %v: %+v", tr.loss(), 2*before, d)
		} else {
			tr.apply(d.Rate)
		}
		if c.s.Reference > before {
			t.Fatalf("reference rose from %v to %v", before, c.s.Reference)
		}
	}
}

// Where safe steps don't bring the loss back, it stands at a new level.
func TestALastingRiseIsAccepted(t *testing.T) {
	tr := newTrainer(9, threeScales(6)...)
	c := mustController(t, tr.config())
	for range 20 {
		tr.apply(mustObserve(t, c, tr.observe()).Rate)
	}
	for i := range c.Config().Window + 2 {
		o := tr.observe()
		o.Loss += 1e6
		d := mustObserve(t, c, o)
		if last := i == c.Config().Window+1; (d.Reason == ReasonRecovery) == last {
			t.Errorf("step %d after the rise: %+v", i, d)
		}
		tr.apply(d.Rate)
	}
}

// With the gradient gone for a step there is no displacement to shrink.
func TestRecoveryNeverClosesTheTrustRegion(t *testing.T) {
	tr := newTrainer(9, 1, 0.5)
	c := mustController(t, tr.config())
	for range 5 {
		tr.apply(mustObserve(t, c, tr.observe()).Rate)
	}
	c.s.Last.Rate = 0
	o := tr.observe()
	o.Loss = 1e6
	if d := mustObserve(t, c, o); d.Reason != ReasonRecovery || d.Rate == 0 || c.s.Radius == 0 {
		t.Errorf("%+v, radius %v", d, c.s.Radius)
	}
}

func TestMaxRateIsKept(t *testing.T) {
	tr := newTrainer(9, threeScales(6)...)
	cfg := tr.config()
	cfg.MaxRate = 2
	c := mustController(t, cfg)
	limited := false
	for range 200 {
		d := mustObserve(t, c, tr.observe())
		if d.Rate > 2 {
			t.Fatalf("rate %v", d.Rate)
		}
		limited = limited || d.Guard == GuardMaxRate
		tr.apply(d.Rate)
	}
	if !limited {
		t.Error("the guard was never named")
	}
}

// Multiplying the loss by c divides every rate by c, exactly for powers of two.
func TestRatesAreScaleEquivariant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		c := math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t, "exponent"))
		one, scaled := newTrainer(seed, threeScales(4)...), newTrainer(seed, threeScales(4)...)
		scaled.scale = c
		a, err := NewController(one.config())
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewController(scaled.config())
		if err != nil {
			t.Fatal(err)
		}
		for step := range 60 {
			da, err := a.Observe(one.observe())
			if err != nil {
				t.Fatal(err)
			}
			db, err := b.Observe(scaled.observe())
			if err != nil {
				t.Fatal(err)
			}
			if db.Rate*c != da.Rate {
				t.Fatalf("step %d: rate %v, of %v times the loss %v", step, da.Rate, c, db.Rate)
			}
			one.apply(da.Rate)
			scaled.apply(db.Rate)
		}
	})
}

func TestRefusedObservationsLeaveNoTrace(t *testing.T) {
	tr := newTrainer(10, threeScales(4)...)
	c := mustController(t, tr.config())
	for range 30 {
		tr.apply(mustObserve(t, c, tr.observe()).Rate)
	}
	before, err := c.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		spoil func(*Observation)
		want  error
	}{
		"negative step":       {func(o *Observation) { o.Step = -1 }, ErrStepOrder},
		"same step":           {func(o *Observation) { o.Step-- }, ErrStepOrder},
		"infinite loss":       {func(o *Observation) { o.Loss = math.Inf(1) }, ErrNotFinite},
		"undefined norm":      {func(o *Observation) { o.GradientNormSquared = math.NaN() }, ErrNotFinite},
		"negative norm":       {func(o *Observation) { o.GradientNormSquared = -1 }, ErrNotFinite},
		"infinite product":    {func(o *Observation) { o.GradientDotPrevious = math.Inf(-1) }, ErrNotFinite},
		"negative rate":       {func(o *Observation) { o.AppliedRate = -1 }, ErrNotFinite},
		"short sketch":        {func(o *Observation) { o.Sketch = o.Sketch[1:] }, ErrSketchDimension},
		"undefined in sketch": {func(o *Observation) { o.Sketch[3] = float32(math.NaN()) }, ErrNotFinite},
		"below the bound":     {func(o *Observation) { o.Loss = -1 }, ErrBelowBound},
	} {
		o := tr.observe()
		tc.spoil(&o)
		if _, err := c.Observe(o); !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %v", name, err, tc.want)
		}
	}
	if err := adopt(c, estimator.Spectrum{}); !errors.Is(err, ErrSpectrum) {
		t.Errorf("empty spectrum: %v", err)
	}
	after, err := c.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("a refusal changed the state")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"policy":    {Policy: 9},
		"dimension": {SketchDimension: -1},
		"window":    {Window: 3},
		"growth":    {MaxLossGrowth: 1},
		"fallback":  {FallbackRate: -1},
		"maximum":   {MaxRate: math.Inf(1)},
		"bound":     {HasLossBound: true, LossLowerBound: math.NaN()},
		"horizon":   {Horizon: -1},
	} {
		if _, err := NewController(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
}

// Whatever finite numbers a trainer sends, the rate is a number.
func TestRateIsAlwaysANumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const d = 5
		c, err := NewController(Config{
			Policy: Policy(rapid.IntRange(0, 3).Draw(t, "policy")), SketchDimension: d, Window: 4,
		})
		if err != nil {
			t.Fatal(err)
		}
		magnitude := rapid.Float64Range(-300, 300)
		for step := range rapid.IntRange(1, 20).Draw(t, "steps") {
			o := Observation{
				Step: int64(step), SameBatch: rapid.Bool().Draw(t, "same batch"),
				Loss:                math.Pow(10, magnitude.Draw(t, "loss")),
				GradientNormSquared: math.Pow(10, magnitude.Draw(t, "norm")),
				GradientDotPrevious: math.NaN(), ParameterNorm: math.NaN(), AppliedRate: math.NaN(),
			}
			if rapid.Bool().Draw(t, "sketch") {
				o.Sketch = rapid.SliceOfN(rapid.Float32Range(-math.MaxFloat32, math.MaxFloat32), d, d).Draw(t, "values")
			}
			dec, err := c.Observe(o)
			if err != nil {
				t.Fatal(err)
			}
			if !finite(dec.Rate) || dec.Rate < 0 {
				t.Fatalf("rate %v", dec.Rate)
			}
		}
	})
}
