//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// routes are what the authorizer is built with here.
const routes = `version: 1
apis:
  - api: "*"
    stage: "*"
    complete: true
    routes:
      GET /whoami: orders:read
  - api: w1x2y3z4a5 # of events/authorizer-websocket.json
    stage: prod
    complete: true
    routes:
      $connect: orders:read
`

// bench is a laptop on which `make sam-local` runs.
type bench struct {
	t      *testing.T
	dir    string // of the build and the configuration
	config string
	env    []string
	*local
}

// TestSAMLocal runs the template in `sam local`, as docs/sam-local.md says, with the containers' engine for real.
func TestSAMLocal(t *testing.T) {
	if os.Getenv("LATCHKEY_SAM") != "1" {
		t.Skip("make test-sam runs this, with the SAM CLI and a Docker engine")
	}
	b := setUp(t)
	b.build()
	b.firstKeys()
	api := b.startAPI(b.template())

	t.Run("flow", func(t *testing.T) { testFlow(t, b) })
	t.Run("closed", func(t *testing.T) { testClosed(t, b, api) })
	t.Run("revocation", func(t *testing.T) { testRevocation(t, b) })
	t.Run("events", func(t *testing.T) { testEvents(t, b) })
	// The keys are all new after it.
	t.Run("emergency", func(t *testing.T) {
		got := b.invoke(t, "RotateFunction", filepath.Join(testenv.Root(t), "events", "rotate-emergency.json"), "")
		for _, ring := range []string{"access", "refresh"} {
			if field(got, ring, "made") == nil {
				t.Errorf("no new %s key: %v", ring, got)
			}
		}
	})
	api.stop(t)
	t.Run("without an authorizer", func(t *testing.T) { testWithoutAuthorizer(t, b) })
}

func setUp(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), env: testenv.SAM(t)}
	b.config = filepath.Join(b.dir, "sam-local.toml")
	t.Cleanup(b.removeContainers)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan *local, 1), make(chan error, 1)
	o := options{moto: testenv.Script(t, "moto_server"), config: b.config}
	go func() { done <- run(ctx, o, t.Output(), func(l *local) { ready <- l }) }()
	select {
	case b.local = <-ready:
	case err := <-done:
		t.Fatalf("%v (make test-sam sees to an engine)", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

// sam runs the SAM CLI and returns what it prints on stdout, and on stderr.
func (b *bench) sam(t *testing.T, stdin string, args ...string) (string, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", `exec sam "$@"`, "sam"}, args...)...)
	cmd.Dir, cmd.Env = testenv.Root(t), b.environment()
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("sam %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String(), stderr.String()
}

// environment is that of a laptop without AWS.
func (b *bench) environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "SAM_") && !strings.HasPrefix(v, "MAKE") {
			env = append(env, v)
		}
	}
	none := filepath.Join(b.dir, "none")
	return append(append(env, b.env...), "ROUTES="+filepath.Join(b.dir, "routes.yaml"), "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE="+none, "AWS_SHARED_CREDENTIALS_FILE="+none)
}

func (b *bench) build() {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, "routes.yaml"), []byte(routes), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.sam(b.t, "", "build", "--config-file", b.config, "--build-dir", filepath.Join(b.dir, "build"))
}

// invoke invokes a function with the event of a file, or with text if that is not empty.
func (b *bench) invoke(t *testing.T, function, file, text string) map[string]any {
	t.Helper()
	if text != "" {
		file = "-"
	}
	stdout, stderr := b.sam(t, text, "local", "invoke", function, "--event", file, "--config-file", b.config,
		"--template", b.template())
	answer := make(map[string]any) // nothing at all is an answer too
	if stdout != "" {
		if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
			t.Fatalf("%s answered %q\n%s", function, stdout, stderr)
		}
	}
	return answer
}

// template is the built one.
func (b *bench) template() string { return filepath.Join(b.dir, "build", "template.yaml") }

