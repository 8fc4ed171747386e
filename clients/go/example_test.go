package multirate_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"

	multirate "multirate/clients/go"
	"multirate/server"
)

// startSidecar serves on a unix socket until stop, and returns its target.
func startSidecar() (target string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "multirate")
	if err != nil {
		return "", nil, err
	}
	target = "unix://" + filepath.Join(dir, "socket")
	listener, err := server.Listen(target)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- server.Serve(ctx, server.Options{Logger: slog.New(slog.DiscardHandler)}, listener)
	}()
	return target, func() {
		cancel()
		if err := <-done; err != nil {
			log.Print(err)
		}
		_ = os.RemoveAll(dir)
	}, nil
}

// curvature has two scales, a thousand times apart.
var curvature = []float64{1, 1.5, 2, 1000, 1500, 2000}

func lossAndGradient(x, g []float64) (loss float64) {
	for i, h := range curvature {
		g[i] = h * x[i]
		loss += h * x[i] * x[i] / 2
	}
	return loss
}

// A training loop of a few lines. The best constant rate needs some 14,000
// steps for this loss.
func Example() {
	target, stop, err := startSidecar()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()

	client, err := multirate.Dial(ctx, target)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	run, err := client.NewRun(ctx, multirate.RunConfig{
		Dimension:      int64(len(curvature)),
		LossLowerBound: multirate.Known(0),
	})
	if err != nil {
		log.Fatal(err)
	}

	x, g := []float64{1, 1, 1, 1, 1, 1}, make([]float64, 6)
	steps, loss := 0, lossAndGradient(x, g)
	for ; loss > 1e-9; steps++ {
		advice, err := run.Rate(ctx, loss, g)
		if err != nil {
			log.Fatal(err)
		}
		for i := range x {
			x[i] -= advice.LearningRate * g[i]
		}
		loss = lossAndGradient(x, g)
	}
	fmt.Println("within 100 steps:", steps <= 100)
	// Output: within 100 steps: true
}

// The service runs Lanczos on products that the trainer computes.
func ExampleRun_EstimateSpectrum() {
	target, stop, err := startSidecar()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	client, err := multirate.Dial(ctx, target)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	run, err := client.NewRun(ctx, multirate.RunConfig{Dimension: int64(len(curvature))})
	if err != nil {
		log.Fatal(err)
	}

	difference := multirate.FiniteDifference{Gradient: func(x, g []float64) { lossAndGradient(x, g) }}
	spectrum, err := run.EstimateSpectrum(ctx, difference.At(make([]float64, 6)), multirate.EstimateOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, scale := range spectrum.GetScales() {
		fmt.Printf("%d eigenvalues in [%.4g, %.4g]\n", scale.GetCount(), scale.GetLowest(), scale.GetHighest())
	}
	// Output:
	// 3 eigenvalues in [1000, 2000]
	// 3 eigenvalues in [1, 2]
}
