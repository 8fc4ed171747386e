package suite

import (
	"context"
	"fmt"
	"math"
	"strings"

	"multirate/bench/baseline"
	multirate "multirate/clients/go"
	"multirate/examples/problems"
	"multirate/examples/trainer"
)

// Row is one contender on one problem.
type Row struct {
	// Method is the contender's name, Setting the best of the Tried settings of
	// its grid, "" where it has none.
	Method, Setting string
	Tried           int
	// Gradients counts gradient-equivalents: a Hessian-vector product is two,
	// and Products of them are among it.
	Gradients, Products int
	// Reached says whether the target was met.
	Reached bool
	// Peak is the largest loss over the loss at the start, both measured from
	// the lower bound; Value what the goal measures of the last loss.
	Peak, Value float64
	// End says in a word or a message why it ended.
	End string
}

// Contender is a method, with all that is open in it.
type Contender struct {
	// Name is for tables and -methods.
	Name string
	// Ours says that the rates come from the service, Limit that no trainer
	// could do this: it is a bound for all others.
	Ours, Limit bool

	suits   func(p problems.Problem) bool
	measure func(ctx context.Context, client *multirate.Client, t problems.Task, seed uint64) Row
}

// Suits says whether the contender is for a problem.
func (c Contender) Suits(p problems.Problem) bool { return c.suits == nil || c.suits(p) }

// Measure runs the contender; ours on the service behind client.
func (c Contender) Measure(ctx context.Context, client *multirate.Client, t problems.Task, seed uint64) (Row, error) {
	row := c.measure(ctx, client, t, seed)
	row.Method = c.Name
	return row, ctx.Err()
}

// DiagonalProbes is the number of Hutchinson probes for a diagonal, each counted
// as two gradients.
const DiagonalProbes = 5

// Contenders are all of them: multirate with every policy and tier, with and
// without the diagonal; the baselines, L-BFGS also with the same diagonal; the
// limits.
func Contenders() []Contender {
	var all []Contender
	for _, policy := range []multirate.Policy{multirate.PolicyAdaptive, multirate.PolicyChebyshev, multirate.PolicyMrGD, multirate.PolicyConstant} {
		for _, tier := range []trainer.Tier{trainer.TierSketch, trainer.TierVectors, trainer.TierScalars} {
			for _, probes := range []int{0, DiagonalProbes} {
				all = append(all, ours(policy, tier, probes))
			}
		}
	}
	for _, m := range baseline.Methods() {
		if m.Name != "L-BFGS" {
			all = append(all, theirs(m.Name, m, 0))
		}
	}
	for _, memory := range []int{10, 20} {
		name := fmt.Sprintf("L-BFGS %d", memory)
		all = append(all, theirs(name, baseline.LBFGS(memory), 0), theirs(name+"+diagonal", baseline.LBFGS(memory), DiagonalProbes))
	}
	cg, exact := theirs("CG", baseline.ConjugateGradients(), 0), theirs("CG exact (limit)", baseline.ConjugateGradientsExact(), 0)
	exact.Limit = true
	cg.suits, exact.suits = isQuadratic, isQuadratic
	return append(all, cg, exact, minMax())
}

func ours(policy multirate.Policy, tier trainer.Tier, probes int) Contender {
	name := "multirate/" + strings.ToLower(strings.TrimPrefix(policy.String(), "POLICY_")) + "/" + tier.String() + diagonalSuffix(probes)
	return Contender{Name: name, Ours: true, measure: func(ctx context.Context, client *multirate.Client, t problems.Task, seed uint64) Row {
		r, err := trainer.Train(ctx, client, t.Problem, trainer.Config{
			Policy: policy, Tier: tier, DiagonalProbes: probes, Seed: seed, Target: t.Reached, Budget: t.Budget,
		})
		bound := t.Problem.LowerBound()
		row := Row{
			Gradients: r.Gradients, Products: r.Products, Reached: r.Reached,
			Peak: (r.Peak - bound) / (t.First - bound), Value: t.Value(r.Loss), End: "budget",
		}
		switch {
		case err != nil:
			row.End = err.Error()
		case r.Reached:
			row.End = "target"
		}
		return row
	}}
}

func theirs(name string, m baseline.Method, probes int) Contender {
	return Contender{Name: name, measure: func(ctx context.Context, _ *multirate.Client, t problems.Task, seed uint64) Row {
		p, spent := baseline.Interruptible(ctx, t.Problem), 2*probes
		if probes > 0 {
			diagonal, err := Diagonal(t.Problem, probes, seed)
			if err != nil {
				return Row{Gradients: spent, Products: probes, Peak: 1, Value: math.NaN(), End: err.Error()}
			}
			p = preconditioned{p, diagonal}
		}
		best, all := baseline.Best(m, p, t.Reached, t.Budget-spent, nil)
		return Row{
			Setting: best.Setting, Tried: len(all), Gradients: best.Gradients + spent, Products: probes,
			Reached: best.Reached, Peak: best.Peak, Value: t.Value(best.Final), End: best.End.String(),
		}
	}}
}

func diagonalSuffix(probes int) string {
	if probes > 0 {
		return "+diagonal"
	}
	return ""
}

// minMax is the bound of [baseline.MinMax] for quadratics whose scales are known.
func minMax() Contender {
	spectrum := func(p problems.Problem) []problems.Group {
		if known, ok := p.(interface{ Scales() []problems.Group }); ok {
			return known.Scales()
		}
		return nil
	}
	return Contender{
		Name: "min-max (limit)", Limit: true,
		suits: func(p problems.Problem) bool { return spectrum(p) != nil },
		measure: func(_ context.Context, _ *multirate.Client, t problems.Task, _ uint64) Row {
			var scales []baseline.Interval
			for _, g := range spectrum(t.Problem) {
				scales = append(scales, baseline.Interval{Low: g.Low, High: g.High})
			}
			n := baseline.MinMax(scales, t.Goal.Value)
			return Row{Gradients: int(math.Ceil(n)), Reached: true, Peak: 1, Value: t.Goal.Value, End: "bound"}
		},
	}
}

func isQuadratic(p problems.Problem) bool {
	switch p.(type) {
	case *problems.Quadratic, *problems.Rotated, *problems.LeastSquares:
		return true
	}
	return false
}
