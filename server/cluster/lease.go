package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync/atomic"
	"time"
)

// lease is a replica's time to own runs. It never comes back once it has ended:
// the replica takes another, of another id.
type lease struct {
	id      string
	address string
	// until is the end of it, in nanoseconds since the process's epoch; renewals
	// put it off. It is earlier than the key's own end by margin, so that this
	// replica stops before another begins.
	until    atomic.Int64
	revision uint64 // of the key; the renewing goroutine's
}

var errEnded = errors.New("the lease has ended")

// epoch makes monotonic times of durations: a clock that is set does not matter.
var epoch = time.Now()

func (l *lease) valid() bool { return int64(time.Since(epoch)) < l.until.Load() }

// end ends the lease here and now.
func (l *lease) end() { l.until.Store(0) }

// take writes a new lease.
func (m *Member) take(ctx context.Context) (*lease, error) {
	l := &lease{id: strings.ToLower(rand.Text()), address: m.options.Address}
	return l, m.write(ctx, l)
}

// write writes the lease's key, for the first time or again.
func (m *Member) write(ctx context.Context, l *lease) error {
	begin := time.Since(epoch)
	revision, err := m.leases.put(ctx, l.id, l.address, l.revision)
	if err != nil {
		return err
	}
	renewed := l.revision != 0
	l.revision = revision
	if renewed && !l.valid() {
		return errEnded // the answer came too late: a leader that is gone may have let others claim
	}
	l.until.Store(int64(begin + m.options.TTL - m.margin()))
	return nil
}

// margin is what clocks that run at different rates may disagree by within a
// lease's time.
func (m *Member) margin() time.Duration { return m.options.TTL / 10 }

// renew puts the lease's end off. It returns false when the lease has ended.
func (m *Member) renew(ctx context.Context, l *lease) bool {
	if !l.valid() {
		return false
	}
	err := m.write(ctx, l)
	if err == nil {
		return l.valid()
	}
	// Perhaps it was written, under a revision not known here. Since nobody else
	// writes the key, whatever revision it has is this lease's.
	if kept, e := m.leases.get(ctx, l.id); e == nil && kept.revision > 0 {
		l.revision = kept.revision
	} else if e == nil && errors.Is(err, errRaced) {
		l.end() // the key is gone
	}
	return l.valid()
}

// keep renews the lease until the member leaves, and takes another whenever it
// has ended in spite of that.
func (m *Member) keep(ctx context.Context) {
	ticker := time.NewTicker(m.options.TTL / 5)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if l := m.lease.Load(); !m.renew(ctx, l) && ctx.Err() == nil {
			m.begin(ctx, l)
		}
	}
}

// begin takes a new lease after one has ended.
func (m *Member) begin(ctx context.Context, ended *lease) {
	l, err := m.take(ctx)
	if err == nil {
		err = m.listen(l)
	}
	if err != nil {
		m.options.Logger.Warn("no lease: this replica owns no run", "error", err)
		return
	}
	// Others need not wait for the end of its key. If it stays, it ends by itself.
	if err := m.leases.remove(ctx, ended.id); err != nil {
		m.options.Logger.Debug("lease not removed", "lease", ended.id, "error", err)
	}
	m.options.Logger.Warn("the lease had ended; runs are claimed anew", "ended", ended.id, "lease", l.id)
	select {
	case m.lapsed <- struct{}{}:
	default:
	}
}
