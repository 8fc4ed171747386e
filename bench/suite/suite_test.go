package suite

import (
	"math"
	"slices"
	"testing"

	"multirate/bench/baseline"
	"multirate/bench/service"
	"multirate/examples/problems"
)

func contender(t *testing.T, name string) Contender {
	t.Helper()
	for _, c := range Contenders() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no contender %q", name)
	return Contender{}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Contenders() {
		if seen[c.Name] {
			t.Errorf("two contenders are named %q", c.Name)
		}
		seen[c.Name] = true
	}
	for _, f := range Families() {
		if seen[f.Name] {
			t.Errorf("two families are named %q", f.Name)
		}
		seen[f.Name] = true
	}
}

func TestTwelveSeedsHoldEveryKindAndLaw(t *testing.T) {
	dims := map[int]bool{}
	kinds := map[[2]string]bool{}
	for seed := uint64(101); seed < 113; seed++ {
		task, err := problems.NewTask(Random(), seed, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !(task.First > task.Least) || math.IsInf(task.First, 0) {
			t.Errorf("%s: from %g to %g", task.Problem.Name(), task.First, task.Least)
		}
		kind := ""
		switch task.Problem.(type) {
		case *problems.Logistic:
			kind = "logistic"
		case *problems.Poisson:
			kind = "Poisson"
		case *problems.Factorisation:
			kind = "factorisation"
		case *problems.Rosenbrock:
			kind = "Rosenbrock"
		}
		kinds[[2]string{kind, laws[seed/4%3].name}] = true
		dims[task.Problem.Dim()] = true
	}
	if len(kinds) != 12 || len(dims) < 4 {
		t.Errorf("%d pairs of kind and law, %d dimensions", len(kinds), len(dims))
	}
}

// What a trainer with the diagonal sees is the problem in z = x/s.
func TestPreconditionedIsTheSameLossInOtherVariables(t *testing.T) {
	p := problems.NewScaledLogistic("test", 1, 100, 1, 0.1, 0.01)
	diagonal, err := Diagonal(p, DiagonalProbes, 3)
	if err != nil {
		t.Fatal(err)
	}
	scaled := preconditioned{baseline.Interruptible(t.Context(), p), diagonal}
	s := scaled.scale(3)
	z := []float64{0.3, -0.2, 0.1}
	x := slices.Clone(z)
	for i := range x {
		x[i] *= s[i]
	}
	gz, gx := make([]float64, 3), make([]float64, 3)
	if got, want := scaled.Gradient(z, gz), p.Gradient(x, gx); got != want {
		t.Errorf("loss %g, want %g", got, want)
	}
	for i := range gx {
		if want := s[i] * gx[i]; gz[i] != want {
			t.Errorf("gradient %d is %g, want %g", i, gz[i], want)
		}
	}
	if scaled.Minimum() != p.Minimum() {
		t.Errorf("least loss %g, want %g", scaled.Minimum(), p.Minimum())
	}
}

func TestEveryContenderCountsWhatItTakes(t *testing.T) {
	client, stop, err := service.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	// Condition number 2: every method gets there, the safe constant rate too.
	entry := problems.Entry{
		Name: "mild", Goal: problems.Goal{Excess: true, Value: 1e-4}, Budget: 3000,
		Build: func(seed uint64, _ int) problems.Problem {
			return problems.NewQuadratic("mild", seed, problems.Group{Low: 0.5, High: 1, Count: 20})
		},
	}
	task, err := problems.NewTask(entry, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Contenders() {
		t.Run(c.Name, func(t *testing.T) {
			if !c.Suits(task.Problem) {
				t.Fatal("does not suit a quadratic")
			}
			row, err := c.Measure(t.Context(), client, task, 1)
			if err != nil {
				t.Fatal(err)
			}
			if !row.Reached || !(row.Value <= 1e-4) || row.Method != c.Name {
				t.Errorf("%+v", row)
			}
			if row.Gradients < 2*row.Products+1 || row.Gradients > entry.Budget || !(row.Peak >= 1) {
				t.Errorf("%+v", row)
			}
		})
	}
	row, err := contender(t, "L-BFGS 10+diagonal").Measure(t.Context(), client, task, 1)
	if err != nil || row.Products != DiagonalProbes {
		t.Errorf("%+v, %v, want %d products", row, err, DiagonalProbes)
	}
	if contender(t, "CG").Suits(problems.NewRosenbrock(1, 1)) {
		t.Error("CG takes a loss that is not quadratic")
	}
}
