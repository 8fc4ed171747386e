package estimator

// Source tells which evidence a [Spectrum] rests on.
type Source int

const (
	// SourceNone is the zero value: nothing is known.
	SourceNone Source = iota
	// SourceSketch is sketched Rayleigh-Ritz on successive gradients.
	SourceSketch
	// SourceLanczos is Lanczos on Hessian-vector products with full
	// reorthogonalisation.
	SourceLanczos
	// SourceCoefficients is a Lanczos run inside the trainer, of which only the
	// tridiagonal matrix was sent.
	SourceCoefficients
)

// RitzValue is an approximate eigenvalue of the Hessian.
type RitzValue struct {
	// Value is the approximate eigenvalue, in units of loss per squared
	// parameter. Negative values are kept: they are negative curvature.
	Value float64
	// Weight is the share, in [0, 1], of the start vector's squared norm that
	// lies along the Ritz vector. The start vector is the current gradient for
	// [SourceSketch] and the probe otherwise.
	Weight float64
	// Bound is an upper bound on the distance from Value to the nearest
	// eigenvalue (the residual norm of the Ritz pair: Parlett, The Symmetric
	// Eigenvalue Problem, theorem 4.5.1). For [SourceSketch] the residual is
	// measured in the sketch, so it is an estimate.
	Bound float64
	// Probe is the start vector it belongs to, from 0. Only [JoinProbes] makes
	// more than one.
	Probe int
	// Age is the number of steps since it was seen. [Merge] makes spectra of
	// different ages one.
	Age int64
	// Noise is the mean square, in units of squared gradient, of the gradient's
	// noise along the Ritz vector, where parts of batches were sketched.
	Noise float64
}

// within is r with a weight in [0, 1] and a bound of at least 0, as other
// evidence than this package's may not have them.
func (r RitzValue) within() RitzValue {
	r.Weight = max(0, min(1, r.Weight))
	r.Bound = max(0, r.Bound)
	return r
}

// Spectrum is what is known of the Hessian's eigenvalues. It is a value: no
// method changes it, and its slice must not be written to once shared.
type Spectrum struct {
	// Source is the evidence. The zero Spectrum has [SourceNone].
	Source Source
	// Ritz holds the Ritz values, largest first.
	Ritz []RitzValue
	// Residual is the share, in [0, 1], of the current gradient's squared norm
	// outside the span of the Ritz vectors. It is zero for Lanczos sources,
	// whose start vector lies in the span.
	Residual float64
	// Stiffest is the largest curvature that the evidence supports, at least
	// every Value. It may remember a curvature that has left the window.
	Stiffest float64
	// Dimension is the number of parameters D, or 0 when unknown.
	Dimension int64
	// Products is the number of Hessian-vector products spent.
	Products int
}

// Probes is the number of start vectors behind the Ritz values, at least 1.
func (s Spectrum) Probes() int { return len(byProbe(s.Ritz)) }

// byProbe parts Ritz values by their start vectors, in the order in which these
// first appear. There is at least one part.
func byProbe(ritz []RitzValue) [][]RitzValue {
	index := map[int]int{}
	parts := make([][]RitzValue, 1)
	for _, r := range ritz {
		i, known := index[r.Probe]
		if !known {
			i = len(index)
			index[r.Probe] = i
		}
		if i == len(parts) {
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], r.within())
	}
	return parts
}

// Known reports whether the spectrum holds a Ritz value.
func (s Spectrum) Known() bool { return len(s.Ritz) > 0 }
