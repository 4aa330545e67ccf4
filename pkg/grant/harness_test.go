package grant_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/attack"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

const (
	issuer   = "https://auth.example.com"
	orders   = "https://orders.example.com"
	invoices = "https://invoices.example.com"
)

// world is both token endpoints over a real store, with a clock that the test moves.
type world struct {
	t        testing.TB
	registry client.Registry
	minter   *grant.Minter
	access   *token.AccessVerifier
	refresh  *token.RefreshVerifier
	keys     *keyring.Source // refresh keys
	proofs   *dpop.Verifier

	token, refreshOnly http.Handler

	mu     sync.Mutex
	clock  time.Time
	runs   time.Time // since when the clock runs by itself; zero: it stands
	log    bytes.Buffer
	out    io.Writer // where the log goes; nil: to log
	panics bool      // a test has something panic, and a status of 500 is what is to come of it
}

func newWorld(t testing.TB) *world {
	t.Helper()
	store, err := boltstore.Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w := &world{t: t, clock: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	w.registry = client.Registry{Store: store, Now: w.now}

	accessKeys := w.source(keyring.UseAccess, keyring.ES256)
	w.keys = w.source(keyring.UseRefresh, keyring.HS256)
	w.minter = &grant.Minter{Issuer: issuer, AccessKeys: accessKeys, RefreshKeys: w.keys, Now: w.now}
	if w.access, err = token.NewAccessVerifier(token.Config{Issuer: issuer, Audiences: []string{orders, invoices}, Keys: accessKeys, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	if w.refresh, err = token.NewRefreshVerifier(token.Config{Issuer: issuer, Keys: w.keys, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	clients := client.NewAuthenticator(store, w.now)
	log := w.logger()
	w.proofs = &dpop.Verifier{Nonces: &dpop.Nonces{Keys: w.keys, Now: w.now}, Now: w.now}
	w.token = grant.Endpoint{Name: "token", Log: log, Now: w.now, URLs: []string{issuer + oauth.PathToken}, Proofs: w.proofs, Types: map[string]grant.Type{
		oauth.GrantClientCredentials: &clientcredentials.Type{Clients: clients, Minter: w.minter},
		oauth.GrantRefreshToken:      &refresh.Type{Tokens: w.refresh, Minter: w.minter, Clients: clients},
	}}.Handler()
	w.refreshOnly = grant.Endpoint{Name: "refresh", Log: log, Now: w.now, NoCredentials: true, URLs: []string{issuer + oauth.PathRefresh}, Proofs: w.proofs, Types: map[string]grant.Type{
		oauth.GrantRefreshToken: &refresh.Type{Tokens: w.refresh, Minter: w.minter},
	}}.Handler()
	return w
}

func (w *world) source(use keyring.Use, alg keyring.Algorithm) *keyring.Source {
	w.t.Helper()
	key, err := keyring.Generate(alg, w.clock)
	if err != nil {
		w.t.Fatal(err)
	}
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{key}}
	return keyring.NewSource(keyring.SourceConfig{Now: w.now, Load: func(context.Context) (*keyring.Document, error) { return d, nil }})
}

func (w *world) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

// Write takes the log.
func (w *world) Write(p []byte) (int, error) {
	if w.out != nil {
		return w.out.Write(p)
	}
	return w.log.Write(p)
}

func (w *world) now() time.Time {
	if !w.runs.IsZero() {
		return w.clock.Add(time.Since(w.runs))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// register makes a client with sensible scopes and returns its secret.
func (w *world) register(spec client.Spec) (secret string) {
	w.t.Helper()
	if spec.Scopes == nil {
		spec.Scopes = oauth.Scope{"orders:read", "orders:write", "profile"}
	}
	if spec.Audiences == nil {
		spec.Audiences = []string{orders, invoices}
	}
	_, secret, err := w.registry.Create(w.t.Context(), spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// answer is what came back, with the log lines of that request.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
	log    string
}

func (a answer) field(name string) string {
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		a.t.Fatalf("not JSON: %q", a.body)
	}
	s, _ := m[name].(string)
	return s
}

func (a answer) expiresIn() (seconds int64) {
	var m oauth.TokenResponse
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		a.t.Fatalf("not JSON: %q", a.body)
	}
	return m.ExpiresIn
}

func (w *world) do(h http.Handler, r *http.Request) answer {
	w.t.Helper()
	w.log.Reset()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	a := answer{w.t, rec.Code, rec.Header(), rec.Body.String(), w.log.String()}
	if lines := strings.Count(a.log, "\n"); lines != 1 {
		w.t.Errorf("%d log lines for one request: %s", lines, a.log)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		w.t.Errorf("Cache-Control: %q, want no-store (RFC 6749 §5.1)", got)
	}
	if !w.panics || a.status != http.StatusInternalServerError {
		attack.Judge(w.t, r, a.status, a.header, []byte(a.body))
	}
	for _, name := range []string{"access_token", "refresh_token"} {
		if s := a.field(name); s != "" && strings.Contains(a.log, s) {
			w.t.Errorf("the log holds the %s: %s", name, a.log)
		}
	}
	return a
}

// post sends a form of name, value, name, value …
func post(path string, pairs ...string) *http.Request {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return postRaw(path, form.Encode())
}

func postRaw(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, issuer+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func basic(r *http.Request, id, secret string) *http.Request {
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	return r
}

// signIn does step 1 of the flow.
func (w *world) signIn(id, secret string, pairs ...string) answer {
	w.t.Helper()
	a := w.do(w.token, basic(post(oauth.PathToken, append([]string{"grant_type", "client_credentials"}, pairs...)...), id, secret))
	if a.status != http.StatusOK {
		w.t.Fatalf("sign-in: %d %s %s", a.status, a.body, a.log)
	}
	return a
}

// renew does step 3 at the refresh endpoint.
func (w *world) renew(id, refreshToken string, pairs ...string) answer {
	w.t.Helper()
	return w.do(w.refreshOnly, post(oauth.PathRefresh, append([]string{"grant_type", "refresh_token", "client_id", id, "refresh_token", refreshToken}, pairs...)...))
}

func (w *world) claims(a answer) *token.Access {
	w.t.Helper()
	claims, err := w.access.Verify(w.t.Context(), a.field("access_token"))
	if err != nil {
		w.t.Fatalf("the access token: %v", err)
	}
	return claims
}
