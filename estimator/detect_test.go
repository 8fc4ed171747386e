package estimator

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

// scale is a group of n eigenvalues in [lo, hi], both ends included.
type scale struct {
	lo, hi float64
	n      int
}

// gapped draws the eigenvalues of the scales, log-uniform between the ends.
func gapped(rng *rand.Rand, scales ...scale) []float64 {
	var d []float64
	for _, s := range scales {
		d = append(d, s.lo, s.hi)
		for range s.n - 2 {
			d = append(d, s.lo*math.Pow(s.hi/s.lo, rng.Float64()))
		}
	}
	return d
}

var multiscale = []struct {
	name   string
	scales []scale
	// products is the most that Converged(0.05) may ask for.
	products int
}{
	{"three scales", []scale{{1, 4, 20}, {1e-3, 4e-3, 20}, {1e-6, 4e-6, 60}}, 60},
	// All 100 stiff eigenvalues have to be resolved before a polynomial can tell
	// two flat ones apart, 1e5 times smaller.
	{"two scales", []scale{{1, 10, 100}, {1e-5, 1e-4, 100}}, 125},
	{"four scales", []scale{{1, 3, 30}, {1e-2, 3e-2, 30}, {1e-4, 3e-4, 30}, {1e-6, 3e-6, 30}}, 110},
	{"bulk and outliers", []scale{{100, 110, 2}, {10, 12, 5}, {1e-3, 0.1, 300}}, 65},
	{"no gap", []scale{{1e-4, 1, 300}}, 190},
}

func TestDetectScalesFindsTheScales(t *testing.T) {
	const rel = 0.05
	for _, c := range multiscale {
		t.Run(c.name, func(t *testing.T) {
			for seed := uint64(1); seed <= 5; seed++ {
				d := gapped(rand.New(rand.NewPCG(seed, 7)), c.scales...)
				l, err := NewLanczos(len(d), len(d), seed)
				if err != nil {
					t.Fatal(err)
				}
				for !l.Converged(rel) {
					step(t, l, diagonalOperator(d))
				}
				got := DetectScales(l.Spectrum())
				checkScales(t, got)
				t.Logf("seed %d: %d products, %+v", seed, l.Steps(), got)
				if l.Steps() > c.products {
					t.Errorf("seed %d: %d products, want at most %d", seed, l.Steps(), c.products)
				}
				if len(got.Groups) != len(c.scales) {
					t.Errorf("seed %d: scales %+v, want %+v", seed, got.Groups, c.scales)
					continue
				}
				for i, g := range got.Groups {
					// Hi is the outer end of its bracket. Lo is its centre, and
					// the eigenvalue at the edge may be one of the half that
					// weigh less than the bracket allows for: twice the width.
					want := c.scales[i]
					if g.Hi < want.hi*(1-1e-9) || g.Hi > want.hi*(1+rel) {
						t.Errorf("seed %d: scale %d ends at %g, want %g", seed, i, g.Hi, want.hi)
					}
					if g.Lo < want.lo*(1-rel) || g.Lo > want.lo*(1+2*rel) {
						t.Errorf("seed %d: scale %d begins at %g, want %g", seed, i, g.Lo, want.lo)
					}
				}
				for i, confidence := range got.Confidence {
					if confidence < 0.99 {
						t.Errorf("seed %d: gap %d has confidence %g", seed, i, confidence)
					}
				}
			}
		})
	}
}

// After any number of products, no eigenvalue lies in a gap that is claimed, and
// none above the stiffest scale.
func TestDetectScalesClaimsNoFalseGap(t *testing.T) {
	for _, c := range multiscale {
		t.Run(c.name, func(t *testing.T) {
			claims, misses := 0, 0
			for seed := uint64(1); seed <= 8; seed++ {
				d := gapped(rand.New(rand.NewPCG(seed, 8)), c.scales...)
				l, err := NewLanczos(len(d), 80, seed)
				if err != nil {
					t.Fatal(err)
				}
				for !l.Done() {
					step(t, l, diagonalOperator(d))
					if k := l.Steps(); k > 30 && k%10 != 0 {
						continue
					}
					s := DetectScales(l.Spectrum())
					checkScales(t, s)
					if len(s.Groups) > len(c.scales) {
						t.Errorf("seed %d, %d products: %d scales, want at most %d", seed, l.Steps(), len(s.Groups), len(c.scales))
					}
					hidden := slices.ContainsFunc(d, func(x float64) bool { return outside(s, x) })
					claims++
					if hidden {
						misses++
						t.Logf("seed %d, %d products: an eigenvalue outside %+v", seed, l.Steps(), s.Groups)
					}
				}
			}
			// One eigenvalue in 125 is fainter than the rule sees, and at most
			// two an edge matter.
			if edges := 2 * len(c.scales); float64(misses) > float64(claims*edges)/125 {
				t.Errorf("%d of %d claims leave an eigenvalue out", misses, claims)
			}
		})
	}
}

