package scheduler

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"multirate/estimator"
)

// Constants of the mini-batch road (docs/decisions/0019-mini-batches.md).
const (
	// firstPairs and burstPairs are the numbers of further steps, in the first
	// burst and in later ones, for which a batch is held. Each gives a curvature
	// pair. The first finds the order of the rate; later ones are short, since a
	// batch held for long is learnt by heart.
	firstPairs = 6
	burstPairs = 2
	// burstPeriod is the number of steps from one burst to the next.
	burstPeriod = 46
	// sharpnessMemory is the decay of the sharpness known, per burst that shows
	// less. A burst is a lower bound: it may miss half of the sharpness, and
	// steps that have long been short leave nothing of the gradient along the
	// stiffest direction. So only bursts at longRate of the rate for the
	// sharpness known, or more, lower it, and none of the first settledBursts.
	sharpnessMemory = 0.8
	longRate        = 0.45
	settledBursts   = 2
	// leastSignal is the mean cosine between gradients of successive batches below
	// which noise, not curvature, limits the rate: a sharpness that has fallen is
	// then no reason for longer steps. gradientMemory is the number of batches it
	// is taken over.
	leastSignal    = 0.1
	gradientMemory = 20
	// The first earlyBursts come every earlyPeriod steps.
	earlyBursts = 5
	earlyPeriod = 12
	// sharpnessRate is the rate of plain gradient descent times the sharpness:
	// the edge of stability, at which training holds itself.
	sharpnessRate = 2
	// momentumExponent is that of 1 - momentum in the factor for momentum.
	momentumExponent = 2.0 / 3
	// openEnded divides the rate where no horizon is known, so that nothing
	// makes it fall in the end.
	openEnded = 2
	// ceilingGrowth is the factor by which rates rise from one step to the next.
	// On a held batch whose loss falls by at least goodFall of what its gradient
	// promises they rise by heldGrowth, up to 1/heldGrowth of the limit, and not at
	// all where it falls by less than poorFall: along a quadratic 1 - eta
	// curvature/2 of the promise is kept, so that goodFall is half of the way to
	// the line's minimum and poorFall the minimum.
	ceilingGrowth = 1.08
	heldGrowth    = 2
	goodFall      = 0.75
	poorFall      = 0.5
	// heldShare of a rate that one held batch has admitted is served to others.
	heldShare = 0.5
	// firstLimit divides the limit for the first rate after the very first step,
	// which was too short to see much of the sharpness.
	firstLimit = 4
	// coolDown is the share of the horizon over which rates fall to leastDecay in
	// the end.
	coolDown = 0.25
	// lossMemory is the number of batches over which losses are averaged,
	// leastLosses the number that an average needs, and lossOutlier the number of
	// standard deviations beyond which a loss is no noise.
	lossMemory  = burstPeriod
	leastLosses = 5
	lossOutlier = 6
	// leastDecay is the least factor that the horizon multiplies a rate by.
	leastDecay = 0.01
	// calm is the number of steps between two alarms, blownCalm that between alarms
	// of early bursts whose steps have driven the loss above the first one: they
	// were several times too long, one halving does not do, and the noise of the
	// losses, which they have driven up too, is no measure. How far above tells
	// only a loss with a lower bound.
	calm      = 6
	blownCalm = 2
	// forgotten is the weight at which momentum's memory of a step that was not
	// reported counts as none.
	forgotten = 1e-3
)

// bursts is what the mini-batch road knows. Sketches are those of the trainer's
// gradient; displacements and changes belong to the batch being held.
type bursts struct {
	// Wait is the number of steps until the next burst, Left the number of
	// steps for which the present batch is still to be held.
	Wait, Left int
	// Velocity is the sketch of the momentum buffer, off by a multiple Unknown
	// of a step that was not reported.
	Velocity []float32
	Unknown  float64
	// Gradient and Displacement are the sketches of the latest gradient and of
	// the step then taken, nil where unknown.
	Gradient, Displacement []float32
	Displacements, Changes [][]float32
	// Sharpness is that of the Seen bursts so far, Provisional what the present
	// one has shown, at rates no shorter than Shortest.
	Sharpness, Provisional float64
	Seen                   int
	Shortest               float64
	// Ceiling is the longest rate that the warmup allows, 0 before there is one,
	// and Shared what it was before the batch that is being held, 0 between bursts.
	Ceiling, Shared float64
	// Fall is the fall of a held batch's loss over the last step, as a share of
	// what the gradient promised; 0: unknown.
	Fall float64
	// Cosine is the mean cosine of the angle between successive batches'
	// gradients, of Angles so far.
	Cosine float64
	Angles int
	// Smooth and Variance are of the losses of the latest of Batches batches, Best
	// is the least Smooth so far, Calm the number of steps since the loss last
	// outgrew its bound.
	Smooth, Variance, Best float64
	Batches, Calm          int
}

