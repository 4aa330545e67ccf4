// Package upgrade holds this release to the state that others left: it reads the documents that each release has written, takes
// every token that was out then, and goes on from there, by the same name and after a move to another domain. What each release
// wrote is in testdata; `make golden RELEASE=0.2.0` writes it of the release at hand.
package upgrade

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/assertionkeys"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/clientassertion"
	"github.com/latchkey-auth/latchkey/pkg/discovery"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/grant/jwtbearer"
	"github.com/latchkey-auth/latchkey/pkg/grant/password"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/introspect"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/revoke"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
)

// start is the time that a clocktest.Clock begins at.
var start = new(clocktest.Clock).Now()

// store is what a deployment keeps, but for private keys.
type store interface {
	client.Store
	user.Store
	issuer.Store
	rotating.Store
	revocation.Log
	keyring.PublicStore
	backoff.Store
	assertion.Uses
}

// state is all that a deployment keeps, on a laptop or on AWS.
type state struct {
	store
	access, refresh keyring.Vault
	signInKey       func(context.Context) ([]byte, error)
}

var discard = slog.New(slog.DiscardHandler)

// service are the endpoints over a state, as one set of functions serves them: nothing is in memory yet.
type service struct {
	issuer  string
	clock   *clocktest.Clock
	handler http.Handler
	tokens  *token.AccessVerifier // the authorizer's
}

const audience = "https://api.example.com"

// serve makes a service that goes by a name, and perhaps by others.
func serve(t *testing.T, s *state, clock *clocktest.Clock, name string, others ...string) *service {
	t.Helper()
	now := clock.Now
	view := func() *revocation.View {
		feed := revocation.NewFeed(revocation.FeedConfig{Source: s, Window: 48 * time.Hour, Log: discard, Now: now})
		v, err := revocation.NewView(revocation.ViewConfig{Source: feed, Window: grant.DefaultGrantCap, Log: discard, Now: now})
		must(t, err)
		return v
	}
	revocations := view()
	source := func(v keyring.Vault) *keyring.Source {
		return keyring.NewSource(keyring.SourceConfig{Load: v.Load, Revoked: revocations.KeyRevoked, Now: now, Log: discard})
	}
	refreshKeys, published := source(s.refresh), keyring.NewPublicSource(keyring.PublicSourceConfig{Keys: s, Log: discard, Now: now})
	access := token.Config{Issuer: name, AcceptedIssuers: others, Audiences: []string{audience}, Keys: published, Revocations: revocations, Now: now}
	tokens, err := token.NewAccessVerifier(access)
	must(t, err)
	origin, err := token.NewAccessOrigin(access)
	must(t, err)
	refreshTokens, err := token.NewRefreshVerifier(token.Config{Issuer: name, AcceptedIssuers: others, Keys: refreshKeys, Revocations: revocations, Now: now})
	must(t, err)
	minter := &grant.Minter{
		Issuer: name, AccessKeys: source(s.access), RefreshKeys: refreshKeys, Revocations: revocations, Now: now,
		Rotations: &rotating.Grants{Store: s, Revocations: s, Now: now},
	}
	addresses := func(path string) []string {
		list := []string{name + path}
		for _, other := range others {
			list = append(list, other+path)
		}
		return list
	}
	secrets := client.NewAuthenticator(s, now)
	assertionKeys := assertionkeys.New(&http.Client{Transport: nowhere{}}, discard, now)
	trusted := &issuer.Verifier{Store: s, Keys: assertionKeys, Now: now}
	clients := &clientassertion.Authenticator{
		Clients: secrets, Keys: assertionKeys, Issuers: trusted, Uses: s,
		Issuer: name, AcceptedIssuers: others, TokenEndpoints: addresses(oauth.PathToken), Now: now,
	}
	users := user.NewAuthenticator(user.AuthenticatorConfig{
		Users: s, Hashes: 1, Waiting: 4, Log: discard, Now: now, Backoff: &backoff.Limiter{Store: s, Key: s.signInKey, Now: now},
	})
	proofs := &dpop.Verifier{Now: now}
	introspection, err := introspect.Endpoint{Clients: secrets, Tokens: access, Log: discard, Now: now}.Handler()
	must(t, err)
	mux := http.NewServeMux()
	mux.Handle(oauth.PathToken, grant.Endpoint{
		Name: "token", Log: discard, Now: now, URLs: addresses(oauth.PathToken), Proofs: proofs,
		Types: map[string]grant.Type{
			oauth.GrantClientCredentials: &clientcredentials.Type{Clients: clients, Minter: minter},
			oauth.GrantRefreshToken:      &refresh.Type{Tokens: refreshTokens, Minter: minter, Clients: clients},
			oauth.GrantJWTBearer:         &jwtbearer.Type{Clients: clients, Issuers: trusted, Users: s, Uses: s, Minter: minter, Now: now},
			oauth.GrantPassword:          &password.Type{Clients: clients, Minter: minter, Users: users},
		},
	}.Handler())
	mux.Handle(oauth.PathRefresh, grant.Endpoint{
		Name: "refresh", NoCredentials: true, Log: discard, Now: now, URLs: addresses(oauth.PathRefresh), Proofs: proofs,
		Types: map[string]grant.Type{oauth.GrantRefreshToken: &refresh.Type{Tokens: refreshTokens, Minter: minter}},
	}.Handler())
	mux.Handle(oauth.PathRevoke, revoke.Endpoint{
		Clients: secrets, Refresh: refreshTokens, Access: origin, Revocations: s, Log: discard, Now: now,
	}.Handler())
	mux.Handle(oauth.PathIntrospect, introspection)
	mux.Handle("/", discovery.Handler(discovery.Config{Issuer: name, Keys: s, Log: discard, Now: now}))
	return &service{issuer: name, clock: clock, handler: mux, tokens: tokens}
}

// nowhere is an internet without anybody.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no such host")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is a service's.
type answer struct {
	status int
	body   string
	oauth.TokenResponse
	Error  oauth.Code `json:"error"`
	Active bool       `json:"active"`
}

// how is what a client shows with a request.
type how struct {
	id, secret  string // Basic
	proof       string // DPoP
	certificate string // its bytes, of the connection
}

// post sends a form of name, value, name, value …
func (s *service) post(t *testing.T, path string, h how, pairs ...string) answer {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, s.issuer+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if h.secret != "" {
		r.SetBasicAuth(h.id, h.secret)
	}
	if h.proof != "" {
		r.Header.Set(dpop.Header, h.proof)
	}
	r.TLS = &tls.ConnectionState{}
	if h.certificate != "" {
		r.TLS.PeerCertificates = []*x509.Certificate{{Raw: []byte(h.certificate)}}
	}
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, r)
	a := answer{status: rec.Code, body: rec.Body.String()}
	if rec.Body.Len() > 0 {
		must(t, json.Unmarshal(rec.Body.Bytes(), &a))
	}
	return a
}

// get reads a public document under a name.
func (s *service) get(t *testing.T, name, path string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, name+path, nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("GET %s%s: %d %s", name, path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}
