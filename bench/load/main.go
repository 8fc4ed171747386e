// Command load measures the service under many runs at once: the p99 of
// GetLearningRate while each of 1,000 runs takes a step every 100 ms, the
// server's memory, and how that drifts over a soak. The server is a process of
// its own and keeps its runs on disk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	multirate "multirate/clients/go"
)

func main() {
	runs := flag.Int("runs", 1000, "runs at once")
	period := flag.Duration("period", 100*time.Millisecond, "time between two steps of a run")
	soak := flag.Duration("soak", time.Minute, "how long")
	memory := flag.Bool("in-memory", false, "a server that keeps nothing")
	figure := flag.String("figure", "", "the one of p99, memory and drift to end with, for a caller that reads one")
	flag.Parse()
	if err := measure(*runs, *period, *soak, *memory, *figure); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func measure(runs int, period, length time.Duration, inMemory bool, figure string) (err error) {
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, client, err := start(dir, inMemory)
	if err != nil {
		return err
	}
	defer func() { _ = s.Process.Kill(); _ = s.Wait() }()
	defer func() { _ = client.Close() }()
	result, err := soak(context.Background(), client, s.Process.Pid, runs, period, length)
	if err != nil {
		return err
	}
	result.print(figure)
	return nil
}

// start starts a server and waits until it answers.
func start(dir string, inMemory bool) (*exec.Cmd, *multirate.Client, error) {
	binary, address := filepath.Join(dir, "multirate"), "unix://"+filepath.Join(dir, "socket")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/multirate").CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("build: %w: %s", err, out)
	}
	args := []string{"serve", "--listen", address, "--log-level", "error"}
	if inMemory {
		args = append(args, "--in-memory")
	} else {
		args = append(args, "--data-dir", filepath.Join(dir, "data"))
	}
	cmd := exec.Command(binary, args...)
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	client, err := multirate.Dial(context.Background(), address)
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, nil, err
	}
	return cmd, client, nil
}

// resident is the memory that a process holds, in MiB.
func resident(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err == nil {
				return kib / 1024
			}
		}
	}
	return 0
}
