package problems

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"multirate/examples/data"
)

const (
	networkSide    = data.MNISTSide / 2
	networkInputs  = networkSide * networkSide
	networkHidden  = 24
	networkClasses = 10

	// Offsets of the parts of the parameter vector.
	hiddenBias = networkInputs * networkHidden
	outWeights = hiddenBias + networkHidden
	outBias    = outWeights + networkHidden*networkClasses
	networkDim = outBias + networkClasses
)

type (
	hiddenVector = [networkHidden]float64
	classVector  = [networkClasses]float64
)

// Network is a perceptron 196-24-10 with tanh units and the mean softmax
// cross-entropy over all of its images. Its 4,978 parameters are W1 (196x24),
// b1 (24), W2 (24x10) and b2 (10), matrices row by row with one row per input.
type Network struct {
	name   string
	images [][]pixel
	labels []byte
	start  []float64
}

// pixel is an input that is not zero: one in four, so that skipping the rest
// pays.
type pixel struct {
	input int
	value float64
}

var (
	_ Problem       = (*Network)(nil)
	_ HessianVector = (*Network)(nil)
)

// MNISTNetwork trains on the first images of MNIST, averaged 2x2 to 14x14 and
// divided by 255. It starts with W1 = 2 N(0,1)/14, W2 = N(0,1)/sqrt(24) and
// biases 0. It panics unless 1 <= images <= data.MNISTImages.
func MNISTNetwork(seed uint64, images int) *Network {
	if images < 1 || images > data.MNISTImages {
		panic(fmt.Sprintf("problems: %d images, want 1 to %d", images, data.MNISTImages))
	}
	pictures, labels := data.MNIST()
	p := &Network{
		name:   fmt.Sprintf("network on %d digits, seed %d", images, seed),
		labels: labels[:images],
		start:  make([]float64, networkDim),
	}
	for _, picture := range pictures[:images] {
		p.images = append(p.images, halve(picture))
	}
	random := rand.New(rand.NewPCG(seed, 196))
	for i := range hiddenBias {
		p.start[i] = 2 * random.NormFloat64() / networkSide
	}
	for i := outWeights; i < outBias; i++ {
		p.start[i] = random.NormFloat64() / math.Sqrt(networkHidden)
	}
	return p
}

// halve averages 2x2 pixels to one input in [0, 1].
func halve(picture []byte) []pixel {
	var pixels []pixel
	for i := range networkInputs {
		corner := picture[2*(i/networkSide)*data.MNISTSide+2*(i%networkSide):]
		sum := int(corner[0]) + int(corner[1]) + int(corner[data.MNISTSide]) + int(corner[data.MNISTSide+1])
		if sum > 0 {
			pixels = append(pixels, pixel{input: i, value: float64(sum) / (4 * 255)})
		}
	}
	return pixels
}

// Name says how many digits these are, with the seed of the start.
func (p *Network) Name() string { return p.name }

// Dim is 4,978.
func (p *Network) Dim() int { return networkDim }

// Start returns a fresh copy of the start.
func (p *Network) Start() []float64 { return slices.Clone(p.start) }

// LowerBound is 0.
func (p *Network) LowerBound() float64 { return 0 }

// Data returns the images, row by row with 196 inputs each, and their labels, for
// trainers in other languages.
func (p *Network) Data() (images, labels []float64) {
	images = make([]float64, len(p.images)*networkInputs)
	for i, image := range p.images {
		for _, pixel := range image {
			images[i*networkInputs+pixel.input] = pixel.value
		}
		labels = append(labels, float64(p.labels[i]))
	}
	return images, labels
}

// Gradient fills g by back-propagation.
func (p *Network) Gradient(x, g []float64) float64 {
	clear(g)
	loss, share := 0.0, 1/float64(len(p.images))
	for i, image := range p.images {
		hidden := activate(x, image)
		probability, surprise := classify(x, &hidden, p.labels[i])
		loss += surprise
		outError := probability
		outError[p.labels[i]]--
		scale(outError[:], share)
		hiddenError := backward(x, &outError)
		for k, h := range hidden {
			addScaled(g[outWeights+k*networkClasses:][:networkClasses], h, outError[:])
			hiddenError[k] *= 1 - h*h
		}
		addScaled(g[outBias:], 1, outError[:])
		spread(g, image, &hiddenError)
	}
	return loss * share
}

