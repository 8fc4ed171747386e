package estimator

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

// descent runs gradient descent on the quadratic sum lambda x^2/2 and fills a
// window with its gradients, unsketched, as float32.
func descent(w *Window, lambda, g, rates []float64) {
	row := make([]float32, len(g))
	for t := 0; t <= len(rates); t++ {
		for i, v := range g {
			row[i] = float32(v)
		}
		rate := 0.0
		if t > 0 {
			rate = rates[t-1]
		}
		w.Push(row, rate)
		if t < len(rates) {
			for i := range g {
				g[i] -= rates[t] * lambda[i] * g[i]
			}
		}
	}
}

func TestSolveFindsEveryEigenvalueOfASmallQuadratic(t *testing.T) {
	lambda := []float64{10, 1, 0.1}
	w := NewWindow(8, len(lambda))
	descent(w, lambda, []float64{1, 1, 1}, []float64{0.05, 0.5, 1.5, 0.08})
	m := w.Solve()
	if len(m.Theta) != 3 {
		t.Fatalf("Theta = %v, want three Ritz values", m.Theta)
	}
	// Rounding of the gradients to float32 perturbs a column of Y by
	// 2^-24 |g|/(rate |g_j|); the shortest rate, 0.05, gives 1.2e-6, times the
	// condition of the three columns, below 1e3.
	for i, want := range lambda {
		if math.Abs(m.Theta[i]-want) > 1e-3*want {
			t.Errorf("Theta[%d] = %v, want %v", i, m.Theta[i], want)
		}
	}
	if m.Residual > 1e-6 {
		t.Errorf("Residual = %v for a gradient inside the span", m.Residual)
	}
}

func TestEnergiesAreThoseOfTheCurrentGradient(t *testing.T) {
	lambda := []float64{4, 1, 0.25}
	g := []float64{3, 2, 1}
	w := NewWindow(6, 3)
	descent(w, lambda, g, []float64{0.1, 0.6, 0.2, 1.1})
	m := w.Solve()
	if len(m.Energy) != 3 {
		t.Fatalf("Energy = %v, want three", m.Energy)
	}
	norm := g[0]*g[0] + g[1]*g[1] + g[2]*g[2]
	for i := range g {
		if want := g[i] * g[i] / norm; math.Abs(m.Energy[i]-want) > 1e-3 {
			t.Errorf("Energy[%d] = %v, want %v", i, m.Energy[i], want)
		}
	}
	along := (4*g[0]*g[0] + g[1]*g[1] + 0.25*g[2]*g[2]) / norm
	if math.Abs(m.Curvature-along) > 1e-3*along {
		t.Errorf("Curvature = %v, want g'Hg/|g|^2 = %v", m.Curvature, along)
	}
}

// With 16 pairs in three dimensions no Hessian fits both halves of a path along
// which it grew by a fifth.
func TestYoungPairsDecide(t *testing.T) {
	w := NewWindow(16, 3)
	g, rates := []float64{1, 1, 1}, []float64{0.15, 0.6, 0.05, 1.2, 0.15, 0.07, 0.5, 0.12}
	descent(w, []float64{10, 1, 0.1}, g, rates)
	grown := []float64{12, 1.2, 0.12}
	row := make([]float32, 3)
	for _, rate := range rates {
		for i := range g {
			g[i] -= rate * grown[i] * g[i]
			row[i] = float32(g[i])
		}
		w.Push(row, rate)
	}
	m := w.Solve()
	if !m.Known() || math.Abs(m.Theta[0]-12) > 0.5 {
		t.Errorf("Theta = %v, want about 12", m.Theta)
	}
}

func TestNegativeCurvatureIsKept(t *testing.T) {
	w := NewWindow(4, 2)
	descent(w, []float64{2, -1}, []float64{1, 1}, []float64{0.3, 0.4})
	m := w.Solve()
	if len(m.Theta) != 2 || math.Abs(m.Theta[0]-2) > 1e-3 || math.Abs(m.Theta[1]+1) > 1e-3 {
		t.Fatalf("Theta = %v, want 2 and -1", m.Theta)
	}
}

