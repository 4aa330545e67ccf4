package grant_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/assertionkeys"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/clientassertion"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/grant/jwtbearer"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	issuers "github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// federation is a world whose token endpoint takes assertions. Keys are fetched by the client of this test, from nowhere.
type federation struct {
	*world
	store   *boltstore.Store
	issuers issuers.Registry
	users   user.Registry

	mu      sync.Mutex
	answers map[string]func() (*http.Response, error) // by URL
	fetches map[string]int

	afterRead func() // of an issuer's record
}

// Issuer implements issuers.Reader.
func (f *federation) Issuer(ctx context.Context, url string) (*issuers.Stored, error) {
	found, err := f.store.Issuer(ctx, url)
	if f.afterRead != nil {
		f.afterRead()
	}
	return found, err
}

func newFederation(t *testing.T) *federation {
	t.Helper()
	store, err := boltstore.Open(filepath.Join(t.TempDir(), "federation.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w := newWorld(t)
	f := &federation{world: w, store: store, answers: map[string]func() (*http.Response, error){}, fetches: map[string]int{}}
	w.registry.Store = store
	f.issuers = issuers.Registry{Store: store, Now: w.now}
	f.users = user.Registry{Store: store, Now: w.now}
	f.start()
	return f
}

// start makes the endpoint, with nothing in memory.
func (f *federation) start() {
	w := f.world
	keys := assertionkeys.New(&http.Client{Transport: f}, slog.New(slog.DiscardHandler), w.now)
	trusted := &issuers.Verifier{Store: f, Keys: keys, Now: w.now}
	clients := &clientassertion.Authenticator{
		Clients: client.NewAuthenticator(f.store, w.now), Keys: keys, Issuers: trusted, Uses: f.store,
		Issuer: issuer, TokenEndpoints: []string{issuer + oauth.PathToken}, Now: w.now,
	}
	w.token = grant.Endpoint{Name: "token", Log: w.logger(), Now: w.now, Types: map[string]grant.Type{
		oauth.GrantClientCredentials: &clientcredentials.Type{Clients: clients, Minter: w.minter},
		oauth.GrantRefreshToken:      &refresh.Type{Tokens: w.refresh, Minter: w.minter, Clients: clients},
		oauth.GrantJWTBearer:         &jwtbearer.Type{Clients: clients, Issuers: trusted, Users: f.store, Uses: f.store, Minter: w.minter, Now: w.now},
	}}.Handler()
}

// RoundTrip answers for all of the internet.
func (f *federation) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetches[r.URL.String()]++
	if answer := f.answers[r.URL.String()]; answer != nil {
		return answer()
	}
	return nil, errors.New("no such host")
}

func (f *federation) serves(url, jwks string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[url] = func() (*http.Response, error) { return document(http.StatusOK, jwks), nil }
}

func document(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

func (f *federation) trust(r issuers.Record) {
	f.t.Helper()
	if _, err := f.issuers.Add(f.t.Context(), r); err != nil {
		f.t.Fatal(err)
	}
}

// signer makes assertions.
type signer struct {
	kid    string
	method jwt.SigningMethod
	key    crypto.Signer
}

var rsaSigner = sync.OnceValue(func() signer {
	key, _ := rsa.GenerateKey(rand.Reader, 2048)
	return signer{"rsa-key", jwt.SigningMethodRS256, key}
})

func ecSigner(kid string) signer {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return signer{kid, jwt.SigningMethodES256, key}
}

func (s signer) sign(header, claims map[string]any) string {
	t := jwt.NewWithClaims(s.method, jwt.MapClaims(claims))
	t.Header["kid"] = s.kid
	for name, value := range header {
		if t.Header[name] = value; value == nil {
			delete(t.Header, name)
		}
	}
	var key any = s.key
	if s.method == jwt.SigningMethodNone {
		key = jwt.UnsafeAllowNoneSignatureType
	}
	raw, err := t.SignedString(key)
	if err != nil {
		panic(err)
	}
	return raw
}

func (s signer) jwk() string {
	b64 := base64.RawURLEncoding.EncodeToString
	switch k := s.key.Public().(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf(`{"kty":"RSA","kid":%q,"use":"sig","n":%q,"e":%q}`, s.kid, b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes()))
	case ed25519.PublicKey:
		return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, s.kid, b64(k))
	case *ecdsa.PublicKey:
		point, _ := k.Bytes()
		return fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":%q,"alg":"ES256","x":%q,"y":%q}`, s.kid, b64(point[1:33]), b64(point[33:]))
	}
	panic("unknown key")
}

func jwks(signers ...signer) string {
	var keys []string
	for _, s := range signers {
		keys = append(keys, s.jwk())
	}
	return `{"keys":[` + strings.Join(keys, ",") + `]}`
}

// shape is what an issuer's tokens look like, by its documentation.
type shape struct {
	name    string
	url     string
	jwksURI string
	header  string
	claims  string // NOW, EXP and NBF stand for times
	record  issuers.Record
}

const aClient = "5f1d7c3a-0000-4000-8000-2d1f6a3b9c10"

