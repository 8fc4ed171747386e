// Command minibatch trains small networks on mini-batches at rates that the
// service advises, untuned, and compares the validation loss after a fixed number
// of steps with that of the best constant rate, cosine, CDAT and Schedule-Free of
// a grid each, chosen in hindsight, with the same update rule on the same batches.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"multirate/bench/service"
	multirate "multirate/clients/go"
)

// limit is what is promised of the median ratio to the best of the grid.
const limit = 1.02

func main() {
	seeds := flag.Int("seeds", 5, "seeds for each setting")
	first := flag.Uint64("first-seed", 101, "the first of them; constants were chosen on seeds below 100")
	only := flag.String("tasks", "mnist,digits", "comma-separated tasks")
	epochs := flag.Float64("epochs", 5, "passes over the training data, at least 100 steps")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx, strings.Split(*only, ","), *seeds, *first, *epochs); err != nil {
		fmt.Fprintln(os.Stderr, "minibatch:", err)
		os.Exit(1)
	}
}

// setting is one row of the table.
type setting struct {
	task  task
	rule  rule
	batch int
	steps int
}

func compare(ctx context.Context, names []string, seeds int, first uint64, epochs float64) (err error) {
	client, halt, err := service.Start(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if e := halt(); err == nil {
			err = e
		}
	}()
	fmt.Printf("%s/%s, %d cores, %s; seeds %d to %d; validation loss, medians\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), first, first+uint64(seeds)-1)
	fmt.Println("task     batch  update rule   steps  multirate   range            best constant   best cosine     best CDAT       Schedule-Free   ratio")
	var ratios []float64
	for _, name := range names {
		t, err := newTask(name)
		if err != nil {
			return err
		}
		for _, r := range rules {
			for _, batch := range []int{32, 128, 1024} {
				s := setting{t, r, batch, max(int(epochs*float64(len(t.train.labels))/float64(batch)), 100)}
				ratio, err := s.row(ctx, client, seeds, first)
				if err != nil {
					return err
				}
				ratios = append(ratios, ratio)
			}
		}
	}
	slices.Sort(ratios)
	median, verdict := middle(ratios), "ok"
	if !(median <= limit) {
		verdict = "short"
	}
	fmt.Printf("\nmedian ratio to the best of the four: measured %.3f, limit %.2f: %s\n", median, limit, verdict)
	return nil
}

// candidate is a way to train: an update, and the rates for it with each seed.
type candidate struct {
	update func(r rule, x []float64) update
	open   func(seed uint64) (source, error)
}

// peers are the tuned ways, a grid of each.
func (s setting) peers() [][]setup {
	always := func(rates source) candidate {
		return candidate{rule.update, func(uint64) (source, error) { return rates, nil }}
	}
	var constant, cosine, cdats, scheduleFree []setup
	for _, rate := range s.rule.grid() {
		constant = append(constant, setup{rate, always(fixed{rate, false, s.steps})})
		cosine = append(cosine, setup{rate, always(fixed{rate, true, s.steps})})
	}
	for _, sigma := range cdatGrid {
		cdats = append(cdats, setup{sigma, candidate{rule.update, func(uint64) (source, error) {
			return newCDAT(sigma, s.task.network.dim()), nil
		}}})
	}
	for _, rate := range scheduleFreeGrid {
		rates := always(fixed{rate, false, s.steps})
		scheduleFree = append(scheduleFree, setup{rate, candidate{newAveraged, rates.open}})
	}
	return [][]setup{constant, cosine, cdats, scheduleFree}
}

// setup is a candidate with the number that sets it.
type setup struct {
	number float64
	candidate
}

// row measures and prints one setting and returns its ratio.
func (s setting) row(ctx context.Context, client *multirate.Client, seeds int, first uint64) (float64, error) {
	ours, err := s.losses(ctx, seeds, first, candidate{rule.update, func(seed uint64) (source, error) {
		return newAdvised(ctx, client, s, seed)
	}})
	if err != nil {
		return 0, err
	}
	fmt.Printf("%-8s %5d  %-12s %6d  %9.4f   %.4f..%.4f   ", s.task.name, s.batch, s.rule.name, s.steps, middle(ours), ours[0], ours[len(ours)-1])
	least := math.Inf(1)
	for _, grid := range s.peers() {
		best, number := math.Inf(1), 0.0
		for _, c := range grid {
			all, err := s.losses(ctx, seeds, first, c.candidate)
			if err != nil {
				return 0, err
			}
			if m := middle(all); m < best {
				best, number = m, c.number
			}
		}
		fmt.Printf("%.4f at %-5g ", best, number)
		least = min(least, best)
	}
	ratio := middle(ours) / least
	fmt.Printf("%5.2f\n", ratio)
	return ratio, nil
}

// losses are the validation losses with every seed, ascending.
func (s setting) losses(ctx context.Context, seeds int, first uint64, c candidate) ([]float64, error) {
	all := slices.Repeat([]float64{math.Inf(1)}, seeds)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range all {
		group.Go(func() (err error) {
			all[i], err = s.train(ctx, first+uint64(i), c)
			return err
		})
	}
	err := group.Wait()
	slices.Sort(all)
	return all, err
}

func middle(sorted []float64) float64 { return sorted[len(sorted)/2] }
