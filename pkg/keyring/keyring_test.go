package keyring_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

var ctx = context.Background()

// start is where the test clocks start.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// generated is one key an algorithm, signing from the start; RSA keys take long to make.
var generated = sync.OnceValue(func() map[keyring.Algorithm]keyring.Key {
	keys := map[keyring.Algorithm]keyring.Key{}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA, keyring.HS256} {
		key, err := keyring.Generate(alg, start)
		if err != nil {
			panic(err)
		}
		keys[alg] = key
	}
	return keys
})

var asymmetric = []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA}

func document(use keyring.Use, keys ...keyring.Key) *keyring.Document {
	return &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: keys}
}

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pkix(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// The example keys of RFC 7638 §3.1 and RFC 8037 §A.2.
const (
	rfc7638N = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	rfc8037X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
)

func TestThumbprint(t *testing.T) {
	for want, key := range map[string]struct {
		alg    keyring.Algorithm
		public any
	}{
		"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": {keyring.RS256, &rsa.PublicKey{N: new(big.Int).SetBytes(unb64(t, rfc7638N)), E: 65537}},
		"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k": {keyring.EdDSA, ed25519.PublicKey(unb64(t, rfc8037X))},
	} {
		key, err := keyring.FromKMS("arn:x", key.alg, pkix(t, key.public), start)
		if err != nil || key.ID != want {
			t.Errorf("got %s, %v, want %s", key.ID, err, want)
		}
	}
}

// TestRoundTrip makes each kind of key, writes it down, reads it, signs, and verifies with the private and, by way of the
// published JWKS, with the public document.
func TestRoundTrip(t *testing.T) {
	for alg, key := range generated() {
		if key.Algorithm != alg || key.ID == "" || key.Times != (keyring.Times{Published: start.Unix(), SignsFrom: start.Unix()}) {
			t.Errorf("%s: generated %v with %+v", alg, key, key.Times)
		}
		use := keyring.UseAccess
		if alg == keyring.HS256 {
			use = keyring.UseRefresh
		}
		d, err := keyring.ParseDocument(toJSON(t, document(use, key)), use)
		if err != nil {
			t.Fatal(err)
		}
		source := newSource(t, d)
		signing, err := source.SigningKey(ctx)
		if err != nil || signing.ID != key.ID || signing.Algorithm != alg {
			t.Fatalf("%s: signing key %v, %v", alg, signing, err)
		}
		signature, err := signing.Sign(ctx, []byte("input"))
		if err != nil {
			t.Fatal(err)
		}
		verifies := func(what string, k keyring.VerificationKey, err error) {
			t.Helper()
			if err != nil || k.ID != key.ID || k.Algorithm != alg {
				t.Fatalf("%s %s: %v, %v", alg, what, k, err)
			}
			if err := k.Verify("input", signature); err != nil {
				t.Errorf("%s %s: %v", alg, what, err)
			}
			if k.Verify("inpux", signature) == nil {
				t.Errorf("%s %s: verifies another input", alg, what)
			}
		}
		k, err := source.VerificationKey(ctx, key.ID)
		verifies("private", k, err)
		if alg == keyring.HS256 {
			continue
		}
		public, err := d.Public()
		if err != nil {
			t.Fatal(err)
		}
		if public, err = keyring.ParsePublicDocument(toJSON(t, public)); err != nil {
			t.Fatal(err)
		}
		set, err := keyring.ParseJWKS(toJSON(t, public.JWKS(start)))
		if err != nil {
			t.Fatal(err)
		}
		k, err = set.Key(key.ID)
		verifies("public", k, err)
		if _, err := set.Key("other"); !errors.Is(err, keyring.ErrUnknownKey) {
			t.Errorf("%s: an unknown key gives %v", alg, err)
		}
	}
}

func TestGenerateIsRandom(t *testing.T) {
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.EdDSA, keyring.HS256} {
		key, err := keyring.Generate(alg, start)
		if err != nil || key.ID == generated()[alg].ID {
			t.Errorf("%s: %v, %v", alg, key, err)
		}
		if alg == keyring.HS256 && (len(key.Secret) != 32 || bytes.Equal(key.Secret, generated()[alg].Secret)) {
			t.Errorf("the secret has %d bytes, or is the same as another", len(key.Secret))
		}
	}
	for _, alg := range []keyring.Algorithm{"", "none", "PS256", "es256"} {
		if key, err := keyring.Generate(alg, start); err == nil {
			t.Errorf("made %v", key)
		}
	}
}

