package multirate

import (
	"math"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The letters say how each step got its rate: c by a call, u in advance.
func TestUpcomingRatesHoldWithinTheLossLimit(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  *float64
		losses []float64
		want   string
	}{
		{"falling", nil, []float64{9, 8, 7, 6, 5, 4}, "cuucuu"},
		{"constant", nil, []float64{9, 9, 9, 9}, "cuuc"},
		{"above the largest", nil, []float64{9, 10, 9, 8, 7}, "ccuuc"},
		{"rising below the largest", nil, []float64{9, 3, 8, 4, 8.5}, "cuucu"},
		{"rising below the limit", Known(20), []float64{9, 10, 20, 19}, "cuuc"},
		{"falling above the limit", Known(5), []float64{9, 8, 7, 5}, "cccu"},
		{"above a limit of zero", Known(0), []float64{9, 8}, "cc"},
		{"unknown", Known(20), []float64{9, math.NaN(), 9}, "ccu"},
	} {
		t.Run(c.name, func(t *testing.T) {
			service := &fakeService{advice: rateAdvice(0.5, 0.25, 0.125)}
			service.advice.UpcomingLossLimit = c.limit
			run := newRun(t, service, WithUpcomingRates())
			var got []byte
			position := 0
			for step, loss := range c.losses {
				var opts []StatisticsOption
				if math.IsNaN(loss) {
					loss, opts = 1, append(opts, WithoutLoss())
				}
				advice, err := run.Rate(t.Context(), loss, []float64{1, 2, 2}, opts...)
				if err != nil {
					t.Fatal(err)
				}
				if advice.Upcoming {
					got, position = append(got, 'u'), position+1
				} else {
					got, position = append(got, 'c'), 0
				}
				if want := []float64{0.5, 0.25, 0.125}[position]; advice.LearningRate != want || advice.Step != int64(step) {
					t.Errorf("step %d: rate %g for step %d, want %g", step, advice.LearningRate, advice.Step, want)
				}
			}
			if string(got) != c.want {
				t.Errorf("losses %g: %s, want %s", c.losses, got, c.want)
			}
		})
	}
}

func TestUpcomingRatesAreOptional(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5, 0.25)}
	run := newRun(t, service)
	for range 3 {
		if mustRate(t, run, 1, []float64{1, 2, 2}).Upcoming {
			t.Error("an upcoming rate without WithUpcomingRates")
		}
	}
}

func TestStepsAtUpcomingRatesAreReported(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5, 0.25, 0.125)}
	run := newRun(t, service, WithUpcomingRates())
	for range 4 {
		mustRate(t, run, 1, []float64{1, 2, 2})
	}
	if got := reportedSteps(service); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("reported steps %d, want 1 and 2", got)
	}
	for _, report := range service.reported {
		if report.GetRunId() != "r" || report.GetStatistics().GetGradientNormSquared() != 9 ||
			len(report.GetStatistics().GetSketches()) != 1 {
			t.Errorf("report %v", report)
		}
	}
	if got := stepsAsked(service); !slices.Equal(got, []int64{0, 3}) {
		t.Errorf("asked for steps %d, want 0 and 3", got)
	}
	for i, want := range [][]float64{nil, {0.25}} {
		if got := service.reported[i].GetAppliedLearningRates(); !slices.Equal(got, want) {
			t.Errorf("step %d says that %g was applied before it, want %g", i+1, got, want)
		}
	}
	if got := service.asked[1].GetAppliedLearningRates(); !slices.Equal(got, []float64{0.125}) {
		t.Errorf("step 3 says that %g was applied before it, want 0.125", got)
	}
}

// The rates were planned for the advised steps; another step voids them.
func TestAppliedRatesVoidUpcomingOnes(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5, 0.25)}
	run := newRun(t, service, WithUpcomingRates())
	g := []float64{1, 2, 2}
	for _, c := range []struct {
		applied  float64
		upcoming bool
	}{{0.5, true}, {0.4, false}} {
		mustRate(t, run, 1, g)
		if err := run.Applied(c.applied); err != nil {
			t.Fatal(err)
		}
		if got := mustRate(t, run, 1, g).Upcoming; got != c.upcoming {
			t.Errorf("upcoming rate after applying %g: %t, want %t", c.applied, got, c.upcoming)
		}
	}
}

func TestReportsSurviveALostConnection(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5, 0.25, 0.125, 0.0625), failReports: 1}
	run := newRun(t, service, WithUpcomingRates())
	for range 5 {
		mustRate(t, run, 1, []float64{1, 2, 2})
	}
	if got := reportedSteps(service); !slices.Equal(got, []int64{1, 2, 3}) {
		t.Errorf("reported steps %d, want 1, 2 and 3 once each", got)
	}
}

func TestRefusedReportsAreDropped(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5, 0.25)}
	run := newRun(t, service, WithUpcomingRates())
	g := []float64{1, 2, 2}
	mustRate(t, run, 1, g)
	mustRate(t, run, 1, g)
	latest := int64(1) // as if somebody else had reported the step
	service.run.LatestStep = &latest
	if _, err := run.Rate(t.Context(), 1, g); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("error %v, want the refusal", err)
	}
	if advice := mustRate(t, run, 1, g); advice.Step != 2 {
		t.Errorf("went on at step %d, want 2", advice.Step)
	}
}

func reportedSteps(f *fakeService) (steps []int64) {
	for _, report := range f.reported {
		steps = append(steps, report.GetStep())
	}
	return steps
}