// shapes: ID tokens of four identity providers, and the tokens of two places where jobs run.
var shapes = []shape{
	{
		name: "Cognito", url: "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123",
		jwksURI: "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123/.well-known/jwks.json",
		header:  `{"typ":null}`,
		claims: `{"sub":"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee","email_verified":true,"iss":"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123",
			"cognito:username":"ada","cognito:groups":["orders"],"origin_jti":"dddddddd-eeee-ffff-0000-111111111111","aud":"4qk1eaexample","event_id":"e1",
			"token_use":"id","auth_time":NOW,"exp":EXP,"iat":NOW,"jti":"cognito-1","email":"ada@example.com"}`,
		record: issuers.Record{Audiences: []string{"4qk1eaexample"}, Claims: map[string][]string{"token_use": {"id"}}},
	},
	{
		name: "Google", url: "https://accounts.google.com", jwksURI: "https://www.googleapis.com/oauth2/v3/certs",
		header: `{"typ":"JWT"}`,
		claims: `{"iss":"https://accounts.google.com","azp":"1234987819200.apps.googleusercontent.com","aud":"1234987819200.apps.googleusercontent.com",
			"sub":"10769150350006150715113082367","at_hash":"HK6E_P6Dh8Y93mRNtsDB1Q","hd":"example.com","email":"jsmith@example.com","email_verified":true,
			"iat":NOW,"exp":EXP,"nonce":"0394852-3190485-2490358"}`,
		record: issuers.Record{
			Audiences: []string{"1234987819200.apps.googleusercontent.com"},
			Claims:    map[string][]string{"hd": {"example.com", "example.org"}, "email_verified": {"true"}},
		},
	},
	{
		name: "Okta", url: "https://dev-123.okta.com/oauth2/default", jwksURI: "https://dev-123.okta.com/oauth2/default/v1/keys",
		header: `{"typ":null}`,
		claims: `{"ver":1,"sub":"00uid4BxXw6I6TV4m0g3","iss":"https://dev-123.okta.com/oauth2/default","aud":"0oabc123","iat":NOW,"exp":EXP,
			"jti":"ID.4eAWJOCMB3SX8XewDfVR","auth_time":NOW,"idp":"0oabc456","amr":["pwd","mfa"],"preferred_username":"ada@example.com"}`,
		record: issuers.Record{Audiences: []string{"0oabc123"}, Claims: map[string][]string{"ver": {"1"}}},
	},
	{
		name: "Entra", url: "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
		jwksURI: "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/discovery/v2.0/keys",
		header:  `{"typ":"JWT"}`,
		claims: `{"ver":"2.0","iss":"https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0","sub":"AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
			"aud":"` + aClient + `","exp":EXP,"iat":NOW,"nbf":NOW,"name":"Abe Lincoln","preferred_username":"AbeLi@microsoft.com","oid":"00000000-0000-0000-66f3-3332eca7ea81",
			"tid":"9188040d-6c67-4c5b-b112-36a304b66dad","uti":"u1","rh":"0.A"}`,
		record: issuers.Record{
			Audiences: []string{aClient}, SubjectClaim: "oid", Claims: map[string][]string{"tid": {"9188040d-6c67-4c5b-b112-36a304b66dad"}},
		},
	},
	{
		name: "GitHub Actions", url: "https://token.actions.githubusercontent.com",
		jwksURI: "https://token.actions.githubusercontent.com/.well-known/jwks",
		header:  `{"typ":"JWT","x5t":"example-thumbprint"}`,
		claims: `{"jti":"example-id","sub":"repo:octo-org/octo-repo:environment:prod","environment":"prod","aud":"https://auth.example.com",
			"ref":"refs/heads/main","sha":"example-sha","repository":"octo-org/octo-repo","repository_owner":"octo-org","repository_id":"74","actor_id":"12",
			"repository_visibility":"private","run_id":"example-run-id","run_number":"10","run_attempt":"2","runner_environment":"github-hosted","actor":"octocat",
			"workflow":"example-workflow","head_ref":"","base_ref":"","event_name":"workflow_dispatch","ref_type":"branch",
			"job_workflow_ref":"octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
			"iss":"https://token.actions.githubusercontent.com","nbf":NBF,"exp":EXP,"iat":NOW}`,
		record: issuers.Record{Audiences: []string{"https://auth.example.com"}, Claims: map[string][]string{"repository_id": {"74"}}},
	},
	{
		name: "Kubernetes", url: "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B716D3041E",
		jwksURI: "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B716D3041E/keys",
		header:  `{"typ":null}`,
		claims: `{"aud":["latchkey"],"exp":EXP,"iat":NOW,"iss":"https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B716D3041E",
			"jti":"6ee52be0-9045-4653-aa5e-0da57b8dccdc","kubernetes.io":{"namespace":"orders","node":{"name":"n1","uid":"b"},"pod":{"name":"p","uid":"c"},
			"serviceaccount":{"name":"nightly","uid":"d"}},"nbf":NOW,"sub":"system:serviceaccount:orders:nightly"}`,
		record: issuers.Record{Audiences: []string{"latchkey"}},
	},
}

