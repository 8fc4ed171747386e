package picture

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// spectrumPanel shows what the service knew of the curvature over a training.
func spectrumPanel(c Column) panel {
	p := panel{title: "Curvature that the service saw, " + c.Run, Plot: newPlot("gradients", "curvature")}
	low, high := c.curvatures()
	setRange(&p.X, 1, float64(c.lastGradients()), 0.05, 0.05)
	setRange(&p.Y, low, high, 0.05, 0.05)
	p.Add(scaleBands{c}, ritzDots{c}, rug{values: c.First, left: true}, rug{values: c.Last})
	p.legend = []legendEntry{
		dotEntry("Ritz value, by weight", dot(blue, 3)),
		patchEntry("scale", alpha(sky, 0.35)),
	}
	if c.First != nil {
		p.legend = append(p.legend, lineEntry("exact eigenvalues, at start and end", rugStyle))
	}
	return p
}

// lastGradients is where the training that the upper panels show ended.
func (c Column) lastGradients() int {
	if len(c.Steps) == 0 {
		return 1
	}
	return c.Steps[len(c.Steps)-1].Gradients
}

// curvatures is the range of all positive curvatures known.
func (c Column) curvatures() (low, high float64) {
	low, high = math.Inf(1), 0
	take := func(v float64) {
		if v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	for _, s := range c.Spectra {
		for _, r := range s.Ritz {
			take(r.Value)
		}
	}
	for _, values := range [][]float64{c.First, c.Last} {
		for _, v := range values {
			take(v)
		}
	}
	return low, high
}

// ritzDots draws Ritz values, with areas that grow with the logarithm of their
// weights: four decades can be told apart.
type ritzDots struct{ Column }

// Plot implements plot.Plotter.
func (r ritzDots) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, s := range r.Spectra {
		for _, v := range s.Ritz {
			if v.Value <= 0 {
				continue
			}
			share := 1 + math.Log10(max(v.Weight, 1e-5))/5 // 0 to 1
			c.DrawGlyph(dot(alpha(blue, 0.25+0.6*share), vg.Length(0.9+2.6*math.Sqrt(share))),
				vg.Point{X: x(float64(s.Gradients)), Y: y(v.Value)})
		}
	}
}

// scaleBands shades the scales from each spectrum to the next.
type scaleBands struct{ Column }

// Plot implements plot.Plotter.
func (b scaleBands) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, s := range b.Spectra {
		end := b.lastGradients()
		if i+1 < len(b.Spectra) {
			end = b.Spectra[i+1].Gradients
		}
		left, right := x(float64(s.Gradients)), x(float64(end))
		for _, g := range s.Scales {
			// A scale of a single Ritz value would be invisible.
			low, high := y(g.Low)-1.5, y(g.High)+1.5
			c.FillPolygon(alpha(sky, 0.35), c.ClipPolygonXY([]vg.Point{
				{X: left, Y: low}, {X: right, Y: low}, {X: right, Y: high}, {X: left, Y: high},
			}))
		}
	}
}

var rugStyle = draw.LineStyle{Color: black, Width: 0.9}

// rug marks values on the left or the right edge.
type rug struct {
	values []float64
	left   bool
}

// Plot implements plot.Plotter.
func (r rug) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	from, to := c.Max.X-7, c.Max.X
	if r.left {
		from, to = c.Min.X, c.Min.X+7
	}
	for _, v := range r.values {
		if v >= p.Y.Min && v <= p.Y.Max {
			c.StrokeLine2(rugStyle, from, y(v), to, y(v))
		}
	}
}
