package sidecar

import "syscall"

// attributes puts the process into a group of its own and lets it stop when its
// parent dies, however that came.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
