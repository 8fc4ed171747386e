package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"multirate/bench/spectra"
	multirate "multirate/clients/go"
	"multirate/estimator"
)

const (
	// drawnSpectra are drawn for each promise on random spectra.
	drawnSpectra = 200
	// edgeTolerance is the share of its size to which an edge must be found.
	edgeTolerance = 0.05
	// medianWeight is the median of chi-square with one degree of freedom: the
	// weight of an eigenvalue over the average that half of them exceed.
	medianWeight = 0.455
)

// spectrumBars are promises about spectra and scales. They need no server: a
// spectrum is the estimator's alone.
func spectrumBars() []bar {
	return []bar{
		{"dense H to 2,000, extreme eigenvalues against LAPACK", 1e-6, "relative", extremes},
		{"dense H to 2,000, density, Wasserstein-1 over the range", 2, "per cent", densities},
		{"gapped spectra, missed at 3 a member or 12 a group", 0, "per cent", missedGroups(false)},
		{"the same, where the products tell the edges to 10 %", 0, "per cent", missedGroups(true)},
		{"the same, groups of at most 12 members", 0, "per cent", missedSmallGroups},
		{"false gaps, Lanczos with 6 to 60 Ritz values", 0, "spectra", falseGaps},
		{"false gaps, windows of sketches", 0, "spectra", falseWindowGaps},
		{"scale edges, products over PyHessian's", 1.0 / 3, "times", overPyHessian},
	}
}

// dense is a dense symmetric matrix and its eigenvalues as LAPACK finds them.
type dense struct {
	name        string
	h           *mat.SymDense
	eigenvalues []float64
}

// denseMatrices are 500 to 2,000 rows of a Marchenko-Pastur spectrum, of a
// log-uniform one, of three scales and of an indefinite one with outliers, all
// but the first turned by three random reflections.
func (b *bench) denseMatrices() []dense {
	if b.dense != nil {
		return b.dense
	}
	rng := rand.New(rand.NewPCG(b.first, 25))
	logUniform := func(n int, lo, hi float64) (d []float64) {
		for range n {
			d = append(d, lo*math.Pow(hi/lo, rng.Float64()))
		}
		return d
	}
	var indefinite []float64
	for range 990 {
		indefinite = append(indefinite, 0.1*rng.NormFloat64())
	}
	all := []dense{
		{name: "Marchenko-Pastur", h: wishart(rng, 3000, 2000)},
		{name: "log-uniform", h: turned(rng, logUniform(1000, 1e-4, 1))},
		{name: "three scales", h: turned(rng, slices.Concat(logUniform(40, 1, 4), logUniform(60, 1e-3, 4e-3), logUniform(400, 1e-6, 4e-6)))},
		{name: "indefinite with outliers", h: turned(rng, append(indefinite, logUniform(10, 1, 20)...))},
	}
	for i := range all {
		all[i].eigenvalues = spectra.Eigenvalues(all[i].h)
	}
	b.dense = all
	return all
}

func wishart(rng *rand.Rand, n, p int) *mat.SymDense {
	x := mat.NewDense(n, p, nil)
	for i := range n {
		for j := range p {
			x.Set(i, j, rng.NormFloat64()/math.Sqrt(float64(n)))
		}
	}
	var h mat.SymDense
	h.SymOuterK(1, x.T())
	return &h
}

// turned is Q diag(d) Q' for three random Householder reflections Q.
func turned(rng *rand.Rand, d []float64) *mat.SymDense {
	n := len(d)
	h := mat.NewSymDense(n, nil)
	for i, x := range d {
		h.SetSym(i, i, x)
	}
	for range 3 {
		v, w := mat.NewVecDense(n, nil), mat.NewVecDense(n, nil)
		for i := range n {
			v.SetVec(i, rng.NormFloat64())
		}
		v.ScaleVec(1/mat.Norm(v, 2), v)
		w.MulVec(h, v)
		// (I - 2vv') H (I - 2vv') = H - 2vw' - 2wv' + 4(v'w)vv'.
		h.RankTwo(h, -2, v, w)
		h.SymRankOne(h, 4*mat.Dot(v, w), v)
	}
	return h
}

