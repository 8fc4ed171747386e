package multirate

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	multiratev1 "multirate/proto/multirate/v1"
)

var unavailable = status.Error(codes.Unavailable, "not now")

// transports are the two ways to ask; every rule holds for both.
var transports = map[string][]RunOption{"unary": nil, "stream": {OverStream()}}

func newRun(t *testing.T, service *fakeService, opts ...RunOption) *Run {
	t.Helper()
	run, err := serve(t, service).NewRun(t.Context(), RunConfig{ID: "r", Dimension: 3}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return run
}

func mustRate(t *testing.T, run *Run, loss float64, g []float64) Advice {
	t.Helper()
	advice, err := run.Rate(t.Context(), loss, g)
	if err != nil {
		t.Fatal(err)
	}
	return advice
}

func stepsAsked(f *fakeService) (steps []int64) {
	for _, req := range f.asked {
		steps = append(steps, req.GetStep())
	}
	return steps
}

func TestRateSendsWhatWasMeasured(t *testing.T) {
	for name, opts := range transports {
		t.Run(name, func(t *testing.T) {
			service := &fakeService{advice: rateAdvice(0.5)}
			run := newRun(t, service, opts...)
			g := []float64{3, 0, -4}
			want := make([]float32, run.Sketcher().Buckets())
			Sketch(run.Sketcher(), want, g)
			for step := range int64(3) {
				advice := mustRate(t, run, 7, g)
				if advice.LearningRate != 0.5 || advice.Step != step || advice.Scale != 1 || advice.Scales != 3 ||
					advice.Reason != ReasonPlanned || !math.IsNaN(advice.PredictedChange) {
					t.Errorf("step %d: advice %+v", step, advice)
				}
				req := service.asked[step]
				s := req.GetStatistics()
				if req.GetStep() != step || req.GetRunId() != "r" || s.GetLoss() != 7 || s.GetGradientNormSquared() != 25 ||
					s.BatchId != nil || s.ParameterNorm != nil || req.GetAppliedLearningRates() != nil {
					t.Errorf("step %d: request %v", step, req)
				}
				if !slices.Equal(s.GetSketches()[0].GetValues(), want) {
					t.Errorf("step %d: another sketch than Sketch's", step)
				}
			}
			if name == "stream" && service.streams != 1 {
				t.Errorf("%d streams for one run", service.streams)
			}
		})
	}
}

func TestRateOptions(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5)}
	run := newRun(t, service)
	if _, err := run.Rate32(t.Context(), 7, []float32{1, 2, 2}, OnBatch(9), AtParameterNorm(4), DotPrevious(-2), WithoutLoss()); err != nil {
		t.Fatal(err)
	}
	s := service.asked[0].GetStatistics()
	if s.GetBatchId() != 9 || s.GetParameterNorm() != 4 || s.GetGradientDotPrevious() != -2 || s.Loss != nil || s.GetGradientNormSquared() != 9 {
		t.Errorf("statistics %v", s)
	}
}

func TestWithoutSketches(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5)}
	run := newRun(t, service, WithoutSketches())
	mustRate(t, run, 7, []float64{1, 2, 2})
	if s := service.asked[0].GetStatistics(); len(s.GetSketches()) != 0 || s.GetGradientNormSquared() != 9 {
		t.Errorf("statistics %v, want scalars alone", s)
	}
}

func TestUnmeasurableGradientsAreNotSent(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5)}
	run := newRun(t, service)
	for _, c := range []struct {
		loss float64
		g    []float64
	}{
		{1, []float64{1, 2}},
		{1, []float64{1, math.NaN(), 2}},
		{1, []float64{1, math.Inf(-1), 2}},
		{math.Inf(1), []float64{1, 2, 2}},
	} {
		if _, err := run.Rate(t.Context(), c.loss, c.g); err == nil {
			t.Errorf("loss %g with gradient %g was not refused", c.loss, c.g)
		}
	}
	if len(service.asked) != 0 {
		t.Errorf("%d of them were sent", len(service.asked))
	}
}

func TestTransientFailuresAreRetried(t *testing.T) {
	for name, opts := range transports {
		t.Run(name, func(t *testing.T) {
			service := &fakeService{advice: rateAdvice(0.5)}
			run := newRun(t, service, opts...)
			mustRate(t, run, 1, []float64{1, 1, 1})
			service.failures = []error{unavailable, unavailable}
			mustRate(t, run, 1, []float64{1, 1, 1})
			if got := stepsAsked(service); !slices.Equal(got, []int64{0, 1, 1, 1}) {
				t.Errorf("asked for steps %d, want step 1 three times", got)
			}
		})
	}
}

