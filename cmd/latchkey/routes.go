package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/latchkey-auth/latchkey/internal/devpage"
	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/internal/outbound"
	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/assertionkeys"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
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

// What the template says of the sample API: how long the gateway keeps an authorizer's answer, and whose pages may call it.
const (
	authorizerTTL = 10 * time.Second
	corsOrigin    = "*"
)

// ttl is that, and none where the answer is about a proof of possession, which others would not have to show.
func ttl(bound bool) time.Duration {
	if bound {
		return 0
	}
	return authorizerTTL
}

type devRoute struct {
	method, path, what string
	handler            func(devHandlers) http.Handler
}

// devRoutes are all that `latchkey dev` serves, the same that the template has, with the method that each is for. handler
// picks one of the handlers made for this run, which has every method of the path.
var devRoutes = []devRoute{
	{"POST", oauth.PathToken, "sign in with a client's secret, and a user's; refresh", func(h devHandlers) http.Handler { return h.token }},
	{"POST", oauth.PathRefresh, "refresh without a secret and without the store", func(h devHandlers) http.Handler { return h.refresh }},
	{"POST", oauth.PathRevoke, "end a token, and with a refresh token its grant", func(h devHandlers) http.Handler { return h.revoke }},
	{"POST", oauth.PathIntrospect, "ask what an access token is worth now", func(h devHandlers) http.Handler { return h.introspect }},
	{"GET", oauth.PathMetadata, "where everything is", func(h devHandlers) http.Handler { return h.discovery }},
	{"GET", oauth.PathOpenIDConfiguration, "the same", func(h devHandlers) http.Handler { return h.discovery }},
	{"GET", oauth.PathJWKS, "public keys", func(h devHandlers) http.Handler { return h.discovery }},
	{"GET", revocation.PathFeed, "revocations, for verifiers to poll", func(h devHandlers) http.Handler { return h.feed }},
	{"GET", oauth.PathOpenAPI, "all of this as an OpenAPI document", func(h devHandlers) http.Handler { return h.discovery }},
	{"GET", pathWhoami, "a sample API, behind the authorizer", func(h devHandlers) http.Handler { return h.whoami }},
}

type devHandlers struct {
	token, refresh, revoke, introspect, discovery, feed, whoami http.Handler
	upstream                                                    http.Handler // nil: there is none
}

// served are the routes that `latchkey dev` serves itself: with an upstream that has the sample API's place, all others.
func served(up *upstream) []devRoute {
	if up == nil {
		return devRoutes
	}
	return slices.DeleteFunc(slices.Clone(devRoutes), func(r devRoute) bool { return r.path == pathWhoami })
}

