package baseline

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever the method, the problem, the target and the budget, the result
// counts the calls that the problem saw, and tells the truth about them.
func TestResultCountsEveryGradient(t *testing.T) {
	for name, m := range everyMethod() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				n := rapid.IntRange(2, 12).Draw(t, "dimension")
				q := even(n, math.Pow(10, rapid.Float64Range(0, 5).Draw(t, "log condition")))
				tol := math.Pow(10, rapid.Float64Range(-20, 0.1).Draw(t, "log target"))
				budget := rapid.IntRange(0, 800).Draw(t, "budget")
				c := &counter{Problem: q}
				r := m.Run(c, m.Setting, below(tol), budget)
				check(t, c, r, tol, budget)
				if again := m.Run(q, m.Setting, below(tol), budget); !reflect.DeepEqual(r, again) {
					t.Fatalf("a second run differs: %+v, %+v", r, again)
				}
			})
		})
	}
}

func check(t *rapid.T, c *counter, r Result, tol float64, budget int) {
	if r.Gradients != len(c.points) || r.Gradients > budget {
		t.Fatalf("%d gradients counted, %d taken, %d allowed", r.Gradients, len(c.points), budget)
	}
	met := slices.IndexFunc(c.losses, below(tol))
	if r.Reached != (met >= 0) || r.Reached && met != r.Gradients-1 {
		t.Fatalf("reached %v after %d gradients, met at %d", r.Reached, r.Gradients, met)
	}
	if r.Reached && r.Final > tol || r.Reached != (r.End == EndTarget) {
		t.Fatalf("%v with final loss %g", r.End, r.Final)
	}
	if len(c.losses) > 0 && r.Peak > math.Max(1, slices.Max(c.losses)/c.losses[0])*(1+1e-12) {
		t.Fatalf("peak %g, never seen", r.Peak)
	}
	if len(r.Curve) > CurvePoints || (len(r.Curve) == 0) != (budget == 0) {
		t.Fatalf("%d points of %d gradients", len(r.Curve), r.Gradients)
	}
	for i, p := range r.Curve {
		if i > 0 && p.Gradients <= r.Curve[i-1].Gradients || p.Gradients > r.Gradients {
			t.Fatalf("curve out of order at %d: %+v", i, p)
		}
	}
	if n := len(r.Curve); n > 0 && (r.Curve[0].Gradients != 1 || r.Curve[n-1].Loss != r.Final) {
		t.Fatalf("curve from %+v to %+v, final loss %g", r.Curve[0], r.Curve[n-1], r.Final)
	}
}

func TestLineSearchesNeverPayForAPointTwice(t *testing.T) {
	for _, m := range []Method{LBFGS(), BarzilaiBorwein()} {
		c := &counter{Problem: even(10, 1e3)}
		m.Run(c, Setting{Rate: 1, Memory: 5}, below(1e-8), 2000)
		for i, x := range c.points {
			if slices.ContainsFunc(c.points[:i], func(y []float64) bool { return slices.Equal(x, y) }) {
				t.Errorf("%s: point %d of %d was paid for before", m.Name, i, len(c.points))
			}
		}
	}
}

// A curve of a long run keeps its bound and its spread: no gap wider than the
// factor 10^(6/498) and one gradient.
func TestCurveOfALongRunIsThinned(t *testing.T) {
	const budget = 1000000
	q := quadratic{[]float64{1}, []float64{1}}
	r := GradientDescent().Run(q, Setting{Rate: 1e-6}, never, budget)
	if n := len(r.Curve); n > CurvePoints || n < CurvePoints/2 || r.Curve[n-1].Gradients != budget {
		t.Fatalf("%d points up to %d", n, r.Curve[n-1].Gradients)
	}
	widest := math.Pow(budget, 1/float64(CurvePoints-2))
	for i := 1; i < len(r.Curve); i++ {
		from, to := float64(r.Curve[i-1].Gradients), float64(r.Curve[i].Gradients)
		if to > from*widest+1 {
			t.Errorf("gap from %g to %g", from, to)
		}
	}
}

// Rate 3 on curvature 1 doubles x at every step: the loss passes 1e12 times the
// first at 4^20, the 21st gradient.
func TestDivergenceEndsTheRun(t *testing.T) {
	q := quadratic{[]float64{1}, []float64{1}}
	r := GradientDescent().Run(q, Setting{Rate: 3}, never, 100)
	if r.End != EndDiverged || r.Gradients != 21 || r.Peak != 0x1p40 || r.Final != 0x1p39 {
		t.Errorf("%+v", r)
	}
	r = GradientDescent().Run(q, Setting{Rate: 1e300}, never, 100)
	if r.End != EndDiverged || r.Gradients != 2 || !math.IsInf(r.Peak, 1) || !math.IsInf(r.Final, 1) {
		t.Errorf("%+v", r)
	}
}
