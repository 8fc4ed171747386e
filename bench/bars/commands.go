package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// commandBars are promises that a command of their own checks.
func commandBars() []bar {
	return []bar{
		figure("GetLearningRate over an empty call, p50", 1.5, "times", "./bench/latency"),
		figure("100 kills under load: steps lost or answered otherwise", 0, "steps", "./bench/durability", "-runs", "0"),
		figure("first rate after a kill with 1,000 runs", 2, "seconds", "./bench/durability", "-kills", "0"),
		figure("40 kills of nodes and owners of a cluster: steps lost or answered otherwise", 0, "steps", "./bench/cluster", "-figure", "lost"),
		figure("20 kills of a NATS node: longest wait for a step", 5, "seconds", "./bench/cluster", "-owner-kills", "0", "-figure", "node"),
		figure("20 kills of the owning replica: longest wait for a step", 5, "seconds", "./bench/cluster", "-node-kills", "0", "-figure", "owner"),
		figure("1,000 runs, a step each 100 ms: p99", 10, "ms", "./bench/load", "-figure", "p99"),
		figure("1,000 runs, a step each 100 ms: memory", 1024, "MiB", "./bench/load", "-figure", "memory"),
		figure("1,000 runs for a minute: memory of the last quarter", 1.25, "times", "./bench/load", "-figure", "drift"),
		failures("calls of every method fuzzed for 60 s", "go", "test", "./server", "-run", "^$", "-fuzz", "^FuzzCalls$", "-fuzztime", "60s", "-fuzzminimizetime", "1x"),
		figure("p99 with 200 hostile connections over without", 2, "times", "./bench/hostile"),
		figure("1e6 malformed calls over a socket: crashes, hangs, changes", 0, "failures", "./bench/mutate"),
		vectors("bare gRPC stream over vectors in chunks, throughput, float32", 1/0.9, "chunks over the best bare gRPC stream, float32"),
		vectors("raw unix socket over shared memory, throughput, float32", 1/0.6, "shared memory over a raw unix socket, float32"),
		vectors("raw unix socket over shared memory, throughput, float64", 1/0.6, "shared memory over a raw unix socket, float64"),
		failures("overheads of the Python client", "tools/python.sh", "python", "../../bench/python/overhead.py"),
		failures("what a spectrum costs the Python client", "tools/python.sh", "python", "../../bench/python/spectrum.py"),
		failures("float32 from PyTorch over float64 in Go", "tools/python.sh", "python", "../../bench/python/float32.py"),
		failures("late rates raise nothing", "tools/python.sh", "python", "../../bench/python/late.py"),
		figure("mini-batches, validation loss over the best tuned rate's", 1.02, "times", "./bench/minibatch"),
		failures("race detector", "go", "test", "-race", "./..."),
		failures("chunk decoder fuzzed for 10 s", "go", "test", "./server", "-run", "^$", "-fuzz", "^FuzzChunkDecoder$", "-fuzztime", "10s"),
		failures("windows of arbitrary finite sketches fuzzed for 10 s", "go", "test", "./estimator", "-run", "^$", "-fuzz", "^FuzzWindow$", "-fuzztime", "10s", "-fuzzminimizetime", "1x"),
		failures("scheduler state decoder fuzzed for 10 s", "go", "test", "./scheduler", "-run", "^$", "-fuzz", "^FuzzUnmarshalController$", "-fuzztime", "10s"),
		failures("properties of cycles, scales and rates, 1,000 draws", "go", "test", "./scheduler", "./estimator",
			"-run", "Cycle|Partial|Peak|Contraction|Equivarian|Certif", "-rapid.checks=1000", "-timeout", "20m"),
	}
}

// failures is the bar of a command that must not fail.
func failures(name string, command ...string) bar {
	return bar{name, 0, "failures", func(ctx context.Context, _ *bench) (float64, string, error) {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		note := strings.Join(command, " ")
		if err == nil && bytes.Contains(out, []byte("no tests to run")) {
			err = fmt.Errorf("no test matches")
		}
		if err != nil {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			return 1, fmt.Sprintf("%s: %v: %s", note, err, lines[len(lines)-1]), nil
		}
		return 0, note, nil
	}}
}

// vectors is a bar of the benchmark of vectors, which prints what is to be large:
// the bar is its reciprocal, which is to be small.
func vectors(name string, limit float64, line string) bar {
	return bar{name, limit, "times", func(ctx context.Context, _ *bench) (float64, string, error) {
		command := []string{"test", "./server", "-run", "^$", "-bench", "^BenchmarkVectors$", "-benchtime", "1x"}
		note := "go " + strings.Join(command, " ") + " prints all of it"
		out, err := exec.CommandContext(ctx, "go", command...).Output()
		if err != nil {
			return math.NaN(), note, fmt.Errorf("%s: %w", note, err)
		}
		_, rest, found := bytes.Cut(out, []byte(line+": "))
		m := measured.FindSubmatch(rest)
		if !found || m == nil {
			return math.NaN(), note, fmt.Errorf("no figure in the output of %s", note)
		}
		value, err := strconv.ParseFloat(string(m[1]), 64)
		return 1 / value, note, err
	}}
}

var measured = regexp.MustCompile(`measured ([0-9.]+)[,( ]`)

// figure runs a benchmark that prints what it measured beside its limit, and
// takes that over.
func figure(name string, limit float64, unit string, command ...string) bar {
	return bar{name, limit, unit, func(ctx context.Context, _ *bench) (float64, string, error) {
		note := "go run " + strings.Join(command, " ") + " prints all of it"
		out, err := exec.CommandContext(ctx, "go", append([]string{"run"}, command...)...).Output()
		if err != nil {
			return math.NaN(), note, fmt.Errorf("go run %s: %w", strings.Join(command, " "), err)
		}
		m := measured.FindSubmatch(out)
		if m == nil {
			return math.NaN(), note, fmt.Errorf("no figure in the output of %s", command[0])
		}
		value, err := strconv.ParseFloat(string(m[1]), 64)
		return value, note, err
	}}
}
