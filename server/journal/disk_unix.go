//go:build linux || darwin || freebsd

package journal

import "golang.org/x/sys/unix"

// freeBytes is the room that the disk of a folder has for this user.
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil //nolint:unconvert // the fields' types differ between systems
}
