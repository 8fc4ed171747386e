package scheduler

// Reason is the kind of a step.
type Reason int

const (
	// ReasonWarmup is one of the first steps, while there is little evidence.
	ReasonWarmup Reason = iota + 1
	// ReasonPlanned is the next rate of a planned cycle.
	ReasonPlanned
	// ReasonDamping is a shorter step put in front of the plan, since the
	// plan's next rate would raise the loss along a direction that it does not
	// yet control.
	ReasonDamping
	// ReasonFallback is the safe rate: the evidence does not support more.
	ReasonFallback
	// ReasonRecovery is a short step after the loss rose against the
	// prediction.
	ReasonRecovery
)

// Guard is the bound that kept a rate below the planned one.
type Guard int

const (
	// GuardNone: no guard was active.
	GuardNone Guard = iota
	// GuardPredictedLoss: the predicted loss would rise by more than allowed.
	GuardPredictedLoss
	// GuardTrustRegion: the step would leave the trust region.
	GuardTrustRegion
	// GuardLossBound: the step would promise more than the loss can fall.
	GuardLossBound
	// GuardWarmupGrowth: too few steps were seen to let the length grow faster.
	GuardWarmupGrowth
	// GuardMaxRate: [Config.MaxRate].
	GuardMaxRate
)

// Decision is the advice for one step.
type Decision struct {
	// Rate is the learning rate, finite and >= 0.
	Rate float64
	// Upcoming holds rates for the next steps that stay valid as long as the
	// loss stays within UpcomingLossLimit, NaN where no limit is known. It must
	// not be written to.
	Upcoming          []float64
	UpcomingLossLimit float64
	// Reason is the kind of the step.
	Reason Reason
	// Guard is the bound that kept the rate below the planned one.
	Guard Guard
	// Scale is the index of the scale that the step serves, 0 the stiffest, or
	// -1.
	Scale int
	// Scales is the number of scales known.
	Scales int
	// CyclePosition and CycleLength locate the step in the present cycle;
	// CycleLength is 0 when there is none.
	CyclePosition, CycleLength int
	// PredictedChange is the loss change that the model predicts, NaN when
	// there is no model.
	PredictedChange float64
	// Stiffest is the largest curvature supported by evidence, 0 if unknown.
	Stiffest float64
	// SpectrumRevision grows by one with each new spectrum.
	SpectrumRevision int64
	// EstimateWanted: a spectrum from Hessian-vector products would pay.
	EstimateWanted bool
	// HoldBatch is the number of further steps for which the mini-batch should
	// be held, 0 for none.
	HoldBatch int
}
