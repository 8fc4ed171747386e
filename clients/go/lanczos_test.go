package multirate

import (
	"errors"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// ritzValues returns the eigenvalues of the tridiagonal matrix, ascending.
func ritzValues(t *testing.T, alpha, beta []float64) []float64 {
	t.Helper()
	k := len(alpha)
	m := mat.NewSymDense(k, nil)
	for i, a := range alpha {
		m.SetSym(i, i, a)
		if i+1 < k {
			m.SetSym(i, i+1, beta[i])
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(m, false) {
		t.Fatal("no eigenvalues")
	}
	return eigen.Values(nil)
}

// Without reorthogonalisation the extreme Ritz values converge all the same, to
// rounding of |H|: 1e3 eps allows for its growth with k (Paige).
func TestLanczosFindsTheExtremes(t *testing.T) {
	h := make([]float64, 400)
	for i := range h {
		h[i] = 1 + float64(i)/400
	}
	h[0], h[1], h[399] = -5, 50, 100
	alpha, beta, err := Lanczos(diagonalProduct(h), len(h), 60, 1)
	if err != nil || len(alpha) != 60 || len(beta) != 60 {
		t.Fatalf("%d alphas, %d betas, %v, want 60", len(alpha), len(beta), err)
	}
	theta := ritzValues(t, alpha, beta)
	for _, want := range []float64{-5, 50, 100} {
		nearest := math.Inf(1)
		for _, v := range theta {
			nearest = min(nearest, math.Abs(v-want))
		}
		if nearest > 1e3*0x1p-52*100 {
			t.Errorf("no Ritz value at %g: nearest is %g away", want, nearest)
		}
	}
	if theta[0] < -5-1e-10 || theta[59] > 100+1e-10 {
		t.Errorf("Ritz values in [%g, %g], outside the spectrum [-5, 100]", theta[0], theta[59])
	}
}

func TestLanczosStopsWhereTheKrylovSpaceEnds(t *testing.T) {
	h := slices.Repeat([]float64{1, 2, 4}, 20)
	alpha, beta, err := Lanczos(diagonalProduct(h), len(h), 50, 2)
	if err != nil || len(alpha) != 3 || len(beta) != 3 || beta[2] != 0 {
		t.Fatalf("alpha %v, beta %v, %v, want three of each, the last beta 0", alpha, beta, err)
	}
	for i, v := range ritzValues(t, alpha, beta) {
		if want := []float64{1, 2, 4}[i]; math.Abs(v-want) > 60*0x1p-52*4 {
			t.Errorf("Ritz value %g, want %g", v, want)
		}
	}
}

// The residual norm bounds the distance of a lone Ritz value to the nearest
// eigenvalue.
func TestLanczosReturnsTheLastResidual(t *testing.T) {
	hvp, _ := symmetric(20, 4)
	alpha, beta, err := Lanczos(hvp, 20, 1, 5)
	if err != nil || len(alpha) != 1 || len(beta) != 1 {
		t.Fatalf("alpha %v, beta %v, %v", alpha, beta, err)
	}
	v, hv := make([]float64, 20), make([]float64, 20)
	fillSigns(v, 5)
	scale(v, 1/math.Sqrt(20))
	_ = hvp(v, hv)
	axpy(hv, -dot(v, hv), v)
	if want := math.Sqrt(NormSquared(hv)); math.Abs(beta[0]-want) > 1e-13 {
		t.Errorf("last beta %g, want the residual norm %g", beta[0], want)
	}
}

func TestLanczosErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, _, err := Lanczos(func(_, _ []float64) error { return broken }, 3, 3, 0); !errors.Is(err, broken) {
		t.Errorf("error %v, want the product's", err)
	}
	if _, _, err := Lanczos(diagonalProduct([]float64{math.NaN(), 1}), 2, 2, 0); !errors.Is(err, ErrNotFinite) {
		t.Errorf("error %v, want ErrNotFinite", err)
	}
	for _, c := range [][2]int{{0, 1}, {1, 0}} {
		if _, _, err := Lanczos(diagonalProduct([]float64{1}), c[0], c[1], 0); err == nil {
			t.Errorf("dimension %d with %d products was not refused", c[0], c[1])
		}
	}
}
