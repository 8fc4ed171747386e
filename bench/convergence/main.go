// Command convergence counts the gradients that multirate and the methods it is
// compared with need, on every family of problems, and prints a table, a CSV file
// and a performance profile. What the columns mean is in docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"multirate/bench/service"
	"multirate/bench/suite"
	"multirate/examples/problems"
)

// options are the command line's.
type options struct {
	families, methods *regexp.Regexp
	seeds             int
	first             uint64
	sizes             []int
	targets           []float64
	budget            int
	parallel, worst   int
	out               string
}

func main() {
	o, err := parse()
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "convergence:", err)
		os.Exit(1)
	}
}

func parse() (options, error) {
	var names []string
	for _, c := range suite.Contenders() {
		names = append(names, c.Name)
	}
	families := flag.String("families", "", "regular expression of the families: "+problems.Names(suite.Families()))
	methods := flag.String("methods", "", "regular expression of the methods: "+strings.Join(names, ", "))
	seeds := flag.Int("seeds", 5, "seeds for each family")
	first := flag.Uint64("first-seed", 101, "the first of them; constants are chosen on seeds below 100")
	sizes := flag.String("sizes", "1", "comma-separated multiples of the usual number of parameters, for what is drawn")
	targets := flag.String("targets", "", "comma-separated targets, of the loss or the excess as the family has it (default: the family's own)")
	budget := flag.Int("budget", 0, "gradients that each method may take (default: the family's own)")
	parallel := flag.Int("parallel", runtime.GOMAXPROCS(0), "measurements at a time")
	worst := flag.Int("worst", 10, "worst cases to list for each of multirate's methods")
	out := flag.String("out", "multirate-out", "folder of the CSV file and the picture; empty for none")
	flag.Parse()
	o := options{seeds: *seeds, first: *first, budget: *budget, parallel: *parallel, worst: *worst, out: *out}
	var errs [4]error
	o.families, errs[0] = regexp.Compile(*families)
	o.methods, errs[1] = regexp.Compile(*methods)
	o.sizes, errs[2] = list(*sizes, strconv.Atoi)
	o.targets, errs[3] = list(*targets, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	if o.seeds < 1 || o.budget < 0 || o.parallel < 1 {
		return o, errors.New("-seeds and -parallel are at least 1, -budget at least 0")
	}
	return o, errors.Join(errs[:]...)
}

// list parses comma-separated positive numbers.
func list[T int | float64](text string, parse func(string) (T, error)) (all []T, err error) {
	for word := range strings.SplitSeq(text, ",") {
		if word == "" {
			continue
		}
		v, err := parse(word)
		if err != nil || v <= 0 {
			return nil, fmt.Errorf("%q in %q is not a positive number", word, text)
		}
		all = append(all, v)
	}
	return all, nil
}

func run(ctx context.Context, o options) (err error) {
	client, stop, err := service.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	fmt.Println(machine())
	cases := o.cases()
	if len(cases) == 0 {
		return errors.New("no family matches")
	}
	all, interrupted := measureAll(ctx, client, cases, o)
	fmt.Print(tables(all), worst(all, o))
	if o.out == "" || len(all) == 0 {
		return interrupted
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	path := filepath.Join(o.out, "convergence")
	if err := writeCSV(path+".csv", all); err != nil {
		return err
	}
	if err := drawProfile(path+".png", all); err != nil {
		return err
	}
	fmt.Printf("\n%s.csv and .png\n", path)
	return interrupted
}

// machine says what the figures were measured on.
func machine() string {
	model := runtime.GOARCH
	info, _ := os.ReadFile("/proc/cpuinfo") // on Linux alone
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%s, %d cores, %s, %s", model, runtime.NumCPU(), runtime.Version(), runtime.GOOS)
}
