package journal

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// node is a NATS server with JetStream on a loopback port.
func node(t *testing.T) (url string) {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(readyWithin) {
		t.Fatal("the NATS server did not start")
	}
	return s.ClientURL()
}

func connected(t *testing.T, url string) *Journal {
	t.Helper()
	j, err := Connect(t.Context(), Remote{URL: url, Replicas: 1}, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, j) })
	return j
}

// TestReplicasShareHistories: what one process keeps another reads, and only one
// of two that append behind the same event is let through.
func TestReplicasShareHistories(t *testing.T) {
	url := node(t)
	a, b := connected(t, url), connected(t, url)
	if err := a.Writable(); err != nil {
		t.Fatal(err)
	}
	first := appended(t, a, "t/r.1", 0, "1")
	if got := events(t, b, "t/r.1", 0); !slices.Equal(got, []string{"1"}) {
		t.Errorf("events %q", got)
	}
	second := appended(t, b, "t/r.1", first, "2")
	if _, err := a.Append(t.Context(), "t/r.1", first, []byte("other")); !errors.Is(err, ErrConflict) {
		t.Errorf("appended behind an event that is no longer the last: %v", err)
	}
	revision, err := a.Save(t.Context(), "t/r.1", Snapshot{State: []byte("state"), Index: 2, Sequence: second})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := b.Snapshot(t.Context(), "t/r.1"); err != nil || string(s.State) != "state" || s.Revision != revision {
		t.Errorf("snapshot %+v, %v", s, err)
	}
	if _, err := b.Save(t.Context(), "t/r.1", Snapshot{State: []byte("late"), Index: 1, Sequence: first}); !errors.Is(err, ErrConflict) {
		t.Errorf("saved over a snapshot not seen: %v", err)
	}
	if got, err := b.Runs(t.Context()); err != nil || !slices.Equal(got, []string{"t/r.1"}) {
		t.Errorf("runs %q, %v", got, err)
	}
	if err := b.Remove(t.Context(), "t/r.1", second, []byte("end")); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Runs(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("runs %q, %v", got, err)
	}
}

func TestTooLargeForTheCluster(t *testing.T) {
	j := connected(t, node(t)) // takes 1 MiB, NATS's default
	if _, err := j.Append(t.Context(), "t/r", 0, make([]byte, 2<<20)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("append of 2 MiB: %v", err)
	}
}

func TestClusterTooSmall(t *testing.T) {
	_, err := Connect(t.Context(), Remote{URL: node(t)}, Options{Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "3 nodes that are to keep each event") {
		t.Errorf("three replicas on one node: %v", err)
	}
}
