package estimator

import "fmt"

// FromCoefficients is the spectrum of a Lanczos run inside the trainer, from its
// tridiagonal matrix: alpha is the diagonal, k >= 1 numbers; beta the
// off-diagonal, k-1 numbers >= 0, or k with the last residual norm behind them.
// dim >= 0 is the number of parameters, 0 when unknown.
//
// With k betas, bounds are residual norms. With k-1 the missing beta_k is 0 where
// k = dim, and otherwise taken to be the largest |Ritz value|, which bounds it as
// soon as that has converged: beta_k <= |H v_k| <= |H|.
//
// It takes of the order of k^2 operations.
func FromCoefficients(alpha, beta []float64, dim int64) (Spectrum, error) {
	k := len(alpha)
	if k == 0 || (len(beta) != k && len(beta) != k-1) {
		return Spectrum{}, fmt.Errorf("estimator: %d alphas and %d betas, want k >= 1 and k or k-1", k, len(beta))
	}
	if dim < 0 {
		return Spectrum{}, fmt.Errorf("estimator: dimension %d is negative", dim)
	}
	for i, a := range alpha {
		if !isFinite(a) {
			return Spectrum{}, fmt.Errorf("alpha %d: %w", i, ErrNotFinite)
		}
	}
	for i, b := range beta {
		if !isFinite(b) {
			return Spectrum{}, fmt.Errorf("beta %d: %w", i, ErrNotFinite)
		}
		if b < 0 {
			return Spectrum{}, fmt.Errorf("estimator: beta %d is negative", i)
		}
	}
	e, err := tridiagonal{diag: alpha, off: beta[:k-1]}.eigen(nil)
	if err != nil {
		return Spectrum{}, fmt.Errorf("estimator: %w", err)
	}
	residual := maxAbs(e.values)
	switch {
	case len(beta) == k:
		residual = beta[k-1]
	case int64(k) == dim:
		residual = 0
	}
	s := Spectrum{Source: SourceCoefficients, Dimension: dim, Products: k, Ritz: make([]RitzValue, k)}
	for i, v := range e.values {
		s.Ritz[i] = RitzValue{Value: v, Weight: e.weight(i), Bound: clampFinite(residual * e.last(i))}
	}
	s.Stiffest = stiffest(s.Ritz)
	return s, nil
}
