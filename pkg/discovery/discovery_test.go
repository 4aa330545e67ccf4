package discovery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/openapitest"
	"github.com/latchkey-auth/latchkey/pkg/discovery"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// site is a discovery endpoint on a store that counts, fails and changes when told to.
type site struct {
	t     *testing.T
	clock clocktest.Clock
	http.Handler
	log bytes.Buffer

	mu       sync.Mutex
	document *keyring.PublicDocument
	failure  error
	reads    int
}

func newSite(t *testing.T) *site {
	s := &site{t: t}
	s.serve(s.clock.Now)
	// ES256 verifies for the first hour, EdDSA is published after half an hour.
	es, ed := s.key(keyring.ES256, 0), s.key(keyring.EdDSA, 30*time.Minute)
	es.VerifyUntil = s.clock.Now().Add(time.Hour).Unix()
	d := keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{es, ed}}
	var err error
	if s.document, err = d.Public(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) serve(now func() time.Time) {
	s.Handler = discovery.Handler(discovery.Config{
		Issuer: "https://auth.example", Keys: s, Now: now, Log: slog.New(slog.NewJSONHandler(&s.log, nil)),
	})
}

func (s *site) key(alg keyring.Algorithm, from time.Duration) keyring.Key {
	s.t.Helper()
	key, err := keyring.Generate(alg, s.clock.Now().Add(from))
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

func (s *site) PublicKeys(ctx context.Context) (*keyring.PublicDocument, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if ctx.Err() != nil {
		return nil, 0, ctx.Err()
	}
	if s.failure != nil {
		return nil, 0, s.failure
	}
	return s.document, 1, nil
}

// ask sends a request with header lines, "Name: value".
func (s *site) ask(method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	for _, breach := range openapitest.Breaches(method, path, w.Code, w.Header(), w.Body.Bytes()) {
		s.t.Errorf("%s %s: %s", method, path, breach)
	}
	return w
}

// answers asks for the JWKS.
func (s *site) answers(what string, status int) *httptest.ResponseRecorder {
	s.t.Helper()
	w := s.ask("GET", oauth.PathJWKS)
	if w.Code != status {
		s.t.Errorf("%s: status %d, want %d", what, w.Code, status)
	}
	return w
}

func (s *site) read(what string, want int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads != want {
		s.t.Errorf("%s: %d reads, want %d", what, s.reads, want)
	}
}

func TestMetadata(t *testing.T) {
	s := newSite(t)
	want := map[string]any{
		"issuer":                                "https://auth.example",
		"token_endpoint":                        "https://auth.example/oauth2/token",
		"jwks_uri":                              "https://auth.example/.well-known/jwks.json",
		"response_types_supported":              []any{},
		"grant_types_supported":                 []any{"client_credentials", "refresh_token", "password", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "private_key_jwt"},
		"token_endpoint_auth_signing_alg_values_supported": []any{"ES256", "EdDSA", "RS256"},
		"revocation_endpoint":                              "https://auth.example/oauth2/revoke",
		"revocation_endpoint_auth_methods_supported":       []any{"client_secret_basic", "client_secret_post"},
		"introspection_endpoint":                           "https://auth.example/oauth2/introspect",
		"introspection_endpoint_auth_methods_supported":    []any{"client_secret_basic", "client_secret_post"},
		"subject_types_supported":                          []any{"public"},
		"id_token_signing_alg_values_supported":            []any{"ES256"},
		"dpop_signing_alg_values_supported":                []any{"ES256", "Ed25519", "EdDSA", "RS256"},
		"latchkey_refresh_endpoint":                        "https://auth.example/oauth2/refresh",
		"latchkey_refresh_endpoint_auth_methods_supported": []any{"none"},
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		w := s.ask("GET", path)
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d, %v", path, w.Code, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	s.clock.Move(30 * time.Minute)
	if body := s.ask("GET", oauth.PathMetadata).Body.String(); !strings.Contains(body, `"id_token_signing_alg_values_supported":["ES256","EdDSA"]`) {
		t.Errorf("with two keys: %s", body)
	}
}

func TestMTLSMetadata(t *testing.T) {
	s := newSite(t)
	s.Handler = discovery.Handler(discovery.Config{Issuer: "https://auth.example", MTLSOrigin: "https://mtls.auth.example", Keys: s, Now: s.clock.Now})
	var got map[string]any
	if err := json.Unmarshal(s.ask("GET", oauth.PathMetadata).Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	aliases := map[string]any{"token_endpoint": "https://mtls.auth.example/oauth2/token", "latchkey_refresh_endpoint": "https://mtls.auth.example/oauth2/refresh"}
	if diff := cmp.Diff(aliases, got["mtls_endpoint_aliases"]); diff != "" || got["tls_client_certificate_bound_access_tokens"] != true {
		t.Errorf("%v", got)
	}
}

func TestJWKS(t *testing.T) {
	s := newSite(t)
	for _, row := range []struct {
		move time.Duration
		algs string
	}{{0, "ES256"}, {30*time.Minute - time.Second, "ES256"}, {time.Second, "ES256 EdDSA"}, {30*time.Minute - time.Second, "ES256 EdDSA"}, {time.Second, "EdDSA"}} {
		s.clock.Move(row.move)
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		if err := json.Unmarshal(s.answers("keys", 200).Body.Bytes(), &set); err != nil {
			t.Fatal(err)
		}
		var algs []string
		for _, k := range set.Keys {
			algs = append(algs, k["alg"].(string))
			if k["use"] != "sig" || k["kid"] == "" || k["d"] != nil {
				t.Errorf("published %v", k)
			}
		}
		if got := strings.Join(algs, " "); got != row.algs {
			t.Errorf("at %s: %s, want %s", s.clock.Now(), got, row.algs)
		}
	}
}

func TestHeaders(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{oauth.PathJWKS, oauth.PathMetadata, oauth.PathOpenIDConfiguration, oauth.PathOpenAPI} {
		get := s.ask("GET", path)
		for name, want := range map[string]string{
			"Content-Type": "application/json", "Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff",
		} {
			if got := get.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		head := s.ask("HEAD", path)
		if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("ETag") != get.Header().Get("ETag") || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") {
			t.Errorf("%s: HEAD gives %d, %v, %d bytes", path, head.Code, head.Header(), head.Body.Len())
		}
	}
}

func TestETag(t *testing.T) {
	s := newSite(t)
	tag := s.answers("first", 200).Header().Get("ETag")
	if len(tag) < 12 || tag[0] != '"' || tag == s.ask("GET", oauth.PathMetadata).Header().Get("ETag") {
		t.Errorf("the ETag is %s", tag)
	}
	w := s.ask("GET", oauth.PathJWKS, "If-None-Match: "+tag)
	if w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("ETag") != tag || w.Header().Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("got %d, %v, %q", w.Code, w.Header(), w.Body)
	}
	if w := s.ask("GET", oauth.PathJWKS, `If-None-Match: "other"`); w.Code != 200 {
		t.Errorf("another ETag: %d", w.Code)
	}
	s.clock.Move(30 * time.Minute)
	if w := s.ask("GET", oauth.PathJWKS, "If-None-Match: "+tag); w.Code != 200 || w.Header().Get("ETag") == tag {
		t.Errorf("other keys by now: %d, %v", w.Code, w.Header())
	}
}

// TestOpenAPI: the OpenAPI document is of this issuer, and there whatever the keys are like.
func TestOpenAPI(t *testing.T) {
	s := newSite(t)
	s.failure = errors.New("away")
	w := s.ask("GET", oauth.PathOpenAPI)
	var document struct {
		Servers []struct{ URL string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || w.Code != 200 {
		t.Fatalf("%d, %v", w.Code, err)
	}
	if len(document.Servers) != 1 || document.Servers[0].URL != "https://auth.example" {
		t.Errorf("its servers are %v", document.Servers)
	}
	if again := s.ask("GET", oauth.PathOpenAPI, "If-None-Match: "+w.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("asked for again: %d", again.Code)
	}
	s.read("for the OpenAPI document", 0)
}

func TestMethods(t *testing.T) {
	s := newSite(t)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		w := s.ask(method, oauth.PathJWKS)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" || w.Header().Get("Cache-Control") != "no-store" ||
			!strings.Contains(w.Body.String(), `"error":"invalid_request"`) {
			t.Errorf("%s: %d, %v, %s", method, w.Code, w.Header(), w.Body)
		}
	}
	s.read("for what is refused", 0)
	for _, path := range []string{"/", "/.well-known", "/.well-known/jwks", "/.well-known/jwks.json/"} {
		if w := s.ask("GET", path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestReadsAreBounded(t *testing.T) {
	s := newSite(t)
	flood := func(what string, reads int) {
		t.Helper()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				for _, path := range []string{oauth.PathJWKS, oauth.PathMetadata, oauth.PathOpenIDConfiguration} {
					if w := s.ask("GET", path); w.Code != 200 {
						t.Errorf("%s: %d", what, w.Code)
					}
				}
			})
		}
		all.Wait()
		s.read(what, reads)
	}
	flood("at first", 1)
	s.clock.Move(5*time.Second - 1)
	flood("within five seconds", 1)
	s.clock.Move(1)
	flood("after five seconds", 2)
	s.clock.Move(-time.Hour)
	flood("with the clock set back", 3)
}

func TestFrozen(t *testing.T) {
	s := newSite(t)
	s.serve(s.clock.Frozen)
	s.answers("first", 200)
	s.clock.Move(5 * time.Second)
	s.answers("thawed", 200)
	s.read("thawed", 2)
}

func TestOutage(t *testing.T) {
	s := newSite(t)
	s.failure = errors.New("away: arn:aws:dynamodb:eu-west-1:123456789012:table/keys")
	for range 100 {
		w := s.answers("with no copy", http.StatusServiceUnavailable)
		if w.Header().Get("Retry-After") != "2" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("ETag") != "" ||
			!strings.Contains(w.Body.String(), `"error":"temporarily_unavailable"`) || strings.Contains(w.Body.String(), "arn:") {
			t.Fatalf("got %v, %s", w.Header(), w.Body)
		}
	}
	s.read("within a second of a failure", 1)
	if !strings.Contains(s.log.String(), `"msg":"discovery.failed","cause":"away: arn:`) {
		t.Errorf("the log is %.200s", &s.log)
	}
	s.clock.Move(-time.Hour)
	s.answers("with the clock set back", http.StatusServiceUnavailable)
	s.read("with the clock set back", 2)
	s.clock.Move(time.Second)
	s.failure = nil
	before := s.answers("recovered", 200).Body.String()

	s.failure = errors.New("away")
	s.clock.Move(5 * time.Second)
	s.log.Reset()
	for range 100 {
		if body := s.answers("stale", 200).Body.String(); body != before {
			t.Fatalf("got %s", body)
		}
	}
	s.read("stale", 4)
	if !strings.Contains(s.log.String(), `"msg":"discovery.stale","cause":"away","age_s":5`) {
		t.Errorf("the log is %.200s", &s.log)
	}
	s.clock.Move(time.Hour - 5*time.Second - 1)
	s.answers("just before it is too stale", 200)
	s.clock.Move(1)
	s.answers("too stale", http.StatusServiceUnavailable)
	s.failure = nil
	s.clock.Move(time.Second)
	s.answers("recovered", 200)
}

// TestNoKeys: a document that is gone is not an outage to be bridged.
func TestNoKeys(t *testing.T) {
	s := newSite(t)
	s.answers("first", 200)
	s.failure = keyring.ErrNoKeys
	s.clock.Move(5 * time.Second)
	s.answers("gone", http.StatusServiceUnavailable)
}

// TestCallerGoesAway: that one caller cancelled is no answer to the next.
func TestCallerGoesAway(t *testing.T) {
	s := newSite(t)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", oauth.PathJWKS, nil).WithContext(cancelled))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d", w.Code)
	}
	s.answers("for another", 200)
}

// TestOverHTTP: a client of the standard library reads the keys through a real server.
func TestOverHTTP(t *testing.T) {
	s := newSite(t)
	server := httptest.NewServer(s)
	defer server.Close()
	answer, err := http.Get(server.URL + oauth.PathJWKS)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	set, err := keyring.ParseJWKS(body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Key(s.document.Keys[0].JWK.ID); err != nil {
		t.Error(err)
	}
}
