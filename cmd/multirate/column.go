package main

import (
	"gonum.org/v1/gonum/mat"

	"multirate/cmd/multirate/internal/picture"
	"multirate/examples/problems"
)

// column is what the picture shows of a contest. The upper panels are of the
// first training.
func (c *contest) column() picture.Column {
	column := picture.Column{Title: c.Title, Measure: c.Goal.Measure(), Target: c.Goal.Value}
	for i, o := range c.ours {
		if i == 0 {
			column.Run, column.Steps, column.Spectra = o.variant, o.record.steps, o.record.spectra
			column.First, column.Last = o.eigenvalues(c.Problem)
		}
		column.Curves = append(column.Curves, picture.Curve{
			Name: o.name, Ours: true, Reached: o.result.Reached, Points: o.record.curve,
		})
	}
	for _, t := range c.theirs {
		curve := picture.Curve{Name: t.label, Reached: t.Reached}
		for _, p := range t.Curve {
			curve.Points = append(curve.Points, picture.Point{Gradients: p.Gradients, Value: c.Value(p.Loss)})
		}
		column.Curves = append(column.Curves, curve)
	}
	return column
}

// exactUpTo is the largest dimension of which eigenvalues are computed.
const exactUpTo = 400

// eigenvalues are those of the Hessian at the first and the last parameters, in
// the variables that the training descended in.
func (o ours) eigenvalues(p problems.Problem) (first, last []float64) {
	exact, ok := p.(problems.HessianVector)
	if !ok || p.Dim() > exactUpTo {
		return nil, nil
	}
	at := func(x []float64) []float64 {
		product := o.result.Diagonal.HessianVector(func(v, hv []float64) error {
			exact.HessianVector(x, v, hv)
			return nil
		})
		n := len(x)
		hessian := mat.NewSymDense(n, nil)
		unit, column := make([]float64, n), make([]float64, n)
		for j := range n {
			unit[j] = 1
			_ = product(unit, column) // always nil
			unit[j] = 0
			for i := range j + 1 {
				hessian.SetSym(i, j, column[i])
			}
		}
		var eigen mat.EigenSym
		if !eigen.Factorize(hessian, false) {
			return nil
		}
		return eigen.Values(nil)
	}
	return at(p.Start()), at(o.result.Parameters)
}
