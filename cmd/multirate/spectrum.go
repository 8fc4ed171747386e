package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	multirate "multirate/clients/go"
	multiratev1 "multirate/proto/multirate/v1"
)

func spectrumCommand() *cobra.Command {
	var at connection
	cmd := &cobra.Command{
		Use:   "spectrum RUN",
		Short: "Print a run's latest spectrum: scales and Ritz values",
		Args:  cobra.ExactArgs(1),
		RunE: withClient(&at, func(cmd *cobra.Command, args []string, client *multirate.Client) error {
			resp, err := client.Service().GetSpectrum(cmd.Context(), &multiratev1.GetSpectrumRequest{RunId: args[0]})
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), spectrumText(resp.GetSpectrum()))
			return err
		}),
	}
	at.flags(cmd.Flags(), defaultAddress, "the service's address, unix:///path or host:port")
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
	fmt.Fprintf(&b, "\nstiffest curvature %.4g, %.2g %% of the gradient unexplained", s.GetStiffestCurvature(), 100*s.GetResidual())
	if s.Trace != nil {
		fmt.Fprintf(&b, ", trace %.4g", s.GetTrace())
	}
	scales := [][]string{{"SCALE", "LOWEST", "HIGHEST", "CONDITION", "RITZ VALUES", "WEIGHT", "GAP BELOW", "CONFIDENCE"}}
	for i, g := range s.GetScales() {
		gap, confidence := "-", "-"
		if g.GetGap() > 0 {
			gap, confidence = fmt.Sprintf("%.3g", g.GetGap()), fmt.Sprintf("%.2f", g.GetGapConfidence())
		}
		scales = append(scales, []string{
			strconv.Itoa(i + 1), fmt.Sprintf("%.4g", g.GetLowest()), fmt.Sprintf("%.4g", g.GetHighest()),
			fmt.Sprintf("%.3g", g.GetHighest()/g.GetLowest()), grouped(g.GetCount()), fmt.Sprintf("%.2e", g.GetWeight()), gap, confidence,
		})
	}
	values := [][]string{{"RITZ VALUE", "WEIGHT", "BOUND"}}
	for _, r := range s.GetRitzValues() {
		values = append(values, []string{
			fmt.Sprintf("%.6g", r.GetValue()), fmt.Sprintf("%.2e", r.GetWeight()), fmt.Sprintf("%.2e", r.GetBound()),
		})
	}
	return b.String() + "\n\n" + table("rrrrrrrr", scales) + "\n" + table("rrr", values)
}
