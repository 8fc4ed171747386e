package multirate

import (
	"errors"
	"fmt"
	"math"
)

// HutchinsonDiagonal estimates the Hessian's diagonal as the mean of z*(H z)
// over random vectors z of signs (Bekas, Kokiopoulou and Saad, Appl. Numer.
// Math. 57, 2007). The estimate is unbiased; entry i has the variance
// sum over j != i of H_ij^2, divided by probes.
func HutchinsonDiagonal(hvp HessianVectorProduct[float64], dimension, probes int, seed uint64) ([]float64, error) {
	diagonal := make([]float64, max(dimension, 0))
	err := hutchinson(hvp, dimension, probes, seed, func(i int, h float64) { diagonal[i] += h / float64(probes) })
	return diagonal, err
}

// HutchinsonMagnitude is the root mean square of what [HutchinsonDiagonal] takes
// the mean of, as in AdaHessian (Yao et al., arXiv 2006.00719). It is what a
// preconditioner wants: where the rest of a row outweighs its diagonal the mean
// comes near zero by chance, and the step along that coordinate is then far too
// long; the square can't. Five probes are enough.
func HutchinsonMagnitude(hvp HessianVectorProduct[float64], dimension, probes int, seed uint64) ([]float64, error) {
	magnitude := make([]float64, max(dimension, 0))
	root := math.Sqrt(float64(probes))
	err := hutchinson(hvp, dimension, probes, seed, func(i int, h float64) { magnitude[i] = math.Hypot(magnitude[i], h/root) })
	return magnitude, err
}

// hutchinson calls add with every entry of z*(H z), for each probe.
func hutchinson(hvp HessianVectorProduct[float64], dimension, probes int, seed uint64, add func(i int, h float64)) error {
	if dimension < 1 || probes < 1 {
		return fmt.Errorf("multirate: %d probes of dimension %d, want at least one", probes, dimension)
	}
	z, hz := make([]float64, dimension), make([]float64, dimension)
	for p := range probes {
		fillSigns(z, signWord(seed, uint64(p)))
		if err := hvp(z, hz); err != nil {
			return fmt.Errorf("multirate: probe %d: %w", p, err)
		}
		for i := range z {
			add(i, z[i]*hz[i])
		}
	}
	return nil
}

// fillSigns fills z with the random signs of a seed.
func fillSigns(z []float64, seed uint64) {
	for i := range z {
		z[i] = 1 - 2*float64(signWord(seed, uint64(i/wordBits))>>(i%wordBits)&1)
	}
}

// Diagonal is a frozen diagonal preconditioner: gradient descent on z = x/s
// instead of x, s = 1/sqrt(max(|h|, floor)), which removes from the Hessian what
// lies along the coordinates. To the service it is plain gradient descent; the
// trainer hands it the gradient in z:
//
//	preconditioner.Gradient(scaled, g)
//	advice, err := run.Rate(ctx, loss, scaled)
//	preconditioner.Step(x, g, advice.LearningRate)
type Diagonal struct {
	scale []float64
}

// NewDiagonal makes a preconditioner of h, an estimate of the Hessian's
// diagonal or any other measure of curvature along each coordinate. Entries
// below floor in magnitude count as floor; 0 means eps = 2^-52 times the
// largest. A run is bound to its preconditioner: another one is another run.
func NewDiagonal(h []float64, floor float64) (*Diagonal, error) {
	largest := 0.0
	for i, v := range h {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("multirate: diagonal entry %d is %g", i, v)
		}
		largest = max(largest, math.Abs(v))
	}
	if floor == 0 {
		floor = largest * 0x1p-52
	}
	if !(floor > 0) || math.IsInf(floor, 0) {
		return nil, errors.New("multirate: diagonal without a positive entry or floor")
	}
	d := &Diagonal{scale: make([]float64, len(h))}
	for i, v := range h {
		d.scale[i] = 1 / math.Sqrt(max(math.Abs(v), floor))
	}
	return d, nil
}

// Gradient writes s*g, the gradient in z, to dst, which may be g.
func (d *Diagonal) Gradient(dst, g []float64) {
	for i, s := range d.scale {
		dst[i] = s * g[i]
	}
}

// Step takes a step of gradient descent in z: x <- x - rate * s^2 * g, where g
// is the gradient in x.
func (d *Diagonal) Step(x, g []float64, rate float64) {
	for i, s := range d.scale {
		x[i] -= rate * s * s * g[i]
	}
}

// Norm returns |z| = |x/s|, for [AtParameterNorm].
func (d *Diagonal) Norm(x []float64) float64 {
	var sum float64
	for i, s := range d.scale {
		sum += (x[i] / s) * (x[i] / s)
	}
	return math.Sqrt(sum)
}

// HessianVector returns the product in z, s*(H (s*v)), of a product in x.
func (d *Diagonal) HessianVector(hvp HessianVectorProduct[float64]) HessianVectorProduct[float64] {
	scaled := make([]float64, len(d.scale))
	return func(v, hv []float64) error {
		d.Gradient(scaled, v)
		if err := hvp(scaled, hv); err != nil {
			return err
		}
		d.Gradient(hv, hv)
		return nil
	}
}