// miniBatchStep follows the sharpness of the loss: a rate of a fixed multiple of
// its reciprocal, measured now and then from a batch that the trainer holds for
// a few steps, times a cosine over a known horizon. A trainer that never holds a
// batch, or sends no sketch, gets its own rate.
func (c *Controller) miniBatchStep(o Observation, linked bool) Decision {
	b := &c.s.Bursts
	c.collect(o, linked)
	c.watchLosses(o, linked)
	d := Decision{Rate: c.cfg.FallbackRate, Reason: ReasonFallback, Scale: -1, PredictedChange: math.NaN()}
	sharpness := b.sharpness()
	if sharpness > 0 {
		c.s.Stiffest = sharpness
	}
	limit := c.sharpRate(sharpness)
	switch {
	case !(sharpness > 0) && o.Sketch != nil && !c.s.Started:
		d.Rate, d.Reason = c.firstRate(o), ReasonWarmup
	case !(sharpness > 0):
	case c.cfg.Policy == PolicyConstant:
		if limit /= 2; limit < d.Rate {
			d.Rate, d.Guard = limit, GuardPredictedLoss
		}
	default:
		d.Rate, d.Reason, d.Scale = c.warmUp(limit, linked)*c.decay(o.Step), ReasonPlanned, 0
		if b.Ceiling < limit {
			d.Reason, d.Guard = ReasonWarmup, GuardWarmupGrowth
		}
	}
	if o.Sketch != nil {
		d.HoldBatch = b.schedule()
	}
	return d
}

// warmUp holds the rate below a ceiling that begins with the trainer's own rate or
// a share of the limit, whichever is less, and rises: sharpness shows only as
// steps grow, and rises early in training. It rises fastest on a held batch, whose
// loss tells at once whether the step was good.
func (c *Controller) warmUp(limit float64, held bool) float64 {
	b := &c.s.Bursts
	switch {
	case held && b.Shared == 0:
		b.Shared = b.Ceiling
	case !held && b.Shared > 0:
		b.Ceiling = max(min(b.Shared, b.Ceiling), heldShare*b.Ceiling)
		b.Shared = 0
	}
	switch {
	case b.Ceiling == 0:
		b.Ceiling = min(limit/firstLimit, c.cfg.FallbackRate)
	case held && b.Fall > goodFall:
		b.Ceiling = max(b.Ceiling, min(heldGrowth*b.Ceiling, limit/heldGrowth))
	case !held || b.Fall >= poorFall:
		b.Ceiling *= ceilingGrowth
	}
	b.Ceiling = min(b.Ceiling, limit)
	return b.Ceiling
}

// sharpness is the curvature to follow, 0 if unknown.
func (b *bursts) sharpness() float64 { return max(b.Sharpness, b.Provisional) }

// spectrum is the one Ritz value that the bursts have shown, known to a factor
// of two.
func (b *bursts) spectrum() estimator.Spectrum {
	sharpness := b.sharpness()
	if !(sharpness > 0) {
		return estimator.Spectrum{}
	}
	return estimator.Spectrum{
		Source: estimator.SourceSketch, Residual: 1, Stiffest: sharpness,
		Ritz: []estimator.RitzValue{{Value: sharpness, Bound: sharpness}},
	}
}

// validate checks a stored state for sketches of the given length.
func (b *bursts) validate(dimension int) error {
	if b.Wait < 0 || b.Left < 0 || b.Calm < 0 || b.Batches < 0 || b.Seen < 0 || b.Angles < 0 || len(b.Displacements) != len(b.Changes) || len(b.Displacements) >= b.pairs() {
		return errors.New("counter of a burst out of range")
	}
	for _, x := range []float64{b.Sharpness, b.Provisional, b.Shortest, b.Unknown, b.Ceiling, b.Shared, b.Variance} {
		if !(x >= 0) || !finite(x) {
			return fmt.Errorf("burst with a number of %v", x)
		}
	}
	if math.IsNaN(b.Smooth) || math.IsNaN(b.Best) || !finite(b.Fall) {
		return errors.New("burst with an undefined loss")
	}
	if !(math.Abs(b.Cosine) <= 1+1e-6) {
		return fmt.Errorf("burst with a cosine of %v", b.Cosine)
	}
	sketches := slices.Concat(b.Displacements, b.Changes)
	for _, optional := range [][]float32{b.Velocity, b.Gradient, b.Displacement} {
		if optional != nil {
			sketches = append(sketches, optional)
		}
	}
	for _, s := range sketches {
		if len(s) != dimension {
			return fmt.Errorf("sketch of %d values in a burst, want %d", len(s), dimension)
		}
	}
	if (b.Displacement != nil) && (b.Gradient == nil) {
		return errors.New("burst with a step without its gradient")
	}
	return nil
}

