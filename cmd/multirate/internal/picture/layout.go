package picture

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// panel is a plot with the title and the legend that stand above it, where they
// hide none of its data.
type panel struct {
	*plot.Plot
	title  string
	legend []legendEntry
}

const (
	headingHeight = 20
	titleHeight   = 15
	legendHeight  = 13
	legendGap     = 6
	// axisHeight is that of the horizontal axis, its numbers and its label.
	axisHeight = 30
)

// Draw draws the columns side by side on a canvas.
func Draw(canvas draw.Canvas, columns []Column) {
	tiles := draw.Tiles{
		Rows: 3, Cols: max(1, len(columns)), PadX: margin, PadY: margin,
		PadTop: margin + headingHeight, PadBottom: margin, PadLeft: margin, PadRight: margin,
	}
	// Pages with a dark background show what is not painted.
	canvas.FillPolygon(color.White, []vg.Point{
		canvas.Min, {X: canvas.Max.X, Y: canvas.Min.Y}, canvas.Max, {X: canvas.Min.X, Y: canvas.Max.Y},
	})
	for i, c := range columns {
		panels := []panel{spectrumPanel(c), ratePanel(c), lossPanel(c)}
		if i > 0 {
			panels[0].Y.Label.Text, panels[1].Y.Label.Text = "", ""
			if c.Measure == columns[0].Measure {
				panels[2].Y.Label.Text = ""
			}
		}
		var at []draw.Canvas
		for row := range panels {
			at = append(at, tiles.At(canvas, i, row))
		}
		left := drawColumn(at, panels)
		canvas.FillText(sans(13, true), vg.Point{X: left, Y: at[0].Max.Y + 7}, c.Title)
	}
}

// drawColumn draws panels one below the other, their vertical axes in one line,
// and returns where that is.
func drawColumn(at []draw.Canvas, panels []panel) (left vg.Length) {
	right := at[0].Max.X
	for i, p := range panels {
		data := p.DataCanvas(at[i])
		left, right = max(left, data.Min.X), min(right, data.Max.X)
	}
	for i, p := range panels {
		rows := wrap(p.legend, right-left)
		above := legendHeight * vg.Length(len(rows))
		data := vg.Rectangle{
			Min: vg.Point{X: left, Y: at[i].Min.Y + axisHeight},
			Max: vg.Point{X: right, Y: at[i].Max.Y - titleHeight - above - legendGap},
		}
		p.Draw(fit(p.Plot, at[i], data))
		top := vg.Point{X: left, Y: data.Max.Y + legendGap}
		drawLegend(at[i], top, rows)
		at[i].FillText(sans(10.5, true), top.Add(vg.Point{Y: above + 3}), p.title)
	}
	return left
}

// fit crops a canvas so that the plot's data fill a rectangle. How much room
// labels take depends a little on the canvas, hence the repetition.
func fit(p *plot.Plot, c draw.Canvas, want vg.Rectangle) draw.Canvas {
	for range 3 {
		data := p.DataCanvas(c)
		c = draw.Crop(c, want.Min.X-data.Min.X, want.Max.X-data.Max.X, want.Min.Y-data.Min.Y, want.Max.Y-data.Max.Y)
	}
	return c
}