// outside reports whether x lies above the stiffest scale or inside a gap.
// Below a scale, Lo may be high by its bracket's width, at most sqrt(2).
func outside(s Scales, x float64) bool {
	for i, g := range s.Groups {
		if i == 0 && x > g.Hi*(1+1e-9) {
			return true
		}
		if i > 0 && x > g.Hi*(1+1e-9) && x < s.Groups[i-1].Lo/math.Sqrt2 {
			return true
		}
	}
	return false
}

// wishart are the eigenvalues of X'X/n for an n x p normal X: the
// Marchenko-Pastur law with ratio p/n.
func wishart(t *testing.T, rng *rand.Rand, n, p int) []float64 {
	x := mat.NewDense(n, p, nil)
	for i := range n {
		for j := range p {
			x.Set(i, j, rng.NormFloat64()/math.Sqrt(float64(n)))
		}
	}
	var a mat.SymDense
	a.SymOuterK(1, x.T())
	return eigenvalues(t, &a)
}

func TestDetectScalesFindsNoneWithoutGap(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		rng := rand.New(rand.NewPCG(seed, 9))
		for name, d := range map[string][]float64{
			"log-uniform":           gapped(rng, scale{1e-4, 1, 300}),
			"log-uniform, 8 orders": gapped(rng, scale{1e-8, 1, 600}),
			"Marchenko-Pastur 0.1":  wishart(t, rng, 1000, 100),
			"Marchenko-Pastur 0.8":  wishart(t, rng, 150, 120),
		} {
			l, err := NewLanczos(len(d), 150, seed)
			if err != nil {
				t.Fatal(err)
			}
			for !l.Done() {
				step(t, l, diagonalOperator(d))
				if k := l.Steps(); k > 30 && k%15 != 0 {
					continue
				}
				if s := DetectScales(l.Spectrum()); len(s.Groups) > 1 {
					t.Errorf("%s, seed %d, %d products: %+v", name, seed, l.Steps(), s)
				}
			}
		}
	}
}

// drawSpectrum is a spectrum as Lanczos, or a window, may leave it.
func drawSpectrum(t *rapid.T, log10 *rapid.Generator[float64]) Spectrum {
	n := rapid.IntRange(1, 60).Draw(t, "dimension")
	d := make([]float64, n)
	for i := range d {
		d[i] = math.Pow(10, log10.Draw(t, "magnitude"))
		if rapid.IntRange(0, 9).Draw(t, "sign") == 0 {
			d[i] = -d[i]
		}
	}
	l, err := NewLanczos(n, rapid.IntRange(1, 30).Draw(t, "products"), rapid.Uint64().Draw(t, "seed"))
	if err != nil {
		t.Fatal(err)
	}
	product := make([]float64, n)
	for !l.Done() {
		diagonalOperator(d)(product, l.Probe())
		if err := l.Absorb(product); err != nil {
			t.Fatal(err)
		}
	}
	s := l.Spectrum()
	s.Source = rapid.SampledFrom([]Source{SourceLanczos, SourceSketch, SourceCoefficients}).Draw(t, "source")
	return s
}

// multiply is the spectrum of c times the operator.
func multiply(s Spectrum, c float64) Spectrum {
	s.Ritz = slices.Clone(s.Ritz)
	for i := range s.Ritz {
		s.Ritz[i].Value *= c
		s.Ritz[i].Bound *= c
	}
	s.Stiffest *= c
	return s
}

