package estimator

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

// record is a descent as the closed loop leads it, in small: long steps for flat
// Ritz values wherever the model predicts that the loss does not rise, and
// otherwise the step that kills what would make it rise.
type record struct {
	sketches [][]float32
	rates    []float64 // rates[i] leads to sketches[i]
}

// lead records a descent on the quadratic sum lambda x^2/2 in a window of m pairs.
func lead(lambda []float64, steps, m, d int) record {
	r := rand.New(rand.NewPCG(1, 2))
	g, sign := make([]float64, len(lambda)), make([]float64, len(lambda))
	for i := range sign {
		sign[i] = float64(1 - 2*r.IntN(2))
	}
	first := 0.0
	restart := func() {
		first = 0
		for i := range g {
			g[i] = math.Sqrt(lambda[i]) * r.NormFloat64()
			first += g[i] * g[i]
		}
	}
	restart()
	w := NewWindow(m, d)
	var all record
	rate, flattest := 0.0, 0
	for range steps {
		s := sketchOf(g, sign, d)
		all.sketches, all.rates = append(all.sketches, s), append(all.rates, rate)
		w.Push(s, rate)
		model := w.Solve()
		rate, flattest = next(model, flattest)
		norm := 0.0
		for i := range g {
			g[i] -= rate * lambda[i] * g[i]
			norm += g[i] * g[i]
		}
		if !(norm > 1e-16*first) {
			restart() // goes on as a jump of the parameters would
		}
	}
	return all
}

// next is the rate for Ritz value i, or a shorter one, and the Ritz value whose
// turn is next.
func next(m Model, i int) (float64, int) {
	if !m.Known() {
		return 1e-3, 0
	}
	if i >= len(m.Theta) || !(m.Theta[i] > 0) {
		i = 0
	}
	rate := 1 / max(m.Theta[i], 1e-6*m.Theta[0])
	change, blocking, most := m.Residual*(-rate+rate*rate*m.Secant/2), m.Secant, m.Secant*m.Residual
	for k, theta := range m.Theta {
		theta = math.Abs(theta)
		change += m.Energy[k] * (-rate + rate*rate*theta/2)
		if theta*m.Energy[k] > most {
			blocking, most = theta, theta*m.Energy[k]
		}
	}
	if change > 0 {
		return min(rate, 1/blocking), i
	}
	return rate, i + 1
}

// BenchmarkWindow times a step of a window: all of it, and what of it an answer
// waits for. ns/op is the mean; the medians do not mind a busy machine.
func BenchmarkWindow(b *testing.B) {
	const d = 251
	var scales, noGap []float64
	r := rand.New(rand.NewPCG(5, 5))
	for i := range 300 {
		scales = append(scales, math.Pow(10, float64(-3*(i%3)))*(1+3*r.Float64()))
		noGap = append(noGap, math.Pow(10, -4*r.Float64()))
	}
	for name, lambda := range map[string][]float64{"three scales": scales, "no gap": noGap} {
		for _, m := range []int{16, 24, 32, 48} {
			path := lead(lambda, 400, m, d)
			b.Run(name+", m="+strconv.Itoa(m), func(b *testing.B) {
				var all, answer []time.Duration
				rank := 0
				w := NewWindow(m, d)
				for i := 0; b.Loop(); i++ {
					i %= len(path.rates)
					began := time.Now()
					w.Prepare()
					prepared := time.Now()
					w.Push(path.sketches[i], path.rates[i])
					model := w.Solve()
					done := time.Now()
					all, answer = append(all, done.Sub(began)), append(answer, done.Sub(prepared))
					rank += len(model.Theta)
				}
				b.ReportMetric(microseconds(all), "us/step")
				b.ReportMetric(microseconds(answer), "us/answer")
				b.ReportMetric(float64(rank)/float64(len(all)), "rank")
			})
		}
	}
}

// microseconds is the median.
func microseconds(v []time.Duration) float64 {
	slices.Sort(v)
	return float64(v[len(v)/2].Nanoseconds()) / 1000
}
