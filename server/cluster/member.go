package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"multirate/server/journal"
)

// ErrUnavailable means that the cluster did not answer, so that nobody knows who
// owns the run.
var ErrUnavailable = errors.New("the cluster does not say who owns the run")

// Options are a member's.
type Options struct {
	// Address is where clients reach this replica. Required.
	Address string
	// TTL is the life of a lease that is not renewed: how long a run stays
	// without an owner when its replica is killed. 0: 2 s.
	TTL time.Duration
	// Replicas is the number of NATS nodes that keep leases and claims. 0: 3.
	Replicas int
	// Logger takes leases that end against the replica's will. nil:
	// [slog.Default].
	Logger *slog.Logger
}

// Member is this process's place in the cluster. Its methods are safe for
// concurrent use.
type Member struct {
	options Options
	conn    *nats.Conn
	leases  *register // lease: address
	owners  *register // run: lease, or nothing when it was given back

	lease   atomic.Pointer[lease]
	lapsed  chan struct{}
	retired atomic.Bool

	mu       sync.Mutex
	handler  Handler
	calls    *nats.Subscription
	left     bool
	answered sync.WaitGroup

	leave context.CancelFunc
	kept  chan struct{}
}

// Join takes a lease and keeps it until [Member.Leave].
func Join(ctx context.Context, conn *nats.Conn, options Options) (*Member, error) {
	options.TTL = cmp.Or(options.TTL, 2*time.Second)
	options.Replicas = cmp.Or(options.Replicas, 3)
	options.Logger = cmp.Or(options.Logger, slog.Default())
	m := &Member{options: options, conn: conn, lapsed: make(chan struct{}, 1), kept: make(chan struct{})}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	if err := journal.UntilFormed(ctx, options.Logger, func(ctx context.Context) error { return m.join(ctx, js) }); err != nil {
		return nil, err
	}
	keeping, leave := context.WithCancel(context.WithoutCancel(ctx))
	m.leave = leave
	go func() {
		defer close(m.kept)
		m.keep(keeping)
	}()
	return m, nil
}

func (m *Member) join(ctx context.Context, js jetstream.JetStream) (err error) {
	within := m.options.TTL / 3
	if m.leases, err = openRegister(ctx, js, "LEASES", m.options.Replicas, m.options.TTL, within); err != nil {
		return fmt.Errorf("bucket of leases: %w", err)
	}
	if m.owners, err = openRegister(ctx, js, "OWNERS", m.options.Replicas, 0, within); err != nil {
		return fmt.Errorf("bucket of owners: %w", err)
	}
	l, err := m.take(ctx)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return m.listen(l)
}

// Lapsed tells when a lease had ended and another was taken: all claims are
// void.
func (m *Member) Lapsed() <-chan struct{} { return m.lapsed }

// Valid reports why this replica may own no run now, nil when it may.
func (m *Member) Valid() error {
	if !m.lease.Load().valid() {
		return fmt.Errorf("%w: this replica's lease could not be renewed", ErrUnavailable)
	}
	return nil
}

// Retire keeps the claims that there are and takes no others.
func (m *Member) Retire() { m.retired.Store(true) }

// Leave gives the lease back, so that others may claim its runs at once. Claims
// are void from then on, and calls for this replica are refused.
func (m *Member) Leave(ctx context.Context) error {
	m.leave()
	<-m.kept
	m.Retire()
	m.mu.Lock()
	m.left = true
	_ = m.calls.Unsubscribe() // unless the connection is closed
	m.mu.Unlock()
	m.answered.Wait()
	l := m.lease.Load()
	l.end()
	if err := m.leases.remove(ctx, l.id); err != nil {
		return fmt.Errorf("lease not given back, it ends by itself: %w", err)
	}
	return nil
}
