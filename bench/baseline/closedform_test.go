package baseline

import (
	"math"
	"math/cmplx"
	"testing"
)

// With f = lambda x^2/2 the error is (1 - rate lambda)^t: the first t that
// brings the loss to the fraction tol is ceil(log tol / (2 log|1 - rate
// lambda|)), and the start is a gradient too.
func TestGradientDescentTakesTheCountOfTheClosedForm(t *testing.T) {
	for _, c := range []struct{ lambda, rate, tol float64 }{
		{1, 0.1, 1e-6}, {1, 1.9, 1e-6}, {4e3, 1e-5, 1e-2}, {1e-5, 1e5, 1e-30}, {3, 0.2, 1e-12},
	} {
		q := quadratic{[]float64{c.lambda}, []float64{7}}
		first := c.lambda * 49 / 2
		want := 2
		if left := math.Abs(1 - c.rate*c.lambda); left > 1e-15 {
			want = 1 + int(math.Ceil(math.Log(c.tol)/(2*math.Log(left))))
		}
		got := GradientDescent().Run(q, Setting{Rate: c.rate}, below(c.tol*first), 1000)
		if !got.Reached || got.End != EndTarget || got.Gradients != want || got.Peak != 1 {
			t.Errorf("%+v: %d gradients, want %d (%+v)", c, got.Gradients, want, got.End)
		}
	}
}

// Both momentum methods follow e” = a e' - b e on each eigenvalue, whose
// solution is a sum of two powers, equal in modulus sqrt(b) when the roots are
// complex. 100 steps of a recurrence with |roots| < 1 carry a rounding error of
// some 100 units times the largest e, here below 1e-13 of the start.
func TestMomentumFollowsTheClosedForm(t *testing.T) {
	for _, lambda := range []float64{0.01, 0.3, 1} {
		for _, momentum := range []float64{0.5, 0.9, 0.99} {
			const rate = 0.9
			keep := 1 - rate*lambda
			for _, c := range []struct {
				method    Method
				a, b, one float64 // one is e after one step
			}{
				{HeavyBall(), keep + momentum, momentum, keep},
				{Nesterov(), (1 + momentum) * keep, momentum * keep, (1+momentum)*keep - momentum},
			} {
				q := quadratic{[]float64{lambda}, []float64{1}}
				got := c.method.Run(q, Setting{Rate: rate, Momentum: momentum}, never, 100)
				if len(got.Curve) != 100 {
					t.Fatalf("%s: %d points of 100", c.method.Name, len(got.Curve))
				}
				for _, p := range got.Curve {
					e := twoTerm(c.a, c.b, c.one, p.Gradients-1)
					if math.Abs(math.Sqrt(2*p.Loss/lambda)-math.Abs(e)) > 1e-12 {
						t.Fatalf("%s lambda %g momentum %g: loss %g after %d gradients, closed form %g",
							c.method.Name, lambda, momentum, p.Loss, p.Gradients, lambda*e*e/2)
					}
				}
			}
		}
	}
}

// twoTerm is term n of e_{n+2} = a e_{n+1} - b e_n, e_0 = 1, e_1 = one.
func twoTerm(a, b, one float64, n int) float64 {
	root := cmplx.Sqrt(complex(a*a/4-b, 0))
	r, s := complex(a/2, 0)+root, complex(a/2, 0)-root
	p := (complex(one, 0) - s) / (r - s)
	return real(p*cmplx.Pow(r, complex(float64(n), 0)) + (1-p)*cmplx.Pow(s, complex(float64(n), 0)))
}

// With the optimal rate and momentum the error falls a step by the factor
// (sqrt(k)-1)/(sqrt(k)+1) (Polyak, 1964) and, for Nesterov with rate 1/L, by
// 1 - 1/sqrt(k); the loss by its square. The root is double there, so the error
// has a factor linear in t as well: while the loss falls from 1e-10 to 1e-20, t
// doubles, which adds 2 log 2 to log 1e10, 6 %. Allow 3 % more for what other
// modes and whole steps do.
func TestMomentumConvergesAtTheKnownRate(t *testing.T) {
	const condition = 1e4
	q := even(50, condition)
	root := math.Sqrt(condition)
	ball := (root - 1) / (root + 1)
	step, slow := 2/(1+1/root), 1-1/root
	for _, c := range []struct {
		method       Method
		setting      Setting
		factor, tail float64
	}{
		{HeavyBall(), Setting{Rate: step * step, Momentum: ball * ball}, ball * ball, 0.06},
		{Nesterov(), Setting{Rate: 1, Momentum: (root - 1) / (root + 1)}, slow * slow, 0.06},
	} {
		early := c.method.Run(q, c.setting, below(1e-10), 20000)
		late := c.method.Run(q, c.setting, below(1e-20), 20000)
		want := -math.Log(1e10) / math.Log(c.factor)
		got := float64(late.Gradients - early.Gradients)
		if got < want*0.97 || got > want*(1+c.tail+0.03) {
			t.Errorf("%s: %g gradients for ten digits, theory %g", c.method.Name, got, want)
		}
	}
}