// sharpRate is the rate for a sharpness: 2/sharpness for plain gradient descent,
// times (1 - momentum)^(2/3) with momentum.
func (c *Controller) sharpRate(sharpness float64) float64 {
	return sharpnessRate * math.Pow(1-c.cfg.Momentum, momentumExponent) / sharpness
}

// decay is the factor for a step of a known horizon: 1, and in the last quarter a
// straight line down to a hundredth. Rates that fall earlier cost more on short
// horizons, where most of the way is still to be made, than they gain on long
// ones.
func (c *Controller) decay(step int64) float64 {
	if c.cfg.Horizon == 0 {
		return 1.0 / openEnded
	}
	left := 1 - float64(step)/float64(c.cfg.Horizon)
	return max(min(left/coolDown, 1), leastDecay)
}

// pairs is the number of steps for which the present burst holds its batch.
func (b *bursts) pairs() int {
	if b.Seen == 0 {
		return firstPairs
	}
	return burstPairs
}

// schedule counts steps to the next burst and through it, and returns for how
// many more this batch should be held.
func (b *bursts) schedule() int {
	switch {
	case b.Left > 0:
		b.Left--
	case b.Wait == 0:
		b.Left, b.Wait = b.pairs(), burstPeriod
		if b.Seen < earlyBursts {
			b.Wait = earlyPeriod
		}
	}
	b.Wait = max(b.Wait-1, 0)
	return b.Left
}

// collect adds the pair that this gradient completes, if the batch was held, and
// reads the sharpness off once the burst is over.
func (c *Controller) collect(o Observation, linked bool) {
	b := &c.s.Bursts
	b.Fall = 0
	if o.Sketch == nil || !linked || b.Displacement == nil {
		b.Displacements, b.Changes = nil, nil
		if !linked {
			b.Left = 0 // the trainer has declined, or is done
			b.compare(o.Sketch)
		}
	} else {
		c.addPair(o)
	}
	c.follow(o)
}

func (c *Controller) addPair(o Observation) {
	b := &c.s.Bursts
	if len(b.Displacements) == 0 {
		b.Shortest = o.AppliedRate
	}
	b.Shortest = min(b.Shortest, o.AppliedRate)
	promised := o.AppliedRate * inner(b.Gradient, b.Displacement)
	if fall := (c.s.Last.Loss - o.Loss) / promised; promised > 0 && finite(fall) {
		b.Fall = fall
	}
	b.Displacements = append(b.Displacements, scaled(b.Displacement, -o.AppliedRate))
	b.Changes = append(b.Changes, difference(o.Sketch, b.Gradient))
	b.Provisional = max(b.Provisional, estimator.Sharpness(b.Displacements, b.Changes))
	if len(b.Displacements) == b.pairs() {
		c.endBurst()
	}
}

// compare takes in the angle between the gradients of this batch and the last
// one: its mean cosine is the share of the signal in a gradient's square.
func (b *bursts) compare(sketch []float32) {
	if sketch == nil || b.Gradient == nil {
		return
	}
	squares := inner(sketch, sketch) * inner(b.Gradient, b.Gradient)
	if cosine := inner(sketch, b.Gradient) / math.Sqrt(squares); squares > 0 && finite(cosine) {
		b.Angles++
		b.Cosine += (cosine - b.Cosine) / float64(min(b.Angles, gradientMemory))
	}
}

// endBurst takes over what a whole burst has shown.
func (c *Controller) endBurst() {
	b := &c.s.Bursts
	if b.Provisional > 0 {
		if b.Seen >= settledBursts && b.Cosine > leastSignal && b.Shortest >= longRate*c.sharpRate(b.Sharpness) {
			b.Sharpness *= sharpnessMemory
		}
		b.Sharpness = max(b.Sharpness, b.Provisional)
		b.Seen++
		c.s.Revision++
	}
	b.Provisional, b.Displacements, b.Changes = 0, nil, nil
}