func TestStates(t *testing.T) {
	key := func(published, signsFrom, until int64) keyring.PublicKey {
		return keyring.PublicKey{Times: keyring.Times{Published: published, SignsFrom: signsFrom, VerifyUntil: until}}
	}
	ring := []keyring.PublicKey{key(10, 10, 1000), key(100, 100, 1001), key(900, 1000, 0), key(900, 1001, 0), key(2000, 2000, 0)}
	want := []keyring.State{
		keyring.StateRetired, keyring.StateVerifying, keyring.StateSigning, keyring.StatePending, keyring.StatePending,
	}
	if got := keyring.States(ring, time.Unix(1000, 0)); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := keyring.States(ring[3:], time.Unix(1000, 0)); slices.Contains(got, keyring.StateSigning) {
		t.Errorf("%v, and none can sign", got)
	}
}

func TestRefreshKeysAreNotPublished(t *testing.T) {
	for alg, key := range generated() {
		if p, err := document(keyring.UseRefresh, key).Public(); err == nil {
			t.Errorf("%s: published %+v", alg, p)
		}
	}
	if p, err := document(keyring.UseAccess).Public(); !errors.Is(err, keyring.ErrNoKeys) {
		t.Errorf("published %+v, %v", p, err)
	}
}

// privateKey is any PKCS #8 key.
func privateKey(t testing.TB, key any, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func weakRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestParseDocumentRefuses(t *testing.T) {
	es, hs, rs := generated()[keyring.ES256], generated()[keyring.HS256], generated()[keyring.RS256]
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	change := func(k keyring.Key, f func(*keyring.Key)) keyring.Key {
		f(&k)
		return k
	}
	refuses := func(what string, use keyring.Use, data []byte) {
		t.Helper()
		d, err := keyring.ParseDocument(data, use)
		if err == nil || d != nil {
			t.Errorf("%s: got %v, %v", what, d, err)
			return
		}
		for _, private := range [][]byte{es.Private[40:60], hs.Secret} {
			if strings.Contains(err.Error(), base64.StdEncoding.EncodeToString(private)[:16]) || strings.Contains(err.Error(), "HUSH") {
				t.Errorf("%s: a private half shows in %q", what, err)
			}
		}
	}
	good := toJSON(t, document(keyring.UseAccess, es))
	for what, data := range map[string]string{
		"nothing": "", "no JSON": "HUSH", "an array": "[]", "cut short": string(good[:len(good)-1]), "trailing data": string(good) + "{}",
		"no version":      `{"use":"access","keys":[]}`,
		"another version": strings.Replace(string(good), `"version":1`, `"version":2`, 1),
		"a mistyped key":  strings.Replace(string(good), `"private":"`, `"private":"HUSH!`, 1),
	} {
		refuses(what, keyring.UseAccess, []byte(data))
	}
	refuses("another use", keyring.UseRefresh, good)
	for what, keys := range map[string][]keyring.Key{
		"no keys":                {},
		"no id":                  {change(es, func(k *keyring.Key) { k.ID = "" })},
		"two of one id":          {es, change(rs, func(k *keyring.Key) { k.ID = es.ID })},
		"an HMAC key":            {hs},
		"one bad among good":     {rs, es, hs},
		"no algorithm":           {change(es, func(k *keyring.Key) { k.Algorithm = "" })},
		"an unknown algorithm":   {change(es, func(k *keyring.Key) { k.Algorithm = "ES384" })},
		"another algorithm":      {change(es, func(k *keyring.Key) { k.Algorithm = keyring.RS256 })},
		"no private half":        {change(es, func(k *keyring.Key) { k.Private = nil })},
		"a broken private half":  {change(es, func(k *keyring.Key) { k.Private = k.Private[:60] })},
		"a curve of another":     {change(es, func(k *keyring.Key) { k.Private = privateKey(t, p384, err) })},
		"weak RSA":               {change(rs, func(k *keyring.Key) { k.Private = privateKey(t, weakRSA(t), nil) })},
		"KMS with no public":     {change(es, func(k *keyring.Key) { k.Private, k.KMSKey = nil, "arn:x" })},
		"KMS with another's alg": {change(es, func(k *keyring.Key) { k.Private, k.KMSKey, k.Public = nil, "arn:x", pkix(t, weakRSA(t).Public()) })},
	} {
		refuses(what, keyring.UseAccess, toJSON(t, document(keyring.UseAccess, keys...)))
	}
	for what, key := range map[string]keyring.Key{
		"a short secret":          change(hs, func(k *keyring.Key) { k.Secret = k.Secret[:31] }),
		"no secret":               change(hs, func(k *keyring.Key) { k.Secret = nil }),
		"a private half besides":  change(hs, func(k *keyring.Key) { k.Private = es.Private }),
		"KMS besides":             change(hs, func(k *keyring.Key) { k.KMSKey = "arn:x" }),
		"an EC key that says HS*": change(es, func(k *keyring.Key) { k.Algorithm = keyring.HS256 }),
	} {
		refuses(what, keyring.UseRefresh, toJSON(t, document(keyring.UseRefresh, key)))
	}
	if _, err := keyring.ParseDocument(toJSON(t, document(keyring.UseAccess)), keyring.UseAccess); !errors.Is(err, keyring.ErrNoKeys) {
		t.Errorf("an empty ring gives %v, want ErrNoKeys", err)
	}
}

func TestFromKMS(t *testing.T) {
	weak := weakRSA(t)
	for what, der := range map[string][]byte{"nothing": nil, "garbage": []byte("x"), "weak RSA": pkix(t, weak.Public()), "EdDSA": pkix(t, ed25519.PublicKey(unb64(t, rfc8037X)))} {
		if key, err := keyring.FromKMS("arn:x", keyring.RS256, der, start); err == nil {
			t.Errorf("%s: got %v", what, key)
		}
	}
}

// TestPrivateHalvesStayPrivate prints everything that holds a key in every way.
func TestPrivateHalvesStayPrivate(t *testing.T) {
	secret := []byte(strings.Repeat("HUSH", 8))
	hs := generated()[keyring.HS256]
	hs.Secret = secret
	ed := generated()[keyring.EdDSA]
	ed.Private = privateKey(t, ed25519.NewKeyFromSeed(secret), nil)
	for _, key := range []keyring.Key{hs, ed} {
		d := document(keyring.UseRefresh, key)
		source := newSource(t, d)
		signing, err := source.SigningKey(ctx)
		if err != nil {
			t.Fatal(err)
		}
		verification, err := source.VerificationKey(ctx, key.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{
			key, &key, *d, d, []keyring.Key{key}, d.Keys, map[string]keyring.Key{"k": key}, struct{ K keyring.Key }{key}, struct{ D *keyring.Document }{d},
			signing, &signing, signing.Signer, verification, &verification, struct{ V any }{signing}, struct{ V any }{verification}, source,
		} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
				public(t, fmt.Sprintf("%T by "+verb, v), fmt.Sprintf(verb, v))
			}
		}
		for _, v := range []any{key, &key, d, *d, signing, verification} {
			for _, handler := range []func(*bytes.Buffer) slog.Handler{
				func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
				func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			} {
				var log bytes.Buffer
				slog.New(handler(&log)).Info("x", "v", v)
				public(t, fmt.Sprintf("%T in a log", v), log.String())
			}
		}
	}
	p, err := document(keyring.UseAccess, ed).Public()
	if err != nil {
		t.Fatal(err)
	}
	public(t, "the public document", string(toJSON(t, p)))
}