// devConfig is what the handlers are made of.
type devConfig struct {
	Issuer      string
	Clients     client.Reader
	Users       user.SignInStore
	Issuers     issuer.Reader
	Assertions  assertion.Uses
	Outbound    outbound.Config
	SignIns     backoff.Store
	SignInKey   func(context.Context) ([]byte, error)
	Public      discovery.Keys
	Grants      rotating.Store
	Revocations revocation.Log
	Keys        laptopKeys
	Upstream    *upstream // nil: the sample API
	Bound       bool      // the API takes sender-constrained tokens; the sample does
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
		Rotations:   &rotating.Grants{Store: c.Grants, Revocations: c.Revocations, Now: c.Now},
		Revocations: signers,
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
	secrets := client.NewAuthenticator(c.Clients, c.Now)
	assertionKeys := assertionkeys.New(outbound.Client(c.Outbound), c.Log, c.Now)
	trusted := &issuer.Verifier{Store: c.Issuers, Keys: assertionKeys, Now: c.Now}
	clients := &clientassertion.Authenticator{
		Clients: secrets, Keys: assertionKeys, Issuers: trusted, Uses: c.Assertions,
		Issuer: c.Issuer, TokenEndpoints: []string{c.Issuer + oauth.PathToken}, Now: c.Now,
	}
	introspection, err := introspect.Endpoint{
		Clients: secrets, Log: c.Log, Now: c.Now,
		Tokens: token.Config{Issuer: c.Issuer, Keys: published, Revocations: view, Now: c.Now},
	}.Handler()
	if err != nil {
		return nil, err
	}
	sample, own, err := protected(c)
	if err != nil {
		return nil, err
	}
	return route(served(c.Upstream), devHandlers{
		token: grant.Endpoint{
			Name: "token", Log: c.Log, Now: c.Now,
			URLs: []string{c.Issuer + oauth.PathToken}, Proofs: proofs,
			Types: map[string]grant.Type{
				oauth.GrantClientCredentials: &clientcredentials.Type{Clients: clients, Minter: minter},
				oauth.GrantRefreshToken:      &refresh.Type{Tokens: refreshTokens, Minter: minter, Clients: clients},
				oauth.GrantJWTBearer: &jwtbearer.Type{
					Clients: clients, Issuers: trusted, Users: c.Users, Uses: c.Assertions, Minter: minter, Now: c.Now,
				},
				oauth.GrantPassword: &password.Type{Clients: clients, Minter: minter, Users: devUsers(c)},
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
			Clients: secrets, Refresh: refreshTokens, Access: origin, Revocations: c.Revocations, Log: c.Log, Now: c.Now,
		}.Handler(),
		introspect: introspection,
		feed:       feed,
		discovery:  discovery.Handler(discovery.Config{Issuer: c.Issuer, Keys: c.Public, Log: c.Log, Now: c.Now}),
		whoami:     sample,
		upstream:   own,
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

// protected is what stands behind the authorizer: the sample API, a REST API, as the template has it where it takes bound
// tokens; or the upstream.
func protected(c devConfig) (sample, own http.Handler, err error) {
	auth, err := devAuthorizer(c)
	if err != nil {
		return nil, nil, err
	}
	if c.Upstream != nil {
		c.Upstream.log, c.Upstream.now = c.Log, c.Now
		own, err = c.Upstream.handler(auth, c.Bound)
		return nil, own, err
	}
	sample, err = gateway.New(gateway.API{
		Kind: gateway.REST, Now: c.Now, Log: c.Log, Responses: gatewayResponses(c.Bound),
		CORS: &gateway.CORS{
			AllowOrigin: corsOrigin, AllowHeaders: []string{"Authorization", "DPoP"}, ExposeHeaders: []string{"WWW-Authenticate", "Retry-After"}, MaxAge: 10 * time.Minute,
		},
		Routes: []gateway.Route{{
			Method: http.MethodGet, Path: pathWhoami,
			Function: lambdahttp.Handler(&whoami.Handler{AllowOrigin: corsOrigin, Now: c.Now, Log: c.Log}),
			Authorizer: &gateway.Authorizer{
				Function: auth, Type: gateway.Request, TTL: ttl(c.Bound),
				IdentitySources: []string{"method.request.header.Authorization", "context.httpMethod", "context.path"},
			},
		}},
	})
	return sample, nil, err
}

// gatewayResponses are the template's: what API Gateway answers by itself where the authorizer stands in a request's way.
func gatewayResponses(bound bool) map[gateway.ResponseType]gateway.Response {
	const bearer, dpop = `Bearer realm="latchkey"`, `, DPoP realm="latchkey", algs="ES256 Ed25519 EdDSA RS256"`
	body := func(code, description string) string {
		return fmt.Sprintf(`{"error":%q,"error_description":%q}`, code, description)
	}
	unauthorized := gateway.Response{
		Status: http.StatusUnauthorized, Header: map[string]string{"WWW-Authenticate": bearer},
		Body: body("invalid_token", "There is no access token, or it has ended, was revoked or is not good for this API."),
	}
	if bound {
		unauthorized.Header["WWW-Authenticate"] += dpop
	}
	return map[gateway.ResponseType]gateway.Response{
		gateway.Unauthorized: unauthorized,
		gateway.AccessDenied: {
			Status: http.StatusForbidden, Header: map[string]string{"WWW-Authenticate": bearer + `, error="insufficient_scope"`},
			Body: body("insufficient_scope", "The access token is good, and its scope does not cover this request."),
		},
		gateway.AuthorizerConfigurationError: {
			Status: http.StatusServiceUnavailable, Header: map[string]string{"Retry-After": "2"},
			Body: body("temporarily_unavailable", "The access token could not be judged. The fault is not in the request."),
		},
	}
}

// devAuthorizer has its keys and the revocations over http, its own process's, as on Lambda.
func devAuthorizer(c devConfig) (*authorizer.Authorizer, error) {
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
	verifierFor := func(audiences []string) (authorizer.Verifier, error) {
		return token.NewAccessVerifier(token.Config{Issuer: c.Issuer, Audiences: audiences, Keys: keys, Revocations: view, Now: c.Now})
	}
	verifier, err := verifierFor([]string{devAudience})
	if err != nil {
		return nil, err
	}
	config := authorizer.Config{Verifier: verifier, VerifierFor: verifierFor, Now: c.Now, Log: c.Log}
	if c.Bound {
		if config.Origins, err = authorizer.ParseOrigins([]string{c.Issuer}, true); err != nil {
			return nil, err
		}
	}
	if c.Upstream != nil {
		config.Routes, config.SimpleResponses = c.Upstream.set, c.Upstream.http()
	}
	return authorizer.New(config)
}

// route hands requests to the handlers by the routes, and all others to the upstream; without one, there is the page besides. It goes
// by the path as it was sent, nothing cleaned and nothing redirected. What is not served of a path, its handler says.
func route(served []devRoute, h devHandlers) http.Handler {
	paths := map[string]http.Handler{}
	for _, r := range served {
		paths[r.path] = r.handler(h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, found := paths[r.URL.EscapedPath()]
		switch page := devpage.Find(r); {
		case found:
			handler.ServeHTTP(w, r)
		case h.upstream != nil:
			h.upstream.ServeHTTP(w, r)
		case page != nil:
			page.ServeHTTP(w, r)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintln(w, `{"message":"Not Found"}`) // as API Gateway says it
		}
	})
}
