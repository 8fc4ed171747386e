package main

import (
	"fmt"
	"strconv"
	"strings"

	"multirate/bench/baseline"
	"multirate/examples/problems"
)

// entry is a problem that train knows by name.
type entry struct {
	name string
	// title is what tables call it.
	title string
	build func(seed uint64) problems.Problem
	goal  goal
	// budget is the number of gradients that each method may take.
	budget int
}

// goal is when a problem counts as solved.
type goal struct {
	// excess says that value is of (loss - least)/(first - least), not of the
	// loss itself.
	excess bool
	value  float64
}

// String names the goal with its article.
func (g goal) String() string {
	value := strings.Replace(strconv.FormatFloat(g.value, 'e', -1, 64), "e-0", "e-", 1)
	if g.excess {
		return "an excess loss of " + value
	}
	return "a loss of " + value
}

// measure names what the goal is about.
func (g goal) measure() string {
	if g.excess {
		return "excess loss"
	}
	return "loss"
}

func unseeded[P problems.Problem](build func() P) func(uint64) problems.Problem {
	return func(uint64) problems.Problem { return build() }
}

func seeded[P problems.Problem](build func(uint64) P) func(uint64) problems.Problem {
	return func(seed uint64) problems.Problem { return build(seed) }
}

const usualBudget = 20_000

// entries are all problems, with the targets that the project measures them at.
var entries = []entry{
	{"breast-cancer", "breast cancer, raw features", unseeded(problems.BreastCancer), goal{true, 1e-4}, usualBudget},
	{"wine", "wine, raw features", unseeded(problems.Wine), goal{true, 1e-4}, usualBudget},
	{"digits", "digits, raw features", unseeded(problems.Digits), goal{true, 1e-4}, usualBudget},
	{"diabetes", "diabetes, raw features", unseeded(problems.Diabetes), goal{true, 1e-4}, usualBudget},
	{"grouped3", "logistic, features at 1/0.03/0.001", seeded(problems.GroupedLogistic3), goal{true, 1e-6}, usualBudget},
	{"grouped2", "logistic, features at 1/0.01", seeded(problems.GroupedLogistic2), goal{true, 1e-6}, usualBudget},
	{"loguniform", "logistic, features log-uniform over 3 decades", seeded(problems.LogUniformLogistic), goal{true, 1e-6}, usualBudget},
	{"three-scales", "quadratic, 3 scales", seeded(problems.ThreeScales), goal{true, 1e-10}, usualBudget},
	{"two-scales", "quadratic, 2 scales", seeded(problems.TwoScales), goal{true, 1e-10}, usualBudget},
	{"four-scales", "quadratic, 4 scales", seeded(problems.FourScales), goal{true, 1e-10}, usualBudget},
	{"no-gap", "quadratic, no gap", seeded(problems.NoGap), goal{true, 1e-10}, usualBudget},
	{"bulk", "quadratic, bulk and outliers", seeded(problems.BulkOutliers), goal{true, 1e-10}, usualBudget},
	// A gradient of all digits takes milliseconds; the least loss is unknown.
	{"mnist", "network 196-24-10 on 1,000 MNIST digits", seeded(digits), goal{false, 1e-3}, 1000},
}

func digits(seed uint64) *problems.Network { return problems.MNISTNetwork(seed, 1000) }

func entryNames() string {
	var names []string
	for _, e := range entries {
		names = append(names, e.name)
	}
	return strings.Join(names, ", ")
}

func findEntry(name string) (entry, error) {
	for _, e := range entries {
		if e.name == name {
			return e, nil
		}
	}
	return entry{}, fmt.Errorf("unknown problem %q: use one of %s", name, entryNames())
}

// task is a problem to be solved to a goal.
type task struct {
	entry
	problem      problems.Problem
	first, least float64
}

func newTask(e entry, seed uint64) (task, error) {
	t := task{entry: e, problem: e.build(seed)}
	t.first = t.problem.Gradient(t.problem.Start(), make([]float64, t.problem.Dim()))
	if minimum, ok := t.problem.(problems.Minimum); ok {
		t.least = minimum.Minimum()
	} else if e.goal.excess {
		return t, fmt.Errorf("the least loss of %s is unknown: set the target with --loss", e.name)
	}
	return t, nil
}

// value is what the goal measures of a loss.
func (t task) value(loss float64) float64 {
	if t.goal.excess {
		return problems.Excess(loss, t.first, t.least)
	}
	return loss
}

func (t task) target() baseline.Target {
	return func(loss float64) bool { return t.value(loss) <= t.goal.value }
}
