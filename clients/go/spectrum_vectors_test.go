package multirate

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

const spectrumPath = "../../proto/testdata/spectrum.json"

// spectrumVector is proto/testdata/spectrum.json: curvature of a regularised
// logistic loss at a point, Samples x Dimension numbers of data.
type spectrumVector struct {
	Samples   int    `json:"samples"`
	Dimension int    `json:"dimension"`
	Seed      uint64 `json:"seed"`
	// Eigenvalues of the Hessian, largest first.
	Eigenvalues []float64 `json:"eigenvalues"`
	// Product is H v for v[j] = j mod 3 - 1.
	Product []float64 `json:"product"`
	// Alpha and Beta are what Lanczos finds from the signs of Seed.
	Alpha []float64 `json:"alpha"`
	Beta  []float64 `json:"beta"`
}

// hessian returns X' diag(p(1-p)) X / n + 0.01 I, p the logistic function of X w,
// x[i][j] = ((37i + 17j + ij) mod 101 - 50)/50 / 10^(j mod 3),
// w[j] = (13j mod 7 - 3)/4.
func (s spectrumVector) hessian() *mat.SymDense {
	h := mat.NewSymDense(s.Dimension, nil)
	for i := range s.Samples {
		x, z := make([]float64, s.Dimension), 0.0
		for j := range x {
			x[j] = float64((37*i+17*j+i*j)%101-50) / 50 / math.Pow10(j%3)
			z += x[j] * float64(13*j%7-3) / 4
		}
		p := 1 / (1 + math.Exp(-z))
		h.SymRankOne(h, p*(1-p)/float64(s.Samples), mat.NewVecDense(s.Dimension, x))
	}
	for j := range s.Dimension {
		h.SetSym(j, j, h.At(j, j)+0.01)
	}
	return h
}

func (s spectrumVector) times(v, hv []float64) error {
	mat.NewVecDense(len(hv), hv).MulVec(s.hessian(), mat.NewVecDense(len(v), v))
	return nil
}

// answers returns the vector with LAPACK's eigenvalues and the textbook's
// Lanczos, orthogonalised against all vectors before.
func (s spectrumVector) answers(t *testing.T) spectrumVector {
	t.Helper()
	var eigen mat.EigenSym
	if !eigen.Factorize(s.hessian(), false) {
		t.Fatal("no eigenvalues")
	}
	s.Eigenvalues = eigen.Values(nil)
	slices.Reverse(s.Eigenvalues)
	s.Product = make([]float64, s.Dimension)
	v := make([]float64, s.Dimension)
	for j := range v {
		v[j] = float64(j%3 - 1)
	}
	_ = s.times(v, s.Product)
	fillSigns(v, s.Seed)
	scale(v, 1/math.Sqrt(float64(s.Dimension)))
	basis := [][]float64{v}
	for range 5 {
		w := make([]float64, s.Dimension)
		_ = s.times(basis[len(basis)-1], w)
		s.Alpha = append(s.Alpha, dot(w, basis[len(basis)-1]))
		for range 2 {
			for _, u := range basis {
				axpy(w, -dot(w, u), u)
			}
		}
		s.Beta = append(s.Beta, math.Sqrt(NormSquared(w)))
		scale(w, 1/s.Beta[len(s.Beta)-1])
		basis = append(basis, w)
	}
	return s
}

func TestSpectrumVectors(t *testing.T) {
	want := spectrumVector{Samples: 40, Dimension: 12, Seed: 5}.answers(t)
	if *update {
		text, err := json.MarshalIndent(want, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(spectrumPath, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got spectrumVector
	text, err := os.ReadFile(spectrumPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	// A processor may fuse a product with a sum.
	near(t, "eigenvalues", got.Eigenvalues, want.Eigenvalues, 1e-12)
	near(t, "product", got.Product, want.Product, 1e-12)
	near(t, "alpha", got.Alpha, want.Alpha, 1e-12)
	near(t, "beta", got.Beta, want.Beta, 1e-12)

	alpha, beta, err := Lanczos(got.times, got.Dimension, got.Dimension, got.Seed)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "Lanczos alpha", alpha[:5], got.Alpha, 1e-5)
	near(t, "Lanczos beta", beta[:5], got.Beta, 1e-5)
	// Nothing is reorthogonalised, so that copies of the first to converge take the
	// place of the flattest: those of the stiffest scale are there.
	ritz := ritzValues(t, alpha, beta)
	for _, value := range got.Eigenvalues[:4] {
		nearest := slices.MinFunc(ritz, func(a, b float64) int {
			return cmp.Compare(math.Abs(a-value), math.Abs(b-value))
		})
		near(t, "Ritz value", []float64{nearest}, []float64{value}, 1e-5)
	}
}

// near compares with a tolerance relative to the largest number wanted.
func near(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d, want %d", what, len(got), len(want))
		return
	}
	largest := 0.0
	for _, x := range want {
		largest = max(largest, math.Abs(x))
	}
	for i, x := range got {
		if !(math.Abs(x-want[i]) <= tolerance*largest) {
			t.Errorf("%s: number %d is %g, want %g", what, i, x, want[i])
		}
	}
}
