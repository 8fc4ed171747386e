package scheduler

import (
	"fmt"
	"math"

	"multirate/estimator"
)

// Chebyshev is the cycle that serves each scale with the reciprocals of the
// roots of a Chebyshev polynomial on [mu_i, L_i] instead of one repeated rate.
// The number of roots is chosen from the flattest scale up: k_i is the least
// integer with
//
//	F_i(L_i) / T_{k_i}((kappa_i+1)/(kappa_i-1)) <= rho,
//
// F_i the product of the flatter scales' factors. F_i grows with lambda and
// |T_k| is 1 at the edge, so the left side is the sup over the scale, not just
// its value at an edge, but for the stiffer factors, which shrink it. Where gaps
// are small they shrink it enough to drop roots again; that is done, flattest
// first, while a bound of the sup allows it. The cycle's Rho is at most rho. The
// cost is of the order of prod sqrt(kappa_i), near optimal (Kelner et al., arXiv
// 2111.03137). Rates are in greedy order ([Order]).
//
// Errors: [ErrNoScales], [ErrScaleBounds], [ErrRho] unless 0 < rho < 1,
// [ErrCycleTooLong] beyond [MaxDistinctRates].
func Chebyshev(s estimator.Scales, rho float64) (Cycle, error) {
	if err := checkScales(s); err != nil {
		return Cycle{}, err
	}
	if err := checkRho(rho); err != nil {
		return Cycle{}, err
	}
	counts, _, err := chebyshevCounts(s, rho, MaxDistinctRates)
	if err != nil {
		return Cycle{}, err
	}
	return chebyshevCycle(s, counts), nil
}

// BestChebyshev is the Chebyshev cycle of at most limit rates whose cost
// ([Cycle.Cost]) is least over a fixed list of rho from 0.99 to 1e-5. limit <= 0
// means [MaxDistinctRates]. The errors are those of [Chebyshev].
func BestChebyshev(s estimator.Scales, limit int) (Cycle, error) {
	if err := checkScales(s); err != nil {
		return Cycle{}, err
	}
	counts, err := cheapest(s, clampLimit(limit, MaxDistinctRates), chebyshevCounts)
	if err != nil {
		return Cycle{}, err
	}
	return chebyshevCycle(s, counts), nil
}

func chebyshevCycle(s estimator.Scales, counts []int) Cycle {
	var c Cycle
	for i, k := range counts {
		b := newBand(s.Groups[i], k)
		for j := range k {
			c.Rates = append(c.Rates, b.rate(j))
			c.Scale = append(c.Scale, i)
		}
	}
	c.Rho = Sup(c.Rates, s)
	return Order(c, s)
}

// band is T_k on a scale, normalised to 1 at lambda = 0: the product of the
// scale's factors in closed form.
type band struct {
	lo, hi float64
	// centre, half and bottom = centre - half describe the interval of T_k: the
	// scale, or a little more where it is too narrow (leastFactor).
	centre, half, bottom float64
	k                    int
	atZero               float64 // log T_k(centre/half)
}

func newBand(g estimator.Scale, k int) band {
	centre := g.Lo + (g.Hi-g.Lo)/2
	b := band{lo: g.Lo, hi: g.Hi, centre: centre, half: (g.Hi - g.Lo) / 2, bottom: g.Lo}
	if least := leastFactor * centre; b.half < least {
		b.half, b.bottom = least, centre-least
	}
	return b.with(k)
}

func (b band) with(k int) band {
	b.k = k
	b.atZero, _ = logChebyshev(k, b.centre/b.half)
	return b
}

// rate is the reciprocal of the j-th root, 0 <= j < k, smallest rate first. With
// 1 + cos x = 2 cos(x/2)^2 roots near the lower edge keep their relative accuracy.
func (b band) rate(j int) float64 {
	c := math.Cos(math.Pi * (float64(j) + 0.5) / float64(2*b.k))
	return 1 / (b.bottom + float64(2*b.half*c*c))
}

