package main

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

// samples are inputs, a row each, with their classes.
type samples struct {
	inputs *mat.Dense
	labels []int
}

// network is one hidden layer of tanh and softmax cross-entropy. Its parameters
// are, flattened, the weights (inputs x hidden) and biases of the hidden layer,
// then those of the output.
type network struct{ inputs, hidden, classes int }

func (n network) dim() int { return (n.inputs+1)*n.hidden + (n.hidden+1)*n.classes }

// start is N(0, 1/fan-in) for weights, 0 for biases.
func (n network) start(seed uint64) []float64 {
	random := rand.New(rand.NewPCG(seed, 11))
	x := make([]float64, n.dim())
	l := n.layers(x)
	for _, w := range []*mat.Dense{l.w1, l.w2} {
		rows, _ := w.Dims()
		w.Apply(func(_, _ int, _ float64) float64 { return random.NormFloat64() / math.Sqrt(float64(rows)) }, w)
	}
	return x
}

// layers views parameters, or a gradient, by layer.
type layers struct {
	w1, w2 *mat.Dense
	b1, b2 []float64
}

func (n network) layers(x []float64) layers {
	a, b := n.inputs*n.hidden, n.hidden*n.classes
	return layers{
		w1: mat.NewDense(n.inputs, n.hidden, x[:a]), b1: x[a : a+n.hidden],
		w2: mat.NewDense(n.hidden, n.classes, x[a+n.hidden:a+n.hidden+b]), b2: x[a+n.hidden+b:],
	}
}

// gradient fills g, if not nil, with the gradient of the mean loss over the rows
// of s, and returns that loss.
func (n network) gradient(x, g []float64, s samples, rows []int) float64 {
	l := n.layers(x)
	inputs := mat.NewDense(len(rows), n.inputs, nil)
	for i, row := range rows {
		inputs.SetRow(i, s.inputs.RawRowView(row))
	}
	var hidden, out mat.Dense
	hidden.Mul(inputs, l.w1)
	hidden.Apply(func(_, j int, z float64) float64 { return math.Tanh(z + l.b1[j]) }, &hidden)
	out.Mul(&hidden, l.w2)
	out.Apply(func(_, j int, z float64) float64 { return z + l.b2[j] }, &out)
	loss := 0.0
	for i, row := range rows {
		loss += softmaxError(out.RawRowView(i), s.labels[row], float64(len(rows)))
	}
	if g != nil {
		n.backward(l, n.layers(g), inputs, &hidden, &out)
	}
	return loss
}

// softmaxError turns the scores z into the gradient of cross-entropy over n and
// returns that loss over n.
func softmaxError(z []float64, label int, n float64) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range z {
		top = math.Max(top, v)
	}
	for _, v := range z {
		sum += math.Exp(v - top)
	}
	loss := (top + math.Log(sum) - z[label]) / n
	for j, v := range z {
		z[j] = math.Exp(v-top) / sum / n
	}
	z[label] -= 1 / n
	return loss
}

func (n network) backward(l, g layers, inputs, hidden, out *mat.Dense) {
	g.w2.Mul(hidden.T(), out)
	sumRows(g.b2, out)
	var back mat.Dense
	back.Mul(out, l.w2.T())
	back.Apply(func(i, j int, v float64) float64 {
		h := hidden.At(i, j)
		return v * (1 - h*h)
	}, &back)
	g.w1.Mul(inputs.T(), &back)
	sumRows(g.b1, &back)
}

func sumRows(sum []float64, m *mat.Dense) {
	clear(sum)
	rows, _ := m.Dims()
	for i := range rows {
		for j, v := range m.RawRowView(i) {
			sum[j] += v
		}
	}
}
