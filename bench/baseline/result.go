package baseline

import "math"

// Target says whether a loss is low enough. It must be deterministic and false
// for NaN and infinity.
type Target func(loss float64) bool

// Point is one point of a loss curve.
type Point struct {
	// Gradients counts the gradients spent up to this loss, this one included.
	Gradients int
	// Loss is finite.
	Loss float64
}

// End says why a run ended.
type End int

// The ends of a run.
const (
	// EndBudget: the budget was spent without reaching the target.
	EndBudget End = iota
	// EndTarget: a gradient was taken where the loss meets the target.
	EndTarget
	// EndDiverged: the loss was not finite, or rose above [DivergedAt] times
	// the loss at the start.
	EndDiverged
	// EndBeaten: [Best] ended the run because another setting had reached the
	// target with no more gradients than this one had spent.
	EndBeaten
	// EndStalled: the method itself cannot go on; rounding hides any descent.
	EndStalled
)

// String returns the end in one word.
func (e End) String() string {
	names := [...]string{"budget", "target", "diverged", "beaten", "stalled"}
	if e < 0 || int(e) >= len(names) {
		return "unknown"
	}
	return names[e]
}

// Result is one run of one method with one setting.
type Result struct {
	// Method and Setting name the run.
	Method, Setting string
	// Gradients counts the calls of Gradient that the run made.
	Gradients int
	// Reached says whether a gradient was taken where the target is met.
	Reached bool
	// Peak is the largest loss over the loss at the start, both measured from
	// the problem's lower bound; at least 1, +Inf where the loss was not finite.
	Peak float64
	// Final is the loss at the last point accepted, +Inf where it was not finite.
	Final float64
	// Curve holds at most [CurvePoints] points, evenly spread over the
	// logarithm of the gradient count, the first and the last finite loss
	// among them.
	Curve []Point
	// End says why the run ended.
	End End
}

// better orders results: a reached target before any other end, fewer
// gradients, then the lower final loss.
func (r Result) better(than Result) bool {
	switch {
	case r.Reached != than.Reached:
		return r.Reached
	case r.Reached:
		return r.Gradients < than.Gradients
	default:
		return r.Final < than.Final
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
