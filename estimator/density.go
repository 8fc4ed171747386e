package estimator

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// nearZero is the share of the largest magnitude below which an eigenvalue
// counts as near zero: the spacing of float32 at 1. Products in float32 can't
// tell it from zero.
const nearZero = 0x1p-23

// Measure is a number with its standard error.
type Measure struct {
	Value, StandardError float64
}

// Bin is a stretch of the eigenvalue axis with the share of the eigenvalues in
// it.
type Bin struct {
	Lower, Upper float64
	// Mass is in [0, 1]; those of a density add up to 1.
	Mass Measure
}

// JoinProbes is one spectrum of finished Lanczos runs on one operator from
// independent random start vectors: stochastic Lanczos quadrature (Ubaru, Chen
// and Saad, SIAM J. Matrix Anal. Appl. 38, 2017). Ritz values are numbered by
// run, and their weights divided by the number of runs, so that all add up to
// 1. All must have the same dimension, known or not, and come from products.
func JoinProbes(runs ...Spectrum) (Spectrum, error) {
	var out Spectrum
	for i, run := range runs {
		switch {
		case run.Source != SourceLanczos && run.Source != SourceCoefficients:
			return Spectrum{}, fmt.Errorf("estimator: run %d is not from products", i)
		case run.Dimension != runs[0].Dimension:
			return Spectrum{}, fmt.Errorf("run %d of dimension %d beside %d: %w", i, run.Dimension, runs[0].Dimension, ErrDimension)
		case run.Probes() != 1:
			return Spectrum{}, fmt.Errorf("estimator: run %d is joined already", i)
		}
		for _, r := range run.Ritz {
			r.Probe, r.Weight = i, r.Weight/float64(len(runs))
			out.Ritz = append(out.Ritz, r)
		}
		out.Products += run.Products
		out.Stiffest = max(out.Stiffest, run.Stiffest)
	}
	if len(runs) > 0 {
		out.Source, out.Dimension = runs[0].Source, runs[0].Dimension
	}
	slices.SortStableFunc(out.Ritz, func(a, b RitzValue) int { return cmp.Compare(b.Value, a.Value) })
	return out, nil
}

// largest is the largest magnitude of a Ritz value.
func (s Spectrum) largest() float64 {
	m := 0.0
	for _, r := range s.Ritz {
		m = max(m, math.Abs(r.Value))
	}
	return m
}

// mean is the mean of f over the eigenvalues, by quadrature, with its standard
// error.
//
// For a random start v on the sphere, v'f(H)v has the variance
// 2 (mean f^2 - (mean f)^2)/(D+2), which is how far one probe may err. Several
// probes show their spread, which has the error of the quadrature in it. The
// larger of the two counts; the first is left out where D is not known, and is
// zero when both are.
func (s Spectrum) mean(f func(x float64) float64) Measure {
	parts := byProbe(s.Ritz)
	probes := float64(len(parts))
	var mean, square, variance, spread float64
	means := make([]float64, len(parts))
	for i, ritz := range parts {
		var sum, total, squares float64
		for _, r := range ritz {
			y := f(r.Value)
			sum += r.Weight * y
			squares += r.Weight * y * y
			total += r.Weight
		}
		if total > 0 {
			means[i] = sum / total
			square += squares / total / probes
		}
		mean += means[i] / probes
	}
	if s.Dimension > 0 {
		variance = 2 * max(0, square-mean*mean) / (float64(s.Dimension) + 2) / probes
	}
	if probes > 1 {
		for _, m := range means {
			spread += (m - mean) * (m - mean) / (probes * (probes - 1))
		}
	}
	return Measure{Value: mean, StandardError: math.Sqrt(max(variance, spread))}
}

// Trace estimates the trace of the operator, D times the mean eigenvalue. ok is
// false where D is unknown, the spectrum is not from products, or the trace is
// not finite.
func (s Spectrum) Trace() (trace Measure, ok bool) {
	if s.Dimension == 0 || s.Source == SourceSketch || !s.Known() {
		return Measure{}, false
	}
	// Values of about one, so that squares don't overflow.
	e := exponent(s.largest())
	m := s.mean(func(x float64) float64 { return math.Ldexp(x, -e) })
	d := float64(s.Dimension)
	trace = Measure{math.Ldexp(m.Value*d, e), math.Ldexp(m.StandardError*d, e)}
	return trace, isFinite(trace.Value) && isFinite(trace.StandardError)
}

// NegativeMass estimates the share of the eigenvalues below -2^-23 of the
// largest magnitude, NearZeroMass of those between that and its opposite. For
// [SourceSketch] they are the gradient's shares.
func (s Spectrum) NegativeMass() Measure {
	zero := nearZero * s.largest()
	return s.massIn(func(x float64) bool { return x < -zero })
}

// NearZeroMass is described at [Spectrum.NegativeMass].
func (s Spectrum) NearZeroMass() Measure {
	zero := nearZero * s.largest()
	return s.massIn(func(x float64) bool { return math.Abs(x) <= zero })
}

func (s Spectrum) massIn(in func(x float64) bool) Measure {
	return s.mean(func(x float64) float64 {
		if in(x) {
			return 1
		}
		return 0
	})
}

// Density is the eigenvalue density on points >= 1 bins of equal ratio from the
// least to the largest Ritz value that is positive and not near zero. Before them
// comes one bin for all negative ones, if there are any, and one for those near
// zero ([Spectrum.NegativeMass]). It is nil for [SourceSketch], whose weights
// are the gradient's.
func (s Spectrum) Density(points int) []Bin {
	if s.Source == SourceSketch || !s.Known() || points < 1 {
		return nil
	}
	zero := nearZero * s.largest()
	least, lo, hi := 0.0, math.Inf(1), 0.0
	for _, r := range s.Ritz {
		switch {
		case r.Value > zero:
			lo, hi = min(lo, r.Value), max(hi, r.Value)
		default:
			least = min(least, r.Value)
		}
	}
	var out []Bin
	if m := s.NegativeMass(); m.Value > 0 {
		out = append(out, Bin{Lower: least, Upper: -zero, Mass: m})
	}
	if m := s.NearZeroMass(); m.Value > 0 {
		out = append(out, Bin{Lower: -zero, Upper: zero, Mass: m})
	}
	if hi == 0 {
		return out
	}
	width := (math.Log(hi) - math.Log(lo)) / float64(points)
	for i := range points {
		b := Bin{Lower: lo * math.Exp(width*float64(i)), Upper: lo * math.Exp(width*float64(i+1))}
		if i == points-1 {
			b.Upper = hi
		}
		b.Mass = s.massIn(func(x float64) bool {
			at := points - 1
			if width > 0 {
				at = min(at, int((math.Log(x)-math.Log(lo))/width))
			}
			return x > zero && at == i
		})
		out = append(out, b)
	}
	return out
}
