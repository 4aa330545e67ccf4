package deploytest_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/routes"
)

// The build puts the rules beside the authorizer, compiled, and fails where it can't: without them it would let more in.
func TestRulesAreBundled(t *testing.T) {
	root := testenv.Root(t)
	if _, err := os.ReadFile(filepath.Join(root, "Makefile")); err != nil { // for Go's test cache
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	compiled := filepath.Join(dir, "routes.json")
	build := func(file string) (string, error) {
		arch := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[runtime.GOARCH]
		cmd := exec.CommandContext(t.Context(), "make", "build-AuthorizerFunction", "ARCH="+arch, "ARTIFACTS_DIR="+dir, "ROUTES="+file)
		// As `sam build` does: from a folder of its own, so that the file is named as seen from the root all the same.
		cmd.Dir = filepath.Join(root, "internal", "arch", arch)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	if out, err := build("examples/routes.yaml"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(compiled)
	if err != nil {
		t.Fatal(err)
	}
	if set, err := routes.Parse(data); err != nil || set.API("a1b2c3d4e5", "prod").Route("GET", "/orders") == nil {
		t.Errorf("%v in %s", err, data)
	}
	if _, err := os.Stat(filepath.Join(dir, "bootstrap")); err != nil {
		t.Error(err)
	}

	for _, file := range []string{bad, "examples/none.yaml"} {
		if out, err := build(file); err == nil {
			t.Errorf("built with the rules of %s:\n%s", file, out)
		}
		if _, err := os.Stat(compiled); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("rules of an earlier build are there (%v)", err)
		}
	}
	if out, err := build(""); err != nil {
		t.Errorf("without rules: %v\n%s", err, out)
	}
	if _, err := os.Stat(compiled); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rules that nobody gave are there (%v)", err)
	}
}
