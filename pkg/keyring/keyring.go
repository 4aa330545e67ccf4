// Package keyring is the life of signing keys: what a key is, when it signs, how long it verifies, how the private and
// the public halves are written down, and how a function keeps an up-to-date copy in memory.
//
// There are two rings. Access keys are asymmetric; their public halves are published as a JWKS. Refresh keys are never
// published: only the issuer verifies what they sign, so they are HMAC keys by default, and holding one is signing.
//
// A key's state follows from its times and the clock and is never stored:
//
//	published ≤ now                        it is in the JWKS
//	signs_from ≤ now, the latest of those  it signs
//	now < verify_until (or none is set)    what it signed is accepted
package keyring

import (
	"context"
	"crypto"
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
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-auth/latchkey/internal/members"
)

// Algorithm is a JWS algorithm (RFC 7518 §3.1, RFC 8037 §3.1). A key has one, and the key's is the one used.
type Algorithm string

// The algorithms that keys may have.
const (
	ES256 Algorithm = "ES256"
	RS256 Algorithm = "RS256"
	EdDSA Algorithm = "EdDSA"
	HS256 Algorithm = "HS256" // refresh keys only
)

// Use is what a ring's keys sign.
type Use string

// The two rings.
const (
	UseAccess  Use = "access"
	UseRefresh Use = "refresh"
)

var (
	// ErrNoKeys says that a place for keys holds none yet.
	ErrNoKeys = errors.New("no signing keys yet: make the first ones with `latchkey keys init`, or deploy the rotate function")
	// ErrUnknownKey says that no key of that id verifies now. It is a fact about the token, not an outage.
	ErrUnknownKey = errors.New("unknown key id")
)

// Times is when a key does what, in seconds since 1970. Zero VerifyUntil means that no end is set.
type Times struct {
	Published   int64 `json:"published"`
	SignsFrom   int64 `json:"signs_from"`
	VerifyUntil int64 `json:"verify_until,omitempty"`
}

func (t Times) published(now time.Time) bool { return t.Published <= now.Unix() }
func (t Times) signs(now time.Time) bool     { return t.SignsFrom <= now.Unix() && t.verifies(now) }
func (t Times) verifies(now time.Time) bool  { return t.VerifyUntil == 0 || now.Unix() < t.VerifyUntil }
func (t Times) when() Times                  { return t }

// State is what a key does at a time.
type State string

// The states, in the order of a key's life.
const (
	StatePending   State = "pending"   // it is to sign later
	StateSigning   State = "signing"   // it is the one that signs
	StateVerifying State = "verifying" // what it signed is accepted
	StateRetired   State = "retired"   // it is of no use any more
)

// Timed is a Key, a PublicKey, or what embeds Times otherwise.
type Timed interface{ when() Times }

// States says what each of a ring's keys does at that time.
func States[K Timed](ring []K, now time.Time) []State {
	states := make([]State, len(ring))
	for i := range ring {
		t := ring[i].when()
		switch {
		case !t.verifies(now):
			states[i] = StateRetired
		case !t.signs(now):
			states[i] = StatePending
		default:
			states[i] = StateVerifying
		}
	}
	if i := signing(ring, now); i >= 0 {
		states[i] = StateSigning
	}
	return states
}

// signing returns the index of the key that signs at that time, the one that began last; -1 if none does.
func signing[K Timed](ring []K, now time.Time) int {
	best := -1
	for i := range ring {
		if t := ring[i].when(); t.signs(now) && (best < 0 || t.SignsFrom > ring[best].when().SignsFrom) {
			best = i
		}
	}
	return best
}

// Key is a private key as it is stored. Exactly one of Private, Secret and KMSKey is set.
type Key struct {
	ID        string    `json:"kid"`
	Algorithm Algorithm `json:"alg"`
	Times
	Private []byte `json:"private,omitempty"` // PKCS #8, DER
	Secret  []byte `json:"secret,omitempty"`  // an HMAC key
	KMSKey  string `json:"kms_key,omitempty"` // id or ARN: the private half never leaves KMS
	Public  []byte `json:"public,omitempty"`  // SubjectPublicKeyInfo, DER; with KMSKey only

	// Later are members that a newer release wrote and this one does not know. They are kept as they are.
	Later members.Later `json:"-"`
}

type plainKey Key

// MarshalJSON writes Later with the rest.
func (k Key) MarshalJSON() ([]byte, error) { return members.Marshal(plainKey(k), k.Later) }

// UnmarshalJSON reads into Later what this release does not know.
func (k *Key) UnmarshalJSON(data []byte) (err error) {
	k.Later, err = members.Unmarshal(data, (*plainKey)(k))
	return err
}

// String keeps private halves out of logs and error texts.
func (k Key) String() string { return fmt.Sprintf("key %s (%s)", k.ID, k.Algorithm) }

// GoString keeps private halves out of %#v.
func (k Key) GoString() string { return k.String() }

