package grant_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Every refusal of both token endpoints: status, code, headers, and a log line that tells why without telling secrets.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop"})
	other := w.register(client.Spec{ID: "other"})
	disabled := w.register(client.Spec{ID: "disabled"})
	if _, err := w.registry.SetDisabled(t.Context(), "disabled", true); err != nil {
		t.Fatal(err)
	}
	refreshOnly := w.register(client.Spec{ID: "refresh-only", Grants: []string{"refresh_token"}})
	vault := w.register(client.Spec{ID: "vault", RefreshMode: token.ModeSecret})
	expiring := w.register(client.Spec{ID: "expiring", SecretLifetime: time.Second})
	w.pass(time.Second)

	signedIn := w.signIn("shop", secret)
	mine, access := signedIn.field("refresh_token"), signedIn.field("access_token")
	others := w.signIn("other", other).field("refresh_token")
	bound := w.signIn("vault", vault).field("refresh_token")
	narrow := w.signIn("shop", secret, "scope", "orders:read").field("refresh_token")
	expired := w.expiredRefreshToken("shop")
	wrong, _ := client.NewSecret(w.now())
	altered := alter(mine)

	cc := func(pairs ...string) *http.Request {
		return post(oauth.PathToken, append([]string{"grant_type", "client_credentials"}, pairs...)...)
	}
	rt := func(pairs ...string) *http.Request {
		return post("", append([]string{"grant_type", "refresh_token"}, pairs...)...)
	}
	withHeader := func(r *http.Request, name string, values ...string) *http.Request {
		r.Header[name] = values
		return r
	}
	const (
		token = 1 << iota
		refreshing
		both = token | refreshing
	)
	challenge := `Basic realm="latchkey", charset="UTF-8"`

	for _, row := range []struct {
		name    string
		where   int
		request func() *http.Request
		status  int
		code    oauth.Code
		header  string // "Name: value" that the answer has
		cause   string // what the log line tells besides the code
	}{
		// The request itself.
		{"GET", both, func() *http.Request { r := cc(); r.Method = "GET"; return r }, 405, oauth.InvalidRequest, "Allow: POST", "POST only"},
		{"PUT", both, func() *http.Request { r := cc(); r.Method = "PUT"; return r }, 405, oauth.InvalidRequest, "Allow: POST", "POST only"},
		{"JSON body", both, func() *http.Request { return withHeader(cc(), "Content-Type", "application/json") }, 415, oauth.InvalidRequest, "", "urlencoded"},
		{"no content type", both, func() *http.Request { return withHeader(cc(), "Content-Type") }, 415, oauth.InvalidRequest, "", "Content-Type"},
		{"multipart", both, func() *http.Request { return withHeader(cc(), "Content-Type", "multipart/form-data; boundary=x") }, 415, oauth.InvalidRequest, "", "urlencoded"},
		{"gzip", both, func() *http.Request { return withHeader(cc(), "Content-Encoding", "gzip") }, 415, oauth.InvalidRequest, "", "Content-Encoding"},
		{"over 16 KiB", both, func() *http.Request { return postRaw("", "a="+strings.Repeat("a", oauth.MaxBody-1)) }, 413, oauth.InvalidRequest, "", "larger"},
		{"over 16 KiB, length unknown", both, func() *http.Request {
			r := postRaw("", "a="+strings.Repeat("a", oauth.MaxBody-1))
			r.ContentLength = -1
			return r
		}, 413, oauth.InvalidRequest, "", "larger"},
		{"broken percent-encoding", both, func() *http.Request { return postRaw("", "grant_type=client%ZZ") }, 400, oauth.InvalidRequest, "", "percent-encoding"},
		{"NUL", both, func() *http.Request { return postRaw("", "grant_type=a%00") }, 400, oauth.InvalidRequest, "", "NUL"},
		{"duplicate parameter", both, func() *http.Request { return postRaw("", "grant_type=refresh_token&grant_type=refresh_token") }, 400, oauth.InvalidRequest, "", "more than once"},
		{"duplicate unknown parameter", both, func() *http.Request { return postRaw("", "x=1&x=2&grant_type=refresh_token") }, 400, oauth.InvalidRequest, "", "more than once"},
		{"two resources", both, func() *http.Request {
			return postRaw("", "grant_type=refresh_token&resource=https://a.example&resource=https://b.example")
		}, 400, oauth.InvalidTarget, "", "one resource"},
		{"no grant_type", both, func() *http.Request { return postRaw("", "a=b") }, 400, oauth.InvalidRequest, "", "grant_type is missing"},
		{"empty body", both, func() *http.Request { return postRaw("", "") }, 400, oauth.InvalidRequest, "", "grant_type is missing"},
		{"grant_type in the query", both, func() *http.Request { return postRaw("?grant_type=client_credentials", "a=b") }, 400, oauth.InvalidRequest, "", "grant_type is missing"},
		{"unknown grant_type", both, func() *http.Request { return post("", "grant_type", "authorization_code") }, 400, oauth.UnsupportedGrantType, "", "does not serve"},
		{"client_credentials at refresh", refreshing, func() *http.Request { return basic(cc(), "shop", secret) }, 400, oauth.UnsupportedGrantType, "", "does not serve"},

		// Client authentication.
		{"no credentials", token, func() *http.Request { return cc() }, 401, oauth.InvalidClient, "", "no credentials"},
		{"credentials in the query", token, func() *http.Request {
			return postRaw("?client_id=shop&client_secret="+secret, "grant_type=client_credentials")
		}, 401, oauth.InvalidClient, "", "no credentials"},
		{"wrong secret, Basic", token, func() *http.Request { return basic(cc(), "shop", wrong) }, 401, oauth.InvalidClient, "Www-Authenticate: " + challenge, "wrong secret"},
		{"wrong secret, post", token, func() *http.Request { return cc("client_id", "shop", "client_secret", wrong) }, 401, oauth.InvalidClient, "", "wrong secret"},
		{"mistyped secret", token, func() *http.Request { return basic(cc(), "shop", secret[:len(secret)-1]+"!") }, 401, oauth.InvalidClient, "Www-Authenticate: " + challenge, "mistyped"},
		{"another client's secret", token, func() *http.Request { return basic(cc(), "shop", other) }, 401, oauth.InvalidClient, "", "wrong secret"},
		{"unknown client", token, func() *http.Request { return basic(cc(), "nobody", wrong) }, 401, oauth.InvalidClient, "Www-Authenticate: " + challenge, "unknown client"},
		{"impossible client id", token, func() *http.Request { return basic(cc(), "a#b", wrong) }, 401, oauth.InvalidClient, "", "unknown client"},
		{"disabled client", token, func() *http.Request { return basic(cc(), "disabled", disabled) }, 401, oauth.InvalidClient, "", "disabled"},
		{"expired secret", token, func() *http.Request { return basic(cc(), "expiring", expiring) }, 401, oauth.InvalidClient, "", "wrong secret"},
		{"Basic and post", token, func() *http.Request { return basic(cc("client_id", "shop", "client_secret", secret), "shop", secret) }, 400, oauth.InvalidRequest, "", "more than one way"},
		{"two ids", token, func() *http.Request { return basic(cc("client_id", "other"), "shop", secret) }, 400, oauth.InvalidRequest, "", "client_id is not"},
		{"two Authorization headers", token, func() *http.Request {
			r := basic(cc(), "shop", secret)
			return withHeader(r, "Authorization", r.Header.Get("Authorization"), r.Header.Get("Authorization"))
		}, 400, oauth.InvalidRequest, "", "more than one Authorization"},
		{"Bearer", token, func() *http.Request { return withHeader(cc(), "Authorization", "Bearer "+access) }, 401, oauth.InvalidClient, "Www-Authenticate: " + challenge, "not Basic"},
		{"Basic that is not base64", token, func() *http.Request { return withHeader(cc(), "Authorization", "Basic ???") }, 401, oauth.InvalidClient, "Www-Authenticate: " + challenge, "not base64"},
		{"secret without an id", token, func() *http.Request { return cc("client_secret", secret) }, 400, oauth.InvalidRequest, "", "without client_id"},
		{"client_assertion", token, func() *http.Request {
			return cc("client_assertion", "a.b.c", "client_assertion_type", oauth.AssertionType)
		}, 401, oauth.InvalidClient, "", "at the token endpoint alone"},
		{"not registered for the grant", token, func() *http.Request { return basic(cc(), "refresh-only", refreshOnly) }, 400, oauth.UnauthorizedClient, "", "not registered"},

		// What is asked for.
		{"more scope than the client's", token, func() *http.Request { return basic(cc("scope", "orders:read admin"), "shop", secret) }, 400, oauth.InvalidScope, "", "exceeds"},
		{"malformed scope", token, func() *http.Request { return basic(cc("scope", "orders:read  profile"), "shop", secret) }, 400, oauth.InvalidScope, "", "RFC 6749"},
		{"another audience", token, func() *http.Request {
			return basic(cc("resource", "https://payroll.example.com"), "shop", secret)
		}, 400, oauth.InvalidTarget, "", "not an audience"},

		// Refresh, at both endpoints.
		{"no refresh_token", both, func() *http.Request { return rt("client_id", "shop") }, 400, oauth.InvalidRequest, "", "refresh_token is missing"},
		{"no client_id", both, func() *http.Request { return rt("refresh_token", mine) }, 400, oauth.InvalidRequest, "", "client_id is missing"},
		{"more scope than the grant's", both, func() *http.Request {
			return rt("client_id", "shop", "refresh_token", narrow, "scope", "orders:read profile")
		}, 400, oauth.InvalidScope, "", "exceeds"},
		{"another audience at refresh", both, func() *http.Request {
			return rt("client_id", "shop", "refresh_token", mine, "resource", "https://payroll.example.com")
		}, 400, oauth.InvalidTarget, "", "not an audience"},
		{"another client's token", both, func() *http.Request { return rt("client_id", "shop", "refresh_token", others) }, 400, oauth.InvalidGrant, "", "the token is client other's"},
		{"wrong client_id", both, func() *http.Request { return rt("client_id", "nobody", "refresh_token", mine) }, 400, oauth.InvalidGrant, "", "the token is client shop's"},
		{"an access token", both, func() *http.Request { return rt("client_id", "shop", "refresh_token", access) }, 400, oauth.InvalidGrant, "", "typ"},
		{"an altered token", both, func() *http.Request { return rt("client_id", "shop", "refresh_token", altered) }, 400, oauth.InvalidGrant, "", "signature"},
		{"an expired token", both, func() *http.Request { return rt("client_id", "shop", "refresh_token", expired) }, 400, oauth.InvalidGrant, "", "expired"},
		{"no token at all", both, func() *http.Request { return rt("client_id", "shop", "refresh_token", "garbage") }, 400, oauth.InvalidGrant, "", "malformed"},
		{"mode secret at refresh", refreshing, func() *http.Request { return rt("client_id", "vault", "refresh_token", bound) }, 400, oauth.UnauthorizedClient, "", "refresh mode secret"},
		{"mode secret without it", token, func() *http.Request { return rt("client_id", "vault", "refresh_token", bound) }, 401, oauth.InvalidClient, "", "refresh mode secret"},

		// Credentials along with a refresh: checked at the one, refused at the other.
		{"refresh with a wrong secret", token, func() *http.Request { return basic(rt("refresh_token", mine), "shop", wrong) }, 401, oauth.InvalidClient, "Www-Authenticate: " + challenge, "wrong secret"},
		{"refresh with Basic", refreshing, func() *http.Request { return basic(rt("refresh_token", mine), "shop", secret) }, 400, oauth.InvalidRequest, "", "no client credential"},
		{"refresh with a broken header", refreshing, func() *http.Request {
			return withHeader(rt("client_id", "shop", "refresh_token", mine), "Authorization", "x")
		}, 400, oauth.InvalidRequest, "", "no client credential"},
		{"refresh with client_secret", refreshing, func() *http.Request {
			return rt("client_id", "shop", "client_secret", secret, "refresh_token", mine)
		}, 400, oauth.InvalidRequest, "", "no client credential"},
		{"refresh with client_assertion", refreshing, func() *http.Request {
			return rt("client_id", "shop", "client_assertion", "a.b.c", "refresh_token", mine)
		}, 400, oauth.InvalidRequest, "", "no client credential"},
	} {
		for where, h := range map[int]http.Handler{token: w.token, refreshing: w.refreshOnly} {
			if row.where&where == 0 {
				continue
			}
			a := w.do(h, row.request())
			if a.status != row.status || a.field("error") != string(row.code) {
				t.Errorf("%s: %d %s, want %d %s", row.name, a.status, a.body, row.status, row.code)
			}
			if a.field("error_description") == "" || a.field("access_token") != "" {
				t.Errorf("%s: %s", row.name, a.body)
			}
			challenged := a.header.Get("Www-Authenticate") != ""
			byHeader := row.status == 401 && row.request().Header.Get("Authorization") != ""
			if challenged != byHeader {
				t.Errorf("%s: WWW-Authenticate %q: it answers the Authorization header, and only that", row.name, a.header.Get("Www-Authenticate"))
			}
			if name, value, _ := strings.Cut(row.header, ": "); name != "" && a.header.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", row.name, name, a.header.Get(name), value)
			}
			if !strings.Contains(a.log, row.cause) || !strings.Contains(a.log, `"error":"`+string(row.code)) {
				t.Errorf("%s: the log does not tell %q: %s", row.name, row.cause, a.log)
			}
			for _, hidden := range []string{secret, other, disabled, refreshOnly, vault, expiring, wrong, mine, others, bound, narrow, expired, altered, access} {
				if strings.Contains(a.log, hidden) || strings.Contains(a.body, hidden) {
					t.Errorf("%s: a secret or a token is shown: %s %s", row.name, a.body, a.log)
				}
			}
		}
	}
}

