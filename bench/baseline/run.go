package baseline

import (
	"math"

	"multirate/examples/problems"
)

const (
	// DivergedAt ends a run whose loss, measured from the lower bound, exceeds
	// that of the start by this factor. It is large, since heavy ball with its
	// optimal parameters may rise by the condition number before it falls.
	DivergedAt = 1e12
	// CurvePoints bounds the length of [Result.Curve].
	CurvePoints = 500
)

// run is the only road from a method to a problem: it counts, watches the
// target, the budget and divergence, and keeps the curve.
type run struct {
	problem problems.Problem
	target  Target
	budget  int
	over    bool
	result  Result

	scale float64 // loss at the start, from the lower bound
	last  Point   // last point accepted with a finite loss
	next  int     // gradient count from which the curve takes its next point
}

// start returns the start point and a gradient of the same length.
func (r *run) start() (x, g []float64) {
	return r.problem.Start(), make([]float64, r.problem.Dim())
}

// evaluate takes the gradient at a point that the method may still reject.
// After more has been false it takes none and returns +Inf.
func (r *run) evaluate(x, g []float64) (loss float64, more bool) {
	if r.over {
		return math.Inf(1), false
	}
	loss = r.problem.Gradient(x, g)
	r.result.Gradients++
	if r.result.Gradients == 1 {
		r.scale = loss - r.problem.LowerBound()
		if !(r.scale > 0) {
			r.scale = 1
		}
	}
	if r.target(loss) {
		r.result.Reached = true
		r.accept(loss)
		r.stop(EndTarget)
		return loss, false
	}
	r.over = r.result.Gradients >= r.budget
	return loss, !r.over
}

// accept notes the loss at the point where the method now is.
func (r *run) accept(loss float64) (more bool) {
	peak := (loss - r.problem.LowerBound()) / r.scale
	if !finite(loss) {
		loss, peak = math.Inf(1), math.Inf(1)
	} else {
		r.last = Point{Gradients: r.result.Gradients, Loss: loss}
		r.thin()
	}
	r.result.Final = loss
	r.result.Peak = math.Max(r.result.Peak, peak)
	if peak > DivergedAt {
		r.stop(EndDiverged)
	}
	return !r.over
}

// gradient takes the gradient at a point where the method then is.
func (r *run) gradient(x, g []float64) (loss float64, more bool) {
	if r.over {
		return math.Inf(1), false
	}
	if loss, more = r.evaluate(x, g); !r.result.Reached {
		more = r.accept(loss)
	}
	return loss, more
}

// stop ends the run; the first reason given stands.
func (r *run) stop(why End) {
	if r.result.End == EndBudget {
		r.result.End = why
	}
	r.over = true
}

// thin adds the last point to the curve if it is due: each point is at least
// the factor budget^(1/(CurvePoints-2)) behind the one before, which leaves room for
// the very last.
func (r *run) thin() {
	if r.last.Gradients < r.next {
		return
	}
	r.result.Curve = append(r.result.Curve, r.last)
	factor := math.Pow(float64(r.budget), 1/float64(CurvePoints-2))
	r.next = max(r.last.Gradients+1, int(math.Ceil(float64(r.last.Gradients)*factor)))
}

// finish closes the curve and returns the result.
func (r *run) finish() Result {
	c := r.result.Curve
	if n := len(c); n > 0 && c[n-1].Gradients < r.last.Gradients {
		r.result.Curve = append(c, r.last)
	}
	return r.result
}
