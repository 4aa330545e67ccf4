// Package dpoptest makes DPoP proofs for tests, good and bad ones, by code that shares nothing with the verifier.
package dpoptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// Object is a JSON object.
type Object = map[string]any

// Key is a client's.
type Key struct {
	Private crypto.Signer
	Alg     string // that proofs are signed by

	t testing.TB
}

// New makes a key for ES256, ES384, EdDSA or RS256.
func New(t testing.TB, alg string) *Key {
	t.Helper()
	k := &Key{Alg: alg, t: t}
	var err error
	switch alg {
	case "ES256":
		k.Private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		k.Private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, k.Private, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		k.Private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		t.Fatalf("no key for %s", alg)
	}
	k.check(err)
	return k
}

func (k *Key) check(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

// JWK is the public half.
func (k *Key) JWK() Object { return k.jwk(k.Private.Public()) }

// PrivateJWK is the private one, which no proof may hold.
func (k *Key) PrivateJWK() Object { return k.jwk(k.Private) }

func (k *Key) jwk(key any) Object {
	k.t.Helper()
	data, err := (&jose.JSONWebKey{Key: key}).MarshalJSON()
	k.check(err)
	var o Object
	k.check(json.Unmarshal(data, &o))
	return o
}

// Thumbprint is RFC 7638's.
func (k *Key) Thumbprint() string {
	k.t.Helper()
	sum, err := (&jose.JSONWebKey{Key: k.Private.Public()}).Thumbprint(crypto.SHA256)
	k.check(err)
	return base64.RawURLEncoding.EncodeToString(sum)
}

// Header is a good proof's.
func (k *Key) Header() Object { return Object{"typ": "dpop+jwt", "alg": k.Alg, "jwk": k.JWK()} }

// Claims are a good proof's.
func Claims(method, url string, at time.Time) Object {
	return Object{"jti": rand.Text(), "htm": method, "htu": url, "iat": at.Unix()}
}

// Proof makes a good one, with more claims perhaps.
func (k *Key) Proof(method, url string, at time.Time, more ...Object) string {
	k.t.Helper()
	claims := Claims(method, url, at)
	for _, m := range more {
		maps.Copy(claims, m)
	}
	return k.Sign(k.Header(), claims)
}

// For is the claims by which a proof is for an access token.
func For(accessToken string) Object {
	sum := sha256.Sum256([]byte(accessToken))
	return Object{"ath": base64.RawURLEncoding.EncodeToString(sum[:])}
}

// Sign signs whatever it is given by the key's algorithm; see SignRaw.
func (k *Key) Sign(header, claims Object) string {
	k.t.Helper()
	h, err := json.Marshal(header)
	k.check(err)
	c, err := json.Marshal(claims)
	k.check(err)
	return k.SignRaw(string(h), string(c))
}

// SignRaw signs any two texts as a JWS.
func (k *Key) SignRaw(header, claims string) string {
	k.t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(header)) + "." + b64([]byte(claims))
	method := jwt.GetSigningMethod(k.Alg)
	signature, err := method.Sign(input, k.Private)
	k.check(err)
	return input + "." + b64(signature)
}
