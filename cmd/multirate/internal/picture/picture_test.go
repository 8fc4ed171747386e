package picture

import (
	"bytes"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
)

// sample is a column with a bit of everything, awkward values included.
func sample() Column {
	c := Column{
		Title: "a problem", Run: "sketches alone", Measure: "excess loss", Target: 1e-4,
		First: []float64{1e6, 1, -3, 0}, Last: []float64{1e5, 2},
	}
	for i := range 50 {
		c.Steps = append(c.Steps, Step{Gradients: i + 1, Rate: math.Pow(10, float64(i%7)), Reason: Reasons[i%len(Reasons)]})
	}
	c.Steps[3].Rate = 0
	c.Spectra = []Spectrum{{Gradients: 4, Ritz: []Ritz{{1e5, 0.5}, {-2, 0.1}, {3, 0}}, Scales: []Interval{{1e5, 1e5}, {1, 3}}}}
	c.Curves = []Curve{
		{Name: "ours", Ours: true, Reached: true, Points: []Point{{1, 1}, {20, 0.1}, {49, -1e-17}}},
		{Name: "near", Ours: true, Reached: true, Points: []Point{{1, 1}, {50, 1e-5}}},
		{Name: "theirs", Points: []Point{{1, 1}, {2, math.Inf(1)}, {20000, 0.5}}},
	}
	return c
}

func TestWriteMakesBothFiles(t *testing.T) {
	for name, columns := range map[string][]Column{
		"one":     {sample()},
		"two":     {sample(), sample()},
		"nothing": {{Title: "no step was taken", Measure: "loss", Target: 1e-3}},
		"none":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "picture")
			if err := Write(path, columns); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path + ".png")
			if err != nil {
				t.Fatal(err)
			}
			image, err := png.DecodeConfig(bytes.NewReader(data))
			want := int(float64(columnWidth/vg.Inch)*dotsPerInch) * max(1, len(columns))
			if err != nil || image.Width != want {
				t.Errorf("image %d wide, %v, want %d", image.Width, err, want)
			}
			svg, err := os.ReadFile(path + ".svg")
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range columns {
				if !strings.Contains(string(svg), c.Title) {
					t.Errorf("no title %q in the SVG", c.Title)
				}
			}
		})
	}
}

func TestWriteReportsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "picture")
	if err := Write(path, []Column{sample()}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
}

func TestNumberIsShort(t *testing.T) {
	for v, want := range map[float64]string{
		1: "1", 10: "10", 1000: "1,000", 1e4: "10,000", 1e5: "1e5", 5e6: "5e6",
		0.1: "0.1", 0.01: "0.01", 1e-3: "1e-3", 2e-12: "2e-12",
	} {
		if got := number(v); got != want {
			t.Errorf("number(%g) = %q, want %q", v, got, want)
		}
	}
}

// Every tick that is labelled says its own value, and there are enough to read
// the axis by, but not too many.
func TestDecadesLabelEveryRange(t *testing.T) {
	for _, test := range []struct{ low, high float64 }{{0.8, 3}, {1, 10}, {2, 8e3}, {1e-7, 1e6}, {1e-30, 1e30}} {
		labels := 0
		for _, tick := range (decades{}).Ticks(test.low, test.high) {
			if tick.Label == "" || tick.Value < test.low || tick.Value > test.high {
				continue
			}
			labels++
			if want := number(tick.Value); tick.Label != want {
				t.Errorf("label %q at %g, want %q", tick.Label, tick.Value, want)
			}
		}
		if labels < 2 || labels > 9 {
			t.Errorf("%d labels from %g to %g, want 2 to 9", labels, test.low, test.high)
		}
	}
}

func TestLegendWrapsToTheWidth(t *testing.T) {
	var entries []legendEntry
	for range 5 {
		entries = append(entries, patchEntry("some entry", blue))
	}
	width := 2*entries[0].width() - entryPad
	rows := wrap(entries, width)
	if len(rows) != 3 || len(rows[0]) != 2 || len(rows[2]) != 1 {
		t.Errorf("%d rows, want 2 + 2 + 1 entries", len(rows))
	}
}
