package problems

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"multirate/examples/data"
)

const (
	filters    = 6
	filterSide = 3
	mapSide    = networkSide - filterSide + 1
	poolSide   = mapSide / 2
	pooled     = poolSide * poolSide * filters

	// Offsets of the parts of the parameter vector.
	filterBias     = filters * filterSide * filterSide
	convolutionOut = filterBias + filters
	outOffset      = convolutionOut + pooled*networkClasses
	convolutionDim = outOffset + networkClasses
)

// Convolution is a small convolutional network on images of 14x14: six 3x3
// filters, tanh, the mean over 2x2, and a linear layer to ten classes, with the
// mean softmax cross-entropy over all of its images. Its 2,230 parameters are the
// filters, their biases, W (216x10, one row per input) and b (10). It has no
// exact Hessian-vector product; trainers take differences.
type Convolution struct {
	name   string
	images [][networkInputs]float64
	labels []byte
	start  []float64
}

var _ Problem = (*Convolution)(nil)

// NewConvolution trains on the first images of MNIST, made as for
// [MNISTNetwork]. It starts with filters N(0,1)/3, W = N(0,1)/sqrt(216) and
// biases 0. It panics unless 1 <= images <= data.MNISTImages.
func NewConvolution(seed uint64, images int) *Convolution {
	if images < 1 || images > data.MNISTImages {
		panic(fmt.Sprintf("problems: %d images, want 1 to %d", images, data.MNISTImages))
	}
	pictures, labels := data.MNIST()
	p := &Convolution{
		name:   fmt.Sprintf("convolution on %d digits, seed %d", images, seed),
		labels: labels[:images], start: make([]float64, convolutionDim),
	}
	for _, picture := range pictures[:images] {
		var image [networkInputs]float64
		for _, u := range halve(picture) {
			image[u.input] = u.value
		}
		p.images = append(p.images, image)
	}
	random := rand.New(rand.NewPCG(seed, 35))
	for i := range filterBias {
		p.start[i] = random.NormFloat64() / filterSide
	}
	for i := convolutionOut; i < outOffset; i++ {
		p.start[i] = random.NormFloat64() / math.Sqrt(pooled)
	}
	return p
}

// Name says how many digits these are, with the seed of the start.
func (p *Convolution) Name() string { return p.name }

// Dim is 2,230.
func (p *Convolution) Dim() int { return convolutionDim }

// Start returns a fresh copy of the start.
func (p *Convolution) Start() []float64 { return slices.Clone(p.start) }

// LowerBound is 0.
func (p *Convolution) LowerBound() float64 { return 0 }

// Gradient fills g by back-propagation.
func (p *Convolution) Gradient(x, g []float64) float64 {
	clear(g)
	loss, share := 0.0, 1/float64(len(p.images))
	var maps [filters][mapSide * mapSide]float64
	var pool [pooled]float64
	for i := range p.images {
		convolve(x, &p.images[i], &maps, &pool)
		outError := classVector(x[outOffset:])
		for k, h := range pool {
			addScaled(outError[:], h, x[convolutionOut+k*networkClasses:][:networkClasses])
		}
		top, total := slices.Max(outError[:]), 0.0
		loss -= outError[p.labels[i]] - top
		for c, z := range outError {
			outError[c] = math.Exp(z - top)
			total += outError[c]
		}
		loss += math.Log(total)
		scale(outError[:], 1/total)
		outError[p.labels[i]]--
		scale(outError[:], share)
		addScaled(g[outOffset:], 1, outError[:])
		for k, h := range pool {
			at := convolutionOut + k*networkClasses
			addScaled(g[at:][:networkClasses], h, outError[:])
			pool[k] = dot(x[at:][:networkClasses], outError[:])
		}
		spreadFilters(g, &p.images[i], &maps, &pool)
	}
	return loss * share
}

// convolve fills the maps of all filters and their means over 2x2.
func convolve(x []float64, image *[networkInputs]float64, maps *[filters][mapSide * mapSide]float64, pool *[pooled]float64) {
	clear(pool[:])
	for f := range filters {
		kernel := x[f*filterSide*filterSide:][:filterSide*filterSide]
		for r := range mapSide {
			for c := range mapSide {
				a := x[filterBias+f]
				for dr := range filterSide {
					line := image[(r+dr)*networkSide+c:][:filterSide]
					a += dot(line, kernel[dr*filterSide:][:filterSide])
				}
				h := math.Tanh(a)
				maps[f][r*mapSide+c] = h
				pool[pooledAt(f, r, c)] += h / 4
			}
		}
	}
}

func pooledAt(filter, r, c int) int { return (filter*poolSide+r/2)*poolSide + c/2 }

// spreadFilters adds to the filters' part of g what the error of the pooled
// units says.
func spreadFilters(g []float64, image *[networkInputs]float64, maps *[filters][mapSide * mapSide]float64, poolError *[pooled]float64) {
	for f := range filters {
		kernel := g[f*filterSide*filterSide:][:filterSide*filterSide]
		for r := range mapSide {
			for c := range mapSide {
				h := maps[f][r*mapSide+c]
				e := poolError[pooledAt(f, r, c)] / 4 * (1 - h*h)
				g[filterBias+f] += e
				for dr := range filterSide {
					addScaled(kernel[dr*filterSide:][:filterSide], e, image[(r+dr)*networkSide+c:][:filterSide])
				}
			}
		}
	}
}
