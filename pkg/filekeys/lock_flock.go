//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package filekeys

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// lock keeps other writers of the file at path away until unlock is called or the process ends. It locks the folder,
// since the file is replaced when it is written, and a lock file would be left lying about.
func lock(path string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = dir.Close()
		return nil, &os.PathError{Op: "lock", Path: dir.Name(), Err: err}
	}
	return func() { _ = dir.Close() }, nil
}
