package baseline

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Interval is a scale, 0 < Low <= High.
type Interval struct{ Low, High float64 }

// MinMax is the number of gradients that the best polynomial for a whole union
// of disjoint intervals needs to bring every error in them below share^(1/2),
// and so every quadratic loss with its spectrum there below share: no fixed
// schedule that knows the scales but not the eigenvalues does with fewer for all
// of them. It is acosh(share^(-1/2))/G(0), exact for one interval (Chebyshev)
// and asymptotically right for more; G is the Green function of the complement
// with its pole at infinity (Driscoll, Toh and Trefethen, SIAM Rev. 40, 1998,
// "From potential theory to matrix iterations in six steps").
//
// Low = High is widened by one part in 1e9.
func MinMax(scales []Interval, share float64) float64 {
	scales = slices.Clone(scales)
	slices.SortFunc(scales, func(a, b Interval) int {
		return int(math.Copysign(1, a.Low-b.Low))
	})
	for i := range scales {
		scales[i].High = math.Max(scales[i].High, scales[i].Low*(1+1e-9))
	}
	return math.Acosh(1/math.Sqrt(share)) / newUnion(scales).green()
}

// union is one of m intervals, with the polynomial q of its Green function:
// G'(x) = q(x)/sqrt(prod (x-a_i)(x-b_i)), monic of degree m-1, with one zero in
// every gap, such that G vanishes on every interval. q is
//
//	prod_j (x - z_j) + sum_k c_k z_k prod_{j != k} (x - z_j)
//
// with z_j the geometric mean of gap j: a basis whose members do not cancel.
// Values are divided by size, prod_j max(x, z_j), against underflow.
type union struct {
	scales       []Interval
	centres      []float64 // z
	coefficients []float64 // c
}

func newUnion(scales []Interval) union {
	m := len(scales) - 1
	u := union{scales, make([]float64, m), make([]float64, m)}
	for k := range m {
		u.centres[k] = math.Sqrt(scales[k].High * scales[k+1].Low)
	}
	if m == 0 {
		return u
	}
	// The integral of G' over each gap is zero.
	left, right := mat.NewDense(m, m, nil), mat.NewVecDense(m, nil)
	for i := range m {
		unit := u.size(u.centres[i])
		integral := func(f func(x float64) float64) float64 {
			return gapIntegral(scales[i].High, scales[i+1].Low, func(x, below, above float64) float64 {
				return f(x) * u.size(x) / unit / rootOf(scales, x, i, below, above)
			})
		}
		for k := range m {
			left.Set(i, k, integral(func(x float64) float64 { return u.member(x, k) }))
		}
		right.SetVec(i, -integral(func(x float64) float64 { return u.product(x, -1) }))
	}
	if err := mat.NewVecDense(m, u.coefficients).SolveVec(left, right); err != nil {
		u.coefficients[0] = math.NaN()
	}
	return u
}

// size is what values at x are divided by.
func (u union) size(x float64) float64 {
	size := 1.0
	for _, z := range u.centres {
		size *= math.Max(x, z)
	}
	return size
}

// product is prod_{j != except} (x - z_j)/max(x, z_j).
func (u union) product(x float64, except int) float64 {
	value := 1.0
	for j, z := range u.centres {
		if j != except {
			value *= (x - z) / math.Max(x, z)
		}
	}
	return value
}

// member is the basis function of c_k.
func (u union) member(x float64, k int) float64 {
	return u.product(x, k) * u.centres[k] / math.Max(x, u.centres[k])
}

// green is G(0), the integral of |G'| from 0 to the flattest edge a. There
// x = a(1 - t^2) takes the singularity out.
func (u union) green() float64 {
	const points = 4000
	edge, sum := u.scales[0].Low, 0.0
	for i := range points {
		t := (float64(i) + 0.5) / points
		x := edge * (1 - t*t)
		q := u.product(x, -1)
		for k, c := range u.coefficients {
			q += c * u.member(x, k)
		}
		root := math.Sqrt(edge * (u.scales[0].High - x))
		for _, s := range u.scales[1:] {
			root *= math.Sqrt((s.Low - x) * (s.High - x))
		}
		sum += math.Abs(q) * u.size(x) / root * 2 * edge
	}
	return sum / points
}

// rootOf is the root of prod |x-a_j||x-b_j| in gap i, whose ends are at the
// distances u below and w above.
func rootOf(scales []Interval, x float64, i int, u, w float64) float64 {
	root := math.Sqrt(u * (x - scales[i].Low) * w * (scales[i+1].High - x))
	for j, s := range scales {
		if j != i && j != i+1 {
			root *= math.Sqrt(math.Abs((x - s.Low) * (x - s.High)))
		}
	}
	return root
}

// gapIntegral is the integral over (low, high) of a function of x and its
// distances to both ends that may be singular there, by the double exponential
// rule (Takahasi and Mori, Publ. RIMS 9, 1974) in log x.
func gapIntegral(low, high float64, f func(x, u, w float64) float64) float64 {
	const step, reach = 0.02, 3.4
	length, sum := math.Log(high/low), 0.0
	for t := -reach; t <= reach; t += step {
		s := math.Pi * math.Sinh(t)
		fromLow, fromHigh := length/(1+math.Exp(-s)), length/(1+math.Exp(s))
		x := low * math.Exp(fromLow)
		u, w := low*math.Expm1(fromLow), -high*math.Expm1(-fromHigh)
		slope := length * math.Pi * math.Cosh(t) / (2 + 2*math.Cosh(s)) * x
		sum += f(x, u, w) * slope * step
	}
	return sum
}
