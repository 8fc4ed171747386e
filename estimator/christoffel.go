package estimator

import "math"

// christoffel evaluates the Christoffel function of a Gauss quadrature rule with
// k nodes t_i and weights w_i,
//
//	lambda(x) = 1 / sum_{j=0..k} q_j(x)^2,
//
// q_j being the orthonormal polynomials of the measure behind the rule. For a
// Lanczos run that measure puts the squared component of the start vector along
// each eigenvector on its eigenvalue, the nodes are the Ritz values, and
// lambda(x) is the largest weight that an eigenvalue at x can have, whatever the
// rest of the spectrum (Chebyshev, Markov, Stieltjes; Szego, Orthogonal
// Polynomials, section 3.41; Golub and Meurant, Matrices, Moments and
// Quadrature, 2010, chapter 2). It equals the weight at a node, varies slowly
// through a stretch of the axis that eigenvalues fill, and falls like a
// polynomial of degree 2k where there are none.
//
// It needs no more than the rule: the sum over j < k is
// sum_i l_i(x)^2/w_i with the Lagrange polynomials l_i, and
// q_k(x) = prod_i (x-t_i) / (beta_1 ... beta_k). All is positive and kept as
// logarithms, so nothing cancels or overflows.
type christoffel struct {
	nodes []float64
	// logScale[i] is the log of sqrt(w_i) * prod_{j != i} |t_i - t_j|.
	logScale []float64
	// logNorm is log(beta_1 ... beta_k); +Inf leaves q_k out, and -Inf says
	// that the measure has no mass beside the nodes.
	logNorm float64
	// logWeight[i] is log w_i.
	logWeight []float64
}

// newChristoffel makes the function from Ritz values sorted downwards. Values
// no more than their rounding error apart count as one. Those of weight zero
// belong to other start vectors and are left out. With quadrature the residual
// bounds are taken to be those of one Lanczos run, and give q_k; if all are
// rounding the run is complete, and there is no mass beside the nodes.
func newChristoffel(ritz []RitzValue, rounding float64, quadrature bool) christoffel {
	var points []RitzValue
	for _, r := range ritz {
		n := len(points)
		switch {
		case !(r.Weight > 0):
		case n > 0 && points[n-1].Value-r.Value <= rounding:
			points[n-1].Weight += r.Weight
			points[n-1].Bound = max(points[n-1].Bound, r.Bound)
		default:
			points = append(points, r)
		}
	}
	c := christoffel{logNorm: math.Inf(1)}
	widest := -1.0
	for i, r := range points {
		logWeight := math.Log(r.Weight)
		logScale := logWeight / 2
		for j, other := range points {
			if j != i {
				logScale += math.Log(math.Abs(r.Value - other.Value))
			}
		}
		c.nodes = append(c.nodes, r.Value)
		c.logWeight = append(c.logWeight, logWeight)
		c.logScale = append(c.logScale, logScale)
		// beta_1 ... beta_k = (residual norm of t_i) * sqrt(w_i) * prod |t_i - t_j|
		// for every i (Parlett, section 7.9); the largest residual is known
		// to the most digits.
		if quadrature && r.Bound > widest {
			widest = r.Bound
			c.logNorm = math.Log(r.Bound) + logScale
		}
	}
	if quadrature && widest <= rounding {
		c.logNorm = math.Inf(-1)
	}
	return c
}

// logMass is log lambda(x): at most the log of the weight at a node, +Inf where
// there are no nodes, -Inf where an eigenvalue is impossible.
func (c christoffel) logMass(x float64) float64 {
	logP := 0.0
	for i, t := range c.nodes {
		if t == x {
			return c.logWeight[i]
		}
		logP += math.Log(math.Abs(x - t))
	}
	// sum accumulates exp(2*(term-top)) with the largest term so far as top.
	top, sum := logP-c.logNorm, 1.0
	for i, t := range c.nodes {
		term := logP - math.Log(math.Abs(x-t)) - c.logScale[i]
		if term > top {
			sum = 1 + sum*math.Exp(2*(top-term))
			top = term
		} else if !math.IsInf(top, 0) {
			sum += math.Exp(2 * (term - top))
		}
	}
	return -2*top - math.Log(sum)
}
