package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	multirate "multirate/clients/go"
	journalv1 "multirate/proto/multirate/journal/v1"
)

func runsExportCommand(at *connection) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "export RUN",
		Short: "Print a run's history: what was reported and answered at each step",
		Long: `Print the events of a run that its service has kept, oldest first.

jsonl is one event a line, whole: statistics, sketches and answers, under the
names of the contract. csv is one line a step or other event, without sketches.`,
		Args: cobra.ExactArgs(1),
		RunE: withClient(at, func(cmd *cobra.Command, args []string, client *multirate.Client) error {
			write, flush, err := eventWriter(format, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			return errors.Join(eachEvent(cmd, client, args[0], write), flush())
		}),
	}
	cmd.Flags().StringVar(&format, "format", "jsonl", "jsonl or csv")
	return cmd
}

func eachEvent(cmd *cobra.Command, client *multirate.Client, run string, write func(*journalv1.Event) error) error {
	stream, err := journalv1.NewHistoryServiceClient(client.Connection()).
		ExportRun(cmd.Context(), &journalv1.ExportRunRequest{RunId: run})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := write(m.GetEvent()); err != nil {
			return err
		}
	}
}

func eventWriter(format string, w io.Writer) (write func(*journalv1.Event) error, flush func() error, err error) {
	switch format {
	case "jsonl":
		return func(e *journalv1.Event) error { return writeJSON(w, e) }, func() error { return nil }, nil
	case "csv":
		c := csv.NewWriter(w)
		if err := c.Write(eventColumns); err != nil {
			return nil, nil, err
		}
		return func(e *journalv1.Event) error { return c.Write(eventRow(e)) },
			func() error { c.Flush(); return c.Error() }, nil
	}
	return nil, nil, fmt.Errorf("--format %q: use jsonl or csv", format)
}

// writeJSON writes one line. protojson varies its spaces on purpose; without
// them the same event gives the same bytes.
func writeJSON(w io.Writer, e *journalv1.Event) error {
	b, err := protojson.Marshal(e)
	if err != nil {
		return err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil {
		return err
	}
	line.WriteByte('\n')
	_, err = w.Write(line.Bytes())
	return err
}

var eventColumns = []string{
	"index", "time", "event", "step", "asked", "loss", "gradient_norm_squared", "applied_learning_rate",
	"learning_rate", "reason", "guard", "scale_index", "scale_count", "cycle_position", "cycle_length", "spectrum_revision",
}

func eventRow(e *journalv1.Event) []string {
	row := []string{strconv.FormatInt(e.GetIndex(), 10), e.GetTime().AsTime().Format(time.RFC3339Nano), eventKind(e)}
	o := e.GetObserved()
	if o == nil {
		return append(row, make([]string, len(eventColumns)-len(row))...)
	}
	number := func(x *float64) string {
		if x == nil {
			return ""
		}
		return strconv.FormatFloat(*x, 'g', -1, 64)
	}
	var applied *float64
	if len(o.GetAppliedLearningRates()) > 0 {
		applied = &o.GetAppliedLearningRates()[0]
	}
	x := o.GetAnswer().GetExplanation()
	rate := o.GetAnswer().GetRates()[0].GetLearningRate()
	return append(row, strconv.FormatInt(o.GetStep(), 10), strconv.FormatBool(o.GetAsked()),
		number(o.GetStatistics().Loss), number(o.GetStatistics().GradientNormSquared), number(applied), number(&rate),
		enumName(x.GetReason(), "REASON_"), enumName(x.GetGuard(), "GUARD_"),
		fmt.Sprint(x.GetScaleIndex()), fmt.Sprint(x.GetScaleCount()), fmt.Sprint(x.GetCyclePosition()), fmt.Sprint(x.GetCycleLength()),
		strconv.FormatInt(o.GetAnswer().GetSpectrumRevision(), 10))
}

func eventKind(e *journalv1.Event) string {
	switch e.GetChange().(type) {
	case *journalv1.Event_Created:
		return "created"
	case *journalv1.Event_Observed:
		return "observed"
	case *journalv1.Event_Handed:
		return "handed"
	case *journalv1.Event_Adopted:
		return "adopted"
	case *journalv1.Event_Restored:
		return "restored"
	case *journalv1.Event_Deleted:
		return "deleted"
	}
	return "unknown"
}
