package token_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// The claims as they are on the wire, issued when the test clock starts.
const (
	issuer = "https://auth.example"
	api    = "https://api.example/?a=1&b=2"

	accessClaims = `{"iss":"https://auth.example","aud":"https://api.example/?a=1&b=2","sub":"app","client_id":"app","iat":1767225600,` +
		`"exp":1767226500,"jti":"j1","scope":"read write","grant_id":"g_1","auth_time":1767225500,"epochs":{"c_1":3}}`
	refreshClaims = `{"iss":"https://auth.example","aud":"https://auth.example","sub":"app","client_id":"app","iat":1767225600,` +
		`"exp":1767312000,"jti":"j2","scope":"read write","grant_id":"g_1","auth_time":1767225500,"epochs":{"c_1":3},` +
		`"resources":["https://api.example/?a=1&b=2","urn:b"],"refresh_mode":"bearer","grant_ends":1767312000,"access_lifetime":900}`
)

func at(second int64) time.Time { return time.Unix(second, 0) }

func grant() token.Grant {
	return token.Grant{GrantID: "g_1", ClientID: "app", Subject: "app", AuthTime: at(1767225500), Epochs: token.Epochs{{Handle: "c_1", N: 3}}}
}

func access() *token.Access {
	return &token.Access{
		Grant: grant(), Issuer: issuer, Audience: []string{api}, IssuedAt: at(1767225600), ExpiresAt: at(1767226500), ID: "j1",
		Scope: oauth.Scope{"read", "write"},
	}
}

// madeClaims leaves out of a comparison what a token that is being made does not have.
var madeClaims = cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "KeyID" }, cmp.Ignore())

func refresh() *token.Refresh {
	return &token.Refresh{
		Grant: grant(), Issuer: issuer, IssuedAt: at(1767225600), ExpiresAt: at(1767312000), ID: "j2", Scope: oauth.Scope{"read", "write"},
		Resources: []string{api, "urn:b"}, Mode: token.ModeBearer, GrantEnds: at(1767312000), AccessLifetime: 15 * time.Minute,
	}
}

// testKeys are one key an algorithm. All but RSA's are the same in each run, for the fuzzers' corpora.
var testKeys = sync.OnceValue(func() map[keyring.Algorithm]keyring.Key {
	seed := sha256.Sum256([]byte("latchkey test key"))
	keys := map[keyring.Algorithm]keyring.Key{}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA, keyring.HS256} {
		key, err := keyring.Generate(alg, at(0))
		var private crypto.Signer
		switch alg {
		case keyring.ES256:
			private, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
		case keyring.EdDSA:
			private = ed25519.NewKeyFromSeed(seed[:])
		case keyring.HS256:
			key.Secret = seed[:]
		}
		if err == nil && private != nil {
			key.Private, err = x509.MarshalPKCS8PrivateKey(private)
		}
		if err != nil {
			panic(err)
		}
		key.ID = "key-" + string(alg)
		keys[alg] = key
	}
	return keys
})

// source is a ring of these keys.
func source(use keyring.Use, algs ...keyring.Algorithm) *keyring.Source {
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: use}
	for _, alg := range algs {
		d.Keys = append(d.Keys, testKeys()[alg])
	}
	return keyring.NewSource(keyring.SourceConfig{
		Load: func(context.Context) (*keyring.Document, error) { return d, nil },
		Now:  new(clocktest.Clock).Now,
	})
}

