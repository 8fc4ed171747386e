package problems

import (
	"math"
	"math/rand/v2"

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

// gaussian has one column N(0,1)*scales[j] per scale, and no target yet.
func gaussian(random *rand.Rand, rows int, scales []float64) samples {
	s := samples{rows: rows, columns: len(scales)}
	for range rows {
		for _, c := range scales {
			s.features = append(s.features, c*random.NormFloat64())
		}
	}
	return s
}

// withRidge appends one row a column, so that least squares gains
// ridge |w|^2/2 when its mean is taken over the rows there then are.
func (s samples) withRidge(ridge float64) samples {
	root := math.Sqrt(ridge * float64(s.rows+s.columns))
	for j := range s.columns {
		row := make([]float64, s.columns)
		row[j] = root
		s.features = append(s.features, row...)
		s.target = append(s.target, 0)
	}
	s.rows += s.columns
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
