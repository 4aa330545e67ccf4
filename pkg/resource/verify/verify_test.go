package verify_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/dpoptest"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/deptest"
	"github.com/latchkey-auth/latchkey/pkg/discovery"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/remotefeed"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/resource"
	"github.com/latchkey-auth/latchkey/pkg/resource/verify"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

const (
	audience = "https://api.example.com"
	origin   = "https://api.example.com"
)

// world is an issuer that serves its keys and its revocations, and a service that goes by them.
type world struct {
	t     *testing.T
	clock clocktest.Clock
	store *boltstore.Store
	key   keyring.SigningKey // of access tokens
	other keyring.SigningKey // of refresh tokens
	url   string
	down  bool // its answers are lost
	log   bytes.Buffer

	document *keyring.PublicDocument
	guard    *resource.Guard
}

// PublicKeys implements discovery.Keys.
func (w *world) PublicKeys(context.Context) (*keyring.PublicDocument, int64, error) {
	return w.document, 1, nil
}

func newWorld(t *testing.T, c verify.Config) *world {
	t.Helper()
	w := &world{t: t}
	w.clock.Move(1000 * time.Hour)
	var err error
	if w.store, err = boltstore.Open(filepath.Join(t.TempDir(), "store.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	w.key, w.document = w.ring(keyring.UseAccess, keyring.ES256)
	w.other, _ = w.ring(keyring.UseRefresh, keyring.HS256)

	mux := http.NewServeMux()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.down {
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		mux.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	quiet := slog.New(slog.DiscardHandler)
	mux.Handle("/", discovery.Handler(discovery.Config{Issuer: w.url, Keys: w, Log: quiet, Now: w.clock.Now}))
	mux.Handle(revocation.PathFeed, revocation.NewFeed(revocation.FeedConfig{Source: w.store, Log: quiet, Now: w.clock.Now}))

	c.Issuer, c.Audiences, c.Now, c.Log = w.url, []string{audience}, w.clock.Now, slog.New(slog.NewJSONHandler(&w.log, nil))
	if w.guard, err = verify.New(c); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) ring(use keyring.Use, alg keyring.Algorithm) (keyring.SigningKey, *keyring.PublicDocument) {
	w.t.Helper()
	key, err := keyring.Generate(alg, w.clock.Now().Add(-time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{key}}
	source := keyring.NewSource(keyring.SourceConfig{Now: w.clock.Now, Load: func(context.Context) (*keyring.Document, error) { return d, nil }})
	signing, err := source.SigningKey(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if use == keyring.UseRefresh {
		return signing, nil
	}
	public, err := d.Public()
	if err != nil {
		w.t.Fatal(err)
	}
	return signing, public
}

// access is a good token's claims, which a change makes another's.
func (w *world) access(change func(*token.Access)) string {
	w.t.Helper()
	now := w.clock.Now()
	a := &token.Access{
		Grant:  token.Grant{GrantID: "g_1", ClientID: "shop", Subject: "u_1", AuthTime: now, Epochs: token.Epochs{{Handle: "h", N: 1}}},
		Issuer: w.url, Audience: []string{audience}, IssuedAt: now, ExpiresAt: now.Add(15 * time.Minute), ID: token.NewID("t_"),
		Scope: oauth.Scope{"orders:read", "profile"},
	}
	if change != nil {
		change(a)
	}
	raw, err := a.Sign(w.t.Context(), w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// answer is what came of a request.
type answer struct {
	status     int
	code       string
	challenges []string
	header     http.Header
	caller     *resource.Caller
}

func request(method, path string, authorization ...string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "internal.example" // no host that a client named
	r.Header["Authorization"] = authorization
	return r
}

// ask sends a request to a route that takes the scope orders:read.
func (w *world) ask(r *http.Request) answer {
	w.t.Helper()
	w.log.Reset()
	var a answer
	rec := httptest.NewRecorder()
	w.guard.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { a.caller, _ = resource.From(r.Context()) }), "orders:read").
		ServeHTTP(rec, r)
	a.status, a.header, a.challenges = rec.Code, rec.Header(), rec.Header().Values("WWW-Authenticate")
	if a.status == http.StatusOK {
		return a
	}
	var body struct{ Error string }
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		w.t.Fatalf("the body %s: %v", rec.Body, err)
	}
	a.code = body.Error
	if a.caller != nil || a.header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("a refusal with the caller %+v and the headers %v", a.caller, a.header)
	}
	for _, authorization := range r.Header["Authorization"] {
		if _, raw, _ := strings.Cut(authorization, " "); len(raw) > 20 && strings.Contains(w.log.String()+rec.Body.String(), raw) {
			w.t.Errorf("the token is in the log or the answer:\n%s%s", &w.log, rec.Body)
		}
	}
	return a
}

func TestGood(t *testing.T) {
	w := newWorld(t, verify.Config{})
	raw := w.access(func(a *token.Access) { a.ID = "t_1" })
	for _, authorization := range []string{"Bearer " + raw, "bearer " + raw, "BEARER   " + raw} {
		a := w.ask(request("GET", "/orders", authorization))
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.code)
		}
		now := w.clock.Now()
		want := &resource.Caller{
			ClientID: "shop", Subject: "u_1", Scope: []string{"orders:read", "profile"}, GrantID: "g_1", TokenID: "t_1",
			ExpiresAt: now.Add(15 * time.Minute),
			Claims:    map[string]string{"iss": w.url, "aud": audience, "iat": fmt.Sprint(now.Unix()), "auth_time": fmt.Sprint(now.Unix())},
		}
		if diff := cmp.Diff(want, a.caller, cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Errorf("the caller (-want +got):\n%s", diff)
		}
	}
}

// TestRefusals has the authorizer's verdict beside the guard's: they must not differ.
func TestRefusals(t *testing.T) {
	w := newWorld(t, verify.Config{})
	good := w.access(nil)
	head, rest, _ := strings.Cut(good, ".")
	refresh := &token.Refresh{
		Grant:  token.Grant{GrantID: "g_1", ClientID: "shop", Subject: "u_1", AuthTime: w.clock.Now(), Epochs: token.Epochs{{Handle: "h", N: 1}}},
		Issuer: w.url, IssuedAt: w.clock.Now(), ExpiresAt: w.clock.Now().Add(time.Hour), ID: "r_1", Scope: oauth.Scope{"orders:read"},
		Resources: []string{audience}, Mode: token.ModeBearer, GrantEnds: w.clock.Now().Add(time.Hour), AccessLifetime: time.Minute,
	}
	refreshToken, err := refresh.Sign(t.Context(), w.other)
	if err != nil {
		t.Fatal(err)
	}
	verifier := w.authorizers()
	const none = `Bearer realm="api"`
	with := func(code string) string { return none + `, error="` + code + `"` }
	for _, test := range []struct {
		name          string
		authorization []string
		status        int
		challenge     string // as it begins
	}{
		{"good", []string{"Bearer " + good}, 200, ""},
		{"none", nil, 401, none},
		{"an empty one", []string{""}, 401, none},
		{"a password", []string{"Basic YTpi"}, 401, none},
		{"a proof that is not taken", []string{"DPoP " + good}, 401, none},
		{"two", []string{"Bearer " + good, "Bearer " + good}, 400, with("invalid_request")},
		{"two in one", []string{"Bearer " + good + ", Bearer " + good}, 401, with("invalid_token")},
		{"no token", []string{"Bearer"}, 401, with("invalid_token")},
		{"an empty token", []string{"Bearer "}, 401, with("invalid_token")},
		{"a tab", []string{"Bearer\t" + good}, 401, none},
		{"a token and more", []string{"Bearer " + good + " x"}, 401, with("invalid_token")},
		{"something else", []string{"Bearer opaque"}, 401, with("invalid_token")},
		{"altered", []string{"Bearer " + head + "." + strings.Replace(rest, ".", "A.", 1)}, 401, with("invalid_token")},
		{"a refresh token", []string{"Bearer " + refreshToken}, 401, with("invalid_token")},
		{"ended", []string{"Bearer " + w.access(func(a *token.Access) {
			a.AuthTime, a.IssuedAt, a.ExpiresAt = a.AuthTime.Add(-time.Hour), a.IssuedAt.Add(-time.Hour), a.IssuedAt.Add(-token.Leeway)
		})}, 401, with("invalid_token")},
		{"of another issuer", []string{"Bearer " + w.access(func(a *token.Access) { a.Issuer = "https://other.example" })}, 401, with("invalid_token")},
		{"for others", []string{"Bearer " + w.access(func(a *token.Access) { a.Audience = []string{"https://other.example"} })}, 401, with("invalid_token")},
		{"bound to a key", []string{"Bearer " + w.access(func(a *token.Access) { a.Confirmation.JKT = thumbprint })}, 401, with("invalid_token")},
		{"bound to a certificate", []string{"Bearer " + w.access(func(a *token.Access) { a.Confirmation.X5T = thumbprint })}, 401, with("invalid_token")},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := w.ask(request("GET", "/orders", test.authorization...))
			challenge := strings.Join(a.challenges, ", ")
			if a.status != test.status || !strings.HasPrefix(challenge, test.challenge) || (test.challenge == none) != (challenge == none) {
				t.Errorf("the answer is %d %q, want %d %q", a.status, challenge, test.status, test.challenge)
			}
			if allowed := verifier(test.authorization); allowed != (test.status == 200) {
				t.Errorf("the authorizer's verdict is %v", allowed)
			}
		})
	}

	a := w.ask(request("GET", "/orders", "Bearer "+w.access(func(a *token.Access) { a.Scope = oauth.Scope{"profile"} })))
	if a.status != 403 || a.code != resource.InsufficientScope || !strings.Contains(a.challenges[0], `scope="orders:read"`) {
		t.Errorf("without the scope: %d %s %q", a.status, a.code, a.challenges)
	}
}

const thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

// authorizers returns what a REST API's authorizer says of the same headers, by keys and a feed of its own.
func (w *world) authorizers() func(authorization []string) bool {
	keys, errKeys := remotekeys.New(remotekeys.Config{URL: w.url + oauth.PathJWKS, Now: w.clock.Now})
	feed, errFeed := remotefeed.New(remotefeed.Config{URL: w.url + revocation.PathFeed})
	view, errView := revocation.NewView(revocation.ViewConfig{Source: feed, Window: time.Hour, Now: w.clock.Now})
	tokens, errTokens := token.NewAccessVerifier(token.Config{
		Issuer: w.url, Audiences: []string{audience}, Keys: keys, Revocations: view, MaxLifetime: time.Hour, Now: w.clock.Now,
	})
	auth, err := authorizer.New(authorizer.Config{Verifier: tokens, Now: w.clock.Now, Log: slog.New(slog.DiscardHandler)})
	if err := errors.Join(errKeys, errFeed, errView, errTokens, err); err != nil {
		w.t.Fatal(err)
	}
	return func(authorization []string) bool {
		event, err := json.Marshal(map[string]any{
			"type": "REQUEST", "methodArn": "arn:aws:execute-api:eu-central-1:123456789012:f6g7h8i9j0/prod/GET/orders",
			"resource": "/orders", "path": "/orders", "httpMethod": "GET", "multiValueHeaders": map[string][]string{"Authorization": authorization},
		})
		if err != nil {
			w.t.Fatal(err)
		}
		out, err := auth.Invoke(w.t.Context(), event)
		if err != nil && !errors.Is(err, authorizer.ErrUnauthorized) {
			w.t.Fatal(err)
		}
		return err == nil && bytes.Contains(out, []byte(`"Allow"`))
	}
}

