//go:build !linux && !darwin && !freebsd

package journal

import "errors"

// freeBytes is unknown on this system.
func freeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }
