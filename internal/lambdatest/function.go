//go:build unix

package lambdatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

const (
	defaultTimeout = 10 * time.Second
	initTimeout    = 10 * time.Second // Lambda's
	maxPayload     = 6 << 20          // Lambda's, of a request and of a response
)

// Config says what to run.
type Config struct {
	// Binary is the path of the function's executable, as Build returns it.
	Binary string
	// Env is the function's own configuration. It comes on top of Lambda's variables and wins over them; nothing of
	// the test's own environment is passed on.
	Env map[string]string
	// Timeout bounds one invocation; 0 means 10 seconds.
	Timeout time.Duration
	// Name is the function's name; "" means "function".
	Name string
}

// FunctionError is what Lambda makes of an invocation that the function did not answer: it returned an error, it
// panicked, it exited ("Runtime.ExitError"), it took too long ("Sandbox.Timedout"), or it answered too much
// ("Function.ResponseSizeTooLarge").
type FunctionError struct {
	Type, Message string
}

func (e *FunctionError) Error() string { return e.Type + ": " + e.Message }

// ErrorMessage is what API Gateway goes by.
func (e *FunctionError) ErrorMessage() string { return e.Message }

// InitError says why a function did not come up: it exited, reported an error, or took too long before it first asked
// for an invocation. The text of the error holds the logs.
type InitError struct {
	Type, Message string
	Logs          string
}

func (e *InitError) Error() string {
	return fmt.Sprintf("function did not start: %s: %s; its logs:\n%s", e.Type, e.Message, e.Logs)
}

// ErrGone is the error of an invocation of a function whose process ended before it.
var ErrGone = errors.New("lambdatest: the function's process is gone")

// errKilled is why the process ended where Kill, or the test's end, has ended it.
var errKilled = errors.New("killed by the test")

// Function is one instance of a Lambda function: one process, and the Runtime API that it talks to. Its methods may be
// called from several goroutines.
type Function struct {
	name    string
	timeout time.Duration
	logFile string
	cmd     *exec.Cmd

	started  chan struct{} // closed once the two below are set
	pid      int
	startErr error

	turn       chan struct{}         // holds a token while an invocation is running
	polls      chan chan *invocation // the process asks for its next invocation here
	ready      chan struct{}         // closed at the first poll
	initFailed chan struct{}         // closed once the process has reported that it can't start
	exited     chan struct{}         // closed once the process has been waited for

	state state
}

// Start starts a function. It does not wait until the function is ready, as Lambda does not: Ready does, and Invoke,
// which return an *InitError if it never is. The process is killed at the end of the test.
//
// A test fails at once only if the process can't be started at all.
func Start(tb testing.TB, cfg Config) *Function {
	tb.Helper()
	dir, workDir := tb.TempDir(), tb.TempDir()
	f := &Function{
		name:       cfg.Name,
		timeout:    cfg.Timeout,
		logFile:    filepath.Join(dir, "log"),
		started:    make(chan struct{}),
		turn:       make(chan struct{}, 1),
		polls:      make(chan chan *invocation),
		ready:      make(chan struct{}),
		initFailed: make(chan struct{}),
		exited:     make(chan struct{}),
	}
	if f.name == "" {
		f.name = "function"
	}
	if f.timeout == 0 {
		f.timeout = defaultTimeout
	}

	// The logs go to a file, not through a pipe: what the function wrote before it answered is there when its answer is.
	logs, err := os.OpenFile(f.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		tb.Fatalf("lambdatest: the log file: %v", err)
	}
	defer logs.Close()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("lambdatest: the Runtime API's address: %v", err)
	}
	server := &http.Server{Handler: f.runtimeAPI()}
	go server.Serve(listener) // until Close
	tb.Cleanup(func() {
		f.Kill()
		server.Close()
	})

	f.cmd = exec.Command(cfg.Binary)
	f.cmd.Dir = workDir // nothing of the repository is at hand
	f.cmd.Env = environment(f.name, listener.Addr().String(), cfg.Env)
	f.cmd.Stdout, f.cmd.Stderr = logs, logs
	f.cmd.SysProcAttr = ownGroup()

	go f.run()
	<-f.started
	if f.startErr != nil {
		tb.Fatalf("lambdatest: starting %s: %v", cfg.Binary, f.startErr)
	}
	timer := time.AfterFunc(initTimeout, func() {
		select {
		case <-f.ready:
		default:
			f.kill(&FunctionError{"Sandbox.Timedout", fmt.Sprintf("initialization took more than %v", initTimeout)})
		}
	})
	tb.Cleanup(func() { timer.Stop() })
	return f
}

// run starts the process and waits for its end, both on one thread that lasts as long: the kernel kills the process
// when the *thread* that started it ends.
func (f *Function) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(f.exited)
	if f.startErr = f.cmd.Start(); f.startErr == nil {
		f.pid = f.cmd.Process.Pid
	}
	close(f.started)
	if f.startErr != nil {
		return
	}
	_ = f.cmd.Wait() // what it ended with is in ProcessState
	// Children that it may have left behind.
	_ = syscall.Kill(-f.pid, syscall.SIGKILL)
}