// firstKeys has them made as a deployment does, and sees what CloudFormation is told, which is what it has to know them by.
func (b *bench) firstKeys() {
	b.t.Helper()
	event := b.event(b.t, "rotate-custom-resource-create.json", nil)
	if got := b.invoke(b.t, "RotateFunction", "", event); got["status"] != "SUCCESS" {
		b.t.Fatalf("first keys: %v", got)
	}
	var told, asked map[string]any
	for _, document := range []struct {
		text string
		into *map[string]any
	}{{b.get(b.endpoint() + "/" + bucket + "/response?X-Amz-Signature=example"), &told}, {event, &asked}} {
		if err := json.Unmarshal([]byte(document.text), document.into); err != nil {
			b.t.Fatalf("%v in %s", err, document.text)
		}
	}
	for _, id := range []string{"StackId", "RequestId", "LogicalResourceId"} {
		if told[id] != asked[id] {
			b.t.Errorf("CloudFormation was told %v", told)
		}
	}
	if told["Status"] != "SUCCESS" || told["PhysicalResourceId"] != "latchkey-first-keys" {
		b.t.Errorf("CloudFormation was told %v", told)
	}
}

// event is a sample as it goes to a function here: CloudFormation's answers go to this test's moto, and the examples of
// credentials give way to what replacements has, in a body that is base64 too.
func (b *bench) event(t *testing.T, name string, replacements map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "events", name))
	if err != nil {
		t.Fatal(err)
	}
	return fill(t, strings.Replace(string(text), ":4566/", ":"+strconv.Itoa(b.port)+"/", 1), replacements)
}

func (b *bench) get(url string) string {
	b.t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %s %v %s", url, resp.Status, err, body)
	}
	return string(body)
}

// removeContainers removes those that `sam local` has left, which it does if it has been ended too roughly.
func (b *bench) removeContainers() {
	folders, err := os.ReadDir(filepath.Join(b.dir, "build"))
	if err != nil {
		return // nothing was built
	}
	args := []string{"ps", "--all", "--quiet"}
	for _, f := range folders {
		args = append(args, "--filter", "volume="+filepath.Join(b.dir, "build", f.Name()))
	}
	left, err := exec.Command("docker", args...).Output()
	if err != nil {
		b.t.Error(err)
	}
	for id := range strings.FieldsSeq(string(left)) {
		if out, err := exec.Command("docker", "rm", "--force", id).CombinedOutput(); err != nil {
			b.t.Errorf("%v: %s", err, out)
		}
	}
}

// server is a running `sam local start-api` or start-lambda.
type server struct {
	name   string
	cmd    *exec.Cmd
	log    *log
	exited chan error
}

// log is what a server has printed until now.
type log struct {
	mu   sync.Mutex
	text []byte
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// startAPI returns once `sam local start-api` listens.
func (b *bench) startAPI(template string, args ...string) *server {
	b.t.Helper()
	return b.start(b.t, b.api(), append([]string{"start-api", "--template", template}, args...)...)
}

// start returns once the server listens at the address.
func (b *bench) start(t *testing.T, address string, args ...string) *server {
	t.Helper()
	s := &server{name: "sam local " + args[0], log: new(log), exited: make(chan error, 1)}
	s.cmd = exec.Command("bash", append([]string{"-c", `exec sam local "$@" --config-file "$0"`, b.config}, args...)...)
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = testenv.Root(t), b.environment(), s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.exited <- s.cmd.Wait() }()
	t.Cleanup(func() {
		s.stop(t)
		if t.Failed() {
			t.Logf("%s said:\n%s", s.name, s.log)
		}
	})
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		resp, err := http.Get(address)
		if err == nil {
			resp.Body.Close()
			return s
		}
		select {
		case err := <-s.exited:
			s.exited <- err
			t.Fatalf("%s ended: %v", s.name, err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen: %v", s.name, err)
		}
	}
}

// stop is Ctrl-C. It may be called again.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if s.exited == nil {
		return
	}
	if err := syscall.Kill(s.cmd.Process.Pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Error(err)
	}
	select {
	case <-s.exited:
	case <-time.After(time.Minute):
		t.Errorf("%s goes on after Ctrl-C", s.name)
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.exited
	}
	s.exited = nil
}

// answer is what an HTTP request was answered.
type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any // nil: it is none
}

func (b *bench) do(t *testing.T, method, path string, form url.Values, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.api()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Body = io.NopCloser(strings.NewReader(form.Encode()))
		req.ContentLength = int64(len(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(body)}
	_ = json.Unmarshal(body, &a.json)
	return a
}

// field is a member within members; nil if there is none.
func field(v any, path ...string) any {
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}
