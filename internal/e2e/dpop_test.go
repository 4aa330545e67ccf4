package e2e

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/dpoptest"
	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/internal/lambdatest"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// holder is a client with a key, or a thief with one of its own, that sends proofs as RFC 9449 has it.
type holder struct {
	d     *deployment
	key   *dpoptest.Key
	nonce string // the one that it was last given
	sent  []string
}

func (d *deployment) holder(alg string) *holder { return &holder{d: d, key: dpoptest.New(d.t, alg)} }

// proof is a new one, for an access token if there is one.
func (h *holder) proof(method, path, accessToken string) string {
	more := dpoptest.Object{}
	if accessToken != "" {
		more = dpoptest.For(accessToken)
	} else if h.nonce != "" {
		more["nonce"] = h.nonce
	}
	p := h.key.Proof(method, h.d.issuer+path, h.d.now(), more)
	h.sent = append(h.sent, p)
	return p
}

// ask sends a form to a token endpoint with a proof, once more if the answer wants another nonce in that.
func (h *holder) ask(path string, form url.Values) answer {
	h.d.t.Helper()
	a := h.d.sends("POST", path, form, "", h.proof("POST", path, ""))
	if nonce := a.header.Get(dpop.HeaderNonce); nonce != "" {
		h.nonce = nonce
	}
	if a.status == 400 && a.field("error") == string(oauth.UseDPoPNonce) {
		a = h.d.sends("POST", path, form, "", h.proof("POST", path, ""))
	}
	return a
}

// sends sends a request with these headers.
func (d *deployment) sends(method, path string, form url.Values, authorization string, proofs ...string) answer {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.issuer+path, strings.NewReader(form.Encode()))
	d.must(err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for _, p := range proofs {
		r.Header.Add(dpop.Header, p)
	}
	res, err := d.front.Client().Do(r)
	d.must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	d.must(err)
	return answer{d.t, res.StatusCode, res.Header, string(body)}
}

func renewal(id, refreshToken string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {id}, "refresh_token": {refreshToken}}
}

func signInForm(id, secret string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
}

// takeBound has /whoami take bound tokens, behind an authorizer of that kind.
func (d *deployment) takeBound(kind gateway.Kind, a gateway.Authorizer) {
	d.t.Helper()
	a.Function, a.Type = d.authorizer, gateway.Request
	api, err := gateway.New(gateway.API{Kind: kind, Now: d.now, Routes: []gateway.Route{{Method: "GET", Path: "/whoami", Function: d.whoami, Authorizer: &a}}})
	d.must(err)
	d.rest = api
}

