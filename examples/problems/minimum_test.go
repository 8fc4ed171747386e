package problems

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// A loss with curvature mu or more between x and its minimum is within
// |g|^2/(2 mu) of it. Half of the least eigenvalue at x stands for mu: the
// gradients are so small that the Hessian cannot change by more on the way. The
// bound is relative to the loss at the start, as excess losses are.
func TestMinimumIsCertifiedByTheGradient(t *testing.T) {
	for _, p := range []interface {
		convex
		Minimum
		Minimiser() []float64
	}{
		GroupedLogistic3(1), GroupedLogistic3(2), GroupedLogistic2(1), LogUniformLogistic(1),
		BreastCancer(), Wine(), Digits(), Diabetes(),
		RotatedLogistic(1, 1), RadialBasis(1, 1), Collocation(1, 1),
		NewScaledSoftmax("softmax", 1, 300, 4, 1, 1, 0.03, 0.001),
		NewScaledPoisson("Poisson", 1, 300, 1, 1, 0.03, 0.001),
	} {
		t.Run(p.Name(), func(t *testing.T) {
			x, g := p.Minimiser(), make([]float64, p.Dim())
			loss := p.Gradient(x, g)
			if loss != p.Minimum() {
				t.Errorf("loss %g at the minimiser, Minimum %g", loss, p.Minimum())
			}
			mu := eigenvalues(t, p.hessian(x))[0] / 2
			first := p.Gradient(p.Start(), make([]float64, p.Dim()))
			if short := dot(g, g) / (2 * mu); !(mu > 0 && short <= 0x1p-52*first) {
				t.Errorf("least curvature %.2g, |g| = %.2g: within %.2g of the minimum %g", mu, norm(g), short, loss)
			}
		})
	}
}

// Scaling a column scales the true weight inversely and leaves the draws, so the
// same model is fitted: both minima are means over 200 rows, each rounded at eps.
func TestMinimumDoesNotDependOnColumnScales(t *testing.T) {
	want := NewScaledLogistic("unscaled", 5, 200, 1, 1, 1).Minimum()
	got := NewScaledLogistic("scaled", 5, 200, 1, 0.03, 0.001).Minimum()
	if math.Abs(got-want) > 200*0x1p-52 {
		t.Errorf("minimum %.16g, want %.16g", got, want)
	}
}

// Efron, Hastie, Johnstone and Tibshirani's data, all features: R^2 = 0.5177.
func TestDiabetesMinimumIsThePublishedFit(t *testing.T) {
	p := Diabetes()
	mean, variance, n := 0.0, 0.0, float64(p.data.rows)
	for _, y := range p.data.target {
		mean += y / n
	}
	for _, y := range p.data.target {
		variance += (y - mean) * (y - mean) / n
	}
	if got := 1 - 2*p.Minimum()/variance; math.Abs(got-0.5177) > 0.00005 {
		t.Errorf("R^2 = %.5f, want 0.5177", got)
	}
}

// Householder QR owes nothing to Newton's method. Its residual is backward
// stable: the loss is good to a small multiple of eps |y|^2.
func TestDiabetesMinimumAgreesWithQR(t *testing.T) {
	p := Diabetes()
	var w mat.VecDense
	x := mat.NewDense(p.data.rows, p.data.columns, p.data.features)
	if err := w.SolveVec(x, mat.NewVecDense(p.data.rows, p.data.target)); err != nil {
		t.Fatal(err)
	}
	want := p.Gradient(w.RawVector().Data, make([]float64, p.Dim()))
	first := p.Gradient(p.Start(), make([]float64, p.Dim()))
	if got := p.Minimum(); math.Abs(got-want) > 100*0x1p-52*first {
		t.Errorf("minimum %.15g, by QR %.15g", got, want)
	}
}

func TestLogisticStartsAtLogTwo(t *testing.T) {
	for _, p := range []*Logistic{GroupedLogistic3(1), GroupedLogistic2(1), LogUniformLogistic(1), BreastCancer(), Wine(), Digits()} {
		got := p.Gradient(p.Start(), make([]float64, p.Dim()))
		if tolerance := float64(p.data.rows) * 0x1p-52; math.Abs(got-math.Ln2) > tolerance {
			t.Errorf("%s starts at %.15g, want log 2", p.Name(), got)
		}
	}
}

func TestScaledLogisticRefusesBadShapes(t *testing.T) {
	for _, c := range []struct {
		rows   int
		scales []float64
	}{{0, []float64{1}}, {10, nil}, {10, []float64{1, 0}}, {10, []float64{math.NaN()}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was taken", c)
				}
			}()
			NewScaledLogistic("bad", 1, c.rows, c.scales...)
		}()
	}
}
