package problems

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"multirate/examples/data"
)

// samples is a design matrix with one target per row.
type samples struct {
	rows, columns int
	features      []float64 // row by row
	target        []float64
}

// withIntercept appends a column of ones and maps every target.
func withIntercept(t data.Table, target func(float64) float64) samples {
	s := samples{rows: t.Rows, columns: t.Columns + 1}
	for i := range t.Rows {
		s.features = append(s.features, t.Features[i*t.Columns:(i+1)*t.Columns]...)
		s.features = append(s.features, 1)
		s.target = append(s.target, target(t.Target[i]))
	}
	return s
}

func (s samples) row(i int) []float64 { return s.features[i*s.columns : (i+1)*s.columns] }

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

func norm(a []float64) float64 { return math.Sqrt(dot(a, a)) }

// addScaled adds c*a to sum.
func addScaled(sum []float64, c float64, a []float64) {
	for i, v := range a {
		sum[i] += c * v
	}
}

func sigmoid(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// secondMoment is X'X/n.
func (s samples) secondMoment() *mat.SymDense {
	h := mat.NewSymDense(s.columns, nil)
	h.SymOuterK(1/float64(s.rows), mat.NewDense(s.rows, s.columns, s.features).T())
	return h
}
