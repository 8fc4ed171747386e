package problems

import (
	"math"
	"slices"
	"testing"
)

func TestEveryEntryIsBuiltAndHasItsGoalAhead(t *testing.T) {
	names := map[string]bool{}
	for _, e := range Catalogue() {
		t.Run(e.Name, func(t *testing.T) {
			if names[e.Name] {
				t.Error("name taken twice")
			}
			names[e.Name] = true
			task, err := NewTask(e, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			if task.Reached(task.First) {
				t.Error("goal met at the start")
			}
			if e.Goal.Excess && (!task.Reached(task.Least) || task.Value(task.First) != 1 || task.Value(task.Least) != 0) {
				t.Errorf("excess %g at the start and %g at the minimum, want 1 and 0", task.Value(task.First), task.Value(task.Least))
			}
			if other := e.Build(2, 1); e.Seeded == (other.Name() == task.Problem.Name()) {
				t.Errorf("seeds 1 and 2 make %s and %s", task.Problem.Name(), other.Name())
			}
			if larger := e.Build(1, 2); e.Sized != (larger.Dim() == 2*task.Problem.Dim()) {
				t.Errorf("%d parameters at size 1, %d at size 2", task.Problem.Dim(), larger.Dim())
			}
		})
	}
}

func TestRotationLeavesLossAndCurvature(t *testing.T) {
	plain := BulkOutliers(3)
	turned := NewRotated(plain, 3)
	g := make([]float64, plain.Dim())
	want := plain.Gradient(plain.Start(), g)
	slope := norm(g)
	got := turned.Gradient(turned.Start(), g)
	// Sums of D products, each rounded at eps, over an orthogonal Q.
	tolerance := float64(plain.Dim()) * 0x1p-52
	if math.Abs(got-want) > tolerance*want*math.Sqrt(110/1e-3) || math.Abs(norm(g)-slope) > 100*tolerance*slope {
		t.Errorf("loss %.15g, |g| %.15g, want %.15g and %.15g", got, norm(g), want, slope)
	}
}

func TestMinimumZeroIsAttained(t *testing.T) {
	rosenbrock := NewScaledRosenbrock("Rosenbrock", 1, 1, 0.5, 2)
	g := make([]float64, 3)
	if loss := rosenbrock.Gradient([]float64{1, 2, 0.5}, g); loss != 0 || norm(g) != 0 {
		t.Errorf("Rosenbrock: loss %g, gradient %v at its minimum", loss, g)
	}
	const singular = 4.0
	f := NewScaledFactorisation("factorisation", 1, 3, 2, singular)
	u, v := orthogonal(1, 3).ColView(0), orthogonal(1+1<<32, 2).ColView(0)
	x := []float64{u.AtVec(0), u.AtVec(1), u.AtVec(2), v.AtVec(0), v.AtVec(1)}
	scale(x, math.Sqrt(singular))
	g = make([]float64, 5)
	if loss := f.Gradient(x, g); loss > 1e-28 || norm(g) > 1e-13 {
		t.Errorf("factorisation: loss %g, gradient %v at its minimum", loss, g)
	}
}

// At w = 0 the half deviance is 1 - mean y + mean(y log y), from the counts.
func TestPoissonStartsAtItsDeviance(t *testing.T) {
	p := NewScaledPoisson("Poisson", 1, 50, 1)
	want := 1.0
	for _, y := range p.data.target {
		want -= y / 50
		if y > 0 {
			want += y * math.Log(y) / 50
		}
	}
	if got := p.Gradient(p.Start(), make([]float64, 1)); math.Abs(got-want) > 1e-13 {
		t.Errorf("%.15g, want %.15g", got, want)
	}
}

func TestSoftmaxStartsAtLogClasses(t *testing.T) {
	p := NewScaledSoftmax("softmax", 1, 50, 4, 1, 0.1)
	if got := p.Gradient(p.Start(), make([]float64, p.Dim())); math.Abs(got-math.Log(4)) > 1e-14 {
		t.Errorf("starts at %.15g, want log 4", got)
	}
}

func TestConvolutionGradientIsTheSlopeOfTheLoss(t *testing.T) {
	p := NewConvolution(1, 20)
	x := p.Start()
	g, unused := make([]float64, p.Dim()), make([]float64, p.Dim())
	loss := p.Gradient(x, g)
	for i := 0; i < p.Dim(); i += 37 {
		ahead, behind := slices.Clone(x), slices.Clone(x)
		ahead[i] += step
		behind[i] -= step
		slope := (p.Gradient(ahead, unused) - p.Gradient(behind, unused)) / (2 * step)
		if tolerance := 10*step*step + 100*0x1p-52*loss/step; math.Abs(g[i]-slope) > tolerance {
			t.Errorf("g[%d] = %.12g, central difference %.12g, tolerance %.1g", i, g[i], slope, tolerance)
		}
	}
}
