//go:build unix

package lambdatest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/latchkey-auth/latchkey/internal/lambdatest"
)

var _ lambda.Handler = (*lambdatest.Function)(nil)

func start(t *testing.T, cfg lambdatest.Config) *lambdatest.Function {
	t.Helper()
	cfg.Binary = lambdatest.Build(t, "./testdata/function")
	return lambdatest.Start(t, cfg)
}

type state struct {
	Ticks, Invocations      int64
	Now, Deadline           time.Time
	PID                     int
	Env                     []string
	Dir                     string
	RequestID, ARN, TraceID string
}

func stateOf(t *testing.T, f *lambdatest.Function) state {
	t.Helper()
	out, err := f.Invoke(t.Context(), []byte(`"state"`))
	if err != nil {
		t.Fatalf("Invoke: %v\n%s", err, f.Logs())
	}
	var s state
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return s
}

// waitFor waits for something that the kernel or another process does in its own time.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func gone(pid int) func() bool {
	return func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
}

func TestInvoke(t *testing.T) {
	f := start(t, lambdatest.Config{})
	for _, payload := range []string{`{"a":1}`, `"b"`, ``} {
		got, err := f.Invoke(t.Context(), []byte(payload))
		if err != nil || string(got) != payload {
			t.Errorf("Invoke(%s) = %s, %v", payload, got, err)
		}
	}
	// What it wrote before its answer is there with its answer.
	if got, want := f.Logs(), strings.Repeat("echoing\non both\n", 3); got != want {
		t.Errorf("logs = %q, want %q", got, want)
	}
}

func TestFrozenBetweenInvocations(t *testing.T) {
	f := start(t, lambdatest.Config{})
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "frozen before its first invocation", f.Frozen)

	before := stateOf(t, f)
	waitFor(t, "frozen after an invocation", f.Frozen)

	// This has to be real time: it is the other process's clocks that are looked at.
	const nap = 400 * time.Millisecond
	for end := time.Now().Add(nap); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !f.Frozen() {
			t.Fatal("it ran without an invocation")
		}
	}

	after := stateOf(t, f)
	if after.PID != before.PID || after.Invocations != before.Invocations+1 {
		t.Errorf("not the same process: %+v, %+v", before, after)
	}
	if passed := after.Now.Sub(before.Now); passed < nap {
		t.Errorf("the wall clock went on by %v, less than %v", passed, nap)
	}
	// Its goroutines did not run meanwhile. They do run between the answer and the freeze, hence not exactly 0.
	if ticks := after.Ticks - before.Ticks; ticks > nap.Milliseconds()/2 {
		t.Errorf("a background goroutine ticked %d times in a freeze of %v", ticks, nap)
	}
	waitFor(t, "frozen again", f.Frozen)
}