func TestRefusalsAreNotRetried(t *testing.T) {
	st, err := status.New(codes.InvalidArgument, "statistics refused").WithDetails(
		&errdetails.ErrorInfo{Domain: "multirate", Reason: "STATISTICS_INVALID"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "statistics.sketches[0].values", Description: "3 values, want 251"},
		}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(2 * time.Second)},
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range transports {
		t.Run(name, func(t *testing.T) {
			service := &fakeService{advice: rateAdvice(0.5)}
			run := newRun(t, service, opts...)
			mustRate(t, run, 1, []float64{1, 1, 1})
			service.failures = []error{st.Err()}
			_, err := run.Rate(t.Context(), 1, []float64{1, 1, 1})
			if ReasonOf(err) != "STATISTICS_INVALID" || status.Code(err) != codes.InvalidArgument {
				t.Errorf("error %v with reason %q and code %v", err, ReasonOf(err), status.Code(err))
			}
			for _, want := range []string{"STATISTICS_INVALID", "statistics.sketches[0].values: 3 values, want 251", "retry in 2s"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			mustRate(t, run, 1, []float64{1, 1, 1})
			if got := stepsAsked(service); !slices.Equal(got, []int64{0, 1, 1}) {
				t.Errorf("asked for steps %d", got)
			}
		})
	}
}

// A rate of a cycle is safe only together with the others; 1/L is safe alone.
func TestFailedRateOffersTheSafeOne(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5)}
	service.advice.Explanation.StiffestCurvature = 10
	run := newRun(t, service)
	if run.SafeRate() != 0 {
		t.Errorf("safe rate %g before anything is known", run.SafeRate())
	}
	mustRate(t, run, 1, []float64{1, 1, 1})
	service.failures = []error{status.Error(codes.Internal, "broken")}
	advice, err := run.Rate(t.Context(), 1, []float64{1, 1, 1})
	if err == nil || advice.LearningRate != 0.1 || advice.Reason != ReasonFallback {
		t.Errorf("got %+v, %v, want the rate 0.1 beside an error", advice, err)
	}
}

func TestAppliedRatesAreDeclared(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5)}
	run := newRun(t, service)
	if run.Applied(0.1) == nil {
		t.Error("Applied before any step was not refused")
	}
	g := []float64{1, 1, 1}
	mustRate(t, run, 1, g)
	for _, bad := range [][]float64{{}, {-1}, {math.NaN()}, {math.Inf(1)}, {1, 2}} {
		if run.Applied(bad...) == nil {
			t.Errorf("Applied(%g) was not refused", bad)
		}
	}
	if err := run.Applied(0); err != nil {
		t.Fatal(err)
	}
	mustRate(t, run, 1, g)
	mustRate(t, run, 1, g)
	if a, b := service.asked[1].GetAppliedLearningRates(), service.asked[2].GetAppliedLearningRates(); !slices.Equal(a, []float64{0}) || b != nil {
		t.Errorf("declared %g, then %g, want 0, then nothing", a, b)
	}
}

// A failed Rate keeps its step until Applied says that the step was taken.
func TestStepTakenWithoutAnAnswer(t *testing.T) {
	service := &fakeService{advice: rateAdvice(0.5)}
	run := newRun(t, service)
	g := []float64{1, 1, 1}
	mustRate(t, run, 1, g)
	_, err := run.Rate(t.Context(), math.NaN(), g)
	if !errors.Is(err, ErrNotFinite) || run.Step() != 1 {
		t.Errorf("error %v at step %d, want ErrNotFinite at 1", err, run.Step())
	}
	if err := run.Applied(0.25); err != nil {
		t.Fatal(err)
	}
	mustRate(t, run, 1, g)
	last := service.asked[1]
	if last.GetStep() != 2 || !slices.Equal(last.GetAppliedLearningRates(), []float64{0.25}) {
		t.Errorf("asked %v, want step 2 after a rate of 0.25", last)
	}
}

