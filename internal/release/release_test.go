package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/deptest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// copied is a release of a copy of the source.
func copied(t *testing.T, name string) *release {
	t.Helper()
	from, to := testenv.Root(t), filepath.Join(t.TempDir(), name)
	for _, dir := range []string{"functions", "internal", "pkg"} {
		must(t, os.CopyFS(filepath.Join(to, dir), goFiles{os.DirFS(filepath.Join(from, dir))}))
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(from, file))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(to, file), data, 0o644))
	}
	return &release{root: to, version: "1.2.3-test", commit: "0123456789abcdef"}
}

// goFiles leaves out what no build reads.
type goFiles struct{ fs.FS }

func (g goFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(g.FS, name)
	return slices.DeleteFunc(all, func(e fs.DirEntry) bool {
		return e.Name() == "testdata" || !e.IsDir() && !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go")
	}), err
}

// function is a function as a release has it, but for this machine.
func function(name string) artifact {
	return artifact{name, "bootstrap", "./functions/" + name, deptest.Tags, platform{runtime.GOOS, runtime.GOARCH}}
}

// The same source gives the same bytes wherever it lies, and whatever is set for the go command. Packages are compiled twice
// with LATCHKEY_LONG=1 alone: otherwise the second build finds most of them in the go command's cache.
func TestReproducible(t *testing.T) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	var built [2][]byte
	for i, name := range []string{"one", "and-another-one"} {
		r := copied(t, name)
		if testenv.Long() {
			t.Setenv("GOCACHE", t.TempDir())
		}
		t.Setenv("GOFLAGS", []string{"", "-buildvcs=true -tags=other"}[i])
		t.Setenv("GOAMD64", []string{"v1", "v2"}[i])
		file := filepath.Join(t.TempDir(), "bootstrap")
		must(t, r.build(t.Context(), function("whoami"), file))
		built[i], err = os.ReadFile(file)
		must(t, err)
		for _, path := range []string{r.root, strings.TrimSpace(string(goroot)), os.TempDir()} {
			if bytes.Contains(built[i], []byte(path+"/")) {
				t.Errorf("there is %s in it", path)
			}
		}

		// It says itself which release it is: to whoever runs it, first of all that it says.
		said, _ := exec.Command(file).Output() // there is no Lambda, so that it ends
		line, _, _ := bytes.Cut(said, []byte("\n"))
		var start struct{ Event, Version, Commit, Go string }
		must(t, json.Unmarshal(line, &start))
		if start.Event != "whoami.started" || start.Version != r.version || start.Commit != r.commit || start.Go != runtime.Version() {
			t.Errorf("it says %s", line)
		}
	}
	if a, b := sha256.Sum256(built[0]), sha256.Sum256(built[1]); a != b {
		t.Errorf("%x and %x", a, b)
	}
}

// The bill of materials has each module that the go command finds in a binary, with go.sum's hash, and no other.
func TestSBOM(t *testing.T) {
	r := &release{root: testenv.Root(t), version: "1.2.3", commit: "0123"}
	var built []contents
	want := map[string][]string{}
	for _, name := range []string{"whoami", "rotate"} {
		file := filepath.Join(t.TempDir(), name)
		must(t, r.build(t.Context(), function(name), file))
		info, err := buildinfo.ReadFile(file)
		must(t, err)
		built = append(built, contents{name + ".zip", sha256.Sum256([]byte(name)), info})
		out, err := exec.Command("go", "version", "-m", file).Output()
		must(t, err)
		for line := range strings.Lines(string(out)) {
			if fields := strings.Fields(line); fields[0] == "dep" {
				want[name+".zip"] = append(want[name+".zip"], "pkg:golang/"+fields[1]+"@"+fields[2])
			}
		}
		want[name+".zip"] = append(want[name+".zip"], "pkg:golang/std@"+strings.TrimPrefix(runtime.Version(), "go"))
		slices.Sort(want[name+".zip"])
	}
	document, err := sbom("1.2.3", built)
	must(t, err)
	slices.Reverse(built)
	again, err := sbom("1.2.3", built)
	must(t, err)
	if !bytes.Equal(document, again) {
		t.Error("it depends on the order in which things are built")
	}

	var bom cdx.BOM
	must(t, cdx.NewBOMDecoder(bytes.NewReader(document), cdx.BOMFileFormatJSON).Decode(&bom))
	if bom.SerialNumber != "" || bom.Metadata.Timestamp != "" || bom.Metadata.Component.Version != "1.2.3" {
		t.Errorf("serial number %q, time %q, version %q", bom.SerialNumber, bom.Metadata.Timestamp, bom.Metadata.Component.Version)
	}
	have := map[string]bool{}
	for _, c := range *bom.Components {
		if have[c.BOMRef] {
			t.Errorf("%s is there twice", c.BOMRef)
		}
		have[c.BOMRef] = true
		if c.Hashes == nil && c.Name != "std" {
			t.Errorf("%s has no hash", c.BOMRef)
		}
	}
	for _, d := range *bom.Dependencies {
		if got := *d.Dependencies; !slices.Equal(got, want[d.Ref]) || len(got) < 2 {
			t.Errorf("%s has %q, want %q", d.Ref, got, want[d.Ref])
		}
		for _, ref := range *d.Dependencies {
			if !have[ref] {
				t.Errorf("%s, of %s, is no component", ref, d.Ref)
			}
		}
		have[d.Ref+" and what is in it"] = true
	}
	if n := len(*bom.Dependencies); n != 2 || !have["whoami.zip and what is in it"] || !have["rotate.zip and what is in it"] {
		t.Errorf("%d binaries are told of", n)
	}
}

