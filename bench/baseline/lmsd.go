package baseline

import (
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"multirate/examples/problems"
)

// LMSD is the limited memory steepest descent of Fletcher (Math. Program. 135,
// 2012) for general losses: a sweep takes the reciprocals of the Ritz values of
// the last Memory gradients as steps, the shortest first. A step that raises the
// loss above that at the sweep's start is shortened until it does not, and ends
// the sweep; so does one after which the gradient is longer. Memory is 3, 5, 7,
// 10 or, if need be, 20; the first step is Rate, 1/L on the grid.
func LMSD() Method {
	return Method{
		Name: "LMSD",
		Grid: func(p problems.Problem) []Axis {
			rate := rateAxis(p)
			rate.First, rate.Last, rate.Least, rate.Most = 0, 0, 0, 0
			memories := []int{3, 5, 7, 10, 20}
			memory := Axis{Last: 3, Most: len(memories) - 1, Margin: 1, Set: func(s *Setting, k int) { s.Memory = memories[k] }}
			return []Axis{rate, memory}
		},
		iterate: lmsd,
	}
}

func lmsd(r *run, s Setting) {
	x, g := r.start()
	trial, gTrial := make([]float64, len(x)), make([]float64, len(x))
	loss, more := r.gradient(x, g)
	var gradients [][]float64
	var rates []float64
	sweep, ceiling, step := []float64(nil), loss, s.Rate
	for more {
		square := floats.Dot(g, g)
		if square == 0 {
			r.stop(EndStalled)
			return
		}
		if len(sweep) == 0 {
			ceiling = loss
			if sweep = ritzSteps(gradients, rates, g); len(sweep) == 0 {
				sweep = []float64{step}
			}
		}
		step, sweep = sweep[0], sweep[1:]
		for {
			floats.AddScaledTo(trial, x, -step, g)
			var next float64
			next, more = r.evaluate(trial, gTrial)
			if next <= ceiling {
				loss = next
				break
			}
			if !more {
				return
			}
			step, sweep = backtrack(step, square, loss, next), nil
		}
		more = r.accept(loss) && more
		if floats.Dot(gTrial, gTrial) > square {
			sweep = nil
		}
		gradients, rates = append(gradients, slices.Clone(g)), append(rates, step)
		keep := max(0, len(gradients)-min(s.Memory, len(x)))
		gradients, rates = gradients[keep:], rates[keep:]
		x, trial, g, gTrial = trial, x, gTrial, g
	}
}

// ritzSteps are the reciprocals of the positive Ritz values of the Hessian on
// the span of the gradients, the shortest first; each gradient but the last, g,
// was followed by a step of the rate beside it. With G = QR the projection is
// Q'HQ = [R Q'g] J R^-1, J the bidiagonal matrix of reciprocal rates. Where the
// loss is not quadratic it is made symmetric from its lower part. Gradients too
// nearly dependent for float64 are dropped, oldest first.
func ritzSteps(gradients [][]float64, rates []float64, g []float64) []float64 {
	for ; len(gradients) > 0; gradients, rates = gradients[1:], rates[1:] {
		m := len(gradients)
		span := mat.NewDense(len(g), m, nil)
		for j, column := range gradients {
			span.SetCol(j, column)
		}
		var factor mat.QR
		factor.Factorize(span)
		if factor.Cond() > 1e8 {
			continue
		}
		var q, full mat.Dense
		factor.QTo(&q)
		factor.RTo(&full)
		r := full.Slice(0, m, 0, m)
		next := mat.NewDense(m, m, nil) // Q'[g_2 .. g_m g]
		for j := range m {
			column := g
			if j+1 < m {
				column = gradients[j+1]
			}
			for i := range m {
				next.Set(i, j, mat.Dot(q.ColView(i), mat.NewVecDense(len(column), column)))
			}
		}
		// H g_j = (g_j - g_{j+1})/rate_j.
		var change, projected mat.Dense
		change.Sub(r, next)
		for j, rate := range rates {
			for i := range m {
				change.Set(i, j, change.At(i, j)/rate)
			}
		}
		var inverse mat.Dense
		if inverse.Inverse(r) != nil {
			continue
		}
		projected.Mul(&change, &inverse)
		return reciprocals(&projected)
	}
	return nil
}

// reciprocals are those of the positive eigenvalues of a matrix made symmetric
// from its lower part, ascending.
func reciprocals(m *mat.Dense) (steps []float64) {
	n, _ := m.Dims()
	symmetric := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range i + 1 {
			symmetric.SetSym(i, j, m.At(i, j))
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(symmetric, false) {
		return nil
	}
	for _, theta := range slices.Backward(eigen.Values(nil)) {
		if theta > 0 && finite(1/theta) {
			steps = append(steps, 1/theta)
		}
	}
	return steps
}
