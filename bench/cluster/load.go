package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"multirate/bench/replicas"
	"multirate/bench/trainer"
	multirate "multirate/clients/go"
	pb "multirate/proto/multirate/v1"
	"multirate/server"
)

const (
	// stepEvery paces the trainers, so that the machine is not what they wait for.
	stepEvery = 10 * time.Millisecond
	// stepsToCalm is the number of steps that each trainer takes before the next
	// kill.
	stepsToCalm = 10
	// calmWithin bounds the wait for them, and for the cluster to be whole again.
	calmWithin = 2 * time.Minute
)

// load is trainers that take steps all the time.
type load struct {
	clients                           []*client
	acknowledged, failed, lost, wrong atomic.Int64

	halt    context.CancelFunc
	working sync.WaitGroup
	fatal   chan error
}

// client is a trainer, and what it should be told: the same run in a server in
// this process's memory, which is never killed. A run is made at one replica and
// goes on at another, so that calls are forwarded.
type client struct {
	*load
	trainer   *trainer.Trainer
	conn      *multirate.Client
	reference *server.Server

	mu      sync.Mutex
	steps   []step // since the last kill
	pending time.Time
}

// step is the time between the first attempt and the answer.
type step struct{ begun, answered time.Time }

func startLoad(ctx context.Context, o options, c *replicas.Cluster) (*load, error) {
	l := &load{fatal: make(chan error, o.trainers)}
	ctx, l.halt = context.WithCancel(ctx)
	reference := server.New(server.Options{Logger: slog.New(slog.DiscardHandler)})
	for i := range o.trainers {
		t := trainer.New(fmt.Sprintf("run-%d", i), o.seed+uint64(i))
		if err := makeRun(ctx, c.Target(i), t); err != nil {
			return nil, err
		}
		if _, err := reference.CreateRun(ctx, &pb.CreateRunRequest{Run: t.Declared()}); err != nil {
			return nil, err
		}
		conn, err := multirate.Dial(ctx, c.Target(i+i/len(c.Replicas)))
		if err != nil {
			return nil, err
		}
		l.clients = append(l.clients, &client{load: l, trainer: t, conn: conn, reference: reference})
	}
	for _, c := range l.clients {
		l.working.Go(func() {
			if err := c.work(ctx); err != nil && ctx.Err() == nil {
				l.fatal <- err
			}
		})
	}
	return l, nil
}

// makeRun declares a run, and takes its first step, at one replica.
func makeRun(ctx context.Context, target string, t *trainer.Trainer) error {
	conn, err := multirate.Dial(ctx, target)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Service().CreateRun(ctx, &pb.CreateRunRequest{Run: t.Declared()})
	return err
}

// work takes steps until the context ends.
func (c *client) work(ctx context.Context) error {
	for ctx.Err() == nil {
		request := c.trainer.Request()
		answer, err := c.ask(ctx, request)
		if err != nil {
			return err
		}
		want, err := c.reference.GetLearningRate(ctx, request)
		if err != nil || !proto.Equal(want, answer) {
			c.wrong.Add(1)
		}
		c.acknowledged.Add(1)
		c.trainer.Descend(answer.Rates[0].LearningRate)
		time.Sleep(stepEvery)
	}
	return nil
}

// ask asks until there is an answer.
func (c *client) ask(ctx context.Context, request *pb.GetLearningRateRequest) (*pb.GetLearningRateResponse, error) {
	begun := time.Now()
	c.mu.Lock()
	c.pending = begun
	c.mu.Unlock()
	for {
		answer, err := c.conn.Service().GetLearningRate(ctx, request)
		switch status.Code(err) {
		case codes.OK:
			c.mu.Lock()
			c.steps = append(c.steps, step{begun, time.Now()})
			c.mu.Unlock()
			return answer, nil
		case codes.Unavailable:
			c.failed.Add(1)
		default:
			return nil, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// kill kills a process, waits until every trainer has gone on, starts it again
// and waits until the cluster is whole. It returns the longest that any trainer
// waited for a step, from the kill or the step's beginning, in seconds.
func (l *load) kill(ctx context.Context, view *replicas.View, p *replicas.Process) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, calmWithin)
	defer cancel()
	for _, c := range l.clients {
		c.mu.Lock()
		c.steps = nil
		c.mu.Unlock()
	}
	killed := time.Now()
	if err := p.Kill(); err != nil {
		return 0, err
	}
	longest := time.Duration(0)
	for _, c := range l.clients {
		wait, err := c.calm(ctx, killed)
		if err != nil {
			return 0, err
		}
		longest = max(longest, wait)
	}
	if err := p.Start(); err != nil {
		return 0, err
	}
	if err := p.Listening(ctx); err != nil {
		return 0, err
	}
	return longest.Seconds(), view.Settle(ctx)
}

// calm waits until the trainer has taken some steps that began after the kill.
func (c *client) calm(ctx context.Context, killed time.Time) (longest time.Duration, err error) {
	for {
		c.mu.Lock()
		fresh := 0
		for _, s := range c.steps {
			if s.begun.After(killed) {
				fresh++
				longest = max(longest, s.answered.Sub(s.begun))
			} else {
				longest = max(longest, s.answered.Sub(killed))
			}
		}
		pending := c.pending
		c.mu.Unlock()
		if fresh >= stepsToCalm {
			return longest, nil
		}
		select {
		case err := <-c.fatal:
			return 0, err
		case <-ctx.Done():
			return 0, fmt.Errorf("run %s has waited %v for a step", c.trainer.Run, time.Since(pending).Round(time.Millisecond))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the trainers and compares where each run stands with what its trainer
// was told.
func (l *load) stop(ctx context.Context, c *replicas.Cluster) error {
	l.halt()
	l.working.Wait()
	var failures error
	for i, client := range l.clients {
		failures = errors.Join(failures, client.conn.Close())
		conn, err := multirate.Dial(ctx, c.Target(i))
		if err != nil {
			return err
		}
		run, err := conn.Service().GetRun(ctx, &pb.GetRunRequest{RunId: client.trainer.Run})
		failures = errors.Join(failures, err, conn.Close())
		if latest := run.GetRun().GetLatestStep(); err == nil && latest < client.trainer.Step-1 {
			l.lost.Add(client.trainer.Step - 1 - latest)
		}
	}
	return failures
}
