package server

import (
	"math"
	"strconv"

	pb "multirate/proto/multirate/v1"
	"multirate/scheduler"
)

// translate makes the answer of a decision: one rate for all groups. For the
// one unnamed group and no upcoming rates it takes two allocations, the message
// with its parts and the sentence.
func translate(step int64, groups []string, d *scheduler.Decision) *pb.GetLearningRateResponse {
	block := new(struct {
		answer      pb.GetLearningRateResponse
		explanation pb.Explanation
		predicted   float64
		rate        pb.ParamGroupRate
		rates       [1]*pb.ParamGroupRate
	})
	a, e := &block.answer, &block.explanation
	a.Step = step
	if len(groups) == 1 {
		block.rate.ParamGroup, block.rate.LearningRate = groups[0], d.Rate
		block.rates[0] = &block.rate
		a.Rates = block.rates[:]
	} else {
		a.Rates = ratesOf(groups, d.Rate)
	}
	if len(d.Upcoming) > 0 {
		a.Upcoming = upcomingOf(len(groups), d.Upcoming)
		if limit := d.UpcomingLossLimit; !math.IsNaN(limit) {
			a.UpcomingLossLimit = &limit
		}
	}
	a.Explanation = e
	a.SpectrumRevision = d.SpectrumRevision
	a.EstimateWanted = d.EstimateWanted
	a.HoldBatchSteps = int32(d.HoldBatch)
	e.Reason, e.Guard = reasonOf(d.Reason), guardOf(d.Guard)
	e.ScaleIndex, e.ScaleCount = int32(d.Scale), int32(d.Scales)
	e.CyclePosition, e.CycleLength = int32(d.CyclePosition), int32(d.CycleLength)
	if !math.IsNaN(d.PredictedChange) {
		block.predicted = d.PredictedChange
		e.PredictedLossChange = &block.predicted
	}
	e.StiffestCurvature = d.Stiffest
	e.Text = sentence(d)
	return a
}

func ratesOf(groups []string, rate float64) []*pb.ParamGroupRate {
	values, rates := make([]pb.ParamGroupRate, len(groups)), make([]*pb.ParamGroupRate, len(groups))
	for i, name := range groups {
		values[i].ParamGroup, values[i].LearningRate = name, rate
		rates[i] = &values[i]
	}
	return rates
}

func upcomingOf(groups int, rates []float64) []*pb.UpcomingRates {
	values, upcoming := make([]pb.UpcomingRates, len(rates)), make([]*pb.UpcomingRates, len(rates))
	flat := make([]float64, 0, groups*len(rates))
	for i, rate := range rates {
		for range groups {
			flat = append(flat, rate)
		}
		values[i].LearningRates = flat[i*groups : (i+1)*groups : (i+1)*groups]
		upcoming[i] = &values[i]
	}
	return upcoming
}

// kind is how a reason or a guard is called on the wire and in a sentence.
type kind[E any] struct {
	wire E
	text string
}

var reasons = [...]kind[pb.Reason]{
	scheduler.ReasonWarmup:   {pb.Reason_REASON_WARMUP, "Warming up on little evidence"},
	scheduler.ReasonPlanned:  {pb.Reason_REASON_PLANNED, "Following the plan"},
	scheduler.ReasonDamping:  {pb.Reason_REASON_DAMPING, "Damping a stiff direction before the plan goes on"},
	scheduler.ReasonFallback: {pb.Reason_REASON_FALLBACK, "Serving the safe rate, since the evidence does not support more"},
	scheduler.ReasonRecovery: {pb.Reason_REASON_RECOVERY, "Recovering with short steps, since the loss rose against the prediction"},
}

var guards = [...]kind[pb.Guard]{
	scheduler.GuardNone:          {pb.Guard_GUARD_NONE, ""},
	scheduler.GuardPredictedLoss: {pb.Guard_GUARD_PREDICTED_LOSS, ", shortened to keep the predicted loss down"},
	scheduler.GuardTrustRegion:   {pb.Guard_GUARD_TRUST_REGION, ", shortened to stay in the trust region"},
	scheduler.GuardLossBound:     {pb.Guard_GUARD_LOSS_BOUND, ", shortened since the loss can't fall that far"},
	scheduler.GuardWarmupGrowth:  {pb.Guard_GUARD_WARMUP_GROWTH, ", shortened since few steps have been seen yet"},
	scheduler.GuardMaxRate:       {pb.Guard_GUARD_MAX_LEARNING_RATE, ", limited by max_learning_rate"},
}

func reasonOf(r scheduler.Reason) pb.Reason {
	if r < 0 || int(r) >= len(reasons) {
		return pb.Reason_REASON_UNSPECIFIED
	}
	return reasons[r].wire
}

func guardOf(g scheduler.Guard) pb.Guard {
	if g < 0 || int(g) >= len(guards) {
		return pb.Guard_GUARD_UNSPECIFIED
	}
	return guards[g].wire
}

// sentence explains a decision to people, such as "Following the plan, step 3
// of 7, for scale 2 of 3, shortened to stay in the trust region." It is made at
// every step, so it avoids fmt.
func sentence(d *scheduler.Decision) string {
	if reasonOf(d.Reason) == pb.Reason_REASON_UNSPECIFIED || guardOf(d.Guard) == pb.Guard_GUARD_UNSPECIFIED {
		return ""
	}
	b := append(make([]byte, 0, 192), reasons[d.Reason].text...)
	if d.Reason == scheduler.ReasonPlanned && d.CycleLength > 0 {
		b = append(b, ", step "...)
		b = strconv.AppendInt(b, int64(d.CyclePosition)+1, 10)
		b = append(b, " of "...)
		b = strconv.AppendInt(b, int64(d.CycleLength), 10)
	}
	if d.Scale >= 0 && d.Scales > 0 {
		b = append(b, ", for scale "...)
		b = strconv.AppendInt(b, int64(d.Scale)+1, 10)
		b = append(b, " of "...)
		b = strconv.AppendInt(b, int64(d.Scales), 10)
	}
	b = append(b, guards[d.Guard].text...)
	b = append(b, '.')
	return string(b)
}
