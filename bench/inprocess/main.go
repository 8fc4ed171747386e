// Command inprocess drives [scheduler.Controller] on every family of the
// convergence benchmark without a service, for experiments with the controller:
// the same gradients as multirate/adaptive/sketch, in a fraction of the time.
// What is claimed is measured by bench/convergence, through the real service.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"text/tabwriter"

	"multirate/bench/suite"
	"multirate/examples/problems"
	"multirate/scheduler"
)

type options struct {
	families  *regexp.Regexp
	first     uint64
	seeds     int
	diagonal  bool
	parallel  int
	reference string
	save      string
	policy    scheduler.Policy
	trace     bool
	window    int
	dimension int
	budget    int
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	references, err := load(o.reference)
	if err != nil {
		return err
	}
	var jobs []job
	for _, family := range suite.Families() {
		if !o.families.MatchString(family.Name) {
			continue
		}
		if o.budget > 0 {
			family.Budget = o.budget
		}
		seeds := o.seeds
		if !family.Seeded {
			seeds = min(seeds, 2) // the sketch's seed alone differs
		}
		if family.Name == "random" {
			seeds *= 8 // each is a family of its own
		}
		for seed := o.first; seed < o.first+uint64(seeds); seed++ {
			jobs = append(jobs, job{family, seed, false})
			if o.diagonal {
				jobs = append(jobs, job{family, seed, true})
			}
		}
	}
	all := o.measure(ctx, jobs)
	if o.save != "" {
		if err := store(o.save, all); err != nil {
			return err
		}
	}
	return print(out, all, references)
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("inprocess", flag.ContinueOnError)
	families := f.String("families", "^[^mc]|^collocation", "regular `expression` of the families")
	policy := f.String("policy", "adaptive", "`policy` of the controller")
	f.Uint64Var(&o.first, "first-seed", 1, "first `seed`; constants are chosen on seeds below 100")
	f.IntVar(&o.seeds, "seeds", 3, "`number` of seeds")
	f.BoolVar(&o.diagonal, "diagonal", true, "with the diagonal as well")
	f.IntVar(&o.parallel, "parallel", runtime.NumCPU(), "measurements at a time")
	f.StringVar(&o.reference, "reference", "", "`file` that -save wrote, to compare with")
	f.StringVar(&o.save, "save", "", "`file` to save the counts in")
	f.IntVar(&o.window, "window", 0, "`pairs` kept; 0 for the default")
	f.IntVar(&o.dimension, "dimension", 0, "`length` of sketches; 0 for the default")
	f.IntVar(&o.budget, "budget", 0, "`gradients` at most; 0 for the family's own")
	f.BoolVar(&o.trace, "trace", false, "print each step")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.policy, err = scheduler.ParsePolicy(*policy); err != nil {
		return o, err
	}
	o.families, err = regexp.Compile(*families)
	return o, err
}

type job struct {
	family   problems.Entry
	seed     uint64
	diagonal bool
}

// result is what one run took.
type result struct {
	Family   string
	Seed     uint64
	Diagonal bool
	// Gradients is +Inf, stored as -1, where the target was not met.
	Gradients float64
	Peak      float64
	// Damped, Warmup and Recovered count steps by their reason; Cut those that a
	// guard shortened.
	Damped, Warmup, Recovered, Cut int
	Steps                          int
}

func (r result) key() string { return fmt.Sprint(r.Family, r.Seed, r.Diagonal) }

func (o options) measure(ctx context.Context, jobs []job) []result {
	all := make([]result, len(jobs))
	queue := make(chan int)
	var wait sync.WaitGroup
	for range o.parallel {
		wait.Go(func() {
			for i := range queue {
				all[i] = o.train(ctx, jobs[i])
			}
		})
	}
	for i := range jobs {
		queue <- i
	}
	close(queue)
	wait.Wait()
	return all
}

func store(name string, all []result) error {
	kept := slices.Clone(all)
	for i := range kept {
		if math.IsInf(kept[i].Gradients, 1) {
			kept[i].Gradients = -1
		}
	}
	data, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o600)
}

func load(name string) (map[string]result, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name) //nolint:gosec // the user's own file
	if err != nil {
		return nil, err
	}
	var all []result
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	byKey := map[string]result{}
	for _, r := range all {
		if r.Gradients < 0 {
			r.Gradients = math.Inf(1)
		}
		byKey[r.key()] = r
	}
	return byKey, nil
}

// print prints a line per family, and the geometric mean over the families of
// the ratio to the reference, of medians.
func print(out io.Writer, all []result, references map[string]result) error {
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "family\tgradients\tfewest\tmost\tpeak\t>1.05\tdamped\tcut\trecovered\twarmup\tbefore\tratio\t")
	var logs float64
	var count int
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(r result) bool { return r.Family != all[0].Family })
		if n < 0 {
			n = len(all)
		}
		for _, diagonal := range []bool{false, true} {
			group := slices.DeleteFunc(slices.Clone(all[:n]), func(r result) bool { return r.Diagonal != diagonal })
			if len(group) == 0 {
				continue
			}
			ratio := line(w, group, references)
			if ratio > 0 && !math.IsInf(ratio, 0) {
				logs, count = logs+math.Log(ratio), count+1
			}
		}
		all = all[n:]
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if count > 0 {
		fmt.Fprintf(out, "geometric mean of ratios: %.3f over %d\n", math.Exp(logs/float64(count)), count)
	}
	return nil
}

func line(w io.Writer, group []result, references map[string]result) (ratio float64) {
	var gradients, before []float64
	var damped, cut, recovered, warmup, steps, high int
	peak := 0.0
	for _, r := range group {
		gradients = append(gradients, r.Gradients)
		damped, cut, recovered, warmup, steps = damped+r.Damped, cut+r.Cut, recovered+r.Recovered, warmup+r.Warmup, steps+r.Steps
		peak = max(peak, r.Peak)
		if r.Peak > 1.05 {
			high++
		}
		if b, ok := references[r.key()]; ok {
			before = append(before, b.Gradients)
		}
	}
	name := group[0].Family
	if group[0].Diagonal {
		name += "+d"
	}
	percent := func(n int) string { return fmt.Sprintf("%.0f%%", 100*float64(n)/float64(steps)) }
	slices.Sort(gradients)
	middle := gradients[len(gradients)/2]
	fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.4g\t%d\t%s\t%s\t%s\t%d\t", name, middle, gradients[0], gradients[len(gradients)-1],
		peak, high, percent(damped), percent(cut), percent(recovered), warmup/len(group))
	if len(before) == len(gradients) {
		// of logs, seed by seed, where most are finite
		sum, n := 0.0, 0
		for _, r := range group {
			if l := math.Log(r.Gradients / references[r.key()].Gradients); !math.IsNaN(l) && !math.IsInf(l, 0) {
				sum, n = sum+l, n+1
			}
		}
		slices.Sort(before)
		ratio = math.Exp(sum / float64(max(n, 1)))
		fmt.Fprintf(w, "%.0f\t%.3f\t", before[len(before)/2], ratio)
	}
	fmt.Fprintln(w)
	return ratio
}
