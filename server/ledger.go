package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "multirate/proto/multirate/journal/v1"
	"multirate/server/cluster"
	"multirate/server/journal"
)

// Journal keeps the histories of runs beyond the life of the process;
// [journal.Journal] is one, and documents the methods.
type Journal interface {
	Runs(ctx context.Context) ([]string, error)
	Count(ctx context.Context) (int, error)
	Snapshot(ctx context.Context, run string) (journal.Snapshot, error)
	Events(ctx context.Context, run string, behind uint64, do func(journal.Event) error) error
	Latest(ctx context.Context, run string) (journal.Event, error)
	Append(ctx context.Context, run string, after uint64, event []byte) (sequence uint64, err error)
	Save(ctx context.Context, run string, s journal.Snapshot) (revision uint64, err error)
	Remove(ctx context.Context, run string, after uint64, tombstone []byte) error
	Writable() error
}

const (
	// snapshotEvery is the number of events after which a run's state is saved.
	// More make the first call after a restart slower, by 0.2 ms each; fewer make
	// training write more, since a snapshot is as large as about 25 events.
	snapshotEvery = 16
	// mostUnsaved is the number of events beyond which the run must be saved
	// before it goes on, or the journal would forget events that a fold needs.
	mostUnsaved = journal.LeastKept / 2
)

// ledger is a run's place in the journal. The run's lock guards it.
type ledger struct {
	journal Journal
	log     *slog.Logger
	name    string
	// index and last are the number and the sequence of the latest event.
	index int64
	last  uint64
	// saved is the number of the latest event that the snapshot contains,
	// revision the snapshot's.
	saved    int64
	revision uint64
	// stale: the run's state has not been read yet, or an event may have been
	// kept or not, so that it must be read before anything else.
	stale bool
	// broken is why no state can be made of the history; nil for most.
	broken error
	// removed: the history is gone, and the name may be another run's by now.
	removed bool
	// closed: the server has stopped.
	closed bool

	// cluster is where the run's owner is found, nil where there is but one
	// process; claim is this replica's, if it is the owner.
	cluster *cluster.Member
	claim   *cluster.Claim
	// drop takes the run out of the server, which others may then own.
	drop func()
}

func (s *Server) newLedger(key runKey) *ledger {
	if s.options.Journal == nil {
		return nil
	}
	return &ledger{
		journal: s.options.Journal, log: s.log, name: key.String(), cluster: s.options.Cluster,
		drop: func() {
			if _, err := s.runs.Delete(context.Background(), key.String()); err == nil {
				s.tenants.get(key.tenant).runs.Add(-1)
			}
		},
	}
}

// record keeps an event, in which it fills index and time in. It returns once
// the event is kept. After an error the state is read again before the next
// call, so that it is what the journal has. The caller holds the lock.
func (r *run) record(now func() time.Time, e *journalv1.Event) error {
	l := r.ledger
	if l == nil {
		return nil
	}
	l.stale = true
	e.Index, e.Time = l.index+1, timestamppb.New(now())
	b, err := proto.Marshal(e)
	if err != nil {
		return err
	}
	// The call's context plays no part: were it cancelled in between, nobody
	// would know whether the event was kept.
	last, err := l.journal.Append(context.Background(), l.name, l.last, b)
	if errors.Is(err, journal.ErrConflict) {
		l.claim = nil // perhaps another replica has taken the run over
	}
	if err != nil {
		return err
	}
	l.last, l.index, l.stale = last, e.Index, false
	return nil
}

// makeRoom saves the state where the journal would else forget events that a
// fold needs. It comes before the state changes, which is then what the snapshot
// holds. The caller holds the lock.
func (r *run) makeRoom() error {
	l := r.ledger
	if l == nil || l.index-l.saved < mostUnsaved {
		return nil
	}
	if err := r.saveNow(); err != nil {
		l.stale = true
		return journalError(r.id, err)
	}
	return nil
}

// recordAdvice keeps what a report changed.
func (r *run) recordAdvice(now func() time.Time, rep *report, a advice) error {
	switch {
	case r.ledger == nil:
	case a.applied:
		return r.record(now, &journalv1.Event{Change: &journalv1.Event_Observed{Observed: &journalv1.ObservedEvent{
			Step: rep.step, Statistics: rep.statistics, AppliedLearningRates: rep.applied, Asked: rep.asked, Answer: a.answer,
		}}})
	case a.handed:
		return r.record(now, &journalv1.Event{Change: &journalv1.Event_Handed{Handed: &journalv1.HandedEvent{Step: rep.step}}})
	}
	return nil
}

