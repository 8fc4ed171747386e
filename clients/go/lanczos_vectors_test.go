package multirate

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"gonum.org/v1/gonum/mat"

	"multirate/estimator"
)

const lanczosVectorsPath = "../../proto/testdata/lanczos.json"

// lanczosVectors is proto/testdata/lanczos.json.
type lanczosVectors struct {
	Dimension int          `json:"dimension"`
	Products  int          `json:"products"`
	Seed      string       `json:"seed"`
	Alpha     []float64    `json:"alpha"`
	Beta      []float64    `json:"beta"`
	Ritz      []ritzVector `json:"ritz"`
	Tolerance float64      `json:"tolerance"`
}

type ritzVector struct {
	Value  float64 `json:"value"`
	Weight float64 `json:"weight"`
}

// hessian is the matrix that the file's description gives.
func (v lanczosVectors) hessian() *mat.SymDense {
	h := mat.NewSymDense(v.Dimension, nil)
	for i := range v.Dimension {
		for j := i; j < v.Dimension; j++ {
			h.SetSym(i, j, float64(37*(i+j)%101-50)/100)
		}
		h.SetSym(i, i, h.At(i, i)+10+100*float64(i%3))
	}
	return h
}

func (v lanczosVectors) start(t *testing.T) []float64 {
	start := make([]float64, v.Dimension)
	fillSigns(start, parseHex(t, v.Seed))
	scale(start, 1/math.Sqrt(float64(v.Dimension)))
	return start
}

// solve answers the question by Lanczos with full reorthogonalisation.
func (v lanczosVectors) solve(t *testing.T) lanczosVectors {
	t.Helper()
	l, err := estimator.NewLanczosFrom(v.start(t), v.Products)
	if err != nil {
		t.Fatal(err)
	}
	h := v.hessian()
	for range v.Products {
		var product mat.VecDense
		product.MulVec(h, mat.NewVecDense(v.Dimension, l.Probe()))
		if err := l.Absorb(product.RawVector().Data); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range l.Spectrum().Ritz {
		v.Ritz = append(v.Ritz, ritzVector{r.Value, r.Weight})
	}
	return v
}

// apart is how far two spectra are apart: values relative to the largest, and
// weights, which add up to 1.
func apart(t *testing.T, got []ritzVector, want []ritzVector) float64 {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d Ritz values, want %d", len(got), len(want))
	}
	worst := 0.0
	for i, w := range want {
		worst = max(worst, math.Abs(got[i].Value-w.Value)/want[0].Value, math.Abs(got[i].Weight-w.Weight))
	}
	return worst
}

func TestLanczosVectors(t *testing.T) {
	if *update {
		v := lanczosVectors{Dimension: 60, Products: 12, Seed: hex(7), Tolerance: 1e-5}
		v = v.solve(t)
		alpha, beta, err := Lanczos(denseProduct(v.hessian()), v.Dimension, v.Products, parseHex(t, v.Seed))
		if err != nil {
			t.Fatal(err)
		}
		v.Alpha, v.Beta = alpha, beta
		text, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(lanczosVectorsPath, append(text, '\n'), 0o644); err != nil { //nolint:gosec // test data of the repository
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(lanczosVectorsPath)
	if err != nil {
		t.Fatal(err)
	}
	var v lanczosVectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	want := v.Ritz
	// In the service, with full reorthogonalisation.
	if worst := apart(t, lanczosVectors{Dimension: v.Dimension, Products: v.Products, Seed: v.Seed}.solve(t).Ritz, want); worst > v.Tolerance {
		t.Errorf("vectors tier is %v off, want at most %v", worst, v.Tolerance)
	}
	// In the trainer, without, and its coefficients in the service.
	alpha, beta, err := Lanczos(denseProduct(v.hessian()), v.Dimension, v.Products, parseHex(t, v.Seed))
	if err != nil {
		t.Fatal(err)
	}
	for k := range alpha {
		if math.Abs(alpha[k]-v.Alpha[k]) > v.Tolerance*want[0].Value || math.Abs(beta[k]-v.Beta[k]) > v.Tolerance*want[0].Value {
			t.Errorf("coefficients %d are %v and %v, want %v and %v", k, alpha[k], beta[k], v.Alpha[k], v.Beta[k])
		}
	}
	s, err := estimator.FromCoefficients(alpha, beta, int64(v.Dimension))
	if err != nil {
		t.Fatal(err)
	}
	var got []ritzVector
	for _, r := range s.Ritz {
		got = append(got, ritzVector{r.Value, r.Weight})
	}
	if worst := apart(t, got, want); worst > v.Tolerance {
		t.Errorf("coefficients tier is %v off, want at most %v", worst, v.Tolerance)
	}
	// The exact trace of the Gauss quadrature: all of the weight.
	total := 0.0
	for _, r := range want {
		total += r.Weight
	}
	if math.Abs(total-1) > 1e-9 {
		t.Errorf("weights add up to %v", total)
	}
}

func denseProduct(h *mat.SymDense) HessianVectorProduct[float64] {
	return func(v, hv []float64) error {
		mat.NewVecDense(len(hv), hv).MulVec(h, mat.NewVecDense(len(v), v))
		return nil
	}
}