// HessianVector fills hv = H(x) v by forward differentiation of the gradient
// along v, exact (Pearlmutter, "Fast exact multiplication by the Hessian",
// Neural Computation 6, 1994). A name that starts with d is the derivative of
// what it names.
func (p *Network) HessianVector(x, v, hv []float64) {
	clear(hv)
	share := 1 / float64(len(p.images))
	for i, image := range p.images {
		hidden := activate(x, image)
		dHidden := weigh(v, image)
		for k, h := range hidden {
			dHidden[k] *= 1 - h*h
		}
		outError, _ := classify(x, &hidden, p.labels[i])
		dOutError := logits(v, &hidden)
		for k, dh := range dHidden {
			addScaled(dOutError[:], dh, x[outWeights+k*networkClasses:][:networkClasses])
		}
		mean := dot(outError[:], dOutError[:])
		for c, q := range outError {
			dOutError[c] = q * (dOutError[c] - mean) * share
		}
		outError[p.labels[i]]--
		scale(outError[:], share)

		back, along, dBack := backward(x, &outError), backward(v, &outError), backward(x, &dOutError)
		for k, h := range hidden {
			row := hv[outWeights+k*networkClasses:][:networkClasses]
			addScaled(row, h, dOutError[:])
			addScaled(row, dHidden[k], outError[:])
			dBack[k] = (1-h*h)*(dBack[k]+along[k]) - 2*h*dHidden[k]*back[k]
		}
		addScaled(hv[outBias:], 1, dOutError[:])
		spread(hv, image, &dBack)
	}
}

// activate is tanh(W1'u + b1) of an image u.
func activate(x []float64, image []pixel) hiddenVector {
	hidden := weigh(x, image)
	for k, a := range hidden {
		hidden[k] = math.Tanh(a)
	}
	return hidden
}

// weigh is W1'u + b1.
func weigh(x []float64, image []pixel) hiddenVector {
	sum := hiddenVector(x[hiddenBias:])
	for _, u := range image {
		row := (*hiddenVector)(x[u.input*networkHidden:])
		for k := range sum {
			sum[k] += u.value * row[k]
		}
	}
	return sum
}

// spread adds the outer product of the image and the error of the hidden units
// to the part of g that belongs to W1, and the error to that of b1.
func spread(g []float64, image []pixel, hiddenError *hiddenVector) {
	addScaled(g[hiddenBias:outWeights], 1, hiddenError[:])
	for _, u := range image {
		row := (*hiddenVector)(g[u.input*networkHidden:])
		for k, e := range hiddenError {
			row[k] += u.value * e
		}
	}
}

// logits is W2'h + b2.
func logits(x []float64, hidden *hiddenVector) classVector {
	z := classVector(x[outBias:])
	for k, h := range hidden {
		addScaled(z[:], h, x[outWeights+k*networkClasses:][:networkClasses])
	}
	return z
}

// classify is the softmax of the logits, with the label's -log probability.
func classify(x []float64, hidden *hiddenVector, label byte) (probability classVector, surprise float64) {
	z := logits(x, hidden)
	top := slices.Max(z[:])
	total := 0.0
	for c := range z {
		probability[c] = math.Exp(z[c] - top)
		total += probability[c]
	}
	scale(probability[:], 1/total)
	return probability, math.Log(total) + top - z[label]
}

// backward is W2 e, the error of the outputs seen from the hidden units.
func backward(x []float64, outError *classVector) hiddenVector {
	var e hiddenVector
	for k := range e {
		e[k] = dot(outError[:], x[outWeights+k*networkClasses:][:networkClasses])
	}
	return e
}

func scale(a []float64, c float64) {
	for i := range a {
		a[i] *= c
	}
}
