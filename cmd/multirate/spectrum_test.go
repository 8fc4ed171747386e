package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	multiratev1 "multirate/proto/multirate/v1"
)

func TestSpectrumText(t *testing.T) {
	edge := &multiratev1.ScaleEdge{Estimate: 2, Least: 1, Most: 3}
	got := spectrumText(&multiratev1.Spectrum{
		Products: 40, Probes: 4, Trace: proto.Float64(5), TraceStandardError: proto.Float64(0.5),
		NegativeMass: &multiratev1.Measure{Value: 0.25, StandardError: 0.01}, NearZeroMass: &multiratev1.Measure{},
		Scales:  []*multiratev1.Scale{{Lowest: 2, Highest: 2, LowestEdge: edge, HighestEdge: edge, Stability: proto.Float64(0.5)}, {Lowest: 1, Highest: 1.5}},
		Density: []*multiratev1.DensityPoint{{Lower: -1, Mass: 0.25}, {Lower: 1, Upper: 2, Mass: 0.75, StandardError: 0.125}},
	})
	for _, want := range []string{
		"on 4 probes", "trace 5 +- 0.5", "25 +- 1 % of the eigenvalues are negative", "2 (1 to 3)", " 0.50\n", " 1.5 ",
		"0.7500   0.1250   " + strings.Repeat("#", 40) + "\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
