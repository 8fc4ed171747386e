//go:build !unix

package server

import (
	"io/fs"
	"net"
)

func listenUnix(path string, _ fs.FileMode) (net.Listener, error) { return net.Listen("unix", path) }