// What is revoked is refused once it must be known, at the latest.
// Tokens by another name of the issuer are taken where that is listed, and those of any other issuer are not.
func TestAcceptedIssuers(t *testing.T) {
	const old = "https://old.example.com"
	w, plain := newWorld(t, verify.Config{AcceptedIssuers: []string{old}}), newWorld(t, verify.Config{})
	for _, test := range []struct {
		at     *world
		iss    string
		status int
	}{{w, w.url, 200}, {w, old, 200}, {w, "https://other.example.com", 401}, {w, "", 401}, {plain, plain.url, 200}, {plain, old, 401}} {
		raw := test.at.access(func(a *token.Access) { a.Issuer = test.iss })
		if a := test.at.ask(request("GET", "/orders", "Bearer "+raw)); a.status != test.status {
			t.Errorf("of %q: %d, want %d", test.iss, a.status, test.status)
		}
	}
}

func TestRevoked(t *testing.T) {
	w := newWorld(t, verify.Config{})
	raw := w.access(nil)
	if a := w.ask(request("GET", "/orders", "Bearer "+raw)); a.status != 200 {
		t.Fatalf("before: %d", a.status)
	}
	if err := w.store.Append(t.Context(), revocation.Grant("g_1", w.clock.Now())); err != nil {
		t.Fatal(err)
	}
	w.clock.Move(revocation.PollInterval + revocation.FeedMemory)
	if a := w.ask(request("GET", "/orders", "Bearer "+raw)); a.status != 401 || a.code != resource.InvalidToken {
		t.Errorf("after: %d %s", a.status, a.code)
	}
	if !strings.Contains(w.log.String(), "revoked") {
		t.Errorf("the log says %s", &w.log)
	}
}

