// Package verify guards a service that no authorizer stands in front of, behind a load balancer or on a server of its own:
// it verifies the access tokens itself.
//
//	guard, err := verify.New(verify.Config{Issuer: "https://id.example.com", Audiences: []string{"https://api.example.com"}})
//	mux.Handle("GET /orders", guard.Handler(http.HandlerFunc(orders), "orders:read"))
//
// The verdict is the authorizer's, by the same verifier: offline, with keys that are fetched once an hour, and with the
// revocations, which a request that finds them older than 15 seconds brings up to date first. The answers are RFC 6750's,
// and for bound tokens RFC 9449's. What can't be judged, because keys or revocations can't be had, is answered with status
// 503 and never as if a token were bad, nor let through.
package verify

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/remotefeed"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/resource"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// DefaultMaxLifetime is Config.MaxLifetime's default, as it is the template's.
const DefaultMaxLifetime = time.Hour

// Config says whose tokens are taken, and for what.
type Config struct {
	// Issuer is Latchkey's URL, without a path. https; http is for one on this machine alone. Required.
	Issuer string
	// AcceptedIssuers are other names of that Latchkey, of the same form, whose tokens are taken besides: the one that it had
	// before it moved to another domain, or the one that it is to have. Keys and revocations come from Issuer. Nil: none.
	AcceptedIssuers []string
	// Audiences are those one of which a token must name. Required.
	Audiences []string
	// Origin is this service's own address as its clients have it, such as "https://api.example.com". Tokens that are bound to
	// a client's key are taken with a proof (DPoP, RFC 9449) that was made for it: no header says reliably what a load
	// balancer was asked for. Empty: such tokens are refused.
	Origin string
	// MaxLifetime is the deployment's cap on access tokens (its parameter MaxAccessTokenLifetime). Zero: DefaultMaxLifetime.
	MaxLifetime time.Duration
	// HTTPClient fetches keys and revocations; nil means one that keeps no connection open.
	HTTPClient *http.Client

	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: slog.Default()
}

// New refuses a configuration that would leave something unchecked. It uses no network yet.
func New(c Config) (*resource.Guard, error) {
	if !isOrigin(c.Issuer) {
		return nil, errors.New("verify: Issuer must be an https URL without a path, such as https://id.example.com")
	}
	if slices.ContainsFunc(c.AcceptedIssuers, func(s string) bool { return !isOrigin(s) }) {
		return nil, errors.New("verify: each of AcceptedIssuers must be an https URL without a path, such as https://id.example.com")
	}
	if c.Origin != "" && !isOrigin(c.Origin) {
		return nil, errors.New("verify: Origin must be an https URL without a path, such as https://api.example.com")
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = DefaultMaxLifetime
	}
	keys, err := remotekeys.New(remotekeys.Config{URL: c.Issuer + oauth.PathJWKS, HTTPClient: c.HTTPClient, Now: c.Now, Log: c.Log})
	if err != nil {
		return nil, err
	}
	feed, err := remotefeed.New(remotefeed.Config{URL: c.Issuer + revocation.PathFeed, HTTPClient: c.HTTPClient})
	if err != nil {
		return nil, err
	}
	window := feedview.Config{MaxStaleness: revocation.MaxStaleness}.Window(c.MaxLifetime)
	view, err := revocation.NewView(revocation.ViewConfig{Source: feed, Window: window, Now: c.Now, Log: c.Log})
	if err != nil {
		return nil, err
	}
	tokens, err := token.NewAccessVerifier(token.Config{
		Issuer: c.Issuer, AcceptedIssuers: c.AcceptedIssuers, Audiences: c.Audiences, Keys: keys, MaxLifetime: c.MaxLifetime,
		Revocations: view, Now: c.Now,
	})
	if err != nil {
		return nil, err
	}
	v := &verifier{tokens: tokens}
	if c.Origin != "" {
		v.origin = c.Origin
		v.proofs = &dpop.Verifier{Replays: &dpop.Replays{}, Now: c.Now}
	}
	return &resource.Guard{Authenticate: v.authenticate, Now: c.Now, Log: c.Log}, nil
}

// isOrigin reports whether a URL is nothing but a scheme and a host, which of plain http must be this machine's own.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || s != u.Scheme+"://"+u.Host || strings.ToLower(s) != s || strings.HasSuffix(s, ":") {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
}

type verifier struct {
	tokens *token.AccessVerifier
	origin string
	proofs *dpop.Verifier // nil: tokens that are bound to a key are refused
}

