package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"multirate/bench/suite"
	multirate "multirate/clients/go"
	"multirate/examples/problems"
)

// instance is one problem with one target.
type instance struct {
	family problems.Entry
	seed   uint64
	size   int
}

// result is a row with the problem it belongs to.
type result struct {
	suite.Row
	instance
	contender suite.Contender
	// problem and dimension describe what the seed made.
	problem   string
	dimension int
	took      time.Duration
}

// cases are all problems and targets asked for, family by family.
func (o options) cases() (all []instance) {
	for _, family := range suite.Families() {
		if !o.families.MatchString(family.Name) {
			continue
		}
		if o.budget > 0 {
			family.Budget = o.budget
		}
		sizes, seeds, targets := o.sizes, o.seeds, o.targets
		if !family.Sized {
			sizes = []int{1}
		}
		if len(targets) == 0 {
			targets = []float64{family.Goal.Value}
		}
		for _, size := range sizes {
			for _, target := range targets {
				family.Goal.Value = target
				for seed := o.first; seed < o.first+uint64(seeds); seed++ {
					all = append(all, instance{family, seed, size})
				}
			}
		}
	}
	return all
}

// job is one measurement; its result goes to a place of its own, so that the
// order of results does not depend on which ends first.
type job struct {
	instance
	contender suite.Contender
	task      problems.Task
	to        *result
}

// measureAll measures every contender on every case, some at a time. With an
// error come the results that were complete before.
func measureAll(ctx context.Context, client *multirate.Client, cases []instance, o options) ([]result, error) {
	var jobs []job
	for _, c := range cases {
		task, err := problems.NewTask(c.family, c.seed, c.size)
		if err != nil {
			return nil, err
		}
		for _, contender := range suite.Contenders() {
			if o.methods.MatchString(contender.Name) && contender.Suits(task.Problem) {
				jobs = append(jobs, job{c, contender, task, nil})
			}
		}
	}
	all := make([]result, len(jobs))
	queue := make(chan job)
	var wait sync.WaitGroup
	var failed sync.Once
	var first error
	for range o.parallel {
		wait.Go(func() {
			for j := range queue {
				began := time.Now()
				row, err := j.contender.Measure(ctx, client, j.task, j.seed)
				if err != nil {
					failed.Do(func() { first = err })
					continue
				}
				*j.to = result{row, j.instance, j.contender, j.task.Problem.Name(), j.task.Problem.Dim(), time.Since(began)}
			}
		})
	}
	began, told := time.Now(), time.Now()
	for i, j := range jobs {
		if ctx.Err() != nil {
			break
		}
		j.to = &all[i]
		queue <- j
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			fmt.Fprintf(os.Stderr, "%d of %d begun, %s\n", i+1, len(jobs), time.Since(began).Round(time.Second))
		}
	}
	close(queue)
	wait.Wait()
	return slices.DeleteFunc(all, func(r result) bool { return r.Method == "" }), first
}
