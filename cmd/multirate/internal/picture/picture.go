// Package picture draws how a training went: the curvatures that the service
// saw, the rates that it advised, and the loss against that of other methods.
package picture

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Column is one problem: three panels, one below the other.
type Column struct {
	// Title names the problem.
	Title string
	// Run names the training that the upper two panels show.
	Run string
	// Steps are its steps in order, Spectra what the service knew at some of
	// them.
	Steps   []Step
	Spectra []Spectrum
	// First and Last are the Hessian's eigenvalues at its first and last
	// parameters, nil where they are not known.
	First, Last []float64
	// Measure names what the lower panel shows, "excess loss" say, and Target is
	// the value to be reached.
	Measure string
	Target  float64
	// Curves are the trainings of the lower panel, the most important first.
	Curves []Curve
}

// Step is one step of a training.
type Step struct {
	// Gradients counts the gradient-equivalents spent before the step, from 1.
	Gradients int
	// Rate is the learning rate.
	Rate float64
	// Reason is the kind of the step, one of Reasons.
	Reason string
}

// Spectrum is what the service knew at a step.
type Spectrum struct {
	// Gradients as in [Step].
	Gradients int
	Ritz      []Ritz
	Scales    []Interval
}

// Ritz is an approximate eigenvalue.
type Ritz struct {
	Value float64
	// Weight is the share, in [0, 1], of the squared start vector along it.
	Weight float64
}

// Interval is a scale.
type Interval struct{ Low, High float64 }

// Curve is the loss of one training.
type Curve struct {
	// Name is the method's.
	Name string
	// Ours says that the rates came from the service.
	Ours bool
	// Reached says whether the last point meets the target.
	Reached bool
	Points  []Point
}

// Point is a point of a [Curve].
type Point struct {
	// Gradients counts gradient-equivalents, from 1.
	Gradients int
	// Value is the loss, or what is shown of it.
	Value float64
}

const (
	columnWidth = 5.7 * vg.Inch
	rowHeight   = 2.75 * vg.Inch
	margin      = 12
	// dotsPerInch keeps text legible when a page shows the picture at half its
	// width.
	dotsPerInch = 150
)

// Write draws the columns side by side to path.png and path.svg.
func Write(path string, columns []Column) error {
	width, height := columnWidth*vg.Length(max(1, len(columns))), 3*rowHeight+headingHeight+2*margin
	image := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dotsPerInch))}
	Draw(draw.New(image), columns)
	vectors := vgsvg.New(width, height)
	Draw(draw.New(vectors), columns)
	if err := write(path+".png", image, func(b []byte) []byte { return b }); err != nil {
		return err
	}
	return write(path+".svg", vectors, portableFonts)
}

// portableFonts names typefaces of the same widths, for readers without
// Liberation.
func portableFonts(svg []byte) []byte {
	return bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
}

func write(path string, from io.WriterTo, last func([]byte) []byte) error {
	var b bytes.Buffer
	if _, err := from.WriteTo(&b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, last(b.Bytes()), 0o644)
}