// save saves the run's state if that contains so many events more than the
// snapshot. A failure is logged; the events are still there. The caller holds
// the lock.
func (s *Server) save(r *run, events int64) {
	l := r.ledger
	if l == nil || l.stale || l.closed || l.broken != nil || r.deleted || r.left != nil || !l.owned() || l.index-l.saved < events {
		return
	}
	if err := r.saveNow(); err != nil {
		l.stale = true // perhaps it was saved, under a revision not known here
		s.log.Warn("snapshot not saved", "run", r.key, "error", err)
	}
}

func (r *run) saveNow() error {
	l := r.ledger
	b, err := r.encode()
	if err != nil {
		return err
	}
	l.revision, err = l.journal.Save(context.Background(), l.name,
		journal.Snapshot{State: b, Index: l.index, Sequence: l.last, Revision: l.revision})
	if err == nil {
		l.saved = l.index
	}
	return err
}

// owned reports whether this replica advises the run.
func (l *ledger) owned() bool { return l.cluster == nil || l.claim.Valid() }

// refresh reads the state from the journal again where that may differ. The
// caller holds the lock.
func (r *run) refresh() error {
	l := r.ledger
	if l == nil || !l.stale && l.broken == nil {
		return nil
	}
	if l.broken != nil {
		return historyDamaged(r.id, l.broken)
	}
	f, err := l.load()
	l.report(f, err)
	switch {
	case errors.Is(err, journal.ErrUnavailable):
		return journalError(r.id, err)
	case err != nil:
		l.broken = err
		return historyDamaged(r.id, err)
	case f.deleted:
		if err := r.completeRemoval(); err != nil {
			return err
		}
		r.deleted = true
		r.end(errDeleted)
		return ended(r.id, errDeleted)
	}
	r.state, l.stale = f.state, false
	return nil
}

// mend makes the ledger ready for an event that replaces the state. The caller
// holds the lock.
func (r *run) mend() error {
	l := r.ledger
	if err := r.refresh(); err == nil || l.broken == nil {
		return err
	}
	if err := l.clear(context.Background()); err != nil {
		return journalError(r.id, err)
	}
	return nil
}

// clear begins the history anew.
func (l *ledger) clear(ctx context.Context) error {
	if err := l.journal.Remove(context.WithoutCancel(ctx), l.name, 0, nil); err != nil {
		return err
	}
	*l = ledger{journal: l.journal, log: l.log, name: l.name, cluster: l.cluster, claim: l.claim, drop: l.drop}
	return nil
}

// load folds the run's history.
func (l *ledger) load() (fold, error) {
	ctx := context.Background()
	s, err := l.journal.Snapshot(ctx, l.name)
	if err != nil {
		return fold{}, err
	}
	f := fold{index: s.Index}
	l.last, l.saved, l.revision = s.Sequence, s.Index, s.Revision
	if s.State != nil {
		if f.state, err = decodeState(s.State); err != nil {
			return fold{}, err
		}
	} else {
		l.last = 0
	}
	err = l.journal.Events(ctx, l.name, l.last, func(e journal.Event) error {
		var event journalv1.Event
		if err := proto.Unmarshal(e.Data, &event); err != nil {
			return fmt.Errorf("%w: %w", errForeignEvent, err)
		}
		l.last = e.Sequence
		return f.apply(&event)
	})
	l.index = f.index
	return f, err
}

// forget deletes the run and its history. Where the history can't be removed
// the run is deleted all the same once its end is kept, and calling it again
// goes on with the removal. The caller holds the lock.
func (r *run) forget(now func() time.Time) error {
	l := r.ledger
	if l == nil {
		if r.deleted {
			return runNotFound(r.id)
		}
		r.delete(now)
		return nil
	}
	if l.removed {
		return runNotFound(r.id)
	}
	tombstone, err := r.tombstone(now)
	if err != nil {
		return err
	}
	l.stale = true
	if err := l.journal.Remove(context.Background(), l.name, l.last, tombstone); err != nil {
		return journalError(r.id, err)
	}
	l.removed = true
	r.delete(now)
	return nil
}

// tombstone is the last event of a run; nil where there is one already, or
// where it would do no good behind a damaged history.
func (r *run) tombstone(now func() time.Time) ([]byte, error) {
	l := r.ledger
	if err := r.usable(); err != nil {
		if r.deleted || l.broken != nil {
			return nil, nil
		}
		return nil, err
	}
	b, err := proto.Marshal(&journalv1.Event{
		Index: l.index + 1, Time: timestamppb.New(now()),
		Change: &journalv1.Event_Deleted{Deleted: &journalv1.DeletedEvent{}},
	})
	if err != nil {
		return nil, coreError(err)
	}
	return b, nil
}
