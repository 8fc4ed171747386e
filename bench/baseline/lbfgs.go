package baseline

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/optimize"

	"multirate/examples/problems"
)

// LBFGS is gonum's limited-memory BFGS with the line search of Moré and
// Thuente; Memory is the number of pairs kept. The grid holds the memories
// given; where none is, 5, 10, 20 and 40, and if need be up to 320. Loss and gradient at one point are one gradient.
// Where the line search fails for rounding, the method starts afresh from the
// best point seen; it ends when that brings no progress.
func LBFGS(memories ...int) Method {
	axis := Axis{First: 0, Last: 3, Least: 0, Most: 6, Margin: 1, Set: func(s *Setting, k int) {
		s.Memory = 5 << k
	}}
	if len(memories) > 0 {
		memories = slices.Clone(memories)
		last := len(memories) - 1
		axis = Axis{Last: last, Most: last, Set: func(s *Setting, k int) { s.Memory = memories[k] }}
	}
	return Method{
		Name:    "L-BFGS",
		Grid:    func(problems.Problem) []Axis { return []Axis{axis} },
		iterate: lbfgs,
	}
}

func lbfgs(r *run, s Setting) {
	x, g := r.start()
	loss, more := r.gradient(x, g)
	b := bridge{
		run: r, x: x, g: g, loss: loss,
		best: slices.Clone(x), bestG: slices.Clone(g), bestLoss: loss,
	}
	for more && finite(loss) {
		before := b.bestLoss
		b.broken = false
		method := &optimize.LBFGS{
			Store: s.Memory, Linesearcher: &optimize.MoreThuente{}, GradStopThreshold: math.NaN(),
		}
		settings := &optimize.Settings{
			InitValues: &optimize.Location{F: b.bestLoss, Gradient: slices.Clone(b.bestG)},
			Converger:  optimize.NeverTerminate{},
			Recorder:   &b,
		}
		problem := optimize.Problem{Func: b.function, Grad: b.gradient, Status: b.status}
		// The error says only how a line search failed; progress decides.
		_, _ = optimize.Minimize(problem, slices.Clone(b.best), settings, method)
		if r.over {
			return
		}
		if !(b.bestLoss < before) {
			r.accept(b.bestLoss)
			r.stop(EndStalled)
			return
		}
	}
}

// bridge shows a run to gonum, which asks for loss and gradient apart: the
// last point is kept, so that it is evaluated once.
type bridge struct {
	run      *run
	x, g     []float64
	loss     float64
	best     []float64
	bestG    []float64
	bestLoss float64
	broken   bool // the last point's loss was not finite
}

func (b *bridge) move(x []float64) {
	if slices.Equal(b.x, x) {
		return
	}
	copy(b.x, x)
	b.loss, _ = b.run.evaluate(b.x, b.g)
	b.broken = !finite(b.loss)
	if b.loss < b.bestLoss {
		b.bestLoss = b.loss
		copy(b.best, b.x)
		copy(b.bestG, b.g)
	}
}

func (b *bridge) function(x []float64) float64 { b.move(x); return b.loss }
func (b *bridge) gradient(g, x []float64)      { b.move(x); copy(g, b.g) }

// status ends gonum's run with ours, and where the line search has left the
// numbers, from which it would not come back.
func (b *bridge) status() (optimize.Status, error) {
	if b.run.over || b.broken {
		return optimize.Success, nil
	}
	return optimize.NotTerminated, nil
}

// Init implements gonum's Recorder.
func (b *bridge) Init() error { return nil }

// Record implements gonum's Recorder: a major iteration accepts its point.
func (b *bridge) Record(at *optimize.Location, op optimize.Operation, _ *optimize.Stats) error {
	if op == optimize.MajorIteration {
		b.run.accept(at.F)
	}
	return nil
}
