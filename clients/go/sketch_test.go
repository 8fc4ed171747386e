package multirate

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

// naiveAdd is the contract read aloud: SketchSpec in run.proto, one index at a
// time.
func naiveAdd(sums []float64, seed uint64, shard []float64, offset int64) {
	for j, g := range shard {
		i := uint64(offset) + uint64(j)
		if naiveWord(seed, i/64)&(1<<(i%64)) != 0 {
			g = -g
		}
		sums[i%uint64(len(sums))] += g
	}
}

func naiveWord(seed, k uint64) uint64 {
	z := seed
	for range k + 1 {
		z += 0x9E3779B97F4A7C15
	}
	return naiveMix(z)
}

func naiveMix(z uint64) uint64 {
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB
	return z ^ (z >> 31)
}

func mustSketcher(t interface{ Fatal(...any) }, dimension int64, d int, seed uint64) *Sketcher {
	s, err := NewSketcher(dimension, d, seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignWordsAreSplitMix64(t *testing.T) {
	// The first outputs of the reference implementation, prng.di.unimi.it.
	for _, c := range []struct {
		seed uint64
		want []uint64
	}{
		{0, []uint64{0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f}},
		{1234567, []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423}},
	} {
		for k, want := range c.want {
			if got := signWord(c.seed, uint64(k)); got != want {
				t.Errorf("word(%d) of seed %d = %#x, want %#x", k, c.seed, got, want)
			}
		}
	}
}

func TestSketchDimensions(t *testing.T) {
	for _, c := range []struct {
		dimension int64
		d         int
		want      int // 0: refused
	}{
		{1, 0, 251},
		{1, 15, 15},
		{1 << 40, 4095, 4095},
		{0, 251, 0},
		{-1, 251, 0},
		{1, 13, 0},
		{1, 4097, 0},
		{1, 250, 0},
		{1, -251, 0},
	} {
		s, err := NewSketcher(c.dimension, c.d, 0)
		switch {
		case c.want == 0 && err == nil:
			t.Errorf("NewSketcher(%d, %d) was not refused", c.dimension, c.d)
		case c.want != 0 && (err != nil || s.Buckets() != c.want || s.Dimension() != c.dimension):
			t.Errorf("NewSketcher(%d, %d) = %+v, %v, want d = %d", c.dimension, c.d, s, err, c.want)
		}
	}
}

func TestSketchPanicsOnWrongLengths(t *testing.T) {
	s := mustSketcher(t, 100, 15, 0)
	for name, f := range map[string]func(){
		"short gradient":  func() { Sketch(s, make([]float32, 15), make([]float64, 99)) },
		"short sketch":    func() { Sketch(s, make([]float32, 14), make([]float64, 100)) },
		"short sums":      func() { Accumulate(s, make([]float64, 14), make([]float64, 100), 0) },
		"beyond the end":  func() { Accumulate(s, make([]float64, 15), make([]float64, 2), 99) },
		"negative offset": func() { Accumulate(s, make([]float64, 15), make([]float64, 2), -1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

var (
	drawDimension = rapid.IntRange(1, 700)
	drawBuckets   = rapid.Map(rapid.IntRange(7, 400), func(n int) int { return 2*n + 1 })
)

// drawIntegers draws elements whose sums are exact in any order.
func drawIntegers(t *rapid.T, n int, label string) []float64 {
	return rapid.SliceOfN(rapid.Map(rapid.IntRange(-1000, 1000), func(i int) float64 { return float64(i) }), n, n).Draw(t, label)
}

func TestAccumulateIsTheContract(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, seed := drawBuckets.Draw(t, "d"), rapid.Uint64().Draw(t, "seed")
		g := drawIntegers(t, drawDimension.Draw(t, "length"), "g")
		offset := int64(rapid.IntRange(0, 10_000).Draw(t, "offset"))
		want := make([]float64, d)
		naiveAdd(want, seed, g, offset)

		s := mustSketcher(t, offset+int64(len(g)), d, seed)
		got := make([]float64, d)
		Accumulate(s, got, g, offset)
		if !slices.Equal(got, want) {
			t.Fatalf("float64: got %v, want %v", got, want)
		}
		g32 := make([]float32, len(g))
		for i, x := range g {
			g32[i] = float32(x)
		}
		clear(got)
		Accumulate(s, got, g32, offset)
		if !slices.Equal(got, want) {
			t.Fatalf("float32: got %v, want %v", got, want)
		}
	})
}

func TestSketchIsLinear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawDimension.Draw(t, "dimension")
		s := mustSketcher(t, int64(n), drawBuckets.Draw(t, "d"), rapid.Uint64().Draw(t, "seed"))
		g, h := drawIntegers(t, n, "g"), drawIntegers(t, n, "h")
		a := float64(rapid.IntRange(-50, 50).Draw(t, "a"))
		combined := make([]float64, n)
		for i := range g {
			combined[i] = g[i] + a*h[i]
		}
		sg, sh, sc := make([]float32, s.Buckets()), make([]float32, s.Buckets()), make([]float32, s.Buckets())
		Sketch(s, sg, g)
		Sketch(s, sh, h)
		Sketch(s, sc, combined)
		for b := range sc {
			if sc[b] != sg[b]+float32(a)*sh[b] {
				t.Fatalf("bucket %d: S(g + %g h) = %g, S g + %g S h = %g", b, a, sc[b], a, sg[b]+float32(a)*sh[b])
			}
		}
	})
}

func TestShardsAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawIntegers(t, drawDimension.Draw(t, "dimension"), "g")
		s := mustSketcher(t, int64(len(g)), drawBuckets.Draw(t, "d"), rapid.Uint64().Draw(t, "seed"))
		whole, parts := make([]float64, s.Buckets()), make([]float64, s.Buckets())
		Accumulate(s, whole, g, 0)
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(g)), 0, 4).Draw(t, "cuts")
		cuts = append(cuts, 0, len(g))
		slices.Sort(cuts)
		for k := len(cuts) - 2; k >= 0; k-- {
			Accumulate(s, parts, g[cuts[k]:cuts[k+1]], int64(cuts[k]))
		}
		if !slices.Equal(whole, parts) {
			t.Fatalf("cut at %v: %v, whole: %v", cuts, parts, whole)
		}
	})
}

func TestSketchAllocatesNothing(t *testing.T) {
	s := mustSketcher(t, 1000, 251, 0)
	dst, sums, g := make([]float32, 251), make([]float64, 251), make([]float32, 1000)
	if n := testing.AllocsPerRun(100, func() { Sketch(s, dst, g) }); n != 0 {
		t.Errorf("Sketch allocates %g times", n)
	}
	if n := testing.AllocsPerRun(100, func() { Accumulate(s, sums, g[1:], 1) }); n != 0 {
		t.Errorf("Accumulate allocates %g times", n)
	}
}

// For independent signs E |S g|^2 = |g|^2, and with k equal elements a bucket
// the ratio has the variance 2 (1 - 1/k) / d. Over n seeds the mean is then
// within 5 standard errors, and the sample variance, whose relative standard
// error is sqrt(2/n) for nearly normal ratios, within 5 of its own.
func TestNormIsPreservedInTheMean(t *testing.T) {
	const n, d, k = 1000, 251, 8
	g := make([]float64, d*k)
	for i := range g {
		g[i] = 1
	}
	var sum, squares float64
	dst := make([]float32, d)
	for i := range uint64(n) {
		Sketch(mustSketcher(t, d*k, d, signWord(7, i)), dst, g)
		ratio := NormSquared(dst) / (d * k)
		sum += ratio
		squares += (ratio - 1) * (ratio - 1)
	}
	variance := 2 * (1 - 1.0/k) / d
	if mean, tolerance := sum/n, 5*math.Sqrt(variance/n); math.Abs(mean-1) > tolerance {
		t.Errorf("mean of |Sg|^2/|g|^2 = %g, want 1 within %g", mean, tolerance)
	}
	if ratio, tolerance := squares/n/variance, 5*math.Sqrt(2.0/n); math.Abs(ratio-1) > tolerance {
		t.Errorf("variance is %g of the expected, want 1 within %g", ratio, tolerance)
	}
}

// columnSketches returns, as columns, the sketches of the columns of q when they
// lie in one column of an embedding of the given width. It takes d unchecked.
func columnSketches(q mat.Matrix, width, column, d int) *mat.Dense {
	rows, m := q.Dims()
	s := &Sketcher{dimension: int64(rows * width), buckets: d, seed: 5}
	sketches := mat.NewDense(d, m, nil)
	for j := range m {
		sums := make([]float64, d)
		for r := range rows {
			Accumulate(s, sums, []float64{q.At(r, j)}, int64(r*width+column))
		}
		sketches.SetCol(j, sums)
	}
	return sketches
}

func singularValues(t *testing.T, a mat.Matrix) []float64 {
	var svd mat.SVD
	if !svd.Factorize(a, mat.SVDNone) {
		t.Fatal("no singular values")
	}
	return svd.Values(nil)
}

// A dense basis of m vectors in one column sees S as about d x m independent
// normal numbers of variance 1/d, whose singular values lie within
// 1 +- (sqrt(m/d) + t/sqrt(d)) but for a probability of 2 exp(-t^2/2) (Davidson
// and Szarek, 2001, theorem II.13); t = 5. With an even d of the column's
// stride all of it would fall into one bucket.
func TestColumnsKeepTheirRank(t *testing.T) {
	const rows, m, d = 251 * 16, 16, 251
	raw := mat.NewDense(rows, m, nil)
	for r := range rows {
		for j := range m {
			raw.Set(r, j, float64(signWord(uint64(j), uint64(r))>>11)*0x1p-53-0.5)
		}
	}
	var svd mat.SVD
	if !svd.Factorize(raw, mat.SVDThinU) {
		t.Fatal("no orthonormal basis")
	}
	q := new(mat.Dense)
	svd.UTo(q)
	spread := math.Sqrt(float64(m)/d) + 5/math.Sqrt(d)
	for _, width := range []int{64, 100, 128, 256, 768, 1024} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			values := singularValues(t, columnSketches(q, width, width/3, d))
			if values[0] > 1+spread || values[m-1] < 1-spread {
				t.Errorf("singular values in [%g, %g], want within 1 +- %g", values[m-1], values[0], spread)
			}
		})
	}
	if values := singularValues(t, columnSketches(q, 256, 0, 256)); values[1] > 1e-12*values[0] {
		t.Errorf("d = 256 keeps rank in a column of stride 256: %g", values)
	}
}

// Any 251 successive rows of a column fall into 251 buckets, since 251 is prime
// and divides no usual width: the sketch is an isometry on them.
func TestRowsOfAColumnDoNotCollide(t *testing.T) {
	for _, width := range []int{64, 128, 256, 512, 768, 1024, 4096} {
		s := mustSketcher(t, int64(300*width), 251, 3)
		sums := make([]float64, 251)
		for r := range 251 {
			Accumulate(s, sums, []float64{1}, int64((r+17)*width+5))
		}
		for b, v := range sums {
			if math.Abs(v) != 1 {
				t.Errorf("width %d: bucket %d holds %g", width, b, v)
			}
		}
	}
}
