package spectra

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Product writes H v into hv.
type Product func(hv, v []float64)

// Diagonal is the product of a diagonal matrix.
func Diagonal(d []float64) Product {
	return func(hv, v []float64) { floats.MulTo(hv, d, v) }
}

// PowerIteration is PyHessian's method for the top eigenvalues (Yao, Gholami,
// Keutzer and Mahoney, arXiv 1912.07145), with its defaults: for one eigenvalue
// after the other, power iteration from a random vector, deflated by the
// eigenvectors found, until the Rayleigh quotient changes by less than 1e-3 of
// itself or 100 products are spent. enough is asked after each eigenvalue.
func PowerIteration(h Product, dim int, seed uint64, enough func(found []float64) bool) (found []float64, products int) {
	const most, tol = 100, 1e-3
	rng := rand.New(rand.NewPCG(seed, 23))
	var vectors [][]float64
	for len(found) < dim && !enough(found) {
		v, hv := make([]float64, dim), make([]float64, dim)
		for i := range v {
			v[i] = rng.NormFloat64()
		}
		value := math.NaN()
		for range most {
			deflate(v, vectors)
			h(hv, v)
			products++
			before := value
			value = floats.Dot(v, hv)
			copy(v, hv)
			deflate(v, vectors)
			if math.Abs(value-before)/(math.Abs(before)+1e-6) < tol {
				break
			}
		}
		found, vectors = append(found, value), append(vectors, v)
	}
	return found, products
}

// deflate makes v orthogonal to the vectors and of unit length.
func deflate(v []float64, vectors [][]float64) {
	for _, u := range vectors {
		floats.AddScaled(v, -floats.Dot(u, v), u)
	}
	if norm := floats.Norm(v, 2); norm > 0 {
		floats.Scale(1/norm, v)
	}
}

// DensityIterations are the Lanczos iterations of PyHessian's density.
const DensityIterations = 100

// LanczosDensity is PyHessian's method for the density: iterations of Lanczos
// from a Rademacher vector, reorthogonalised in full, and the eigenvalues of the
// tridiagonal matrix, largest first.
func LanczosDensity(h Product, dim, iterations int, seed uint64) (nodes []float64) {
	rng := rand.New(rand.NewPCG(seed, 24))
	v, w := make([]float64, dim), make([]float64, dim)
	for i := range v {
		v[i] = float64(2*rng.IntN(2) - 1)
	}
	var basis [][]float64
	var alpha, beta []float64
	for range min(dim, iterations) {
		deflate(v, basis)
		basis = append(basis, slices.Clone(v))
		h(w, v)
		alpha = append(alpha, floats.Dot(v, w))
		for range 2 {
			for _, u := range basis {
				floats.AddScaled(w, -floats.Dot(u, w), u)
			}
		}
		beta = append(beta, floats.Norm(w, 2))
		if beta[len(beta)-1] == 0 {
			break
		}
		copy(v, w)
	}
	k := len(alpha)
	t := mat.NewSymDense(k, nil)
	for i, a := range alpha {
		t.SetSym(i, i, a)
		if i+1 < k {
			t.SetSym(i, i+1, beta[i])
		}
	}
	return Eigenvalues(t)
}
