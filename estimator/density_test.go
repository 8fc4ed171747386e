package estimator

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// probes joins n runs of k products.
func probes(t *testing.T, d []float64, n, k int) Spectrum {
	t.Helper()
	var runs []Spectrum
	for seed := range n {
		runs = append(runs, lanczos(t, diagonalOperator(d), len(d), k, uint64(seed)).Spectrum())
	}
	s, err := JoinProbes(runs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJoinProbes(t *testing.T) {
	d := gapped(rand.New(rand.NewPCG(1, 1)), scale{1, 4, 30}, scale{1e-3, 4e-3, 50})
	s := probes(t, d, 4, 12)
	sum := 0.0
	for i, r := range s.Ritz {
		sum += r.Weight
		if i > 0 && s.Ritz[i-1].Value < r.Value {
			t.Errorf("Ritz values out of order at %d", i)
		}
	}
	// 48 weights, each good to a few units of rounding.
	if math.Abs(sum-1) > 1e-14 || s.Probes() != 4 || s.Products != 48 || len(s.Ritz) != 48 {
		t.Errorf("weights add up to %v, %d probes, %d products, %d Ritz values", sum, s.Probes(), s.Products, len(s.Ritz))
	}
	one := lanczos(t, diagonalOperator(d), len(d), 12, 1).Spectrum()
	other := one
	other.Dimension++
	for name, bad := range map[string][]Spectrum{
		"another dimension": {one, other}, "joined twice": {s, one}, "a window": {{Source: SourceSketch}},
	} {
		if _, err := JoinProbes(bad...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if empty, err := JoinProbes(); err != nil || empty.Known() {
		t.Errorf("no runs: %+v, %v", empty, err)
	}
}

// A joined spectrum shows the same scales as one run does, and no false ones.
func TestScalesOfSeveralProbes(t *testing.T) {
	for _, c := range multiscale {
		d := gapped(rand.New(rand.NewPCG(4, 8)), c.scales...)
		got := DetectScales(probes(t, d, 4, c.products))
		checkScales(t, got)
		if len(got.Groups) != len(c.scales) {
			t.Errorf("%s: %+v", c.name, got)
		}
		for k := 2; k < 40; k += 5 {
			s := DetectScales(probes(t, d, 3, k))
			if len(s.Groups) > len(c.scales) || slices.ContainsFunc(d, func(x float64) bool { return outside(s, x) }) {
				t.Errorf("%s, %d products a probe: %+v", c.name, k, s)
			}
		}
	}
}

// Over many probes of a known spectrum, errors are as large as stated: the mean
// square of error/standard error is near 1. For a probe of a random sphere the
// standard error is exact; a normalised square of n samples errs by sqrt(2/n).
func TestStandardErrorsAreHonest(t *testing.T) {
	d := make([]float64, 60)
	trace, negative, zero := 0.0, 0.0, 0.0
	for i := range d {
		switch {
		case i < 10:
			d[i] = -1 - float64(i)/10
			negative += 1.0 / 60
		case i < 25:
			d[i] = 0
			zero += 1.0 / 60
		default:
			d[i] = float64(i) / 10
		}
		trace += d[i]
	}
	const n = 200
	var squares [3]float64
	for seed := range uint64(n) {
		s := lanczos(t, diagonalOperator(d), 60, 60, seed).Spectrum()
		got, ok := s.Trace()
		if !ok {
			t.Fatal("no trace")
		}
		for i, m := range []struct {
			Measure
			want float64
		}{{got, trace}, {s.NegativeMass(), negative}, {s.NearZeroMass(), zero}} {
			deviation := (m.Value - m.want) / m.StandardError
			squares[i] += deviation * deviation / n
		}
	}
	for i, v := range squares {
		// Six standard errors of the mean square, and a tenth for the standard
		// errors' own, which come from the same sample.
		if bound := 6*math.Sqrt(2.0/n) + 0.1; math.Abs(v-1) > bound {
			t.Errorf("measure %d: mean square %.2f, want 1 +- %.2f", i, v, bound)
		}
	}
}

// The spread of several probes counts where D is not known.
func TestStandardErrorOfSeveralProbes(t *testing.T) {
	d := gapped(rand.New(rand.NewPCG(1, 1)), scale{1, 4, 100})
	s := probes(t, d, 8, 20)
	known, ok := s.Trace()
	if !ok || !(known.StandardError > 0) {
		t.Fatalf("trace %+v, %v", known, ok)
	}
	s.Dimension = 0
	if _, ok := s.Trace(); ok {
		t.Error("a trace of unknown dimension")
	}
	if m := s.massIn(func(x float64) bool { return x > 2 }); !(m.StandardError > 0 && m.StandardError < 0.2) {
		t.Errorf("mass %+v", m)
	}
}

func TestDensityAddsUp(t *testing.T) {
	d := []float64{-2, -1, 0, 1e-9, 1e-3, 1e-2, 3, 5}
	s := lanczos(t, diagonalOperator(d), 8, 8, 3).Spectrum()
	for _, points := range []int{1, 2, 7, 100} {
		bins := s.Density(points)
		if len(bins) != points+2 {
			t.Fatalf("%d points: %d bins", points, len(bins))
		}
		sum := 0.0
		for i, b := range bins {
			sum += b.Mass.Value
			if !(b.Lower < b.Upper) || i > 0 && bins[i-1].Upper > b.Lower*(1+1e-12) && b.Lower > 0 {
				t.Errorf("%d points: bin %d is %+v", points, i, b)
			}
		}
		if math.Abs(sum-1) > 1e-12 {
			t.Errorf("%d points: masses add up to %v", points, sum)
		}
		if bins[0].Mass != s.NegativeMass() || bins[1].Mass != s.NearZeroMass() {
			t.Errorf("%d points: first bins %+v", points, bins[:2])
		}
	}
	if s.Density(0) != nil || (Spectrum{Source: SourceSketch, Ritz: s.Ritz}).Density(5) != nil {
		t.Error("a density of no points, or of a window")
	}
}

// wasserstein is the Wasserstein-1 distance of the quadrature to the equal
// weights on the eigenvalues, after f.
func wasserstein(s Spectrum, d []float64, f func(float64) float64) float64 {
	type atom struct{ at, mass float64 }
	var atoms []atom
	for _, r := range s.Ritz {
		atoms = append(atoms, atom{f(r.Value), r.Weight})
	}
	for _, x := range d {
		atoms = append(atoms, atom{f(x), -1 / float64(len(d))})
	}
	slices.SortFunc(atoms, func(a, b atom) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	sum, excess := 0.0, 0.0
	for i, a := range atoms[1:] {
		excess += atoms[i].mass
		sum += math.Abs(excess) * (a.at - atoms[i].at)
	}
	return sum
}

func TestDensityConverges(t *testing.T) {
	identity := func(x float64) float64 { return x }
	for name, d := range map[string][]float64{
		"Marchenko-Pastur": wishart(t, rand.New(rand.NewPCG(1, 1)), 300, 200),
		"log-uniform":      gapped(rand.New(rand.NewPCG(2, 2)), scale{1e-4, 1, 400}),
		"two scales":       gapped(rand.New(rand.NewPCG(3, 3)), scale{1, 10, 100}, scale{1e-3, 1e-2, 200}),
	} {
		if w := wasserstein(probes(t, d, 10, 40), d, identity) / (slices.Max(d) - slices.Min(d)); w > 0.02 {
			t.Errorf("%s: Wasserstein-1 distance %.4f of the range, want at most 0.02", name, w)
		}
	}
}
