//go:build unix

package server

import (
	"context"
	"net"
	"os"
	"syscall"
)

// listenUnix makes the socket with mode 0600. Linux takes the mode from the
// descriptor when it binds, so there is no moment at which others could
// connect; elsewhere the mode is set behind.
func listenUnix(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
	}}
	listener, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close() // the error that matters is Chmod's
		return nil, err
	}
	return listener, nil
}
