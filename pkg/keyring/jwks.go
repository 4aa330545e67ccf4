package keyring

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/latchkey-auth/latchkey/internal/strictjson"
)

// JWK is a public key as JSON (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
type JWK struct {
	KeyType   string    `json:"kty"`
	Curve     string    `json:"crv,omitempty"`
	X         string    `json:"x,omitempty"`
	Y         string    `json:"y,omitempty"`
	N         string    `json:"n,omitempty"`
	E         string    `json:"e,omitempty"`
	Use       string    `json:"use,omitempty"`
	Algorithm Algorithm `json:"alg,omitempty"`
	ID        string    `json:"kid,omitempty"`
}

// JWKS is a set of them (RFC 7517 §5).
type JWKS struct {
	Keys []JWK `json:"keys"`
}

// publicJWK describes a public key.
func publicJWK(id string, alg Algorithm, public crypto.PublicKey) (JWK, error) {
	j := JWK{ID: id, Use: "sig", Algorithm: alg}
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 0x04 ‖ X ‖ Y
		if err != nil {
			return JWK{}, err
		}
		half := (len(point) - 1) / 2
		j.KeyType, j.Curve, j.X, j.Y = "EC", "P-256", b64(point[1:1+half]), b64(point[1+half:])
	case *rsa.PublicKey:
		j.KeyType, j.N, j.E = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case ed25519.PublicKey:
		j.KeyType, j.Curve, j.X = "OKP", "Ed25519", b64(k)
	default:
		return JWK{}, fmt.Errorf("a %T has no public JWK", public)
	}
	return j, nil
}

// thumbprint is the key id of asymmetric keys (RFC 7638): the same key has the same id wherever it is described.
func thumbprint(public crypto.PublicKey) (string, error) {
	j, err := publicJWK("", "", public)
	if err != nil {
		return "", err
	}
	// The required members alone, in the order of their names, without white space (RFC 7638 §3.2).
	var form string
	switch j.KeyType {
	case "EC":
		form = fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, j.Curve, j.X, j.Y)
	case "RSA":
		form = fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, j.E, j.N)
	case "OKP":
		form = fmt.Sprintf(`{"crv":%q,"kty":"OKP","x":%q}`, j.Curve, j.X)
	}
	sum := sha256.Sum256([]byte(form))
	return b64(sum[:]), nil
}

// KeySet is a parsed JWKS, ready to verify. It is never changed.
type KeySet struct {
	keys map[string]VerificationKey
}

// MaxJWKS is the largest JWKS read, in bytes; MaxJWKSKeys the most keys in it.
const (
	MaxJWKS     = 64 << 10
	MaxJWKSKeys = 32
)

// ParseJWKS reads a JWKS. Keys that are not for us (another use, another kind, no id) are left out, as RFC 7517 §5 asks;
// a set with two keys of one id, with a private or symmetric key in it, or without any key for us is an error.
func ParseJWKS(data []byte) (*KeySet, error) {
	if len(data) > MaxJWKS {
		return nil, fmt.Errorf("the JWKS is larger than %d bytes", MaxJWKS)
	}
	set := &KeySet{keys: map[string]VerificationKey{}}
	err := strictjson.Object(data, func(d *strictjson.Decoder, name []byte) error {
		if string(name) != "keys" {
			return d.Skip()
		}
		count := 0
		return d.Array(func(d *strictjson.Decoder) error {
			if count++; count > MaxJWKSKeys {
				return fmt.Errorf("the JWKS has more than %d keys", MaxJWKSKeys)
			}
			return set.read(d)
		})
	})
	if err != nil {
		return nil, err
	}
	if len(set.keys) == 0 {
		return nil, errors.New("the JWKS holds no key that verifies ES256, RS256 or EdDSA")
	}
	return set, nil
}

// read adds the JWK at this place.
func (s *KeySet) read(d *strictjson.Decoder) error {
	j, err := ReadJWK(d)
	if errors.Is(err, ErrPrivateJWK) {
		return errors.New("the JWKS holds a private or symmetric key: it is compromised")
	} else if err != nil {
		return err
	}
	if j.ID == "" || (j.Use != "" && j.Use != "sig") {
		return nil
	}
	if _, twice := s.keys[j.ID]; twice {
		return errors.New("the JWKS has two keys of one id")
	}
	key, known, err := j.verificationKey()
	if err != nil {
		return fmt.Errorf("a key of the JWKS is broken: %w", err)
	}
	if known {
		s.keys[j.ID] = key
	}
	return nil
}

// ErrPrivateJWK says that a JWK which should be public holds a private or symmetric key.
var ErrPrivateJWK = errors.New("a private or symmetric key")

