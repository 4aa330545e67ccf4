package grant_test

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/dpoptest"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

type object = dpoptest.Object

// nonce is the one that the endpoints give out now.
func (w *world) nonce() object {
	w.t.Helper()
	nonce, err := w.proofs.Nonces.Current(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return object{"nonce": nonce}
}

// proof is a good one for an endpoint.
func (w *world) proof(k *dpoptest.Key, path string, more ...object) string {
	w.t.Helper()
	return k.Proof("POST", issuer+path, w.now(), append([]object{w.nonce()}, more...)...)
}

// proving sends proofs along.
func proving(r *http.Request, proofs ...string) *http.Request {
	r.Header["Dpop"] = proofs
	return r
}

// connected has the request come over a connection with a client certificate.
func connected(r *http.Request, der string) *http.Request {
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte(der)}}}
	return r
}

func signingIn(id, secret string) *http.Request {
	return basic(post(oauth.PathToken, "grant_type", "client_credentials"), id, secret)
}

func renewing(path, id, refreshToken string) *http.Request {
	return post(path, "grant_type", "refresh_token", "client_id", id, "refresh_token", refreshToken)
}

// each calls test for both endpoints.
func (w *world) each(test func(path string, h http.Handler)) {
	test(oauth.PathToken, w.token)
	test(oauth.PathRefresh, w.refreshOnly)
}

func (a answer) refused(t *testing.T, what string, status int, code oauth.Code) {
	t.Helper()
	if a.status != status || a.field("error") != string(code) || a.field("error_description") == "" || a.field("access_token") != "" {
		t.Errorf("%s: %d %s %s, want %d %s", what, a.status, a.body, a.log, status, code)
	}
	if given := a.header.Get("Dpop-Nonce") != ""; given != (code == oauth.UseDPoPNonce) {
		t.Errorf("%s: DPoP-Nonce %q", what, a.header.Get("Dpop-Nonce"))
	}
}

// bound says what an answer's tokens are bound to: "" for the refresh token's where there is none.
func (w *world) bound(a answer) (access, refresh token.Confirmation) {
	w.t.Helper()
	if a.status != http.StatusOK {
		w.t.Fatalf("%d %s %s", a.status, a.body, a.log)
	}
	access = w.claims(a).Confirmation
	if a.field("token_type") != access.Type() {
		w.t.Errorf("token_type %q of a token with %+v", a.field("token_type"), access)
	}
	if raw := a.field("refresh_token"); raw != "" {
		sealed, err := w.refresh.Verify(w.t.Context(), raw)
		if err != nil {
			w.t.Fatal(err)
		}
		refresh = sealed.Confirmation
	}
	return access, refresh
}