func TestRunsWhileInvoked(t *testing.T) {
	f := start(t, lambdatest.Config{Timeout: 300 * time.Millisecond})
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "frozen before its first invocation", f.Frozen)
	done := make(chan error)
	go func() {
		_, err := f.Invoke(t.Context(), []byte(`"hang"`))
		done <- err
	}()
	waitFor(t, "thawed", func() bool { return !f.Frozen() })
	if err := <-done; err == nil {
		t.Error("an invocation that hangs has an answer")
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("LAMBDATEST_LEAK", "the test's own")
	f := start(t, lambdatest.Config{
		Name: "token", Timeout: 3 * time.Second,
		Env: map[string]string{"ISSUER": "https://auth.example.com", "AWS_REGION": "eu-west-1"},
	})
	s := stateOf(t, f)

	var names []string
	for _, variable := range s.Env {
		name, value, _ := strings.Cut(variable, "=")
		if name == "_X_AMZN_TRACE_ID" {
			continue // aws-lambda-go's doing, an invocation
		}
		names = append(names, name)
		want, told := map[string]string{
			"ISSUER":                      "https://auth.example.com",
			"AWS_REGION":                  "eu-west-1",
			"AWS_LAMBDA_FUNCTION_NAME":    "token",
			"AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
			"AWS_ACCESS_KEY_ID":           "test",
		}[name]
		if told && value != want {
			t.Errorf("%s = %q, want %q", name, value, want)
		}
	}
	slices.Sort(names)
	want := []string{
		"AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME",
		"AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME",
		"AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"ISSUER", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "LANG", "LD_LIBRARY_PATH", "PATH", "TZ", "_HANDLER",
	}
	if !slices.Equal(names, want) {
		t.Errorf("environment = %q,\nwant %q", names, want)
	}
	if here, err := os.Getwd(); err != nil || s.Dir == here {
		t.Errorf("it runs in the test's own folder %s", s.Dir)
	}

	if want := "arn:aws:lambda:eu-central-1:123456789012:function:token"; s.ARN != want {
		t.Errorf("ARN = %q, want %q", s.ARN, want)
	}
	if len(s.RequestID) != 36 || !strings.HasPrefix(s.TraceID, "Root=1-") {
		t.Errorf("request id %q, trace id %q", s.RequestID, s.TraceID)
	}
	if left := s.Deadline.Sub(s.Now); left <= 0 || left > 3*time.Second {
		t.Errorf("%v left until the deadline, of 3s", left)
	}
}

func TestFunctionErrors(t *testing.T) {
	for _, test := range []struct {
		op, errorType, message string
		lives                  bool
	}{
		{"error", "errorString", "it went wrong", true},
		{"panic", "string", "it went very wrong", false},
		{"exit", "Runtime.ExitError", "exit status 3", false},
		{"hang", "Sandbox.Timedout", "Task timed out after 0.50 seconds", false},
		{"large", "Function.ResponseSizeTooLarge", "exceeded maximum", false},
	} {
		t.Run(test.op, func(t *testing.T) {
			f := start(t, lambdatest.Config{Timeout: 500 * time.Millisecond})
			pid := stateOf(t, f).PID
			out, err := f.Invoke(t.Context(), []byte(`"`+test.op+`"`))
			var fe *lambdatest.FunctionError
			if !errors.As(err, &fe) || fe.Type != test.errorType || !strings.Contains(fe.Message, test.message) || out != nil {
				t.Fatalf("Invoke = %s, %v, want a FunctionError %s: %s", out, err, test.errorType, test.message)
			}
			out, err = f.Invoke(t.Context(), []byte(`"again"`))
			if test.lives {
				if err != nil || string(out) != `"again"` {
					t.Errorf("the next Invoke = %s, %v", out, err)
				}
				return
			}
			if !errors.Is(err, lambdatest.ErrGone) {
				t.Errorf("the next Invoke = %s, %v, want ErrGone", out, err)
			}
			waitFor(t, "the end of the process", gone(pid))
			if f.Frozen() {
				t.Error("a process that is gone is said to be frozen")
			}
		})
	}
}

func TestInitFailure(t *testing.T) {
	for _, test := range []struct{ pkg, errorType, message, logs string }{
		{"./testdata/exits", "Runtime.ExitError", "exit status 2", "ISSUER is not set\n"},
		{"./testdata/broken", "Config", "no issuer", ""},
	} {
		t.Run(test.pkg, func(t *testing.T) {
			f := lambdatest.Start(t, lambdatest.Config{Binary: lambdatest.Build(t, test.pkg)})
			_, invokeErr := f.Invoke(t.Context(), []byte(`{}`))
			for what, err := range map[string]error{"Invoke": invokeErr, "Ready": f.Ready(t.Context())} {
				var ie *lambdatest.InitError
				if !errors.As(err, &ie) || ie.Type != test.errorType || !strings.Contains(ie.Message, test.message) {
					t.Fatalf("%s = %v, want an InitError %s: %s", what, err, test.errorType, test.message)
				}
				if !strings.Contains(err.Error(), test.logs) {
					t.Errorf("%s = %v, without the logs", what, err)
				}
			}
		})
	}
}

