//go:build unix

package server

import (
	"context"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// listenUnix makes the socket. Linux takes the mode from the
// descriptor when it binds, so there is no moment at which others could
// connect; elsewhere the mode is set behind.
func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode.Perm())) })
	}}
	listener, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode.Perm()); err != nil {
		_ = listener.Close() // the error that matters is Chmod's
		return nil, err
	}
	return listener, nil
}
