// Command durability measures what a durable server promises: that nothing
// acknowledged is lost when it is killed under load, that each rate after it is
// the one that would have come without, and how long it takes to come back with
// many runs. The server is a process of its own, ended by SIGKILL.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	multirate "multirate/clients/go"
)

const (
	lostLimit     = 0
	recoveryLimit = 2.0
)

func main() {
	kills := flag.Int("kills", 100, "times that the server is killed under load; 0 leaves this part out")
	runs := flag.Int("runs", 1000, "runs to come back with; 0 leaves this part out")
	sync := flag.String("sync", "interval", "the server's --sync")
	flag.Parse()
	if err := measure(*kills, *runs, *sync); err != nil {
		fmt.Fprintln(os.Stderr, "durability:", err)
		os.Exit(1)
	}
}

func measure(kills, runs int, sync string) (err error) {
	dir, err := os.MkdirTemp("", "durability")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary := filepath.Join(dir, "multirate")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/multirate").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	if kills > 0 {
		if err := killUnderLoad(&service{binary: binary, dir: dir, name: "kills", sync: sync}, kills); err != nil {
			return err
		}
	}
	if runs > 0 {
		return comeBack(&service{binary: binary, dir: dir, name: "runs", sync: sync}, runs)
	}
	return nil
}

// service is a server process on a data directory.
type service struct {
	binary, dir, name, sync string
	process                 *exec.Cmd
}

func (s *service) address() string { return "unix://" + filepath.Join(s.dir, s.name+".sock") }

// start starts the process and returns once it answers, with how long that took.
func (s *service) start(ctx context.Context) (*multirate.Client, time.Duration, error) {
	begin := time.Now()
	s.process = exec.Command(s.binary, "serve", "--listen", s.address(), "--sync", s.sync,
		"--data-dir", filepath.Join(s.dir, s.name), "--log-level", "error")
	s.process.Stderr = os.Stderr
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client, err := multirate.Dial(ctx, s.address())
	return client, time.Since(begin), err
}

func (s *service) kill() error {
	if err := s.process.Process.Kill(); err != nil {
		return err
	}
	_ = s.process.Wait() // it was killed
	return nil
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "short"
}
