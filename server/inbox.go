package server

import (
	"context"
	"errors"
	"io"
)

// inbox makes a stream's messages something that can be waited for together
// with what else may end the wait.
type inbox[M any] struct {
	ctx      context.Context
	messages chan message[M]
	// life is that of the run that the stream is of; nil while none is known.
	life context.Context
	id   string
	// stopping ends the wait with UNAVAILABLE; nil: it doesn't.
	stopping <-chan struct{}
}

type message[M any] struct {
	body M
	err  error
}

// receive reads a stream ahead by one message until it ends or its handler
// returns, which is when gRPC cancels the stream's context.
func receive[M any](ctx context.Context, recv func() (M, error)) *inbox[M] {
	in := &inbox[M]{ctx: ctx, messages: make(chan message[M])}
	go func() {
		for {
			body, err := recv()
			select {
			case in.messages <- message[M]{body, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return in
}

// attach binds the inbox to the present life of a run.
func (in *inbox[M]) attach(r *run) error {
	if err := r.lock(); err != nil {
		return err
	}
	in.life, in.id = r.life, r.id
	r.mu.Unlock()
	return nil
}

// next waits for the next message. The error is io.EOF when the client has sent
// its last one, or a status.
func (in *inbox[M]) next() (M, error) {
	var none M
	var ended <-chan struct{}
	if in.life != nil {
		ended = in.life.Done()
	}
	select {
	case m := <-in.messages:
		if m.err != nil && !errors.Is(m.err, io.EOF) && in.ctx.Err() != nil {
			return none, interrupted(in.ctx)
		}
		return m.body, m.err
	case <-in.ctx.Done():
		return none, interrupted(in.ctx)
	case <-ended:
		return none, in.endedStatus()
	case <-in.stopping:
		return none, stopping()
	}
}

func (in *inbox[M]) endedStatus() error { return ended(in.id, context.Cause(in.life)) }

// interrupted is the status of a call whose context or run has ended, or nil.
func (in *inbox[M]) interrupted() error {
	if in.ctx.Err() != nil {
		return interrupted(in.ctx)
	}
	if in.life != nil && in.life.Err() != nil {
		return in.endedStatus()
	}
	return nil
}
