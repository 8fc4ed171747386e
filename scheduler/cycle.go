package scheduler

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"multirate/estimator"
)

// Cycle is a sequence of learning rates that is served in order and then
// repeated. Over one cycle the error along an eigenvalue lambda of the Hessian
// is multiplied by p(lambda) = prod_j (1 - Rates[j] lambda). It is a value: its
// slices must not be written to once shared.
type Cycle struct {
	// Rates are the learning rates, > 0, in the order in which they are served.
	Rates []float64
	// Scale[j] is the index in [estimator.Scales].Groups, 0 the stiffest, of
	// the scale that Rates[j] serves. len(Scale) = len(Rates).
	Scale []int
	// Rho is the sup of |p| over the scales that the cycle was made for, as
	// [Sup] computes it: the factor by which one cycle contracts the error.
	Rho float64
}

// Cost is the number of steps per unit of log-contraction, N/log(1/Rho). It is
// +Inf for a cycle that does not contract.
func (c Cycle) Cost() float64 {
	if !(c.Rho < 1) {
		return math.Inf(1)
	}
	return float64(len(c.Rates)) / -math.Log(c.Rho)
}

const (
	// MaxCycleLength is the largest number of rates in a cycle.
	MaxCycleLength = 4096
	// MaxDistinctRates is the largest number of rates in a [Chebyshev] cycle,
	// which are all distinct: ordering them takes some 40 ms.
	MaxDistinctRates = 2048
)

// Sentinel errors of cycle construction.
var (
	// ErrNoScales means that there is nothing to serve; it occurs while no
	// positive Ritz value is known, and a safe constant rate is due.
	ErrNoScales = errors.New("no scale to make a cycle for")
	// ErrScaleBounds means that a scale's bounds are not finite, not positive
	// or not in order, or that two scales overlap or are not stiffest first.
	// Negative Ritz values must have been left out, and overlapping scales
	// merged.
	ErrScaleBounds = errors.New("scales must be disjoint, stiffest first, with 0 < Lo <= Hi < Inf")
	// ErrRho means that the wanted contraction is not in (0, 1).
	ErrRho = errors.New("contraction of a cycle must be in (0, 1)")
	// ErrCycleTooLong means that the cycle would be longer than allowed. A
	// contraction closer to 1 may fit; otherwise a scale is too wide for its
	// method, or the flattest scale is too flat to be worth serving.
	ErrCycleTooLong = errors.New("cycle is too long")
)

func checkScales(s estimator.Scales) error {
	if len(s.Groups) == 0 {
		return ErrNoScales
	}
	for i, g := range s.Groups {
		if !(g.Lo > 0 && g.Lo <= g.Hi && g.Hi <= math.MaxFloat64/4 && g.Lo >= 4/math.MaxFloat64) {
			return fmt.Errorf("scale %d is [%g, %g]: %w", i, g.Lo, g.Hi, ErrScaleBounds)
		}
		if i > 0 && g.Hi >= s.Groups[i-1].Lo {
			return fmt.Errorf("scale %d reaches up to %g, scale %d down to %g: %w", i, g.Hi, i-1, s.Groups[i-1].Lo, ErrScaleBounds)
		}
	}
	return nil
}

func checkRho(rho float64) error {
	if !(rho > 0 && rho < 1) {
		return fmt.Errorf("rho is %g: %w", rho, ErrRho)
	}
	return nil
}

// candidateRhos are the contractions that [BestMrGD] and [BestChebyshev] try.
// Longer cycles spread their roots over the scales more evenly, so that cost
// falls slowly with rho; beyond 1e-5 the gain is a few per cent. Contractions
// close to 1 are for scales so wide that no other cycle fits.
var candidateRhos = [...]float64{0.99, 0.9, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5}

// counter plans how many rates each scale gets, for a contraction rho. bound is
// an upper bound of the log of the contraction reached.
type counter func(s estimator.Scales, rho float64, limit int) (counts []int, bound float64, err error)

// cheapest is the plan of least cost over candidateRhos; of equals, the shorter.
func cheapest(s estimator.Scales, limit int, plan counter) ([]int, error) {
	var best []int
	var firstErr error
	least := math.Inf(1)
	for _, rho := range candidateRhos {
		counts, bound, err := plan(s, rho, limit)
		if err != nil {
			if firstErr == nil {
				firstErr = err
			}
			continue
		}
		if cost := float64(total(counts)) / -bound; cost < least {
			best, least = counts, cost
		}
	}
	if best == nil {
		return nil, firstErr
	}
	return best, nil
}

func total(counts []int) int {
	n := 0
	for _, k := range counts {
		n += k
	}
	return n
}

