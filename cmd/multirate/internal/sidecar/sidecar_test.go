//go:build unix

package sidecar

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"multirate/server"
)

// behaviour tells this test binary, run as a sidecar, what to do.
const behaviour = "SIDECAR_TEST_BEHAVIOUR"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(serve(os.Getenv(behaviour), os.Args[3]))
	}
	os.Exit(m.Run())
}

func serve(behaviour, address string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch behaviour {
	case "fail":
		fmt.Fprintln(os.Stderr, "no, I won't")
		return 3
	case "hang":
		ctx = context.Background()
	}
	l, err := server.Listen(address)
	if err != nil {
		return 1
	}
	if server.Serve(ctx, server.Options{Logger: slog.New(slog.DiscardHandler)}, l) != nil {
		return 1
	}
	return 0
}

// start starts this binary as a sidecar.
func start(t *testing.T, how string) *Sidecar {
	t.Helper()
	t.Setenv(behaviour, how)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(executable)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkGone checks that process, socket and folder of a stopped sidecar are
// gone.
func checkGone(t *testing.T, s *Sidecar) {
	t.Helper()
	if err := syscall.Kill(s.PID, 0); err != syscall.ESRCH {
		t.Errorf("process %d still there: %v", s.PID, err)
	}
	if conn, err := net.Dial("unix", strings.TrimPrefix(s.Target, "unix://")); err == nil {
		_ = conn.Close()
		t.Error("socket still answers")
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("folder %s still there: %v", s.dir, err)
	}
}

func TestStartDialStop(t *testing.T) {
	s := start(t, "serve")
	client, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if group, err := syscall.Getpgid(s.PID); err != nil || group != s.PID {
		t.Errorf("process group %d, %v, want its own, %d", group, err, s.PID)
	}
	info, err := os.Stat(s.dir)
	if err != nil || info.Mode().Perm() != fs.FileMode(0o700) {
		t.Errorf("folder %v, %v, want one that only its owner can enter", info.Mode(), err)
	}
	_ = client.Close()
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}
	checkGone(t, s)
}

func TestDialSaysWhyTheProcessEnded(t *testing.T) {
	s := start(t, "fail")
	_, err := s.Dial(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no, I won't") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v, want the exit status and what the process wrote", err)
	}
	if err := s.Stop(); err == nil {
		t.Error("no error from Stop")
	}
	checkGone(t, s)
}

func TestStopKillsWhatHangs(t *testing.T) {
	s := start(t, "hang")
	s.Grace = 10 * time.Millisecond
	if _, err := s.Dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Its runtime would end it at SIGTERM unless the signal is ignored, which
	// NotifyContext has seen to.
	if err := s.Stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error %v, want that it was killed", err)
	}
	checkGone(t, s)
}

func TestStartOfNothingFails(t *testing.T) {
	if _, err := Start("/nonexistent/multirate"); err == nil {
		t.Error("no error")
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var log tail
	for i := range 2000 {
		_, _ = log.Write(fmt.Appendf(nil, "line %d\n", i)) // always nil
	}
	if s := log.String(); len(s) > tailBytes || !strings.HasSuffix(s, "line 1999") {
		t.Errorf("%d bytes, ending in %q", len(s), s[len(s)-20:])
	}
}
