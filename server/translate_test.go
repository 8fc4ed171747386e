package server

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
	"multirate/scheduler"
)

// TestTranslate: each part of a decision finds its field.
func TestTranslate(t *testing.T) {
	got := translate(4, []string{"a", "b"}, &scheduler.Decision{
		Rate: 0.5, Upcoming: []float64{0.25, 0.125}, UpcomingLossLimit: 8, Reason: scheduler.ReasonPlanned, Guard: scheduler.GuardTrustRegion,
		Scale: 1, Scales: 3, CyclePosition: 2, CycleLength: 7, PredictedChange: -2, Stiffest: 100,
		SpectrumRevision: 9, EstimateWanted: true, HoldBatch: 6,
	})
	sameMessage(t, "answer", got, &pb.GetLearningRateResponse{
		Step:              4,
		Rates:             []*pb.ParamGroupRate{{ParamGroup: "a", LearningRate: 0.5}, {ParamGroup: "b", LearningRate: 0.5}},
		Upcoming:          []*pb.UpcomingRates{{LearningRates: []float64{0.25, 0.25}}, {LearningRates: []float64{0.125, 0.125}}},
		UpcomingLossLimit: proto.Float64(8),
		Explanation: &pb.Explanation{
			Reason: pb.Reason_REASON_PLANNED, Guard: pb.Guard_GUARD_TRUST_REGION, ScaleIndex: 1, ScaleCount: 3,
			CyclePosition: 2, CycleLength: 7, PredictedLossChange: proto.Float64(-2), StiffestCurvature: 100,
			Text: "Following the plan, step 3 of 7, for scale 2 of 3, shortened to stay in the trust region.",
		},
		SpectrumRevision: 9, EstimateWanted: true, HoldBatchSteps: 6,
	})
	got = translate(0, []string{""}, &scheduler.Decision{Rate: 1, Reason: scheduler.ReasonFallback, Scale: -1, PredictedChange: math.NaN()})
	sameMessage(t, "answer", got, &pb.GetLearningRateResponse{
		Rates: []*pb.ParamGroupRate{{LearningRate: 1}},
		Explanation: &pb.Explanation{Reason: pb.Reason_REASON_FALLBACK, Guard: pb.Guard_GUARD_NONE, ScaleIndex: -1,
			Text: "Serving the safe rate, since the evidence does not support more."},
	})
}

// TestEveryReasonAndGuardHasAName on the wire, and each another one.
func TestEveryReasonAndGuardHasAName(t *testing.T) {
	seen := map[any]bool{}
	for r := scheduler.ReasonWarmup; r <= scheduler.ReasonRecovery; r++ {
		seen[reasonOf(r)] = true
	}
	for g := scheduler.GuardNone; g <= scheduler.GuardMaxRate; g++ {
		seen[guardOf(g)] = true
	}
	seen[reasonOf(0)], seen[guardOf(-1)], seen[reasonOf(scheduler.ReasonRecovery+1)], seen[guardOf(scheduler.GuardMaxRate+1)] = true, true, true, true
	if want := len(pb.Reason_name) + len(pb.Guard_name); len(seen) != want {
		t.Errorf("%d values reached of the contract's %d", len(seen), want)
	}
}
