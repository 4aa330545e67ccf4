package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/discovery"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/grant/password"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/introspect"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/remotefeed"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/revoke"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
	"github.com/latchkey-auth/latchkey/pkg/whoami"
)

const pathWhoami = "/whoami"

// authorizerTTL is how long the gateway keeps an authorizer's answer, as in the template.
const authorizerTTL = 10 * time.Second

// devRoutes are all that `latchkey dev` serves, the same that the template has. handler picks one of the handlers made
// for this run.
var devRoutes = []struct {
	method, path, what string
	handler            func(devHandlers) http.Handler
}{
	{"POST", oauth.PathToken, "sign in with a client's secret, and a user's; refresh", func(h devHandlers) http.Handler { return h.token }},
	{"POST", oauth.PathRefresh, "refresh without a secret and without the store", func(h devHandlers) http.Handler { return h.refresh }},
	{"POST", oauth.PathRevoke, "end a token, and with a refresh token its grant", func(h devHandlers) http.Handler { return h.revoke }},
	{"POST", oauth.PathIntrospect, "ask what an access token is worth now", func(h devHandlers) http.Handler { return h.introspect }},
	{"GET", oauth.PathMetadata, "where everything is", func(h devHandlers) http.Handler { return h.discovery }},
	{"GET", oauth.PathOpenIDConfiguration, "the same", func(h devHandlers) http.Handler { return h.discovery }},
	{"GET", oauth.PathJWKS, "public keys", func(h devHandlers) http.Handler { return h.discovery }},
	{"GET", revocation.PathFeed, "revocations, for verifiers to poll", func(h devHandlers) http.Handler { return h.feed }},
	{"GET", pathWhoami, "a sample API, behind the authorizer", func(h devHandlers) http.Handler { return h.whoami }},
}

type devHandlers struct {
	token, refresh, revoke, introspect, discovery, feed, whoami http.Handler
}

// devConfig is what the handlers are made of.
type devConfig struct {
	Issuer      string
	Clients     client.Reader
	Users       user.SignInStore
	SignIns     backoff.Store
	SignInKey   func(context.Context) ([]byte, error)
	Public      discovery.Keys
	Grants      rotating.Store
	Revocations revocation.Log
	Keys        laptopKeys
	Log         *slog.Logger
	Now         func() time.Time
}

// devHandler serves devRoutes with the handlers that the Lambda functions run.
func devHandler(c devConfig) (http.Handler, error) {
	feed, view, err := feedAndView(c)
	if err != nil {
		return nil, err
	}
	// Signers look at a copy of their own, as on Lambda, where signing in and verifying are seldom the same sandbox.
	_, signers, err := feedAndView(c)
	if err != nil {
		return nil, err
	}
	source := func(load func(context.Context) (*keyring.Document, error)) *keyring.Source {
		return keyring.NewSource(keyring.SourceConfig{Load: load, Revoked: signers.KeyRevoked, Now: c.Now, Log: c.Log})
	}
	access, refreshing := source(c.Keys.access.Load), source(c.Keys.refresh.Load)
	minter := &grant.Minter{
		Issuer: c.Issuer, AccessKeys: access, RefreshKeys: refreshing, Now: c.Now,
		Rotations: &rotating.Grants{Store: c.Grants, Revocations: c.Revocations, Now: c.Now},
	}
	refreshTokens, err := token.NewRefreshVerifier(token.Config{Issuer: c.Issuer, Keys: refreshing, Revocations: view, Now: c.Now})
	if err != nil {
		return nil, err
	}
	proofs := &dpop.Verifier{Nonces: &dpop.Nonces{Keys: refreshing, Now: c.Now}, Now: c.Now}
	published := keyring.NewPublicSource(keyring.PublicSourceConfig{Keys: c.Public, Log: c.Log, Now: c.Now})
	origin, err := token.NewAccessOrigin(token.Config{Issuer: c.Issuer, Keys: published, Now: c.Now})
	if err != nil {
		return nil, err
	}
	clients := client.NewAuthenticator(c.Clients, c.Now)
	introspection, err := introspect.Endpoint{
		Clients: clients, Log: c.Log, Now: c.Now,
		Tokens: token.Config{Issuer: c.Issuer, Keys: published, Revocations: view, Now: c.Now},
	}.Handler()
	if err != nil {
		return nil, err
	}
	api, err := whoamiAPI(c)
	if err != nil {
		return nil, err
	}
	return route(devHandlers{
		token: grant.Endpoint{
			Name: "token", Log: c.Log, Now: c.Now,
			URLs: []string{c.Issuer + oauth.PathToken}, Proofs: proofs,
			Types: map[string]grant.Type{
				oauth.GrantClientCredentials: &clientcredentials.Type{Clients: clients, Minter: minter},
				oauth.GrantRefreshToken:      &refresh.Type{Tokens: refreshTokens, Minter: minter, Clients: clients},
				oauth.GrantPassword:          &password.Type{Clients: clients, Minter: minter, Users: devUsers(c)},
			},
		}.Handler(),
		refresh: grant.Endpoint{
			Name: "refresh", NoCredentials: true, Log: c.Log, Now: c.Now,
			URLs: []string{c.Issuer + oauth.PathRefresh}, Proofs: proofs,
			Types: map[string]grant.Type{
				oauth.GrantRefreshToken: &refresh.Type{Tokens: refreshTokens, Minter: minter},
			},
		}.Handler(),
		revoke: revoke.Endpoint{
			Clients: clients, Refresh: refreshTokens, Access: origin, Revocations: c.Revocations, Log: c.Log, Now: c.Now,
		}.Handler(),
		introspect: introspection,
		feed:       feed,
		discovery:  discovery.Handler(discovery.Config{Issuer: c.Issuer, Keys: c.Public, Log: c.Log, Now: c.Now}),
		whoami:     api,
	}), nil
}

