package estimator

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// Every edge estimate lies in its bracket, and the brackets hold the edges.
func TestScaleEdgesBracketTheEdges(t *testing.T) {
	for _, c := range multiscale {
		t.Run(c.name, func(t *testing.T) {
			held, all := 0, 0
			for seed := uint64(1); seed <= 8; seed++ {
				d := gapped(rand.New(rand.NewPCG(seed, 6)), c.scales...)
				l := lanczos(t, diagonalOperator(d), len(d), c.products, seed)
				edges, scales := ScaleEdges(l.Spectrum()), DetectScales(l.Spectrum())
				if len(edges) != len(scales.Groups) {
					t.Fatalf("seed %d: %d edges for %d scales", seed, len(edges), len(scales.Groups))
				}
				if len(edges) != len(c.scales) {
					continue
				}
				for i, e := range edges {
					for _, side := range []struct {
						Edge
						want float64
					}{{e.Low, c.scales[i].lo}, {e.High, c.scales[i].hi}} {
						if !(side.Least <= side.Estimate && side.Estimate <= side.Most) {
							t.Errorf("seed %d, scale %d: bracket %+v out of order", seed, i, side.Edge)
						}
						all++
						if side.Least <= side.want*(1+1e-9) && side.want*(1-1e-9) <= side.Most {
							held++
						}
						if math.Abs(side.Estimate/side.want-1) > 0.1 {
							t.Errorf("seed %d, scale %d: edge %+v, want %g", seed, i, side.Edge, side.want)
						}
					}
				}
			}
			// One eigenvalue in 125 is too faint for the outer side, and the
			// inner one may belong to the next eigenvalue.
			if all == 0 || float64(all-held) > 0.03*float64(all) {
				t.Errorf("%d of %d brackets hold the edge", held, all)
			}
		})
	}
}

// The extrapolation is nearer to the edge of a filled interval than the Ritz
// value is, in the mean square over seeds.
func TestScaleEdgesExtrapolate(t *testing.T) {
	raw, estimated := 0.0, 0.0
	for seed := uint64(1); seed <= 20; seed++ {
		d := gapped(rand.New(rand.NewPCG(seed, 6)), scale{1, 10, 200})
		s := lanczos(t, diagonalOperator(d), len(d), 8, seed).Spectrum()
		raw += math.Pow(math.Log(s.Ritz[7].Value), 2)
		estimated += math.Pow(math.Log(ScaleEdges(s)[0].Low.Estimate), 2)
	}
	if estimated > raw/4 {
		t.Errorf("mean square error %g extrapolated, %g raw: want at most half the error", estimated/20, raw/20)
	}
}

func TestScaleEdgesOfACompleteRunAreExact(t *testing.T) {
	d := []float64{100, 40, 30, 1, 0.5}
	for i, e := range ScaleEdges(lanczos(t, diagonalOperator(d), 5, 5, 1).Spectrum()) {
		want := [][2]float64{{30, 100}, {0.5, 1}}[i]
		for _, got := range []Edge{{Estimate: e.Low.Estimate / want[0]}, {Estimate: e.High.Estimate / want[1]}} {
			if math.Abs(got.Estimate-1) > 1e-9 {
				t.Errorf("scale %d: %+v, want %v", i, e, want)
			}
		}
	}
}

func TestScaleEdgesAreEquivariant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSpectrum(t, rapid.Float64Range(-7, 0))
		power := math.Ldexp(1, rapid.IntRange(-900, 900).Draw(t, "exponent"))
		want, got := ScaleEdges(s), ScaleEdges(multiply(s, power))
		if len(got) != len(want) {
			t.Fatalf("%d scales, want %d", len(got), len(want))
		}
		times := func(e Edge) Edge { return Edge{e.Estimate * power, e.Least * power, e.Most * power} }
		for i, w := range want {
			if got[i] != (Edges{Low: times(w.Low), High: times(w.High)}) {
				t.Fatalf("times %g: %+v, want %+v", power, got[i], w)
			}
		}
	})
}
