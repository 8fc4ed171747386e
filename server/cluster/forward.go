package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	callSubject = "multirate.call."
	// forgetAfter is the life of a key that says nothing any more.
	forgetAfter = time.Minute
)

// Errors of [Member.Forward].
var (
	// ErrGone means that the owner does not listen: the call has not reached it.
	ErrGone = errors.New("the owner is gone")
	// ErrNoAnswer means that the owner did not answer in time, and may have done
	// what was asked or not.
	ErrNoAnswer = errors.New("the owner did not answer")
	// ErrTooLarge means that the call or its answer does not fit into a message
	// of the cluster; the caller must go to the owner itself.
	ErrTooLarge = errors.New("larger than the NATS cluster's max_payload")
)

// Handler answers a call from another replica.
type Handler func(request []byte) (response []byte)

// Serve answers calls from other replicas, each in a goroutine of its own, until
// [Member.Leave].
func (m *Member) Serve(handler Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handler = handler
}

// listen makes a lease this member's, with its own subject of calls.
func (m *Member) listen(l *lease) error {
	calls, err := m.conn.Subscribe(callSubject+l.id, m.answer)
	if err != nil {
		return fmt.Errorf("calls of other replicas: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls != nil {
		_ = m.calls.Unsubscribe() // of a lease that has ended
	}
	m.calls = calls
	m.lease.Store(l)
	return nil
}

func (m *Member) answer(call *nats.Msg) {
	m.mu.Lock()
	defer m.mu.Unlock()
	handler := m.handler
	if handler == nil || m.left {
		_ = call.Respond(nil) // this replica is gone, or not there yet
		return
	}
	m.answered.Go(func() {
		response := handler(call.Data)
		if int64(len(response)) > m.conn.MaxPayload() {
			_ = call.RespondMsg(&nats.Msg{Header: nats.Header{tooLarge: []string{"true"}}})
			return
		}
		// A caller that does not hear asks again.
		_ = call.Respond(response)
	})
}

const tooLarge = "Multirate-Too-Large"

// Forward hands a call to the holder of a lease and returns the answer. The
// error is [ErrGone], [ErrNoAnswer] or [ErrTooLarge].
func (m *Member) Forward(ctx context.Context, lease string, request []byte) ([]byte, error) {
	if int64(len(request)) > m.conn.MaxPayload() {
		return nil, ErrTooLarge
	}
	answer, err := m.conn.RequestWithContext(ctx, callSubject+lease, request)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, ErrGone
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	case answer.Header.Get(tooLarge) != "":
		return nil, ErrTooLarge
	case len(answer.Data) == 0:
		return nil, ErrGone
	}
	return answer.Data, nil
}