// The recommended profile: one secret at sign-in, then a key that never leaves the client.
func TestModeDPoP(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop", RefreshMode: token.ModeDPoP})
	key, thief := dpoptest.New(t, "ES256"), dpoptest.New(t, "ES256")
	mine := token.Confirmation{JKT: key.Thumbprint()}

	w.do(w.token, signingIn("shop", secret)).refused(t, "sign-in without a proof", 400, oauth.InvalidDPoPProof)
	// RFC 9449 §8: the first proof has no nonce, the answer gives one, the second has it.
	first := w.do(w.token, proving(signingIn("shop", secret), key.Proof("POST", issuer+oauth.PathToken, w.now())))
	first.refused(t, "no nonce", 400, oauth.UseDPoPNonce)
	signedIn := w.do(w.token, proving(signingIn("shop", secret), key.Proof("POST", issuer+oauth.PathToken, w.now(), object{"nonce": first.header.Get("Dpop-Nonce")})))
	if access, refresh := w.bound(signedIn); access != mine || refresh != mine || signedIn.field("token_type") != "DPoP" {
		t.Errorf("bound to %+v and %+v, want %+v: %s", access, refresh, mine, signedIn.body)
	}
	if signedIn.header.Get("Dpop-Nonce") == "" {
		t.Error("no nonce for the next proof")
	}
	held := signedIn.field("refresh_token")
	sealed, err := w.refresh.Verify(t.Context(), held)
	if err != nil || sealed.GrantEnds.Sub(w.now()) != 30*24*time.Hour || sealed.Mode != token.ModeDPoP {
		t.Errorf("the grant: %+v, %v", sealed, err)
	}

	w.each(func(path string, h http.Handler) {
		renewed := w.do(h, proving(renewing(path, "shop", held), w.proof(key, path)))
		if access, _ := w.bound(renewed); access != mine || renewed.header.Get("Dpop-Nonce") == "" {
			t.Errorf("%s: bound to %+v, nonce %q", path, access, renewed.header.Get("Dpop-Nonce"))
		}
		w.do(h, renewing(path, "shop", held)).refused(t, path+": the token alone", 400, oauth.InvalidDPoPProof)
		w.do(h, proving(renewing(path, "shop", held), w.proof(thief, path))).refused(t, path+": a thief's own key", 400, oauth.InvalidGrant)
	})
	w.do(w.token, basic(renewing(oauth.PathToken, "shop", held), "shop", secret)).
		refused(t, "with the secret instead of the proof", 400, oauth.InvalidDPoPProof)

	// A refresh token is renewed past half its life, for the same key.
	w.pass(4 * 24 * time.Hour)
	renewed := w.do(w.refreshOnly, proving(renewing(oauth.PathRefresh, "shop", held), w.proof(key, oauth.PathRefresh)))
	if access, refresh := w.bound(renewed); access != mine || refresh != mine {
		t.Errorf("renewed for %+v and %+v", access, refresh)
	}
}

