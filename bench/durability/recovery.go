package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"multirate/bench/trainer"
	multirate "multirate/clients/go"
	pb "multirate/proto/multirate/v1"
)

// comeBack kills a server that holds many runs, each with some events behind its
// last snapshot, and measures the time from the start of the next one until it
// has answered the next step of a run. Beside it stands the time until every run
// has had its answer, eight at a time.
func comeBack(s *service, runs int) error {
	ctx := context.Background()
	conn, _, err := s.start(ctx)
	if err != nil {
		return err
	}
	var all []*trainer.Trainer
	events, goal := 0, map[string]int64{}
	for i := range runs {
		t := trainer.New(fmt.Sprintf("run-%d", i), uint64(i))
		goal[t.Run] = int64(64 + i%64)
		all, events = append(all, t), events+1+int(goal[t.Run])
	}
	if err := each(all, func(t *trainer.Trainer) error { return train(ctx, conn, t, goal[t.Run]) }); err != nil {
		return err
	}
	if err := s.kill(); err != nil {
		return err
	}
	_ = conn.Close() // its server is gone
	conn, took, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(); _ = s.kill() }()
	begin := time.Now()
	if err := ask(ctx, conn, all[len(all)-1]); err != nil {
		return err
	}
	took += time.Since(begin)
	if err := each(all[:len(all)-1], func(t *trainer.Trainer) error { return ask(ctx, conn, t) }); err != nil {
		return err
	}
	fmt.Printf("every one of %d runs has its next rate, seconds: %.2f\n", runs, time.Since(begin).Seconds()+took.Seconds())
	fmt.Printf("recovery with %d runs of %d events, seconds: measured %.2f, limit %.2f: %s\n",
		runs, events, took.Seconds(), recoveryLimit, verdict(runs < 1000 || took.Seconds() <= recoveryLimit))
	return nil
}

// ask takes the next step.
func ask(ctx context.Context, conn *multirate.Client, t *trainer.Trainer) error {
	answer, err := conn.Service().GetLearningRate(ctx, t.Request())
	if err == nil {
		t.Descend(answer.Rates[0].LearningRate)
	}
	return err
}

// each does something for all trainers, eight at a time, and returns the errors.
func each(all []*trainer.Trainer, do func(*trainer.Trainer) error) error {
	work, failures := make(chan *trainer.Trainer), make([]error, 8)
	var working sync.WaitGroup
	for i := range failures {
		working.Go(func() {
			for t := range work {
				failures[i] = errors.Join(failures[i], do(t))
			}
		})
	}
	for _, t := range all {
		work <- t
	}
	close(work)
	working.Wait()
	return errors.Join(failures...)
}

// train declares a run and takes steps up to a goal.
func train(ctx context.Context, conn *multirate.Client, t *trainer.Trainer, goal int64) error {
	if _, err := conn.Service().CreateRun(ctx, &pb.CreateRunRequest{Run: t.Declared()}); err != nil {
		return err
	}
	for t.Step < goal {
		if err := ask(ctx, conn, t); err != nil {
			return err
		}
	}
	return nil
}
