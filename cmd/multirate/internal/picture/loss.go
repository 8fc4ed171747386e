package picture

import (
	"cmp"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

var (
	ourColors   = []color.NRGBA{blue, vermillion, purple}
	theirColors = []color.NRGBA{black, green, orange, purple, sky, grey}
)

// lossPanel shows the loss over gradient-equivalents for all trainings.
func lossPanel(c Column) panel {
	p := panel{title: "Loss (a Hessian-vector product counts as 2 gradients)", Plot: newPlot("gradients", c.Measure)}
	high, last := 0.0, 1
	for _, curve := range c.Curves {
		for _, q := range curve.Points {
			high, last = max(high, q.Value), max(last, q.Gradients)
		}
	}
	setRange(&p.X, 1, float64(last), 0.02, 0.06)
	setRange(&p.Y, c.Target, min(high, 100), 0.3, 0.04)
	p.Add(targetLine(c.Target))
	styles := curveStyles(c.Curves)
	var reached []arrival
	// The most important ones on top.
	for i, curve := range slices.Backward(c.Curves) {
		p.Add(&plotter.Line{XYs: shown(curve.Points, c.Target), LineStyle: styles[i]})
		if curve.Reached && len(curve.Points) > 0 {
			end := curve.Points[len(curve.Points)-1]
			reached = append(reached, arrival{Point{end.Gradients, c.Target}, styles[i].Color})
		}
	}
	p.Add(arrivals(reached))
	for i, curve := range c.Curves {
		p.legend = append(p.legend, lineEntry(curve.Name, styles[i]))
	}
	return p
}

// curveStyles are solid lines for ours and dashes for the others.
func curveStyles(curves []Curve) []draw.LineStyle {
	styles := make([]draw.LineStyle, len(curves))
	ours, theirs := 0, 0
	for i, c := range curves {
		if c.Ours {
			styles[i] = draw.LineStyle{Color: ourColors[ours%len(ourColors)], Width: 1.6}
			ours++
		} else {
			styles[i] = draw.LineStyle{Color: theirColors[theirs%len(theirColors)], Width: 1.3, Dashes: []vg.Length{4, 2}}
			theirs++
		}
	}
	return styles
}

// shown are the points that a logarithmic axis can show. What lies below the
// target, and excess losses that rounding makes negative do, is as good as the
// target.
func shown(points []Point, target float64) (xys plotter.XYs) {
	for _, q := range points {
		if !math.IsNaN(q.Value) && !math.IsInf(q.Value, 0) {
			xys = append(xys, plotter.XY{X: float64(q.Gradients), Y: max(q.Value, target)})
		}
	}
	return xys
}

// targetLine marks the value to be reached.
type targetLine float64

// Plot implements plot.Plotter.
func (t targetLine) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	at := y(float64(t))
	c.StrokeLine2(draw.LineStyle{Color: grey, Width: 0.8}, c.Min.X, at, c.Max.X, at)
	style := sans(9, false)
	style.Color = grey
	c.FillText(style, vg.Point{X: c.Min.X + 4, Y: at - 10}, "target "+number(float64(t)))
}

// arrival is where a training met the target.
type arrival struct {
	Point
	color color.Color
}

// arrivals marks them, with the gradients that each took. Neighbours write on
// different lines.
type arrivals []arrival

// Plot implements plot.Plotter.
func (as arrivals) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := sans(9, true)
	style.XAlign = text.XCenter
	line, end := 0, vg.Length(math.Inf(-1))
	byGradients := func(a, b arrival) int { return cmp.Compare(a.Gradients, b.Gradients) }
	for _, a := range slices.SortedFunc(slices.Values(as), byGradients) {
		count := thousands(a.Gradients)
		at, half := vg.Point{X: x(float64(a.Gradients)), Y: y(a.Value)}, style.Width(count)/2
		if line = 1 - line; at.X-half > end {
			line = 0
		}
		end = at.X + half + 3
		c.DrawGlyph(dot(a.color, 3), at)
		style.Color = a.color
		c.FillText(style, vg.Point{X: at.X, Y: at.Y - 14 - 10*vg.Length(line)}, count)
	}
}
