package estimator

import "math"

// schur is the real Schur decomposition A = Q S Q' of a small square matrix, S
// upper triangular but for 2 x 2 blocks that hold conjugate pairs, with the
// eigenvectors Q X of A, by Householder reduction to Hessenberg form and
// implicit QR steps with double shifts (Francis, The Computer Journal 4,
// 1961/62; Golub and Van Loan, Matrix Computations, section 7.5).
//
// Q is kept as the reflections that it is a product of: no more than a few
// vectors are ever multiplied by it, and accumulating it would take half of the
// time. For the same reason X, which is upper triangular like S, is never
// multiplied by Q nor factorised.
type schur struct {
	n int
	// s is A, then its Hessenberg form, then S, row by row.
	s []float64
	// house[k*n+k+1:(k+1)*n] is the vector of the k-th reflection of the
	// reduction, whose first entry is 1, and factor[k] what it is multiplied by:
	// I - factor v v'.
	house, factor []float64
	// turns are those of the QR steps.
	turns []turn
	// re and im are the eigenvalues, conjugate pairs as neighbours.
	re, im []float64
	// x holds the eigenvectors of S as columns of unit length, real and
	// imaginary part of a pair as neighbours whose squares add up to one.
	x []float64
}

// turn is the reflection I - (1, v, w)'(p, q, r) of rows k to k+2, or with three
// is false that of rows k and k+1.
type turn struct {
	k             int
	three         bool
	v, w, p, q, r float64
}

// stepLimit is the number of QR steps for an eigenvalue after which the
// iteration is given up. One or two are usual, and the most seen in 10,800
// random matrices of order 24 was 25.
const stepLimit = 100

// grow makes room for matrices of order n.
func (s *schur) grow(n int) {
	square := func() []float64 { return make([]float64, n*n) }
	s.s, s.house, s.x = square(), square(), square()
	s.factor, s.re, s.im = make([]float64, n), make([]float64, n), make([]float64, n)
	s.turns = make([]turn, 0, 2*n*n)
}

// decompose takes the leading block of order n of a matrix with rows of the
// given stride, and reports whether the iteration settled.
//
// The block is scaled to entries below one and cleared of what is then below
// tiny, so that squares neither overflow nor vanish.
func (s *schur) decompose(a []float64, stride, n int) bool {
	const tiny = 1e-100
	s.n, s.turns = n, s.turns[:0]
	largest := 0.0
	for i := range n {
		largest = max(largest, maxAbs(a[i*stride:i*stride+n]))
	}
	exp := exponent(largest)
	scale := math.Ldexp(1, -exp)
	for i := range n {
		row := s.s[i*n : i*n+n]
		for j, v := range a[i*stride : i*stride+n] {
			if v = ldexp(v, scale, -exp); math.Abs(v) < tiny {
				v = 0
			}
			row[j] = v
		}
	}
	s.reduce()
	if !s.iterate() || !s.vectors() {
		return false
	}
	scale = math.Ldexp(1, exp)
	for i := range n {
		s.re[i], s.im[i] = ldexp(s.re[i], scale, exp), ldexp(s.im[i], scale, exp)
	}
	return true
}

// radius is the largest magnitude of an eigenvalue, which is number k.
func (s *schur) radius() (k int, radius float64) {
	for i, re := range s.re[:s.n] {
		if s.im[i] != 0 {
			re = math.Hypot(re, s.im[i])
		}
		if re = math.Abs(re); re > radius {
			k, radius = i, re
		}
	}
	return k, radius
}

// ldexp is v times 2^exp, which is power unless that has overflowed or
// vanished.
func ldexp(v, power float64, exp int) float64 {
	if exp > -1000 && exp < 1000 {
		return v * power
	}
	return math.Ldexp(v, exp)
}

// reduce brings s into Hessenberg form.
func (s *schur) reduce() {
	n, a := s.n, s.s
	for k := 0; k+2 < n; k++ {
		s.factor[k] = 0
		v := s.house[k*n+k+1 : k*n+n]
		rest := 0.0
		for i := range v {
			v[i] = a[(k+1+i)*n+k]
			if i > 0 {
				rest += v[i] * v[i]
			}
		}
		if rest == 0 {
			continue
		}
		length := -math.Copysign(math.Sqrt(v[0]*v[0]+rest), v[0])
		s.factor[k] = (length - v[0]) / length
		inverse := 1 / (v[0] - length)
		a[(k+1)*n+k] = length
		for i := 1; i < len(v); i++ {
			v[i] *= inverse
			a[(k+1+i)*n+k] = 0
		}
		v[0] = 1
		s.reflect(k, v, s.factor[k])
	}
}

