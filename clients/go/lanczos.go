package multirate

import (
	"fmt"
	"math"
)

// Lanczos runs the Lanczos process on the trainer's own device and returns the
// coefficients for [Run.ReportLanczos]: alpha and beta of length k <= products,
// the last beta being the residual norm. It starts from a random vector of
// signs and keeps the last two Lanczos vectors and one product.
//
// Nothing is reorthogonalised: the extreme Ritz values converge all the same,
// but converged ones reappear as copies (Paige, J. Inst. Math. Appl. 18, 1976).
// The copies share one weight, so that the density stays right. It stops early
// where the Krylov space is exhausted.
func Lanczos(hvp HessianVectorProduct[float64], dimension, products int, seed uint64) (alpha, beta []float64, err error) {
	if dimension < 1 || products < 1 {
		return nil, nil, fmt.Errorf("multirate: %d products of dimension %d, want at least one", products, dimension)
	}
	previous, current := make([]float64, dimension), make([]float64, dimension)
	product := make([]float64, dimension)
	fillSigns(current, seed)
	scale(current, 1/math.Sqrt(float64(dimension)))
	norm, last := 0.0, 0.0
	for k := range min(products, dimension) {
		if err := hvp(current, product); err != nil {
			return nil, nil, fmt.Errorf("multirate: Hessian-vector product %d: %w", k, err)
		}
		axpy(product, -last, previous)
		a := dot(product, current)
		axpy(product, -a, current)
		last = math.Sqrt(NormSquared(product))
		if math.IsNaN(a+last) || math.IsInf(a+last, 0) {
			return nil, nil, fmt.Errorf("multirate: Hessian-vector product %d: %w", k, ErrNotFinite)
		}
		alpha, beta = append(alpha, a), append(beta, last)
		// |H| is at least |alpha| and beta; a residual at rounding level of it
		// has no direction left.
		norm = max(norm, math.Abs(a), last)
		if last <= float64(dimension)*0x1p-53*norm {
			beta[k] = 0
			break
		}
		scale(product, 1/last)
		previous, current, product = current, product, previous
	}
	return alpha, beta, nil
}

func scale(v []float64, a float64) {
	for i := range v {
		v[i] *= a
	}
}

func axpy(dst []float64, a float64, v []float64) {
	for i, x := range v {
		dst[i] += a * x
	}
}

func dot(u, v []float64) (sum float64) {
	for i, x := range u {
		sum += x * v[i]
	}
	return sum
}
