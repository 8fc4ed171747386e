package estimator

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

const (
	// leastDirection is the least eigenvalue of the displacements' normalised
	// Gram matrix, relative to the largest, for which a combination of them
	// counts as a direction: the third derivative of the loss, which perturbs
	// the changes of the gradient, is amplified by its reciprocal root.
	leastDirection = 1e-4
	// sharpnessConsistency is the largest |T - T'|/|T| at which the projected
	// Hessian T of a burst is believed. It is half of what a window's may be:
	// nothing but the kinks of the loss and its third derivative makes T
	// unsymmetric here, since the few displacements are hardly distorted.
	sharpnessConsistency = 0.3
	// sharpnessSpurious is the largest ratio of the sharpness to the largest
	// secant, which is a lower bound of it on a quadratic.
	sharpnessSpurious = 2
)

// Sharpness is the largest curvature, in units of loss per squared parameter,
// along the span of a few displacements of the parameters, from their sketches
// and those of the changes of the gradient that they caused: k vectors each, all
// of the same length, from successive steps on one mini-batch. Unlike in
// [Window], displacements need not be along the gradient, so momentum may have
// shaped them. 0: none was seen.
//
// It is the largest Ritz value (Rayleigh-Ritz on the span of the displacements,
// which need not be orthogonal), of the symmetric part of the projected Hessian,
// over all leading blocks of principal directions that are consistent. It may be too small by a factor of two where the displacements
// have little along the stiffest direction.
func Sharpness(displacements, changes [][]float32) float64 {
	var lengths []float64
	secant := 0.0
	for j, dx := range displacements {
		square := dot32(dx, dx)
		if !(square > 0) || math.IsInf(square, 0) {
			return 0
		}
		lengths = append(lengths, math.Sqrt(square))
		secant = max(secant, math.Sqrt(dot32(changes[j], changes[j])/square))
	}
	inner := func(a, b [][]float32, i, j int) float64 { return dot32(a[i], b[j]) / (lengths[i] * lengths[j]) }
	k := len(displacements)
	if k == 0 {
		return 0
	}
	gram, product := mat.NewSymDense(k, nil), mat.NewDense(k, k, nil)
	for i := range k {
		for j := range k {
			if j >= i {
				gram.SetSym(i, j, inner(displacements, displacements, i, j))
			}
			product.Set(i, j, inner(displacements, changes, i, j))
		}
	}
	largest := 0.0
	for _, h := range projections(gram, product) {
		top, consistent := topEigenvalue(h)
		if !consistent || top > sharpnessSpurious*secant {
			break
		}
		largest = max(largest, top)
	}
	return largest
}

// projections are the projected Hessians on the 1, 2, ... leading principal
// directions: with the Gram matrix B'B = V Sigma^2 V', blocks of
// Sigma^-1 V'(B'HB) V Sigma^-1.
func projections(gram *mat.SymDense, product *mat.Dense) []*mat.Dense {
	var e mat.EigenSym
	if !e.Factorize(gram, true) {
		return nil
	}
	values := e.Values(nil) // ascending
	k := len(values)
	var v, h mat.Dense
	e.VectorsTo(&v)
	h.Product(v.T(), product, &v)
	var all []*mat.Dense
	for r := 1; r <= k && values[k-r] > leastDirection*values[k-1]; r++ {
		block := mat.DenseCopyOf(h.Slice(k-r, k, k-r, k))
		block.Apply(func(i, j int, x float64) float64 {
			return x / math.Sqrt(values[k-r+i]*values[k-r+j])
		}, block)
		all = append(all, block)
	}
	return all
}

// topEigenvalue is the largest eigenvalue of the symmetric part of h, and
// whether h is nearly symmetric.
func topEigenvalue(h *mat.Dense) (top float64, consistent bool) {
	r, _ := h.Dims()
	half := mat.NewSymDense(r, nil)
	var skew mat.Dense
	skew.Sub(h, h.T())
	for i := range r {
		for j := i; j < r; j++ {
			half.SetSym(i, j, (h.At(i, j)+h.At(j, i))/2)
		}
	}
	var e mat.EigenSym
	if !(mat.Norm(&skew, 2) <= sharpnessConsistency*mat.Norm(h, 2)) || !e.Factorize(half, false) {
		return 0, false
	}
	return e.Values(nil)[r-1], true
}