// devUsers checks passwords, at most as many at once as leave a processor to everything else.
func devUsers(c devConfig) *user.Authenticator {
	hashes := max(1, runtime.GOMAXPROCS(0)-1)
	return user.NewAuthenticator(user.AuthenticatorConfig{
		Users: c.Users, Hashes: hashes, Waiting: 8 * hashes, Log: c.Log, Now: c.Now,
		Backoff: &backoff.Limiter{Store: c.SignIns, Key: c.SignInKey, Now: c.Now},
	})
}

// feedAndView is the feed of this process's log, and a view that reads it without a network.
func feedAndView(c devConfig) (*revocation.Feed, *revocation.View, error) {
	feed := revocation.NewFeed(revocation.FeedConfig{Source: c.Revocations, Log: c.Log, Now: c.Now})
	view, err := revocation.NewView(revocation.ViewConfig{Source: feed, Window: grant.DefaultGrantCap, Log: c.Log, Now: c.Now})
	return feed, view, err
}

// whoamiAPI is the sample API as the template has it: a REST API that asks the authorizer, which has its keys and the
// revocations over http, its own process's.
func whoamiAPI(c devConfig) (http.Handler, error) {
	keys, err := remotekeys.New(remotekeys.Config{URL: c.Issuer + oauth.PathJWKS, Now: c.Now, Log: c.Log})
	if err != nil {
		return nil, err
	}
	feed, err := remotefeed.New(remotefeed.Config{URL: c.Issuer + revocation.PathFeed})
	if err != nil {
		return nil, err
	}
	view, err := revocation.NewView(revocation.ViewConfig{Source: feed, Window: grant.DefaultAccessCap, Log: c.Log, Now: c.Now})
	if err != nil {
		return nil, err
	}
	verifier, err := token.NewAccessVerifier(token.Config{
		Issuer: c.Issuer, Audiences: []string{devAudience}, Keys: keys, Revocations: view, Now: c.Now,
	})
	if err != nil {
		return nil, err
	}
	auth, err := authorizer.New(authorizer.Config{Verifier: verifier, Now: c.Now, Log: c.Log})
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.API{
		Kind: gateway.REST, Now: c.Now, Log: c.Log,
		Routes: []gateway.Route{{
			Method: http.MethodGet, Path: pathWhoami,
			Function: lambdahttp.Handler(&whoami.Handler{Now: c.Now, Log: c.Log}),
			Authorizer: &gateway.Authorizer{
				Function: auth, Type: gateway.Request, TTL: authorizerTTL,
				IdentitySources: []string{"method.request.header.Authorization"},
			},
		}},
	})
}

// route hands requests to the handlers by devRoutes: by the path as it was sent, nothing cleaned and nothing redirected.
func route(h devHandlers) http.Handler {
	paths := map[string]map[string]http.Handler{}
	for _, r := range devRoutes {
		if paths[r.path] == nil {
			paths[r.path] = map[string]http.Handler{}
		}
		paths[r.path][r.method] = r.handler(h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		methods, found := paths[r.URL.EscapedPath()]
		if !found {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintln(w, `{"message":"Not Found"}`) // as API Gateway says it
			return
		}
		handler, found := methods[r.Method]
		if !found {
			allowed := []string{}
			for method := range methods {
				allowed = append(allowed, method)
			}
			slices.Sort(allowed)
			oauth.WriteError(w, oauth.MethodNotAllowed(strings.Join(allowed, ", ")))
			return
		}
		handler.ServeHTTP(w, r)
	})
}
