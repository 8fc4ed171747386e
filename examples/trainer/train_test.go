package trainer_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	multirate "multirate/clients/go"
	"multirate/examples/problems"
	"multirate/examples/trainer"
	"multirate/server"
)

// dial connects to a server of the test's own on a unix socket.
func dial(t *testing.T) *multirate.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "multirate") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	target := "unix://" + filepath.Join(dir, "s")
	listener, err := server.Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, server.Options{Logger: slog.New(slog.DiscardHandler)}, listener) }()
	client, err := multirate.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return client
}

// twoScales has condition number 1e4: a constant rate needs some 40,000 steps
// for what is asked here.
func twoScales() *problems.Quadratic {
	return problems.NewQuadratic("test", 1, problems.Group{Low: 1e-4, High: 2e-4, Count: 10}, problems.Group{Low: 0.5, High: 1, Count: 10})
}

// below is met at a loss of share times that of the start.
func below(p problems.Problem, share float64) func(float64) bool {
	start := p.Gradient(p.Start(), make([]float64, p.Dim()))
	return func(loss float64) bool { return loss <= share*start }
}

func TestEveryTierTrains(t *testing.T) {
	client := dial(t)
	for _, test := range []struct {
		name   string
		config trainer.Config
		share  float64
		// products is the number that must have been spent, -1 for some.
		products int
	}{
		{"sketches", trainer.Config{}, 1e-6, 0},
		{"sketches and the diagonal", trainer.Config{DiagonalProbes: 5}, 1e-6, 5},
		{"vectors, mrgd", trainer.Config{Tier: trainer.TierVectors, Policy: multirate.PolicyMrGD}, 1e-6, -1},
		{"vectors, chebyshev", trainer.Config{Tier: trainer.TierVectors, Policy: multirate.PolicyChebyshev}, 1e-6, -1},
		{"vectors and the diagonal", trainer.Config{Tier: trainer.TierVectors, DiagonalProbes: 5}, 1e-6, -1},
		// A safe rate serves the stiff scale, which has half of the energy.
		{"scalars", trainer.Config{Tier: trainer.TierScalars}, 0.7, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := twoScales()
			test.config.Target, test.config.Budget = below(p, test.share), 1000
			result, err := trainer.Train(t.Context(), client, p, test.config)
			if err != nil {
				t.Fatal(err)
			}
			if !result.Reached {
				t.Errorf("loss %g after %d gradients, from %g", result.Loss, result.Gradients, result.Start)
			}
			if test.products >= 0 && result.Products != test.products || test.products < 0 && result.Products == 0 {
				t.Errorf("%d products, want %d", result.Products, test.products)
			}
			if want := result.Steps + 1 + 2*result.Products; result.Gradients != want {
				t.Errorf("%d gradients for %d steps and %d products, want %d", result.Gradients, result.Steps, result.Products, want)
			}
		})
	}
}

func TestDiagonalOfDiagonalHessianNeedsNoScales(t *testing.T) {
	// With the exact diagonal every mode has curvature 1: past the warmup of a
	// few steps one rate of 1 ends it.
	p := twoScales()
	result, err := trainer.Train(t.Context(), dial(t), p, trainer.Config{DiagonalProbes: 1, Target: below(p, 1e-6), Budget: 40})
	if err != nil || !result.Reached {
		t.Errorf("loss %g from %g after %d gradients, %v", result.Loss, result.Start, result.Gradients, err)
	}
}

func TestBudgetEndsTraining(t *testing.T) {
	steps := 0
	result, err := trainer.Train(t.Context(), dial(t), twoScales(), trainer.Config{
		Budget: 12, OnStep: func(s trainer.Step) { steps++ },
	})
	if err != nil || result.Reached || result.Gradients != 12 || result.Steps != 11 || steps != 11 {
		t.Errorf("%+v, %d callbacks, %v, want 12 gradients and 11 steps between them", result, steps, err)
	}
}

func TestCancelEndsTraining(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	result, err := trainer.Train(ctx, dial(t), twoScales(), trainer.Config{OnStep: func(s trainer.Step) {
		if s.Step == 5 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || result.Steps != 6 {
		t.Errorf("%d steps, %v, want 6 and the context's error", result.Steps, err)
	}
}

func TestEqualSeedsGiveEqualRuns(t *testing.T) {
	client := dial(t)
	train := func() trainer.Result {
		result, err := trainer.Train(t.Context(), client, problems.Wine(), trainer.Config{Seed: 3, DiagonalProbes: 5, Budget: 120})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	if a, b := train(), train(); a.Loss != b.Loss {
		t.Errorf("losses %v and %v of equal runs", a.Loss, b.Loss)
	}
}

func TestTierNames(t *testing.T) {
	for _, tier := range []trainer.Tier{trainer.TierSketch, trainer.TierVectors, trainer.TierScalars} {
		if got, err := trainer.ParseTier(tier.String()); err != nil || got != tier {
			t.Errorf("ParseTier(%q) = %v, %v", tier, got, err)
		}
	}
	if _, err := trainer.ParseTier("coefficients"); err == nil {
		t.Error("no error for an unknown tier")
	}
}
