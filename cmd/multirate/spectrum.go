package main

import (
	"fmt"
	"io"
	"text/tabwriter"

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
			return printSpectrum(cmd.OutOrStdout(), resp.GetSpectrum())
		}),
	}
	at.flags(cmd.Flags(), defaultAddress, "the service's address, unix:///path or host:port")
	return cmd
}

func printSpectrum(w io.Writer, s *multirate.Spectrum) error {
	step := "before the first step"
	if s.Step != nil {
		step = "at step " + grouped(s.GetStep())
	}
	fmt.Fprintf(w, "revision %d, %s, from %s", s.GetRevision(), step, enumName(s.GetSource(), "SPECTRUM_SOURCE_"))
	if s.GetProducts() > 0 {
		fmt.Fprintf(w, ", %s Hessian-vector products", grouped(s.GetProducts()))
	}
	fmt.Fprintf(w, "\nstiffest curvature %.4g, %.2g %% of the gradient unexplained", s.GetStiffestCurvature(), 100*s.GetResidual())
	if s.Trace != nil {
		fmt.Fprintf(w, ", trace %.4g", s.GetTrace())
	}
	fmt.Fprint(w, "\n\n")

	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "SCALE\tLOWEST\tHIGHEST\tCONDITION\tRITZ VALUES\tWEIGHT\tGAP BELOW\tCONFIDENCE\t")
	for i, g := range s.GetScales() {
		gap, confidence := "-", "-"
		if g.GetGap() > 0 {
			gap, confidence = fmt.Sprintf("%.3g", g.GetGap()), fmt.Sprintf("%.2f", g.GetGapConfidence())
		}
		fmt.Fprintf(table, "%d\t%.4g\t%.4g\t%.3g\t%d\t%.2e\t%s\t%s\t\n", i+1, g.GetLowest(), g.GetHighest(),
			g.GetHighest()/g.GetLowest(), g.GetCount(), g.GetWeight(), gap, confidence)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(table, "RITZ VALUE\tWEIGHT\tBOUND\t")
	for _, r := range s.GetRitzValues() {
		fmt.Fprintf(table, "%.6g\t%.2e\t%.2e\t\n", r.GetValue(), r.GetWeight(), r.GetBound())
	}
	return table.Flush()
}
