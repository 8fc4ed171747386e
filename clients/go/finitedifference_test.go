package multirate

import (
	"math"
	"slices"
	"testing"
)

// rosenbrock writes the gradient of the chained Rosenbrock function.
func rosenbrock(x, g []float64) {
	clear(g)
	for i := range len(x) - 1 {
		t := x[i+1] - x[i]*x[i]
		g[i] += -400*x[i]*t - 2*(1-x[i])
		g[i+1] += 200 * t
	}
}

func rosenbrockHessianVector(x, v, hv []float64) {
	clear(hv)
	for i := range len(x) - 1 {
		hv[i] += (1200*x[i]*x[i]-400*x[i+1]+2)*v[i] - 400*x[i]*v[i+1]
		hv[i+1] += -400*x[i]*v[i] + 200*v[i+1]
	}
}

// Along u = v/|v| and with step t the product errs by t^2/6 |g(3)| |v|, here
// with |g(3)| <= 2400, and by eps/t |v| for each of the four roundings of terms
// below 1e4.
func TestFiniteDifferenceOnRosenbrock(t *testing.T) {
	x := []float64{-1.2, 1, 0.5, 2, -0.3}
	v := []float64{1, -2, 0.5, 0.25, 3}
	f := FiniteDifference{Gradient: rosenbrock}
	before := slices.Clone(x)
	got, want := make([]float64, 5), make([]float64, 5)
	rosenbrockHessianVector(x, v, want)
	for _, scale := range []float64{1, 1e-100, 1e100} {
		scaled := make([]float64, 5)
		for i := range v {
			scaled[i] = scale * v[i]
		}
		f.HessianVector(x, scaled, got)
		step := math.Cbrt(3*0x1p-53) * math.Sqrt(NormSquared(x))
		tolerance := (step*step/6*2400 + 0x1p-53/step*1e4*4) * math.Sqrt(NormSquared(v))
		for i := range got {
			if math.Abs(got[i]/scale-want[i]) > tolerance {
				t.Errorf("|v| scaled by %g: entry %d is %g, want %g within %g", scale, i, got[i]/scale, want[i], tolerance)
			}
		}
	}
	if !slices.Equal(x, before) {
		t.Error("x was changed")
	}
	if f.Evaluations != 6 {
		t.Errorf("%d gradients counted for 3 products", f.Evaluations)
	}
}

func TestFiniteDifferenceOfNothing(t *testing.T) {
	f := FiniteDifference{Gradient: rosenbrock}
	hv := []float64{1, 2}
	if f.HessianVector([]float64{1, 1}, []float64{0, 0}, hv); hv[0] != 0 || hv[1] != 0 || f.Evaluations != 0 {
		t.Errorf("H 0 = %v in %d gradients, want 0 in none", hv, f.Evaluations)
	}
}

// On a quadratic there is no truncation, so that a longer Length only gains.
func TestFiniteDifferenceLength(t *testing.T) {
	f := FiniteDifference{Length: 0x1p30, Gradient: func(x, g []float64) { g[0] = 3 * x[0] }}
	hv := make([]float64, 1)
	if err := f.At([]float64{1})([]float64{2}, hv); err != nil {
		t.Fatal(err)
	}
	if math.Abs(hv[0]-6) > 1e-14 {
		t.Errorf("H v = %.17g, want 6", hv[0])
	}
	FiniteDifferenceHessianVector(f.Gradient, []float64{0}, []float64{2}, hv)
	if math.Abs(hv[0]-6) > 1e-14 {
		t.Errorf("H v = %.17g, want 6", hv[0])
	}
}
