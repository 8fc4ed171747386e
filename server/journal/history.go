package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Snapshot is the state of a run after some event.
type Snapshot struct {
	// State is nil when there is none.
	State []byte
	// Index is the caller's number of the last event that State contains.
	Index int64
	// Sequence is that event's in the journal.
	Sequence uint64
	// Revision is the snapshot's own, 0 for none: what Save compares with.
	Revision uint64
}

// Event is one event of a run.
type Event struct {
	Data []byte
	// Sequence counts the events of all runs; a run's are ascending.
	Sequence uint64
}

// A run's name holds letters, digits, '_', '-', '.' and '/'. Dots divide
// subjects, so they are written as '=', which names don't hold.
func name(token string) string { return strings.ReplaceAll(token, "=", ".") }

// Token is a run's name as one token of a subject.
func Token(run string) string { return strings.ReplaceAll(run, ".", "=") }

// Runs lists the runs that have a history, in ascending order.
func (j *Journal) Runs(ctx context.Context) ([]string, error) {
	ctx, cancel := j.within(ctx, listWithin)
	defer cancel()
	names := map[string]struct{}{}
	for _, from := range []struct {
		stream jetstream.Stream
		prefix string
	}{{j.events, eventSubject}, {j.stored, snapshotPrefix}} {
		info, err := from.stream.Info(ctx, jetstream.WithSubjectFilter(from.prefix+">"))
		if err != nil {
			return nil, translate("list runs", err)
		}
		for subject := range info.State.Subjects {
			names[name(strings.TrimPrefix(subject, from.prefix))] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Count is the number of runs that have events. It costs one question, however
// many there are.
func (j *Journal) Count(ctx context.Context) (int, error) {
	ctx, cancel := j.within(ctx, askWithin)
	defer cancel()
	info, err := j.events.Info(ctx)
	if err != nil {
		return 0, translate("count runs", err)
	}
	return int(info.State.NumSubjects), nil
}

// Append adds an event to a run and returns its sequence once it is kept. after
// is the sequence of the run's last event so far, 0 for none; ErrConflict when
// it is not. ErrFull and ErrDiskFull refuse; after ErrUnavailable the event may
// have been kept or not.
func (j *Journal) Append(ctx context.Context, run string, after uint64, event []byte) (uint64, error) {
	if err := j.full(); err != nil {
		return 0, err
	}
	return j.publish(ctx, run, after, event)
}

func (j *Journal) publish(ctx context.Context, run string, after uint64, event []byte) (uint64, error) {
	ctx, cancel := j.within(ctx, keepWithin)
	defer cancel()
	ack, err := j.js.PublishMsg(ctx, &nats.Msg{Subject: eventSubject + Token(run), Data: event},
		jetstream.WithExpectLastSequencePerSubject(after), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, translate("append", err)
	}
	j.reach(ack.Sequence)
	return ack.Sequence, nil
}

// within bounds the wait for a cluster. Inside this process JetStream's own bound
// is for a disk that hangs.
func (j *Journal) within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if j.embedded != nil {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// message reads one message of a stream.
func (j *Journal) message(ctx context.Context, get func(context.Context) (*jetstream.RawStreamMsg, error)) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := j.within(ctx, askWithin)
	defer cancel()
	return get(ctx)
}

// snapshotHeader is index and sequence.
const snapshotHeader = 16

// Save replaces the snapshot of a run, if it is still the one of that revision,
// and returns the new revision. ErrConflict otherwise.
func (j *Journal) Save(ctx context.Context, run string, s Snapshot) (uint64, error) {
	if err := j.full(); err != nil {
		return 0, err
	}
	value := make([]byte, 0, snapshotHeader+len(s.State))
	value = binary.LittleEndian.AppendUint64(value, uint64(s.Index))
	value = binary.LittleEndian.AppendUint64(value, s.Sequence)
	ctx, cancel := j.within(ctx, keepWithin)
	defer cancel()
	ack, err := j.js.PublishMsg(ctx, &nats.Msg{Subject: snapshotPrefix + Token(run), Data: append(value, s.State...)},
		jetstream.WithExpectLastSequencePerSubject(s.Revision), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, translate("save a snapshot", err)
	}
	return ack.Sequence, nil
}

// Snapshot returns the snapshot of a run; its State is nil when there is none.
func (j *Journal) Snapshot(ctx context.Context, run string) (Snapshot, error) {
	entry, err := j.message(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return j.stored.GetLastMsgForSubject(ctx, snapshotPrefix+Token(run))
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Snapshot{}, nil
	}
	if err != nil {
		return Snapshot{}, translate("read a snapshot", err)
	}
	value := entry.Data
	if len(value) < snapshotHeader {
		return Snapshot{}, fmt.Errorf("snapshot of run %s has %d bytes", run, len(value))
	}
	s := Snapshot{
		State:    value[snapshotHeader:],
		Index:    int64(binary.LittleEndian.Uint64(value)),
		Sequence: binary.LittleEndian.Uint64(value[8:]),
		Revision: entry.Sequence,
	}
	if s.Sequence <= j.reached.Load() {
		return s, nil
	}
	info, err := j.events.Info(ctx)
	if err != nil {
		return Snapshot{}, translate("read a snapshot", err)
	}
	if j.reach(info.State.LastSeq); s.Sequence <= info.State.LastSeq {
		return s, nil
	}
	// A damaged file has lost its last events. The snapshot still holds what
	// they did, but new ones would get sequences that it seems to contain.
	s.Sequence = info.State.LastSeq
	s.Revision, err = j.Save(ctx, run, s)
	return s, err
}

// reach notes that an event of that sequence is there.
func (j *Journal) reach(sequence uint64) {
	for {
		known := j.reached.Load()
		if sequence <= known || j.reached.CompareAndSwap(known, sequence) {
			return
		}
	}
}

// Events calls do for each event of a run behind a sequence, in order, until it
// returns an error.
func (j *Journal) Events(ctx context.Context, run string, behind uint64, do func(Event) error) error {
	for {
		m, err := j.message(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return j.events.GetMsg(ctx, behind+1, jetstream.WithGetMsgSubject(eventSubject+Token(run)))
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return translate("read events", err)
		}
		if err := do(Event{m.Data, m.Sequence}); err != nil {
			return err
		}
		behind = m.Sequence
	}
}

// Latest returns the last event of a run, the zero one when there is none.
func (j *Journal) Latest(ctx context.Context, run string) (Event, error) {
	m, err := j.message(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return j.events.GetLastMsgForSubject(ctx, eventSubject+Token(run))
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Event{}, nil
	}
	if err != nil {
		return Event{}, translate("read the last event", err)
	}
	return Event{m.Data, m.Sequence}, nil
}

// Remove forgets a run. tombstone is an event that tells a reader to remove the
// run, should this process end half-way; after is as for Append. Calling it
// again, with a nil tombstone, completes a removal that failed.
//
// It works on a full disk. In a full journal, which has no room for the
// tombstone, a removal that was cut short may leave the run as its snapshot
// has it.
func (j *Journal) Remove(ctx context.Context, run string, after uint64, tombstone []byte) error {
	if tombstone != nil {
		if _, err := j.publish(ctx, run, after, tombstone); err != nil && !errors.Is(err, ErrFull) {
			return err
		}
	}
	ctx, cancel := j.within(ctx, listWithin)
	defer cancel()
	if err := j.stored.Purge(ctx, jetstream.WithPurgeSubject(snapshotPrefix+Token(run))); err != nil {
		return translate("remove a snapshot", err)
	}
	if err := j.events.Purge(ctx, jetstream.WithPurgeSubject(eventSubject+Token(run))); err != nil {
		return translate("remove events", err)
	}
	return nil
}