// environment is what Lambda's provided.al2023 runtime gives a function, with credentials that are worth nothing.
func environment(name, runtimeAPI string, own map[string]string) []string {
	env := map[string]string{
		"AWS_ACCESS_KEY_ID":               "test",
		"AWS_SECRET_ACCESS_KEY":           "test",
		"AWS_SESSION_TOKEN":               "test",
		"AWS_REGION":                      region,
		"AWS_DEFAULT_REGION":              region,
		"AWS_LAMBDA_FUNCTION_NAME":        name,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      "2026/09/01/[$LATEST]0123456789abcdef0123456789abcdef",
		"AWS_LAMBDA_RUNTIME_API":          runtimeAPI,
		"_HANDLER":                        "bootstrap",
		"LAMBDA_TASK_ROOT":                "/var/task",
		"LAMBDA_RUNTIME_DIR":              "/var/runtime",
		"LANG":                            "en_US.UTF-8",
		"LD_LIBRARY_PATH":                 "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
		"PATH":                            "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
		"TZ":                              ":UTC",
	}
	maps.Copy(env, own)
	list := make([]string, 0, len(env))
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		list = append(list, variable+"="+env[variable])
	}
	return list
}

// Ready waits until the function has come up and asks for its first invocation.
func (f *Function) Ready(ctx context.Context) error {
	select {
	case <-f.ready:
		return nil
	default:
	}
	select {
	case <-f.ready:
		return nil
	case <-f.initFailed:
	case <-f.exited:
	case <-ctx.Done():
		return ctx.Err()
	}
	e := f.state.initError() // a report says more than the end that follows it
	if e == nil {
		e = f.exitError()
	}
	return &InitError{e.Type, e.Message, f.Logs()}
}

// Invoke has the function answer one event. Callers queue; each invocation thaws the process. If ctx ends first, Invoke
// returns its error and the invocation goes on, as on Lambda, until it is done or its time is up.
func (f *Function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	if len(payload) > maxPayload {
		return nil, fmt.Errorf("lambdatest: a payload of %d bytes is more than Lambda takes", len(payload))
	}
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := f.Ready(ctx); err != nil {
		<-f.turn
		return nil, err
	}
	inv := newInvocation(payload)
	go func() {
		f.perform(inv)
		<-f.turn
	}()
	select {
	case <-inv.done:
		return inv.response, inv.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// perform gives the invocation to the process and sees to it that it ends.
func (f *Function) perform(inv *invocation) {
	select {
	case <-f.exited: // a poll that it has left behind is worth nothing
		inv.finish(nil, fmt.Errorf("%w: %s", ErrGone, f.exitError().Message))
		return
	default:
	}
	// The process may still be on its way from its last answer to its next poll, or to its end.
	select {
	case poll := <-f.polls:
		inv.deadline = time.Now().Add(f.timeout)
		f.state.begin(inv)
		f.signal(syscall.SIGCONT)
		poll <- inv
	case <-f.exited:
		inv.finish(nil, fmt.Errorf("%w: %s", ErrGone, f.exitError().Message))
		return
	}

	timer := time.NewTimer(f.timeout)
	defer timer.Stop()
	select {
	case <-inv.done:
	case <-timer.C:
		e := &FunctionError{
			"Sandbox.Timedout",
			fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", inv.id, f.timeout.Seconds()),
		}
		f.kill(e)
		inv.finish(nil, e)
	case <-f.exited:
		e := f.exitError()
		inv.finish(nil, &FunctionError{e.Type, "RequestId: " + inv.id + " Error: " + e.Message})
	}
	f.state.end()
}

// Frozen tells whether the process is stopped, as it is whenever it waits for an invocation.
func (f *Function) Frozen() bool {
	select {
	case <-f.exited:
		return false
	default:
		return stopped(f.pid)
	}
}

// PID returns the process's id, for a test that looks at what it takes of the machine.
func (f *Function) PID() int { return f.pid }

// Logs returns what the function has written to its standard output and error so far.
func (f *Function) Logs() string {
	logs, err := os.ReadFile(f.logFile)
	if err != nil {
		return fmt.Sprintf("lambdatest: the logs can't be read: %v", err)
	}
	return string(logs)
}

// Kill ends the process, frozen or not, and waits until it is gone. It may be called again.
func (f *Function) Kill() {
	f.kill(errKilled)
}

func (f *Function) kill(why error) {
	select {
	case <-f.exited: // it has its own reason
		return
	default:
	}
	f.state.killedFor(why)
	f.signal(syscall.SIGKILL)
	<-f.exited
}

// signal sends to the process and its children, unless the process has been waited for: its number may be another's by
// then.
func (f *Function) signal(s syscall.Signal) {
	<-f.started // its first poll may come before we know its number
	if f.startErr != nil {
		return
	}
	select {
	case <-f.exited:
	default:
		_ = syscall.Kill(-f.pid, s)
	}
}

// exitError says how the process ended. It may be called once exited is closed.
func (f *Function) exitError() *FunctionError {
	if why := f.state.why(); why != nil {
		if e, ok := errors.AsType[*FunctionError](why); ok {
			return e
		}
		return &FunctionError{"Runtime.ExitError", why.Error()}
	}
	return &FunctionError{"Runtime.ExitError", fmt.Sprintf("Runtime exited with error: %v", f.cmd.ProcessState)}
}
