// Command load measures the service under many runs at once: the p99 of
// GetLearningRate while each of 1,000 runs takes a step every 100 ms, the
// server's memory, and how that drifts over a soak. The server is a process of
// its own and keeps its runs on disk.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
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
	profile := flag.String("profile", "", "file for a profile of the server's CPU; the load's own goes beside it, with .client at its end")
	flag.Parse()
	if err := measure(*runs, *period, *soak, *memory, *figure, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func measure(runs int, period, length time.Duration, inMemory bool, figure, profile string) (err error) {
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, client, err := start(dir, inMemory, profile != "")
	if err != nil {
		return err
	}
	defer func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() }()
	defer func() { _ = client.Close() }()
	profiled := make(chan error, 1)
	go func() { profiled <- s.profile(profile, length*2/3) }()
	result, err := soak(context.Background(), client, s.cmd.Process.Pid, runs, period, length)
	if err = errors.Join(err, <-profiled); err != nil {
		return err
	}
	result.print(figure)
	return nil
}

// process is a server under load.
type process struct {
	cmd   *exec.Cmd
	admin string // empty: none
}

// start starts a server and waits until it answers.
func start(dir string, inMemory, admin bool) (*process, *multirate.Client, error) {
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
	s := &process{}
	if admin {
		free, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			return nil, nil, err
		}
		s.admin = free.Addr().String()
		_ = free.Close()
		args = append(args, "--admin", s.admin)
	}
	s.cmd = exec.Command(binary, args...)
	s.cmd.Stderr, s.cmd.SysProcAttr = os.Stderr, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, nil, err
	}
	client, err := multirate.Dial(context.Background(), address)
	if err != nil {
		_ = s.cmd.Process.Kill()
		return nil, nil, err
	}
	return s, client, nil
}

// profile writes where server and load spend their time, once they are at it.
func (s *process) profile(path string, length time.Duration) error {
	if path == "" {
		return nil
	}
	own, err := os.Create(path + ".client")
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	time.Sleep(length / 4)
	if err := pprof.StartCPUProfile(own); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	answer, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", s.admin, max(1, length.Seconds())))
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s: %s", answer.Status, b)
	}
	return os.WriteFile(path, b, 0o600)
}

// processorTime is what a process has used, in seconds.
func processorTime(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return math.NaN()
	}
	// Behind the name, which is in parentheses: state is field 3, utime and stime
	// 14 and 15, in ticks of 10 ms (proc(5); USER_HZ is 100 on every port).
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return math.NaN()
	}
	user, errUser := strconv.ParseFloat(fields[11], 64)
	system, errSystem := strconv.ParseFloat(fields[12], 64)
	if errors.Join(errUser, errSystem) != nil {
		return math.NaN()
	}
	return (user + system) / 100
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