func TestInvocationsQueue(t *testing.T) {
	f := start(t, lambdatest.Config{})
	const callers = 8
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			payload := bytes.Repeat([]byte{'a' + byte(i)}, 100)
			got, err := f.Invoke(t.Context(), payload)
			if err != nil || !bytes.Equal(got, payload) {
				t.Errorf("caller %d was given %s, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	if n := stateOf(t, f).Invocations; n != callers+1 {
		t.Errorf("%d invocations, want %d", n, callers+1)
	}
}

func TestCallerGivesUp(t *testing.T) {
	f := start(t, lambdatest.Config{Timeout: 300 * time.Millisecond})
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "frozen before its first invocation", f.Frozen)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := f.Invoke(ctx, []byte(`"hang"`))
		done <- err
	}()
	waitFor(t, "thawed", func() bool { return !f.Frozen() })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Invoke = %v, want the context's error", err)
	}
	// The invocation went on, and had its time-out.
	if _, err := f.Invoke(t.Context(), []byte(`"x"`)); !errors.Is(err, lambdatest.ErrGone) {
		t.Errorf("the next Invoke = %v, want ErrGone", err)
	}
}

func TestKill(t *testing.T) {
	f := start(t, lambdatest.Config{})
	pid := stateOf(t, f).PID
	waitFor(t, "frozen", f.Frozen)
	f.Kill() // a stopped process
	if !gone(pid)() {
		t.Error("it lives")
	}
	f.Kill()
	if _, err := f.Invoke(t.Context(), []byte(`"x"`)); !errors.Is(err, lambdatest.ErrGone) {
		t.Errorf("Invoke = %v, want ErrGone", err)
	}
}

func TestKilledAtTheTestsEnd(t *testing.T) {
	var pids []int
	t.Run("frozen", func(t *testing.T) {
		f := start(t, lambdatest.Config{})
		pids = append(pids, stateOf(t, f).PID)
		waitFor(t, "frozen", f.Frozen)
	})
	t.Run("amidst an invocation", func(t *testing.T) {
		f := start(t, lambdatest.Config{})
		pids = append(pids, stateOf(t, f).PID)
		ctx, cancel := context.WithCancel(context.Background())
		waitFor(t, "frozen", f.Frozen)
		go f.Invoke(ctx, []byte(`"hang"`))
		waitFor(t, "thawed", func() bool { return !f.Frozen() })
		cancel()
	})
	for _, pid := range pids {
		if !gone(pid)() {
			t.Errorf("process %d has outlived its test", pid)
		}
	}
}

func TestPayloadTooLarge(t *testing.T) {
	f := start(t, lambdatest.Config{})
	if _, err := f.Invoke(t.Context(), make([]byte, 7<<20)); err == nil {
		t.Error("a payload of 7 MiB was taken")
	}
}

func TestBuildOnce(t *testing.T) {
	one, two := lambdatest.Build(t, "./testdata/function"), lambdatest.Build(t, "./testdata/function")
	tagged := lambdatest.Build(t, "./testdata/function", "sometag")
	if one != two {
		t.Errorf("built twice: %s, %s", one, two)
	}
	if one == tagged {
		t.Error("a build with a tag is one without")
	}
}

func TestBuildFails(t *testing.T) {
	tb := &fatal{TB: t}
	done := make(chan struct{})
	go func() { // Fatalf ends the goroutine
		defer close(done)
		lambdatest.Build(tb, "./testdata/nosuch")
	}()
	<-done
	if !strings.Contains(tb.message, "nosuch") {
		t.Errorf("building what is not there: %q", tb.message)
	}
}

func TestStartFails(t *testing.T) {
	tb := &fatal{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lambdatest.Start(tb, lambdatest.Config{Binary: "./testdata/nosuch"})
	}()
	<-done
	if !strings.Contains(tb.message, "nosuch") {
		t.Errorf("starting what is not there: %q", tb.message)
	}
}

// fatal notes that a test would have failed.
type fatal struct {
	testing.TB
	message string
}

func (f *fatal) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
