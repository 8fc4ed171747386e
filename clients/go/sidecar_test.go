package multirate_test

import (
	"slices"
	"testing"

	multirate "multirate/clients/go"
	multiratev1 "multirate/proto/multirate/v1"
)

func dialSidecar(t *testing.T) *multirate.Client {
	t.Helper()
	target, stop, err := startSidecar()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client, err := multirate.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func quadraticRun(t *testing.T, client *multirate.Client, opts ...multirate.RunOption) *multirate.Run {
	t.Helper()
	run, err := client.NewRun(t.Context(), multirate.RunConfig{
		Dimension:      int64(len(curvature)),
		LossLowerBound: multirate.Known(0),
	}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// trajectory trains from x for the given steps and returns every advice.
func trajectory(t *testing.T, run *multirate.Run, x []float64, steps int) (advices []multirate.Advice) {
	t.Helper()
	g := make([]float64, len(x))
	for range steps {
		advice, err := run.Rate(t.Context(), lossAndGradient(x, g), g)
		if err != nil {
			t.Fatal(err)
		}
		for i := range x {
			x[i] -= advice.LearningRate * g[i]
		}
		advices = append(advices, advice)
	}
	return advices
}

func ratesOf(advices []multirate.Advice) (rates []float64) {
	for _, a := range advices {
		rates = append(rates, a.LearningRate)
	}
	return rates
}

func ones() []float64 { return slices.Repeat([]float64{1}, len(curvature)) }

func TestStreamAndCallsGiveTheSameRates(t *testing.T) {
	client := dialSidecar(t)
	byCalls := trajectory(t, quadraticRun(t, client), ones(), 30)
	overStream := trajectory(t, quadraticRun(t, client, multirate.OverStream()), ones(), 30)
	if a, b := ratesOf(byCalls), ratesOf(overStream); !slices.Equal(a, b) {
		t.Errorf("rates by calls %g, over a stream %g", a, b)
	}
}

func TestRestoredRunGivesTheSameRates(t *testing.T) {
	client := dialSidecar(t)
	run := quadraticRun(t, client)
	x := ones()
	trajectory(t, run, x, 20)
	checkpoint := slices.Clone(x)
	snapshot, err := run.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := ratesOf(trajectory(t, run, x, 15))
	if err := run.Restore(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	if got := ratesOf(trajectory(t, run, checkpoint, 15)); !slices.Equal(got, want) {
		t.Errorf("rates after Restore %g, before %g", got, want)
	}
}

// plannedRun serves whole cycles, which let the loss rise up to where the cycle
// began: MaxLossGrowth admits that.
func plannedRun(t *testing.T, client *multirate.Client, opts ...multirate.RunOption) *multirate.Run {
	t.Helper()
	run, err := client.NewRun(t.Context(), multirate.RunConfig{
		Dimension:      int64(len(curvature)),
		Policy:         multirate.PolicyChebyshev,
		LossLowerBound: multirate.Known(0),
		MaxLossGrowth:  1e6,
	}, append(opts, multirate.WithoutSketches())...)
	if err != nil {
		t.Fatal(err)
	}
	alpha, beta, err := multirate.Lanczos(func(v, hv []float64) error {
		lossAndGradient(v, hv)
		return nil
	}, len(curvature), len(curvature), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.ReportLanczos(t.Context(), alpha, beta); err != nil {
		t.Fatal(err)
	}
	return run
}

func TestUpcomingRatesAreThoseThatCallsGive(t *testing.T) {
	client := dialSidecar(t)
	asked := plannedRun(t, client)
	ahead := plannedRun(t, client, multirate.WithUpcomingRates())
	want := trajectory(t, asked, ones(), 240)
	got := trajectory(t, ahead, ones(), 240)
	if !slices.Equal(ratesOf(got), ratesOf(want)) {
		t.Errorf("rates taken ahead %g, asked for %g", ratesOf(got), ratesOf(want))
	}
	calls := 0
	for _, advice := range got {
		if !advice.Upcoming {
			calls++
		}
	}
	if calls > 120 {
		t.Errorf("%d calls for 240 steps, want at most half", calls)
	}
	if err := ahead.Close(t.Context()); err != nil {
		t.Error(err)
	}
	status, err := client.Service().GetRun(t.Context(), &multiratev1.GetRunRequest{RunId: ahead.ID()})
	if err != nil || status.GetRun().GetLatestStep() != 239 {
		t.Errorf("the service knows of %v, %v, want all 240 steps", status, err)
	}
	if _, err := ahead.Spectrum(t.Context(), 16); err != nil {
		t.Error(err)
	}
}

func TestWholeLoopInScaledVariables(t *testing.T) {
	client := dialSidecar(t)
	difference := multirate.FiniteDifference{Gradient: func(x, g []float64) { lossAndGradient(x, g) }}
	x, g := ones(), make([]float64, len(curvature))
	h, err := multirate.HutchinsonDiagonal(difference.At(x), len(x), 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	preconditioner, err := multirate.NewDiagonal(h, 0)
	if err != nil {
		t.Fatal(err)
	}
	run := quadraticRun(t, client)
	scaled := make([]float64, len(x))
	start := lossAndGradient(x, g)
	for range 20 {
		loss := lossAndGradient(x, g)
		preconditioner.Gradient(scaled, g)
		advice, err := run.Rate(t.Context(), loss, scaled, multirate.AtParameterNorm(preconditioner.Norm(x)))
		if err != nil {
			t.Fatal(err)
		}
		preconditioner.Step(x, g, advice.LearningRate)
	}
	if end := lossAndGradient(x, g); end > 1e-9*start {
		t.Errorf("loss went from %g to %g in 20 steps, want a fall by 1e9", start, end)
	}
}
