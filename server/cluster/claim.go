package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"multirate/server/journal"
)

// Claim is a run's being owned by this replica.
type Claim struct {
	lease    *lease
	revision uint64
}

// Valid reports whether this replica still owns the run. nil is not valid.
func (c *Claim) Valid() bool { return c != nil && c.lease.valid() }

// Elsewhere is the error of a claim on a run that another replica owns.
type Elsewhere struct {
	// Lease is the owner's, to forward calls to.
	Lease string
	// Address is where clients reach the owner.
	Address string
}

// Error names the owner.
func (e *Elsewhere) Error() string { return "the run is owned by the replica at " + e.Address }

// Claim makes this replica the owner of a run, if it is nobody else's. The error
// is [Elsewhere] or [ErrUnavailable].
func (m *Member) Claim(ctx context.Context, run string) (*Claim, error) {
	key := journal.Token(run)
	for ctx.Err() == nil {
		l := m.lease.Load()
		if !l.valid() {
			return nil, m.Valid()
		}
		held, err := m.owners.get(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if held.data == l.id {
			return &Claim{l, held.revision}, nil
		}
		if owner, err := m.owner(ctx, held.data); owner != nil || err != nil {
			return nil, errorOf(owner, err)
		}
		if m.retired.Load() {
			return nil, fmt.Errorf("%w: this replica is stopping", ErrUnavailable)
		}
		revision, err := m.owners.put(ctx, key, l.id, held.revision)
		if errors.Is(err, errRaced) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if c := (&Claim{l, revision}); c.Valid() {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
}

func errorOf(owner *Elsewhere, err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return owner
}

// owner is the replica of a lease; nil when the lease has ended.
func (m *Member) owner(ctx context.Context, lease string) (*Elsewhere, error) {
	if lease == "" {
		return nil, nil
	}
	kept, err := m.leases.get(ctx, lease)
	if err != nil || kept.revision == 0 {
		return nil, err
	}
	return &Elsewhere{Lease: lease, Address: kept.data}, nil
}

// Release gives a run back, so that another replica may claim it at once.
func (m *Member) Release(ctx context.Context, run string, c *Claim) error {
	if !c.Valid() {
		return nil
	}
	// A key without a value is as good as none, and goes by itself after a while.
	_, err := m.owners.put(ctx, journal.Token(run), "", c.revision, jetstream.WithMsgTTL(forgetAfter))
	if err != nil && !errors.Is(err, errRaced) {
		return fmt.Errorf("run not given back: %w", err)
	}
	return nil
}