func signingKey(t testing.TB, alg keyring.Algorithm) keyring.SigningKey {
	t.Helper()
	key, err := source(keyring.UseRefresh, alg).SigningKey(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// accessKeys and refreshKeys are rings of all that may be in such.
func accessKeys() *keyring.Source {
	return source(keyring.UseAccess, keyring.ES256, keyring.RS256, keyring.EdDSA)
}
func refreshKeys() *keyring.Source {
	return source(keyring.UseRefresh, keyring.HS256, keyring.ES256, keyring.RS256, keyring.EdDSA)
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// forge signs any header over any payload with a real key.
func forge(t testing.TB, alg keyring.Algorithm, header, payload string) string {
	t.Helper()
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	signature, err := signingKey(t, alg).Sign(context.Background(), []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + encode(signature)
}

// head is the header that belongs to the key of an algorithm.
func head(alg keyring.Algorithm, typ string) string {
	return fmt.Sprintf(`{"alg":%q,"kid":"key-%s","typ":%q}`, alg, alg, typ)
}

// accessToken is a token of these claims with nothing else wrong.
func accessToken(t testing.TB, claims string) string {
	t.Helper()
	return forge(t, keyring.ES256, head(keyring.ES256, token.TypeAccess), claims)
}

// edit replaces a part of a document, which must be there once.
func edit(t testing.TB, document, old, new string) string {
	t.Helper()
	if strings.Count(document, old) != 1 {
		t.Fatalf("%s is in %s %d times", old, document, strings.Count(document, old))
	}
	return strings.Replace(document, old, new, 1)
}

func accessVerifier(t testing.TB, now func() time.Time) *token.AccessVerifier {
	t.Helper()
	v, err := token.NewAccessVerifier(token.Config{Issuer: issuer, Audiences: []string{"urn:other", api}, Keys: accessKeys(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func refreshVerifier(t testing.TB, now func() time.Time) *token.RefreshVerifier {
	t.Helper()
	v, err := token.NewRefreshVerifier(token.Config{Issuer: issuer, Keys: refreshKeys(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// checker gives the verdicts of an access verifier at the clock's time.
type checker struct {
	t     *testing.T
	clock clocktest.Clock
	v     *token.AccessVerifier
}

func check(t *testing.T) *checker {
	c := &checker{t: t}
	c.v = accessVerifier(t, c.clock.Now)
	return c
}

func (c *checker) accepts(what, raw string) *token.Access {
	c.t.Helper()
	a, err := c.v.Verify(context.Background(), raw)
	if err != nil {
		c.t.Errorf("%s: %v", what, err)
		return &token.Access{}
	}
	return a
}

func (c *checker) refuses(what, raw string, reason token.Reason) {
	c.t.Helper()
	a, err := c.v.Verify(context.Background(), raw)
	if a != nil {
		c.t.Errorf("%s: claims %+v along with %v", what, a, err)
	}
	judged(c.t, what, raw, err, reason)
}

// judged fails the test unless err is that verdict, in words that give nothing of the token away.
func judged(t *testing.T, what, raw string, err error, reason token.Reason) {
	t.Helper()
	var bad *token.InvalidError
	if !errors.As(err, &bad) {
		t.Errorf("%s: got %v, want an InvalidError for %s", what, err, reason)
		return
	}
	if bad.Reason != reason {
		t.Errorf("%s: refused for %q, want %q", what, bad, reason)
	}
	for part := range strings.SplitSeq(raw, ".") {
		if len(part) > 3 && strings.Contains(err.Error(), part) {
			t.Errorf("%s: a part of the token shows in %q", what, err)
		}
	}
	if strings.Contains(strings.ToUpper(err.Error()), "HUSH") {
		t.Errorf("%s: a value of the token shows in %q", what, err)
	}
}

func TestSignAndVerifyAccess(t *testing.T) {
	c := check(t)
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		raw, err := access().Sign(context.Background(), signingKey(t, alg))
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(raw, ".")
		if got := decode(t, parts[0]); got != head(alg, "at+jwt") {
			t.Errorf("%s: the header is %s", alg, got)
		}
		if got := decode(t, parts[1]); got != accessClaims {
			t.Errorf("%s: the claims are %s, want %s", alg, got, accessClaims)
		}
		if diff := cmp.Diff(access(), c.accepts(string(alg), raw)); diff != "" {
			t.Errorf("%s: verified claims differ:\n%s", alg, diff)
		}
	}
}

func TestSignAndVerifyRefresh(t *testing.T) {
	v := refreshVerifier(t, new(clocktest.Clock).Now)
	for _, alg := range []keyring.Algorithm{keyring.HS256, keyring.ES256, keyring.RS256, keyring.EdDSA} {
		raw, err := refresh().Sign(context.Background(), signingKey(t, alg))
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(raw, ".")
		if h, p := decode(t, parts[0]), decode(t, parts[1]); h != head(alg, "rt+jwt") || p != refreshClaims {
			t.Errorf("%s: got %s %s", alg, h, p)
		}
		got, err := v.Verify(context.Background(), raw)
		if got != nil && got.KeyID != signingKey(t, alg).ID {
			t.Errorf("%s: verified by key %s", alg, got.KeyID)
		}
		if diff := cmp.Diff(refresh(), got, madeClaims); err != nil || diff != "" {
			t.Errorf("%s: %v, verified claims differ:\n%s", alg, err, diff)
		}
	}
}

// TestConfirmation: what a token is bound to is sealed in it, and what can't be understood of that is no bearer token.
func TestConfirmation(t *testing.T) {
	const key = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" // RFC 9449 §6.1
	thumbprint := token.CertificateThumbprint([]byte("a certificate"))
	c := check(t)
	v := refreshVerifier(t, c.clock.Now)
	jkt, x5t := fmt.Sprintf(`"jkt":%q`, key), fmt.Sprintf(`"x5t#S256":%q`, thumbprint)
	for cnf, want := range map[string]token.Confirmation{
		jkt:             {JKT: key},
		x5t:             {X5T: thumbprint},
		jkt + "," + x5t: {JKT: key, X5T: thumbprint},
	} {
		a, r := access(), refresh()
		a.Confirmation, r.Confirmation = want, want
		raw, err := a.Sign(context.Background(), signingKey(t, keyring.ES256))
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(t, strings.Split(raw, ".")[1]); got != edit(t, accessClaims, `{"c_1":3}}`, `{"c_1":3},"cnf":{`+cnf+`}}`) {
			t.Errorf("the claims are %s", got)
		}
		if diff := cmp.Diff(a, c.accepts(cnf, raw)); diff != "" {
			t.Errorf("%s: verified claims differ:\n%s", cnf, diff)
		}
		if raw, err = r.Sign(context.Background(), signingKey(t, keyring.HS256)); err != nil {
			t.Fatal(err)
		}
		got, err := v.Verify(context.Background(), raw)
		if diff := cmp.Diff(r, got, madeClaims); err != nil || diff != "" {
			t.Errorf("%s: %v, verified claims differ:\n%s", cnf, err, diff)
		}
	}
	for _, cnf := range []string{
		`{}`, `null`, `"x"`, `[]`, `{"jkt":""}`, `{"jkt":1}`, `{"jkt":"AAAA"}`, `{"jkt":"` + key + `="}`, `{` + jkt + `,` + jkt + `}`,
		`{"JKT":"` + key + `"}`, `{"jwk":{"kty":"EC"}}`, `{` + jkt + `,"kid":"x"}`, `{"x5t#S256":"` + thumbprint[1:] + `"}`,
	} {
		c.refuses(cnf, accessToken(t, edit(t, accessClaims, `{"c_1":3}}`, `{"c_1":3},"cnf":`+cnf+`}`)), token.ReasonClaims)
	}
	for _, mode := range []string{"dpop", "mtls"} {
		for cnf, good := range map[string]bool{"": false, `,"cnf":{` + jkt + `}`: mode == "dpop", `,"cnf":{` + x5t + `}`: mode == "mtls"} {
			claims := edit(t, edit(t, refreshClaims, `"bearer"`, `"`+mode+`"`), `:900}`, `:900`+cnf+`}`)
			_, err := v.Verify(context.Background(), forge(t, keyring.HS256, head(keyring.HS256, token.TypeRefresh), claims))
			if good != (err == nil) {
				t.Errorf("mode %s with %q: %v", mode, cnf, err)
			}
		}
	}
}

func decode(t testing.TB, segment string) string {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestIndependently has another implementation verify our tokens, with nothing but the published JWKS.
func TestIndependently(t *testing.T) {
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		d.Keys = append(d.Keys, testKeys()[alg])
	}
	public, err := d.Public()
	if err != nil {
		t.Fatal(err)
	}
	published, err := json.Marshal(public.JWKS(at(1767225600)))
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(published, &set); err != nil {
		t.Fatal(err)
	}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		raw, err := access().Sign(context.Background(), signingKey(t, alg))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
		if err != nil {
			t.Fatal(err)
		}
		keys := set.Key(parsed.Signatures[0].Header.KeyID)
		if len(keys) != 1 || !keys[0].Valid() || !keys[0].IsPublic() || keys[0].Algorithm != string(alg) || keys[0].Use != "sig" {
			t.Fatalf("%s: the JWKS has %+v", alg, keys)
		}
		if payload, err := parsed.Verify(keys[0]); err != nil || string(payload) != accessClaims {
			t.Errorf("%s: %s, %v", alg, payload, err)
		}
	}
}

func TestHeader(t *testing.T) {
	c := check(t)
	es := func(header string) string { return forge(t, keyring.ES256, header, accessClaims) }
	good := head(keyring.ES256, "at+jwt")
	c.accepts("the header of the others", es(good))
	for _, harmless := range []string{
		`"jku":"https://evil.example/jwks.json"`, `"x5u":"https://evil.example/cert"`, `"x5c":["MIIB"]`, `"cty":"JWT"`,
		`"jwk":{"kty":"oct","k":"AAAA"}`, `"ALG":"none"`, `"KID":"evil"`, `"Crit":["x"]`, `"x":null`,
	} {
		c.accepts(harmless, es(edit(t, good, `}`, `,`+harmless+`}`)))
	}
	for _, meaningful := range []string{`"crit":[]`, `"crit":["exp"]`, `"crit":null`, `"b64":false`, `"b64":true`, `"zip":"DEF"`, `"enc":"A256GCM"`, `"\u0063rit":["x"]`} {
		c.refuses(meaningful, es(edit(t, good, `}`, `,`+meaningful+`}`)), token.ReasonMalformed)
	}
	for header, reason := range map[string]token.Reason{
		`{}`:                                     token.ReasonMalformed,
		`{"kid":"key-ES256","typ":"at+jwt"}`:     token.ReasonMalformed,
		`{"alg":"ES256","typ":"at+jwt"}`:         token.ReasonMalformed,
		`{"alg":"ES256","kid":"key-ES256"}`:      token.ReasonType,
		edit(t, good, `"kid":`, `"KID":`):        token.ReasonMalformed,
		edit(t, good, `"alg":`, `"Alg":`):        token.ReasonMalformed,
		edit(t, good, `"typ":`, `"TYP":`):        token.ReasonType,
		edit(t, good, `"key-ES256"`, `""`):       token.ReasonMalformed,
		edit(t, good, `"key-ES256"`, `1`):        token.ReasonMalformed,
		edit(t, good, `"key-ES256"`, `null`):     token.ReasonMalformed,
		edit(t, good, `"ES256"`, `["ES256"]`):    token.ReasonMalformed,
		edit(t, good, `{`, `{"alg":"ES256",`):    token.ReasonMalformed,
		edit(t, good, `{`, `{"kid":"HUSH",`):     token.ReasonMalformed,
		edit(t, good, `{`, `{"typ":"at+jwt",`):   token.ReasonMalformed,
		good + `x`:                               token.ReasonMalformed,
		`[` + good + `]`:                         token.ReasonMalformed,
		"\ufeff" + good:                          token.ReasonMalformed,
		`null`:                                   token.ReasonMalformed,
		`HUSH`:                                   token.ReasonMalformed,
		edit(t, good, `key-ES256`, `HUSH`):       token.ReasonKey,
		edit(t, good, `key-ES256`, `KEY-ES256`):  token.ReasonKey,
		edit(t, good, `key-ES256`, `key-ES256 `): token.ReasonKey,
		edit(t, good, `key-ES256`, `key-HS256`):  token.ReasonKey,
		edit(t, good, `key-ES256`, `key-EdDSA`):  token.ReasonAlgorithm,
	} {
		c.refuses(header, es(header), reason)
	}
	for _, typ := range []string{"", "JWT", "jwt", "rt+jwt", "AT+JWT", "At+Jwt", "at+jwt ", " at+jwt", "at+jwt;x", "application/at+jwt", "at", "HUSH"} {
		c.refuses("typ "+typ, es(head(keyring.ES256, typ)), token.ReasonType)
	}
}

func TestAlgorithmIsTheKeys(t *testing.T) {
	c := check(t)
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		for _, said := range []string{"none", "None", "NONE", "nOnE", "HS256", "ES384", "PS256", "es256", "HUSH", "ES256", "RS256", "EdDSA"} {
			if said == string(alg) {
				continue
			}
			header := edit(t, head(alg, "at+jwt"), `"alg":"`+string(alg)+`"`, `"alg":"`+said+`"`)
			signed := forge(t, alg, header, accessClaims)
			c.refuses(said+" signed with "+string(alg), signed, token.ReasonAlgorithm)
			c.refuses(said+" unsigned", signed[:strings.LastIndex(signed, ".")+1], token.ReasonAlgorithm)
		}
		c.refuses("an empty alg", forge(t, alg, edit(t, head(alg, "at+jwt"), `"alg":"`+string(alg)+`"`, `"alg":""`), accessClaims), token.ReasonMalformed)
		signed := forge(t, alg, head(alg, "at+jwt"), accessClaims)
		c.refuses("unsigned", signed[:strings.LastIndex(signed, ".")+1], token.ReasonMalformed)
	}
}

// TestPublicKeyAsSecret: whoever knows a public key can make an HMAC with it.
func TestPublicKeyAsSecret(t *testing.T) {
	c := check(t)
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		private, err := x509.ParsePKCS8PrivateKey(testKeys()[alg].Private)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
		if err != nil {
			t.Fatal(err)
		}
		for what, secret := range map[string][]byte{"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "nothing": nil} {
			for _, said := range []string{"HS256", string(alg)} {
				input := encode([]byte(edit(t, head(alg, "at+jwt"), `"alg":"`+string(alg)+`"`, `"alg":"`+said+`"`))) + "." + encode([]byte(accessClaims))
				mac := hmac.New(sha256.New, secret)
				mac.Write([]byte(input))
				reason := token.ReasonAlgorithm
				if said == string(alg) {
					reason = token.ReasonSignature
				}
				c.refuses(said+" with the "+what+" of "+string(alg), input+"."+encode(mac.Sum(nil)), reason)
			}
		}
	}
}

func TestShape(t *testing.T) {
	c := check(t)
	raw := accessToken(t, accessClaims)
	part := strings.Split(raw, ".")
	c.accepts("three parts", strings.Join(part, "."))
	for what, bad := range map[string]string{
		"nothing": "", "a dot": ".", "two dots": "..", "three dots": "...", "no dot": part[0],
		"two parts": part[0] + "." + part[1], "four parts": raw + "." + part[2], "five parts (JWE)": raw + "..", "a dot before": "." + raw, "a dot after": raw + ".",
		"no header": "." + part[1] + "." + part[2], "no signature": part[0] + "." + part[1] + ".",
		"padding": raw + "=", "padding of the header": part[0] + "=." + part[1] + "." + part[2], "a space before": " " + raw, "a space after": raw + " ",
		"a line feed after": raw + "\n", "CR LF in the signature": part[0] + "." + part[1] + "." + part[2][:8] + "\r\n" + part[2][8:],
		"a line feed in the header": part[0][:4] + "\n" + part[0][4:] + "." + part[1] + "." + part[2],
		"standard base64":           part[0] + "." + part[1] + "." + strings.Repeat("+/", 43), "NUL": raw + "\x00", "Bearer": "Bearer " + raw,
	} {
		c.refuses(what, bad, token.ReasonMalformed)
	}
	// In the payload, which is signed before it is looked at, the same things are bad signatures,
	c.refuses("no payload", part[0]+".."+part[2], token.ReasonSignature)
	c.refuses("padding of the payload", part[0]+"."+part[1]+"=."+part[2], token.ReasonSignature)
	c.refuses("a line feed in the payload", part[0]+"."+part[1][:4]+"\n"+part[1][4:]+"."+part[2], token.ReasonSignature)
	// or, signed as they are, malformed.
	for what, payload := range map[string]string{"empty": "", "padding": encode([]byte(accessClaims)) + "=", "a line feed": encode([]byte(accessClaims)) + "\n", "not base64": "!!!"} {
		input := part[0] + "." + payload
		signature, err := signingKey(t, keyring.ES256).Sign(context.Background(), []byte(input))
		if err != nil {
			t.Fatal(err)
		}
		c.refuses("a signed payload: "+what, input+"."+encode(signature), token.ReasonMalformed)
	}
}

func TestLength(t *testing.T) {
	c := check(t)
	padded := func(n int) string {
		return accessToken(t, edit(t, accessClaims, `{"iss"`, `{"x":"`+strings.Repeat("x", n)+`","iss"`))
	}
	n := (token.MaxLength - len(padded(0))) * 3 / 4
	for len(padded(n)) > token.MaxLength {
		n--
	}
	if raw := padded(n); len(raw) < token.MaxLength-2 {
		t.Fatalf("the longest token has %d bytes", len(raw))
	} else {
		c.accepts("the longest", raw)
	}
	c.refuses("a longer one", padded(n+3), token.ReasonMalformed)
	c.refuses("dots without end", strings.Repeat(".", 1<<20), token.ReasonMalformed)

	long := access()
	long.Scope = oauth.Scope{strings.Repeat("x", token.MaxLength)}
	if raw, err := long.Sign(context.Background(), signingKey(t, keyring.ES256)); !errors.Is(err, token.ErrTooLong) {
		t.Errorf("signed a token of %d bytes, %v", len(raw), err)
	}
}

// TestNoBitMatters alters each character of a token and leaves each one out.
func TestNoBitMatters(t *testing.T) {
	c := check(t)
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		raw := forge(t, alg, head(alg, "at+jwt"), accessClaims)
		for i := range raw {
			other := byte('A')
			if raw[i] == other {
				other = 'B'
			}
			last := byte('A') // differs in the last bit alone: the unused bits at a part's end are such
			if at := strings.IndexByte(alphabet, raw[i]); at >= 0 {
				last = alphabet[at^1]
			}
			for _, bad := range []string{raw[:i] + string(other) + raw[i+1:], raw[:i] + string(last) + raw[i+1:], raw[:i] + raw[i+1:]} {
				var invalid *token.InvalidError
				if a, err := c.v.Verify(context.Background(), bad); !errors.As(err, &invalid) || a != nil {
					t.Errorf("%s altered at %d: got %v, %v", alg, i, a, err)
				}
			}
		}
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestSignature(t *testing.T) {
	c := check(t)
	raw := accessToken(t, accessClaims)
	dot := strings.LastIndex(raw, ".")
	signature := []byte(decode(t, raw[dot+1:]))
	other := accessToken(t, edit(t, accessClaims, `"j1"`, `"j9"`))
	for what, bad := range map[string][]byte{
		"of other claims": []byte(decode(t, other[strings.LastIndex(other, ".")+1:])), "zeros": make([]byte, 64), "one byte": {1},
		"cut short": signature[:63], "with a byte more": append(slices.Clone(signature), 0), "twice": append(slices.Clone(signature), signature...),
		"r and s exchanged": append(slices.Clone(signature[32:]), signature[:32]...),
		"as ASN.1":          asn1(signature),
		"s + n":             append(slices.Clone(signature[:32]), overflow(signature[32:])...),
	} {
		c.refuses(what, raw[:dot+1]+encode(bad), token.ReasonSignature)
	}
	for _, alg := range []keyring.Algorithm{keyring.RS256, keyring.EdDSA} {
		c.refuses("by another key", forge(t, alg, head(keyring.ES256, "at+jwt"), accessClaims), token.ReasonSignature)
	}
}

// asn1 is the form of ECDSA signatures outside JOSE.
func asn1(signature []byte) []byte {
	integer := func(b []byte) []byte {
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(integer(signature[:32]), integer(signature[32:])...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

// overflow adds the order of the curve, modulo 2²⁵⁶: the same residue where that does not overflow.
func overflow(s []byte) []byte {
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), elliptic.P256().Params().N)
	return sum.FillBytes(make([]byte, 33))[1:]
}

func TestClaims(t *testing.T) {
	c := check(t)
	refuses := func(reason token.Reason, old, new string) {
		t.Helper()
		c.refuses(old+" → "+new, accessToken(t, edit(t, accessClaims, old, new)), reason)
	}
	accepts := func(old, new string) *token.Access {
		t.Helper()
		return c.accepts(old+" → "+new, accessToken(t, edit(t, accessClaims, old, new)))
	}
	const iss, aud, sub = `"iss":"https://auth.example"`, `"aud":"https://api.example/?a=1&b=2"`, `"sub":"app"`
	const exp, iat, authTime = `"exp":1767226500`, `"iat":1767225600`, `"auth_time":1767225500`

	for _, other := range []string{
		`"iss":"https://auth.example/"`, `"iss":"https://auth.exampl"`, `"iss":"https://auth.example.evil"`, `"iss":"HTTPS://auth.example"`,
		`"iss":"http://auth.example"`, `"iss":" https://auth.example"`, `"iss":""`, `"ISS":"https://auth.example"`, `"x":"HUSH"`,
	} {
		refuses(token.ReasonIssuer, iss, other)
	}
	for _, mistyped := range []string{`"iss":1`, `"iss":null`, `"iss":["https://auth.example"]`, `"iss":{}`, iss + `,` + iss, iss + `,"\u0069ss":"HUSH"`} {
		refuses(token.ReasonClaims, iss, mistyped)
	}

	for _, other := range []string{
		`"aud":"https://api.example/?a=1&b="`, `"aud":"https://api.example/?a=1&b=2/"`, `"aud":"https://API.example/?a=1&b=2"`, `"aud":""`, `"aud":[]`, `"aud":[""]`,
		`"aud":"https://auth.example"`, `"aud":["urn:x","HUSH"]`, `"aud":"urn:other https://api.example/?a=1&b=2"`, `"AUD":"urn:other"`, `"x":1`,
	} {
		refuses(token.ReasonAudience, aud, other)
	}
	for _, mistyped := range []string{`"aud":1`, `"aud":null`, `"aud":{}`, `"aud":["urn:other",1]`, `"aud":["urn:other",null]`, `"aud":[["urn:other"]]`, aud + `,"aud":"urn:other"`} {
		refuses(token.ReasonClaims, aud, mistyped)
	}
	for _, ours := range []string{`"aud":"urn:other"`, `"aud":["urn:other"]`, `"aud":["urn:x","urn:other"]`, `"aud":["urn:other","urn:x"]`} {
		accepts(aud, ours)
	}
	if a := accepts(aud, `"aud":["urn:x","urn:other"]`); !slices.Equal(a.Audience, []string{"urn:x", "urn:other"}) {
		t.Errorf("the audience is %q", a.Audience)
	}

	for name, member := range map[string]string{"exp": exp, "iat": iat, "auth_time": authTime} {
		_, value, _ := strings.Cut(member, ":")
		for _, bad := range []string{
			`"` + value + `"`, value + `.0`, value + `.5`, `1.7e9`, `1767226e3`, `-1`, `-` + value, `9007199254740993`, `99999999999999999999`, `1e400`, `null`,
			`true`, `[` + value + `]`, `{}`, `0` + value, `0x10`, `NaN`, value + `,"` + name + `":` + value,
		} {
			refuses(token.ReasonClaims, member, `"`+name+`":`+bad)
		}
		refuses(token.ReasonClaims, member, `"x":1`)
		refuses(token.ReasonClaims, member, `"`+strings.ToUpper(name)+`":`+value)
	}
	refuses(token.ReasonClaims, exp, `"exp":1767225600`) // as it begins
	const times = `"iat":1767225600,"exp":1767226500,"jti":"j1","scope":"read write","grant_id":"g_1","auth_time":1767225500`
	refuses(token.ReasonExpired, times, `"iat":0,"exp":1,"jti":"j1","scope":"read write","grant_id":"g_1","auth_time":0`)
	// A sign-in later than the token itself, by more than clocks may differ.
	accepts(authTime, `"auth_time":1767225605`)
	refuses(token.ReasonClaims, authTime, `"auth_time":1767225606`)
	refuses(token.ReasonClaims, authTime, `"auth_time":9007199254740992`)
	refuses(token.ReasonNotYet, `"iat":1767225600,"exp":1767226500`, `"iat":9007199254740991,"exp":9007199254740992`)
	accepts(exp, `"exp":9007199254740992`)
	accepts(exp, `"exp":1767225601`)
	for _, bad := range []string{`"nbf":"0"`, `"nbf":-1`, `"nbf":0.5`, `"nbf":null`, `"nbf":0,"nbf":0`} {
		refuses(token.ReasonClaims, exp, exp+`,`+bad)
	}

	for _, member := range []string{sub, `"client_id":"app"`, `"jti":"j1"`, `"grant_id":"g_1"`} {
		name, _, _ := strings.Cut(member, ":")
		for _, bad := range []string{`"x":1`, name + `:""`, name + `:1`, name + `:null`, name + `:["app"]`, member + `,` + member, strings.ToUpper(name) + `:"app"`} {
			refuses(token.ReasonClaims, member, bad)
		}
	}
	// Go's decoder would take ſ (U+017F) for s.
	refuses(token.ReasonClaims, sub, `"ſub":"app"`)
	if a := accepts(sub, sub+`,"ſub":"evil","SUB":"evil","Sub":"evil"`); a.Subject != "app" {
		t.Errorf("the subject is %s", a.Subject)
	}
	if a := accepts(exp, exp+`,"EXP":1,"Exp":"x","x":{"exp":1,"y":[{}]}`); !a.ExpiresAt.Equal(at(1767226500)) {
		t.Errorf("it ends at %s", a.ExpiresAt)
	}

	for _, bad := range []string{`"scope":"a  b"`, `"scope":" "`, `"scope":["read"]`, `"scope":null`, `"scope":"HUSH\"HUSH"`, `"scope":"é"`} {
		refuses(token.ReasonClaims, `"scope":"read write"`, bad)
	}
	for _, none := range []string{`"x":1`, `"scope":""`} {
		if a := accepts(`"scope":"read write"`, none); len(a.Scope) != 0 {
			t.Errorf("%s: the scope is %q", none, a.Scope)
		}
	}
	for _, bad := range []string{`"epochs":[]`, `"epochs":{"c_1":"3"}`, `"epochs":{"c_1":3,"c_1":4}`, `"epochs":null`, `"epochs":{"c_1":1.5}`} {
		refuses(token.ReasonClaims, `"epochs":{"c_1":3}`, bad)
	}
	for what, payload := range map[string]string{
		"an array": "[" + accessClaims + "]", "trailing data": accessClaims + "{}", "cut short": accessClaims[:len(accessClaims)-1], "a string": `"HUSH"`,
		"nested too deep": edit(t, accessClaims, `{"iss"`, `{"x":`+strings.Repeat("[", 99)+strings.Repeat("]", 99)+`,"iss"`),
		"invalid UTF-8":   edit(t, accessClaims, `"j1"`, "\"\xff\""), "a duplicate inside": edit(t, accessClaims, `{"iss"`, `{"x":{"HUSH":1,"HUSH":2},"iss"`),
	} {
		c.refuses(what, accessToken(t, payload), token.ReasonClaims)
	}
}

func TestLeeway(t *testing.T) {
	raw := accessToken(t, accessClaims)
	nbf := accessToken(t, edit(t, accessClaims, `"exp"`, `"nbf":1767225700,"exp"`))
	during := func(what, raw string, moved time.Duration, reason token.Reason) {
		t.Helper()
		c := check(t)
		c.clock.Move(moved)
		if reason == "" {
			c.accepts(what, raw)
		} else {
			c.refuses(what, raw, reason)
		}
	}
	during("at its end", raw, 900*time.Second, "")
	during("just before the leeway's end", raw, 905*time.Second-1, "")
	during("at the leeway's end", raw, 905*time.Second, token.ReasonExpired)
	during("long after", raw, 24*time.Hour, token.ReasonExpired)
	during("as early as may be", raw, -5*time.Second, "")
	during("earlier", raw, -5*time.Second-1, token.ReasonNotYet)
	during("as early as nbf allows", nbf, 95*time.Second, "")
	during("earlier than nbf allows", nbf, 95*time.Second-1, token.ReasonNotYet)
}

// TestKindsDoNotMix presents each kind where the other belongs, even signed by a key of the other's ring.
func TestKindsDoNotMix(t *testing.T) {
	c := check(t)
	v := refreshVerifier(t, c.clock.Now)
	refuses := func(what, raw string, reason token.Reason) {
		t.Helper()
		r, err := v.Verify(context.Background(), raw)
		if r != nil {
			t.Errorf("%s: claims %+v", what, r)
		}
		judged(t, what, raw, err, reason)
	}
	c.refuses("a refresh token", forge(t, keyring.HS256, head(keyring.HS256, "rt+jwt"), refreshClaims), token.ReasonType)
	c.refuses("a refresh token that says it is none", forge(t, keyring.HS256, head(keyring.HS256, "at+jwt"), refreshClaims), token.ReasonKey)
	c.refuses("a refresh token of an access key", forge(t, keyring.ES256, head(keyring.ES256, "rt+jwt"), refreshClaims), token.ReasonType)
	c.refuses("that which says it is none", forge(t, keyring.ES256, head(keyring.ES256, "at+jwt"), refreshClaims), token.ReasonAudience)
	refuses("an access token", accessToken(t, accessClaims), token.ReasonType)
	refuses("an access token that says it is none", forge(t, keyring.ES256, head(keyring.ES256, "rt+jwt"), accessClaims), token.ReasonAudience)
	refuses("an access token for the issuer", forge(t, keyring.ES256, head(keyring.ES256, "rt+jwt"),
		edit(t, accessClaims, `"aud":"https://api.example/?a=1&b=2"`, `"aud":"https://auth.example"`)), token.ReasonClaims)
}

func TestRefreshClaims(t *testing.T) {
	var clock clocktest.Clock
	v := refreshVerifier(t, clock.Now)
	verify := func(old, new string) error {
		raw := forge(t, keyring.HS256, head(keyring.HS256, "rt+jwt"), edit(t, refreshClaims, old, new))
		_, err := v.Verify(context.Background(), raw)
		return err
	}
	for _, member := range []string{
		`"refresh_mode":"bearer"`, `"resources":["https://api.example/?a=1&b=2","urn:b"]`, `"grant_ends":1767312000`, `"access_lifetime":900`,
		`"jti":"j2"`, `"grant_id":"g_1"`, `"client_id":"app"`, `"sub":"app"`, `"exp":1767312000`, `"iat":1767225600`, `"auth_time":1767225500`,
	} {
		judged(t, member+" left out", "", verify(member, `"x":1`), token.ReasonClaims)
		judged(t, member+" twice", "", verify(member, member+`,`+member), token.ReasonClaims)
		name, _, _ := strings.Cut(member, ":")
		judged(t, member+" of another case", "", verify(name, strings.ToUpper(name)), token.ReasonClaims)
		judged(t, name+" null", "", verify(member, name+`:null`), token.ReasonClaims)
	}
	for old, new := range map[string]string{
		`"refresh_mode":"bearer"`: `"refresh_mode":""`, `"resources":["https://api.example/?a=1&b=2","urn:b"]`: `"resources":[]`,
		`"access_lifetime":900`: `"access_lifetime":0`, `"grant_ends":1767312000`: `"grant_ends":-1`,
	} {
		judged(t, new, "", verify(old, new), token.ReasonClaims)
	}
	judged(t, "another issuer", "", verify(`"iss":"https://auth.example"`, `"iss":"https://evil.example"`), token.ReasonIssuer)
	judged(t, "another audience", "", verify(`"aud":"https://auth.example"`, `"aud":"https://auth.example/"`), token.ReasonAudience)
	clock.Move(24*time.Hour + token.Leeway)
	judged(t, "ended", "", verify(`"j2"`, `"j3"`), token.ReasonExpired)
}

// TestGeneration: a refresh token has one in mode rotating, and in no other.
func TestGeneration(t *testing.T) {
	v := refreshVerifier(t, new(clocktest.Clock).Now)
	want := refresh()
	want.Mode, want.Generation = token.ModeRotating, 1<<53
	raw, err := want.Sign(context.Background(), signingKey(t, keyring.HS256))
	if err != nil {
		t.Fatal(err)
	}
	if claims := decode(t, strings.Split(raw, ".")[1]); !strings.HasSuffix(claims, `,"generation":9007199254740992}`) {
		t.Errorf("the claims are %s", claims)
	}
	got, err := v.Verify(context.Background(), raw)
	if diff := cmp.Diff(want, got, madeClaims); err != nil || diff != "" {
		t.Errorf("%v, verified claims differ:\n%s", err, diff)
	}
	for _, claims := range []string{
		`"refresh_mode":"rotating"`, `"refresh_mode":"rotating","generation":0`, `"refresh_mode":"rotating","generation":-1`,
		`"refresh_mode":"rotating","generation":1.5`, `"refresh_mode":"rotating","generation":"1"`, `"refresh_mode":"rotating","generation":null`,
		`"refresh_mode":"rotating","Generation":1`, `"refresh_mode":"rotating","generation":1,"generation":2`,
		`"refresh_mode":"rotating","generation":9223372036854775808`, `"refresh_mode":"bearer","generation":1`, `"refresh_mode":"secret","generation":1`,
	} {
		raw := forge(t, keyring.HS256, head(keyring.HS256, "rt+jwt"), edit(t, refreshClaims, `"refresh_mode":"bearer"`, claims))
		_, err := v.Verify(context.Background(), raw)
		judged(t, claims, "", err, token.ReasonClaims)
	}
}

// keysFunc are Keys made of a function.
type keysFunc func(kid string) (keyring.VerificationKey, error)

func (f keysFunc) VerificationKey(_ context.Context, kid string) (keyring.VerificationKey, error) {
	return f(kid)
}

func TestOutageIsNoVerdict(t *testing.T) {
	outage := errors.New("no route to host")
	raw := accessToken(t, accessClaims)
	verify := func(failure error) error {
		v, err := token.NewAccessVerifier(token.Config{Issuer: issuer, Audiences: []string{api}, Now: new(clocktest.Clock).Now,
			Keys: keysFunc(func(string) (keyring.VerificationKey, error) { return keyring.VerificationKey{}, failure })})
		if err != nil {
			t.Fatal(err)
		}
		a, err := v.Verify(context.Background(), raw)
		if a != nil || err == nil {
			t.Errorf("%v: got %v, %v", failure, a, err)
		}
		return err
	}
	var bad *token.InvalidError
	if err := verify(outage); errors.As(err, &bad) || !errors.Is(err, outage) {
		t.Errorf("got %v", err)
	}
	judged(t, "no such key", raw, verify(fmt.Errorf("looking: %w", keyring.ErrUnknownKey)), token.ReasonKey)
	judged(t, "a key of no algorithm", raw, verify(nil), token.ReasonAlgorithm)
}

// TestKeyIsNotAskedInVain: what can be refused without a key is.
func TestKeyIsNotAskedInVain(t *testing.T) {
	v, err := token.NewAccessVerifier(token.Config{Issuer: issuer, Audiences: []string{api},
		Keys: keysFunc(func(kid string) (keyring.VerificationKey, error) {
			t.Errorf("asked for %s", kid)
			return keyring.VerificationKey{}, keyring.ErrUnknownKey
		})})
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{"", "a.b", forge(t, keyring.HS256, head(keyring.HS256, "rt+jwt"), refreshClaims), strings.Repeat("x", token.MaxLength) + ".."} {
		if _, err := v.Verify(context.Background(), raw); err == nil {
			t.Errorf("%s: accepted", raw)
		}
	}
}

func TestVerifiersAreStrict(t *testing.T) {
	keys := accessKeys()
	for what, c := range map[string]token.Config{
		"no issuer": {Audiences: []string{api}, Keys: keys}, "no keys": {Issuer: issuer, Audiences: []string{api}},
		"no audience": {Issuer: issuer, Keys: keys}, "an empty audience": {Issuer: issuer, Audiences: []string{api, ""}, Keys: keys},
	} {
		if _, err := token.NewAccessVerifier(c); err == nil {
			t.Errorf("%s: an access verifier", what)
		}
		if _, err := token.NewRefreshVerifier(c); err == nil && (c.Issuer == "" || c.Keys == nil) {
			t.Errorf("%s: a refresh verifier", what)
		}
	}
}

func TestSigningFails(t *testing.T) {
	failure := errors.New("KMS is away")
	_, err := access().Sign(context.Background(), keyring.SigningKey{ID: "k", Algorithm: keyring.ES256, Signer: failingSigner{failure}})
	if !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}

type failingSigner struct{ err error }

func (f failingSigner) Sign(context.Context, []byte) ([]byte, error) { return nil, f.err }

func TestNewID(t *testing.T) {
	ids := map[string]bool{}
	for range 1000 {
		id := token.NewID(token.GrantPrefix)
		random, ok := strings.CutPrefix(id, "g_")
		if data := decode(t, random); !ok || len(data) != 16 || ids[id] {
			t.Fatalf("%s: %d random bytes, seen before: %v", id, len(data), ids[id])
		}
		ids[id] = true
	}
}

// FuzzVerify: nothing panics, and only what was signed is accepted.
func FuzzVerify(f *testing.F) {
	signed := map[string]bool{}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.EdDSA, keyring.HS256} {
		for typ, claims := range map[string]string{"at+jwt": accessClaims, "rt+jwt": refreshClaims} {
			raw := forge(f, alg, head(alg, typ), claims)
			signed[raw[:strings.LastIndex(raw, ".")]] = true
			f.Add(raw)
			f.Add(raw + "=")
			f.Add(strings.ToUpper(raw))
		}
	}
	f.Add("..")
	now := new(clocktest.Clock).Now
	a, r := accessVerifier(f, now), refreshVerifier(f, now)
	f.Fuzz(func(t *testing.T, raw string) {
		_, errA := a.Verify(context.Background(), raw)
		_, errR := r.Verify(context.Background(), raw)
		for _, err := range []error{errA, errR} {
			var bad *token.InvalidError
			if err == nil && !signed[raw[:max(0, strings.LastIndex(raw, "."))]] {
				t.Errorf("accepted %q, which nobody signed", raw)
			} else if err != nil && !errors.As(err, &bad) {
				t.Errorf("%q: %v", raw, err)
			}
		}
		if errA == nil && errR == nil {
			t.Errorf("%q is of both kinds", raw)
		}
	})
}

// FuzzClaims: of what is signed, only JSON objects are accepted, and read as encoding/json reads them by exact names.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(accessClaims))
	f.Add([]byte(strings.Replace(accessClaims, `"sub"`, `"SUB":"x","sub"`, 1)))
	f.Add([]byte(strings.Replace(accessClaims, `"aud":`, `"aud":"x","aud":`, 1)))
	f.Add([]byte(strings.Replace(accessClaims, `1767226500`, `1.7e12`, 1)))
	v := accessVerifier(f, new(clocktest.Clock).Now)
	f.Fuzz(func(t *testing.T, payload []byte) {
		a, err := v.Verify(context.Background(), forge(t, keyring.EdDSA, head(keyring.EdDSA, "at+jwt"), string(payload)))
		if err != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(payload))
		d.UseNumber()
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatalf("accepted %q: %v", payload, err)
		}
		want := map[string]any{"iss": a.Issuer, "sub": a.Subject, "client_id": a.ClientID, "jti": a.ID, "grant_id": a.GrantID}
		for name, value := range maps.All(want) {
			if !reflect.DeepEqual(m[name], value) {
				t.Errorf("%q: %s is %v, read as %v", payload, name, m[name], value)
			}
		}
		if n, err := m["exp"].(json.Number).Int64(); err != nil || n != a.ExpiresAt.Unix() {
			t.Errorf("%q: exp is %v, read as %d", payload, m["exp"], a.ExpiresAt.Unix())
		}
	})
}

// TestOrigin: for revoking, it counts that a token is ours, and neither its time nor whom it is for.
func TestOrigin(t *testing.T) {
	var clock clocktest.Clock
	o, err := token.NewAccessOrigin(token.Config{Issuer: issuer, Keys: accessKeys(), Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	for what, raw := range map[string]string{
		"a valid token":        accessToken(t, accessClaims),
		"for another audience": accessToken(t, edit(t, accessClaims, api, "urn:c")),
		"ended":                accessToken(t, edit(t, accessClaims, `"exp":1767226500`, `"exp":1767225601`)),
	} {
		clock.Move(time.Hour)
		if got, err := o.Authentic(context.Background(), raw); err != nil || got.ID != "j1" || got.GrantID != "g_1" || got.ClientID != "app" {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	for what, row := range map[string]struct {
		raw    string
		reason token.Reason
	}{
		"another issuer's": {accessToken(t, edit(t, accessClaims, `"iss":"https://auth.example"`, `"iss":"https://evil.example"`)), token.ReasonIssuer},
		"without a jti":    {accessToken(t, edit(t, accessClaims, `"jti":"j1"`, `"x":1`)), token.ReasonClaims},
		"a refresh token":  {forge(t, keyring.HS256, head(keyring.HS256, "rt+jwt"), refreshClaims), token.ReasonType},
		"another's key":    {forge(t, keyring.HS256, head(keyring.HS256, "at+jwt"), accessClaims), token.ReasonKey},
	} {
		got, err := o.Authentic(context.Background(), row.raw)
		if got != nil {
			t.Errorf("%s: claims %+v", what, got)
		}
		judged(t, what, row.raw, err, row.reason)
	}
	if _, err := token.NewAccessOrigin(token.Config{Issuer: issuer}); err == nil {
		t.Error("without keys")
	}
}

// TestMaxLifetime: a token that says to live longer than the cap, of before it was lowered, ends at the cap.
func TestMaxLifetime(t *testing.T) {
	var clock clocktest.Clock
	v, err := token.NewAccessVerifier(token.Config{
		Issuer: issuer, Audiences: []string{api}, Keys: accessKeys(), MaxLifetime: 10 * time.Minute, Now: clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	raw := sign(t, keyring.ES256, signingKey(t, keyring.ES256)) // for 15 minutes from now
	a, err := v.Verify(t.Context(), raw)
	if err != nil || !a.ExpiresAt.Equal(a.IssuedAt.Add(10*time.Minute)) {
		t.Fatalf("got %+v, %v", a, err)
	}
	clock.Move(a.ExpiresAt.Sub(clock.Now()) + token.Leeway - time.Second)
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	clock.Move(time.Second)
	var bad *token.InvalidError
	if _, err := v.Verify(t.Context(), raw); !errors.As(err, &bad) || bad.Reason != token.ReasonExpired {
		t.Errorf("past the cap: %v", err)
	}
}