// reflect applies the k-th reflection of the reduction to both sides.
func (s *schur) reflect(k int, v []float64, factor float64) {
	n, a := s.n, s.s
	sum := s.x[:len(v)] // not needed yet
	clear(sum)
	for i, f := range v {
		row := a[(k+1+i)*n+k+1 : (k+1+i)*n+n]
		for j, b := range row[:len(sum)] {
			sum[j] += f * b
		}
	}
	for i := range n {
		row := a[i*n+k+1 : i*n+n]
		row = row[:len(v)]
		inner := 0.0
		if i <= k {
			inner = dot64(row, v)
		} else {
			f := factor * v[i-k-1]
			for j, b := range sum[:len(v)] {
				c := row[j] - f*b
				row[j] = c
				inner += c * v[j]
			}
		}
		inner *= factor
		for j, b := range v {
			row[j] -= inner * b
		}
	}
}

// iterate brings the Hessenberg form into Schur form.
func (s *schur) iterate() bool {
	steps := 0
	for hi := s.n - 1; hi >= 0; {
		lo := s.split(hi)
		switch lo {
		case hi:
			s.re[hi], s.im[hi] = s.s[hi*s.n+hi], 0
			hi, steps = hi-1, 0
		case hi - 1:
			s.pair(lo)
			hi, steps = hi-2, 0
		default:
			if steps++; steps > stepLimit {
				return false
			}
			s.step(lo, hi, steps%10 == 0)
		}
	}
	return true
}

// split is the first row of the unreduced block that ends at hi; what couples it
// to the rows above is made zero.
func (s *schur) split(hi int) int {
	n, a := s.n, s.s
	for l := hi; l > 0; l-- {
		beside := math.Abs(a[(l-1)*n+l-1]) + math.Abs(a[l*n+l])
		if beside == 0 {
			beside = 1 // entries are below one
		}
		if math.Abs(a[l*n+l-1]) <= roundoff*beside {
			a[l*n+l-1] = 0
			return l
		}
	}
	return 0
}

// step is one QR step with two shifts on the unreduced rows lo to hi: the
// eigenvalues of the trailing 2 x 2 block, or, when that seems to go round in
// circles, exceptional ones.
func (s *schur) step(lo, hi int, exceptional bool) {
	n, a := s.n, s.s
	x, y, w := a[hi*n+hi], a[(hi-1)*n+hi-1], a[hi*n+hi-1]*a[(hi-1)*n+hi]
	if half := (y - x) / 2; half*half+w >= 0 {
		// Of two real shifts the one nearer to the corner serves twice: it is the
		// one that converges, and the other may be its negative, between which
		// steps could go on for ever.
		z := half + math.Copysign(math.Sqrt(half*half+w), half)
		if z != 0 {
			x -= w / z
		}
		y, w = x, 0
	}
	if exceptional {
		off := math.Abs(a[hi*n+hi-1]) + math.Abs(a[(hi-1)*n+hi-2])
		x = a[hi*n+hi] + 0.75*off
		y, w = x, -0.4375*off*off
	}
	h00, h10 := a[lo*n+lo], a[(lo+1)*n+lo]
	p := ((h00-x)*(h00-y)-w)/h10 + a[lo*n+lo+1]
	q := h00 + a[(lo+1)*n+lo+1] - x - y
	r := a[(lo+2)*n+lo+1]
	for k := lo; k < hi; k++ {
		three := k+2 <= hi
		if k > lo {
			p, q, r = a[k*n+k-1], a[(k+1)*n+k-1], 0
			if three {
				r = a[(k+2)*n+k-1]
			}
		}
		t, length, ok := reflection(p, q, r)
		if !ok {
			continue
		}
		t.k, t.three = k, three
		if k > lo {
			a[k*n+k-1], a[(k+1)*n+k-1] = length, 0
			if three {
				a[(k+2)*n+k-1] = 0
			}
		}
		s.turn(t, min(k+3, hi))
	}
}

// reflection is the one that maps (p, q, r), numbers below one, to (length, 0,
// 0). It is not ok where their squares vanish.
func reflection(p, q, r float64) (t turn, length float64, ok bool) {
	square := p*p + q*q + r*r
	if !(square > 1e-280) || math.IsInf(square, 0) {
		return t, 0, false
	}
	norm := math.Sqrt(square)
	if p < 0 {
		norm = -norm
	}
	p += norm
	inverse := 1 / norm
	t.p, t.q, t.r = p*inverse, q*inverse, r*inverse
	inverse = 1 / p
	t.v, t.w = q*inverse, r*inverse
	return t, -norm, true
}

