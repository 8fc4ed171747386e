package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/peer"
)

const (
	// memorySuffix is what the contract puts behind the path of a unix socket for
	// that of the memory's.
	memorySuffix = ".memory"
	tokenBytes   = 32
	// postPatience is how long a caller at the post may take, postCallers how many
	// may be there at once.
	postPatience = 5 * time.Second
	postCallers  = 64
)

// post hands the memory of estimates out, over unix sockets beside those of the
// service: gRPC passes no file descriptors. Who may reach the one may reach the
// other; who asks for memory shows a token that only the estimate's stream told.
type post struct {
	log     *slog.Logger
	sockets atomic.Int64
	mu      sync.Mutex
	waiting map[[tokenBytes]byte]*os.File
}

// reaches reports whether the caller can come to the post.
func (p *post) reaches(ctx context.Context) bool {
	caller, ok := peer.FromContext(ctx)
	return ok && caller.Addr != nil && caller.Addr.Network() == "unix" && p.sockets.Load() > 0
}

// memory makes memory of that size, which whoever shows the token may have, once.
// Its size is sealed, so that neither side can make the other's reads fail.
// withdraw lets it go.
func (p *post) memory(size int) (memory, token []byte, withdraw func(), err error) {
	fd, err := unix.MemfdCreate("multirate", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("memfd: %w", err)
	}
	file := os.NewFile(uintptr(fd), "multirate")
	if memory, err = mapSealed(fd, size); err != nil {
		return nil, nil, nil, errors.Join(err, file.Close())
	}
	var key [tokenBytes]byte
	_, _ = rand.Read(key[:]) // never fails
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = map[[tokenBytes]byte]*os.File{}
	}
	p.waiting[key] = file
	return memory, key[:], func() {
		if left := p.take(key); left != nil {
			_ = left.Close()
		}
		_ = unix.Munmap(memory)
	}, nil
}

func mapSealed(fd, size int) ([]byte, error) {
	// Allocated now: a write to memory that can't be had would end the process.
	if err := unix.Fallocate(fd, 0, 0, int64(size)); err != nil {
		return nil, fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func (p *post) take(key [tokenBytes]byte) *os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	file := p.waiting[key]
	delete(p.waiting, key)
	return file
}

// open opens the post beside a listener, if that is a unix socket. Without one,
// vectors go in chunks.
func (p *post) open(beside net.Listener) (closePost func()) {
	address, ok := beside.Addr().(*net.UnixAddr)
	if !ok || address.Name == "" || strings.HasPrefix(address.Name, "@") {
		return func() {}
	}
	info, err := os.Stat(address.Name)
	if err != nil {
		return func() {}
	}
	l, err := ListenMode("unix:"+address.Name+memorySuffix, info.Mode())
	if err != nil {
		p.log.Info("no shared memory for trainers on this machine", "error", err)
		return func() {}
	}
	p.sockets.Add(1)
	var serving sync.WaitGroup
	serving.Go(func() { p.serve(l) })
	return func() {
		p.sockets.Add(-1)
		_ = l.Close()
		serving.Wait()
	}
}

func (p *post) serve(l net.Listener) {
	var callers sync.WaitGroup
	defer callers.Wait()
	places := make(chan struct{}, postCallers)
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case places <- struct{}{}:
		default:
			_ = conn.Close() // the trainer goes on with chunks
			continue
		}
		callers.Go(func() {
			defer func() { <-places }()
			defer func() { _ = conn.Close() }()
			p.hand(conn)
		})
	}
}

// hand gives one caller what its token is for.
func (p *post) hand(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(postPatience))
	var key [tokenBytes]byte
	if _, err := io.ReadFull(conn, key[:]); err != nil {
		return
	}
	file := p.take(key)
	if file == nil {
		return
	}
	defer func() { _ = file.Close() }()
	if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte{0}, unix.UnixRights(int(file.Fd())), nil); err != nil {
		p.log.Info("shared memory not handed over", "error", err)
	}
}
