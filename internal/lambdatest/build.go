//go:build unix

package lambdatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/deptest"
)

var builds struct {
	sync.Mutex
	dir   string
	keep  *exec.Cmd         // the folder's reaper: collecting it would close its input
	files map[string]string // by package and tags
}

// Build builds a Lambda function as its deployment does, but for this machine's architecture, and returns the path of
// the binary. pkg is a package as the go command takes it (an import path, or a path that begins with "./"); tags are
// added to the deployment's own. Each combination is built once a test process and removed when it ends.
//
// A failed build fails the test.
func Build(tb testing.TB, pkg string, tags ...string) string {
	tb.Helper()
	file, err := build(pkg, tags)
	if err != nil {
		tb.Fatalf("lambdatest: building %s: %v", pkg, err)
	}
	return file
}

func build(pkg string, tags []string) (string, error) {
	here, err := os.Getwd() // what "./" means
	if err != nil {
		return "", err
	}
	tagList := strings.Join(slices.Concat([]string{deptest.Tags}, slices.Sorted(slices.Values(tags))), ",")
	key := here + " " + pkg + " " + tagList

	builds.Lock()
	defer builds.Unlock()
	if file, ok := builds.files[key]; ok {
		return file, nil
	}
	if builds.files == nil {
		if builds.dir, err = processTempDir(); err != nil {
			return "", err
		}
		builds.files = make(map[string]string)
	}
	if err := noteSources(pkg, tagList); err != nil {
		return "", err
	}
	file := filepath.Join(builds.dir, fmt.Sprint(len(builds.files)), "bootstrap")
	if _, err := goCommand("build", "-tags", tagList, "-trimpath", "-ldflags=-s -w", "-o", file, pkg); err != nil {
		return "", err
	}
	builds.files[key] = file
	return file, nil
}

func goCommand(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.String())
	}
	return string(out), nil
}

// noteSources opens the folders that the build reads. The go command takes note of what a test opens within its
// module, and answers the test from its cache only while that is unchanged; of what the test's children open it knows
// nothing, and would give yesterday's "ok" to today's function.
func noteSources(pkg, tagList string) error {
	const ours = `{{with .Module}}{{if .Main}}{{$.Dir}}{{"\n"}}{{.GoMod}}{{"\n"}}{{end}}{{end}}`
	out, err := goCommand("list", "-deps", "-tags", tagList, "-f", ours, pkg)
	if err != nil {
		return err
	}
	for name := range strings.Lines(out) {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// processTempDir makes a folder that lasts as long as this process. Tests have no hook at the end of the process, and
// it may end in a panic or a time-out, so a shell waits for the end of its input, which comes when we are gone.
func processTempDir() (string, error) {
	dir, err := os.MkdirTemp("", "lambdatest-")
	if err != nil {
		return "", err
	}
	reaper := exec.Command("/bin/sh", "-c", `read -r _; rm -rf "$1"`, "lambdatest", dir)
	reaper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it outlives an interrupt from the keyboard
	if _, err := reaper.StdinPipe(); err != nil {
		return "", err
	}
	if err := reaper.Start(); err != nil {
		os.Remove(dir)
		return "", err
	}
	builds.keep = reaper
	return dir, nil
}