// Every item of RFC 9449 §4.3, at both endpoints.
func TestDPoPRefusals(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop", RefreshMode: token.ModeDPoP})
	key, other := dpoptest.New(t, "ES256"), dpoptest.New(t, "ES256")
	held := w.do(w.token, proving(signingIn("shop", secret), w.proof(key, oauth.PathToken))).field("refresh_token")
	old := w.nonce()
	w.pass(dpop.NonceLife)

	requests := map[string]func() *http.Request{
		"sign-in":            func() *http.Request { return signingIn("shop", secret) },
		"refresh":            func() *http.Request { return renewing(oauth.PathToken, "shop", held) },
		"refresh at its own": func() *http.Request { return renewing(oauth.PathRefresh, "shop", held) },
	}
	for _, row := range []struct {
		what   string
		proofs func(header, claims object) []string
		code   oauth.Code
		cause  string
	}{
		{"1: two headers", func(h, c object) []string { return []string{key.Sign(h, c), key.Sign(h, c)} }, oauth.InvalidDPoPProof, "more than one"},
		{"1: two in one header", func(h, c object) []string { return []string{key.Sign(h, c) + ", " + key.Sign(h, c)} }, oauth.InvalidDPoPProof, "three parts"},
		{"2: no JWT", func(object, object) []string { return []string{"x"} }, oauth.InvalidDPoPProof, "three parts"},
		{"2: empty", func(object, object) []string { return []string{""} }, oauth.InvalidDPoPProof, "three parts"},
		{"3: no jti", claim("jti", nil, key), oauth.InvalidDPoPProof, "lacks jti"},
		{"3: no htm", claim("htm", nil, key), oauth.InvalidDPoPProof, "lacks jti"},
		{"3: no htu", claim("htu", nil, key), oauth.InvalidDPoPProof, "lacks jti"},
		{"3: no iat", claim("iat", nil, key), oauth.InvalidDPoPProof, "lacks jti"},
		{"4: another typ", head("typ", "JWT", key), oauth.InvalidDPoPProof, "typ"},
		{"5: none", head("alg", "none", key), oauth.InvalidDPoPProof, "alg"},
		{"5: symmetric", head("alg", "HS256", key), oauth.InvalidDPoPProof, "alg"},
		{"6: another key's signature", head("jwk", other.JWK(), key), oauth.InvalidDPoPProof, "signature"},
		{"6: no jwk", head("jwk", nil, key), oauth.InvalidDPoPProof, "jwk"},
		{"7: the private key", head("jwk", key.PrivateJWK(), key), oauth.InvalidDPoPProof, "not a public key"},
		{"8: another method", claim("htm", "GET", key), oauth.InvalidDPoPProof, "htm"},
		{"9: another host", claim("htu", "https://evil.example.com"+oauth.PathToken, key), oauth.InvalidDPoPProof, "htu"},
		{"9: another endpoint", claim("htu", issuer+oauth.PathRevoke, key), oauth.InvalidDPoPProof, "htu"},
		{"10: no nonce", claim("nonce", nil, key), oauth.UseDPoPNonce, "nonce"},
		{"10: a made-up nonce", claim("nonce", "x", key), oauth.UseDPoPNonce, "nonce"},
		{"10: an old nonce", claim("nonce", old["nonce"], key), oauth.UseDPoPNonce, "nonce"},
		{"11: an old proof", claim("iat", w.now().Add(-2*time.Minute).Unix(), key), oauth.InvalidDPoPProof, "iat"},
		{"11: one of the future", claim("iat", w.now().Add(time.Minute).Unix(), key), oauth.InvalidDPoPProof, "iat"},
	} {
		for name, request := range requests {
			r := request()
			path, h := r.URL.Path, w.token
			if path == oauth.PathRefresh {
				h = w.refreshOnly
			}
			claims := dpoptest.Claims("POST", issuer+path, w.now())
			maps.Copy(claims, w.nonce())
			proofs := row.proofs(key.Header(), claims)
			// The request's own Host says what the client likes.
			r.Host = "evil.example.com"
			a := w.do(h, proving(r, proofs...))
			a.refused(t, name+": "+row.what, 400, row.code)
			if !strings.Contains(a.log, row.cause) {
				t.Errorf("%s: %s: the log does not tell %q: %s", name, row.what, row.cause, a.log)
			}
			for _, proof := range proofs {
				if len(proof) > 10 && strings.Contains(a.log+a.body, proof) {
					t.Errorf("%s: %s: the proof is shown: %s %s", name, row.what, a.body, a.log)
				}
			}
		}
	}
	// A good proof is for one of the endpoints alone.
	w.do(w.refreshOnly, proving(renewing(oauth.PathRefresh, "shop", held), w.proof(key, oauth.PathToken))).
		refused(t, "a proof for /oauth2/token at /oauth2/refresh", 400, oauth.InvalidDPoPProof)
	w.do(w.token, proving(renewing(oauth.PathToken, "shop", held), w.proof(key, oauth.PathRefresh))).
		refused(t, "a proof for /oauth2/refresh at /oauth2/token", 400, oauth.InvalidDPoPProof)
	// Whoever has no right to a token gets none by a good proof.
	w.do(w.token, proving(signingIn("shop", "wrong"), w.proof(key, oauth.PathToken))).refused(t, "a wrong secret", 401, oauth.InvalidClient)
}

func claim(name string, value any, k *dpoptest.Key) func(object, object) []string {
	return func(h, c object) []string { return []string{k.Sign(h, set(c, name, value))} }
}

func head(name string, value any, k *dpoptest.Key) func(object, object) []string {
	return func(h, c object) []string { return []string{k.Sign(set(h, name, value), c)} }
}

func set(o object, name string, value any) object {
	o = maps.Clone(o)
	if o[name] = value; value == nil {
		delete(o, name)
	}
	return o
}

