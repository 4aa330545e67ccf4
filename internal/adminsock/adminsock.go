// Package adminsock lends a store to other processes over a unix socket. `latchkey dev` has the laptop's store open, and
// its file locked; while it runs, the other commands use the store through this socket.
//
//	l, err := adminsock.Listen(path)              // in dev
//	http.Serve(l, adminsock.Handler(store))
//
//	store, err := adminsock.Dial(path)            // in a command
//	if errors.Is(err, adminsock.ErrNotRunning) …  // then the file is free
//
// Who may connect may do everything, so the socket is its owner's alone from the moment it is there. It speaks JSON over
// HTTP, one POST an operation.
package adminsock

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

var (
	// ErrRunning says that a process serves this socket already.
	ErrRunning = errors.New("`latchkey dev` is running already")
	// ErrNotRunning says that no process serves this socket.
	ErrNotRunning = errors.New("`latchkey dev` is not running")
)

// Backend is what is served.
type Backend interface {
	client.Store
	user.Store
	issuer.Store
	keyring.PublicStore
	revocation.Log
}

// maxPath is the longest path that a socket can have on every system, in bytes; Linux has four more.
const maxPath = 103

// dialTimeout bounds how long it takes to see whether somebody serves a socket.
const dialTimeout = 2 * time.Second

// Listen makes the socket, mode 0600. One that a dead process left behind is replaced; one that is served is ErrRunning.
// Close removes it. Two processes must not call this at the same moment for one path: `latchkey dev` holds the lock of
// the store by then.
func Listen(path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("the admin socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("the admin socket: %s is in the way and is not a socket", path)
	default:
		c, err := dial(path)
		if err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("the admin socket %s: %w", path, ErrRunning)
		}
		if !errors.Is(err, ErrNotRunning) {
			return nil, err
		}
	}

	// A socket gets its mode only after it is there. So it is made in a folder that nobody else can enter, and moved,
	// which replaces a dead one in the same step.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("the admin socket: %w", err)
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	if longest := max(len(made), len(path)); longest > maxPath {
		return nil, fmt.Errorf("the admin socket: the path %s is too long for a socket: use a folder whose path is shorter by %d bytes",
			path, longest-maxPath)
	}
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("the admin socket: %w", err)
	}
	inner.SetUnlinkOnClose(false) // it would remove the name that the socket had first
	l := &listener{UnixListener: inner, path: path}
	if err = os.Chmod(made, 0o600); err == nil {
		if l.file, err = os.Lstat(made); err == nil {
			err = os.Rename(made, path)
		}
	}
	if err != nil {
		_ = inner.Close()
		return nil, fmt.Errorf("the admin socket: %w", err)
	}
	return l, nil
}

// listener removes its socket when it is closed.
type listener struct {
	*net.UnixListener
	path string
	file fs.FileInfo
}

func (l *listener) Close() error {
	// While it still listens: a process that comes later finds it served, or gone, and never puts one in its place
	// that would be removed here.
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
		_ = os.Remove(l.path) // one that stays is replaced by the next Listen
	}
	return l.UnixListener.Close()
}

// dial connects, or returns ErrNotRunning.
func dial(path string) (net.Conn, error) {
	if len(path) > maxPath { // which Listen would have refused
		return nil, ErrNotRunning
	}
	c, err := net.DialTimeout("unix", path, dialTimeout) //nolint:noctx // it takes no longer than that
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTSOCK):
		return nil, ErrNotRunning
	default:
		return nil, fmt.Errorf("the admin socket: %w", err)
	}
}