// alter changes the last character but one of a token's payload to another that decodes.
func alter(raw string) string {
	end := strings.LastIndex(raw, ".") - 4
	c := byte('A')
	if raw[end] == c {
		c = 'B'
	}
	return raw[:end] + string(c) + raw[end+1:]
}

// expiredRefreshToken is one of ours whose time has passed.
func (w *world) expiredRefreshToken(id string) string {
	w.t.Helper()
	key, err := w.keys.SigningKey(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	begin := w.now().Add(-48 * time.Hour)
	r := token.Refresh{
		Grant:  token.Grant{GrantID: "g_old", ClientID: id, Subject: id, AuthTime: begin, Epochs: token.Epochs{{Handle: "c_old", N: 1}}},
		Issuer: issuer, IssuedAt: begin, ExpiresAt: begin.Add(24 * time.Hour), ID: "old", Resources: []string{orders},
		Mode: token.ModeBearer, GrantEnds: begin.Add(72 * time.Hour), AccessLifetime: time.Minute,
	}
	raw, err := r.Sign(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// brokenKeys and brokenClients stand for an outage.
type brokenKeys struct{}

func (brokenKeys) SigningKey(context.Context) (keyring.SigningKey, error) {
	return keyring.SigningKey{}, errors.New("secrets manager is down")
}

func (brokenKeys) VerificationKey(context.Context, string) (keyring.VerificationKey, error) {
	return keyring.VerificationKey{}, errors.New("secrets manager is down")
}

type brokenClients struct{}

func (brokenClients) Client(context.Context, string) (*client.Stored, error) {
	return nil, errors.New("dynamodb is down")
}

// An outage is a 503 that says when to come back: never invalid_client, never invalid_grant.
func TestOutages(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop"})
	held := w.signIn("shop", secret).field("refresh_token")

	noSigning := *w.minter
	noSigning.AccessKeys = brokenKeys{}
	noRefreshSigning := *w.minter
	noRefreshSigning.RefreshKeys = brokenKeys{}
	noKeys, err := token.NewRefreshVerifier(token.Config{Issuer: issuer, Keys: brokenKeys{}, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	up := client.NewAuthenticator(w.registry.Store, w.now)
	down := client.NewAuthenticator(brokenClients{}, w.now)
	signIn := func() *http.Request {
		return basic(post(oauth.PathToken, "grant_type", "client_credentials"), "shop", secret)
	}
	renew := func() *http.Request {
		return post(oauth.PathRefresh, "grant_type", "refresh_token", "client_id", "shop", "refresh_token", held)
	}
	for name, c := range map[string]struct {
		kind    grant.Type
		request *http.Request
	}{
		"client store down":          {&clientcredentials.Type{Clients: down, Minter: w.minter}, signIn()},
		"access key not to be had":   {&clientcredentials.Type{Clients: up, Minter: &noSigning}, signIn()},
		"refresh key not to be had":  {&clientcredentials.Type{Clients: up, Minter: &noRefreshSigning}, signIn()},
		"no key to verify with":      {&refresh.Type{Tokens: noKeys, Minter: w.minter}, renew()},
		"no key to sign with":        {&refresh.Type{Tokens: w.refresh, Minter: &noSigning}, renew()},
		"store down, refresh + auth": {&refresh.Type{Tokens: w.refresh, Minter: w.minter, Clients: down}, basic(renew(), "shop", secret)},
	} {
		grantType := oauth.GrantRefreshToken
		if _, ok := c.kind.(*clientcredentials.Type); ok {
			grantType = oauth.GrantClientCredentials
		}
		e := grant.Endpoint{Name: "token", Types: map[string]grant.Type{grantType: c.kind}, Log: w.logger(), Now: w.now}
		a := w.do(e.Handler(), c.request)
		if a.status != 503 || a.field("error") != "temporarily_unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if !strings.Contains(a.log, "is down") || strings.Contains(a.body, "is down") {
			t.Errorf("%s: the cause belongs in the log and not in the answer: %s %s", name, a.log, a.body)
		}
	}
}