func TestUnusableRatesNeverReachTheTrainer(t *testing.T) {
	for _, rates := range [][]*multiratev1.ParamGroupRate{
		nil,
		{{LearningRate: math.NaN()}},
		{{LearningRate: -1}},
		{{LearningRate: math.Inf(1)}},
	} {
		service := &fakeService{advice: &multiratev1.GetLearningRateResponse{Rates: rates}}
		run := newRun(t, service)
		if advice, err := run.Rate(t.Context(), 1, []float64{1, 1, 1}); err == nil || advice.LearningRate != 0 {
			t.Errorf("rates %v: advice %+v, error %v", rates, advice, err)
		}
	}
}

func TestCancelledRateLeavesARunThatGoesOn(t *testing.T) {
	for name, opts := range transports {
		t.Run(name, func(t *testing.T) {
			service := &fakeService{advice: rateAdvice(0.5), hold: make(chan struct{})}
			run := newRun(t, service, opts...)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := run.Rate(ctx, 1, []float64{1, 1, 1}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want a deadline exceeded", err)
			}
			close(service.hold)
			if advice := mustRate(t, run, 1, []float64{1, 1, 1}); advice.Step != 0 {
				t.Errorf("went on at step %d, want 0", advice.Step)
			}
		})
	}
}

func TestNewRun(t *testing.T) {
	latest := int64(41)
	service := &fakeService{
		advice: rateAdvice(0.5), failures: []error{unavailable},
		run: &multiratev1.Run{
			RunId: "r", Dimension: 3, LatestStep: &latest,
			Sketch: &multiratev1.SketchSpec{Dimension: 15, Seed: 2},
		},
	}
	run := newRun(t, service)
	if run.Step() != 42 || run.Sketcher().Buckets() != 15 || run.ID() != "r" {
		t.Errorf("goes on at step %d with %d buckets, want 42 with 15", run.Step(), run.Sketcher().Buckets())
	}
	declared := RunConfig{Dimension: 3, LossLowerBound: Known(0)}.declaration()
	if declared.LossLowerBound == nil || declared.MaxLearningRate != nil || declared.HorizonSteps != nil || declared.RunId == "" {
		t.Errorf("declaration %v, want a bound of 0, no limit, no horizon and an id", declared)
	}
}

func TestSnapshotAndRestore(t *testing.T) {
	for name, opts := range transports {
		t.Run(name, func(t *testing.T) {
			service := &fakeService{advice: rateAdvice(0.5)}
			run := newRun(t, service, opts...)
			g := []float64{1, 1, 1}
			mustRate(t, run, 1, g)
			snapshot, err := run.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			mustRate(t, run, 1, g)
			mustRate(t, run, 1, g)
			if err := run.Restore(t.Context(), snapshot); err != nil {
				t.Fatal(err)
			}
			mustRate(t, run, 1, g)
			if got := stepsAsked(service); !slices.Equal(got, []int64{0, 1, 2, 1}) {
				t.Errorf("asked for steps %d, want to go on at 1", got)
			}
			if _, err := run.client.RestoreRun(t.Context(), snapshot, "r"); status.Code(err) != codes.AlreadyExists {
				t.Errorf("restoring over a run: %v", err)
			}
			other, err := run.client.RestoreRun(t.Context(), snapshot, "other")
			if err != nil || other.ID() != "other" || other.Step() != 1 {
				t.Errorf("restored %+v, %v, want run other at step 1", other, err)
			}
		})
	}
}

func TestDialSaysWhatIsMissing(t *testing.T) {
	socket := "unix://" + filepath.Join(t.TempDir(), "none")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Dial(ctx, socket)
	if err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("error %v, want one that names %s", err, socket)
	}
}

func TestOnlyLocalTargetsAreInPlainText(t *testing.T) {
	for target, want := range map[string]bool{
		"unix:///run/m.sock":         true,
		"unix:m.sock":                true,
		"unix-abstract:m":            true,
		"localhost:7400":             true,
		"127.0.0.1:7400":             true,
		"[::1]:7400":                 true,
		"dns:///localhost:7400":      true,
		"passthrough:///127.0.0.1:1": true,
		"example.org:7400":           false,
		"dns:///example.org:7400":    false,
		"10.0.0.1:7400":              false,
		"localhost.example.org:7400": false,
	} {
		if got := defaultCredentials(target).Info().SecurityProtocol == "insecure"; got != want {
			t.Errorf("%s in plain text: %t, want %t", target, got, want)
		}
	}
}
