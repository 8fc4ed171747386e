package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ttl = time.Second

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
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server did not start")
	}
	return s.ClientURL()
}

// joined is a member of the cluster at url. kill ends it as a killed process
// does: the lease is left to end by itself.
func joined(t testing.TB, url, address string) (m *Member, kill func()) {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	m, err = Join(t.Context(), conn, Options{Address: address, TTL: ttl, Replicas: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	kill = func() {
		m.leave()
		<-m.kept
		conn.Close()
	}
	t.Cleanup(kill)
	return m, kill
}

func claimed(t *testing.T, m *Member, run string) *Claim {
	t.Helper()
	c, err := m.Claim(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantElsewhere demands that a claim is refused in favour of a member.
func wantElsewhere(t *testing.T, m *Member, run string, owner *Member) {
	t.Helper()
	_, err := m.Claim(t.Context(), run)
	var other *Elsewhere
	if !errors.As(err, &other) || other.Address != owner.options.Address || other.Lease != owner.lease.Load().id {
		t.Errorf("claim of %s: %v, want the replica at %s", run, err, owner.options.Address)
	}
}

func TestRunsHaveOneOwner(t *testing.T) {
	url := node(t)
	a, _ := joined(t, url, "a:1")
	b, _ := joined(t, url, "b:1")
	mine := claimed(t, a, "t/r.1")
	if again := claimed(t, a, "t/r.1"); again.revision != mine.revision {
		t.Errorf("claimed twice: revision %d after %d", again.revision, mine.revision)
	}
	wantElsewhere(t, b, "t/r.1", a)
	claimed(t, b, "t/r_1") // another run
	if err := a.Release(t.Context(), "t/r.1", mine); err != nil {
		t.Fatal(err)
	}
	claimed(t, b, "t/r.1")
	wantElsewhere(t, a, "t/r.1", b)
	if err := a.Release(t.Context(), "t/r.1", mine); err != nil { // late: it is no longer a's
		t.Fatal(err)
	}
	wantElsewhere(t, a, "t/r.1", b)
}

func TestLeavingFreesRunsAtOnce(t *testing.T) {
	url := node(t)
	a, _ := joined(t, url, "a:1")
	b, _ := joined(t, url, "b:1")
	mine := claimed(t, a, "t/r")
	a.Retire()
	if _, err := a.Claim(t.Context(), "t/other"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("claimed while retired: %v", err)
	}
	if !mine.Valid() {
		t.Error("a retired member has lost its claim")
	}
	if err := a.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if mine.Valid() {
		t.Error("a member that has left still owns a run")
	}
	claimed(t, b, "t/r")
}

// TestKilledMembersLoseTheirRuns: and no sooner than they know it themselves.
func TestKilledMembersLoseTheirRuns(t *testing.T) {
	url := node(t)
	a, kill := joined(t, url, "a:1")
	b, _ := joined(t, url, "b:1")
	mine := claimed(t, a, "t/r")
	kill()
	for {
		_, err := b.Claim(t.Context(), "t/r")
		if err == nil {
			break
		}
		if other := (*Elsewhere)(nil); !errors.As(err, &other) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if mine.Valid() {
		t.Error("two members own the run")
	}
}

// TestALeaseThatEndedIsReplaced: claims under it are void, and the member says
// so.
func TestALeaseThatEndedIsReplaced(t *testing.T) {
	m, _ := joined(t, node(t), "a:1")
	mine := claimed(t, m, "t/r")
	m.lease.Load().end() // as a long pause does
	if _, err := m.Claim(t.Context(), "t/r"); err == nil && !m.lease.Load().valid() {
		t.Error("claimed without a lease")
	}
	<-m.Lapsed()
	if mine.Valid() {
		t.Error("a claim has outlived its lease")
	}
	if again := claimed(t, m, "t/r"); again.lease.id == mine.lease.id {
		t.Error("the lease that had ended came back")
	}
}

// TestAtMostOneClaimIsGood lets three members claim, give back, pause and be
// replaced in any order.
func TestAtMostOneClaimIsGood(t *testing.T) {
	url := node(t)
	rapid.Check(t, func(rt *rapid.T) {
		members := make([]*Member, 3)
		for i := range members {
			var kill func()
			members[i], kill = joined(t, url, fmt.Sprintf("%d:1", i))
			defer kill()
		}
		run := "t/" + rapid.StringMatching(`[a-z]{12}`).Draw(rt, "run")
		claims := make([]*Claim, len(members))
		one := rapid.IntRange(0, len(members)-1)
		rt.Repeat(map[string]func(*rapid.T){
			"claim": func(rt *rapid.T) {
				i := one.Draw(rt, "member")
				if c, err := members[i].Claim(t.Context(), run); err == nil {
					claims[i] = c
				}
			},
			"give back": func(rt *rapid.T) {
				i := one.Draw(rt, "member")
				if claims[i] == nil {
					return
				}
				if err := members[i].Release(t.Context(), run, claims[i]); err != nil {
					rt.Fatal(err)
				}
				claims[i] = nil
			},
			"pause": func(rt *rapid.T) { members[one.Draw(rt, "member")].lease.Load().end() },
			"": func(rt *rapid.T) {
				good := 0
				for _, c := range claims {
					if c.Valid() {
						good++
					}
				}
				if good > 1 {
					rt.Fatalf("%d members own the run", good)
				}
			},
		})
	})
}

func TestCallsReachTheHolderOfALease(t *testing.T) {
	url := node(t)
	a, kill := joined(t, url, "a:1")
	b, _ := joined(t, url, "b:1")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	lease := a.lease.Load().id
	if _, err := b.Forward(ctx, lease, []byte("early")); !errors.Is(err, ErrGone) {
		t.Errorf("a replica that does not serve yet: %v", err)
	}
	a.Serve(func(request []byte) []byte {
		if string(request) == "large" {
			return make([]byte, 2<<20)
		}
		return append([]byte("re: "), request...)
	})
	if answer, err := b.Forward(ctx, lease, []byte("call")); err != nil || !bytes.Equal(answer, []byte("re: call")) {
		t.Errorf("answer %q, %v", answer, err)
	}
	for _, request := range [][]byte{make([]byte, 2<<20), []byte("large")} { // NATS takes 1 MiB
		if _, err := b.Forward(ctx, lease, request); !errors.Is(err, ErrTooLarge) {
			t.Errorf("call of %d bytes: %v, want ErrTooLarge", len(request), err)
		}
	}
	kill()
	for ctx.Err() == nil { // NATS may not have seen its end yet
		attempt, done := context.WithTimeout(ctx, 50*time.Millisecond)
		_, err := b.Forward(attempt, lease, []byte("late"))
		done()
		if errors.Is(err, ErrGone) {
			return
		}
		if !errors.Is(err, ErrNoAnswer) {
			t.Fatal(err)
		}
	}
	t.Error("a replica that was killed is never gone")
}