func TestDetectScalesIsEquivariant(t *testing.T) {
	t.Run("powers of two", rapid.MakeCheck(func(t *rapid.T) {
		s := drawSpectrum(t, rapid.Float64Range(-7, 0))
		want := DetectScales(s)
		checkScales(t, want)
		power := math.Ldexp(1, rapid.IntRange(-900, 900).Draw(t, "exponent"))
		if got := DetectScales(multiply(s, power)); !near(got, want, power, 0) {
			t.Fatalf("times %g: %+v, want %+v", power, got, want)
		}
		if Settled(multiply(s, power), 0.05) != Settled(s, 0.05) {
			t.Fatalf("times %g: settled differs", power)
		}
	}))
	// An edge is where a function of the differences between Ritz values crosses
	// a threshold. Ritz values that are on the move amplify rounding, so the
	// edges are compared to a tenth of the 1 % that they are good for.
	t.Run("any factor", func(t *testing.T) {
		for _, c := range multiscale {
			d := gapped(rand.New(rand.NewPCG(5, 5)), c.scales...)
			s := lanczos(t, diagonalOperator(d), len(d), 60, 1).Spectrum()
			want := DetectScales(s)
			for _, factor := range []float64{10, 1e-7, 3e50} {
				if got := DetectScales(multiply(s, factor)); !near(got, want, factor, 1e-3) {
					t.Errorf("%s times %g: %+v, want %+v", c.name, factor, got, want)
				}
			}
		}
	})
}

// near reports whether the edges of a are c times those of b.
func near(a, b Scales, c, tol float64) bool {
	same := func(x, y float64) bool { return math.Abs(x-y*c) <= tol*math.Abs(x) }
	if len(a.Groups) != len(b.Groups) || !same(a.Negative, b.Negative) {
		return false
	}
	for i, g := range a.Groups {
		if !same(g.Lo, b.Groups[i].Lo) || !same(g.Hi, b.Groups[i].Hi) || g.Count != b.Groups[i].Count {
			return false
		}
	}
	return true
}

// The path from products to scales keeps powers of two exact as well.
func TestScalesOfScaledOperator(t *testing.T) {
	d := gapped(rand.New(rand.NewPCG(3, 3)), scale{1, 4, 10}, scale{1e-4, 4e-4, 10})
	want := DetectScales(lanczos(t, diagonalOperator(d), 20, 20, 1).Spectrum())
	for _, c := range []float64{0x1p-900, 0x1p-1, 0x1p40, 0x1p900} {
		scaled := make([]float64, len(d))
		for i := range d {
			scaled[i] = c * d[i]
		}
		if got := DetectScales(lanczos(t, diagonalOperator(scaled), 20, 20, 1).Spectrum()); !near(got, want, c, 0) {
			t.Errorf("times %g: %+v, want %+v", c, got, want)
		}
	}
}

func TestDetectScalesSpecialSpectra(t *testing.T) {
	exact := func(values ...float64) Spectrum {
		s := Spectrum{Source: SourceLanczos, Dimension: int64(len(values))}
		for _, v := range values {
			s.Ritz = append(s.Ritz, RitzValue{Value: v, Weight: 1 / float64(len(values))})
		}
		return s
	}
	type edges struct{ lo, hi float64 }
	for _, c := range []struct {
		name     string
		spectrum Spectrum
		want     []edges
		negative float64
	}{
		{"nothing known", Spectrum{}, nil, 0},
		{"zero", exact(0, 0), nil, 0},
		{"negative only", exact(-1, -2), nil, -2},
		{"one", exact(3), []edges{{3, 3}}, 0},
		{"a gap of one octave is none", exact(2, 1), []edges{{1, 2}}, 0},
		{"a gap of 100", exact(100, 1), []edges{{100, 100}, {1, 1}}, 0},
		{"negative beside positive", exact(5, 4, -7), []edges{{4, 5}}, -7},
		{"rounding error is no scale", exact(1, 1e-17), []edges{{1, 1}}, 0},
		{"unsorted", exact(1, 100), []edges{{100, 100}, {1, 1}}, 0},
		{"largest and smallest numbers", exact(math.MaxFloat64, 5e-324), []edges{{math.MaxFloat64, math.MaxFloat64}}, 0},
		{"smallest number", exact(5e-324), []edges{{5e-324, 5e-324}}, 0},
	} {
		got := DetectScales(c.spectrum)
		checkScales(t, got)
		if len(got.Groups) != len(c.want) || got.Negative != c.negative {
			t.Errorf("%s: got %+v, want %v", c.name, got, c.want)
			continue
		}
		for i, g := range got.Groups {
			// A bracket's two ends are at most one bisection step apart here.
			if math.Abs(g.Lo/c.want[i].lo-1) > 1e-9 || math.Abs(g.Hi/c.want[i].hi-1) > 1e-9 {
				t.Errorf("%s: scale %d is [%v, %v], want %v", c.name, i, g.Lo, g.Hi, c.want[i])
			}
		}
	}
}

