package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errRaced means that a key was written by another since it was read.
var errRaced = errors.New("written by another meanwhile")

// register is a key-value bucket with compare-and-set, whose reads are the
// leader's: a follower may not know yet what was acknowledged.
type register struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	prefix string
	// within bounds each question. What is sent to a node that dies, or while the
	// others elect a leader, is never answered, and should be sent again soon.
	within time.Duration
}

// value is what a key holds; revision 0 when that is nothing.
type value struct {
	data     string
	revision uint64
}

// openRegister makes the bucket. Keys vanish ttl after they were written, 0 for
// never.
func openRegister(ctx context.Context, js jetstream.JetStream, bucket string, replicas int, ttl, within time.Duration) (*register, error) {
	r := &register{js: js, prefix: "$KV." + bucket + ".", within: within}
	var err error
	r.stream, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "KV_" + bucket, Subjects: []string{r.prefix + ">"}, Storage: jetstream.FileStorage,
		MaxMsgsPerSubject: 1, MaxAge: ttl, Discard: jetstream.DiscardNew, DenyDelete: true, AllowRollup: true,
		AllowMsgTTL: true, Replicas: replicas, Duplicates: min(time.Minute, max(ttl, 100*time.Millisecond)),
	})
	return r, err
}

func (r *register) get(ctx context.Context, key string) (value, error) {
	ctx, cancel := context.WithTimeout(ctx, r.within)
	defer cancel()
	m, err := r.stream.GetLastMsgForSubject(ctx, r.prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return value{}, nil
	}
	if err != nil {
		return value{}, err
	}
	return value{string(m.Data), m.Sequence}, nil
}

// put writes a key that is still at that revision; errRaced when it is not.
// After any other error it may have been written or not.
func (r *register) put(ctx context.Context, key, data string, revision uint64, options ...jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.within)
	defer cancel()
	options = append(options, jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithRetryAttempts(0))
	ack, err := r.js.PublishMsg(ctx, &nats.Msg{Subject: r.prefix + key, Data: []byte(data)}, options...)
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			return 0, errRaced
		}
	}
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// remove takes a key out, whatever it holds.
func (r *register) remove(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, r.within)
	defer cancel()
	return r.stream.Purge(ctx, jetstream.WithPurgeSubject(r.prefix+key))
}