func TestTinyStepInventsNoCurvature(t *testing.T) {
	lambda := make([]float64, 40)
	g := make([]float64, 40)
	r := rand.New(rand.NewPCG(3, 1))
	for i := range lambda {
		lambda[i], g[i] = math.Pow(10, -4*r.Float64()), r.NormFloat64()
	}
	rates := []float64{1, 2, 1, 1e-9, 1, 50, 1, 1, 300, 1, 1}
	w := NewWindow(12, 40)
	descent(w, lambda, g, rates)
	m := w.Solve()
	// Behind a rate of 1e-9, rounding alone shows a curvature of 2^-24/1e-9 = 60.
	for _, theta := range m.Theta {
		if math.Abs(theta) > spuriousFactor*m.Secant {
			t.Errorf("Ritz value %v with a largest secant of %v", theta, m.Secant)
		}
	}
}

// sketchOf is a dense random sign sketch with buckets i mod d.
func sketchOf(g []float64, sign []float64, d int) []float32 {
	sum := make([]float64, d)
	for i, v := range g {
		sum[i%d] += sign[i] * v
	}
	row := make([]float32, d)
	for i, v := range sum {
		row[i] = float32(v)
	}
	return row
}

// A Ritz value of exact arithmetic that has converged, in the sense that its
// residual is below 1e-3 of it, is an eigenvalue to that accuracy; the sketch
// must still show it.
func TestSketchKeepsConvergedRitzValues(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 7))
	const n, d = 4000, 251
	lambda, g, sign := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range lambda {
		lambda[i] = 0.01 * r.Float64()
		g[i] = r.NormFloat64() / 10
		sign[i] = float64(1 - 2*r.IntN(2))
	}
	lambda[0], lambda[1], g[0], g[1] = 10, 1, 30, 30
	w := NewWindow(8, d)
	rates := []float64{0.09, 0.5, 0.11, 0.3, 0.1, 0.2}
	for t := 0; t <= len(rates); t++ {
		rate := 0.0
		if t > 0 {
			rate = rates[t-1]
		}
		w.Push(sketchOf(g, sign, d), rate)
		if t < len(rates) {
			for i := range g {
				g[i] -= rates[t] * lambda[i] * g[i]
			}
		}
	}
	m := w.Solve()
	if len(m.Theta) < 2 || math.Abs(m.Theta[0]-10) > 0.2 || math.Abs(m.Theta[1]-1) > 0.02 {
		t.Fatalf("Theta = %v, want 10 and 1 to 2 %%", m.Theta)
	}
}

func TestResidualBoundsHoldOnAQuadratic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 5))
		n := rapid.IntRange(3, 30).Draw(t, "dimension")
		lambda, g := make([]float64, n), make([]float64, n)
		for i := range lambda {
			lambda[i], g[i] = math.Pow(10, -2*r.Float64()), r.NormFloat64()
		}
		w := NewWindow(10, n)
		descent(w, lambda, g, []float64{0.5, 1, 2, 0.7, 5, 1, 1.5})
		w.Solve()
		for _, v := range w.Spectrum().Ritz {
			nearest := math.Inf(1)
			for _, l := range lambda {
				nearest = min(nearest, math.Abs(l-v.Value))
			}
			if nearest > v.Bound {
				t.Fatalf("Ritz value %v is %v from an eigenvalue, bound %v", v.Value, nearest, v.Bound)
			}
		}
	})
}

func TestPrepareAndRestoreChangeNoBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 9))
		const n, pairs = 20, 6
		plain, prepared := NewWindow(pairs, n), NewWindow(pairs, n)
		restored := NewWindow(pairs, n)
		row := make([]float32, n)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			for i := range row {
				row[i] = float32(r.NormFloat64())
			}
			rate := r.Float64()
			if r.IntN(5) == 0 {
				rate = 0
			}
			sketches, rates := restored.Sketches()
			var err error
			if restored, err = RestoreWindow(pairs, n, sketches, rates); err != nil {
				t.Fatal(err)
			}
			for _, w := range []*Window{plain, prepared, restored} {
				w.Push(row, rate)
			}
			a, b, c := plain.Solve(), prepared.Solve(), restored.Solve()
			if !sameModel(a, b) || !sameModel(a, c) {
				t.Fatalf("plain %v, prepared %v, restored %v", a, b, c)
			}
			prepared.Prepare()
			restored.Spectrum()
		}
	})
}

