package estimator

import (
	"fmt"
	"math"
)

// FromCoefficients is the spectrum of a Lanczos run inside the trainer, from its
// tridiagonal matrix: alpha is the diagonal, k >= 1 numbers; beta the
// off-diagonal, k-1 numbers >= 0, or k with the last residual norm behind them.
// dim >= 0 is the number of parameters, 0 when unknown.
//
// With k betas, bounds are residual norms. With k-1 the missing beta_k is 0 where
// k = dim, and otherwise taken to be the largest |Ritz value|, which bounds it as
// soon as that has converged: beta_k <= |H v_k| <= |H|.
//
// Without reorthogonalisation eigenvalues that have converged come back as
// copies. They are reported as one Ritz value that carries the weight of all, so
// that the density stays right: T is what exact Lanczos leaves of a larger matrix
// whose eigenvalues lie in tight clusters around those of H (Greenbaum, Linear
// Algebra Appl. 113, 1989). Copies that differ show the rounding of the trainer's
// arithmetic, and every bound is widened by their difference; rounding that has
// left no copies yet is not in the bounds.
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
	s.Ritz = mergeCopies(s.Ritz)
	s.Stiffest = stiffest(s.Ritz)
	return s, nil
}

const (
	// copyRounding is how far apart, as a share of the largest Ritz value, copies
	// of an eigenvalue may lie: 1,024 units of float32 rounding, which is what
	// plain float32 sums over some thousands of elements add up to.
	copyRounding = 0x1p-14
	// copyShare is that as a share of their own size. Eigenvalues that a trainer
	// in float64 tells apart may be taken for copies, but then no edge moves by
	// more than a thousandth, and flat scales stay as they are.
	copyShare = 1e-3
)

// mergeCopies replaces the copies of an eigenvalue, of Ritz values sorted
// downwards, by the one with the least bound.
func mergeCopies(ritz []RitzValue) []RitzValue {
	rounding := 0.0
	for _, r := range ritz {
		rounding = max(rounding, copyRounding*math.Abs(r.Value))
	}
	merged, spread := ritz[:0], 0.0
	for i := 0; i < len(ritz); {
		n := copies(ritz[i:], rounding)
		one := ritz[i]
		for _, r := range ritz[i+1 : i+n] {
			weight := one.Weight + r.Weight
			if r.Bound < one.Bound {
				one = r
			}
			one.Weight = weight
		}
		if n > 1 {
			spread = max(spread, ritz[i].Value-ritz[i+n-1].Value)
		}
		merged = append(merged, one)
		i += n
	}
	for i := range merged {
		merged[i].Bound = clampFinite(merged[i].Bound + spread)
	}
	return merged
}

// copies is the number of leading Ritz values, at least one, that are copies of
// one eigenvalue: no two further apart than copyShare of their size, and than the
// rounding beside the least of their bounds, within which an eigenvalue lies.
func copies(ritz []RitzValue, rounding float64) int {
	bound := ritz[0].Bound
	for n := 1; n < len(ritz); n++ {
		bound = min(bound, ritz[n].Bound)
		width := ritz[0].Value - ritz[n].Value
		if !(width <= copyShare*math.Abs(ritz[n].Value)) || !(width <= rounding+bound) {
			return n
		}
	}
	return len(ritz)
}
