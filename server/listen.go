package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// ErrAddressInUse means that another server answers at the address.
var ErrAddressInUse = errors.New("another server answers there")

// Listen listens on an address: "unix:///path" or "unix:path" for a unix
// socket, else "host:port" for TCP.
//
// A socket is for its owner alone (mode 0600), see [ListenMode], and goes when the listener is
// closed. One left behind by a server that was killed is replaced, but only if
// nobody answers on it.
func Listen(address string) (net.Listener, error) { return ListenMode(address, 0o600) }

// ListenMode is [Listen] with the mode of sockets: who may write to one may
// call.
func ListenMode(address string, mode fs.FileMode) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return net.Listen("tcp", address)
	}
	if abs, ok := strings.CutPrefix(path, "//"); ok {
		path = abs
	}
	listener, err := listenUnix(path, mode)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return listener, err
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listenUnix(path, mode)
}

// removeStale removes the socket at path if nobody answers on it.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("the file there is not a socket: choose another path")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close() // nothing was sent
		return ErrAddressInUse
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("can't tell whether the socket there is in use: %w", err)
	}
	return os.Remove(path)
}
