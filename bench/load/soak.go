package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	multirate "multirate/clients/go"
	pb "multirate/proto/multirate/v1"
)

const (
	dimension   = 251
	p99Limit    = 10.0   // milliseconds
	memoryLimit = 1024.0 // MiB
	driftLimit  = 1.25   // memory of the last quarter over that of the second
)

// outcome is what a soak showed.
type outcome struct {
	latencies []float64 // milliseconds, ascending
	memory    []float64 // MiB, a sample each second
	late      int       // steps that began after the next one was due
	wall      time.Duration
	// server and load are the processor time of each, in seconds.
	server, load float64
}

// soak lets every run take a step each period. Runs start spread over a period,
// as trainers that know nothing of each other do.
func soak(ctx context.Context, client *multirate.Client, pid, runs int, period, length time.Duration) (outcome, error) {
	service := client.Service()
	for i := range runs {
		_, err := service.CreateRun(ctx, &pb.CreateRunRequest{Run: &pb.Run{
			RunId: fmt.Sprintf("run-%d", i), Dimension: dimension, LossLowerBound: proto.Float64(0),
			Sketch: &pb.SketchSpec{Dimension: dimension},
		}})
		if err != nil {
			return outcome{}, err
		}
	}
	before, own := processorTime(pid), processorTime(os.Getpid())
	begin := time.Now()
	end := begin.Add(length)
	results, failures := make([]outcome, runs), make([]error, runs)
	var working sync.WaitGroup
	for i := range runs {
		working.Go(func() {
			first := begin.Add(time.Duration(rand.Int64N(int64(period))))
			results[i], failures[i] = steps(ctx, service, fmt.Sprintf("run-%d", i), uint64(i), first, end, period)
		})
	}
	var all outcome
	for time.Now().Before(end) {
		time.Sleep(time.Second)
		all.memory = append(all.memory, resident(pid))
	}
	working.Wait()
	all.wall = time.Since(begin)
	all.server, all.load = processorTime(pid)-before, processorTime(os.Getpid())-own
	for _, r := range results {
		all.latencies = append(all.latencies, r.latencies...)
		all.late += r.late
	}
	slices.Sort(all.latencies)
	return all, errors.Join(failures...)
}

// steps descends a quadratic of three scales, whose gradient is its own sketch.
func steps(ctx context.Context, service pb.LearningRateServiceClient, run string, seed uint64, at, end time.Time, period time.Duration) (o outcome, err error) {
	random := rand.New(rand.NewPCG(seed, 1))
	lambda, x := make([]float64, dimension), make([]float64, dimension)
	for i := range lambda {
		lambda[i] = math.Pow(1e-3, float64(i%3)) * math.Pow(4, random.Float64())
		x[i] = random.NormFloat64() / math.Sqrt(lambda[i])
	}
	for step := int64(0); at.Before(end); step++ {
		time.Sleep(time.Until(at))
		loss, norm, sketch := 0.0, 0.0, make([]float32, dimension)
		for i, l := range lambda {
			g := l * x[i]
			sketch[i] = float32(g)
			loss += g * x[i] / 2
			norm += g * g
		}
		called := time.Now()
		answer, err := service.GetLearningRate(ctx, &pb.GetLearningRateRequest{RunId: run, Step: step, Statistics: &pb.Statistics{
			Loss: &loss, GradientNormSquared: &norm,
			Sketches: []*pb.Sketch{{Kind: pb.SketchKind_SKETCH_KIND_GRADIENT, Values: sketch}},
		}})
		if err != nil {
			return o, err
		}
		o.latencies = append(o.latencies, time.Since(called).Seconds()*1e3)
		for i, l := range lambda {
			x[i] -= answer.Rates[0].LearningRate * l * x[i]
		}
		if at = at.Add(period); time.Now().After(at) { // no bunching up: the trainer is late
			o.late++
			at = time.Now()
		}
	}
	return o, nil
}

func (o outcome) quantile(q float64) float64 { return o.latencies[int(q*float64(len(o.latencies)-1))] }

// drift is the memory of the last quarter over that of the second.
func (o outcome) drift() float64 {
	quarter := len(o.memory) / 4
	if quarter == 0 {
		return math.NaN()
	}
	return slices.Max(o.memory[3*quarter:]) / slices.Max(o.memory[quarter:2*quarter])
}

func (o outcome) print(figure string) {
	fmt.Printf("%d steps in %.0f s, %d began late; p50 %.2f ms, p90 %.2f ms\n",
		len(o.latencies), o.wall.Seconds(), o.late, o.quantile(0.5), o.quantile(0.9))
	steps := float64(len(o.latencies))
	fmt.Printf("processor time of a step: server %.0f us, load %.0f us; busy were %.2f cores\n",
		o.server/steps*1e6, o.load/steps*1e6, (o.server+o.load)/o.wall.Seconds())
	for _, f := range []struct {
		name, what      string
		measured, limit float64
	}{
		{"p99", "p99 of GetLearningRate, ms", o.quantile(0.99), p99Limit},
		{"memory", "memory, MiB", slices.Max(o.memory), memoryLimit},
		{"drift", "memory of the last quarter over the second", o.drift(), driftLimit},
	} {
		verdict := "short"
		if f.measured <= f.limit {
			verdict = "ok"
		}
		if figure == "" || figure == f.name {
			fmt.Printf("%s: measured %.2f, limit %g: %s\n", f.what, f.measured, f.limit, verdict)
		}
	}
}