func (d dense) product(hv, v []float64) {
	mat.NewVecDense(len(hv), hv).MulVec(d.h, mat.NewVecDense(len(v), v))
}

// lanczosRun goes on until enough, asked after each product, or done.
func lanczosRun(product spectra.Product, dim, most int, seed uint64, enough func(*estimator.Lanczos) bool) (*estimator.Lanczos, error) {
	l, err := estimator.NewLanczos(dim, most, seed)
	if err != nil {
		return nil, fmt.Errorf("start of Lanczos: %w", err)
	}
	hv := make([]float64, dim)
	for !l.Done() && (enough == nil || !enough(l)) {
		product(hv, l.Probe())
		if err := l.Absorb(hv); err != nil {
			return nil, fmt.Errorf("product %d: %w", l.Steps(), err)
		}
	}
	return l, nil
}

// extremes compares the largest and the smallest eigenvalue with LAPACK's: the
// error of the largest over itself, and that of the smallest over |H|. A run
// stops when its own residual bounds, squared and over the distance to the next
// Ritz value (Kato and Temple; Parlett, theorem 11.7.1), promise 1e-6 of |H| for
// both.
func extremes(ctx context.Context, b *bench) (worst float64, note string, err error) {
	due := 0
	settled := func(l *estimator.Lanczos) bool {
		k := l.Steps()
		if k < max(3, due) {
			return false
		}
		due = k + k/16
		s := l.Spectrum()
		promise := func(r, next estimator.RitzValue) float64 {
			gap := math.Abs(r.Value-next.Value) - next.Bound
			if gap <= r.Bound {
				return r.Bound
			}
			return r.Bound * r.Bound / gap
		}
		return max(promise(s.Ritz[0], s.Ritz[1]), promise(s.Ritz[k-1], s.Ritz[k-2])) <= 1e-6*s.Stiffest
	}
	for _, d := range b.denseMatrices() {
		n := len(d.eigenvalues)
		due = 0
		l, err := lanczosRun(d.product, n, n, b.first, settled)
		if err != nil || ctx.Err() != nil {
			return math.NaN(), "", cmp.Or(err, ctx.Err())
		}
		s := l.Spectrum()
		largest, least := d.eigenvalues[0], d.eigenvalues[n-1]
		top := math.Abs(s.Ritz[0].Value-largest) / math.Abs(largest)
		bottom := math.Abs(s.Ritz[len(s.Ritz)-1].Value-least) / max(math.Abs(largest), math.Abs(least))
		worst = max(worst, top, bottom)
		note += fmt.Sprintf("%s %d: %d products, %.1g and %.1g of |H|; ", d.name, n, l.Steps(), top, bottom)
	}
	return worst, note + "largest relative to itself, smallest to |H|", nil
}

// densities compares the density of 10 probes of 40 products with LAPACK's
// eigenvalues: the Wasserstein-1 distance over the range of the spectrum, and in
// the note that between logarithms over the logarithmic range of the positive
// eigenvalues.
func densities(ctx context.Context, b *bench) (worst float64, note string, err error) {
	for _, d := range b.denseMatrices() {
		var runs []estimator.Spectrum
		for seed := range uint64(10) {
			l, err := lanczosRun(d.product, len(d.eigenvalues), 40, b.first+seed, nil)
			if err != nil || ctx.Err() != nil {
				return math.NaN(), "", cmp.Or(err, ctx.Err())
			}
			runs = append(runs, l.Spectrum())
		}
		s, err := estimator.JoinProbes(runs...)
		if err != nil {
			return math.NaN(), "", fmt.Errorf("join probes: %w", err)
		}
		linear := 100 * wasserstein(s, d.eigenvalues, func(x float64) (float64, bool) { return x, true })
		logarithmic := 100 * wasserstein(s, d.eigenvalues, func(x float64) (float64, bool) { return math.Log(x), x > 0 })
		worst = max(worst, linear)
		trace, _ := s.Trace()
		exact := 0.0
		for _, x := range d.eigenvalues {
			exact += x
		}
		note += fmt.Sprintf("%s %.2g %% (log axis %.2g %%, trace off by %.1f standard errors); ",
			d.name, linear, logarithmic, (trace.Value-exact)/trace.StandardError)
	}
	return worst, note, nil
}