// Sup is the largest |p(lambda)| over the scales, p(lambda) = prod_j (1 -
// rates[j] lambda): the factor by which the rates, in any order, contract the
// error. Rates must be positive. It needs no grid: all roots of p are real, so
// log|p| is concave between neighbouring roots and has one maximum there. It is
// exact to 1e-12 relative and the rounding of the factors (2^-52 N^2 for a wide
// scale with N rates, whose last root is close to its edge). The cost is O(N^2) for N distinct rates. Sup
// is 1 when there is no rate and 0 when there is no scale.
func Sup(rates []float64, s estimator.Scales) float64 {
	if len(s.Groups) == 0 {
		return 0
	}
	p := newPolynomial(rates)
	best := math.Inf(-1)
	for _, g := range s.Groups {
		best = p.supOn(g.Lo, g.Hi, best)
	}
	return math.Exp(best)
}

// Partial is the sup over the scales of each partial product: element n is
// Sup(rates[:n]), for n from 0 to len(rates). The cost is O(N^3); [Peak] finds
// the largest element in much less.
func Partial(rates []float64, s estimator.Scales) []float64 {
	sups := make([]float64, len(rates)+1)
	for n := range sups {
		sups[n] = Sup(rates[:n], s)
	}
	return sups
}

// polynomial is prod_j (1 - rate_j lambda)^power_j, rates ascending.
type polynomial struct {
	rates, powers []float64
}

func newPolynomial(rates []float64) polynomial {
	sorted := slices.Sorted(slices.Values(rates))
	var p polynomial
	for i, r := range sorted {
		if i > 0 && r == sorted[i-1] {
			p.powers[len(p.powers)-1]++
			continue
		}
		p.rates = append(p.rates, r)
		p.powers = append(p.powers, 1)
	}
	return p
}

// factor is 1 - rate*lambda. The conversion forbids a fused multiply-add, whose
// bits would differ between machines.
func factor(rate, lambda float64) float64 { return 1 - float64(rate*lambda) }

// at is log|p| and its derivative. Powers of one are multiplied up, with the
// exponent split off before it overflows: a logarithm per factor is dear.
func (p polynomial) at(lambda float64) (value, slope float64) {
	mantissa, exponent := 1.0, 0
	for j, r := range p.rates {
		f := factor(r, lambda)
		slope -= p.powers[j] * r / f
		if p.powers[j] > 1 {
			value += p.powers[j] * math.Log(math.Abs(f))
			continue
		}
		mantissa *= f
		if a := math.Abs(mantissa); a < 1e-150 || a > 1e150 {
			var e int
			mantissa, e = math.Frexp(mantissa)
			exponent += e
		}
	}
	return value + math.Log(math.Abs(mantissa)) + float64(exponent)*math.Ln2, slope
}

// supOn is the larger of floor and the max of log|p| on [lo, hi].
func (p polynomial) supOn(lo, hi, floor float64) float64 {
	for _, edge := range [...]float64{lo, hi} {
		if v, _ := p.at(edge); v > floor {
			floor = v
		}
	}
	knots := p.knots(lo, hi)
	for k := 1; k < len(knots); k++ {
		floor = concaveMax(p.at, knots[k-1], knots[k], floor)
	}
	return floor
}

// concaveMax is the larger of floor and the max over (a, b) of a concave
// function given with its derivative; at the ends it may be -Inf. It stops as
// soon as the tangents prove that floor, or the best value seen, can't be beaten
// by 1e-13. The next point is the secant's zero of the derivative, kept inside
// the bracket.
func concaveMax(at func(float64) (value, slope float64), a, b, floor float64) float64 {
	type point struct{ x, v, g float64 }
	left, right := point{x: a, g: math.Inf(1)}, point{x: b, g: math.Inf(-1)}
	x := a + (b-a)/2
	for range 64 {
		v, g := at(x)
		floor = max(floor, v)
		var bound float64
		if g > 0 {
			left = point{x, v, g}
			bound = v + g*(right.x-x)
		} else {
			right = point{x, v, g}
			bound = v + g*(left.x-x)
		}
		width := right.x - left.x
		next := left.x + width/2
		if !math.IsInf(left.g, 0) && !math.IsInf(right.g, 0) {
			cross := (right.v - left.v - right.g*width) / (left.g - right.g)
			bound = min(bound, left.v+left.g*cross)
			next = left.x + width*left.g/(left.g-right.g)
		}
		if bound <= floor+1e-13 || !(width > 0) {
			break
		}
		x = min(max(next, left.x+width/16), right.x-width/16)
	}
	return floor
}
