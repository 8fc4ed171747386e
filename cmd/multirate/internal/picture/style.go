package picture

import (
	"image/color"
	"math"
	"strconv"
	"strings"

	weight "golang.org/x/image/font"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Colours that readers with any colour vision tell apart (Okabe and Ito,
// 2008).
var (
	black      = color.NRGBA{0x22, 0x22, 0x22, 0xff}
	grey       = color.NRGBA{0x77, 0x77, 0x77, 0xff}
	faint      = color.NRGBA{0xe6, 0xe6, 0xe6, 0xff}
	blue       = color.NRGBA{0x00, 0x72, 0xb2, 0xff}
	sky        = color.NRGBA{0x56, 0xb4, 0xe9, 0xff}
	orange     = color.NRGBA{0xe6, 0x9f, 0x00, 0xff}
	green      = color.NRGBA{0x00, 0x9e, 0x73, 0xff}
	vermillion = color.NRGBA{0xd5, 0x5e, 0x00, 0xff}
	purple     = color.NRGBA{0xcc, 0x79, 0xa7, 0xff}
)

// alpha is c made translucent.
func alpha(c color.NRGBA, a float64) color.NRGBA {
	c.A = uint8(math.Round(255 * a))
	return c
}

// sans is the picture's only typeface.
func sans(size vg.Length, bold bool) text.Style {
	style := text.Style{
		Color: black, Handler: plot.DefaultTextHandler,
		Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
	}
	if bold {
		style.Font.Weight = weight.WeightBold
	}
	return style
}

// newPlot is an empty panel in the house's style, both axes logarithmic.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Scale, a.Tick.Marker = plot.LogScale{}, decades{}
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans(10, false).Font, sans(9, false).Font
		a.Label.TextStyle.Color, a.Tick.Label.Color = black, black
		a.Color, a.Tick.Color = grey, grey
		a.Padding, a.Label.Padding = 0, 3
	}
	p.X.Label.Text, p.Y.Label.Text = x, y
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = faint, faint
	p.Add(grid)
	return p
}

// setRange sets an axis to an interval, widened by a share of its logarithm on
// either side. An empty interval becomes a decade.
func setRange(a *plot.Axis, low, high, below, above float64) {
	if !(low > 0) || math.IsInf(low, 0) || !(high >= low) {
		low, high = 1, 10
	}
	if high < low*1.001 {
		low, high = low/3, high*3
	}
	span := math.Log(high / low)
	a.Min, a.Max = low*math.Exp(-below*span), high*math.Exp(above*span)
}

// decades marks powers of ten, with labels where there is room for them, and
// what lies between where there are few.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) (ticks []plot.Tick) {
	first, last := int(math.Floor(math.Log10(low))), int(math.Ceil(math.Log10(high)))
	every := 1 + (last-first)/8
	for k := first; k <= last; k++ {
		value := math.Pow10(k)
		tick := plot.Tick{Value: value}
		if k%every == 0 {
			tick.Label = number(value)
		}
		ticks = append(ticks, tick)
		for m := 2.0; m < 10 && last-first <= 6; m++ {
			ticks = append(ticks, plot.Tick{Value: m * value})
			if high < 5*low || high < 30*low && (m == 2 || m == 5) {
				ticks[len(ticks)-1].Label = number(m * value)
			}
		}
	}
	return ticks
}

// number writes a number of one digit, plainly where that is short.
func number(v float64) string {
	if v > 9999 && v != 1e4 || v < 0.0099 {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', 0, 64), "e")
		k, _ := strconv.Atoi(exponent)
		return mantissa + "e" + strconv.Itoa(k)
	}
	if v > 999 {
		return thousands(int(v))
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// thousands writes a count with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func dot(c color.Color, radius vg.Length) draw.GlyphStyle {
	return draw.GlyphStyle{Color: c, Radius: radius, Shape: draw.CircleGlyph{}}
}