// ReadJWK reads the JWK at this place of a document; ErrPrivateJWK if it is not a public one.
func ReadJWK(d *strictjson.Decoder) (JWK, error) {
	var j JWK
	var private bool
	err := d.Object(func(d *strictjson.Decoder, name []byte) (err error) {
		switch string(name) {
		case "kty":
			j.KeyType, err = d.String()
		case "crv":
			j.Curve, err = d.String()
		case "x":
			j.X, err = d.String()
		case "y":
			j.Y, err = d.String()
		case "n":
			j.N, err = d.String()
		case "e":
			j.E, err = d.String()
		case "use":
			j.Use, err = d.String()
		case "kid":
			j.ID, err = d.String()
		case "alg":
			var alg string
			alg, err = d.String()
			j.Algorithm = Algorithm(alg)
		case "d", "k", "p", "q", "dp", "dq", "qi", "oth": // RFC 7518 §6.2.2, §6.3.2, §6.4.1
			private = true
			err = d.Skip()
		default:
			err = d.Skip()
		}
		return err
	})
	if err == nil && (private || j.KeyType == "oct") {
		err = ErrPrivateJWK
	}
	return j, err
}

// VerificationKey returns the key of a JWK of a kind that we know, ready to verify.
func (j JWK) VerificationKey() (VerificationKey, error) {
	key, known, err := j.verificationKey()
	if err == nil && !known {
		err = errors.New("a key of a kind that verifies neither ES256, RS256 nor EdDSA")
	}
	return key, err
}

// Thumbprint is the hash by which an asymmetric key is told wherever it is described (RFC 7638).
func (k VerificationKey) Thumbprint() (string, error) { return thumbprint(k.key) }

// verificationKey parses the public half; known is false for kinds of keys that are none of ours.
func (j JWK) verificationKey() (key VerificationKey, known bool, err error) {
	key = VerificationKey{ID: j.ID}
	var public crypto.PublicKey
	switch {
	case j.KeyType == "EC" && j.Curve == "P-256":
		key.Algorithm = ES256
		x, errX := unb64(j.X)
		y, errY := unb64(j.Y)
		if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
			return key, true, errors.New("the coordinates are malformed (RFC 7518 section 6.2.1)")
		}
		point := append(append([]byte{4}, x...), y...)
		if public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
			return key, true, errors.New("the point is not on the curve")
		}
	case j.KeyType == "RSA":
		key.Algorithm = RS256
		n, errN := unb64(j.N)
		e, errE := unb64(j.E)
		if errN != nil || errE != nil || len(e) == 0 || len(e) > 4 {
			return key, true, errors.New("the modulus or the exponent is malformed (RFC 7518 section 6.3.1)")
		}
		public = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	case j.KeyType == "OKP" && j.Curve == "Ed25519":
		key.Algorithm = EdDSA
		x, errX := unb64(j.X)
		if errX != nil || len(x) != ed25519.PublicKeySize {
			return key, true, errors.New("the public key is malformed (RFC 8037 section 2)")
		}
		public = ed25519.PublicKey(x)
	default:
		return key, false, nil
	}
	if j.Algorithm != "" && j.Algorithm != key.Algorithm {
		return key, false, nil // an RSA key for PS256, say
	}
	key.key = public
	return key, true, checkPublic(key.Algorithm, public)
}

// Key returns the key of that id, else ErrUnknownKey.
func (s *KeySet) Key(kid string) (VerificationKey, error) {
	if k, ok := s.keys[kid]; ok {
		return k, nil
	}
	return VerificationKey{}, ErrUnknownKey
}

// PublicKey is the published half of an access key with its times.
type PublicKey struct {
	Times
	JWK JWK `json:"jwk"`
}

// PublicDocument is what discovery serves from: one document, derived from the private halves.
type PublicDocument struct {
	Version int         `json:"version"` // DocumentVersion
	Keys    []PublicKey `json:"keys"`
}

// Public derives the public document of an access ring.
func (d *Document) Public() (*PublicDocument, error) {
	if d.Use != UseAccess {
		return nil, errors.New("refresh keys are never published")
	}
	r, err := d.ring(nil)
	if err != nil {
		return nil, err
	}
	p := &PublicDocument{Version: DocumentVersion}
	for _, k := range r.keys {
		jwk, err := publicJWK(k.verification.ID, k.verification.Algorithm, k.verification.key)
		if err != nil {
			return nil, err
		}
		p.Keys = append(p.Keys, PublicKey{Times: k.Times, JWK: jwk})
	}
	return p, nil
}

// ParsePublicDocument reads a stored PublicDocument.
func ParsePublicDocument(data []byte) (*PublicDocument, error) {
	var p PublicDocument
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("the public-keys document: %w", err)
	}
	if p.Version != DocumentVersion {
		return nil, fmt.Errorf("the public-keys document has version %d, this release reads %d", p.Version, DocumentVersion)
	}
	if len(p.Keys) == 0 {
		return nil, errors.New("the public-keys document holds no key")
	}
	for _, k := range p.Keys {
		if _, known, err := k.JWK.verificationKey(); err != nil || !known {
			return nil, fmt.Errorf("the public-keys document: key %q does not verify anything", k.JWK.ID)
		}
	}
	return &p, nil
}

// JWKS returns what is published at that time.
func (p *PublicDocument) JWKS(now time.Time) JWKS {
	set := JWKS{Keys: []JWK{}}
	for _, k := range p.Keys {
		if k.published(now) && k.verifies(now) {
			set.Keys = append(set.Keys, k.JWK)
		}
	}
	return set
}
