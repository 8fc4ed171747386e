package scheduler

import (
	"fmt"
	"math"

	"multirate/estimator"
)

// MrGD is the multirate gradient descent cycle of He, Liu and Tsai (arXiv
// 2402.03021): one constant rate per scale, eta_i = 2/(mu_i+L_i), repeated n_i
// times. Counts are chosen from the flattest scale up, so that each stiffer
// scale pays for the amplification by the longer steps: n_i is the least integer
// with
//
//	n_i log c_i + sum_{j flatter} n_j log|1 - eta_j L_i| <= log rho,
//	c_i = (kappa_i - 1)/(kappa_i + 1).
//
// The left side is the log of the sup over scale i without the stiffer factors,
// which only shrink it: |1 - eta_i lambda| is largest at both edges, and the
// flatter factors grow with lambda. So the cycle's Rho is at most rho. Rates are
// in greedy order ([Order]).
//
// Errors: [ErrNoScales], [ErrScaleBounds], [ErrRho] unless 0 < rho < 1,
// [ErrCycleTooLong] beyond [MaxCycleLength].
func MrGD(s estimator.Scales, rho float64) (Cycle, error) {
	if err := checkScales(s); err != nil {
		return Cycle{}, err
	}
	if err := checkRho(rho); err != nil {
		return Cycle{}, err
	}
	counts, _, err := mrgdCounts(s, rho, MaxCycleLength)
	if err != nil {
		return Cycle{}, err
	}
	return mrgdCycle(s, counts), nil
}

// BestMrGD is the MrGD cycle of at most limit rates whose cost ([Cycle.Cost]) is
// least over a fixed list of rho from 0.99 to 1e-5. limit <= 0 means
// [MaxCycleLength]. The errors are those of [MrGD].
func BestMrGD(s estimator.Scales, limit int) (Cycle, error) {
	if err := checkScales(s); err != nil {
		return Cycle{}, err
	}
	counts, err := cheapest(s, clampLimit(limit, MaxCycleLength), mrgdCounts)
	if err != nil {
		return Cycle{}, err
	}
	return mrgdCycle(s, counts), nil
}

func clampLimit(limit, most int) int {
	if limit <= 0 {
		return most
	}
	return min(limit, most)
}

// leastFactor is the smallest |1 - eta lambda| that one rate is trusted with. A
// scale of condition number 1 would be killed by one exact step, but no
// eigenvalue is known exactly, gradients in float32 are rounded at 6e-8, and all
// flatter steps amplify what is left. So a scale counts as no narrower than
// lambda (1 +- 2^-20), and gets a second step where flatter scales ask for more.
const leastFactor = 0x1p-20

func mrgdRate(g estimator.Scale) float64 { return 1 / (g.Lo + (g.Hi-g.Lo)/2) }

func mrgdCounts(s estimator.Scales, rho float64, limit int) (counts []int, bound float64, err error) {
	counts = make([]int, len(s.Groups))
	bound = math.Inf(-1)
	sum := 0.0
	for i := len(s.Groups) - 1; i >= 0; i-- {
		g := s.Groups[i]
		amplification := 0.0
		for j := i + 1; j < len(counts); j++ {
			amplification += float64(counts[j]) * math.Log(math.Abs(factor(mrgdRate(s.Groups[j]), g.Hi)))
		}
		contraction := math.Log(leastFactor)
		if part := 2 * g.Lo / (g.Hi + g.Lo); part < 1-leastFactor {
			contraction = math.Log1p(-part)
		}
		n := max(0, math.Ceil((math.Log(rho)-amplification)/contraction))
		if sum += n; !(sum <= float64(limit)) {
			return nil, 0, fmt.Errorf("scale %d has condition number %.3g and needs %.0f rates of %d for rho %g: %w", i, g.Condition(), n, limit, rho, ErrCycleTooLong)
		}
		counts[i] = int(n)
		bound = max(bound, n*contraction+amplification)
	}
	return counts, bound, nil
}

func mrgdCycle(s estimator.Scales, counts []int) Cycle {
	var c Cycle
	for i, n := range counts {
		for range n {
			c.Rates = append(c.Rates, mrgdRate(s.Groups[i]))
			c.Scale = append(c.Scale, i)
		}
	}
	c.Rho = Sup(c.Rates, s)
	return Order(c, s)
}
