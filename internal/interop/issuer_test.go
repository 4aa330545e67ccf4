// Package interop runs the OAuth clients and the token verifiers that others wrote against a running Latchkey: what they
// take for granted of an issuer and of its tokens is the standards as they are lived by.
//
// Each is run as its users run it, with its own configuration: the scripts beside this file, which are short.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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
	WhoamiURL    string `json:"api_url"`

	bin, dir string // the tool, and the folder that it runs in

	key       keyring.SigningKey // what it signs access tokens with
	publicPEM []byte             // that key's public half

	// jwksURI is where its keys are, by https, which some verifiers insist on. caFile is whom they have to trust for it.
	jwksURI, caFile string
}

// startIssuer runs `latchkey dev` for this test alone, with more flags perhaps. It signs access tokens by the algorithm.
func startIssuer(t *testing.T, alg keyring.Algorithm, flags ...string) *issuer {
	t.Helper()
	bin := lambdatest.Build(t, "github.com/latchkey-auth/latchkey/cmd/latchkey")
	dir := filepath.Join(t.TempDir(), "latchkey")
	if out, err := exec.Command(bin, "keys", "init", "--dir", dir, "--algorithm", string(alg)).CombinedOutput(); err != nil {
		t.Fatalf("keys init: %v\n%s", err, out)
	}

	var log bytes.Buffer
	cmd := exec.Command(bin, append([]string{"dev", "--dir", dir, "--port", "0"}, flags...)...)
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

	i := &issuer{bin: bin, dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, "demo.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, i); err != nil {
		t.Fatal(err)
	}
	document, err := filekeys.New(filepath.Join(dir, "keys.json"), keyring.UseAccess).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i.key, i.publicPEM = signing(t, document)
	if i.key.Algorithm != alg {
		t.Fatalf("it signs by %s, want %s", i.key.Algorithm, alg)
	}
	i.serveTLS(t)
	return i
}

// signing returns the key that a document signs with, and its public half.
func signing(t *testing.T, d *keyring.Document) (keyring.SigningKey, []byte) {
	t.Helper()
	source := keyring.NewSource(keyring.SourceConfig{Load: func(context.Context) (*keyring.Document, error) { return d, nil }})
	key, err := source.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.ParsePKCS8PrivateKey(d.Keys[0].Private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
}

// serveTLS puts a server with a certificate of its own in front.
func (i *issuer) serveTLS(t *testing.T) {
	t.Helper()
	target, err := url.Parse(i.URL)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(target))
	t.Cleanup(server.Close)
	i.jwksURI = server.URL + oauth.PathJWKS
	i.caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(i.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// script is a program that a test runs: its files by name, the first of them what is started. It reads JSON from its
// standard input and answers with JSON on its standard output.
type script struct {
	main  string
	files map[string]string
	env   []string
}

// beside returns a file of this folder.
func beside(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// node is a script of this folder alone.
func node(t *testing.T, name string, in, out any) {
	t.Helper()
	script{main: name, files: map[string]string{name: beside(t, name)}}.run(t, in, out)
}

func (s script) run(t *testing.T, in, out any) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range s.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program, args := "node", []string{filepath.Join(dir, s.main)}
	if strings.HasSuffix(s.main, ".py") {
		program, args = testenv.Python(t), append([]string{"-B"}, args...)
	} else if err := os.Symlink(testenv.NodeModules(t), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	stdin, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "NO_PROXY=*", "no_proxy=*")
	cmd.Env = append(cmd.Env, s.env...)
	cmd.WaitDelay = 5 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", s.main, err, stdout, &stderr)
	}
	if err := json.Unmarshal(stdout, out); err != nil {
		t.Fatalf("%s printed %q: %v\n%s", s.main, stdout, err, &stderr)
	}
}