// LogValue keeps private halves out of structured logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Document is a ring with its private halves, as it is kept in a secret or a file.
type Document struct {
	Version int   `json:"version"` // DocumentVersion
	Use     Use   `json:"use"`
	Keys    []Key `json:"keys"`
	// Replaces is set in a document that waits to be taken into use: the revision of the one that it was made from.
	Replaces string `json:"replaces,omitempty"`

	// Later is as a Key's. The documents that follow this one have it too.
	Later members.Later `json:"-"`
}

type plainDocument Document

// MarshalJSON writes Later with the rest.
func (d Document) MarshalJSON() ([]byte, error) { return members.Marshal(plainDocument(d), d.Later) }

// UnmarshalJSON reads into Later what this release does not know.
func (d *Document) UnmarshalJSON(data []byte) (err error) {
	d.Later, err = members.Unmarshal(data, (*plainDocument)(d))
	return err
}

// DocumentVersion is the version that this release writes.
const DocumentVersion = 1

// String keeps private halves out of logs and error texts.
func (d Document) String() string { return fmt.Sprintf("%d %s keys", len(d.Keys), d.Use) }

// GoString keeps private halves out of %#v.
func (d Document) GoString() string { return d.String() }

// LogValue keeps private halves out of structured logs.
func (d Document) LogValue() slog.Value { return slog.StringValue(d.String()) }

// ParseDocument reads a stored Document and checks each key of it. Errors show nothing of the content.
func ParseDocument(data []byte, use Use) (*Document, error) {
	var d Document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, errors.New("the key document is not valid JSON of the expected shape")
	}
	if d.Version != DocumentVersion {
		return nil, fmt.Errorf("the key document has version %d, this release reads %d", d.Version, DocumentVersion)
	}
	if d.Use != use {
		return nil, fmt.Errorf("the key document is for %q keys, not for %q", d.Use, use)
	}
	if _, err := d.ring(nil); err != nil {
		return nil, err
	}
	return &d, nil
}

// Generate makes a new key that is published and signs from the given time on.
func Generate(alg Algorithm, from time.Time) (Key, error) {
	k := Key{Algorithm: alg, Times: Times{Published: from.Unix(), SignsFrom: from.Unix()}}
	var private crypto.Signer
	var err error
	switch alg {
	case HS256:
		k.Secret = make([]byte, 32)
		rand.Read(k.Secret)
		k.ID = rand.Text()
		return k, nil
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return Key{}, fmt.Errorf("unknown algorithm %q", alg)
	}
	if err != nil {
		return Key{}, err
	}
	if k.Private, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return Key{}, err
	}
	k.ID, err = thumbprint(private.Public())
	return k, err
}

// FromKMS describes a key whose private half is in KMS. public is its SubjectPublicKeyInfo, as kms:GetPublicKey gives it.
func FromKMS(kmsKey string, alg Algorithm, public []byte, from time.Time) (Key, error) {
	parsed, err := parsePublic(alg, public)
	if err != nil {
		return Key{}, err
	}
	k := Key{Algorithm: alg, Times: Times{Published: from.Unix(), SignsFrom: from.Unix()}, KMSKey: kmsKey, Public: public}
	k.ID, err = thumbprint(parsed)
	return k, err
}

// Signer makes a JWS signature over a signing input (RFC 7515 §5.1): R‖S for ECDSA. The input is its caller's again when Sign
// returns.
type Signer interface {
	Sign(ctx context.Context, signingInput []byte) ([]byte, error)
}

// SigningKey is a key ready to sign.
type SigningKey struct {
	ID        string
	Algorithm Algorithm
	Remote    bool // a signature is a call over the network
	Signer
}

// String keeps private halves out of logs and error texts.
func (k SigningKey) String() string { return fmt.Sprintf("key %s (%s)", k.ID, k.Algorithm) }

// GoString keeps private halves out of %#v.
func (k SigningKey) GoString() string { return k.String() }

// VerificationKey is a key ready to verify.
type VerificationKey struct {
	ID        string
	Algorithm Algorithm
	key       any // *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey or *hmacKey
}

// String keeps HMAC keys out of logs and error texts.
func (k VerificationKey) String() string { return fmt.Sprintf("key %s (%s)", k.ID, k.Algorithm) }

// GoString keeps HMAC keys out of %#v.
func (k VerificationKey) GoString() string { return k.String() }

// Verify checks a signature over a signing input by the key's own algorithm.
func (k VerificationKey) Verify(signingInput string, signature []byte) error {
	return k.Algorithm.method().Verify(signingInput, signature, k.key)
}

// Same reports whether both are one key, as it was read once: it may be false for one that was read twice.
func (k VerificationKey) Same(other VerificationKey) bool {
	if k.ID != other.ID || k.Algorithm != other.Algorithm {
		return false
	}
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		return key == other.key
	case *rsa.PublicKey:
		return key == other.key
	case ed25519.PublicKey:
		return key.Equal(other.key)
	}
	return false // an HMAC key
}

