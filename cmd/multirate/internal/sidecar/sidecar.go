// Package sidecar runs the service as a child process on a unix socket.
package sidecar

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	multirate "multirate/clients/go"
)

// Sidecar is a service that lives as long as its parent. It has a process group
// of its own, so that an interrupt typed at the terminal reaches the parent
// alone, which then stops it in good order.
type Sidecar struct {
	// Target is the gRPC target to dial.
	Target string
	// PID is the process's id.
	PID int
	// Grace is how long Stop waits before it kills. 0: 5 s.
	Grace time.Duration

	dir     string
	process *os.Process
	log     tail

	// exited is closed once the process has ended, with exit.
	exited chan struct{}
	exit   error
}

// Start runs `executable serve` on a socket in a fresh temporary folder. Its runs
// end with it.
func Start(executable string) (*Sidecar, error) {
	dir, err := os.MkdirTemp("", "multirate-")
	if err != nil {
		return nil, fmt.Errorf("folder for the sidecar's socket: %w", err)
	}
	s := &Sidecar{Target: "unix://" + filepath.Join(dir, "socket"), dir: dir, exited: make(chan struct{})}
	cmd := exec.Command(executable, "serve", "--listen", s.Target, "--log-level", "warn", "--in-memory")
	cmd.Stderr, cmd.SysProcAttr = &s.log, attributes()
	started := make(chan error)
	go s.run(cmd, started)
	if err := <-started; err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start the sidecar: %w", err)
	}
	s.process, s.PID = cmd.Process, cmd.Process.Pid
	return s, nil
}

// run starts the process and waits for its end. The kernel sends the parent's
// death signal when the thread that forked ends, not the process
// (go.dev/issue/27505), so the thread is kept until then.
func (s *Sidecar) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started <- err
	if err != nil {
		return
	}
	s.exit = cmd.Wait()
	close(s.exited)
}

// Dial connects once the service answers that it serves. It fails with what the
// process wrote last if that ends before.
func (s *Sidecar) Dial(ctx context.Context) (*multirate.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	go func() {
		select {
		case <-s.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	client, err := multirate.Dial(ctx, s.Target)
	select {
	case <-s.exited:
		if err == nil {
			_ = client.Close()
		}
		exit := s.exit
		if exit == nil {
			exit = errors.New("exit status 0")
		}
		return nil, fmt.Errorf("the sidecar ended at once (%w): %s", exit, s.log.String())
	default:
		return client, err
	}
}

// Stop ends the process, gracefully if it can, removes its folder and returns
// how it ended. Calling it again returns the same.
func (s *Sidecar) Stop() error {
	defer func() { _ = os.RemoveAll(s.dir) }()
	if err := s.process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = s.process.Kill() // no such signal on this system
	}
	grace := cmp.Or(s.Grace, 5*time.Second)
	select {
	case <-s.exited:
	case <-time.After(grace):
		_ = s.process.Kill()
		<-s.exited
		return fmt.Errorf("the sidecar had to be killed: it was given %s to stop", grace)
	}
	if s.exit != nil {
		return fmt.Errorf("the sidecar ended badly (%w): %s", s.exit, s.log.String())
	}
	return nil
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	last []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, p...)
	t.last = t.last[max(0, len(t.last)-tailBytes):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.last))
}
