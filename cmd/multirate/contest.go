package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"multirate/bench/baseline"
	multirate "multirate/clients/go"
	"multirate/examples/problems"
	"multirate/examples/trainer"
)

// contest is one problem, solved by multirate and by the methods that it is
// compared with.
type contest struct {
	problems.Task
	ours   []ours
	theirs []theirs
}

// ours is one training over the service.
type ours struct {
	// name is the table's, variant what sets it apart from the others of ours.
	name, variant string

	result trainer.Result
	record record
	took   time.Duration
}

// theirs is the best of a grid.
type theirs struct {
	baseline.Result
	label string
	// tried counts the settings.
	tried int
	took  time.Duration
}

// train runs the reference trainer with live progress.
func (c *contest) train(ctx context.Context, client *multirate.Client, config trainer.Config, p *progress) error {
	variant := variantName(config)
	o := ours{name: "multirate, " + variant, variant: variant, record: record{ctx: ctx, task: c.Task}}
	config.Target = c.Reached
	config.OnStep = func(s trainer.Step) {
		o.record.add(s)
		p.status(func() string {
			return fmt.Sprintf("%s  step %s  %s %.1e  rate %.1e  %s  %s", c.Name, grouped(s.Step),
				strings.Fields(c.Goal.Measure())[0], c.Value(s.Loss), s.LearningRate,
				scaleText(s.Scale, s.Scales), enumName(s.Reason, "REASON_"))
		})
	}
	began := time.Now()
	var err error
	o.result, err = trainer.Train(ctx, client, c.Problem, config)
	o.took = time.Since(began)
	if err != nil {
		return err
	}
	o.record.end(o.result)
	p.say("%s, %s: %s of %.2e after %s gradients", c.Name, variant,
		c.Goal.Measure(), c.Value(o.result.Loss), grouped(o.result.Gradients))
	c.ours = append(c.ours, o)
	return nil
}

func variantName(config trainer.Config) string {
	name := map[trainer.Tier]string{
		trainer.TierSketch:  "sketches alone",
		trainer.TierVectors: "Hessian-vector products",
		trainer.TierScalars: "scalars alone",
	}[config.Tier]
	if config.DiagonalProbes > 0 {
		name = map[trainer.Tier]string{
			trainer.TierSketch:  "with the diagonal",
			trainer.TierVectors: "products and diagonal",
			trainer.TierScalars: "scalars and diagonal",
		}[config.Tier]
	}
	if config.Policy != multirate.PolicyAdaptive {
		name += ", " + enumName(config.Policy, "POLICY_")
	}
	return name
}

// rival is a method that train compares with.
type rival struct {
	baseline.Method
	// label is what tables call the best of its grid.
	label string
}

// rivals are the usual two, or every first-order method at hand.
func rivals(all bool) (rivals []rival) {
	if !all {
		return []rival{{baseline.GradientDescent(), "best constant rate"}, {baseline.Adam(), "best Adam"}}
	}
	for _, m := range baseline.Methods() {
		rivals = append(rivals, rival{m, "best " + m.Name})
	}
	return rivals
}

// compare runs the rivals of all contests, as many at a time as there are
// cores.
func compare(ctx context.Context, contests []*contest, rivals []rival, p *progress) error {
	var wait sync.WaitGroup
	cores := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, c := range contests {
		c.theirs = make([]theirs, len(rivals))
		for i, r := range rivals {
			wait.Go(func() {
				cores <- struct{}{}
				defer func() { <-cores }()
				c.theirs[i] = c.best(ctx, r, p)
			})
		}
	}
	wait.Wait()
	return ctx.Err()
}

// best runs one method over its grid. Once ctx has ended every loss is
// infinite, so that the remaining runs end at their first gradient.
func (c *contest) best(ctx context.Context, r rival, p *progress) theirs {
	began, tried := time.Now(), 0
	problem := baseline.Interruptible(ctx, c.Problem)
	best, all := baseline.Best(r.Method, problem, c.Reached, c.Budget, func(one baseline.Result) {
		tried++
		p.status(func() string {
			return fmt.Sprintf("%s  %s  %d settings tried  %s: %s", c.Name, r.Name, tried, one.Setting, one.End)
		})
	})
	if ctx.Err() == nil {
		p.say("%s, %s: best of %d is %s, %s of %.2e after %s gradients", c.Name, r.Name, len(all),
			best.Setting, c.Goal.Measure(), c.Value(best.Final), grouped(best.Gradients))
	}
	return theirs{Result: best, label: r.label, tried: len(all), took: time.Since(began)}
}