// at is the log of the band's factor at lambda outside the band, and its
// derivative.
func (b band) at(lambda float64) (value, slope float64) {
	value, slope = logChebyshev(b.k, (lambda-b.centre)/b.half)
	return value - b.atZero, slope / b.half
}

// least is the least k with logF - log T_k(centre/half) <= logRho, as a float64
// since it may exceed any int. T_k(y) = cosh(k arcosh y), and arcosh(e^x) = x +
// log(1 + sqrt(1 - e^-2x)).
func (b band) least(logF, logRho float64) float64 {
	x := logF - logRho
	if x <= 0 {
		return 0
	}
	return math.Ceil((x + math.Log1p(math.Sqrt(-math.Expm1(-2*x)))) / math.Acosh(b.centre/b.half))
}

// logChebyshev is log|T_k(y)| and its derivative for |y| >= 1. Inside, where
// only rounding leads, T_k is at most 1 in magnitude and 0 is returned.
func logChebyshev(k int, y float64) (value, slope float64) {
	a := math.Abs(y)
	if a <= 1 || k == 0 {
		return 0, 0
	}
	theta := math.Acosh(a)
	n := float64(k)
	value = n*theta + math.Log1p(math.Exp(-2*n*theta)) - math.Ln2
	slope = n * math.Tanh(n*theta) / math.Sinh(theta)
	return value, math.Copysign(slope, y)
}

func chebyshevCounts(s estimator.Scales, rho float64, limit int) (counts []int, bound float64, err error) {
	bands := make([]band, len(s.Groups))
	logRho := math.Log(rho)
	sum := 0.0
	for i := len(bands) - 1; i >= 0; i-- {
		b := newBand(s.Groups[i], 0)
		logF := 0.0
		for _, flatter := range bands[i+1:] {
			v, _ := flatter.at(b.hi)
			logF += v
		}
		k := b.least(logF, logRho)
		if sum += k; !(sum <= float64(limit)) {
			return nil, 0, fmt.Errorf("scale %d has condition number %.3g and needs %.0f rates of %d for rho %g: %w", i, s.Groups[i].Condition(), k, limit, rho, ErrCycleTooLong)
		}
		bands[i] = b.with(int(k))
	}
	dropRoots(bands, logRho)
	counts = make([]int, len(bands))
	for i, b := range bands {
		counts[i] = b.k
	}
	return counts, logSupBound(bands, math.Inf(-1)), nil
}

// dropRoots takes roots away from each band, flattest first, while the sup over
// all scales provably stays below logRho. A flatter root less may save a stiffer
// one, but never the other way round.
func dropRoots(bands []band, logRho float64) {
	for i := len(bands) - 1; i >= 0; i-- {
		for bands[i].k > 0 {
			kept := bands[i]
			bands[i] = kept.with(kept.k - 1)
			if logSupBound(bands, logRho) > logRho {
				bands[i] = kept
				break
			}
		}
	}
}

// logSupBound is the larger of floor and an upper bound of the sup of log|p|
// over the scales. On a scale its own |T_k| is at most 1 and all other roots lie
// outside, so the rest of log|p| is concave. The bound is attained where the
// rest is largest at an edge, or up to the distance to the next extremum of T_k.
func logSupBound(bands []band, floor float64) float64 {
	for i, own := range bands {
		rest := func(lambda float64) (value, slope float64) {
			value = -own.atZero
			for j, b := range bands {
				if j != i {
					v, g := b.at(lambda)
					value, slope = value+v, slope+g
				}
			}
			return value, slope
		}
		vLo, gLo := rest(own.lo)
		vHi, gHi := rest(own.hi)
		floor = max(floor, vLo, vHi)
		if gLo > 0 && gHi < 0 {
			floor = concaveMax(rest, own.lo, own.hi, floor)
		}
	}
	return floor
}