// public fails the test if the text shows HUSHHUSH in some form.
func public(t *testing.T, what, text string) {
	t.Helper()
	for _, form := range []string{
		"HUSHHUSH", "72 85 83 72", "72,85,83,72", "0x48, 0x55, 0x53", "4855534848555348",
		"SFVTSEhVU0hIVVNI", "hVU0hIVVNISFVT", "VVNISFVTSEhVU0",
	} {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the private half: %.200s", what, text)
		}
	}
}

func TestParsePublicDocument(t *testing.T) {
	d, err := document(keyring.UseAccess, generated()[keyring.ES256]).Public()
	if err != nil {
		t.Fatal(err)
	}
	good := string(toJSON(t, d))
	if got, err := keyring.ParsePublicDocument([]byte(good)); err != nil || !slices.Equal(got.Keys, d.Keys) {
		t.Errorf("got %+v, %v", got, err)
	}
	for what, data := range map[string]string{
		"nothing": "", "no version": `{}`, "another version": strings.Replace(good, `"version":1`, `"version":2`, 1), "no keys": `{"version":1,"keys":[]}`,
		"a broken key": strings.Replace(good, `"x":"`, `"x":"AA`, 1), "a key of an unknown kind": strings.Replace(good, `"P-256"`, `"P-384"`, 1),
	} {
		if got, err := keyring.ParsePublicDocument([]byte(data)); err == nil {
			t.Errorf("%s: got %+v", what, got)
		}
	}
}

