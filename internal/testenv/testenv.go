// Package testenv starts what tests run against besides Go: moto (DynamoDB, KMS and Secrets Manager), dynalite
// (DynamoDB), and a proxy that counts the calls made to either. It also has the modules that others' OAuth clients and
// verifiers are in.
//
// `make testdeps` installs them, and `make samdeps` the SAM CLI. A test that misses one fails and says so; it never skips.
package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An installation is one of the two that install.sh knows.
type installation struct {
	target       string   // of make, that installs it
	what         string   // in errors
	stamp        string   // file with the hash of the requirements
	requirements []string // in the order in which install.sh hashes them
}

var (
	testTools = installation{"testdeps", "test tools", "stamp",
		[]string{"requirements.txt", "package.json", "package-lock.json", "install.sh"}}
	samTools = installation{"samdeps", "SAM tools", "sam.stamp", []string{"requirements-sam.txt", "install.sh"}}
)

// Long reports whether the long tests were asked for: `make test-long`, which sets LATCHKEY_LONG=1.
func Long() bool { return os.Getenv("LATCHKEY_LONG") == "1" }

// Root returns the folder of the repository: the nearest one above the test's that holds a go.mod.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("testenv: no go.mod above the test's folder")
		}
		dir = parent
	}
}

// Python returns the path of the interpreter that has moto, cfn-lint and the SAM translator installed.
func Python(tb testing.TB) string {
	tb.Helper()
	return Script(tb, "python")
}

// Script returns the path of a program of the Python environment, such as cfn-lint.
func Script(tb testing.TB, name string) string {
	tb.Helper()
	return testTools.path(tb, filepath.Join("venv", "bin", name))
}

// NodeModules returns the path of the folder of the Node.js packages. Node.js looks packages up in a folder of this name
// beside a script or above it: link to it from there.
func NodeModules(tb testing.TB) string {
	tb.Helper()
	return testTools.path(tb, "node_modules")
}

// SAM returns the variables by which commands find the SAM CLI, as sam on the PATH, and by which it leaves the network and
// the user's home alone.
func SAM(tb testing.TB) []string {
	tb.Helper()
	sam, home := samTools.path(tb, filepath.Join("sam", "bin", "sam")), tb.TempDir()
	if err := os.Symlink(sam, filepath.Join(home, "sam")); err != nil {
		tb.Fatal(err)
	}
	// It asks once a week whether there is a newer one.
	asked := fmt.Sprintf(`{"lastVersionCheck": %d}`, time.Now().Unix())
	if err := os.WriteFile(filepath.Join(home, "metadata.json"), []byte(asked), 0o600); err != nil {
		tb.Fatal(err)
	}
	return []string{"SAM_CLI_TELEMETRY=0", "__SAM_CLI_APP_DIR=" + home, "PATH=" + home + ":" + os.Getenv("PATH")}
}

// path returns the full path of a file of the installation, having seen that all of it is up to date.
func (in installation) path(tb testing.TB, name string) string {
	tb.Helper()
	root := Root(tb)
	path, err := in.find(filepath.Join(root, "internal", "testenv"), filepath.Join(root, ".testenv"), name)
	if err != nil {
		tb.Fatalf("testenv: %v: run make %s", err, in.target)
	}
	return path
}

// find looks name up in the installation's folder, which must be of the requirements in source.
func (in installation) find(source, dir, name string) (string, error) {
	hash := sha256.New()
	for _, name := range in.requirements {
		if err := addFile(hash, filepath.Join(source, name)); err != nil {
			return "", err
		}
	}
	stamp, err := os.ReadFile(filepath.Join(dir, in.stamp))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("the %s are not installed", in.what)
	case err != nil:
		return "", err
	case strings.TrimSpace(string(stamp)) != hex.EncodeToString(hash.Sum(nil)):
		return "", fmt.Errorf("the %s are out of date", in.what)
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no %s among the %s", filepath.Base(name), in.what)
	}
	return path, nil
}

func addFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