// The recommended profile with the built functions: a secret once, a key from then on, no database, and nothing in it for who
// steals tokens.
func TestDPoP(t *testing.T) {
	for name, m := range map[string]mode{
		"Secrets Manager":     {"secretsmanager", "secretsmanager", "ES256"},
		"refresh keys in KMS": {"secretsmanager", "kms", "ES256"},
	} {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, m)
			d.env["API_ORIGINS"] = d.issuer
			d.authorizer = d.start("authorizer", d.env, "MAX_ACCESS_TOKEN_LIFETIME", "MAX_GRANT_LIFETIME", "ISSUER", "AUDIENCE", "API_ORIGINS")
			d.takeBound(gateway.REST, gateway.Authorizer{IdentitySources: []string{"method.request.header.Authorization"}})
			secret := d.register(client.Spec{ID: "shop", RefreshMode: token.ModeDPoP})
			owner, thief := d.holder("ES256"), d.holder("ES256")

			if a := d.sends("POST", oauth.PathToken, signInForm("shop", secret), ""); a.status != 400 || a.field("error") != "invalid_dpop_proof" {
				t.Errorf("sign-in without a proof: %d %s", a.status, a.body)
			}
			signedIn := owner.ask(oauth.PathToken, signInForm("shop", secret))
			signedIn.is(200)
			access, held := signedIn.field("access_token"), signedIn.field("refresh_token")
			if signedIn.field("token_type") != "DPoP" || held == "" {
				t.Errorf("sign-in: %s", signedIn.body)
			}
			call := func(h *holder) answer {
				return d.sends("GET", "/whoami", nil, "DPoP "+access, h.proof("GET", "/whoami", access))
			}
			call(owner).is(200)

			// A hundred refreshes: no database, and what signs nonces is asked as time goes by.
			owner.ask(oauth.PathRefresh, renewal("shop", held)).is(200)
			d.aws.Reset()
			const times = 100
			for range times {
				owner.ask(oauth.PathRefresh, renewal("shop", held)).is(200)
			}
			counts := d.aws.Counts()
			for call, n := range counts {
				if call == "KMS.Sign" && m.refreshKeys == "kms" && n <= 3 {
					continue // a nonce each half minute that these took
				}
				t.Errorf("%d refreshes made %d calls of %s", times, n, call)
			}
			t.Logf("%d refreshes with proofs: AWS was called %v", times, counts)
			a := owner.ask(oauth.PathRefresh, renewal("shop", held))
			access = a.field("access_token")
			call(owner).is(200)

			// The refresh token in other hands.
			for _, path := range []string{oauth.PathToken, oauth.PathRefresh} {
				if a := d.sends("POST", path, renewal("shop", held), ""); a.status != 400 || a.field("error") != "invalid_dpop_proof" || a.field("access_token") != "" {
					t.Errorf("%s, the refresh token alone: %d %s", path, a.status, a.body)
				}
				if a := thief.ask(path, renewal("shop", held)); a.status != 400 || a.field("error") != "invalid_grant" || a.field("access_token") != "" {
					t.Errorf("%s, with the thief's key: %d %s", path, a.status, a.body)
				}
				if a := d.sends("POST", path, renewal("shop", held), "", owner.proof("POST", oauth.PathRevoke, "")); a.field("error") != "invalid_dpop_proof" {
					t.Errorf("%s, with the owner's proof for another endpoint: %d %s", path, a.status, a.body)
				}
			}

			// The access token, right after the owner's own call, under each way of keeping answers that lets bound tokens in.
			header, both := "method.request.header.Authorization", []string{"method.request.header.Authorization", "method.request.header.DPoP"}
			http2 := []string{"$request.header.Authorization", "$request.header.DPoP"}
			for setup, put := range map[string]func(){
				"REST, nothing kept":       func() { d.takeBound(gateway.REST, gateway.Authorizer{IdentitySources: []string{header}}) },
				"REST, kept for the proof": func() { d.takeBound(gateway.REST, gateway.Authorizer{IdentitySources: both, TTL: authorizerTTL}) },
				"HTTP, nothing kept":       func() { d.takeBound(gateway.HTTP, gateway.Authorizer{}) },
				"HTTP, kept for the proof": func() { d.takeBound(gateway.HTTP, gateway.Authorizer{IdentitySources: http2, TTL: authorizerTTL}) },
			} {
				put()
				for what, try := range map[string]func() answer{
					"the token alone":   func() answer { return d.sends("GET", "/whoami", nil, "DPoP "+access) },
					"the scheme Bearer": func() answer { return d.sends("GET", "/whoami", nil, "Bearer "+access) },
					"Bearer and a proof": func() answer {
						return d.sends("GET", "/whoami", nil, "Bearer "+access, owner.proof("GET", "/whoami", access))
					},
					"the thief's proof": func() answer { return call(thief) },
					"an old proof":      func() answer { return d.sends("GET", "/whoami", nil, "DPoP "+access, old(owner, access)) },
					"a proof for another path": func() answer {
						return d.sends("GET", "/whoami", nil, "DPoP "+access, owner.proof("GET", "/who", access))
					},
				} {
					if a := call(owner); a.status != 200 {
						t.Fatalf("%s: the owner: %d %s\n%s", setup, a.status, a.body, d.authorizer.Logs())
					}
					if a := try(); a.status != 401 && a.status != 403 {
						t.Errorf("%s: %s: %d %s", setup, what, a.status, a.body)
					}
				}
			}
			d.takeBound(gateway.REST, gateway.Authorizer{IdentitySources: []string{header}})
			again := owner.proof("GET", "/whoami", access)
			d.sends("GET", "/whoami", nil, "DPoP "+access, again).is(200)
			if a := d.sends("GET", "/whoami", nil, "DPoP "+access, again); a.status != 401 {
				t.Errorf("the same proof again: %d", a.status)
			}

			// Later, with nonces that have long ended, the key still renews.
			d.pass(time.Hour)
			owner.ask(oauth.PathRefresh, renewal("shop", held)).is(200)

			d.scanLogs(slices.Concat([]string{secret, held, access}, owner.sent, thief.sent)...)
		})
	}
}

// old is a proof of some time ago.
func old(h *holder, accessToken string) string {
	p := h.key.Proof("GET", h.d.issuer+"/whoami", h.d.now().Add(-2*time.Minute), dpoptest.For(accessToken))
	h.sent = append(h.sent, p)
	return p
}

// A bound token where the API was not set up for such: as it is deployed without a word, it takes bearer tokens alone.
func TestBoundTokensAreRefusedUnlessTheAPITakesThem(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	secret := d.register(client.Spec{ID: "shop"})
	owner := d.holder("EdDSA")
	bound := owner.ask(oauth.PathToken, signInForm("shop", secret))
	bound.is(200)
	access := bound.field("access_token")
	if a := d.sends("GET", "/whoami", nil, "DPoP "+access, owner.proof("GET", "/whoami", access)); a.status != 403 {
		t.Errorf("with a good proof: %d %s\n%s", a.status, a.body, d.authorizer.Logs())
	}
	if a := d.sends("GET", "/whoami", nil, "Bearer "+access); a.status != 401 {
		t.Errorf("as a bearer token: %d %s", a.status, a.body)
	}
	d.whoamiIs(200, d.signIn("shop", secret).field("access_token"), scope)
}