// An outage is none of the token's faults, and no reason to let it through.
func TestOutage(t *testing.T) {
	is503 := func(w *world, raw string) {
		t.Helper()
		a := w.ask(request("GET", "/orders", "Bearer "+raw))
		if a.status != 503 || a.code != resource.Unavailable || a.header.Get("Retry-After") == "" || a.challenges != nil {
			t.Errorf("%d %s %v", a.status, a.code, a.header)
		}
	}
	w := newWorld(t, verify.Config{})
	w.down = true
	is503(w, w.access(nil)) // no keys

	w = newWorld(t, verify.Config{})
	raw := w.access(nil)
	if a := w.ask(request("GET", "/orders", "Bearer "+raw)); a.status != 200 {
		t.Fatalf("before: %d", a.status)
	}
	w.down = true
	w.clock.Move(revocation.MaxStaleness - time.Second)
	if a := w.ask(request("GET", "/orders", "Bearer "+raw)); a.status != 200 {
		t.Errorf("on revocations that are not too old: %d", a.status)
	}
	w.clock.Move(2 * time.Second)
	is503(w, raw) // revocations that are too old
	if a := w.ask(request("GET", "/orders", "Bearer "+raw+"x")); a.status == 503 {
		t.Errorf("a bad token is an outage: %d", a.status)
	}
	w.down = false
	w.clock.Move(time.Second)
	if a := w.ask(request("GET", "/orders", "Bearer "+raw)); a.status != 200 {
		t.Errorf("after it: %d", a.status)
	}
}

// A token that lives longer than the deployment's cap says, as one of before the cap was lowered does, ends by the cap: no
// revocation is remembered for longer.
func TestMaxLifetime(t *testing.T) {
	for cap, status := range map[time.Duration]int{0: 200, 30 * time.Minute: 401} {
		w := newWorld(t, verify.Config{MaxLifetime: cap})
		raw := w.access(func(a *token.Access) { a.ExpiresAt = a.IssuedAt.Add(time.Hour) })
		w.clock.Move(45 * time.Minute)
		if a := w.ask(request("GET", "/orders", "Bearer "+raw)); a.status != status {
			t.Errorf("cap %v: %d, want %d", cap, a.status, status)
		}
	}
}

