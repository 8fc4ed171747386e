package problems

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// basisRidge bounds the condition number of least squares on smooth bases,
// whose columns are nearly dependent.
const basisRidge = 1e-8

// RadialBasis is least squares on Gaussian bumps: 400 noisy samples of a smooth
// function on the unit square, 40 bumps of width 0.3 per size, ridge 1e-8. Its
// spectrum falls off without a gap over eight decades.
func RadialBasis(seed uint64, size int) *LeastSquares {
	random := rand.New(rand.NewPCG(seed, 31))
	const rows, width = 400, 0.3
	centres := make([][2]float64, 40*size)
	for k := range centres {
		centres[k] = [2]float64{random.Float64(), random.Float64()}
	}
	s := samples{rows: rows, columns: len(centres)}
	for range rows {
		u, v := random.Float64(), random.Float64()
		for _, c := range centres {
			s.features = append(s.features, math.Exp(-(square(u-c[0])+square(v-c[1]))/(2*width*width)))
		}
		s.target = append(s.target, math.Sin(5*u)*math.Cos(3*v)+0.1*random.NormFloat64())
	}
	return newLeastSquares(fmt.Sprintf("radial basis functions, seed %d", seed), s.withRidge(basisRidge))
}

// Collocation solves -u” + u = f on [0, 1], u(0) = u(1) = 0, with f made for the
// solution sin(pi t) + sin(4 pi t)/4, by least squares at 200 points, the
// boundary weighted by 100, as a physics-informed network does: u is a sum of 40
// random tanh units per size, of which the outer weights alone are trained.
// Ridge 1e-8.
func Collocation(seed uint64, size int) *LeastSquares {
	random := rand.New(rand.NewPCG(seed, 32))
	const points, boundaryWeight = 200, 100
	units := make([][2]float64, 40*size)
	for k := range units {
		slope := 8 * random.NormFloat64()
		units[k] = [2]float64{slope, -slope * random.Float64()}
	}
	s := samples{rows: points + 2, columns: len(units)}
	for i := range points {
		t := float64(i+1) / (points + 1)
		for _, u := range units {
			h := math.Tanh(u[0]*t + u[1])
			s.features = append(s.features, 2*u[0]*u[0]*h*(1-h*h)+h)
		}
		first, second := math.Sin(math.Pi*t), math.Sin(4*math.Pi*t)/4
		s.target = append(s.target, (1+square(math.Pi))*first+(1+square(4*math.Pi))*second)
	}
	for _, t := range []float64{0, 1} {
		for _, u := range units {
			s.features = append(s.features, boundaryWeight*math.Tanh(u[0]*t+u[1]))
		}
		s.target = append(s.target, 0)
	}
	return newLeastSquares(fmt.Sprintf("collocation, seed %d", seed), s.withRidge(basisRidge))
}

func square(a float64) float64 { return a * a }
