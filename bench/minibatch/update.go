package main

// update is what a trainer does with gradients and rates.
type update interface {
	// descent takes the next gradient and returns what a step is -rate times of.
	descent(g []float64) []float64
	step(x []float64, rate float64)
	// final is what training has come to at x.
	final(x []float64) []float64
}

// momentum is torch.optim.SGD: v <- mu v + g, and a step along g + mu v
// (Nesterov), or along g where mu is 0.
type momentum struct {
	mu   float64
	v, u []float64
}

func (r rule) update(x []float64) update {
	return &momentum{mu: r.momentum, v: make([]float64, len(x)), u: make([]float64, len(x))}
}

func (m *momentum) descent(g []float64) []float64 {
	for i, gi := range g {
		m.v[i] = m.mu*m.v[i] + gi
		m.u[i] = gi + m.mu*m.v[i]
	}
	return m.u
}

func (m *momentum) step(x []float64, rate float64) {
	for i, u := range m.u {
		x[i] -= rate * u
	}
}

func (m *momentum) final(x []float64) []float64 { return x }

// averaged is Schedule-Free gradient descent (Defazio et al., arXiv 2405.15682):
// z <- z - rate g(x), y the mean of all z, x = (1 - beta) z + beta y.
type averaged struct {
	beta    float64
	z, y, g []float64
	steps   float64
}

// scheduleFreeBeta is the paper's.
const scheduleFreeBeta = 0.9

func newAveraged(_ rule, x []float64) update {
	return &averaged{beta: scheduleFreeBeta, z: append([]float64(nil), x...), y: append([]float64(nil), x...)}
}

func (a *averaged) descent(g []float64) []float64 {
	a.g = g
	return g
}

func (a *averaged) step(x []float64, rate float64) {
	a.steps++
	for i, g := range a.g {
		a.z[i] -= rate * g
		a.y[i] += (a.z[i] - a.y[i]) / a.steps
		x[i] = (1-a.beta)*a.z[i] + a.beta*a.y[i]
	}
}

func (a *averaged) final([]float64) []float64 { return a.y }
