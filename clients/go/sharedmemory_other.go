//go:build !linux

package multirate

// mapShared is for systems on which the service shares memory.
func mapShared(string, []byte, int) ([]byte, error) { return nil, errNoDescriptor }

func unmapShared([]byte) error { return nil }
