package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeTools are a python3 and an npm that install nothing and write down that they were called. The file "broken"
// beside them makes pip fail.
var fakeTools = map[string]string{
	"python3": `#!/bin/sh
echo venv >>"$FAKE/calls"
mkdir -p "$3/bin"
cat >"$3/bin/python" <<'EOF'
#!/bin/sh
test ! -e "$FAKE/broken" || { echo "pip says no"; exit 1; }
EOF
chmod +x "$3/bin/python"
`,
	"npm": `#!/bin/sh
echo npm >>"$FAKE/calls"
mkdir -p "$3/node_modules"
`,
}

type install struct {
	t                   *testing.T
	tools               installation
	args                []string // of install.sh, after the folder
	present             string   // what find is asked for
	source, target, bin string
}

// newInstall copies the requirements, so that the test can change them.
func newInstall(t *testing.T, tools installation, present string, args ...string) install {
	in := install{
		t: t, tools: tools, args: args, present: present,
		source: t.TempDir(), target: filepath.Join(t.TempDir(), "testenv"), bin: t.TempDir(),
	}
	for _, name := range in.tools.requirements {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		in.write(filepath.Join(in.source, name), string(content))
	}
	for name, content := range fakeTools {
		in.write(filepath.Join(in.bin, name), content)
	}
	return in
}

func (in install) write(path, content string) {
	in.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		in.t.Fatal(err)
	}
}

// run runs install.sh and returns what it printed, the programs that it called, and its error.
func (in install) run() (output, calls string, err error) {
	in.t.Helper()
	if err := os.RemoveAll(filepath.Join(in.bin, "calls")); err != nil {
		in.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(in.source, "install.sh"), append([]string{in.target}, in.args...)...)
	cmd.Env = append(os.Environ(), "PATH="+in.bin+":"+os.Getenv("PATH"), "FAKE="+in.bin)
	out, err := cmd.CombinedOutput()
	called, _ := os.ReadFile(filepath.Join(in.bin, "calls")) // not there: nothing was called
	return string(out), string(called), err
}

func (in install) mustFind() {
	in.t.Helper()
	if _, err := in.tools.find(in.source, in.target, in.present); err != nil {
		in.t.Error(err)
	}
}

func (in install) mustNotFind(want string) {
	in.t.Helper()
	if path, err := in.tools.find(in.source, in.target, in.present); err == nil || err.Error() != want {
		in.t.Errorf("found %q, %v; want the error %q", path, err, want)
	}
}

func TestInstall(t *testing.T) {
	t.Run("testdeps", func(t *testing.T) {
		testInstall(t, newInstall(t, testTools, "node_modules"), "venv", "venv\nnpm\n", "npm\nvenv\n")
	})
	t.Run("samdeps", func(t *testing.T) {
		testInstall(t, newInstall(t, samTools, "sam/bin/python", "sam"), "sam", "venv\n")
	})
}

// testInstall is the life of an installation whose venv is the folder given, and which calls those programs: at the same
// time, so in any of the orders given.
func testInstall(t *testing.T, in install, venv string, wantCalls ...string) {
	notInstalled := "the " + in.tools.what + " are not installed"
	in.mustNotFind(notInstalled)

	in.write(filepath.Join(in.bin, "broken"), "")
	out, _, err := in.run()
	if err == nil || !strings.Contains(out, "pip says no") {
		t.Errorf("with a pip that fails: %v, said %q", err, out)
	}
	in.mustNotFind(notInstalled)

	if err := os.Remove(filepath.Join(in.bin, "broken")); err != nil {
		t.Fatal(err)
	}
	if out, calls, err := in.run(); err != nil || !slices.Contains(wantCalls, calls) {
		t.Fatalf("after a failed install: %v, called %q, said %q", err, calls, out)
	}
	in.mustFind()
	if _, err := in.tools.find(in.source, in.target, venv+"/bin/nothing"); err == nil || err.Error() != "no nothing among the "+in.tools.what {
		t.Errorf("a script that is not there: %v", err)
	}

	if out, calls, err := in.run(); err != nil || calls != "" || out != "" {
		t.Errorf("second run: %v, called %q, said %q; want nothing done", err, calls, out)
	}

	for _, name := range in.tools.requirements {
		content, err := os.ReadFile(filepath.Join(in.source, name))
		if err != nil {
			t.Fatal(err)
		}
		in.write(filepath.Join(in.source, name), string(content)+"\n")
		in.mustNotFind("the " + in.tools.what + " are out of date")
		if out, calls, err := in.run(); err != nil || calls == "" {
			t.Errorf("after a change of %s: %v, called %q, said %q", name, err, calls, out)
		}
		in.mustFind()
	}

	if err := os.RemoveAll(filepath.Join(in.target, venv)); err != nil {
		t.Fatal(err)
	}
	if _, calls, err := in.run(); err != nil || calls == "" {
		t.Errorf("after the loss of the venv: %v, called %q", err, calls)
	}
}

func TestInstallSaysWhatIsMissing(t *testing.T) {
	in := newInstall(t, testTools, "node_modules")
	path := t.TempDir() // all that the script needs, but npm and python3
	for _, name := range []string{"bash", "cat", "cut", "dirname", "env", "mkdir", "sha256sum"} {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(in.source, "install.sh"), in.target)
	cmd.Env = []string{"PATH=" + path}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "python3 is not on the PATH") {
		t.Errorf("without python3: %v, said %q", err, out)
	}
}

func TestLong(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "1": true} {
		t.Setenv("LATCHKEY_LONG", value)
		if got := Long(); got != want {
			t.Errorf("LATCHKEY_LONG=%q: %v", value, got)
		}
	}
}

func TestLockRecordsNoAddresses(t *testing.T) {
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(lock), `"resolved"`) {
		t.Error("package-lock.json says where packages came from: set omit-lockfile-registry-resolved when updating it")
	}
}
