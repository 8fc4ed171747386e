package main

import (
	"errors"
	"image/color"
	"math"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// profileReach is the largest ratio shown.
const profileReach = 100

// drawProfile draws the performance profile of Dolan and Moré (Math. Program.
// 91, 2002): for each method the share of all problems that it solves within a
// factor of what the best one takes. Limits are left out, and so are methods
// that were not run on all problems.
func drawProfile(path string, all []result) (err error) {
	best := map[string]float64{}
	for _, r := range all {
		if known, ok := best[r.key()]; !r.contender.Limit && (!ok || r.cost() < known) {
			best[r.key()] = r.cost()
		}
	}
	p := plot.New()
	p.Title.Text = "share of problems solved within a factor of the fewest gradients"
	p.X.Label.Text, p.Y.Label.Text = "factor", "share"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 1, profileReach, 0, 1
	p.BackgroundColor = color.White
	p.Add(plotter.NewGrid())
	legend := plot.NewLegend()
	legend.Top, legend.Left, legend.Padding = true, true, 3
	drawn := 0
	for _, rows := range groups(all, func(r result) string { return r.Method }) {
		if rows[0].contender.Limit || len(rows) < len(best) {
			continue
		}
		line := &plotter.Line{XYs: profile(rows, best), StepStyle: plotter.PostStep, LineStyle: plotter.DefaultLineStyle}
		line.Color, line.Width = plotutil.Color(drawn), vg.Points(1)
		if rows[0].contender.Ours {
			line.Width = vg.Points(2.2)
		} else {
			line.Dashes = plotutil.Dashes(1 + drawn%4)
		}
		p.Add(line)
		legend.Add(rows[0].Method, line)
		drawn++
	}
	// The legend stands beside the plot, where it hides nothing.
	const width, beside = 12 * vg.Inch, 3.2 * vg.Inch
	image := vgimg.PngCanvas{Canvas: vgimg.New(width, 7*vg.Inch)}
	canvas := draw.New(image)
	p.Draw(draw.Crop(canvas, 0, -beside, 0, 0))
	legend.Draw(draw.Crop(canvas, width-beside+5, 0, 0, -20))
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = image.WriteTo(file)
	return err
}

// profile is a step function from 1 to profileReach.
func profile(rows []result, best map[string]float64) plotter.XYs {
	var ratios []float64
	for _, r := range rows {
		if v := r.cost() / best[r.key()]; v <= profileReach {
			ratios = append(ratios, v)
		}
	}
	slices.Sort(ratios)
	points := plotter.XYs{{X: 1, Y: 0}}
	for i, v := range ratios {
		points = append(points, plotter.XY{X: math.Max(1, v), Y: float64(i+1) / float64(len(rows))})
	}
	return append(points, plotter.XY{X: profileReach, Y: float64(len(ratios)) / float64(len(rows))})
}