// Bias correction makes the first step rate * sign(g), whatever the size of g,
// up to epsilon/|g|.
func TestAdamsFirstStepIsTheRateTimesTheSign(t *testing.T) {
	q := quadratic{[]float64{1e-3, 1, 1e6, 5}, []float64{3, -2, 40, 0}}
	c := &counter{Problem: q}
	Adam().Run(c, Setting{Rate: 0.25}, never, 2)
	for i, want := range []float64{2.75, -1.75, 39.75, 0} {
		if got := c.points[1][i]; math.Abs(got-want) > 0.25*1e-8/3e-3+1e-14 {
			t.Errorf("coordinate %d at %v after one step, want %v", i, got, want)
		}
	}
}

// In two dimensions the digits gained grow geometrically (Barzilai and
// Borwein, 1988, theorem 1): each further ten digits cost less.
func TestBarzilaiBorweinIsSuperlinearInTwoDimensions(t *testing.T) {
	q := quadratic{[]float64{1, 20}, []float64{1, 1}}
	for _, short := range []bool{false, true} {
		var counts []int
		for _, tol := range []float64{10, 1e-10, 1e-20, 1e-30} {
			r := BarzilaiBorwein().Run(q, Setting{Rate: 0.08, Memory: 10, Short: short}, below(tol), 200)
			if !r.Reached {
				t.Fatalf("short %v: not below %g", short, tol)
			}
			counts = append(counts, r.Gradients)
		}
		t.Log(counts)
		if first, last := counts[1]-counts[0], counts[3]-counts[2]; 2*last >= first {
			t.Errorf("short %v: counts %v do not bend", short, counts)
		}
	}
}

// On |x|^2/2 from |x| = 1.5 gonum first steps by 1 along -g, which satisfies
// the strong Wolfe conditions, and the second direction is Newton's: start,
// trial, minimum.
func TestLBFGSSolvesASphereInThree(t *testing.T) {
	q := quadratic{[]float64{1, 1, 1}, []float64{0.5, 1, 1}}
	if r := LBFGS().Run(q, Setting{Memory: 5}, below(1e-30), 10); !r.Reached || r.Gradients != 3 {
		t.Errorf("%d gradients, reached %v", r.Gradients, r.Reached)
	}
}

// L-BFGS with more pairs than dimensions is BFGS, which on a quadratic ends
// within some multiple of n line searches; gradient descent would take some
// kappa log(1e10)/4 = 6e6.
func TestLBFGSOutrunsTheConditionNumber(t *testing.T) {
	r := LBFGS().Run(even(10, 1e6), Setting{Memory: 20}, below(1e-10), 10000)
	if !r.Reached || r.Gradients > 200 {
		t.Errorf("%d gradients, reached %v", r.Gradients, r.Reached)
	}
}

// Conjugate gradients end after as many steps as there are distinct
// eigenvalues; start and confirmation are a gradient each.
func TestConjugateGradientsEndAfterTheDistinctEigenvalues(t *testing.T) {
	for distinct := 2; distinct <= 5; distinct++ {
		var q quadratic
		for i := range 40 {
			q.lambda = append(q.lambda, math.Pow(3, float64(i%distinct)))
			q.from = append(q.from, 1+float64(i)/40)
		}
		for _, m := range []Method{ConjugateGradients(), ConjugateGradientsExact()} {
			r := m.Run(q, Setting{}, below(1e-10), 100)
			if !r.Reached || r.Gradients != distinct+2 {
				t.Errorf("%s, %d eigenvalues: %d gradients", m.Name, distinct, r.Gradients)
			}
		}
	}
}

// Without rounding no more steps than dimensions are needed, whatever the
// condition number; start, confirmation and at most one restart's step and
// confirmation come on top.
func TestExactConjugateGradientsEndAfterTheDimension(t *testing.T) {
	for _, condition := range []float64{1e2, 1e4, 1e6} {
		r := ConjugateGradientsExact().Run(even(60, condition), Setting{}, below(1e-10), 1000)
		if !r.Reached || r.Gradients > 60+4 {
			t.Errorf("condition %g: %d gradients", condition, r.Gradients)
		}
	}
}

func TestCurvatureIsTheLargestEigenvalue(t *testing.T) {
	for _, scale := range []float64{1e-8, 1, 1e8} {
		q := quadratic{[]float64{scale, scale / 5, scale / 30}, []float64{1, 2, 3}}
		if got := Curvature(q); math.Abs(got/scale-1) > 1e-6 {
			t.Errorf("curvature %g of %g", got, scale)
		}
	}
	if got := Curvature(quadratic{[]float64{0}, []float64{1}}); got != 1 {
		t.Errorf("curvature %g where there is none", got)
	}
}

// Restarting recovers the linear rate without knowing the condition number, up
// to a constant (O'Donoghue and Candès, 2015, section 4.1): here at most twice
// the gradients of the momentum that knows it.
func TestRestartRecoversTheLinearRate(t *testing.T) {
	q := even(50, 1e4)
	known := Nesterov().Run(q, Setting{Rate: 1, Momentum: 99.0 / 101}, below(1e-14), 20000)
	found := NesterovRestart().Run(q, Setting{Rate: 1}, below(1e-14), 20000)
	t.Log(known.Gradients, found.Gradients)
	if !found.Reached || found.Gradients > 2*known.Gradients {
		t.Errorf("%d gradients, %d with the momentum known", found.Gradients, known.Gradients)
	}
}
