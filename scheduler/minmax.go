package scheduler

import (
	"fmt"

	"multirate/estimator"
)

// MinMax is the cycle of at most limit rates whose cost ([Cycle.Cost]) is least
// over a list of contractions from 0.5 to 1e-6, with its roots where charges that
// repel each other would settle on all scales together. That comes
// within a few per cent of the polynomial with the least sup over the
// scales, whatever their number; [Chebyshev], which plans scale by scale, pays up
// to twice as much. For one scale the two are the same. limit <= 0 means
// [MaxDistinctRates]. Rates are in stable order ([Order]).
//
// Errors: [ErrNoScales], [ErrScaleBounds], [ErrCycleTooLong] where no such cycle
// contracts.
func MinMax(s estimator.Scales, limit int) (Cycle, error) {
	if err := checkScales(s); err != nil {
		return Cycle{}, err
	}
	limit = clampLimit(limit, MaxDistinctRates)
	e, ok := newEquilibrium(s)
	if !ok {
		return Cycle{}, fmt.Errorf("scales can't be told apart: %w", ErrScaleBounds)
	}
	counts := e.bestCounts(limit)
	if counts == nil {
		return Cycle{}, fmt.Errorf("no cycle of %d rates contracts %d scales: %w", limit, len(s.Groups), ErrCycleTooLong)
	}
	var c Cycle
	for i := range e.bands {
		for _, r := range e.rates(i, counts) {
			c.Rates = append(c.Rates, r)
			c.Scale = append(c.Scale, i)
		}
	}
	if c.Rho = Sup(c.Rates, s); !(c.Rho < 1) {
		return Cycle{}, fmt.Errorf("rates for %d scales reach %g: %w", len(s.Groups), c.Rho, ErrCycleTooLong)
	}
	return Order(c, s), nil
}

// bestOfBoth is the cheaper of [MinMax] and [BestChebyshev]; the latter finds
// cycles for tight limits.
func bestOfBoth(s estimator.Scales, limit int) (Cycle, error) {
	joint, err := MinMax(s, limit)
	apart, otherErr := BestChebyshev(s, limit)
	switch {
	case otherErr != nil && err == nil:
		return joint, nil
	case err == nil && joint.Cost() <= apart.Cost():
		return joint, nil
	}
	return apart, otherErr
}