// authenticate judges the token that a request comes with. It has to be in the Authorization header: the other two places of
// RFC 6750 §2 are such as leak.
func (v *verifier) authenticate(r *http.Request) (*resource.Caller, error) {
	scheme, raw, err := v.credentials(r.Header.Values("Authorization"))
	if err != nil {
		return nil, err
	}
	access, err := v.tokens.Verify(r.Context(), raw)
	var bad *token.InvalidError
	if errors.As(err, &bad) {
		return nil, v.refuse(scheme, http.StatusUnauthorized, resource.InvalidToken, "The access token is not valid, or no longer.", err)
	} else if err != nil {
		return nil, unavailable(err)
	}
	if err := v.possession(r, scheme, raw, access.Confirmation); err != nil {
		return nil, err
	}
	return &resource.Caller{
		ClientID: access.ClientID, Subject: access.Subject, Scope: access.Scope, GrantID: access.GrantID, TokenID: access.ID,
		ExpiresAt: access.ExpiresAt,
		Claims: map[string]string{
			"iss": access.Issuer, "aud": strings.Join(access.Audience, " "),
			"iat": strconv.FormatInt(access.IssuedAt.Unix(), 10), "auth_time": strconv.FormatInt(access.AuthTime.Unix(), 10),
		},
	}, nil
}

const bearer = "Bearer"

// credentials returns the scheme of the one Authorization header and its token: the scheme in any case, one or more spaces
// and a token68 (RFC 6750 §2.1, RFC 9110 §11.4).
func (v *verifier) credentials(values []string) (scheme, raw string, err error) {
	switch {
	case len(values) == 0:
		return "", "", v.refuse(bearer, http.StatusUnauthorized, "", "The request has no access token.", nil)
	case len(values) > 1:
		return "", "", v.refuse(bearer, http.StatusBadRequest, resource.InvalidRequest, "The request has more than one Authorization header.", nil)
	}
	name, raw, found := strings.Cut(values[0], " ")
	switch {
	case strings.EqualFold(name, bearer):
		scheme = bearer
	case strings.EqualFold(name, dpop.Scheme) && v.proofs != nil:
		scheme = dpop.Scheme
	default:
		return "", "", v.refuse(bearer, http.StatusUnauthorized, "", "The request has credentials of another kind than an access token.", nil)
	}
	if raw = strings.TrimLeft(raw, " "); !found || !isToken68(raw) {
		return "", "", v.refuse(scheme, http.StatusUnauthorized, resource.InvalidToken, "After the scheme there must be one access token.", nil)
	}
	return scheme, raw, nil
}

// isToken68 is token68 of RFC 9110 §11.2.
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return s != ""
}

// possession asks whoever presents a bound token for what it is bound to. A token that is presented as bound has to be.
func (v *verifier) possession(r *http.Request, scheme, raw string, bound token.Confirmation) error {
	if bound.X5T != "" && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0 ||
		token.CertificateThumbprint(r.TLS.PeerCertificates[0].Raw) != bound.X5T) { // RFC 8705 §3
		return v.refuse(scheme, http.StatusUnauthorized, resource.InvalidToken,
			"The access token is bound to a certificate, which this connection has not.", nil)
	}
	if scheme == bearer {
		if bound.JKT != "" { // RFC 9449 §7.2
			return v.refuse(scheme, http.StatusUnauthorized, resource.InvalidToken,
				"The access token is bound to a key, and is not taken without a proof of that.", nil)
		}
		return nil
	}
	proof, err := v.proofs.Verify(r.Context(), r.Header.Values(dpop.Header), dpop.Request{
		Method: r.Method, URLs: []string{v.origin + r.URL.EscapedPath()}, AccessToken: raw,
	})
	if err == nil {
		err = proof.Bound(bound)
	}
	var bad *dpop.InvalidError
	switch {
	case errors.As(err, &bad) && bad.Reason == dpop.ReasonBinding:
		return v.refuse(scheme, http.StatusUnauthorized, resource.InvalidToken, "The access token is not bound to the key of the proof.", err)
	case errors.As(err, &bad):
		return v.refuse(scheme, http.StatusUnauthorized, InvalidProof, "The DPoP proof is not valid for this request.", err)
	case err != nil:
		return unavailable(err)
	}
	return nil
}

// InvalidProof is the code of a refusal for a bad DPoP proof (RFC 9449 §12.2).
const InvalidProof = "invalid_dpop_proof"

func (v *verifier) refuse(scheme string, status int, code, description string, cause error) *resource.Refusal {
	r := &resource.Refusal{Status: status, Code: code, Description: description, Cause: cause, Scheme: scheme}
	if v.proofs != nil {
		r.ProofAlgorithms = dpop.Algorithms
	}
	return r
}

func unavailable(cause error) *resource.Refusal {
	return &resource.Refusal{
		Status: http.StatusServiceUnavailable, Code: resource.Unavailable, Cause: fmt.Errorf("judging the token: %w", cause),
		Description: "The access token can't be verified at the moment. Try again.",
	}
}