func TestPack(t *testing.T) {
	data := bytes.Repeat([]byte("binary "), 1000)
	packed, err := pack("bootstrap", data)
	must(t, err)
	again, err := pack("bootstrap", data)
	must(t, err)
	if !bytes.Equal(packed, again) {
		t.Error("it differs from time to time")
	}
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	must(t, err)
	if len(z.File) != 1 || z.File[0].Name != "bootstrap" || z.File[0].Mode() != 0o755 {
		t.Fatalf("%+v", z.File[0].FileHeader)
	}
	f, err := z.File[0].Open()
	must(t, err)
	got, err := io.ReadAll(f)
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Error("it holds something else")
	}
}

// What is in a release is what the template deploys, and SHA256SUMS can be checked by what everybody has.
func TestArtifacts(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(testenv.Root(t), "functions"))
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, functions) {
		t.Errorf("functions are %q, a release has %q", names, functions)
	}
	r := &release{version: "1.2.3"}
	dir, sums, seen := t.TempDir(), map[string][sha256.Size]byte{}, map[string]bool{}
	for _, a := range r.artifacts() {
		if seen[a.name] || a.os == "" || a.arch == "" {
			t.Errorf("%+v", a)
		}
		seen[a.name] = true
		must(t, os.WriteFile(filepath.Join(dir, a.name), []byte(a.name), 0o600))
		sums[a.name] = sha256.Sum256([]byte(a.name))
	}
	if len(sums) != 2*len(functions)+6 {
		t.Errorf("%d files", len(sums))
	}
	must(t, os.WriteFile(filepath.Join(dir, "SHA256SUMS"), list(sums), 0o600))
	check := exec.Command("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestCheck(t *testing.T) {
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "CHANGELOG.md"), []byte("# Changelog\n\n## [1.2.3] - 2026-11-27\n\n## [1.3.0]\n"), 0o600))
	must(t, os.MkdirAll(filepath.Join(root, "internal", "upgrade", "testdata", "1.2.3"), 0o700))
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.com"}, args...)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	for r, says := range map[release]string{
		{root: root}:                                          `-version is ""`,
		{root: root, version: "v1.2.3"}:                       `-version is "v1.2.3"`,
		{root: root, version: "1.2"}:                          `-version is "1.2"`,
		{root: root, version: "1.2.3 -X x=y"}:                 "-version is",
		{root: root, version: "1.2.30", commit: "0"}:          "CHANGELOG.md has no heading for 1.2.30",
		{root: root, version: "1.3.0", commit: "0"}:           "make golden RELEASE=1.3.0",
		{root: t.TempDir(), version: "1.2.3"}:                 "CHANGELOG.md",
		{root: root, version: "1.2.3", commit: "0123"}:        "a commit's whole hash",
		{root: root, version: "1.2.3", commit: "HEAD -X x=y"}: "a commit's whole hash",
	} {
		if err := r.check(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", r, err, says)
		}
	}
	whole := strings.Repeat("0a", 20)
	given := release{root: root, version: "1.2.3", commit: whole}
	if err := given.check(t.Context()); err != nil || given.commit != whole {
		t.Errorf("a release of a tree: %+v, %v", given, err)
	}

	git("init", "--quiet")
	r := release{root: root, version: "1.2.3"}
	if err := r.check(t.Context()); err == nil || !strings.Contains(err.Error(), "changes that are in none") {
		t.Errorf("a release of what is in no commit: %v", err)
	}
	git("add", ".")
	git("commit", "--quiet", "-m", "x")
	if err := r.check(t.Context()); err != nil || len(r.commit) != 40 {
		t.Errorf("a release of a commit: %+v, %v", r, err)
	}
}
