package server

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	pb "multirate/proto/multirate/v1"
	"multirate/server/access"
	"multirate/server/journal"
)

var tenantTokens = map[string]string{"x": "xxxxxxxxxxxxxxxxxxxxxxxx", "y.z": "yyyyyyyyyyyyyyyyyyyyyyyy"}

// shared is a server of two tenants.
func shared(t *testing.T, options Options) pb.LearningRateServiceClient {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	text := ""
	for tenant, token := range tenantTokens {
		text += tenant + " " + token + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := access.LoadTokens(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	options.Authenticator = &access.Authenticator{Tokens: tokens}
	address, _ := serve(t, "localhost:0", options)
	return dial(t, address)
}

func as(t *testing.T, tenant string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+tenantTokens[tenant])
}

// TestTenantsDoNotSeeEachOther: one id names two runs, and no call reaches
// another tenant's.
func TestTenantsDoNotSeeEachOther(t *testing.T) {
	dir := t.TempDir()
	j := openUntilEnd(t, journal.Options{Dir: dir})
	c := shared(t, Options{Journal: j})
	x, y := as(t, "x"), as(t, "y.z")
	_, err := c.ListRuns(t.Context(), &pb.ListRunsRequest{})
	wantRefusal(t, err, refusal{codes.Unauthenticated, ReasonUnauthenticated, ""})
	for _, call := range []struct {
		ctx context.Context
		run *pb.Run
	}{{x, &pb.Run{RunId: "r", Dimension: 10}}, {y, &pb.Run{RunId: "r", Dimension: 20}}, {x, &pb.Run{RunId: "secret", Dimension: 10}}} {
		if _, err := c.CreateRun(call.ctx, &pb.CreateRunRequest{Run: call.run}); err != nil {
			t.Fatal(err)
		}
	}
	notFound := refusal{codes.NotFound, ReasonRunNotFound, ""}
	for name, call := range map[string]func(id string) error{
		"GetRun":      func(id string) error { _, err := c.GetRun(y, &pb.GetRunRequest{RunId: id}); return err },
		"DeleteRun":   func(id string) error { _, err := c.DeleteRun(y, &pb.DeleteRunRequest{RunId: id}); return err },
		"SnapshotRun": func(id string) error { _, err := c.SnapshotRun(y, &pb.SnapshotRunRequest{RunId: id}); return err },
		"GetSpectrum": func(id string) error { _, err := c.GetSpectrum(y, &pb.GetSpectrumRequest{RunId: id}); return err },
		"GetLearningRate": func(id string) error {
			_, err := c.GetLearningRate(y, newTrainer(id, threeScales(), 0).request())
			return err
		},
		"WatchRun": func(id string) error {
			stream, err := c.WatchRun(y, &pb.WatchRunRequest{RunId: id})
			if err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, call("secret"), notFound)
			if err := call("x/secret"); err == nil {
				t.Error("a tenant in the id reached its run")
			}
		})
	}
	for ctx, want := range map[context.Context][]int64{x: {10, 10}, y: {20}} {
		var got []int64
		for token := ""; ; {
			page, err := c.ListRuns(ctx, &pb.ListRunsRequest{PageSize: 1, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Runs {
				got = append(got, r.Dimension)
			}
			if token = page.NextPageToken; token == "" {
				break
			}
		}
		if len(got) != len(want) || got[0] != want[0] {
			t.Errorf("dimensions %v, want %v", got, want)
		}
	}
}

// TestTenantsHaveLimits: what one tenant may not take the other still may.
func TestTenantsHaveLimits(t *testing.T) {
	c := shared(t, Options{Tenant: TenantLimits{Runs: 2, Streams: 1}})
	x, y := as(t, "x"), as(t, "y.z")
	create := func(ctx context.Context, id string) error {
		_, err := c.CreateRun(ctx, &pb.CreateRunRequest{Run: &pb.Run{RunId: id, Dimension: 10}})
		return err
	}
	for _, id := range []string{"a", "b", "a"} { // the repetition makes no new run
		if err := create(x, id); err != nil {
			t.Fatal(err)
		}
	}
	wantRefusal(t, create(x, "c"), refusal{codes.ResourceExhausted, ReasonTooManyRuns, ""})
	if err := create(y, "c"); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteRun(x, &pb.DeleteRunRequest{RunId: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := create(x, "c"); err != nil {
		t.Error(err)
	}
	watch := func(ctx context.Context, id string) error {
		stream, err := c.WatchRun(ctx, &pb.WatchRunRequest{RunId: id})
		if err == nil {
			_, err = stream.Header()
		}
		if err == nil && stream.Context().Err() == nil {
			return nil
		}
		return err
	}
	if err := watch(x, "b"); err != nil {
		t.Fatal(err)
	}
	stream, err := c.WatchRun(x, &pb.WatchRunRequest{RunId: "b"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantRefusal(t, err, refusal{codes.ResourceExhausted, ReasonTooManyStreams, ""})
	if err := watch(y, "c"); err != nil {
		t.Error(err)
	}
}

// TestTenantsHaveRates: a call too many is refused, and
// the other tenant's is not.
func TestTenantsHaveRates(t *testing.T) {
	c := shared(t, Options{Tenant: TenantLimits{Rate: 1e-3}}) // the first call is free
	list := func(tenant string) error {
		_, err := c.ListRuns(as(t, tenant), &pb.ListRunsRequest{})
		return err
	}
	if err := list("x"); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, list("x"), refusal{codes.ResourceExhausted, ReasonRateLimited, ""})
	if err := list("y.z"); err != nil {
		t.Error(err)
	}
}