func (s *shape) parse(now time.Time) (header, claims map[string]any) {
	times := strings.NewReplacer("NOW", fmt.Sprint(now.Unix()), "NBF", fmt.Sprint(now.Unix()-600), "EXP", fmt.Sprint(now.Unix()+3600))
	for text, to := range map[string]*map[string]any{s.header: &header, times.Replace(s.claims): &claims} {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(to); err != nil {
			panic(err)
		}
	}
	return header, claims
}

// trusted has the shape's issuer trusted, with a client that comes with its tokens, whose secret is returned.
func (f *federation) trusted(s shape) string {
	f.t.Helper()
	r := s.record
	r.URL, r.Keys, r.Algorithms, r.Scopes = s.url, assertion.KeySource(s.jwksURI), []string{"RS256"}, oauth.Scope{"orders:read", "orders:write"}
	f.serves(s.jwksURI, jwks(rsaSigner()))
	f.trust(r)
	return f.register(client.Spec{ID: "shop", Grants: []string{oauth.GrantJWTBearer, oauth.GrantRefreshToken}, AssertionIssuers: []string{s.url}})
}

func (f *federation) bearer(secret, raw string, pairs ...string) answer {
	f.t.Helper()
	return f.do(f.token, basic(post(oauth.PathToken, append([]string{"grant_type", oauth.GrantJWTBearer, "assertion", raw}, pairs...)...), "shop", secret))
}

func (f *federation) is(what string, a answer, status int, code, description string) {
	f.t.Helper()
	if a.status != status || a.field("error") != code || !strings.Contains(a.field("error_description"), description) {
		f.t.Errorf("%s: %d %s; want %d %s with %q\n%s", what, a.status, a.body, status, code, description, a.log)
	}
}

func TestExternalIssuers(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			f := newFederation(t)
			secret := f.trusted(s)
			header, claims := s.parse(f.now())
			raw := rsaSigner().sign(header, claims)
			a := f.bearer(secret, raw)
			f.is("the first time", a, 200, "", "")
			subject := claims["sub"].(string)
			if s.record.SubjectClaim != "" {
				subject = claims[s.record.SubjectClaim].(string)
			}
			got := f.claims(a)
			if got.Subject != issuers.Subject(s.url, subject) || !strings.HasPrefix(got.Subject, "x_") || a.field("scope") != "orders:read orders:write" {
				t.Errorf("sub %s, scope %s", got.Subject, a.field("scope"))
			}
			record, err := f.issuers.Get(t.Context(), s.url)
			if err != nil || len(got.Epochs) != 2 || !hasEpoch(got.Epochs, record.Sealed()[0]) {
				t.Errorf("it seals %v, the issuer is at %v: %v", got.Epochs, record.Sealed(), err)
			}
			f.is("a refresh", f.renew("shop", a.field("refresh_token"), "scope", "orders:read"), 200, "", "")
			f.is("a replay", f.bearer(secret, raw), 400, "invalid_grant", "used before")
			f.start()
			f.is("a replay after a cold start", f.bearer(secret, raw), 400, "invalid_grant", "used before")
			if a.log == "" || strings.Contains(a.log, raw) {
				t.Errorf("the log: %s", a.log)
			}
		})
	}
}

func hasEpoch(all token.Epochs, e token.Epoch) bool {
	for _, have := range all {
		if have == e {
			return true
		}
	}
	return false
}

