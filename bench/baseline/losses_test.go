package baseline

import (
	"math"
	"slices"

	"multirate/examples/problems"
)

// quadratic is sum lambda_i x_i^2 / 2.
type quadratic struct{ lambda, from []float64 }

func (quadratic) Name() string        { return "quadratic" }
func (q quadratic) Dim() int          { return len(q.lambda) }
func (q quadratic) Start() []float64  { return slices.Clone(q.from) }
func (quadratic) LowerBound() float64 { return 0 }
func (q quadratic) Gradient(x, g []float64) float64 {
	loss := 0.0
	for i, l := range q.lambda {
		g[i] = l * x[i]
		loss += l * x[i] * x[i] / 2
	}
	return loss
}

// even is a quadratic of log-spaced eigenvalues 1/condition..1 that starts
// with the same energy in each.
func even(n int, condition float64) quadratic {
	var q quadratic
	for i := range n {
		l := math.Pow(condition, float64(i)/float64(n-1)-1)
		q.lambda = append(q.lambda, l)
		q.from = append(q.from, math.Sqrt(2/(l*float64(n))))
	}
	return q
}

// bowl is sum sqrt(1 + x_i^2) - 1: flat at the start, curvature 1 at its minimum.
type bowl struct{ from []float64 }

func (bowl) Name() string        { return "bowl" }
func (b bowl) Dim() int          { return len(b.from) }
func (b bowl) Start() []float64  { return slices.Clone(b.from) }
func (bowl) LowerBound() float64 { return 0 }
func (b bowl) Gradient(x, g []float64) float64 {
	loss := 0.0
	for i, v := range x {
		root := math.Sqrt(1 + v*v)
		g[i] = v / root
		loss += root - 1
	}
	return loss
}

// counter counts gradients and keeps the points they were taken at.
type counter struct {
	problems.Problem
	points [][]float64
	losses []float64
}

func (c *counter) Gradient(x, g []float64) float64 {
	c.points = append(c.points, slices.Clone(x))
	loss := c.Problem.Gradient(x, g)
	c.losses = append(c.losses, loss)
	return loss
}

func never(float64) bool { return false }

func below(bound float64) Target { return func(loss float64) bool { return loss <= bound } }

// everyMethod pairs each method with a setting that suits a largest
// eigenvalue of 1.
func everyMethod() map[string]struct {
	Method
	Setting
} {
	type pair = struct {
		Method
		Setting
	}
	return map[string]pair{
		"gradient descent":    {GradientDescent(), Setting{Rate: 1}},
		"heavy ball":          {HeavyBall(), Setting{Rate: 1, Momentum: 0.9}},
		"Nesterov":            {Nesterov(), Setting{Rate: 1, Momentum: 0.9}},
		"Nesterov restarting": {NesterovRestart(), Setting{Rate: 1}},
		"Adam":                {Adam(), Setting{Rate: 0.1}},
		"Barzilai-Borwein":    {BarzilaiBorwein(), Setting{Rate: 1, Memory: 10}},
		"same, short steps":   {BarzilaiBorwein(), Setting{Rate: 1, Memory: 10, Short: true}},
		"L-BFGS":              {LBFGS(), Setting{Memory: 5}},
		"conjugate gradients": {ConjugateGradients(), Setting{}},
		"the same, exact":     {ConjugateGradientsExact(), Setting{}},
	}
}