func TestProofs(t *testing.T) {
	w := newWorld(t, verify.Config{Origin: origin})
	key, thief := dpoptest.New(t, "ES256"), dpoptest.New(t, "ES256")
	bound := w.access(func(a *token.Access) { a.Confirmation.JKT = key.Thumbprint() })
	free := w.access(nil)
	const url = origin + "/orders/a%2Fb"
	proof := func(k *dpoptest.Key, method, url, raw string) string {
		return k.Proof(method, url, w.clock.Now(), dpoptest.For(raw))
	}
	used := proof(key, "GET", url, bound)
	for _, test := range []struct {
		name, authorization string
		proofs              []string
		status              int
		code                string
	}{
		{"good", "DPoP " + bound, []string{used}, 200, ""},
		{"once more", "DPoP " + bound, []string{used}, 401, verify.InvalidProof},
		{"another", "dpop " + bound, []string{proof(key, "GET", url, bound)}, 200, ""},
		{"a bearer token, as ever", "Bearer " + free, nil, 200, ""},
		{"stolen", "Bearer " + bound, nil, 401, resource.InvalidToken},
		{"stolen with its proof", "Bearer " + bound, []string{proof(key, "GET", url, bound)}, 401, resource.InvalidToken},
		{"no proof", "DPoP " + bound, nil, 401, verify.InvalidProof},
		{"two", "DPoP " + bound, []string{proof(key, "GET", url, bound), proof(key, "GET", url, bound)}, 401, verify.InvalidProof},
		{"by the thief's key", "DPoP " + bound, []string{proof(thief, "GET", url, bound)}, 401, resource.InvalidToken},
		{"for another method", "DPoP " + bound, []string{proof(key, "POST", url, bound)}, 401, verify.InvalidProof},
		{"for another path", "DPoP " + bound, []string{proof(key, "GET", origin+"/orders/a/b", bound)}, 401, verify.InvalidProof},
		{"for the host that was named", "DPoP " + bound, []string{proof(key, "GET", "https://internal.example/orders/a%2Fb", bound)}, 401, verify.InvalidProof},
		{"for another token", "DPoP " + bound, []string{proof(key, "GET", url, free)}, 401, verify.InvalidProof},
		{"of a token that is not bound", "DPoP " + free, []string{proof(key, "GET", url, free)}, 401, resource.InvalidToken},
		{"of a bad token", "DPoP " + bound + "x", []string{proof(key, "GET", url, bound+"x")}, 401, resource.InvalidToken},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request("GET", "/orders/a%2Fb?x=1", test.authorization)
			r.Header["Dpop"] = test.proofs
			a := w.ask(r)
			if a.status != test.status || a.code != test.code {
				t.Fatalf("%d %s, want %d %s\n%s", a.status, a.code, test.status, test.code, &w.log)
			}
			if a.status == 200 {
				return
			}
			// The error is in the challenge of the scheme that was used.
			bearer := strings.HasPrefix(test.authorization, "Bearer")
			if len(a.challenges) != 2 || strings.Contains(a.challenges[0], "error=") != bearer || strings.Contains(a.challenges[1], "error=") == bearer ||
				!strings.HasPrefix(a.challenges[1], `DPoP algs="ES256 `) {
				t.Errorf("WWW-Authenticate is %q", a.challenges)
			}
		})
	}
}

// A service that has TLS to itself sees the certificate that a token is bound to.
func TestCertificate(t *testing.T) {
	w := newWorld(t, verify.Config{})
	der, other := []byte("a certificate"), []byte("another")
	raw := w.access(func(a *token.Access) { a.Confirmation.X5T = token.CertificateThumbprint(der) })
	for name, c := range map[string]struct {
		state  *tls.ConnectionState
		status int
	}{
		"the one":       {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: der}, {Raw: other}}}, 200},
		"another":       {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: other}, {Raw: der}}}, 401},
		"none":          {&tls.ConnectionState{}, 401},
		"no TLS at all": {nil, 401},
	} {
		r := request("GET", "/orders", "Bearer "+raw)
		r.TLS = c.state
		if a := w.ask(r); a.status != c.status {
			t.Errorf("%s: %d, want %d", name, a.status, c.status)
		}
	}
}