// localSigner signs in memory.
type localSigner struct {
	method jwt.SigningMethod
	key    any
}

// String keeps the key out of logs and error texts.
func (s localSigner) String() string { return "a key in memory" }

// GoString keeps the key out of %#v.
func (s localSigner) GoString() string { return s.String() }

func (s localSigner) Sign(_ context.Context, signingInput []byte) ([]byte, error) {
	if m, ok := s.method.(bytesSigner); ok {
		return m.signBytes(signingInput, s.key)
	}
	return s.method.Sign(string(signingInput), s.key)
}

// signerMaker makes the Signer of a key whose private half is in KMS.
type signerMaker func(k Key) (Signer, error)

// ring is a Document with its keys parsed. It is never changed.
type ring struct{ keys []ringKey }

type ringKey struct {
	Times
	signing      SigningKey
	verification VerificationKey
}

// ring parses the document's keys. kms may be nil, where no key is to sign or none is in KMS.
func (d *Document) ring(kms signerMaker) (*ring, error) {
	if len(d.Keys) == 0 {
		return nil, ErrNoKeys
	}
	r := &ring{}
	ids := map[string]bool{}
	for _, k := range d.Keys {
		if k.ID == "" || ids[k.ID] {
			return nil, errors.New("the key document has a key without an id, or two of one id")
		}
		ids[k.ID] = true
		rk, err := k.parse(d.Use, kms)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", k, err)
		}
		r.keys = append(r.keys, rk)
	}
	return r, nil
}

func (k Key) parse(use Use, kms signerMaker) (ringKey, error) {
	rk := ringKey{
		Times:        k.Times,
		signing:      SigningKey{ID: k.ID, Algorithm: k.Algorithm},
		verification: VerificationKey{ID: k.ID, Algorithm: k.Algorithm},
	}
	method := k.Algorithm.method()
	switch {
	case method == nil:
		return rk, errors.New("unknown algorithm")
	case k.SignsFrom < k.Published || k.VerifyUntil != 0 && k.VerifyUntil < k.SignsFrom:
		return rk, errors.New("its times are out of order: published, signs_from, verify_until")
	case k.Algorithm == HS256 && use == UseAccess:
		return rk, errors.New("an access key can't be an HMAC key: whoever verifies could sign")
	case k.Algorithm == HS256:
		if len(k.Secret) < 32 || k.Private != nil || k.KMSKey != "" {
			return rk, errors.New("an HMAC key needs a secret of at least 32 bytes (RFC 7518 section 3.2) and nothing else")
		}
		secret := newHMACKey(k.Secret)
		rk.signing.Signer = localSigner{method, secret}
		rk.verification.key = secret
	case k.KMSKey != "":
		public, err := parsePublic(k.Algorithm, k.Public)
		if err != nil {
			return rk, err
		}
		rk.verification.key = public
		if kms == nil {
			return rk, nil
		}
		rk.signing.Remote = true
		rk.signing.Signer, err = kms(k)
		return rk, err
	default:
		private, err := parsePrivate(k.Algorithm, k.Private)
		if err != nil {
			return rk, err
		}
		rk.signing.Signer = localSigner{method, private}
		rk.verification.key = private.Public()
	}
	return rk, nil
}

// signer returns the key that signs now.
func (r *ring) signer(now time.Time) (SigningKey, error) {
	i := signing(r.keys, now)
	if i < 0 {
		return SigningKey{}, errors.New("none of the keys signs now")
	}
	k := r.keys[i].signing
	if k.Signer == nil {
		return SigningKey{}, fmt.Errorf("key %s is in KMS, which this process is not set up to use", k.ID)
	}
	return k, nil
}

// verifier returns the key of that id if it verifies now, else ErrUnknownKey.
func (r *ring) verifier(kid string, now time.Time) (VerificationKey, error) {
	for i := range r.keys {
		if k := &r.keys[i]; k.verification.ID == kid && k.verifies(now) {
			return k.verification, nil
		}
	}
	return VerificationKey{}, ErrUnknownKey
}

func parsePrivate(alg Algorithm, der []byte) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the private half is not PKCS #8") // the parser's text could show key bytes
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private half is of an unknown kind")
	}
	return private, checkPublic(alg, private.Public())
}

func parsePublic(alg Algorithm, der []byte) (crypto.PublicKey, error) {
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("the public half is not SubjectPublicKeyInfo")
	}
	return public, checkPublic(alg, public)
}

// checkPublic refuses keys that are of another kind than the algorithm, or too weak for it (RFC 7518 §3.3, §3.4).
func checkPublic(alg Algorithm, public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if alg == ES256 && k.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PublicKey:
		if alg == RS256 && k.N.BitLen() >= 2048 && k.N.BitLen() <= 4096 && k.E >= 3 && k.E&1 == 1 {
			return nil
		}
	case ed25519.PublicKey:
		if alg == EdDSA {
			return nil
		}
	}
	return fmt.Errorf("the key does not suit %s", alg)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which the decoder would pass over
		return nil, errors.New("not base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
