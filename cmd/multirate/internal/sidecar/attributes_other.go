//go:build !unix

package sidecar

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
