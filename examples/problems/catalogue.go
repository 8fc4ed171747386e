package problems

import (
	"fmt"
	"strconv"
	"strings"
)

// Entry is a problem known by name, with the target that the project measures
// it at.
type Entry struct {
	// Name is for command lines, Title for tables.
	Name, Title string
	// Build makes the problem. Size >= 1 multiplies the number of parameters of
	// what is drawn; tables and networks have one size and do not look at it.
	Build func(seed uint64, size int) Problem
	// Goal is when the problem counts as solved.
	Goal Goal
	// Budget is the number of gradients that each method may take.
	Budget int
	// Sized says that Build looks at the size, Seeded that it looks at the seed.
	Sized, Seeded bool
}

// Goal is a loss to be reached.
type Goal struct {
	// Excess says that Value is of [Excess], not of the loss itself.
	Excess bool
	// Value is the target.
	Value float64
}

// String names the goal with its article.
func (g Goal) String() string {
	value := strings.Replace(strconv.FormatFloat(g.Value, 'e', -1, 64), "e-0", "e-", 1)
	if g.Excess {
		return "an excess loss of " + value
	}
	return "a loss of " + value
}

// Measure names what the goal is about.
func (g Goal) Measure() string {
	if g.Excess {
		return "excess loss"
	}
	return "loss"
}

const usualBudget = 20_000

// Catalogue returns every problem known by name.
func Catalogue() []Entry {
	table := func(name, title string, build func() Problem) Entry {
		return Entry{
			Name: name, Title: title, Goal: Goal{true, 1e-4}, Budget: usualBudget,
			Build: func(uint64, int) Problem { return build() },
		}
	}
	return append([]Entry{
		table("breast-cancer", "breast cancer, raw features", func() Problem { return BreastCancer() }),
		table("wine", "wine, raw features", func() Problem { return Wine() }),
		table("digits", "digits, raw features", func() Problem { return Digits() }),
		table("diabetes", "diabetes, raw features", func() Problem { return Diabetes() }),
	}, append(append(regressions(), quadratics()...), networks()...)...)
}

// drawn is an entry that looks at seed and size.
func drawn[P Problem](name, title string, share float64, build func(seed uint64, size int) P) Entry {
	return Entry{
		Name: name, Title: title, Goal: Goal{true, share}, Budget: usualBudget, Sized: true, Seeded: true,
		Build: func(seed uint64, size int) Problem { return build(seed, size) },
	}
}

func regressions() []Entry {
	return []Entry{
		drawn("grouped3", "logistic, features at 1/0.03/0.001", 1e-6, groupedLogistic3),
		drawn("grouped2", "logistic, features at 1/0.01", 1e-6, groupedLogistic2),
		drawn("loguniform", "logistic, features log-uniform over 3 decades", 1e-6, logUniformLogistic),
		drawn("rotated-loguniform", "logistic, log-uniform features, rotated", 1e-6, RotatedLogistic),
		drawn("softmax-grouped", "softmax, 4 classes, features at 1/0.03/0.001", 1e-6, GroupedSoftmax),
		drawn("softmax-loguniform", "softmax, 4 classes, features log-uniform", 1e-6, LogUniformSoftmax),
		drawn("poisson-grouped", "Poisson, features at 1/0.03/0.001", 1e-6, GroupedPoisson),
		drawn("poisson-loguniform", "Poisson, features log-uniform", 1e-6, LogUniformPoisson),
		drawn("rbf", "least squares on radial basis functions", 1e-6, RadialBasis),
		drawn("collocation", "boundary value problem by collocation", 1e-6, Collocation),
		drawn("factorisation", "matrix factorisation", 1e-6, NewFactorisation),
		drawn("rosenbrock", "chained Rosenbrock", 1e-6, NewRosenbrock),
	}
}

func quadratics() []Entry {
	return []Entry{
		drawn("three-scales", "quadratic, 3 scales", 1e-10, threeScales),
		drawn("two-scales", "quadratic, 2 scales", 1e-10, twoScales),
		drawn("four-scales", "quadratic, 4 scales", 1e-10, fourScales),
		drawn("no-gap", "quadratic, no gap", 1e-10, noGap),
		drawn("bulk", "quadratic, bulk and outliers", 1e-10, bulkOutliers),
		drawn("power-law", "quadratic, power law", 1e-10, PowerLaw),
		rotated("three-scales", threeScales),
		rotated("no-gap", noGap),
		rotated("bulk", bulkOutliers),
	}
}

func rotated(name string, build func(seed uint64, size int) *Quadratic) Entry {
	return drawn("rotated-"+name, "quadratic, "+name+", rotated", 1e-10, func(seed uint64, size int) *Rotated {
		return NewRotated(build(seed, size), seed)
	})
}

// networks have a gradient of milliseconds and an unknown least loss.
func networks() []Entry {
	network := func(name, title string, budget int, build func(seed uint64) Problem) Entry {
		return Entry{
			Name: name, Title: title, Goal: Goal{false, 1e-3}, Budget: budget, Seeded: true,
			Build: func(seed uint64, _ int) Problem { return build(seed) },
		}
	}
	return []Entry{
		network("mnist", "network 196-24-10 on 1,000 MNIST digits", 1000, func(seed uint64) Problem { return MNISTNetwork(seed, 1000) }),
		network("convolution", "convolutional network on 500 MNIST digits", 1000, func(seed uint64) Problem { return NewConvolution(seed, 500) }),
	}
}

// Names lists the names of a catalogue.
func Names(entries []Entry) string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return strings.Join(names, ", ")
}

// Find returns the entry of the catalogue with that name.
func Find(name string) (Entry, error) {
	all := Catalogue()
	for _, e := range all {
		if e.Name == name {
			return e, nil
		}
	}
	return Entry{}, fmt.Errorf("unknown problem %q: use one of %s", name, Names(all))
}

// Task is a problem to be solved to a goal.
type Task struct {
	Entry
	// Problem is what Build made.
	Problem Problem
	// First is the loss at the start; Least the least loss, 0 where the goal is
	// about the loss and it is unknown.
	First, Least float64
}

// NewTask builds an entry's problem. It fails where the goal is an excess and
// the least loss is unknown.
func NewTask(e Entry, seed uint64, size int) (Task, error) {
	t := Task{Entry: e, Problem: e.Build(seed, size)}
	t.First = t.Problem.Gradient(t.Problem.Start(), make([]float64, t.Problem.Dim()))
	if minimum, ok := t.Problem.(Minimum); ok {
		t.Least = minimum.Minimum()
	} else if e.Goal.Excess {
		return t, fmt.Errorf("the least loss of %s is unknown: set a target for the loss itself", e.Name)
	}
	return t, nil
}

// Value is what the goal measures of a loss.
func (t Task) Value(loss float64) float64 {
	if t.Goal.Excess {
		return Excess(loss, t.First, t.Least)
	}
	return loss
}

// Reached says whether a loss meets the goal.
func (t Task) Reached(loss float64) bool { return t.Value(loss) <= t.Goal.Value }