// wasserstein is the Wasserstein-1 distance between the quadrature and the
// eigenvalues after f, over the range of these; values that f refuses are left
// out, and both sides then weigh 1.
func wasserstein(s estimator.Spectrum, d []float64, f func(float64) (float64, bool)) float64 {
	type atom struct{ at, mass float64 }
	var atoms []atom
	add := func(values []atom, sign float64) (lo, hi float64) {
		total := 0.0
		for _, a := range values {
			total += a.mass
		}
		lo, hi = math.Inf(1), math.Inf(-1)
		for _, a := range values {
			atoms = append(atoms, atom{a.at, sign * a.mass / total})
			lo, hi = min(lo, a.at), max(hi, a.at)
		}
		return lo, hi
	}
	var nodes, exact []atom
	for _, r := range s.Ritz {
		if y, ok := f(r.Value); ok {
			nodes = append(nodes, atom{y, r.Weight})
		}
	}
	for _, x := range d {
		if y, ok := f(x); ok {
			exact = append(exact, atom{y, 1})
		}
	}
	add(nodes, 1)
	lo, hi := add(exact, -1)
	slices.SortFunc(atoms, func(a, b atom) int { return cmp.Compare(a.at, b.at) })
	sum, excess := 0.0, 0.0
	for i, a := range atoms[1:] {
		excess += atoms[i].mass
		sum += math.Abs(excess) * (a.at - atoms[i].at)
	}
	return sum / (hi - lo)
}

// found is what a run of so many products shows of a gapped spectrum.
type found struct {
	// groups tells whether as many groups are found as there are, edges whether
	// all of them to edgeTolerance.
	groups, edges bool
	// told tells whether the products tell the edges to 10 %: whether an
	// eigenvalue of the median weight, a tenth beyond any edge, would change
	// their moments.
	told bool
}

func look(g spectra.Gapped, s estimator.Spectrum) found {
	edges := estimator.ScaleEdges(s)
	f := found{groups: len(edges) == len(g.Groups), told: true}
	f.edges = f.groups && edgeError(g, edges) <= edgeTolerance
	for i := range g.Groups {
		hi, lo := g.Edges(i)
		f.told = f.told && estimator.HiddenWeight(s, 1.1*hi) < medianWeight && estimator.HiddenWeight(s, 0.9*lo) < medianWeight
	}
	return f
}

// edgeError is the largest relative error of an edge, +Inf for another number of
// groups.
func edgeError(g spectra.Gapped, edges []estimator.Edges) float64 {
	if len(edges) != len(g.Groups) {
		return math.Inf(1)
	}
	worst := 0.0
	for i, e := range edges {
		hi, lo := g.Edges(i)
		worst = max(worst, math.Abs(e.High.Estimate/hi-1), math.Abs(e.Low.Estimate/lo-1))
	}
	return worst
}

