package picture

import (
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// legendEntry is a sample and what it stands for.
type legendEntry struct {
	text  string
	color color.Color
	// Exactly one kind of sample: a line, a dot, or a patch.
	line  *draw.LineStyle
	glyph *draw.GlyphStyle
}

func lineEntry(text string, s draw.LineStyle) legendEntry { return legendEntry{text: text, line: &s} }
func dotEntry(text string, s draw.GlyphStyle) legendEntry { return legendEntry{text: text, glyph: &s} }
func patchEntry(text string, c color.Color) legendEntry   { return legendEntry{text: text, color: c} }

// drawLegend writes rows of entries upwards from a point at the left.
func drawLegend(c draw.Canvas, bottom vg.Point, rows [][]legendEntry) {
	for i, row := range rows {
		x, y := bottom.X, bottom.Y+legendHeight*vg.Length(len(rows)-1-i)
		for _, e := range row {
			drawSample(c, e, x, y+3)
			c.FillText(legendStyle, vg.Point{X: x + sampleWidth + 4, Y: y}, e.text)
			x += e.width()
		}
	}
}

var legendStyle = sans(9, false)

const (
	sampleWidth = 15
	entryPad    = 14
)

// width is that of the sample, the text and the space behind it.
func (e legendEntry) width() vg.Length {
	return sampleWidth + 4 + legendStyle.Width(e.text) + entryPad
}

// wrap breaks entries into rows that fit a width.
func wrap(entries []legendEntry, width vg.Length) (rows [][]legendEntry) {
	var used vg.Length
	for _, e := range entries {
		if len(rows) == 0 || used+e.width() > width+entryPad {
			rows, used = append(rows, nil), 0
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], e)
		used += e.width()
	}
	return rows
}

func drawSample(c draw.Canvas, e legendEntry, x, y vg.Length) {
	switch {
	case e.line != nil:
		c.StrokeLine2(*e.line, x, y, x+sampleWidth, y)
	case e.glyph != nil:
		c.DrawGlyphNoClip(*e.glyph, vg.Point{X: x + sampleWidth/2, Y: y})
	default:
		c.FillPolygon(e.color, []vg.Point{{X: x, Y: y - 4}, {X: x + sampleWidth, Y: y - 4}, {X: x + sampleWidth, Y: y + 4}, {X: x, Y: y + 4}})
	}
}
