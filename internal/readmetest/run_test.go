package readmetest

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// buildTime bounds what compiles: minutes, where Go's build cache is empty.
const buildTime = 8 * time.Minute

// checkout copies what git tracks, or would: what somebody has who cloned the repository.
func checkout(t *testing.T) string {
	t.Helper()
	root, dir := testenv.Root(t), t.TempDir()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	list.Dir = root
	var stderr strings.Builder
	list.Stderr = &stderr
	names, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v\n%s", err, &stderr)
	}
	for name := range strings.SplitSeq(strings.Trim(string(names), "\x00"), "\x00") {
		err := copyFile(filepath.Join(dir, name), filepath.Join(root, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // deleted, and git doesn't know yet
			t.Fatal(err)
		}
	}
	return dir
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

// environment returns this process's without what would change what the commands do: the settings of the make that runs
// the tests, of AWS, and of Latchkey itself.
func environment(extra ...string) []string {
	private := regexp.MustCompile(`^(PORT|ARCH|CLIENTS_TABLE|KEYS_TABLE|(MAKE|MFLAGS|GNUMAKEFLAGS|AWS_|LATCHKEY_|SAM_)\w*)=`)
	return append(slices.DeleteFunc(os.Environ(), private.MatchString), extra...)
}

// awsEnvironment is a shell's that has credentials, and the emulator at endpoint for AWS.
func awsEnvironment(t *testing.T, endpoint string) []string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	// Without it the SDKs would put the bucket's name before the emulator's.
	if err := os.WriteFile(config, []byte("[default]\ns3 =\n    addressing_style = path\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"AWS_ENDPOINT_URL=" + endpoint,
		"AWS_REGION=" + testenv.Region,
		"AWS_DEFAULT_REGION=" + testenv.Region,
		"AWS_ACCESS_KEY_ID=" + testenv.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + testenv.SecretAccessKey,
		"AWS_CONFIG_FILE=" + config,
		"AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(dir, "none"),
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// shell is bash as the README's commands are run in it: one that stops at the first failure.
type shell struct {
	dir   string
	env   []string
	stdin string
}

func (s shell) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", append([]string{"-eu", "-o", "pipefail"}, args...)...)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.Stdin = strings.NewReader(s.stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run runs the lines in one session, and returns what each of them prints, on stdout and stderr. Between them it prints
// a mark; they are run as they are.
func (s shell) run(t *testing.T, lines ...string) []string {
	t.Helper()
	mark := rand.Text()
	var script strings.Builder
	for _, line := range lines {
		script.WriteString(line + "\necho; echo " + mark + "\n")
	}
	file := filepath.Join(t.TempDir(), "session")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildTime)
	defer cancel()
	out, err := s.command(ctx, file).CombinedOutput()
	printed := strings.Split(string(out), "\n"+mark+"\n")
	if err != nil || len(printed) != len(lines)+1 {
		t.Fatalf("%v after %d of the lines\n%s\nwhich printed\n%s", err, len(printed)-1, strings.Join(lines, "\n"),
			strings.ReplaceAll(string(out), mark, ""))
	}
	printed = printed[:len(lines)]
	for i := range printed {
		printed[i] = strings.TrimSpace(printed[i])
	}
	return printed
}

// server is a command that runs until Ctrl-C.
type server struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *output
	exited chan error
	ended  bool
}

// start runs the line and returns once it has printed what ready matches, with the match.
func (s shell) start(t *testing.T, line string, ready *regexp.Regexp) (*server, []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTime)
	t.Cleanup(cancel)
	srv := &server{t: t, cmd: s.command(ctx, "-c", line), out: newOutput(ready), exited: make(chan error, 1)}
	srv.cmd.Stdout, srv.cmd.Stderr = srv.out, srv.out
	if err := srv.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { srv.exited <- srv.cmd.Wait() }()
	t.Cleanup(func() {
		if !srv.ended {
			cancel()
			<-srv.exited
			t.Logf("%s printed\n%s", line, srv.out)
		}
	})
	select {
	case match := <-srv.out.match:
		return srv, match
	case err := <-srv.exited:
		srv.ended = true
		t.Fatalf("%s ended: %v\n%s", line, err, srv.out)
	}
	panic("unreachable")
}

// interrupt is Ctrl-C: SIGINT for the whole group. It returns all that was printed.
func (srv *server) interrupt() string {
	srv.t.Helper()
	if err := syscall.Kill(-srv.cmd.Process.Pid, syscall.SIGINT); err != nil {
		srv.t.Fatal(err)
	}
	select {
	case err := <-srv.exited:
		srv.ended = true
		// make ends by the signal, once the commands that it runs have ended.
		var exit *exec.ExitError
		if err != nil && !(errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGINT) {
			srv.t.Errorf("after Ctrl-C: %v\n%s", err, srv.out)
		}
		if err := syscall.Kill(-srv.cmd.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			srv.t.Errorf("something was left running after Ctrl-C (ending it: %v)", err)
		}
	case <-time.After(20 * time.Second):
		srv.t.Fatal("it goes on after Ctrl-C")
	}
	return srv.out.String()
}

// output collects what a command prints, and hands over what a pattern matches in it, once.
type output struct {
	mu      sync.Mutex
	text    []byte
	pattern *regexp.Regexp // nil when found
	match   chan []string
}

func newOutput(pattern *regexp.Regexp) *output {
	return &output{pattern: pattern, match: make(chan []string, 1)}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if o.pattern != nil {
		if match := o.pattern.FindStringSubmatch(string(o.text)); match != nil {
			o.pattern = nil
			o.match <- match
		}
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}
