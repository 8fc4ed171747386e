package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	multirate "multirate/clients/go"
	multiratev1 "multirate/proto/multirate/v1"
)

func watchCommand() *cobra.Command {
	var at connection
	cmd := &cobra.Command{
		Use:   "watch RUN",
		Short: "Print a run's events as they happen, one on a line",
		Args:  cobra.ExactArgs(1),
		RunE: withClient(&at, func(cmd *cobra.Command, args []string, client *multirate.Client) error {
			stream, err := client.Service().WatchRun(cmd.Context(), &multiratev1.WatchRunRequest{RunId: args[0]})
			if err != nil {
				return err
			}
			for {
				event, err := stream.Recv()
				if status.Code(err) == codes.Canceled && cmd.Context().Err() != nil {
					return nil // the user has seen enough
				}
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), eventLine(event)); err != nil {
					return err
				}
				if event.GetDeleted() != nil {
					return nil
				}
			}
		}),
	}
	at.flags(cmd.Flags(), defaultAddress, "the service's address, unix:///path or host:port")
	return cmd
}

// eventLine says in one line what happened.
func eventLine(e *multiratev1.WatchRunResponse) string {
	parts := []string{e.GetTime().AsTime().Local().Format("15:04:05.000")}
	switch {
	case e.GetStep() != nil:
		parts = append(parts, stepLine(e.GetStep()))
	case e.GetSpectrum() != nil:
		s := e.GetSpectrum()
		parts = append(parts, fmt.Sprintf("spectrum %d: %d Ritz values in %d scales, stiffest %.4g, %d products",
			s.GetRevision(), len(s.GetRitzValues()), len(s.GetScales()), s.GetStiffestCurvature(), s.GetProducts()))
	case e.GetRestored() != nil && e.GetRestored().LatestStep != nil:
		parts = append(parts, fmt.Sprintf("restored after step %s", grouped(e.GetRestored().GetLatestStep())))
	case e.GetRestored() != nil:
		parts = append(parts, "restored before its first step")
	case e.GetDeleted() != nil:
		parts = append(parts, "deleted")
	}
	if n := e.GetMissedCount(); n > 0 {
		parts = append(parts, fmt.Sprintf("(%s events missed before)", grouped(n)))
	}
	return strings.Join(parts, "  ")
}

func stepLine(s *multiratev1.StepEvent) string {
	advice, why := s.GetAdvice(), s.GetAdvice().GetExplanation()
	parts := []string{fmt.Sprintf("step %6d", advice.GetStep())}
	if s.Loss != nil {
		parts = append(parts, fmt.Sprintf("loss %.6e", s.GetLoss()))
	}
	for _, r := range advice.GetRates() {
		name := "rate"
		if r.GetParamGroup() != "" {
			name = r.GetParamGroup()
		}
		parts = append(parts, fmt.Sprintf("%s %.3e", name, r.GetLearningRate()))
	}
	parts = append(parts, scaleText(int(why.GetScaleIndex()), int(why.GetScaleCount())), enumName(why.GetReason(), "REASON_"))
	if g := why.GetGuard(); g > multiratev1.Guard_GUARD_NONE {
		parts = append(parts, "held by "+enumName(g, "GUARD_"))
	}
	return strings.Join(parts, "  ")
}

// scaleText says which scale a step serves, 1 for the stiffest.
func scaleText(scale, scales int) string {
	if scale < 0 || scales == 0 {
		return "scale -"
	}
	return fmt.Sprintf("scale %d/%d", scale+1, scales)
}