// A client of another mode may come with a proof as well: all its tokens are bound then, whatever its mode asks for besides.
func TestProofInOtherModes(t *testing.T) {
	w := newRotatingWorld(t, boltGrants(t))
	key, thief := dpoptest.New(t, "EdDSA"), dpoptest.New(t, "EdDSA")
	mine := token.Confirmation{JKT: key.Thumbprint()}
	secrets := map[string]string{
		"bearer": w.register(client.Spec{ID: "bearer"}), "secret": w.register(client.Spec{ID: "secret", RefreshMode: token.ModeSecret}), rotator: w.secret,
	}
	for id, secret := range secrets {
		signedIn := w.do(w.token, proving(signingIn(id, secret), w.proof(key, oauth.PathToken)))
		if access, refresh := w.bound(signedIn); access != mine || refresh != mine {
			t.Errorf("%s: bound to %+v and %+v", id, access, refresh)
		}
		held := signedIn.field("refresh_token")
		renew := func(proofs ...string) answer {
			r := basic(renewing(oauth.PathToken, id, held), id, secret)
			if len(proofs) > 0 {
				proving(r, proofs...)
			}
			return w.do(w.token, r)
		}
		renew().refused(t, id+": without a proof", 400, oauth.InvalidDPoPProof)
		renew(w.proof(thief, oauth.PathToken)).refused(t, id+": another key", 400, oauth.InvalidGrant)
		// None of this has used up a token that works once.
		access, refresh := w.bound(renew(w.proof(key, oauth.PathToken)))
		if access != mine || (refresh != mine) == (id == rotator) {
			t.Errorf("%s: renewed for %+v and %+v", id, access, refresh)
		}
		// The same successor again, for the same key.
		if id == rotator {
			if access, refresh := w.bound(renew(w.proof(key, oauth.PathToken))); access != mine || refresh != mine {
				t.Errorf("%s: once more, for %+v and %+v", id, access, refresh)
			}
		}
	}

	// What a refresh token asks for is settled at sign-in.
	held := w.signIn("bearer", secrets["bearer"]).field("refresh_token")
	w.pass(13 * time.Hour)
	a := w.renew("bearer", held)
	if access, _ := w.bound(a); access.Bound() {
		t.Errorf("a bearer client's token is bound to %+v", access)
	}
	a = w.do(w.refreshOnly, proving(renewing(oauth.PathRefresh, "bearer", held), w.proof(key, oauth.PathRefresh)))
	if access, refresh := w.bound(a); access != mine || refresh.Bound() {
		t.Errorf("a bearer client's refresh with a proof: %+v and %+v", access, refresh)
	}
}

func TestModeMTLS(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "bank", RefreshMode: token.ModeMTLS})
	mine := token.Confirmation{X5T: token.CertificateThumbprint([]byte("mine"))}
	headers := func(r *http.Request) *http.Request { // which a proxy might set, and anyone can
		for _, name := range []string{"X-Amzn-Mtls-Clientcert", "X-Client-Cert", "Client-Cert", "X-Forwarded-Client-Cert"} {
			r.Header.Set(name, "mine")
		}
		return r
	}

	w.do(w.token, signingIn("bank", secret)).refused(t, "sign-in without a certificate", 400, oauth.InvalidRequest)
	w.do(w.token, headers(signingIn("bank", secret))).refused(t, "a certificate in a header", 400, oauth.InvalidRequest)
	signedIn := w.do(w.token, connected(signingIn("bank", secret), "mine"))
	if access, refresh := w.bound(signedIn); access != mine || refresh != mine || signedIn.field("token_type") != "Bearer" {
		t.Errorf("bound to %+v and %+v: %s", access, refresh, signedIn.body)
	}
	held := signedIn.field("refresh_token")
	w.each(func(path string, h http.Handler) {
		if access, _ := w.bound(w.do(h, connected(renewing(path, "bank", held), "mine"))); access != mine {
			t.Errorf("%s: bound to %+v", path, access)
		}
		w.do(h, renewing(path, "bank", held)).refused(t, path+": the token alone", 400, oauth.InvalidRequest)
		w.do(h, headers(renewing(path, "bank", held))).refused(t, path+": a certificate in a header", 400, oauth.InvalidRequest)
		w.do(h, connected(renewing(path, "bank", held), "thief's")).refused(t, path+": another certificate", 400, oauth.InvalidGrant)
	})
	// Both at once: both are asked for.
	key := dpoptest.New(t, "RS256")
	both := token.Confirmation{X5T: mine.X5T, JKT: key.Thumbprint()}
	a := w.do(w.token, connected(proving(signingIn("bank", secret), w.proof(key, oauth.PathToken)), "mine"))
	if access, refresh := w.bound(a); access != both || refresh != both || a.field("token_type") != "DPoP" {
		t.Errorf("bound to %+v and %+v, want %+v", access, refresh, both)
	}
	w.do(w.refreshOnly, connected(renewing(oauth.PathRefresh, "bank", a.field("refresh_token")), "mine")).
		refused(t, "one of two", 400, oauth.InvalidDPoPProof)

	// A domain may ask everybody for a certificate: only those that refresh by it are bound to it.
	shop := w.register(client.Spec{ID: "shop"})
	if access, refresh := w.bound(w.do(w.token, connected(signingIn("shop", shop), "mine"))); access.Bound() || refresh.Bound() {
		t.Errorf("a bearer client's tokens are bound to %+v and %+v", access, refresh)
	}
}