// turn applies a reflection to both sides of the matrix, whose column k to k+2
// end above row last+1, and keeps it.
func (s *schur) turn(t turn, last int) {
	s.turns = append(s.turns, t)
	n, k := s.n, t.k
	r0, r1 := s.s[k*n+k:k*n+n], s.s[(k+1)*n+k:(k+1)*n+n]
	r1 = r1[:len(r0)]
	if !t.three {
		for j, a := range r0 {
			b := r1[j]
			sum := a + t.v*b
			r0[j], r1[j] = a-sum*t.p, b-sum*t.q
		}
		for i := 0; i <= last; i++ {
			row := s.s[i*n+k : i*n+k+2 : i*n+k+2]
			sum := t.p*row[0] + t.q*row[1]
			row[0] -= sum
			row[1] -= sum * t.v
		}
		return
	}
	r2 := s.s[(k+2)*n+k : (k+2)*n+n]
	r2 = r2[:len(r0)]
	for j, a := range r0 {
		b, c := r1[j], r2[j]
		sum := a + t.v*b + t.w*c
		r0[j], r1[j], r2[j] = a-sum*t.p, b-sum*t.q, c-sum*t.r
	}
	for i := 0; i <= last; i++ {
		row := s.s[i*n+k : i*n+k+3 : i*n+k+3]
		sum := t.p*row[0] + t.q*row[1] + t.r*row[2]
		row[0] -= sum
		row[1] -= sum * t.v
		row[2] -= sum * t.w
	}
}

// pair finds the eigenvalues of the 2 x 2 block at row l, and makes it
// triangular if they are real.
func (s *schur) pair(l int) {
	n, a := s.n, s.s
	a00, a01, a10, a11 := a[l*n+l], a[l*n+l+1], a[(l+1)*n+l], a[(l+1)*n+l+1]
	half := (a00 - a11) / 2
	square := half*half + a01*a10
	if square < 0 {
		s.re[l], s.im[l] = a11+half, math.Sqrt(-square)
		s.re[l+1], s.im[l+1] = s.re[l], -s.im[l]
		return
	}
	// The eigenvalue farther from a11 has no cancellation in its distance z; its
	// eigenvector is (z, a10).
	z := half + math.Copysign(math.Sqrt(square), half)
	t, _, _ := reflection(z, a10, 0)
	t.k = l
	s.turn(t, l+1)
	a[(l+1)*n+l] = 0
	s.re[l], s.im[l] = a[l*n+l], 0
	s.re[l+1], s.im[l+1] = a[(l+1)*n+l+1], 0
}

// vectors finds the eigenvectors of S by back-substitution, and reports whether
// they are finite.
func (s *schur) vectors() bool {
	n := s.n
	clear(s.x[:n*n])
	for k := 0; k < n; k++ {
		width := 1
		if s.im[k] != 0 {
			width = 2
			s.complexVector(k)
		} else {
			s.realVector(k)
		}
		sum := 0.0
		for i := 0; i < k+width; i++ {
			for _, v := range s.x[i*n+k : i*n+k+width] {
				sum += v * v
			}
		}
		if !finite(sum) {
			return false
		}
		inverse := 1 / math.Sqrt(sum)
		for i := 0; i < k+width; i++ {
			for j := k; j < k+width; j++ {
				s.x[i*n+j] *= inverse
			}
		}
		k += width - 1
	}
	return true
}

// apart is a divisor that is not smaller than the rounding of S: where
// eigenvalues agree, the eigenvector is one of a matrix that near to S.
func apart(x float64) float64 {
	if math.Abs(x) < roundoff {
		return math.Copysign(roundoff, x)
	}
	return x
}

// realVector fills column k of x.
func (s *schur) realVector(k int) {
	n := s.n
	lambda := s.re[k]
	s.x[k*n+k] = 1
	sum := func(i, from int) float64 {
		t := 0.0
		for j := from; j <= k; j++ {
			t -= s.s[i*n+j] * s.x[j*n+k]
		}
		return t
	}
	for i := k - 1; i >= 0; i-- {
		if s.im[i] == 0 {
			s.x[i*n+k] = sum(i, i+1) / apart(s.s[i*n+i]-lambda)
			continue
		}
		i-- // rows i and i+1 hold a pair
		b0, b1 := sum(i, i+2), sum(i+1, i+2)
		a00, a01, a10, a11 := s.s[i*n+i]-lambda, s.s[i*n+i+1], s.s[(i+1)*n+i], s.s[(i+1)*n+i+1]-lambda
		det := a00*a11 - a01*a10 // at least im^2
		s.x[i*n+k], s.x[(i+1)*n+k] = (b0*a11-a01*b1)/det, (a00*b1-a10*b0)/det
	}
}

