package scheduler

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"multirate/estimator"
)

// equilibrium describes how roots that are spread over disjoint scales act on
// each other. Roots with the density
//
//	r(x)/(pi sqrt(|prod_j (x-mu_j)(x-L_j)|)), r a polynomial of degree m-1,
//
// make log|p| oscillate below one level on each of the m scales: the density's
// logarithmic potential is constant there. m numbers fix r: how many roots each
// scale holds. The levels depend linearly on them, so that equal levels, which no
// polynomial beats by more than a factor of 2, take one linear system (Saff and
// Totik, Logarithmic Potentials with External Fields, 1997; Driscoll, Toh and
// Trefethen, SIAM Rev. 40, 1998, for unions of intervals). One scale alone
// gives Chebyshev's roots.
//
// With x = a + h cos(phi) on a scale the density is smooth in phi, and r is
// written in the basis r_k = prod_{j != k} (x - a_j), which on scale k comes near
// that scale's own Chebyshev density and on the others near 0.
type equilibrium struct {
	bands []band
	// share[k] holds r's coefficients, in that basis, for one root on scale k and
	// none on the others.
	share *mat.Dense
	// level[i][k] is what a root of scale k adds to log|p/p(0)| on scale i.
	level *mat.Dense
}

// newEquilibrium fails where the scales can't be told apart in float64.
func newEquilibrium(s estimator.Scales) (*equilibrium, bool) {
	m := len(s.Groups)
	e := &equilibrium{bands: make([]band, m)}
	for i, g := range s.Groups {
		e.bands[i] = newBand(g, 0)
	}
	mass := mat.NewDense(m, m, nil)
	for i, b := range e.bands {
		nodes := b.nodes()
		for j := range nodes {
			x := b.point(midAngle(j, nodes))
			for k := range m {
				mass.Set(i, k, mass.At(i, k)+e.density(x, i, k)/float64(nodes))
			}
		}
	}
	e.share = mat.NewDense(m, m, nil)
	if e.share.Inverse(mass) != nil {
		return nil, false
	}
	e.level = mat.NewDense(m, m, nil)
	for k, b := range e.bands {
		e.addLevels(k, b)
	}
	return e, true
}

// nodes is the number of points that resolve a density on the band: it changes
// over the band's own lower edge where the next scale is near.
func (b band) nodes() int {
	return 16 + 2*int(min(4*math.Sqrt(b.hi/b.lo), 2048))
}

func midAngle(j, nodes int) float64 { return math.Pi * (float64(j) + 0.5) / float64(nodes) }

// point is a + h cos(phi), without cancellation near the lower edge.
func (b band) point(phi float64) float64 {
	c := math.Cos(phi / 2)
	return b.bottom + float64(2*b.half*c*c)
}

// density is that of r_k at x on scale i, in phi/pi.
func (e *equilibrium) density(x float64, i, k int) float64 {
	value := 1.0
	for j, b := range e.bands {
		if j != k {
			value *= x - b.centre
		}
		if j != i {
			d := x - b.centre
			value /= math.Copysign(math.Sqrt((d-b.half)*(d+b.half)), d)
		}
	}
	return value
}

// densities is that of one root on each scale at x on scale i, times counts.
func (e *equilibrium) densities(x float64, i int, counts []float64) float64 {
	sum := 0.0
	for l := range e.bands {
		weight := 0.0
		for k, n := range counts {
			weight += e.share.At(l, k) * n
		}
		sum += weight * e.density(x, i, l)
	}
	return sum
}

// addLevels integrates log|1 - x/t| over scale j's part of the density of a root
// on each scale k. On its own scale x lies between two nodes, where the
// Chebyshev polynomial behind the midpoint rule has magnitude 1 instead of 0.
func (e *equilibrium) addLevels(j int, b band) {
	m, nodes := len(e.bands), b.nodes()
	unit := make([]float64, m)
	at := make([]float64, m)
	for i, other := range e.bands {
		at[i] = other.point(math.Pi / 2)
	}
	for n := range nodes {
		t := b.point(midAngle(n, nodes))
		for k := range m {
			clear(unit)
			unit[k] = 1
			weight := e.densities(t, j, unit) / float64(nodes)
			for i := range m {
				e.level.Set(i, k, e.level.At(i, k)+weight*math.Log(math.Abs(1-at[i]/t)))
			}
		}
	}
	for k := range m {
		clear(unit)
		unit[k] = 1
		excess := e.densities(at[j], j, unit) * math.Ln2 / float64(nodes)
		e.level.Set(j, k, e.level.At(j, k)-excess)
	}
}

// counts are the numbers of roots, not whole, for which |p| is rho on all
// scales.
func (e *equilibrium) counts(rho float64) ([]float64, bool) {
	m := len(e.bands)
	want := mat.NewVecDense(m, nil)
	for i := range m {
		want.SetVec(i, math.Log(rho)-math.Ln2)
	}
	var n mat.VecDense
	if n.SolveVec(e.level, want) != nil {
		return nil, false
	}
	return n.RawVector().Data, true
}

// bound is the log of what |p| reaches on the scales with whole counts, about.
func (e *equilibrium) bound(counts []float64) float64 {
	worst := math.Inf(-1)
	for i := range e.bands {
		level := 0.0
		if counts[i] > 0 {
			level = math.Ln2
		}
		for k, n := range counts {
			level += e.level.At(i, k) * n
		}
		worst = max(worst, level)
	}
	return worst
}

// rates are the reciprocals of the roots on scale i: where the number of roots
// above is half past a whole number.
func (e *equilibrium) rates(i int, counts []float64) []float64 {
	b, n := e.bands[i], int(counts[i])
	nodes := max(b.nodes(), 8*n)
	rates := make([]float64, 0, n)
	above, width := 0.0, math.Pi/float64(nodes)
	for j := range nodes {
		phi := midAngle(j, nodes)
		here := max(e.densities(b.point(phi), i, counts), 0) / float64(nodes)
		for len(rates) < n && above+here >= float64(len(rates))+0.5 {
			part := (float64(len(rates)) + 0.5 - above) / here
			rates = append(rates, 1/b.point(phi+width*(part-0.5)))
		}
		above += here
	}
	for len(rates) < n {
		rates = append(rates, 1/b.bottom)
	}
	return rates
}

// contractions tried by [MinMax], evenly spaced in the logarithm: many, since whole
// numbers of roots suit some of them much better than others.
const (
	triedContractions = 200
	leastContraction  = 1e-6
	mostContraction   = 0.5
)

// bestCounts are whole numbers of roots, at most limit in all, with the least cost
// for each unit of log-contraction.
func (e *equilibrium) bestCounts(limit int) (best []float64) {
	least := math.Inf(1)
	ratio := leastContraction / mostContraction
	for k := range triedContractions {
		rho := mostContraction * math.Pow(ratio, float64(k)/(triedContractions-1))
		counts, ok := e.counts(rho)
		if !ok {
			return nil
		}
		sum := 0.0
		for i, n := range counts {
			counts[i] = max(math.Round(n), 0)
			sum += counts[i]
		}
		if sum > float64(limit) {
			break
		}
		if cost := sum / -e.bound(counts); cost > 0 && cost < least {
			best, least = counts, cost
		}
	}
	return best
}
