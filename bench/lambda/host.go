package lambda

import (
	"fmt"
	"os"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/lambdatest"
)

// host is what lambdatest asks of a test, outside of one.
type host struct {
	testing.TB // only its methods below are called
	dir        string
	cleanups   []func()
}

// failure is what Fatalf panics with.
type failure struct{ error }

func newHost() (*host, error) {
	dir, err := os.MkdirTemp("", "bench-lambda-")
	return &host{dir: dir}, err
}

func (h *host) Helper()                           {}
func (h *host) Cleanup(f func())                  { h.cleanups = append(h.cleanups, f) }
func (h *host) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

func (h *host) TempDir() string {
	dir, err := os.MkdirTemp(h.dir, "")
	if err != nil {
		h.Fatalf("%w", err)
	}
	return dir
}

func (h *host) start(c lambdatest.Config) (f *lambdatest.Function, err error) {
	defer func() {
		if p := recover(); p != nil {
			failed, ok := p.(failure)
			if !ok {
				panic(p)
			}
			err = failed.error
		}
	}()
	return lambdatest.Start(h, c), nil
}

// stop ends what was started since it was called last.
func (h *host) stop() {
	for len(h.cleanups) > 0 {
		last := len(h.cleanups) - 1
		f := h.cleanups[last]
		h.cleanups = h.cleanups[:last]
		f()
	}
}

func (h *host) close() {
	h.stop()
	os.RemoveAll(h.dir)
}
