package testenv

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds a server's start: a second at most on an idle machine, the first time after an install more.
const startTimeout = time.Minute

// MotoServer is a running moto server: DynamoDB, KMS, Secrets Manager and CloudFormation, empty, held in memory.
type MotoServer struct {
	Endpoint string // http://127.0.0.1:port
}

// Moto starts a moto server for this test alone. It ends with the test.
func Moto(tb testing.TB) *MotoServer {
	tb.Helper()
	cmd := exec.Command(Script(tb, "moto_server"), "-H", "127.0.0.1", "-p", "0")
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	return &MotoServer{Endpoint: serve(tb, "moto", cmd)}
}

// Dynalite starts a dynalite server (DynamoDB) for this test alone, and returns its endpoint. It ends with the test.
func Dynalite(tb testing.TB) string {
	tb.Helper()
	modules := NodeModules(tb)
	cmd := exec.Command("node", filepath.Join(Root(tb), "internal", "testenv", "dynalite.js"))
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	return serve(tb, "dynalite", cmd)
}

// running is the line by which either server says where it listens. They choose the port themselves, so that there
// is no moment at which another process could take it.
var running = regexp.MustCompile(`Running on (http://127\.0\.0\.1:\d+)\s`)

// serve runs a server until the test ends, and returns its endpoint once it answers there.
func serve(tb testing.TB, name string, cmd *exec.Cmd) string {
	tb.Helper()
	out := &output{endpoint: make(chan string, 1)}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 5 * time.Second
	ownGroup(cmd)

	started, exited := make(chan error), make(chan error, 1)
	go func() {
		// Linux ends the server when the thread that started it ends (Pdeathsig), so this goroutine keeps its thread
		// for as long as the server runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			exited <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		tb.Fatalf("testenv: start %s: %v", name, err)
	}

	tb.Cleanup(func() {
		select {
		case err := <-exited:
			tb.Errorf("testenv: %s ended before the test: %v\n%s", name, err, out)
			return
		default:
		}
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			tb.Errorf("testenv: end %s: %v", name, err)
		}
		<-exited
		if tb.Failed() {
			tb.Logf("%s said:\n%s", name, out)
		}
	})

	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	select {
	case endpoint := <-out.endpoint:
		if err := answers(ctx, endpoint); err != nil {
			tb.Fatalf("testenv: %s does not answer: %v\n%s", name, err, out)
		}
		return endpoint
	case err := <-exited:
		exited <- err // for the clean-up, which reports it
		tb.FailNow()
	case <-ctx.Done():
		tb.Fatalf("testenv: %s did not start within %v\n%s", name, startTimeout, out)
	}
	panic("unreachable")
}

// answers waits for an answer, any at all.
func answers(ctx context.Context, endpoint string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// output keeps the end of what a server prints, and hands over the endpoint once it is named.
type output struct {
	mu       sync.Mutex
	tail     []byte
	found    bool
	endpoint chan string
}

// maxOutput bounds what is kept of a server's output; moto prints a line a request.
const maxOutput = 16 << 10

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail = append(o.tail, p...)
	if !o.found {
		if m := running.FindSubmatch(o.tail); m != nil {
			o.found = true
			o.endpoint <- string(m[1])
		}
	}
	if extra := len(o.tail) - maxOutput; extra > 0 {
		o.tail = append(o.tail[:0], o.tail[extra:]...)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.tail)
}
