package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	multirate "multirate/clients/go"
	"multirate/cmd/multirate/internal/picture"
	"multirate/cmd/multirate/internal/sidecar"
	"multirate/examples/problems"
	"multirate/examples/trainer"
	multiratev1 "multirate/proto/multirate/v1"
)

// diagonalProbes is the number of Hutchinson probes of --diagonal: ten
// gradient-equivalents.
const diagonalProbes = 5

// trainOptions are the flags of train.
type trainOptions struct {
	at       connection
	problems []string
	policy   string
	tier     string
	diagonal bool
	seed     uint64
	excess   float64
	loss     float64
	budget   int
	out      string
	compare  bool
	all      bool

	// variants are the numbers of diagonal probes to train with.
	variants []int
	goal     *problems.Goal
	config   trainer.Config
}

func trainCommand() *cobra.Command {
	var o trainOptions
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Train over the service and compare with tuned baselines",
		Long: `Train a problem by gradient descent at the service's rates, each step a real
call, and compare the gradients that this takes with the best constant rate and
the best Adam of a grid. Without flags: two real tables with raw features, in
under a minute.

Without --addr a service is started beside it, on a unix socket of its own, and
stopped at the end.

Problems: ` + problems.Names(problems.Catalogue()) + `.`,
		Example: `  multirate train
  multirate train --problem three-scales --tier vectors --policy chebyshev
  multirate train --problem mnist --addr unix:///run/multirate.sock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.resolve(cmd.Flags()); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.at.flags(cmd.Flags(), "", "the service's address, unix:///path or host:port (default: a service of its own)")
	o.flags(cmd.Flags())
	return cmd
}

func (o *trainOptions) flags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.problems, "problem", []string{"breast-cancer", "wine"}, "problems, from the list above")
	flags.StringVar(&o.policy, "policy", "adaptive", "adaptive, constant, mrgd or chebyshev")
	flags.StringVar(&o.tier, "tier", "sketch", "what the service is told: sketch, vectors or scalars")
	flags.BoolVar(&o.diagonal, "diagonal", false, "only with (or, =false, only without) Hutchinson's diagonal (default: both)")
	flags.Uint64Var(&o.seed, "seed", 1, "seed of problem, sketches and probes")
	flags.Float64Var(&o.excess, "excess", 0, "target for (loss - least)/(first - least) (default: the problem's)")
	flags.Float64Var(&o.loss, "loss", 0, "target for the loss itself")
	flags.IntVar(&o.budget, "steps", 0, "gradient-equivalents that each method may take (default: the problem's, 20,000 for most)")
	flags.StringVar(&o.out, "out", "multirate-out", "folder for the picture; empty for no picture")
	flags.BoolVar(&o.compare, "compare", true, "compare with the best constant rate and the best Adam of a grid")
	flags.BoolVar(&o.all, "all-baselines", false, "compare with every first-order method at hand, L-BFGS included; takes longer")
}

// resolve makes sense of the flags.
func (o *trainOptions) resolve(flags *pflag.FlagSet) (err error) {
	policy, ok := multiratev1.Policy_value["POLICY_"+strings.ToUpper(o.policy)]
	if !ok || policy == 0 {
		return fmt.Errorf("unknown policy %q: use adaptive, constant, mrgd or chebyshev", o.policy)
	}
	o.config = trainer.Config{Policy: multirate.Policy(policy), Seed: o.seed}
	if o.config.Tier, err = trainer.ParseTier(o.tier); err != nil {
		return err
	}
	o.variants = []int{0, diagonalProbes}
	if flags.Changed("diagonal") && o.diagonal {
		o.variants = o.variants[1:]
	} else if flags.Changed("diagonal") {
		o.variants = o.variants[:1]
	}
	switch excess, loss := flags.Changed("excess"), flags.Changed("loss"); {
	case excess && loss:
		return errors.New("--excess and --loss are two targets: choose one")
	case excess:
		o.goal = &problems.Goal{Excess: true, Value: o.excess}
	case loss:
		o.goal = &problems.Goal{Value: o.loss}
	}
	if o.budget < 0 {
		return fmt.Errorf("--steps %d: must be positive", o.budget)
	}
	return nil
}

// run trains, compares, reports and draws.
func (o *trainOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	contests, err := o.contests()
	if err != nil {
		return err
	}
	p := newProgress(stderr)
	if err := o.train(ctx, contests, p); err != nil {
		return err
	}
	if o.compare {
		if err := compare(ctx, contests, rivals(o.all), p); err != nil {
			return err
		}
	}
	text := reportText(contests)
	if o.compare {
		text += reading
	}
	text += "\nmachine      " + machine() + "\n"
	var drawn error
	if o.out != "" {
		var path string
		if path, drawn = o.draw(contests); drawn == nil {
			text += "picture      " + path + ".png and .svg\n"
		}
	}
	_, err = io.WriteString(stdout, text)
	return errors.Join(err, drawn)
}

func (o *trainOptions) contests() (contests []*contest, err error) {
	for _, name := range o.problems {
		e, err := problems.Find(name)
		if err != nil {
			return nil, err
		}
		if o.goal != nil {
			e.Goal = *o.goal
		}
		if o.budget > 0 {
			e.Budget = o.budget
		}
		t, err := problems.NewTask(e, o.seed, 1)
		if err != nil {
			return nil, err
		}
		contests = append(contests, &contest{Task: t})
	}
	return contests, nil
}

// train trains all contests over the service at the address given, or over a
// sidecar.
func (o *trainOptions) train(ctx context.Context, contests []*contest, p *progress) (err error) {
	client, stop, err := o.service(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, c := range contests {
		for _, probes := range o.variants {
			config := o.config
			config.DiagonalProbes, config.Budget = probes, c.Budget
			if err := c.train(ctx, client, config, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// service connects, to a sidecar where no address is given, and returns how to
// leave.
func (o *trainOptions) service(ctx context.Context, p *progress) (client *multirate.Client, stop func() error, err error) {
	if o.at.address != "" {
		client, err = o.at.dial(ctx)
		if err != nil {
			return nil, nil, err
		}
		return client, client.Close, nil
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find this program to start the service with: %w", err)
	}
	beside, err := sidecar.Start(executable)
	if err != nil {
		return nil, nil, err
	}
	client, err = beside.Dial(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, beside.Stop())
	}
	p.say("service started, process %d at %s", beside.PID, beside.Target)
	return client, func() error { return errors.Join(client.Close(), beside.Stop()) }, nil
}

// draw writes the picture and returns its path without extension.
func (o *trainOptions) draw(contests []*contest) (path string, err error) {
	var columns []picture.Column
	var names []string
	for _, c := range contests {
		columns = append(columns, c.column())
		names = append(names, c.Name)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return "", err
	}
	path = filepath.Join(o.out, strings.Join(slices.Compact(names), "-and-"))
	return path, picture.Write(path, columns)
}
