package problems

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// smooth is every problem here.
type smooth interface {
	Problem
	HessianVector
}

func all() []smooth {
	return []smooth{
		ThreeScales(1), TwoScales(2), FourScales(3), NoGap(4), BulkOutliers(5),
		GroupedLogistic3(1), GroupedLogistic2(2), LogUniformLogistic(3),
		BreastCancer(), Wine(), Digits(), Diabetes(),
		MNISTNetwork(1, 50),
		PowerLaw(1, 1), NewRotated(NewQuadratic("mild", 2, Group{1e-2, 1, 20}), 2), RotatedLogistic(1, 1),
		NewScaledSoftmax("softmax", 1, 300, 4, 1, 1, 0.03, 0.001),
		NewScaledPoisson("Poisson", 1, 300, 1, 1, 0.03, 0.001),
		RadialBasis(1, 1), Collocation(1, 1), NewFactorisation(1, 1),
		NewScaledRosenbrock("Rosenbrock", 1, 1, 1, 0.03, 0.03, 0.001),
	}
}

// curvatureAlong is v'H(x)v.
func curvatureAlong(p smooth, x, v []float64) float64 {
	hv := make([]float64, p.Dim())
	p.HessianVector(x, v, hv)
	return dot(v, hv)
}

// probe is a point near the start and a direction along which the curvature is
// 1. Coordinates are drawn in units of the diagonal curvature there, so that
// every one moves the loss alike, however its feature is scaled.
func probe(p smooth, seed uint64) (x, v []float64) {
	random := rand.New(rand.NewPCG(seed, 1))
	x, v = p.Start(), make([]float64, p.Dim())
	basis := make([]float64, p.Dim())
	for i := range x {
		unit := 1.0
		if p.Dim() < 1000 {
			basis[i] = 1
			unit = 1 / math.Sqrt(math.Abs(curvatureAlong(p, p.Start(), basis)))
			basis[i] = 0
		}
		x[i] += 0.1 * unit * random.NormFloat64() / math.Sqrt(float64(p.Dim()))
		v[i] = unit * random.NormFloat64()
	}
	scale(v, 1/math.Sqrt(math.Abs(curvatureAlong(p, x, v))))
	return x, v
}

// A step h along a direction of unit curvature leaves a truncation error of
// h^2/6 times a third derivative of order 1 and rounds by eps*f/h, with terms
// summed over rows and columns; h = eps^(1/3) balances the two at some 1e-10.
var step = math.Cbrt(0x1p-52)

func TestGradientIsTheSlopeOfTheLoss(t *testing.T) {
	for _, p := range all() {
		t.Run(p.Name(), func(t *testing.T) {
			x, v := probe(p, 7)
			g, unused := make([]float64, p.Dim()), make([]float64, p.Dim())
			loss := p.Gradient(x, g)
			ahead, behind := slices.Clone(x), slices.Clone(x)
			addScaled(ahead, step, v)
			addScaled(behind, -step, v)
			slope := (p.Gradient(ahead, unused) - p.Gradient(behind, unused)) / (2 * step)
			tolerance := 10*step*step + 100*0x1p-52*loss/step
			if got := dot(g, v); math.Abs(got-slope) > tolerance {
				t.Errorf("g'v = %.12g, central difference %.12g, tolerance %.1g", got, slope, tolerance)
			}
		})
	}
}

func TestHessianVectorIsTheSlopeOfTheGradient(t *testing.T) {
	for _, p := range all() {
		t.Run(p.Name(), func(t *testing.T) {
			x, v := probe(p, 8)
			hv := make([]float64, p.Dim())
			p.HessianVector(x, v, hv)
			up, down := make([]float64, p.Dim()), make([]float64, p.Dim())
			ahead, behind := slices.Clone(x), slices.Clone(x)
			addScaled(ahead, step, v)
			addScaled(behind, -step, v)
			p.Gradient(ahead, up)
			p.Gradient(behind, down)
			size := norm(up)
			addScaled(up, -1, down)
			scale(up, 1/(2*step))
			addScaled(up, -1, hv)
			tolerance := 10*step*step*norm(hv) + 100*0x1p-52*size/step
			if off := norm(up); off > tolerance {
				t.Errorf("|central difference - Hv| = %.2g, |Hv| = %.2g, tolerance %.1g", off, norm(hv), tolerance)
			}
		})
	}
}

func TestHessianIsSymmetric(t *testing.T) {
	for _, p := range all() {
		t.Run(p.Name(), func(t *testing.T) {
			x, v := probe(p, 9)
			_, w := probe(p, 10)
			hv, hw := make([]float64, p.Dim()), make([]float64, p.Dim())
			p.HessianVector(x, v, hv)
			p.HessianVector(x, w, hw)
			// Rounding error of a sum of D products, with 16 for the sums within each.
			tolerance := 16 * math.Sqrt(float64(p.Dim())) * 0x1p-52 * (norm(v)*norm(hw) + norm(w)*norm(hv))
			if a, b := dot(w, hv), dot(v, hw); math.Abs(a-b) > tolerance {
				t.Errorf("w'Hv = %.15g, v'Hw = %.15g, tolerance %.1g", a, b, tolerance)
			}
		})
	}
}

func TestSameSeedGivesTheSameBits(t *testing.T) {
	again := all()
	for i, p := range all() {
		x, y := p.Start(), again[i].Start()
		gx, gy := make([]float64, p.Dim()), make([]float64, p.Dim())
		fx, fy := p.Gradient(x, gx), again[i].Gradient(y, gy)
		if fx != fy || !slices.Equal(x, y) || !slices.Equal(gx, gy) {
			t.Errorf("%s: two instances differ", p.Name())
		}
	}
	for _, problem := range []func(uint64) Problem{
		func(s uint64) Problem { return ThreeScales(s) },
		func(s uint64) Problem { return MNISTNetwork(s, 1) },
	} {
		if slices.Equal(problem(1).Start(), problem(2).Start()) {
			t.Errorf("%s starts where seed 2 does", problem(1).Name())
		}
	}
}

func TestStartIsAFreshCopy(t *testing.T) {
	for _, p := range all() {
		first := p.Start()
		first[0]++
		if p.Start()[0] == first[0] {
			t.Errorf("%s: writing to Start moved the start", p.Name())
		}
		if len(first) != p.Dim() {
			t.Errorf("%s: start has %d numbers, Dim is %d", p.Name(), len(first), p.Dim())
		}
	}
}

func TestBlownUpParametersGiveNoFiniteLossAndNoPanic(t *testing.T) {
	for _, p := range all() {
		g := make([]float64, p.Dim())
		for _, value := range []float64{math.NaN(), math.MaxFloat64} {
			x := slices.Repeat([]float64{value}, p.Dim())
			loss := p.Gradient(x, g)
			if math.IsNaN(value) && !math.IsNaN(loss) {
				t.Errorf("%s: loss %g at NaN", p.Name(), loss)
			}
			if loss < p.LowerBound() {
				t.Errorf("%s: loss %g at %g", p.Name(), loss, value)
			}
		}
	}
}

func TestExcessRunsFromOneToZero(t *testing.T) {
	for _, c := range []struct{ loss, want float64 }{{5, 1}, {1, 0}, {2, 0.25}} {
		if got := Excess(c.loss, 5, 1); got != c.want {
			t.Errorf("Excess(%g, 5, 1) = %g, want %g", c.loss, got, c.want)
		}
	}
}
