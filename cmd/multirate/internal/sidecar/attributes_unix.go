//go:build unix && !linux

package sidecar

import "syscall"

// attributes puts the process into a group of its own. A parent that is killed
// leaves it behind: only Linux tells a process of its parent's death.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
