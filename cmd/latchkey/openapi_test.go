package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/openapitest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// TestOpenAPIRoutes: the document has what is served, with the method that it is for.
func TestOpenAPIRoutes(t *testing.T) {
	t.Parallel()
	var served, declared []string
	for _, r := range devRoutes {
		served = append(served, r.method+" "+r.path)
	}
	for path, item := range openapitest.Document()["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			declared = append(declared, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(declared)
	if !slices.Equal(served, declared) {
		t.Errorf("dev serves\n%s\nthe document has\n%s", strings.Join(served, "\n"), strings.Join(declared, "\n"))
	}
}

// TestOpenAPI has schemathesis send what the document declares, and what it forbids, to a running `latchkey dev`, and hold the
// answers to it.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := newSchemathesis(t)
	examples := "6"
	if testenv.Long() {
		examples = "200"
	}
	if said, err := s.run(t, nil, true, "--max-examples", examples); err != nil {
		t.Errorf("as the demo client: %v\n%s", err, said)
	}
	if said, err := s.run(t, nil, false, "--phases", "examples,coverage"); err != nil {
		t.Errorf("as nobody: %v\n%s", err, said)
	}
	// Otherwise all of that was for nothing. The document itself is what the tool is given, and no operation to it.
	for path, statuses := range map[string][]int{
		oauth.PathToken: {200, 400, 401, 405, 415}, oauth.PathRefresh: {200, 400, 405, 415}, oauth.PathRevoke: {200, 400, 401, 405, 415},
		oauth.PathIntrospect: {200, 400, 401, 405, 415}, oauth.PathMetadata: {200, 405}, oauth.PathOpenIDConfiguration: {200, 405},
		oauth.PathJWKS: {200, 405}, oauth.PathOpenAPI: {200}, revocation.PathFeed: {200, 400, 405}, pathWhoami: {200, 401, 403},
	} {
		for _, status := range statuses {
			if s.seen[fmt.Sprint(path, " ", status)] == 0 {
				t.Errorf("no %d of %s among %v", status, path, slices.Sorted(maps.Keys(s.seen)))
			}
		}
	}
	if !s.active {
		t.Error("no token was active")
	}
}

// TestOpenAPIFails: answers that are not as declared are found.
func TestOpenAPIFails(t *testing.T) {
	t.Parallel()
	spoil := func(r *http.Response) error {
		switch r.Request.URL.Path {
		case oauth.PathToken:
			r.StatusCode = http.StatusTeapot
		case oauth.PathIntrospect:
			body := []byte(`{"active":"no"}`)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", fmt.Sprint(len(body)))
		case oauth.PathRevoke:
			r.StatusCode = http.StatusInternalServerError
		case oauth.PathMetadata:
			r.Header.Set("Content-Type", "text/html")
		case oauth.PathJWKS:
			r.Header.Del("Cache-Control")
		}
		return nil
	}
	said, err := newSchemathesis(t).run(t, spoil, true, "--phases", "examples")
	if err == nil {
		t.Error("nothing was found")
	}
	for path, what := range map[string]string{
		"POST " + oauth.PathToken: "Undocumented status code", "POST " + oauth.PathIntrospect: "Response violates schema",
		"POST " + oauth.PathRevoke: "Server error", "GET " + oauth.PathMetadata: "Undocumented Content-Type",
		"GET " + oauth.PathJWKS: "Missing required response headers",
	} {
		_, about, found := strings.Cut(said, " "+path+" _")
		about, _, _ = strings.Cut(about, "\n____")
		if !found || !strings.Contains(about, what) {
			t.Errorf("%s: not found: %s", path, what)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
}

// schemathesis is the tool, and what it is let loose on.
type schemathesis struct {
	dev    *process
	bearer string

	mu     sync.Mutex
	seen   map[string]int // by path and status
	active bool           // a token was introspected that is
}

func newSchemathesis(t *testing.T) *schemathesis {
	t.Helper()
	cmd := exec.Command("latchkey", "dev", "--port", "0")
	cmd.Dir = t.TempDir()
	p, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.stop() })
	cmd = exec.Command("latchkey", "client", "update", "demo", "--introspects", devAudience)
	cmd.Dir = p.cmd.Dir
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	answer, err := http.PostForm(p.issuer+oauth.PathToken, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"demo"}, "client_secret": {p.secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var tokens oauth.TokenResponse
	if err := json.NewDecoder(answer.Body).Decode(&tokens); err != nil {
		t.Fatal(err)
	}
	return &schemathesis{dev: p, bearer: tokens.AccessToken, seen: map[string]int{}}
}

// run runs all checks, with answers spoiled, and returns what it prints. Its error says that it has found something.
func (s *schemathesis) run(t *testing.T, spoil func(*http.Response) error, authenticated bool, args ...string) (string, error) {
	t.Helper()
	target, err := url.Parse(s.dev.issuer)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if err := s.see(r); err != nil || spoil == nil {
				return err
			}
			return spoil(r)
		},
	})
	defer front.Close()
	chains, err := filepath.Abs(filepath.Join("testdata", "openapi"))
	if err != nil {
		t.Fatal(err)
	}
	// Valid requests need not be accepted where they have to name what is there: tokens, scopes, cursors.
	config := `
[[operations]]
include-path = ["/oauth2/token", "/oauth2/refresh", "/oauth2/revoke", "/oauth2/introspect", "/.well-known/latchkey-revocations"]
checks.positive_data_acceptance.enabled = false
`
	if authenticated {
		config += fmt.Sprintf("[auth.openapi]\nclientSecretBasic = {username = \"demo\", password = %q}\nbearer = {bearer = %q}\n", s.dev.secret, s.bearer)
	}
	cmd := exec.CommandContext(t.Context(), testenv.Script(t, "schemathesis"), append([]string{
		"--no-color", "--config-file", "schemathesis.toml", "run", front.URL + oauth.PathOpenAPI, "--url", front.URL,
		"--seed", "1", "--generation-database", "none", "--no-shrink", "--warnings", "off",
	}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PYTHONPATH="+chains, "PYTHONDONTWRITEBYTECODE=1", "SCHEMATHESIS_HOOKS=chains")
	if err := os.WriteFile(filepath.Join(cmd.Dir, "schemathesis.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := cmd.CombinedOutput()
	return string(said), err
}

// see notes what was answered.
func (s *schemathesis) see(r *http.Response) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[fmt.Sprint(r.Request.URL.Path, " ", r.StatusCode)]++
	s.active = s.active || bytes.HasPrefix(body, []byte(`{"active":true`))
	return nil
}
