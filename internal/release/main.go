// Command release builds what a release consists of, from a commit, so that anybody who builds the same commit with the same Go
// has the same bytes (docs/releases.md): each function for both architectures, the tool for six platforms, what is in them
// (CycloneDX), and the hashes of all.
//
//	go run ./internal/release -version 0.1.0
package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/deptest"
)

// functions are those that a release has.
var functions = []string{"authorizer", "discovery", "introspect", "refresh", "revoke", "rotate", "token", "whoami"}

// platform is what a binary is built for.
type platform struct{ os, arch string }

var (
	lambdas = []platform{{"linux", "amd64"}, {"linux", "arm64"}}
	laptops = []platform{{"darwin", "amd64"}, {"darwin", "arm64"}, {"linux", "amd64"}, {"linux", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"}}
)

func main() {
	r := release{root: "."}
	out := flag.String("out", "dist", "folder, which must not be there yet")
	flag.StringVar(&r.version, "version", "", "`version` of the release, without a v")
	flag.StringVar(&r.commit, "commit", "", "commit that it is of, where this is no repository")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := r.check(ctx)
	if err == nil {
		err = r.write(ctx, *out)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is one.
type release struct {
	root            string // of the source
	version, commit string
}

var (
	semantic = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)
	hash     = regexp.MustCompile(`^[0-9a-f]{40,64}$`)
)

// check refuses what is no release: a tree with changes, a version that the changelog says nothing of, or one whose state no
// later release would be held to.
func (r *release) check(ctx context.Context) error {
	if !semantic.MatchString(r.version) {
		return fmt.Errorf("-version is %q: it must be a version such as 0.1.0", r.version)
	}
	changes, err := os.ReadFile(filepath.Join(r.root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	if !regexp.MustCompile(`(?m)^## \[` + regexp.QuoteMeta(r.version) + `\]`).Match(changes) {
		return fmt.Errorf("CHANGELOG.md has no heading for %s", r.version)
	}
	if _, err := os.Stat(filepath.Join(r.root, "internal", "upgrade", "testdata", r.version)); err != nil {
		return fmt.Errorf("the state that %s leaves is not kept: make golden RELEASE=%s, and commit that", r.version, r.version)
	}
	switch {
	case r.commit != "" && !hash.MatchString(r.commit):
		return fmt.Errorf("-commit is %q: it must be a commit's whole hash", r.commit)
	case r.commit != "":
		return nil
	}
	status, err := r.git(ctx, "status", "--porcelain")
	if err != nil {
		return err
	}
	if status != "" {
		return errors.New("a release is of a commit, and there are changes that are in none")
	}
	r.commit, err = r.git(ctx, "rev-parse", "HEAD")
	return err
}

func (r *release) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Stderr = r.root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w (without a repository, name the commit by -commit)", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// artifact is a file of the release with one binary in it.
type artifact struct {
	name   string // without .zip
	binary string // its name within
	pkg    string
	tags   string
	platform
}

func (r *release) artifacts() []artifact {
	var list []artifact
	for _, f := range functions {
		for _, p := range lambdas {
			list = append(list, artifact{
				fmt.Sprintf("latchkey-%s-function-%s-%s", r.version, f, lambdaArch(p.arch)), "bootstrap", "./functions/" + f, deptest.Tags, p,
			})
		}
	}
	for _, p := range laptops {
		binary := "latchkey"
		if p.os == "windows" {
			binary += ".exe"
		}
		list = append(list, artifact{fmt.Sprintf("latchkey-%s-%s-%s", r.version, p.os, p.arch), binary, "./cmd/latchkey", "", p})
	}
	return list
}

// lambdaArch is Lambda's name of an architecture.
func lambdaArch(goarch string) string {
	if goarch == "amd64" {
		return "x86_64"
	}
	return goarch
}

// write builds everything into a new folder.
func (r *release) write(ctx context.Context, out string) error {
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	var built []contents
	sums := map[string][sha256.Size]byte{}
	save := func(name string, data []byte) error {
		sums[name] = sha256.Sum256(data)
		return os.WriteFile(filepath.Join(out, name), data, 0o644)
	}
	for _, a := range r.artifacts() {
		fmt.Println(a.name)
		file := filepath.Join(scratch, a.name)
		if err := r.build(ctx, a, file); err != nil {
			return err
		}
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return err
		}
		binary, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		packed, err := pack(a.binary, binary)
		if err != nil {
			return err
		}
		if err := save(a.name+".zip", packed); err != nil {
			return err
		}
		built = append(built, contents{a.name + ".zip", sums[a.name+".zip"], info})
	}
	bom, err := sbom(r.version, built)
	if err != nil {
		return err
	}
	if err := save(fmt.Sprintf("latchkey-%s.cdx.json", r.version), bom); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), list(sums), 0o644)
}

// build builds one binary. Nothing of this machine gets into it: not its paths, nor its settings of the go command, nor the state
// of its repository, of which the version and the commit are all that is said.
func (r *release) build(ctx context.Context, a artifact, file string) error {
	const stamp = "github.com/latchkey-auth/latchkey/internal/version."
	cmd := exec.CommandContext(ctx, "go", "build", "-C", r.root, "-trimpath", "-buildvcs=false", "-tags", a.tags,
		"-ldflags", fmt.Sprintf("-s -w -X %srelease=%s -X %scommit=%s", stamp, r.version, stamp, r.commit), "-o", file, a.pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+a.os, "GOARCH="+a.arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off", "GOWORK=off")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w", a.name, err)
	}
	return nil
}

// pack makes a zip of one executable file. Its time is the first that a zip can say.
func pack(name string, data []byte) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// list is what `sha256sum -c` reads.
func list(sums map[string][sha256.Size]byte) []byte {
	var lines []string
	for name, sum := range sums {
		lines = append(lines, fmt.Sprintf("%x  %s\n", sum, name))
	}
	slices.SortFunc(lines, func(a, b string) int { return cmp.Compare(a[2*sha256.Size:], b[2*sha256.Size:]) })
	return []byte(strings.Join(lines, ""))
}