// complexVector fills columns k and k+1 of x with the real and the imaginary
// part of the eigenvector of the first of the pair.
func (s *schur) complexVector(k int) {
	n := s.n
	lambda := complex(s.re[k], s.im[k])
	// (S00 - lambda) x0 + S01 x1 = 0
	s.set(k, k, complex(s.s[k*n+k+1], 0))
	s.set(k+1, k, lambda-complex(s.s[k*n+k], 0))
	sum := func(i, from int) complex128 {
		var re, im float64
		for j := from; j <= k+1; j++ {
			re -= s.s[i*n+j] * s.x[j*n+k]
			im -= s.s[i*n+j] * s.x[j*n+k+1]
		}
		return complex(re, im)
	}
	for i := k - 1; i >= 0; i-- {
		if s.im[i] == 0 {
			s.set(i, k, sum(i, i+1)/(complex(s.s[i*n+i], 0)-lambda)) // at least im
			continue
		}
		i--
		b0, b1 := sum(i, i+2), sum(i+1, i+2)
		a00, a11 := complex(s.s[i*n+i], 0)-lambda, complex(s.s[(i+1)*n+i+1], 0)-lambda
		a01, a10 := complex(s.s[i*n+i+1], 0), complex(s.s[(i+1)*n+i], 0)
		det := a00*a11 - a01*a10
		if det == 0 { // the same pair again
			det = complex(roundoff*(math.Abs(real(a01))+math.Abs(real(a10))), 0)
		}
		s.set(i, k, (b0*a11-a01*b1)/det)
		s.set(i+1, k, (a00*b1-a10*b0)/det)
	}
}

// set is entry i of the complex column whose real part is column k of x.
func (s *schur) set(i, k int, z complex128) {
	s.x[i*s.n+k], s.x[i*s.n+k+1] = real(z), imag(z)
}

// rotate replaces y by Q'y.
func (s *schur) rotate(y []float64) {
	n := s.n
	for k := 0; k+2 < n; k++ {
		if s.factor[k] != 0 {
			v := s.house[k*n+k+1 : k*n+n]
			part := y[k+1 : n]
			f := s.factor[k] * dot64(v, part)
			for i, b := range v {
				part[i] -= f * b
			}
		}
	}
	for i := range s.turns {
		t := &s.turns[i]
		if t.three {
			p := y[t.k : t.k+3 : t.k+3]
			sum := p[0] + t.v*p[1] + t.w*p[2]
			p[0] -= sum * t.p
			p[1] -= sum * t.q
			p[2] -= sum * t.r
		} else {
			p := y[t.k : t.k+2 : t.k+2]
			sum := p[0] + t.v*p[1]
			p[0] -= sum * t.p
			p[1] -= sum * t.q
		}
	}
}

// coordinates replaces y by (Q X)^-1 y, its coordinates in the eigenvectors.
func (s *schur) coordinates(y []float64) {
	n := s.n
	s.rotate(y)
	for i := n - 1; i >= 0; i-- {
		if s.im[i] == 0 {
			y[i] = (y[i] - dot64(s.x[i*n+i+1:i*n+n], y[i+1:n])) / s.x[i*n+i]
			continue
		}
		i--
		b0 := y[i] - dot64(s.x[i*n+i+2:i*n+n], y[i+2:n])
		b1 := y[i+1] - dot64(s.x[(i+1)*n+i+2:(i+1)*n+n], y[i+2:n])
		a00, a01, a10, a11 := s.x[i*n+i], s.x[i*n+i+1], s.x[(i+1)*n+i], s.x[(i+1)*n+i+1]
		det := a00*a11 - a01*a10
		y[i], y[i+1] = (b0*a11-a01*b1)/det, (a00*b1-a10*b0)/det
	}
}

// along fills out with y'Q X, the inner products with the eigenvectors; y
// becomes Q'y.
func (s *schur) along(out, y []float64) {
	n := s.n
	s.rotate(y)
	clear(out[:n])
	for i, f := range y[:n] {
		from := i
		if s.im[i] < 0 {
			from-- // the first of the pair has an entry in both rows
		}
		for k, v := range s.x[i*n+from : i*n+n] {
			out[from+k] += f * v
		}
	}
}

// vector is eigenvector k of A, real or imaginary part where it is of a pair.
func (s *schur) vector(k int) []float64 {
	n := s.n
	y := make([]float64, n)
	for i := range n {
		y[i] = s.x[i*n+k]
	}
	for i := len(s.turns) - 1; i >= 0; i-- {
		t := &s.turns[i]
		p := y[t.k:]
		if t.three {
			sum := t.p*p[0] + t.q*p[1] + t.r*p[2]
			p[0] -= sum
			p[1] -= sum * t.v
			p[2] -= sum * t.w
		} else {
			sum := t.p*p[0] + t.q*p[1]
			p[0] -= sum
			p[1] -= sum * t.v
		}
	}
	for k := n - 3; k >= 0; k-- {
		v := s.house[k*n+k+1 : k*n+n]
		f := s.factor[k] * dot64(v, y[k+1:])
		for i, b := range v {
			y[k+1+i] -= f * b
		}
	}
	return y
}
