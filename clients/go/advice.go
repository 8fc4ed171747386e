package multirate

import (
	"fmt"
	"math"

	multiratev1 "multirate/proto/multirate/v1"
)

// Advice is the learning rate for one step and where it comes from.
type Advice struct {
	// Step is the step that this answers.
	Step int64
	// LearningRate is the rate, >= 0, of the first param group, and of all
	// parameters in a run without groups.
	LearningRate float64
	// Rates holds one rate for each param group, in the order declared.
	Rates []float64
	// Reason is the kind of the step.
	Reason Reason
	// Guard is what kept the rate below the planned one.
	Guard Guard
	// Scale is the scale that the step serves, 0 for the stiffest, -1 for none,
	// out of Scales known ones.
	Scale, Scales int
	// CyclePosition, from 0, and CycleLength, 0 for no cycle, locate the step.
	CyclePosition, CycleLength int
	// PredictedChange is the loss change that the service's model predicts for
	// the step. NaN: no model.
	PredictedChange float64
	// StiffestCurvature is the largest curvature supported by evidence. 0:
	// unknown.
	StiffestCurvature float64
	// SpectrumRevision grows with each new spectrum. 0: none yet.
	SpectrumRevision int64
	// EstimateWanted says that an EstimateSpectrum or ReportLanczos would pay
	// now. The trainer is free to decline.
	EstimateWanted bool
	// HoldBatchSteps is the number of further steps for which this mini-batch
	// should be held. The trainer is free to decline.
	HoldBatchSteps int
	// Text says all this in one sentence for people.
	Text string
	// Upcoming says that the rate came with an earlier answer and took no call.
	// Reason, Guard and the like are then those of that answer.
	Upcoming bool
}

func adviceOf(resp *multiratev1.GetLearningRateResponse) (Advice, error) {
	rates := make([]float64, len(resp.GetRates()))
	for i, r := range resp.GetRates() {
		rates[i] = r.GetLearningRate()
	}
	if err := checkRates(rates, len(rates)); err != nil {
		return Advice{}, err
	}
	e := resp.GetExplanation()
	a := Advice{
		Step:              resp.GetStep(),
		LearningRate:      rates[0],
		Rates:             rates,
		Reason:            e.GetReason(),
		Guard:             e.GetGuard(),
		Scale:             int(e.GetScaleIndex()),
		Scales:            int(e.GetScaleCount()),
		CyclePosition:     int(e.GetCyclePosition()),
		CycleLength:       int(e.GetCycleLength()),
		PredictedChange:   math.NaN(),
		StiffestCurvature: e.GetStiffestCurvature(),
		SpectrumRevision:  resp.GetSpectrumRevision(),
		EstimateWanted:    resp.GetEstimateWanted(),
		HoldBatchSteps:    int(resp.GetHoldBatchSteps()),
		Text:              e.GetText(),
	}
	if e != nil && e.PredictedLossChange != nil {
		a.PredictedChange = e.GetPredictedLossChange()
	}
	return a, nil
}

// checkRates guards the parameters against an answer that is none: whatever the
// peer, no NaN and no negative rate reaches them.
func checkRates(rates []float64, groups int) error {
	if len(rates) == 0 || len(rates) != groups {
		return fmt.Errorf("multirate: %d learning rates for %d param groups", len(rates), groups)
	}
	for i, r := range rates {
		if !(r >= 0) || math.IsInf(r, 0) {
			return fmt.Errorf("multirate: learning rate %g of param group %d is not a rate", r, i)
		}
	}
	return nil
}

// safeRate returns a rate that can be repeated: the least of the advised one
// and 1/L for the stiffest curvature L known. A rate of a cycle by itself is
// not safe, since the cycle's other rates pay for it.
func (a Advice) safeRate() float64 {
	safe := a.LearningRate
	for _, r := range a.Rates {
		safe = min(safe, r)
	}
	if a.StiffestCurvature > 0 {
		safe = min(safe, 1/a.StiffestCurvature)
	}
	return safe
}