func sameModel(a, b Model) bool {
	if len(a.Theta) != len(b.Theta) || a.Residual != b.Residual || a.Secant != b.Secant || a.Curvature != b.Curvature {
		return false
	}
	for i := range a.Theta {
		if a.Theta[i] != b.Theta[i] || a.Energy[i] != b.Energy[i] {
			return false
		}
	}
	return true
}

func TestSolveIsScaleEquivariant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		const n = 12
		lambda, scaled := make([]float64, n), make([]float64, n)
		g, h := make([]float64, n), make([]float64, n)
		for i := range lambda {
			lambda[i], g[i] = math.Pow(10, -3*r.Float64()), r.NormFloat64()
			scaled[i], h[i] = 4*lambda[i], 4*g[i]
		}
		rates := []float64{0.5, 1, 20, 1, 1.5}
		quarter := make([]float64, len(rates))
		for i, v := range rates {
			quarter[i] = v / 4
		}
		a, b := NewWindow(8, n), NewWindow(8, n)
		descent(a, lambda, g, rates)
		descent(b, scaled, h, quarter)
		m, s := a.Solve(), b.Solve()
		if len(m.Theta) != len(s.Theta) {
			t.Fatalf("ranks differ: %v, %v", m.Theta, s.Theta)
		}
		for i := range m.Theta {
			if s.Theta[i] != 4*m.Theta[i] || s.Energy[i] != m.Energy[i] {
				t.Fatalf("Theta %v, of four times the loss %v", m.Theta, s.Theta)
			}
		}
	})
}

func TestSolveKnowsNothingWithoutAPair(t *testing.T) {
	for name, fill := range map[string]func(*Window){
		"empty":             func(*Window) {},
		"one sketch":        func(w *Window) { w.Push([]float32{1, 2}, 0) },
		"no known rate":     func(w *Window) { w.Push([]float32{1, 2}, 0); w.Push([]float32{2, 1}, 0) },
		"zero gradients":    func(w *Window) { w.Push([]float32{0, 0}, 0); w.Push([]float32{0, 0}, 1) },
		"gradient vanished": func(w *Window) { w.Push([]float32{1, 0}, 0); w.Push([]float32{0, 0}, 1) },
		"flat loss":         func(w *Window) { w.Push([]float32{1, 0}, 0); w.Push([]float32{1, 0}, 1) },
	} {
		w := NewWindow(4, 2)
		fill(w)
		if m := w.Solve(); m.Known() || m.Residual != 1 {
			t.Errorf("%s: %+v, want no Ritz value", name, m)
		}
		if s := w.Spectrum(); s.Known() {
			t.Errorf("%s: spectrum %+v, want none", name, s)
		}
	}
}

// The Gram route must agree with the textbook one: QR of the gradients and the
// projected product, in float64.
func TestSolveAgreesWithDenseRayleighRitz(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 4))
	const n, k = 25, 5
	lambda, g := make([]float64, n), make([]float64, n)
	for i := range lambda {
		lambda[i], g[i] = 1+9*r.Float64(), r.NormFloat64()
	}
	rates := []float64{0.1, 0.2, 0.15, 0.3, 0.12}
	b := mat.NewDense(n, k, nil)
	start := append([]float64(nil), g...)
	for j := range k {
		b.SetCol(j, start)
		for i := range start {
			start[i] -= rates[j] * lambda[i] * start[i]
		}
	}
	var qr mat.QR
	qr.Factorize(b)
	var q, hq, proj mat.Dense
	qr.QTo(&q)
	basis := q.Slice(0, n, 0, k)
	hq.Mul(mat.NewDiagDense(n, lambda), basis)
	proj.Mul(basis.T(), &hq)
	var eig mat.Eigen
	if !eig.Factorize(&proj, mat.EigenNone) {
		t.Fatal("no eigenvalues")
	}
	w := NewWindow(k, n)
	descent(w, lambda, g, rates)
	theta := w.Solve().Theta
	for _, v := range eig.Values(nil) {
		nearest := math.Inf(1)
		for _, th := range theta {
			nearest = min(nearest, math.Abs(th-real(v)))
		}
		// float32 gradients: 6e-8/0.1 in Y, times the condition of the basis.
		if nearest > 1e-2 {
			t.Errorf("eigenvalue %v of the projection is %v from %v", v, nearest, theta)
		}
	}
}
