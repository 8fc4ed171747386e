package baseline

import (
	"fmt"
	"math"
	"strings"

	"multirate/examples/problems"
)

// Setting holds what a method leaves open. Each method reads only the fields
// that its documentation names.
type Setting struct {
	// Rate is the learning rate; for Barzilai-Borwein and LMSD the first step
	// alone, for Polyak and Prodigy a factor of the method's own rate.
	Rate float64
	// Momentum lies in [0, 1).
	Momentum float64
	// Memory is the number of pairs (L-BFGS), of gradients (LMSD) or of losses
	// (Barzilai-Borwein).
	Memory int
	// Decay is AdamW's weight decay per unit of rate.
	Decay float64
	// Short chooses the shorter of the two Barzilai-Borwein steps.
	Short bool
}

// String names the fields that are not zero.
func (s Setting) String() string {
	var parts []string
	if s.Rate != 0 {
		parts = append(parts, fmt.Sprintf("rate %.3g", s.Rate))
	}
	if s.Momentum != 0 {
		parts = append(parts, fmt.Sprintf("momentum %g", s.Momentum))
	}
	if s.Memory != 0 {
		parts = append(parts, fmt.Sprintf("memory %d", s.Memory))
	}
	if s.Decay != 0 {
		parts = append(parts, fmt.Sprintf("decay %g", s.Decay))
	}
	if s.Short {
		parts = append(parts, "short steps")
	}
	return strings.Join(parts, ", ")
}

// Method is a first-order method and the grid of settings worth trying.
type Method struct {
	// Name is what tables call the method.
	Name string
	// Grid returns the axes of the grid for a problem, none where the method
	// has no setting. It may take gradients of p, which are not counted.
	Grid func(p problems.Problem) []Axis

	iterate func(r *run, s Setting)
}

// Run minimises p from its start with one setting, until the target is met,
// budget gradients are spent, or the loss has diverged ([DivergedAt]). Equal
// arguments give equal results, bit for bit.
func (m Method) Run(p problems.Problem, s Setting, target Target, budget int) Result {
	r := run{problem: p, target: target, budget: budget, over: budget < 1}
	r.result = Result{Method: m.Name, Setting: s.String(), Peak: 1, Final: math.Inf(1)}
	m.iterate(&r, s)
	return r.finish()
}

// Methods returns every method that suits any smooth loss, each with its grid.
// [ConjugateGradients] and its limit are left out, being for quadratics alone.
func Methods() []Method {
	return []Method{
		GradientDescent(), HeavyBall(), Nesterov(), NesterovRestart(),
		Adam(), AdamW(), ScheduleFree(), ScheduleFreeAdam(), Prodigy(), Polyak(),
		BarzilaiBorwein(), LMSD(), LBFGS(),
	}
}
