package suite

import (
	"fmt"
	"math"
	"math/rand/v2"

	"multirate/examples/problems"
)

// Random is a family in which the seed chooses the kind of problem as well
// (logistic, Poisson, matrix factorisation, chained Rosenbrock, in turn), the law
// of its scales (in groups, log-uniform, log-normal, in turn after each four),
// their range and the dimension. Any 12 successive seeds hold every pair once.
func Random() problems.Entry {
	return problems.Entry{
		Name: "random", Title: "random problems", Seeded: true,
		Goal: problems.Goal{Excess: true, Value: 1e-4}, Budget: 20_000,
		Build: func(seed uint64, _ int) problems.Problem { return randomProblem(seed) },
	}
}

func randomProblem(seed uint64) problems.Problem {
	random := rand.New(rand.NewPCG(seed, 12))
	law := laws[seed/4%uint64(len(laws))]
	decades := 1 + 2*random.Float64()
	// Enough rows that no logistic problem is separable.
	const rows = 800
	columns := 10 + random.IntN(31)
	name := func(kind string) string {
		return fmt.Sprintf("random %s, %s over %.1f decades", kind, law.name, decades)
	}
	switch seed % 4 {
	case 0:
		return problems.NewScaledLogistic(name("logistic"), seed, rows, law.draw(random, columns, decades)...)
	case 1:
		return problems.NewScaledPoisson(name("Poisson"), seed, rows, law.draw(random, columns, decades)...)
	case 2:
		rank := 2 + random.IntN(4)
		return problems.NewScaledFactorisation(name("factorisation"), seed, 8+random.IntN(20), 8+random.IntN(12), law.draw(random, rank, decades)...)
	default:
		return problems.NewScaledRosenbrock(name("Rosenbrock"), seed, law.draw(random, 4+random.IntN(17), decades)...)
	}
}

// laws draw n scales over about so many decades.
var laws = []struct {
	name string
	draw func(random *rand.Rand, n int, decades float64) []float64
}{
	{"groups", func(random *rand.Rand, n int, decades float64) []float64 {
		groups := 2 + random.IntN(2)
		return scales(n, func(j int) float64 { return -decades * float64(j*groups/n) / float64(groups-1) })
	}},
	{"log-uniform", func(random *rand.Rand, n int, decades float64) []float64 {
		return scales(n, func(int) float64 { return -decades * random.Float64() })
	}},
	{"log-normal", func(random *rand.Rand, n int, decades float64) []float64 {
		return scales(n, func(int) float64 { return decades / 4 * random.NormFloat64() })
	}},
}

func scales(n int, exponent func(j int) float64) []float64 {
	all := make([]float64, n)
	for j := range all {
		all[j] = math.Pow(10, exponent(j))
	}
	return all
}
