package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"multirate/estimator"
)

const (
	reorthogonalised = 10_000_000 // elements a vector
	againstVectors   = 32
)

// lanczosBars are promises about Lanczos with stored vectors: how fast it
// orthogonalises, and how much memory it holds.
func lanczosBars() []bar {
	return []bar{
		{"reorthogonalisation, time over a copy of the bytes it reads", 1 / 0.6, "times", reorthogonalisation},
		{"Lanczos, float32, memory over the formula", 0.05, "off", func(context.Context, *bench) (float64, string, error) {
			return lanczosMemory(estimator.LanczosConfig{Dimension: 1_000_000, Products: 32, Precision: estimator.Float32})
		}},
		{"Lanczos, float64, memory over the formula", 0.05, "off", func(context.Context, *bench) (float64, string, error) {
			return lanczosMemory(estimator.LanczosConfig{Dimension: 1_000_000, Products: 16})
		}},
		{"warm start after a drift of 1 %, products over a cold start's", 0.25, "times", warmStart},
	}
}

// warmStart is the median over the seeds of the products that a re-estimate takes
// from the Ritz vectors of the last one, over those of a start from nothing, on
// 10 stiff eigenvalues beside a bulk of 1,000. Every eigenvalue has drifted by up
// to 1 % of itself.
func warmStart(_ context.Context, b *bench) (float64, string, error) {
	const dim = 1010
	var ratios []float64
	note := ""
	for seed := b.first; seed < b.first+uint64(b.seeds); seed++ {
		rng := rand.New(rand.NewPCG(seed, 1))
		lambda := make([]float64, dim)
		for i := range lambda {
			lambda[i] = math.Pow(100, rng.Float64()-1)
			if i < 10 {
				lambda[i] = 50 * math.Pow(2, rng.Float64())
			}
		}
		config := estimator.LanczosConfig{Dimension: dim, Products: 200, Seed: seed, Precision: estimator.Float32}
		run := func() (*estimator.Lanczos, error) {
			l, err := config.Start()
			product := make([]float64, dim)
			for err == nil && !l.Done() && !l.Converged(0.05) {
				for i, x := range l.Probe() {
					product[i] = float64(float32(lambda[i] * x))
				}
				err = l.Absorb(product)
			}
			return l, err
		}
		before, err := run()
		if err != nil {
			return math.NaN(), "", err
		}
		config.Kept = before.Keep()
		for i := range lambda {
			lambda[i] *= 1 + 0.01*(2*rng.Float64()-1)
		}
		warm, err := run()
		if err != nil {
			return math.NaN(), "", err
		}
		config.Kept = nil
		cold, err := run()
		if err != nil {
			return math.NaN(), "", err
		}
		ratios = append(ratios, float64(warm.Steps())/float64(cold.Steps()))
		note = fmt.Sprintf("last: %d products, cold %d", warm.Steps(), cold.Steps())
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2], fmt.Sprintf("%.2g to %.2g over %d seeds; %s", ratios[0], ratios[len(ratios)-1], len(ratios), note), nil
}

// onAllCores is an [estimator.Parallel].
func onAllCores(n int, f func(i int)) {
	var wg sync.WaitGroup
	cores := min(n, runtime.GOMAXPROCS(0))
	for c := range cores {
		wg.Go(func() {
			for i := c; i < n; i += cores {
				f(i)
			}
		})
	}
	wg.Wait()
}

// decades writes the product of v with a diagonal matrix over six decades.
func decades(product, v []float64) {
	for i, x := range v {
		product[i] = x * (1e-6 + float64(i)/float64(len(v)))
	}
}

// reorthogonalisation is the time that the last of 32 products of dimension 1e7
// takes in [estimator.Lanczos.Absorb], all of it, over the time of a copy of the
// bytes of the basis that it reads: two passes over the vectors in float32. Both
// use all cores, and take turns, so that what else the machine does hits both.
func reorthogonalisation(ctx context.Context, _ *bench) (float64, string, error) {
	config := estimator.LanczosConfig{
		Dimension: reorthogonalised, Products: 1 << 20, Seed: 1, Precision: estimator.Float32, Parallel: onAllCores,
	}
	l, err := config.Start()
	if err != nil {
		return math.NaN(), "", err
	}
	product := make([]float64, reorthogonalised)
	from, to := make([]float32, reorthogonalised), make([]float32, reorthogonalised)
	for i := range from {
		from[i], to[i] = float32(i), 1 // every page is there before the clock starts
	}
	const passes = 2
	var ours, copies []float64
	for l.Steps() < againstVectors+3 && ctx.Err() == nil {
		decades(product, l.Probe())
		start := time.Now()
		if err := l.Absorb(product); err != nil {
			return math.NaN(), "", err
		}
		took := time.Since(start).Seconds()
		if l.Steps() < againstVectors-3 {
			continue
		}
		read := float64(passes * 4 * reorthogonalised * l.Steps())
		ours = append(ours, read/took)
		start = time.Now()
		for range passes * l.Steps() {
			copyVector(to, from)
		}
		copies = append(copies, read/time.Since(start).Seconds())
	}
	slices.Sort(ours)
	slices.Sort(copies)
	mine, theirs := ours[len(ours)/2], copies[len(copies)/2]
	return theirs / mine, fmt.Sprintf("D = %d, k = %d +- 3, medians of %d: reorthogonalisation reads %.2f GB/s of the basis, a copy takes %.2f GB/s (and writes as much): %.0f %%",
		reorthogonalised, againstVectors, len(ours), mine/1e9, theirs/1e9, 100*mine/theirs), ctx.Err()
}

func copyVector(to, from []float32) {
	const panel = 1 << 16
	onAllCores((len(from)+panel-1)/panel, func(p int) {
		end := min(len(from), (p+1)*panel)
		copy(to[p*panel:end], from[p*panel:end])
	})
}

// lanczosMemory is by what share the memory that a run holds at its peak is off
// the formula, which is the run's alone: the product is the caller's.
func lanczosMemory(config estimator.LanczosConfig) (float64, string, error) {
	product := make([]float64, config.Dimension)
	before := heap()
	l, err := config.Start()
	if err != nil {
		return math.NaN(), "", err
	}
	peak := uint64(0)
	for !l.Done() {
		decades(product, l.Probe())
		if err := l.Absorb(product); err != nil {
			return math.NaN(), "", err
		}
		peak = max(peak, heap())
	}
	l.Spectrum()
	peak = max(peak, heap())
	runtime.KeepAlive(l)
	runtime.KeepAlive(product)
	held, formula := float64(peak-before), config.Bytes()
	return math.Abs(held/formula - 1), fmt.Sprintf("D = %d, %d products: %.2f MB held, %.2f MB by LanczosConfig.Bytes", config.Dimension, config.Products, held/1e6, formula/1e6), nil
}

// heap is the live heap in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
