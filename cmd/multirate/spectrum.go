package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	multirate "multirate/clients/go"
	multiratev1 "multirate/proto/multirate/v1"
)

func spectrumCommand() *cobra.Command {
	var at connection
	var points int32
	cmd := &cobra.Command{
		Use:   "spectrum RUN",
		Short: "Print a run's latest spectrum: scales, density and Ritz values",
		Args:  cobra.ExactArgs(1),
		RunE: withClient(&at, func(cmd *cobra.Command, args []string, client *multirate.Client) error {
			resp, err := client.Service().GetSpectrum(cmd.Context(), &multiratev1.GetSpectrumRequest{RunId: args[0], DensityPoints: points})
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), spectrumText(resp.GetSpectrum()))
			return err
		}),
	}
	at.flags(cmd.Flags(), defaultAddress, "the service's address, unix:///path or host:port")
	cmd.Flags().Int32Var(&points, "density", 24, "points of the density, 0 to 512; sketches have none")
	return cmd
}

func spectrumText(s *multirate.Spectrum) string {
	var b strings.Builder
	step := "before the first step"
	if s.Step != nil {
		step = "at step " + grouped(s.GetStep())
	}
	fmt.Fprintf(&b, "revision %d, %s, from %s", s.GetRevision(), step, enumName(s.GetSource(), "SPECTRUM_SOURCE_"))
	if s.GetProducts() > 0 {
		fmt.Fprintf(&b, ", %s Hessian-vector products", grouped(s.GetProducts()))
	}
	if s.GetProbes() > 1 {
		fmt.Fprintf(&b, " on %d probes", s.GetProbes())
	}
	fmt.Fprintf(&b, "\nstiffest curvature %.4g, %.2g %% of the gradient unexplained", s.GetStiffestCurvature(), 100*s.GetResidual())
	if s.Trace != nil {
		fmt.Fprintf(&b, ", trace %.4g +- %.2g", s.GetTrace(), s.GetTraceStandardError())
	}
	if s.NegativeMass != nil {
		fmt.Fprintf(&b, "\n%s of the eigenvalues are negative, %s near zero", percentText(s.NegativeMass), percentText(s.NearZeroMass))
	}
	scales := [][]string{{"SCALE", "LOWEST", "HIGHEST", "CONDITION", "RITZ VALUES", "WEIGHT", "GAP BELOW", "CONFIDENCE", "STABILITY"}}
	for i, g := range s.GetScales() {
		gap, confidence, stability := "-", "-", "-"
		if g.Stability != nil {
			stability = fmt.Sprintf("%.2f", g.GetStability())
		}
		if g.GetGap() > 0 {
			gap, confidence = fmt.Sprintf("%.3g", g.GetGap()), fmt.Sprintf("%.2f", g.GetGapConfidence())
		}
		scales = append(scales, []string{
			strconv.Itoa(i + 1), edgeText(g.GetLowestEdge(), g.GetLowest()), edgeText(g.GetHighestEdge(), g.GetHighest()),
			fmt.Sprintf("%.3g", g.GetHighest()/g.GetLowest()), grouped(g.GetCount()), fmt.Sprintf("%.2e", g.GetWeight()), gap, confidence, stability,
		})
	}
	values := [][]string{{"RITZ VALUE", "WEIGHT", "BOUND"}}
	for _, r := range s.GetRitzValues() {
		values = append(values, []string{
			fmt.Sprintf("%.6g", r.GetValue()), fmt.Sprintf("%.2e", r.GetWeight()), fmt.Sprintf("%.2e", r.GetBound()),
		})
	}
	return b.String() + "\n\n" + table("rrrrrrrrr", scales) + "\n" + densityText(s.GetDensity()) + table("rrr", values)
}

// edgeText is an edge with its bracket; planned stands in where an older service
// sends none.
func edgeText(e *multiratev1.ScaleEdge, planned float64) string {
	if e == nil {
		return fmt.Sprintf("%.4g", planned)
	}
	return fmt.Sprintf("%.4g (%.3g to %.3g)", e.GetEstimate(), e.GetLeast(), e.GetMost())
}

func percentText(m *multiratev1.Measure) string {
	return fmt.Sprintf("%.3g +- %.1g %%", 100*m.GetValue(), 100*m.GetStandardError())
}

// densityText is a table of the bins with a bar each, the fullest 40 characters
// long; "" for no density.
func densityText(bins []*multiratev1.DensityPoint) string {
	fullest := 0.0
	for _, b := range bins {
		fullest = max(fullest, b.GetMass())
	}
	if fullest == 0 {
		return ""
	}
	rows := [][]string{{"FROM", "TO", "SHARE", "ERROR", ""}}
	for _, b := range bins {
		rows = append(rows, []string{
			fmt.Sprintf("%.3g", b.GetLower()), fmt.Sprintf("%.3g", b.GetUpper()),
			fmt.Sprintf("%.4f", b.GetMass()), fmt.Sprintf("%.4f", b.GetStandardError()),
			strings.Repeat("#", int(math.Round(40*b.GetMass()/fullest))),
		})
	}
	return table("rrrrl", rows) + "\n"
}