// A Ritz value on its way through a gap is not a scale of its own.
func TestDetectScalesIgnoresWanderers(t *testing.T) {
	seen := 0
	for seed := uint64(1); seed <= 5; seed++ {
		d := gapped(rand.New(rand.NewPCG(seed, 4)), scale{1, 4, 30}, scale{1e-5, 4e-5, 60})
		l, err := NewLanczos(90, 60, seed)
		if err != nil {
			t.Fatal(err)
		}
		for !l.Done() {
			step(t, l, diagonalOperator(d))
			s := l.Spectrum()
			if slices.ContainsFunc(s.Ritz, func(r RitzValue) bool { return r.Value > 4e-4 && r.Value < 0.1 }) {
				seen++
			}
			if got := DetectScales(s); len(got.Groups) > 2 {
				t.Errorf("seed %d, %d products: %+v", seed, l.Steps(), got)
			}
		}
	}
	if seen == 0 {
		t.Error("no Ritz value wandered: the test shows nothing")
	}
}

// Ritz values of a window have no weights to go by, but their intervals count.
func TestDetectScalesOfWindow(t *testing.T) {
	window := func(bound float64) Spectrum {
		return Spectrum{Source: SourceSketch, Ritz: []RitzValue{
			{Value: 4, Weight: 1e-9}, {Value: 1, Weight: 0.5},
			{Value: 4e-3, Bound: bound}, {Value: 1e-3},
		}}
	}
	if got := DetectScales(window(1e-4)); len(got.Groups) != 2 || got.Confidence[0] < 0.9 {
		t.Errorf("tight bound: %+v, want two scales", got)
	}
	if got := DetectScales(window(1)); len(got.Groups) != 1 {
		t.Errorf("bound over the gap: %+v, want one scale", got)
	}
	// Chebyshev points fill an interval: no gap however flat its lower end.
	for k := 2; k <= 24; k++ {
		s := Spectrum{Source: SourceSketch}
		for i := range k {
			s.Ritz = append(s.Ritz, RitzValue{Value: 0.5 + 0.5*math.Cos(math.Pi*(float64(i)+0.5)/float64(k)), Weight: 1 / float64(k)})
		}
		if got := DetectScales(s); len(got.Groups) != 1 {
			t.Errorf("%d Chebyshev points: %+v, want one scale", k, got)
		}
	}
}

// A complete run knows every eigenvalue, so the edges are those of the groups.
func TestDetectScalesOfACompleteRunAreExact(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 5))
		n := rapid.IntRange(2, 12).Draw(r, "members")
		d := gapped(rng, scale{1, 3, n}, scale{1e-3, 2e-3, n})
		got := DetectScales(lanczos(t, diagonalOperator(d), len(d), len(d), 1).Spectrum())
		want := []Scale{{Lo: 1, Hi: 3}, {Lo: 1e-3, Hi: 2e-3}}
		if len(got.Groups) != len(want) {
			r.Fatalf("scales %+v, want %+v", got.Groups, want)
		}
		for i, g := range got.Groups {
			// An eigenvalue errs by rounding of the largest.
			if tol := 1e-12; math.Abs(g.Lo-want[i].Lo) > tol || math.Abs(g.Hi-want[i].Hi) > tol {
				r.Errorf("scale %d is [%v, %v], want [%v, %v]", i, g.Lo, g.Hi, want[i].Lo, want[i].Hi)
			}
		}
	})
}

func TestCompleteCoefficientsNeedNoLastBeta(t *testing.T) {
	s, err := FromCoefficients([]float64{3, 3}, []float64{1}, 2) // eigenvalues 4 and 2
	if err != nil {
		t.Fatal(err)
	}
	got := DetectScales(s)
	if len(got.Groups) != 1 || math.Abs(got.Groups[0].Lo-2) > 1e-12 || math.Abs(got.Groups[0].Hi-4) > 1e-12 {
		t.Errorf("scales %+v, want [2, 4]", got.Groups)
	}
}