// jwk is the published form of a generated key, with members replaced, or left out where empty.
func jwk(t testing.TB, alg keyring.Algorithm, edits ...string) string {
	t.Helper()
	d, err := document(keyring.UseAccess, generated()[alg]).Public()
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]any{}
	if err := json.Unmarshal(toJSON(t, d.Keys[0].JWK), &members); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(edits); i += 2 {
		members[edits[i]] = edits[i+1]
		if edits[i+1] == "" {
			delete(members, edits[i])
		}
	}
	return string(toJSON(t, members))
}

func jwks(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) }

func TestParseJWKS(t *testing.T) {
	has := func(what string, set []byte, algs ...keyring.Algorithm) {
		t.Helper()
		s, err := keyring.ParseJWKS(set)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		for _, alg := range asymmetric {
			k, err := s.Key(generated()[alg].ID)
			if want := slices.Contains(algs, alg); (err == nil) != want || want && k.Algorithm != alg {
				t.Errorf("%s: %s is %v, %v; want it there: %v", what, alg, k, err, want)
			}
		}
	}
	es, rs, ed := jwk(t, keyring.ES256), jwk(t, keyring.RS256), jwk(t, keyring.EdDSA)
	has("one", jwks(es), keyring.ES256)
	has("three", jwks(es, rs, ed), asymmetric...)
	has("no alg, no use", jwks(jwk(t, keyring.ES256, "alg", "", "use", "")), keyring.ES256)
	has("unknown members", []byte(`{"x":[1],"keys":[`+jwk(t, keyring.ES256, "x5t", "x", "key_ops", "verify")+`],"y":{}}`), keyring.ES256)
	for what, other := range map[string]string{
		"for encryption": jwk(t, keyring.RS256, "use", "enc"), "without an id": jwk(t, keyring.RS256, "kid", ""), "for PS256": jwk(t, keyring.RS256, "alg", "PS256"),
		"for RS512": jwk(t, keyring.RS256, "alg", "RS512"), "of another curve": jwk(t, keyring.RS256, "kty", "EC", "crv", "P-384"),
		"of a kind to come": jwk(t, keyring.RS256, "kty", "AKP"), "of X25519": jwk(t, keyring.RS256, "kty", "OKP", "crv", "X25519"),
		"of no kind": jwk(t, keyring.RS256, "kty", ""), "of secp256k1": jwk(t, keyring.RS256, "kty", "EC", "crv", "secp256k1"),
		"that says HS256": jwk(t, keyring.RS256, "alg", "HS256"), "that says none": jwk(t, keyring.RS256, "alg", "none"),
	} {
		has("passes over a key "+what, jwks(other, es), keyring.ES256)
		if _, err := keyring.ParseJWKS(jwks(other)); err == nil {
			t.Errorf("a set of a key %s alone: accepted", what)
		}
	}
}

