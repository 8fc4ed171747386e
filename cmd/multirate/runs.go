package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	multirate "multirate/clients/go"
	multiratev1 "multirate/proto/multirate/v1"
)

func runsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "runs", Short: "List, show, delete, save, restore and export runs of a service"}
	var at connection
	at.flags(cmd.PersistentFlags(), defaultAddress, "the service's address, unix:///path or host:port")
	cmd.AddCommand(runsListCommand(&at), runsGetCommand(&at), runsDeleteCommand(&at),
		runsSnapshotCommand(&at), runsRestoreCommand(&at), runsExportCommand(&at))
	return cmd
}

// withClient makes a command's action of one that needs a connection.
func withClient(at *connection, do func(cmd *cobra.Command, args []string, client *multirate.Client) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		client, err := at.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer func() { _ = client.Close() }()
		return do(cmd, args, client)
	}
}

func runsListCommand(at *connection) *cobra.Command {
	var labels map[string]string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List runs",
		Args:  cobra.NoArgs,
		RunE: withClient(at, func(cmd *cobra.Command, _ []string, client *multirate.Client) error {
			rows := [][]string{{"RUN", "PARAMETERS", "POLICY", "LATEST STEP", "SPECTRA", "CREATED", "LABELS"}}
			err := eachRun(cmd.Context(), client, labels, func(r *multiratev1.Run) {
				rows = append(rows, []string{
					r.GetRunId(), grouped(r.GetDimension()), enumName(r.GetPolicy(), "POLICY_"), latestStep(r),
					grouped(r.GetSpectrumRevision()), r.GetCreateTime().AsTime().Local().Format(time.DateTime), labelList(r.GetLabels()),
				})
			})
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), table("lrlrrll", rows))
			return err
		}),
	}
	cmd.Flags().StringToStringVar(&labels, "label", nil, "only runs with this label, key=value; may be repeated")
	return cmd
}

// eachRun calls do for all runs, page by page.
func eachRun(ctx context.Context, client *multirate.Client, labels map[string]string, do func(*multiratev1.Run)) error {
	for token := ""; ; {
		page, err := client.Service().ListRuns(ctx, &multiratev1.ListRunsRequest{PageToken: token, Labels: labels})
		if err != nil {
			return err
		}
		for _, r := range page.GetRuns() {
			do(r)
		}
		if token = page.GetNextPageToken(); token == "" {
			return nil
		}
	}
}

func runsGetCommand(at *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "get RUN",
		Short: "Print a run as JSON",
		Args:  cobra.ExactArgs(1),
		RunE: withClient(at, func(cmd *cobra.Command, args []string, client *multirate.Client) error {
			resp, err := client.Service().GetRun(cmd.Context(), &multiratev1.GetRunRequest{RunId: args[0]})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), protojson.MarshalOptions{Multiline: true}.Format(resp.GetRun()))
			return err
		}),
	}
}

func runsDeleteCommand(at *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "delete RUN...",
		Short: "Delete runs",
		Args:  cobra.MinimumNArgs(1),
		RunE: withClient(at, func(cmd *cobra.Command, args []string, client *multirate.Client) error {
			for _, id := range args {
				if _, err := client.Service().DeleteRun(cmd.Context(), &multiratev1.DeleteRunRequest{RunId: id}); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func runsSnapshotCommand(at *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "snapshot RUN FILE",
		Short: "Save a run's whole state to a file, - for standard output",
		Args:  cobra.ExactArgs(2),
		RunE: withClient(at, func(cmd *cobra.Command, args []string, client *multirate.Client) error {
			resp, err := client.Service().SnapshotRun(cmd.Context(), &multiratev1.SnapshotRunRequest{RunId: args[0]})
			if err != nil {
				return err
			}
			if args[1] == "-" {
				_, err = cmd.OutOrStdout().Write(resp.GetSnapshot())
				return err
			}
			return os.WriteFile(args[1], resp.GetSnapshot(), 0o644)
		}),
	}
}

func runsRestoreCommand(at *connection) *cobra.Command {
	var request multiratev1.RestoreRunRequest
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Bring a run back from a snapshot, - for standard input",
		Args:  cobra.ExactArgs(1),
		RunE: withClient(at, func(cmd *cobra.Command, args []string, client *multirate.Client) (err error) {
			if request.Snapshot, err = readInput(cmd.InOrStdin(), args[0]); err != nil {
				return err
			}
			resp, err := client.Service().RestoreRun(cmd.Context(), &request)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s, latest step %s\n", resp.GetRun().GetRunId(), latestStep(resp.GetRun()))
			return err
		}),
	}
	cmd.Flags().StringVar(&request.RunId, "run-id", "", "id for the restored run (default: the snapshot's own)")
	cmd.Flags().BoolVar(&request.Overwrite, "overwrite", false, "replace the run of that id")
	return cmd
}

func readInput(stdin io.Reader, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(path)
}

func latestStep(r *multiratev1.Run) string {
	if r.LatestStep == nil {
		return "none"
	}
	return grouped(r.GetLatestStep())
}

func labelList(labels map[string]string) string {
	var list []string
	for k, v := range labels {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return cmp.Or(strings.Join(list, ","), "-")
}