// certificate makes a new one.
func (d *deployment) certificate() []byte {
	d.t.Helper()
	key := dpoptest.New(d.t, "ES256").Private
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	d.must(err)
	return der
}

// shows invokes a function with an event that has a client certificate where API Gateway puts it, or none.
func (d *deployment) shows(f *lambdatest.Function, event map[string]any, certificate []byte) (out []byte, err error) {
	d.t.Helper()
	event = maps.Clone(event)
	if certificate != nil {
		rc := maps.Clone(event["requestContext"].(map[string]any))
		text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
		rc["authentication"] = map[string]any{"clientCert": map[string]any{"clientCertPem": text}}
		event["requestContext"] = rc
	}
	payload, err := json.Marshal(event)
	d.must(err)
	return f.Invoke(d.t.Context(), payload)
}

// Certificate-bound tokens (RFC 8705): API Gateway's word on the connection counts, and nothing that a client can write.
func TestMTLS(t *testing.T) {
	d := deploy(t, mode{"secretsmanager", "secretsmanager", "ES256"})
	d.env["API_ORIGINS"] = d.issuer
	d.authorizer = d.start("authorizer", d.env, "MAX_ACCESS_TOKEN_LIFETIME", "MAX_GRANT_LIFETIME", "ISSUER", "AUDIENCE", "API_ORIGINS")
	secret := d.register(client.Spec{ID: "bank", RefreshMode: token.ModeMTLS})
	mine, thiefs := d.certificate(), d.certificate()
	post := func(f *lambdatest.Function, path string, form url.Values, certificate []byte) reply {
		t.Helper()
		out, err := d.shows(f, map[string]any{
			"version": "2.0", "routeKey": "POST " + path, "rawPath": path,
			"headers":        map[string]any{"content-type": "application/x-www-form-urlencoded", "x-amzn-mtls-clientcert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: mine}))},
			"requestContext": map[string]any{"requestId": "r", "stage": "$default", "http": map[string]any{"method": "POST", "path": path, "sourceIp": "203.0.113.7"}},
			"body":           base64.StdEncoding.EncodeToString([]byte(form.Encode())), "isBase64Encoded": true,
		}, certificate)
		d.must(err)
		var r reply
		d.must(json.Unmarshal(out, &r))
		return r
	}
	if r := post(d.token, oauth.PathToken, signInForm("bank", secret), nil); r.Status != 400 || r.field("error") != "invalid_request" {
		t.Errorf("sign-in without a certificate: %+v", r)
	}
	signedIn := post(d.token, oauth.PathToken, signInForm("bank", secret), mine)
	held, access := signedIn.field("refresh_token"), signedIn.field("access_token")
	if signedIn.Status != 200 || signedIn.field("token_type") != "Bearer" {
		t.Fatalf("sign-in: %+v", signedIn)
	}
	for path, f := range map[string]*lambdatest.Function{oauth.PathToken: d.token, oauth.PathRefresh: d.refresh} {
		for what, row := range map[string]struct {
			certificate []byte
			status      int
			code        string
		}{
			"the same certificate": {mine, 200, ""},
			"none":                 {nil, 400, "invalid_request"},
			"another":              {thiefs, 400, "invalid_grant"},
		} {
			if r := post(f, path, renewal("bank", held), row.certificate); r.Status != row.status || r.field("error") != row.code {
				t.Errorf("%s, %s: %+v", path, what, r)
			}
		}
	}
	for what, row := range map[string]struct {
		certificate []byte
		sources     []string
		effect      string
	}{
		"the same certificate":                 {mine, nil, "Allow"},
		"none":                                 {nil, nil, "Deny"},
		"another":                              {thiefs, nil, "Deny"},
		"an answer that is kept for the token": {mine, []string{"Bearer " + access}, "Deny"},
	} {
		event := map[string]any{
			"version": "2.0", "type": "REQUEST", "routeArn": "arn:aws:execute-api:us-east-1:123456789012:local00000/$default/GET/whoami",
			"routeKey": "GET /whoami", "rawPath": "/whoami", "headers": map[string]any{"authorization": "Bearer " + access},
			"requestContext": map[string]any{"http": map[string]any{"method": "GET", "path": "/whoami"}},
		}
		if row.sources != nil {
			event["identitySource"] = row.sources
		}
		out, err := d.shows(d.authorizer, event, row.certificate)
		d.must(err)
		var a struct {
			PolicyDocument struct{ Statement []struct{ Effect string } }
		}
		d.must(json.Unmarshal(out, &a))
		if len(a.PolicyDocument.Statement) != 1 || a.PolicyDocument.Statement[0].Effect != row.effect {
			t.Errorf("%s: %s, want %s", what, out, row.effect)
		}
	}
	d.scanLogs(secret, held, access)
}
