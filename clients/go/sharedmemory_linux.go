package multirate

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// attachTimeout bounds the wait at the service's memory socket.
const attachTimeout = 5 * time.Second

// mapShared fetches the descriptor that a token is for and maps its file.
func mapShared(path string, token []byte, size int) (memory []byte, err error) {
	conn, err := net.DialTimeout("unix", path, attachTimeout)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(attachTimeout)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(token); err != nil {
		return nil, err
	}
	file, err := receiveFile(conn.(*net.UnixConn))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }() // the map stays
	// Without the seals the service could cut the file short, and a read would
	// end this process.
	seals, err := unix.FcntlInt(file.Fd(), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if seals&unix.F_SEAL_SHRINK == 0 || info.Size() < int64(size) {
		return nil, errors.New("the service's memory is not sealed, or too small")
	}
	return unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func receiveFile(conn *net.UnixConn) (*os.File, error) {
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errNoDescriptor, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errNoDescriptor, err)
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "multirate"), nil
}

func unmapShared(memory []byte) error { return unix.Munmap(memory) }