// A client whose mode is changed signs in again: what it had was of the other mode.
func TestChangeOfModeEndsGrants(t *testing.T) {
	w := newRotatingWorld(t, boltGrants(t))
	w.registry.Revocations = w.feed
	secret := w.register(client.Spec{ID: "shop"})
	held := w.signIn("shop", secret).field("refresh_token")
	if _, err := w.registry.Update(t.Context(), "shop", func(r *client.Record) error {
		r.RefreshMode = token.ModeDPoP
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.do(w.token, renewing(oauth.PathToken, "shop", held)).refused(t, "a bearer token of before", 400, oauth.InvalidGrant)
}

// A grant type that does not ask for what the mode does gets no token.
func TestSignInAsksForWhatTheModeDoes(t *testing.T) {
	w := newWorld(t)
	for _, mode := range []token.Mode{token.ModeDPoP, token.ModeMTLS} {
		s := grant.SignIn{ClientID: "shop", Subject: "shop", Resources: []string{orders}, Mode: mode, AccessLifetime: time.Minute}
		if a, err := w.minter.SignIn(t.Context(), s, &oauth.Outcome{}); err == nil || a != nil {
			t.Errorf("%s: %+v, %v", mode, a, err)
		}
	}
}

func TestProofOutages(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop", RefreshMode: token.ModeDPoP})
	key := dpoptest.New(t, "ES256")
	proofs := &dpop.Verifier{Nonces: &dpop.Nonces{Keys: brokenKeys{}, Now: w.now}, Now: w.now}
	e := grant.Endpoint{
		Name: "token", Log: w.logger(), Now: w.now, URLs: []string{issuer + oauth.PathToken}, Proofs: proofs,
		Types: map[string]grant.Type{oauth.GrantClientCredentials: &clientcredentials.Type{Clients: client.NewAuthenticator(w.registry.Store, w.now), Minter: w.minter}},
	}
	for what, proof := range map[string]string{
		"with a nonce": w.proof(key, oauth.PathToken), "without one": key.Proof("POST", issuer+oauth.PathToken, w.now()),
	} {
		a := w.do(e.Handler(), proving(signingIn("shop", secret), proof))
		a.refused(t, what, 503, oauth.Unavailable)
		if a.header.Get("Retry-After") == "" || !strings.Contains(a.log, "is down") || strings.Contains(a.body, "is down") {
			t.Errorf("%s: %v %s", what, a.header, a.log)
		}
	}
	e.Proofs = nil
	w.do(e.Handler(), proving(signingIn("shop", secret), w.proof(key, oauth.PathToken))).refused(t, "where none is taken", 400, oauth.InvalidDPoPProof)
}