// TestExternalIssuersRefuse changes one thing at a time in each shape. Nothing of it uses the token up.
func TestExternalIssuersRefuse(t *testing.T) {
	other := ecSigner("ec-key")
	impostor := rsaSigner()
	fresh, _ := rsa.GenerateKey(rand.Reader, 2048)
	impostor.key = fresh
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			f := newFederation(t)
			secret := f.trusted(s)
			now := f.now().Unix()
			for _, row := range []struct {
				what, why string
				signer    signer
				header    map[string]any
				claims    map[string]any // nil values take one away
			}{
				{"another issuer", "not one that this client", rsaSigner(), nil, map[string]any{"iss": "https://evil.example.com"}},
				{"its issuer with a slash", "not one that this client", rsaSigner(), nil, map[string]any{"iss": s.url + "/"}},
				{"another audience", "its aud", rsaSigner(), nil, map[string]any{"aud": "another"}},
				{"no audience", "its aud", rsaSigner(), nil, map[string]any{"aud": nil}},
				{"expired", "expired", rsaSigner(), nil, map[string]any{"exp": now - 5}},
				{"no end", "no exp", rsaSigner(), nil, map[string]any{"exp": nil}},
				{"too old", "300 seconds ago", rsaSigner(), nil, map[string]any{"iat": now - 305}},
				{"without its age", "no iat", rsaSigner(), nil, map[string]any{"iat": nil}},
				{"from the future", "later than now", rsaSigner(), nil, map[string]any{"iat": now + 6}},
				{"not yet", "later than now", rsaSigner(), nil, map[string]any{"nbf": now + 6}},
				{"a fraction of a second", "its claims", rsaSigner(), nil, map[string]any{"exp": 1e9 + 0.5}},
				{"no subject", "its sub", rsaSigner(), nil, map[string]any{"sub": nil}},
				{"a long subject", "its sub", rsaSigner(), nil, map[string]any{"sub": strings.Repeat("x", 513)}},
				{"a long jti", "its jti", rsaSigner(), nil, map[string]any{"jti": strings.Repeat("x", 257)}},
				{"bound to a key", "cnf", rsaSigner(), nil, map[string]any{"cnf": map[string]any{"jkt": "x"}}},
				{"another key", "signature", impostor, nil, nil},
				{"an unknown key", "kid", rsaSigner(), map[string]any{"kid": "other"}, nil},
				{"no kid", "no kid", rsaSigner(), map[string]any{"kid": nil}, nil},
				{"an alg that is not allowed", "its alg is none of RS256", other, nil, nil},
				{"no signature", "its alg is none of RS256", signer{"rsa-key", jwt.SigningMethodNone, nil}, nil, nil},
				{"an access token", "typ", rsaSigner(), map[string]any{"typ": "at+jwt"}, nil},
				{"a logout token", "typ", rsaSigner(), map[string]any{"typ": "logout+jwt"}, nil},
				{"a logout token that does not say so", "events", rsaSigner(), nil, map[string]any{
					"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
				}},
				{"crit", "crit", rsaSigner(), map[string]any{"crit": []string{"exp"}}, nil},
				{"too long", "longer than 8192", rsaSigner(), nil, map[string]any{"pad": strings.Repeat("x", 8192)}},
			} {
				header, claims := s.parse(f.now())
				maps.Copy(header, row.header)
				for name, value := range row.claims {
					if claims[name] = value; value == nil {
						delete(claims, name)
					}
				}
				f.is(row.what, f.bearer(secret, row.signer.sign(header, claims)), 400, "invalid_grant", row.why)
			}
			for name := range s.record.Claims {
				header, claims := s.parse(f.now())
				claims[name] = "other"
				f.is("another "+name, f.bearer(secret, rsaSigner().sign(header, claims)), 400, "invalid_grant", "claim "+name)
				delete(claims, name)
				f.is("no "+name, f.bearer(secret, rsaSigner().sign(header, claims)), 400, "invalid_grant", "claim "+name)
			}
			header, claims := s.parse(f.now())
			good := rsaSigner().sign(header, claims)
			parts := strings.Split(good, ".")
			for what, raw := range map[string]string{
				"not a JWT": "abc", "four parts": good + ".x", "padding": parts[0] + "=." + parts[1] + "." + parts[2],
				"altered claims": parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+s.url+`","sub":"admin"}`)) + "." + parts[2],
				"a claim twice":  parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+s.url+`","iss":"`+s.url+`"}`)) + "." + parts[2],
			} {
				f.is(what, f.bearer(secret, raw), 400, "invalid_grant", "")
			}
			f.is("too much scope", f.bearer(secret, good, "scope", "profile"), 400, "invalid_scope", "")
			f.is("another API", f.bearer(secret, good, "resource", "urn:x"), 400, "invalid_target", "")
			f.is("a wrong secret", f.bearer(secret+"x", good), 401, "invalid_client", "")
			f.is("none of this used it up", f.bearer(secret, good), 200, "", "")
			if n := f.fetches[s.jwksURI]; n != 1 {
				t.Errorf("the keys were fetched %d times within a moment", n)
			}
		})
	}
}

// TestIssuerKeys has the place where the keys are fail in all ways: an outage, and never the token's fault.
func TestIssuerKeys(t *testing.T) {
	for what, answer := range map[string]func() (*http.Response, error){
		"away": func() (*http.Response, error) { return nil, errors.New("away") },
		"a redirect": func() (*http.Response, error) {
			r := document(302, "")
			r.Header.Set("Location", "https://169.254.169.254/")
			return r, nil
		},
		"an error": func() (*http.Response, error) { return document(500, "{}"), nil },
		"no JSON":  func() (*http.Response, error) { return document(200, "<html>"), nil },
		"no keys":  func() (*http.Response, error) { return document(200, `{"keys":[]}`), nil },
		"huge": func() (*http.Response, error) {
			return document(200, strings.Repeat(" ", 1<<20)+jwks(rsaSigner())), nil
		},
		"a symmetric key": func() (*http.Response, error) {
			return document(200, `{"keys":[{"kty":"oct","kid":"rsa-key","k":"AAAA"}]}`), nil
		},
	} {
		f := newFederation(t)
		s := shapes[1]
		secret := f.trusted(s)
		f.answers[s.jwksURI] = answer
		raw := rsaSigner().sign(s.parse(f.now()))
		f.is(what, f.bearer(secret, raw), 503, "temporarily_unavailable", "")
		f.serves(s.jwksURI, jwks(rsaSigner()))
		f.pass(2 * time.Second)
		f.is(what+", and back", f.bearer(secret, raw), 200, "", "")
	}
}

