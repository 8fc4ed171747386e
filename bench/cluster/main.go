// Command cluster measures what several replicas on a NATS cluster promise: that
// nothing acknowledged is lost when a node or the replica that owns a run is
// killed under load, that each rate after it is the one that would have come
// without, and that calls succeed again soon. Nodes and replicas are processes on
// loopback, ended by SIGKILL.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"multirate/bench/replicas"
)

const (
	lostLimit   = 0
	outageLimit = 5.0
)

type options struct {
	nodes, replicas, trainers int
	nodeKills, ownerKills     int
	figure                    string
	stock, verbose            bool
	seed                      uint64
}

func main() {
	var o options
	flag.IntVar(&o.nodes, "nodes", 3, "NATS nodes")
	flag.IntVar(&o.replicas, "replicas", 3, "replicas of the service")
	flag.IntVar(&o.trainers, "trainers", 8, "trainers that take steps meanwhile")
	flag.IntVar(&o.nodeKills, "node-kills", 20, "times that a node drawn at random is killed")
	flag.IntVar(&o.ownerKills, "owner-kills", 20, "times that the replica is killed that owns a run drawn at random")
	flag.StringVar(&o.figure, "figure", "", "print this figure alone: lost, node or owner")
	flag.BoolVar(&o.stock, "stock", false, "elections as slow as NATS's own")
	flag.BoolVar(&o.verbose, "v", false, "print what the processes write, and each kill")
	flag.Uint64Var(&o.seed, "seed", 101, "of what is killed, and of the trainers")
	flag.Parse()
	if err := measure(o); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func measure(o options) (err error) {
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary := filepath.Join(dir, "multirate")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/multirate").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	log := io.Discard
	if o.verbose {
		log = os.Stderr
	}
	c, err := replicas.Start(replicas.Options{
		Binary: binary, Dir: dir, Nodes: o.nodes, Replicas: o.replicas, Log: log,
		NodeArgs: []string{fmt.Sprintf("--quick-elections=%v", !o.stock)},
	})
	if err != nil {
		return err
	}
	defer c.Stop()
	view, err := c.Inspect()
	if err != nil {
		return err
	}
	defer view.Close()
	return killAll(context.Background(), o, c, view)
}

// killAll kills nodes and owners in turn, and prints what came of it.
func killAll(ctx context.Context, o options, c *replicas.Cluster, view *replicas.View) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	for _, r := range c.Replicas {
		if err := r.Listening(ctx); err != nil {
			return err
		}
	}
	l, err := startLoad(ctx, o, c)
	if err != nil {
		return err
	}
	draw := rand.New(rand.NewPCG(o.seed, 2))
	var node, owner []float64
	leaders := 0
	for range o.nodeKills {
		victim := draw.IntN(o.nodes)
		leader, err := view.Leader(ctx)
		if err != nil {
			return err
		}
		if leader == victim {
			leaders++
		}
		outage, err := l.kill(ctx, view, c.Nodes[victim])
		if err != nil {
			return fmt.Errorf("after the kill of a node: %w", err)
		}
		if o.verbose {
			fmt.Printf("node %d killed, leader %d: %.2f s\n", victim, leader, outage)
		}
		node = append(node, outage)
	}
	for range o.ownerKills {
		victim, err := view.Owner(ctx, l.clients[draw.IntN(o.trainers)].trainer.Run)
		if err != nil {
			return err
		}
		outage, err := l.kill(ctx, view, c.Replicas[victim])
		if err != nil {
			return fmt.Errorf("after the kill of an owner: %w", err)
		}
		if o.verbose {
			fmt.Printf("replica %d killed: %.2f s\n", victim, outage)
		}
		owner = append(owner, outage)
	}
	if err := l.stop(ctx, c); err != nil {
		return err
	}
	report(o, l, node, owner, leaders)
	return nil
}

func report(o options, l *load, node, owner []float64, leaders int) {
	lost, wrong := l.lost.Load(), l.wrong.Load()
	if o.figure == "" || o.figure == "lost" {
		fmt.Printf("%d NATS nodes, %d replicas, %d trainers, %d steps acknowledged, %d calls failed and were repeated by the trainers\n",
			o.nodes, o.replicas, o.trainers, l.acknowledged.Load(), l.failed.Load())
		fmt.Printf("acknowledged steps lost or answered otherwise over %d kills: measured %d (%d lost, %d other rates), limit %d: %s\n",
			len(node)+len(owner), lost+wrong, lost, wrong, lostLimit, verdict(lost+wrong <= lostLimit && l.acknowledged.Load() > 0))
	}
	if o.figure == "" || o.figure == "node" {
		printOutage(fmt.Sprintf("a NATS node killed %d times, %d of them the leader", len(node), leaders), node)
	}
	if o.figure == "" || o.figure == "owner" {
		printOutage(fmt.Sprintf("the owning replica killed %d times", len(owner)), owner)
	}
}

// printOutage prints the longest time that any trainer waited for a step.
func printOutage(what string, seconds []float64) {
	if len(seconds) == 0 {
		return
	}
	slices.Sort(seconds)
	most := seconds[len(seconds)-1]
	fmt.Printf("%s, longest wait for a step after it, seconds: measured %.2f (median %.2f), limit %.0f: %s\n",
		what, most, seconds[len(seconds)/2], outageLimit, verdict(most <= outageLimit))
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "short"
}
