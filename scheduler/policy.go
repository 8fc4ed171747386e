package scheduler

import "fmt"

// Policy is a way of planning learning rates from a spectrum.
type Policy int

const (
	// PolicyAdaptive, the zero value, sweeps the reciprocal Ritz values of the
	// present model. Where only a spectrum from products is known it serves the
	// constant rate of the stiffest scale.
	PolicyAdaptive Policy = iota
	// PolicyConstant serves the largest constant rate that is safe for the
	// stiffest curvature known.
	PolicyConstant
	// PolicyMrGD serves the cycles of arXiv 2402.03021; see [MrGD].
	PolicyMrGD
	// PolicyChebyshev serves per-scale Chebyshev cycles; see [Chebyshev].
	PolicyChebyshev
)

var policyNames = [...]string{"adaptive", "constant", "mrgd", "chebyshev"}

// String is the policy's name on command lines and in logs.
func (p Policy) String() string {
	if p < 0 || int(p) >= len(policyNames) {
		return fmt.Sprintf("Policy(%d)", int(p))
	}
	return policyNames[p]
}

// ParsePolicy is the inverse of [Policy.String].
func ParsePolicy(name string) (Policy, error) {
	for i, n := range policyNames {
		if n == name {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("unknown policy %q: use one of %v", name, policyNames)
}
