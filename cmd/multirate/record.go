package main

import (
	"context"
	"math"

	multirate "multirate/clients/go"
	"multirate/cmd/multirate/internal/picture"
	"multirate/examples/problems"
	"multirate/examples/trainer"
)

// record keeps of a training what the picture shows.
type record struct {
	ctx  context.Context
	task problems.Task

	steps   []picture.Step
	curve   []picture.Point
	spectra []picture.Spectrum
	// nextSpectrum is the step from which the next spectrum is asked for.
	nextSpectrum int
}

// spectrumPause is the growth of the steps at which spectra are kept: some
// forty in a thousand steps.
const spectrumPause = 1.15

func (r *record) add(s trainer.Step) {
	step := len(r.steps)
	r.steps = append(r.steps, picture.Step{Gradients: s.Gradients, Rate: s.LearningRate, Reason: enumName(s.Reason, "REASON_")})
	r.curve = append(r.curve, picture.Point{Gradients: s.Gradients, Value: r.task.Value(s.Loss)})
	if step < r.nextSpectrum || s.SpectrumRevision == 0 {
		return
	}
	r.nextSpectrum = max(step+1, int(math.Ceil(float64(step)*spectrumPause)))
	// A spectrum that is missing costs the picture a column of dots, no more.
	if spectrum, err := s.Run.Spectrum(r.ctx, 0); err == nil {
		r.spectra = append(r.spectra, pictured(s.Gradients, spectrum))
	}
}

func (r *record) end(result trainer.Result) {
	r.curve = append(r.curve, picture.Point{Gradients: result.Gradients, Value: r.task.Value(result.Loss)})
}

func pictured(gradients int, s *multirate.Spectrum) picture.Spectrum {
	p := picture.Spectrum{Gradients: gradients}
	for _, v := range s.GetRitzValues() {
		p.Ritz = append(p.Ritz, picture.Ritz{Value: v.GetValue(), Weight: v.GetWeight()})
	}
	for _, g := range s.GetScales() {
		p.Scales = append(p.Scales, picture.Interval{Low: g.GetLowest(), High: g.GetHighest()})
	}
	return p
}
