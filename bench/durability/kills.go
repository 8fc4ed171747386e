package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"multirate/bench/trainer"
	pb "multirate/proto/multirate/v1"
	"multirate/server"
)

// load is how many trainers step at once while the server is killed.
const load = 16

// tally counts what trainers saw.
type tally struct{ acknowledged, lost, wrong atomic.Int64 }

// killUnderLoad kills the server at random moments while trainers take steps as
// fast as they can. Each keeps a reference: the same run in a server that lives
// in this process's memory and is never killed. After a kill the server must
// know the last acknowledged step, or the one in flight, and every answer must
// be the reference's.
func killUnderLoad(s *service, kills int) error {
	ctx := context.Background()
	var t tally
	var clients []*client
	reference := server.New(server.Options{Logger: slog.New(slog.DiscardHandler)})
	for i := range load {
		c := &client{trainer: trainer.New(fmt.Sprintf("run-%d", i), uint64(i)), reference: reference, tally: &t}
		if _, err := reference.CreateRun(ctx, &pb.CreateRunRequest{Run: c.trainer.Declared()}); err != nil {
			return err
		}
		clients = append(clients, c)
	}
	var starts []float64
	for range kills + 1 {
		conn, took, err := s.start(ctx)
		if err != nil {
			return err
		}
		starts = append(starts, took.Seconds())
		var stop atomic.Bool
		var working sync.WaitGroup
		for _, c := range clients {
			working.Go(func() { c.work(ctx, conn.Service(), &stop) })
		}
		time.Sleep(100*time.Millisecond + time.Duration(rand.IntN(300))*time.Millisecond)
		if err := s.kill(); err != nil {
			return err
		}
		stop.Store(true)
		if err := conn.Close(); err != nil {
			return err
		}
		working.Wait()
	}
	slices.Sort(starts)
	fmt.Printf("killed %d times under the load of %d trainers, %d steps acknowledged, back in %.2f s at the median, %.2f s at most\n",
		kills, load, t.acknowledged.Load(), starts[len(starts)/2], starts[len(starts)-1])
	bad := t.lost.Load() + t.wrong.Load()
	fmt.Printf("acknowledged steps lost or answered otherwise: measured %d (%d lost, %d other rates), limit %d: %s\n",
		bad, t.lost.Load(), t.wrong.Load(), lostLimit, verdict(bad <= lostLimit && t.acknowledged.Load() > 0))
	return nil
}

// client is a trainer, what it was told, and what it should have been.
type client struct {
	trainer   *trainer.Trainer
	reference *server.Server
	tally     *tally
	latest    int64 // acknowledged
	begun     bool
}

// work takes steps until the server is gone.
func (c *client) work(ctx context.Context, service pb.LearningRateServiceClient, stop *atomic.Bool) {
	run, err := service.CreateRun(ctx, &pb.CreateRunRequest{Run: c.trainer.Declared()})
	if err != nil {
		return // killed before
	}
	at := int64(-1)
	if run.Run.LatestStep != nil {
		at = *run.Run.LatestStep
	}
	if c.begun && at < c.latest {
		c.tally.lost.Add(c.latest - at)
	}
	for !stop.Load() {
		request := c.trainer.Request()
		answer, err := service.GetLearningRate(ctx, request)
		if err != nil {
			if code := status.Code(err); code != codes.Unavailable && code != codes.Canceled {
				c.tally.lost.Add(1)
				fmt.Println(err)
			}
			return
		}
		want, err := c.reference.GetLearningRate(ctx, request)
		if err != nil || !proto.Equal(want, answer) {
			c.tally.wrong.Add(1)
		}
		c.begun, c.latest = true, request.Step
		c.tally.acknowledged.Add(1)
		c.trainer.Descend(answer.Rates[0].LearningRate)
	}
}
