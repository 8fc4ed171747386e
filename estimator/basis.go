package estimator

import "gonum.org/v1/gonum/floats"

// basis is an orthonormal set of vectors. It is the one place that knows how
// they are stored: float64 now.
type basis struct {
	dim  int
	rows [][]float64
}

// append adds v/norm. Dividing, rather than multiplying by the inverse, keeps
// norms below 1/MaxFloat64 safe.
func (b *basis) append(v []float64, norm float64) {
	row := make([]float64, b.dim)
	for i, x := range v {
		row[i] = x / norm
	}
	b.rows = append(b.rows, row)
}

// row is the j-th vector.
func (b *basis) row(j int) []float64 { return b.rows[j] }

// orthogonalise removes the span of the basis from w by two passes of classical
// Gram-Schmidt and returns the coefficients removed.
func (b *basis) orthogonalise(w []float64) []float64 {
	removed := make([]float64, len(b.rows))
	c := make([]float64, len(b.rows))
	for range 2 {
		for j, v := range b.rows {
			c[j] = floats.Dot(v, w)
		}
		for j, v := range b.rows {
			floats.AddScaled(w, -c[j], v)
		}
		floats.Add(removed, c)
	}
	return removed
}