// TestLocalUsers: a subject is a local user where the operator said so, and stays that one.
func TestLocalUsers(t *testing.T) {
	f := newFederation(t)
	s := shapes[1]
	secret := f.trusted(s)
	add := func(name string, scope ...string) *user.Record {
		u, err := f.users.Create(t.Context(), user.Spec{Username: name, Scopes: scope, Password: "correct horse battery"})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	ada := add("ada", "orders:read", "profile")
	add("jsmith@example.com", "orders:write")
	n := 0
	signIn := func(sub string) answer {
		header, claims := s.parse(f.now())
		n++
		claims["sub"], claims["nonce"] = sub, fmt.Sprint(n)
		return f.bearer(secret, rsaSigner().sign(header, claims))
	}
	if a := signIn("1"); f.claims(a).Subject != issuers.Subject(s.url, "1") {
		t.Errorf("a user was reached by an e-mail address: %s", a.body)
	}
	if _, err := f.issuers.Update(t.Context(), s.url, func(r *issuers.Record) error {
		r.Users, r.UsersOnly = map[string]issuers.LocalUser{"1": {Username: ada.Username, ID: ada.ID}}, true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	a := signIn("1")
	if got := f.claims(a); got.Subject != ada.ID || a.field("scope") != "orders:read" || !hasEpoch(got.Epochs, ada.Sealed()[0]) || len(got.Epochs) != 3 {
		t.Errorf("%s with %s, which seals %v", got.Subject, a.field("scope"), got.Epochs)
	}
	f.is("another subject", signIn("2"), 400, "invalid_grant", "not a user here")
	if _, err := f.users.SetDisabled(t.Context(), "ada", true); err != nil {
		t.Fatal(err)
	}
	f.is("a disabled user", signIn("1"), 400, "invalid_grant", "may not sign in")
	if err := f.users.Delete(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	f.is("a user who is gone", signIn("1"), 400, "invalid_grant", "may not sign in")
	add("ada", "orders:read")
	f.is("another user of that name", signIn("1"), 400, "invalid_grant", "may not sign in")
}

// TestIssuerNarrowed: what is taken from an issuer makes its epoch grow, which tokens seal.
func TestIssuerNarrowed(t *testing.T) {
	f := newFederation(t)
	s := shapes[0]
	secret := f.trusted(s)
	said := &appended{}
	f.issuers.Revocations = said
	for what, change := range map[string]func(*issuers.Record){
		"a scope":     func(r *issuers.Record) { r.Scopes = r.Scopes[:len(r.Scopes)-1] },
		"a claim":     func(r *issuers.Record) { r.Claims["token_use"] = []string{"id", "x"} },
		"the keys":    func(r *issuers.Record) { r.Keys += "?new" },
		"a subject":   func(r *issuers.Record) { r.SubjectClaim = "oid" },
		"an audience": func(r *issuers.Record) { r.Audiences = []string{"other"} },
	} {
		before, _ := f.issuers.Get(t.Context(), s.url)
		after, err := f.issuers.Update(t.Context(), s.url, func(r *issuers.Record) error { change(r); return nil })
		if err != nil || after.Epoch != before.Epoch+1 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := f.issuers.Update(t.Context(), s.url, func(r *issuers.Record) error {
		r.Scopes, r.Name, r.MaxAge = append(r.Scopes, "more"), "x", 60
		return nil
	}); err != nil || said.n != 5 {
		t.Errorf("what takes nothing ends nothing: %d, %v", said.n, err)
	}
	if err := f.issuers.Remove(t.Context(), s.url); err != nil || said.n != 6 {
		t.Errorf("removing it: %d, %v", said.n, err)
	}
	f.is("an issuer that is trusted no more", f.bearer(secret, rsaSigner().sign(s.parse(f.now()))), 400, "invalid_grant", "not trusted")
}

// TestPrivateKeyJWT signs a client in by its own key.
func TestPrivateKeyJWT(t *testing.T) {
	f := newFederation(t)
	mine, other := ecSigner("mine"), ecSigner("mine")
	set, err := assertion.ParseKeys([]byte(jwks(mine)))
	if err != nil {
		t.Fatal(err)
	}
	if secret := f.register(client.Spec{ID: "batch", Keys: set, NoSecret: true}); secret != "" {
		t.Fatal("it has a secret")
	}
	f.register(client.Spec{ID: "remote", Keys: "https://remote.example.com/jwks.json", NoSecret: true, TokenEndpointAudience: true})
	f.serves("https://remote.example.com/jwks.json", jwks(mine))
	f.register(client.Spec{ID: "secretive"})
	n := 0
	claims := func(id string) map[string]any {
		n++
		now := f.now().Unix()
		return map[string]any{"iss": id, "sub": id, "aud": issuer, "exp": now + 300, "iat": now, "jti": fmt.Sprint(n)}
	}
	signIn := func(raw string, pairs ...string) answer {
		return f.do(f.token, post(oauth.PathToken, append([]string{
			"grant_type", "client_credentials", "client_assertion", raw, "client_assertion_type", oauth.AssertionType,
		}, pairs...)...))
	}
	raw := mine.sign(nil, claims("batch"))
	a := signIn(raw)
	f.is("by its key", a, 200, "", "")
	if got := f.claims(a); got.ClientID != "batch" || got.Subject != "batch" || len(got.Epochs) != 1 {
		t.Errorf("%+v", got)
	}
	f.is("a refresh", f.renew("batch", a.field("refresh_token")), 200, "", "")
	f.is("a replay", signIn(raw), 401, "invalid_client", "")
	f.is("a refresh with an assertion", f.do(f.token, post(oauth.PathToken, "grant_type", "refresh_token", "refresh_token", a.field("refresh_token"),
		"client_assertion", mine.sign(nil, claims("batch")), "client_assertion_type", oauth.AssertionType)), 200, "", "")
	f.is("with its id", signIn(mine.sign(map[string]any{"typ": "client-authentication+jwt"}, claims("batch")), "client_id", "batch"), 200, "", "")
	f.is("keys at a URL", signIn(mine.sign(nil, claims("remote"))), 200, "", "")
	atEndpoint := claims("remote")
	atEndpoint["aud"] = issuer + oauth.PathToken
	f.is("for the token endpoint, where registered", signIn(mine.sign(nil, atEndpoint)), 200, "", "")

	now := f.now().Unix()
	for what, change := range map[string]func(map[string]any){
		"for the token endpoint": func(c map[string]any) { c["aud"] = issuer + oauth.PathToken },
		"for two":                func(c map[string]any) { c["aud"] = []string{issuer, "https://other.example.com"} },
		"for another":            func(c map[string]any) { c["aud"] = "https://other.example.com" },
		"an end too far":         func(c map[string]any) { c["exp"] = now + 306 },
		"an end that is past":    func(c map[string]any) { c["exp"] = now - 5 },
		"no end":                 func(c map[string]any) { delete(c, "exp") },
		"no jti":                 func(c map[string]any) { delete(c, "jti") },
		"from the future":        func(c map[string]any) { c["iat"] = now + 6 },
		"another subject":        func(c map[string]any) { c["sub"] = "remote" },
		"of a client without":    func(c map[string]any) { c["iss"], c["sub"] = "secretive", "secretive" },
		"of nobody":              func(c map[string]any) { c["iss"], c["sub"] = "nobody", "nobody" },
		"of no client's form":    func(c map[string]any) { c["iss"], c["sub"] = "No Body", "No Body" },
	} {
		c := claims("batch")
		change(c)
		f.is(what, signIn(mine.sign(nil, c)), 401, "invalid_client", "")
	}
	f.is("another key", signIn(other.sign(nil, claims("batch"))), 401, "invalid_client", "")
	f.is("as another client", signIn(mine.sign(nil, claims("batch")), "client_id", "remote"), 401, "invalid_client", "")
	f.is("not a JWT", signIn("abc"), 401, "invalid_client", "")
	f.is("a secret as well", signIn(mine.sign(nil, claims("batch")), "client_secret", "x"), 400, "invalid_request", "")
	if a := signIn(mine.sign(nil, claims("batch"))); a.status != 200 {
		t.Errorf("after all this: %s %s", a.body, a.log)
	}

	// A new key is known at once, though the record is remembered.
	set, _ = assertion.ParseKeys([]byte(jwks(ecSigner("next"), other)))
	f.pass(2 * time.Second)
	if _, err := f.registry.Update(t.Context(), "batch", func(r *client.Record) error { r.Keys = set; return nil }); err != nil {
		t.Fatal(err)
	}
	f.is("a new key", signIn(other.sign(nil, claims("batch"))), 200, "", "")
	if _, err := f.registry.SetDisabled(t.Context(), "batch", true); err != nil {
		t.Fatal(err)
	}
	f.pass(client.RecordTTL)
	f.is("a disabled client", signIn(other.sign(nil, claims("batch"))), 401, "invalid_client", "")
}

// TestAssertionRace has 32 come with one assertion at once.
func TestAssertionRace(t *testing.T) {
	f := newFederation(t)
	mine := ecSigner("mine")
	set, _ := assertion.ParseKeys([]byte(jwks(mine)))
	f.register(client.Spec{ID: "batch", Keys: set, NoSecret: true})
	now := f.now().Unix()
	raw := mine.sign(nil, map[string]any{"iss": "batch", "sub": "batch", "aud": issuer, "exp": now + 60, "jti": "once"})
	rotating := &rotatingWorld{world: f.world}
	good := 0
	for _, a := range rotating.atOnce(32, func(int) *http.Request {
		return post(oauth.PathToken, "grant_type", "client_credentials", "client_assertion", raw, "client_assertion_type", oauth.AssertionType)
	}) {
		switch {
		case a.status == 200:
			good++
		case a.field("error") != "invalid_client":
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if good != 1 {
		t.Errorf("%d signed in", good)
	}
}

// TestWorkloads signs in a job and a pod, which have no secret at all.
func TestWorkloads(t *testing.T) {
	for _, row := range []struct {
		shape    shape
		identity client.Identity
		change   map[string]any
	}{
		{shapes[4], client.Identity{Subject: "repo:octo-org/octo-repo:environment:prod"}, map[string]any{"sub": "repo:octo-org/octo-repo:ref:refs/heads/main"}},
		{shapes[4], client.Identity{Claims: map[string]string{"repository_id": "74", "ref": "refs/heads/main"}}, map[string]any{"ref": "refs/heads/x"}},
		{shapes[5], client.Identity{Subject: "system:serviceaccount:orders:nightly"}, map[string]any{"sub": "system:serviceaccount:orders:nightly2"}},
	} {
		f := newFederation(t)
		f.trusted(row.shape)
		row.identity.Issuer = row.shape.url
		f.register(client.Spec{ID: "nightly", Identities: []client.Identity{
			{Issuer: "https://other.example.com", Subject: "x"}, {Issuer: row.shape.url, Subject: "x"}, row.identity,
		}, NoSecret: true})
		f.register(client.Spec{ID: "plain"})
		n := 0
		signIn := func(change map[string]any, pairs ...string) answer {
			header, claims := row.shape.parse(f.now())
			n++
			claims["jti"] = fmt.Sprint(n)
			maps.Copy(claims, change)
			return f.do(f.token, post(oauth.PathToken, append([]string{
				"grant_type", "client_credentials", "client_assertion", rsaSigner().sign(header, claims), "client_assertion_type", oauth.AssertionType,
			}, pairs...)...))
		}
		a := signIn(nil, "client_id", "nightly")
		f.is(row.shape.name, a, 200, "", "")
		record, _ := f.issuers.Get(t.Context(), row.shape.url)
		if got := f.claims(a); got.Subject != "nightly" || !hasEpoch(got.Epochs, record.Sealed()[0]) {
			t.Errorf("%s: it is %s, and seals %v", row.shape.name, got.Subject, got.Epochs)
		}
		f.is("a replay", signIn(map[string]any{"jti": "1"}, "client_id", "nightly"), 401, "invalid_client", "")
		f.is("another subject", signIn(row.change, "client_id", "nightly"), 401, "invalid_client", "")
		f.is("another audience", signIn(map[string]any{"aud": "x"}, "client_id", "nightly"), 401, "invalid_client", "")
		f.is("an old one", signIn(map[string]any{"iat": f.now().Unix() - 305}, "client_id", "nightly"), 401, "invalid_client", "")
		f.is("without the client's id", signIn(nil), 401, "invalid_client", "")
		f.is("as a client that is not it", signIn(nil, "client_id", "plain"), 401, "invalid_client", "")
		f.is("of another issuer", signIn(map[string]any{"iss": "https://other.example.com"}, "client_id", "nightly"), 401, "invalid_client", "")
		if err := f.issuers.Remove(t.Context(), row.shape.url); err != nil {
			t.Fatal(err)
		}
		f.is("of an issuer that is trusted no more", signIn(nil, "client_id", "nightly"), 401, "invalid_client", "")
	}
}

// TestOneIssuerTwice has a client and its user both come by the word of one issuer, which is narrowed in between: the grant
// rests on what was said before that, too, and ends with it.
func TestOneIssuerTwice(t *testing.T) {
	f := newFederation(t)
	s := shapes[3]
	f.trusted(s)
	f.register(client.Spec{
		ID: "portal", Grants: []string{oauth.GrantJWTBearer, oauth.GrantRefreshToken}, NoSecret: true,
		AssertionIssuers: []string{s.url}, Identities: []client.Identity{{Issuer: s.url, Subject: "the-portal"}},
	})
	before, err := f.issuers.Get(t.Context(), s.url)
	if err != nil {
		t.Fatal(err)
	}
	f.afterRead = func() {
		f.afterRead = nil
		if _, err := f.issuers.RevokeTokens(t.Context(), s.url); err != nil {
			t.Error(err)
		}
	}
	said := func(oid string) string {
		header, claims := s.parse(f.now())
		claims["oid"] = oid
		return rsaSigner().sign(header, claims)
	}
	a := f.do(f.token, post(oauth.PathToken, "grant_type", oauth.GrantJWTBearer, "assertion", said("ada"), "client_id", "portal",
		"client_assertion", said("the-portal"), "client_assertion_type", oauth.AssertionType))
	f.is("both at once", a, 200, "", "")
	if got := f.claims(a); len(got.Epochs) != 2 || !hasEpoch(got.Epochs, before.Sealed()[0]) {
		t.Errorf("it seals %v; the client came when the issuer was at %v", got.Epochs, before.Sealed())
	}
}

// TestRefreshByOtherCredentials has a client sign in by its secret, and refresh by the word of an issuer, on which the grant
// does not rest; and the other way round, by a word that counts no more.
func TestRefreshByOtherCredentials(t *testing.T) {
	f := newFederation(t)
	s := shapes[5]
	f.trusted(s)
	secret := f.register(client.Spec{ID: "nightly", Identities: []client.Identity{{Issuer: s.url, Subject: "system:serviceaccount:orders:nightly"}}})
	n := 0
	byWord := func(pairs ...string) answer {
		header, claims := s.parse(f.now())
		n++
		claims["jti"] = fmt.Sprint(n)
		return f.do(f.token, post(oauth.PathToken, append([]string{
			"client_id", "nightly", "client_assertion", rsaSigner().sign(header, claims), "client_assertion_type", oauth.AssertionType,
		}, pairs...)...))
	}
	a := f.do(f.token, basic(post(oauth.PathToken, "grant_type", "client_credentials"), "nightly", secret))
	f.is("by its secret", a, 200, "", "")
	f.is("a refresh by a token", byWord("grant_type", "refresh_token", "refresh_token", a.field("refresh_token")), 200, "", "")
	b := byWord("grant_type", "client_credentials")
	f.is("by a token", b, 200, "", "")
	f.is("a refresh by another", byWord("grant_type", "refresh_token", "refresh_token", b.field("refresh_token")), 200, "", "")
	if _, err := f.issuers.RevokeTokens(t.Context(), s.url); err != nil {
		t.Fatal(err)
	}
	f.is("after what it rests on was revoked", byWord("grant_type", "refresh_token", "refresh_token", b.field("refresh_token")), 400, "invalid_grant", "")
	f.is("which the other does not", byWord("grant_type", "refresh_token", "refresh_token", a.field("refresh_token")), 200, "", "")
	if _, err := f.registry.RevokeTokens(t.Context(), "nightly"); err != nil {
		t.Fatal(err)
	}
	f.pass(client.RecordTTL)
	f.is("after all of the client's were", byWord("grant_type", "refresh_token", "refresh_token", a.field("refresh_token")), 400, "invalid_grant", "")
}

// TestAssertionsNowhereElse: the refresh endpoint takes none, and a client that is not registered for the grant none either.
func TestAssertionsNowhereElse(t *testing.T) {
	f := newFederation(t)
	secret := f.register(client.Spec{ID: "shop"})
	f.is("the grant", f.bearer(secret, "a.b.c"), 400, "unauthorized_client", oauth.GrantJWTBearer)
	f.is("the refresh endpoint", f.renew("shop", "x", "client_assertion", "a.b.c"), 400, "invalid_request", "no client credential")
}

// TestAssertionOutage has the store of uses fail: an outage, and the assertion is good afterwards.
func TestAssertionOutage(t *testing.T) {
	f := newFederation(t)
	s := shapes[0]
	secret := f.trusted(s)
	raw := rsaSigner().sign(s.parse(f.now()))
	f.bearer(secret, "a.b.c") // the record is in memory
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	f.is("with the store closed", f.bearer(secret, raw), 503, "temporarily_unavailable", "")
}

// appended counts what is said.
type appended struct{ n int }

func (a *appended) Append(context.Context, revocation.Entry) error {
	a.n++
	return nil
}

// below has whatever was sealed below the epoch that a record is at by now be revoked.
type below struct {
	of func() token.Epoch
}

func (b below) Check(_ context.Context, f revocation.Facts) error {
	for _, e := range f.Epochs {
		if now := b.of(); e.Handle == now.Handle && e.N < now.N {
			return &revocation.RevokedError{Reason: "below its epoch"}
		}
	}
	return nil
}

// TestRememberedRecords: a record that is remembered, and has lost something since, is read again within the same request:
// the assertion, which has had its use, still counts.
func TestRememberedRecords(t *testing.T) {
	f := newFederation(t)
	s := shapes[0]
	secret := f.trusted(s)
	mine := ecSigner("mine")
	set, _ := assertion.ParseKeys([]byte(jwks(mine)))
	f.register(client.Spec{ID: "batch", Keys: set, NoSecret: true})
	n := 0
	signIn := map[string]func() answer{
		"shop": func() answer {
			header, claims := s.parse(f.now())
			n++
			claims["jti"] = fmt.Sprint(n)
			return f.bearer(secret, rsaSigner().sign(header, claims))
		},
		"batch": func() answer {
			n++
			raw := mine.sign(nil, map[string]any{"iss": "batch", "sub": "batch", "aud": issuer, "exp": f.now().Unix() + 60, "jti": fmt.Sprint(n)})
			return f.do(f.token, post(oauth.PathToken, "grant_type", "client_credentials", "client_assertion", raw, "client_assertion_type", oauth.AssertionType))
		},
	}
	for id, in := range signIn {
		f.is(id, in(), 200, "", "")
		f.pass(2 * time.Second)
		after, err := f.registry.Update(t.Context(), id, func(r *client.Record) error { r.Scopes = oauth.Scope{"orders:read"}; return nil })
		if err != nil {
			t.Fatal(err)
		}
		f.minter.Revocations = below{func() token.Epoch { return after.Sealed()[0] }}
		if a := in(); a.status != 200 || a.field("scope") != "orders:read" {
			t.Errorf("%s by a record that is out of date: %d %s %s", id, a.status, a.body, a.log)
		}
	}
}
