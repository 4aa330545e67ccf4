//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package filekeys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// lock keeps other writers of the file at path away until unlock is called, by a file beside it. A process that dies
// between leaves that behind; the error then names it.
func lock(path string) (unlock func(), err error) {
	path += ".lock"
	for range 50 {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			f.Close()
			return func() { os.Remove(path) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, fmt.Errorf("%s is there: another process is writing keys; if none is, remove it", path)
}
