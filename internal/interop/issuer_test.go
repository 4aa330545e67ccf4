// Package interop runs the OAuth clients and the token verifiers that others wrote against a running Latchkey: what they
// take for granted of an issuer and of its tokens is the standards as they are lived by.
//
// Each is run as its users run it, with its own configuration: the scripts beside this file, which are short.
package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/lambdatest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/filekeys"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// audience is that of `latchkey dev`'s demo client.
const audience = "https://api.latchkey.example"

// issuer is a running `latchkey dev`, with its demo client.
type issuer struct {
	URL          string `json:"issuer"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	WhoamiURL    string `json:"whoami_url"`

	key keyring.SigningKey // what it signs access tokens with
}

// startIssuer runs `latchkey dev` for this test alone. It signs access tokens by the algorithm.
func startIssuer(t *testing.T, alg keyring.Algorithm) *issuer {
	t.Helper()
	bin := lambdatest.Build(t, "github.com/latchkey-auth/latchkey/cmd/latchkey")
	dir := filepath.Join(t.TempDir(), "latchkey")
	if out, err := exec.Command(bin, "keys", "init", "--dir", dir, "--algorithm", string(alg)).CombinedOutput(); err != nil {
		t.Fatalf("keys init: %v\n%s", err, out)
	}

	var log bytes.Buffer
	cmd := exec.Command(bin, "dev", "--dir", dir, "--port", "0")
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		<-drained
		if err := cmd.Wait(); err != nil {
			t.Errorf("latchkey dev: %v", err)
		}
		if t.Failed() {
			t.Logf("latchkey dev logged:\n%s", &log)
		}
	})
	// From the first line that it prints on, it answers.
	first, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, stdout)
	}()
	if err != nil {
		t.Fatalf("latchkey dev printed %q: %v", first, err)
	}

	i := &issuer{}
	data, err := os.ReadFile(filepath.Join(dir, "demo.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, i); err != nil {
		t.Fatal(err)
	}
	keys := keyring.NewSource(keyring.SourceConfig{Load: filekeys.New(filepath.Join(dir, "keys.json"), keyring.UseAccess).Load})
	if i.key, err = keys.SigningKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i.key.Algorithm != alg {
		t.Fatalf("it signs by %s, want %s", i.key.Algorithm, alg)
	}
	return i
}

// jwksURI is where its keys are.
func (i *issuer) jwksURI() string { return i.URL + oauth.PathJWKS }

// node runs a script of this folder, with a value to read as JSON from its standard input, and reads its answer, which is
// JSON on its standard output.
func node(t *testing.T, script string, in, out any) {
	t.Helper()
	source, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	runNode(t, source, in, out)
}

// runNode is node with the source of a module.
func runNode(t *testing.T, source []byte, in, out any) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(testenv.NodeModules(t), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "script.mjs")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", file)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.WaitDelay = 5 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s%s", err, stdout, &stderr)
	}
	if err := json.Unmarshal(stdout, out); err != nil {
		t.Fatalf("node printed %q: %v\n%s", stdout, err, &stderr)
	}
}