func TestParseJWKSRefuses(t *testing.T) {
	es, rs, ed := jwk(t, keyring.ES256), jwk(t, keyring.RS256), jwk(t, keyring.EdDSA)
	many := slices.Repeat([]string{jwk(t, keyring.RS256, "kid", "")}, keyring.MaxJWKSKeys)
	weak := b64(weakRSA(t).N.Bytes())
	sets := map[string]string{
		"nothing": ``, "no keys": `{}`, "an empty list": `{"keys":[]}`, "null": `{"keys":null}`, "an array": string(jwks(es))[8:], "trailing data": string(jwks(es)) + `{}`,
		"two lists": `{"keys":[` + es + `],"keys":[` + rs + `]}`, "a mistyped key": `{"keys":[1]}`,
		"two of one id":   string(jwks(es, jwk(t, keyring.RS256, "kid", generated()[keyring.ES256].ID))),
		"the same twice":  string(jwks(es, es)),
		"too many":        string(jwks(append(many, es)...)),
		"too large":       string(jwks(es)) + strings.Repeat(" ", keyring.MaxJWKS),
		"a duplicate":     strings.Replace(string(jwks(es)), `"kty":`, `"kty":"oct","kty":`, 1),
		"a symmetric key": string(jwks(es, `{"kty":"oct","kid":"x","k":"AAAA"}`)), "a symmetric key without k": string(jwks(es, `{"kty":"oct","kid":"x"}`)),
		"weak RSA": string(jwks(jwk(t, keyring.RS256, "n", weak))), "weak RSA among others": string(jwks(es, jwk(t, keyring.RS256, "n", weak))),
		"huge RSA":   string(jwks(jwk(t, keyring.RS256, "n", b64(bytes.Repeat([]byte{0xff}, 513))))),
		"exponent 1": string(jwks(jwk(t, keyring.RS256, "e", "AQ"))), "an even exponent": string(jwks(jwk(t, keyring.RS256, "e", "AQAA"))),
		"no exponent": string(jwks(jwk(t, keyring.RS256, "e", ""))), "a huge exponent": string(jwks(jwk(t, keyring.RS256, "e", "AQAAAAE"))),
		"no modulus": string(jwks(jwk(t, keyring.RS256, "n", ""))), "a padded modulus": string(jwks(jwk(t, keyring.RS256, "n", rfc7638N+"=="))),
		"a line break":  string(jwks(jwk(t, keyring.RS256, "n", rfc7638N[:9]+"\n"+rfc7638N[9:]))),
		"off the curve": string(jwks(jwk(t, keyring.ES256, "x", b64(make([]byte, 32)), "y", b64(make([]byte, 32))))),
		"no x":          string(jwks(jwk(t, keyring.ES256, "x", ""))), "no y": string(jwks(jwk(t, keyring.ES256, "y", ""))),
		"a short x": string(jwks(jwk(t, keyring.ES256, "x", b64(make([]byte, 31))))), "a long y": string(jwks(jwk(t, keyring.ES256, "y", b64(make([]byte, 33))))),
		"a short Ed25519 key": string(jwks(jwk(t, keyring.EdDSA, "x", b64(make([]byte, 31))))), "no Ed25519 key": string(jwks(jwk(t, keyring.EdDSA, "x", ""))),
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		sets["a private member, "+private] = string(jwks(es, jwk(t, keyring.RS256, private, "AQAB")))
		sets["a private member of a key not ours, "+private] = string(jwks(ed, jwk(t, keyring.RS256, private, "AQAB", "use", "enc", "kid", "")))
	}
	for what, set := range sets {
		if s, err := keyring.ParseJWKS([]byte(set)); err == nil || s != nil {
			t.Errorf("%s: got %v, %v", what, s, err)
		}
	}
}
