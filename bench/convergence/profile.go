package main

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// profileReach is the largest ratio shown.
const profileReach = 100

// drawProfile draws the performance profile of Dolan and Moré (Math. Program.
// 91, 2002): for each method the share of all problems that it solves within a
// factor of what the best one takes. Limits are left out, and so are methods
// that were not run on all problems.
func drawProfile(path string, all []result) error {
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
	p.Legend.Top, p.Legend.XOffs = false, -5
	p.BackgroundColor = color.White
	p.Add(plotter.NewGrid())
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
		p.Legend.Add(rows[0].Method, line)
		drawn++
	}
	return p.Save(11*vg.Inch, 7*vg.Inch, path)
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