// tally draws spectra for which take holds and counts what is found in them.
func tally(ctx context.Context, b *bench, sizes spectra.Sizes, take func(spectra.Gapped) bool) (n, groups, edges, told, toldEdges int, err error) {
	for seed := b.first; n < drawnSpectra; seed++ {
		g := spectra.NewGapped(seed, sizes)
		if !take(g) {
			continue
		}
		l, err := lanczosRun(spectra.Diagonal(g.Eigenvalues), len(g.Eigenvalues), g.Budget(3, 12), seed, nil)
		if err != nil || ctx.Err() != nil {
			return 0, 0, 0, 0, 0, cmp.Or(err, ctx.Err())
		}
		n++
		f := look(g, l.Spectrum())
		groups, edges = groups+one(f.groups), edges+one(f.edges)
		told, toldEdges = told+one(f.told), toldEdges+one(f.told && f.edges)
	}
	return n, groups, edges, told, toldEdges, nil
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func anyGapped(spectra.Gapped) bool { return true }

// missedGroups is the share of gapped spectra in which a group, or an edge to
// 5 %, is missed; of all, or of those in which any method could tell.
func missedGroups(onlyTold bool) func(context.Context, *bench) (float64, string, error) {
	return func(ctx context.Context, b *bench) (float64, string, error) {
		n, groups, edges, told, toldEdges, err := tally(ctx, b, spectra.LogUniformSizes, anyGapped)
		if err != nil {
			return math.NaN(), "", err
		}
		if onlyTold {
			return 100 * float64(told-toldEdges) / float64(told), fmt.Sprintf("%d of %d", told-toldEdges, told), nil
		}
		_, moreGroups, moreEdges, moreTold, _, err := tally(ctx, b, spectra.UniformSizes, anyGapped)
		return 100 * float64(n-edges) / float64(n), fmt.Sprintf(
			"sizes log-uniform: of %d groups found in %d, edges too in %d, %d told by the products; sizes uniform: %d, %d, %d",
			n, groups, edges, told, moreGroups, moreEdges, moreTold), err
	}
}

func missedSmallGroups(ctx context.Context, b *bench) (float64, string, error) {
	n, groups, edges, _, _, err := tally(ctx, b, spectra.LogUniformSizes, func(g spectra.Gapped) bool { return slices.Max(g.Groups) <= 12 })
	return 100 * float64(n-edges) / float64(n), fmt.Sprintf("of %d groups found in %d, edges too in %d", n, groups, edges), err
}

// gapless are the spectra without a gap, by law.
var gapless = []struct {
	name string
	draw func(uint64) []float64
}{{"log-uniform", spectra.LogUniform}, {"Marchenko-Pastur", spectra.MarchenkoPastur}}

// falseGaps counts the gapless spectra in which any number of products from 6 to
// 60 shows a gap.
func falseGaps(ctx context.Context, b *bench) (total float64, note string, err error) {
	for _, law := range gapless {
		count := 0
		for seed := b.first; seed < b.first+drawnSpectra; seed++ {
			d, gap := law.draw(seed), false
			_, err := lanczosRun(spectra.Diagonal(d), len(d), 60, seed, func(l *estimator.Lanczos) bool {
				gap = gap || l.Steps() >= 6 && len(estimator.DetectScales(l.Spectrum()).Groups) > 1
				return false
			})
			if err != nil || ctx.Err() != nil {
				return math.NaN(), "", cmp.Or(err, ctx.Err())
			}
			count += one(gap)
		}
		total += float64(count)
		note += fmt.Sprintf("%s: %d of %d; ", law.name, count, drawnSpectra)
	}
	return total, note, nil
}

// falseWindowGaps counts the gapless spectra in which the sketches (float32,
// d = 251, 16 pairs) of 60 steps of gradient descent show a gap. Rates are the
// reciprocals of random Ritz values, or the safe one where the gradient has
// outgrown the first.
func falseWindowGaps(ctx context.Context, b *bench) (total float64, note string, err error) {
	for _, law := range gapless {
		count := 0
		for seed := b.first; seed < b.first+drawnSpectra; seed++ {
			gap, err := windowGap(law.draw(seed), seed)
			if err != nil || ctx.Err() != nil {
				return math.NaN(), "", cmp.Or(err, ctx.Err())
			}
			count += one(gap)
		}
		total += float64(count)
		note += fmt.Sprintf("%s: %d of %d; ", law.name, count, drawnSpectra)
	}
	return total, note, nil
}

func windowGap(d []float64, seed uint64) (gap bool, err error) {
	const pairs, buckets, steps = 16, 251, 60
	sketcher, err := multirate.NewSketcher(int64(len(d)), buckets, seed)
	if err != nil {
		return false, fmt.Errorf("sketcher: %w", err)
	}
	rng := rand.New(rand.NewPCG(seed, 26))
	window, g, sketch := estimator.NewWindow(pairs, buckets), make([]float64, len(d)), make([]float32, buckets)
	for i, x := range d {
		g[i] = rng.NormFloat64() * math.Sqrt(x)
	}
	first, rate := norm(g), 0.0
	for range steps {
		clear(sketch)
		multirate.Sketch(sketcher, sketch, g)
		window.Push(sketch, rate)
		model := window.Solve()
		gap = gap || len(model.Theta) >= 6 && len(estimator.DetectScales(model.Spectrum()).Groups) > 1
		rate = 1 / d[0]
		if n := len(model.Theta); n > 0 && norm(g) <= first {
			if theta := model.Theta[rng.IntN(n)]; theta > 0 {
				rate = 1 / theta
			}
		}
		for i, x := range d {
			g[i] -= rate * x * g[i]
		}
	}
	return gap, nil
}

func norm(v []float64) float64 { return mat.Norm(mat.NewVecDense(len(v), v), 2) }

// overPyHessian is the median, over gapped spectra of 100 to 300 eigenvalues, of
// our products over PyHessian's for the edges of all scales. Ours stop by
// themselves ([estimator.Lanczos.Converged] at 5 %). PyHessian's top eigenvalues
// go down to the top of the flattest scale, by power iteration, and its density
// of 100 Lanczos iterations shows the lower edges.
//
// The note compares with the density alone, told the true groups and when to
// stop: of both methods the Krylov space is the same, so little is to be won.
func overPyHessian(ctx context.Context, b *bench) (float64, string, error) {
	var ratios, alone, ours []float64
	for seed := b.first; len(ratios) < 40; seed++ {
		g := spectra.NewGapped(seed, spectra.UniformSizes)
		dim := len(g.Eigenvalues)
		if dim < 100 {
			continue
		}
		product := spectra.Diagonal(g.Eigenvalues)
		l, err := lanczosRun(product, dim, dim, seed, func(l *estimator.Lanczos) bool { return l.Converged(edgeTolerance) })
		if err != nil || ctx.Err() != nil {
			return math.NaN(), "", cmp.Or(err, ctx.Err())
		}
		most := dim - g.Groups[len(g.Groups)-1] + 1
		_, spent := spectra.PowerIteration(product, dim, seed, func(values []float64) bool { return len(values) == most })
		accuracy := max(edgeError(g, estimator.ScaleEdges(l.Spectrum())), 1e-3)
		k := 10
		for k < dim && nodeError(g, spectra.LanczosDensity(product, dim, k, seed)) > accuracy {
			k += 10
		}
		mine := float64(l.Steps())
		ours = append(ours, mine)
		ratios = append(ratios, mine/float64(spent+min(dim, spectra.DensityIterations)))
		alone = append(alone, mine/float64(min(k, dim)))
	}
	slices.Sort(ratios)
	slices.Sort(alone)
	slices.Sort(ours)
	n := len(ratios)
	return ratios[n/2], fmt.Sprintf("%.2g to %.2g over %d spectra; our products %g to %g, median %g; over its density alone, told the groups and when to stop, %.2g",
		ratios[0], ratios[n-1], n, ours[0], ours[n-1], ours[n/2], alone[n/2]), nil
}

// nodeError is the largest relative error of an edge when the outermost nodes
// within a factor 2 of each group are taken for it.
func nodeError(g spectra.Gapped, nodes []float64) float64 {
	worst := 0.0
	for i := range g.Groups {
		hi, lo := g.Edges(i)
		first, last := math.Inf(1), math.Inf(1)
		for _, x := range nodes {
			if x < 2*hi && x > lo/2 {
				if math.IsInf(first, 1) {
					first = x
				}
				last = x
			}
		}
		worst = max(worst, math.Abs(first/hi-1), math.Abs(last/lo-1))
	}
	return worst
}