// follow keeps the sketch of what the trainer does with the gradient: as in
// torch.optim.SGD, v <- momentum v + g, and the step is along v, or along
// g + momentum v (Nesterov).
func (c *Controller) follow(o Observation) {
	b, mu := &c.s.Bursts, float32(c.cfg.Momentum)
	b.Gradient, b.Displacement = nil, nil
	b.Unknown *= c.cfg.Momentum
	missed := c.s.Started && o.Step != c.s.Step+1
	if o.Sketch == nil || missed {
		b.Velocity, b.Unknown = nil, 1
	}
	if o.Sketch == nil {
		return
	}
	b.Gradient = slices.Clone(o.Sketch)
	if mu == 0 {
		b.Displacement = b.Gradient
		return
	}
	if b.Velocity == nil {
		b.Velocity = make([]float32, len(o.Sketch))
	}
	step := make([]float32, len(o.Sketch))
	for i, g := range o.Sketch {
		b.Velocity[i] = mu*b.Velocity[i] + g
		step[i] = b.Velocity[i]
		if c.cfg.Nesterov {
			step[i] = g + mu*b.Velocity[i]
		}
	}
	if b.Unknown <= forgotten {
		b.Displacement = step
	}
}

// watchLosses takes an outgrown loss for what sharpness does that no burst has
// shown: the rate is halved, and the sharpness known is raised to what that rate
// follows.
func (c *Controller) watchLosses(o Observation, held bool) {
	b := &c.s.Bursts
	if math.IsNaN(o.Loss) {
		return
	}
	b.Calm++
	blown := b.Seen < earlyBursts && c.cfg.HasLossBound && o.Loss > c.outgrownLimit(c.s.First)
	outgrown := c.outgrown(o.Loss, held)
	if !held {
		b.average(o.Loss)
		outgrown = outgrown || b.Batches > lossMemory && c.grown(b.Smooth, b.Best)
	}
	if blown && b.Calm > blownCalm || outgrown && b.Calm > calm {
		c.halve()
	}
}

// halve answers an alarm. Growth is measured anew from here.
func (c *Controller) halve() {
	b := &c.s.Bursts
	b.Batches, b.Calm = 0, 0
	if b.Ceiling > 0 {
		b.Ceiling /= 2
		b.Sharpness = max(b.Sharpness, c.sharpRate(1)/b.Ceiling)
	}
}

// outgrown reports whether one loss is too large: that of a batch beyond noise,
// by the root of [Config.MaxLossGrowth], or that of a held batch by
// MaxLossGrowth in one step, other batches' mean at least.
func (c *Controller) outgrown(loss float64, held bool) bool {
	b := &c.s.Bursts
	if b.Batches < leastLosses {
		return false
	}
	if held {
		return c.grown(loss, c.s.Last.Loss) && loss > b.Smooth
	}
	return loss > c.outgrownLimit(b.Smooth) && loss > b.Smooth+b.noise()
}

// noise is how far from the mean a loss may be without being an outlier.
func (b *bursts) noise() float64 { return lossOutlier * math.Sqrt(b.Variance) }

// outgrownLimit is a loss grown by the root of [Config.MaxLossGrowth].
func (c *Controller) outgrownLimit(loss float64) float64 {
	share := (math.Sqrt(c.cfg.MaxLossGrowth) - 1) / (c.cfg.MaxLossGrowth - 1)
	return loss + (c.lossLimit(loss)-loss)*share
}

// average takes the loss of a batch into the mean. Held batches don't count,
// since they are learnt by heart.
func (b *bursts) average(loss float64) {
	if b.Batches++; b.Batches == 1 {
		b.Smooth, b.Best, b.Variance = loss, loss, 0
	}
	weight := 1 / float64(min(b.Batches, lossMemory))
	off := loss - b.Smooth
	b.Smooth += weight * off
	b.Variance += weight * (off*off - b.Variance)
	b.Best = min(b.Best, b.Smooth)
}

// inner is the inner product of two sketches.
func inner(a, b []float32) float64 {
	sum := 0.0
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

func scaled(v []float32, factor float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(factor * float64(x))
	}
	return out
}

func difference(a, b []float32) []float32 {
	out := make([]float32, len(a))
	for i := range a {
		out[i] = a[i] - b[i]
	}
	return out
}
