package picture

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/plotter"
)

// Reasons are the kinds of steps, in the order in which a training meets them.
var Reasons = []string{"warmup", "planned", "damping", "recovery", "fallback"}

var reasonColors = map[string]color.NRGBA{
	"warmup": grey, "planned": blue, "damping": orange, "recovery": purple, "fallback": black,
}

// maxDots bounds the size of the files. More dots would only cover each other.
const maxDots = 4000

// ratePanel shows each step's rate, coloured by reason.
func ratePanel(c Column) panel {
	p := panel{title: "Learning rate of each step, " + c.Run, Plot: newPlot("gradients", "learning rate")}
	low, high := math.Inf(1), 0.0
	steps := map[string]plotter.XYs{}
	stride := 1 + len(c.Steps)/maxDots
	for i, s := range c.Steps {
		if s.Rate > 0 && i%stride == 0 {
			low, high = min(low, s.Rate), max(high, s.Rate)
			steps[s.Reason] = append(steps[s.Reason], plotter.XY{X: float64(s.Gradients), Y: s.Rate})
		}
	}
	setRange(&p.X, 1, float64(c.lastGradients()), 0.05, 0.05)
	setRange(&p.Y, low, high, 0.05, 0.05)
	for _, reason := range Reasons {
		if len(steps[reason]) == 0 {
			continue
		}
		style := dot(alpha(reasonColors[reason], 0.7), 1.3)
		p.Add(&plotter.Scatter{XYs: steps[reason], GlyphStyle: style})
		p.legend = append(p.legend, dotEntry(reason, dot(reasonColors[reason], 3)))
	}
	return p
}