func TestNew(t *testing.T) {
	audiences := []string{audience}
	for name, c := range map[string]struct {
		config verify.Config
		good   bool
	}{
		"good":                        {verify.Config{Issuer: "https://id.example.com", Audiences: audiences}, true},
		"with an origin":              {verify.Config{Issuer: "https://id.example.com", Audiences: audiences, Origin: origin}, true},
		"on this machine":             {verify.Config{Issuer: "http://127.0.0.1:3000", Audiences: audiences}, true},
		"on this machine, by name":    {verify.Config{Issuer: "http://localhost:3000", Audiences: audiences}, true},
		"no issuer":                   {verify.Config{Audiences: audiences}, false},
		"http":                        {verify.Config{Issuer: "http://id.example.com", Audiences: audiences}, false},
		"http, and a misleading name": {verify.Config{Issuer: "http://127.0.0.1.example.com", Audiences: audiences}, false},
		"a slash at the end":          {verify.Config{Issuer: "https://id.example.com/", Audiences: audiences}, false},
		"a path":                      {verify.Config{Issuer: "https://id.example.com/a", Audiences: audiences}, false},
		"in capitals":                 {verify.Config{Issuer: "https://ID.example.com", Audiences: audiences}, false},
		"a user":                      {verify.Config{Issuer: "https://a@id.example.com", Audiences: audiences}, false},
		"no audience":                 {verify.Config{Issuer: "https://id.example.com"}, false},
		"an empty audience":           {verify.Config{Issuer: "https://id.example.com", Audiences: []string{""}}, false},
		"another name":                {verify.Config{Issuer: "https://id.example.com", AcceptedIssuers: []string{"https://old.example.com"}, Audiences: audiences}, true},
		"another name with a path":    {verify.Config{Issuer: "https://id.example.com", AcceptedIssuers: []string{"https://old.example.com", "https://old.example.com/"}, Audiences: audiences}, false},
		"another name, of http":       {verify.Config{Issuer: "https://id.example.com", AcceptedIssuers: []string{"http://old.example.com"}, Audiences: audiences}, false},
		"another, empty name":         {verify.Config{Issuer: "https://id.example.com", AcceptedIssuers: []string{""}, Audiences: audiences}, false},
		"an origin with a path":       {verify.Config{Issuer: "https://id.example.com", Audiences: audiences, Origin: origin + "/v1"}, false},
	} {
		if g, err := verify.New(c.config); (err == nil) != c.good || (g == nil) == c.good {
			t.Errorf("%s: %v, %v", name, g, err)
		}
	}
}

func TestDependencies(t *testing.T) {
	const verifies = "it verifies tokens, and makes none"
	deptest.Check(t, deptest.Rules{
		Forbidden: map[string]string{
			"github.com/aws/...":                                "it serves other servers than Lambda's too",
			"github.com/latchkey-auth/latchkey/pkg/client":      verifies,
			"github.com/latchkey-auth/latchkey/pkg/grant/...":   verifies,
			"github.com/latchkey-auth/latchkey/pkg/boltstore":   verifies,
			"github.com/latchkey-auth/latchkey/pkg/authorizer":  "its events are not requests",
			"github.com/latchkey-auth/latchkey/internal/awsenv": "it calls no AWS service",
			"golang.org/x/...":                                  verifies,
		},
		Expected: []string{
			"github.com/latchkey-auth/latchkey/pkg/dpop",
			"github.com/latchkey-auth/latchkey/pkg/remotefeed",
			"github.com/latchkey-auth/latchkey/pkg/remotekeys",
			"github.com/latchkey-auth/latchkey/pkg/resource",
			"github.com/latchkey-auth/latchkey/pkg/token",
		},
	})
}
