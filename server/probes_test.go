package server

import (
	"math"
	"testing"

	pb "multirate/proto/multirate/v1"
)

// TestEstimateOfSeveralProbes: the runs follow each other on one stream, vectors
// numbered through, and their standard errors hold the truth.
func TestEstimateOfSeveralProbes(t *testing.T) {
	c := start(t, Options{})
	create(t, c, &pb.Run{RunId: "r", Dimension: 60})
	hessian, trace := make([]float64, 60), 0.0
	for i := range hessian {
		hessian[i] = 1 + float64(i)/10
		if i < 20 {
			hessian[i] = -hessian[i]
		}
		trace += hessian[i]
	}
	e := estimateOf(t, c, hessian, &pb.EstimateSpectrumStart{RunId: "r", MaxProducts: 10, Probes: 4, Format: float64Format})
	if e.answer(41) {
		t.Fatal("still on after 41 products")
	}
	s := e.spectrum
	last := e.progress[len(e.progress)-1]
	if s.Probes != 4 || s.Products != 40 || len(s.RitzValues) != 40 || last.Products != 40 || last.MaxProducts != 40 {
		t.Errorf("%d probes, %d products, %d Ritz values, progress %v", s.Probes, s.Products, len(s.RitzValues), last)
	}
	// Five standard errors: one run in a million by the normal law, and four
	// probes have heavier tails than that, but one fixed seed.
	for _, m := range []struct {
		name              string
		value, err, truth float64
	}{
		{"trace", s.GetTrace(), s.GetTraceStandardError(), trace},
		{"negative mass", s.NegativeMass.GetValue(), s.NegativeMass.GetStandardError(), 1.0 / 3},
		{"mass near zero", s.NearZeroMass.GetValue(), s.NearZeroMass.GetStandardError(), 0},
	} {
		if math.Abs(m.value-m.truth) > 5*m.err {
			t.Errorf("%s is %v +- %v, want %v", m.name, m.value, m.err, m.truth)
		}
	}
	got, err := c.GetSpectrum(t.Context(), &pb.GetSpectrumRequest{RunId: "r", DensityPoints: 8})
	if err != nil {
		t.Fatal(err)
	}
	mass := 0.0
	for _, b := range got.Spectrum.Density {
		mass += b.Mass
	}
	if math.Abs(mass-1) > 1e-12 {
		t.Errorf("masses add up to %v", mass)
	}
}

// TestReportOfSeveralRuns: further coefficients are further probes.
func TestReportOfSeveralRuns(t *testing.T) {
	c := start(t, Options{})
	create(t, c, &pb.Run{RunId: "r", Dimension: 10})
	run := func(alpha float64) *pb.LanczosCoefficients {
		return &pb.LanczosCoefficients{Alpha: []float64{alpha, 2}, Beta: []float64{1, 0}}
	}
	got, err := c.ReportLanczos(t.Context(), &pb.ReportLanczosRequest{RunId: "r", Coefficients: run(2), Further: []*pb.LanczosCoefficients{run(3)}})
	if err != nil {
		t.Fatal(err)
	}
	// The trace is D times the mean of alpha_1.
	if s := got.Spectrum; s.Probes != 2 || len(s.RitzValues) != 4 || math.Abs(s.GetTrace()-25) > 1e-12 || !(s.GetTraceStandardError() >= 5) {
		t.Errorf("spectrum %v", s)
	}
}

// TestStabilityOfScales: absent for the first spectrum, 1 for the same again, 0
// for another one.
func TestStabilityOfScales(t *testing.T) {
	c := start(t, Options{})
	create(t, c, &pb.Run{RunId: "r", Dimension: 2})
	report := func(alpha float64) *pb.Scale {
		got, err := c.ReportLanczos(t.Context(), &pb.ReportLanczosRequest{RunId: "r",
			Coefficients: &pb.LanczosCoefficients{Alpha: []float64{alpha, alpha}, Beta: []float64{alpha / 4, 0}}})
		if err != nil {
			t.Fatal(err)
		}
		return got.Spectrum.Scales[0]
	}
	if s := report(1); s.Stability != nil {
		t.Errorf("first: %v", s)
	}
	if s := report(1); s.GetStability() != 1 {
		t.Errorf("again: %v", s)
	}
	if s := report(100); s.Stability == nil || s.GetStability() != 0 {
		t.Errorf("another: %v", s)
	}
}
