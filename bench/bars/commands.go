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
		{"GetLearningRate over an empty call, p50", 1.5, "times", latency},
		failures("overheads of the Python client", "tools/python.sh", "python", "../../bench/python/overhead.py"),
		failures("race detector", "go", "test", "-race", "./..."),
		failures("chunk decoder fuzzed for 10 s", "go", "test", "./server", "-run", "^$", "-fuzz", "^FuzzChunkDecoder$", "-fuzztime", "10s"),
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

var ratio = regexp.MustCompile(`measured ([0-9.]+), limit`)

// latency runs the latency benchmark and takes its ratio over.
func latency(ctx context.Context, _ *bench) (float64, string, error) {
	out, err := exec.CommandContext(ctx, "go", "run", "./bench/latency").Output()
	if err != nil {
		return math.NaN(), "", fmt.Errorf("go run ./bench/latency: %w", err)
	}
	m := ratio.FindSubmatch(out)
	if m == nil {
		return math.NaN(), "", fmt.Errorf("no ratio in the output of bench/latency")
	}
	value, err := strconv.ParseFloat(string(m[1]), 64)
	return value, "go run ./bench/latency prints all of it", err
}
