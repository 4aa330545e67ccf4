package keyring

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"hash"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// method returns the implementation, nil for an algorithm that keys may not have. Ours are golang-jwt's in what they take and
// make, but add next to nothing to the primitive: golang-jwt's go through math/big and a hash on the heap.
func (a Algorithm) method() jwt.SigningMethod {
	switch a {
	case ES256:
		return es256{}
	case RS256:
		return rs256{}
	case EdDSA:
		return jwt.SigningMethodEdDSA
	case HS256:
		return hs256{}
	}
	return nil
}

var (
	errSignature = errors.New("the signature does not verify")
	errKeyType   = errors.New("the key is not of its algorithm's type")
)

// sum hashes a signing input. Most fit into the room, and nothing is allocated.
func sum(input string) [sha256.Size]byte {
	var room [1024]byte
	return sha256.Sum256(append(room[:0], input...))
}

// bytesSigner is a method that signs an input of bytes without copying it.
type bytesSigner interface {
	signBytes(signingInput []byte, key any) ([]byte, error)
}

// es256 is ECDSA over P-256 with SHA-256 (RFC 7518 §3.4). A signature is R‖S, 32 bytes each; the standard library's is DER.
type es256 struct{}

const half = 32

func (es256) Alg() string { return string(ES256) }

// Verify wants an *ecdsa.PublicKey. That R and S are from 1 to n-1 is seen to by the primitive.
func (es256) Verify(signingInput string, signature []byte, key any) error {
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return errKeyType
	}
	if len(signature) != 2*half {
		return errSignature
	}
	digest := sum(signingInput)
	var room [2 + 2*(2+1+half)]byte
	if !ecdsa.VerifyASN1(public, digest[:], appendDER(room[:0], signature)) {
		return errSignature
	}
	return nil
}

// Sign wants an *ecdsa.PrivateKey.
func (m es256) Sign(signingInput string, key any) ([]byte, error) {
	return m.signBytes([]byte(signingInput), key)
}

func (es256) signBytes(signingInput []byte, key any) ([]byte, error) {
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errKeyType
	}
	digest := sha256.Sum256(signingInput)
	der, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	if err != nil {
		return nil, err
	}
	return fromDER(der)
}

// appendDER writes R‖S as SEQUENCE { r INTEGER, s INTEGER } (RFC 3279 §2.2.3), in the one form that DER has for it.
func appendDER(dst, signature []byte) []byte {
	dst = append(dst, 0x30, 0) // short enough for one byte of length
	dst = appendInteger(dst, signature[:half])
	dst = appendInteger(dst, signature[half:])
	dst[1] = byte(len(dst) - 2) //nolint:gosec // at most 70
	return dst
}

func appendInteger(dst, n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	if n[0] >= 0x80 { // else it would be negative
		return append(append(dst, 0x02, byte(len(n)+1), 0), n...) //nolint:gosec // at most half+1
	}
	return append(append(dst, 0x02, byte(len(n))), n...) //nolint:gosec // at most half
}

// fromDER is the way back, for signatures that the standard library made.
func fromDER(der []byte) ([]byte, error) {
	out := make([]byte, 2*half)
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return nil, errDER
	}
	rest, err := takeInteger(out[:half], der[2:])
	if err != nil {
		return nil, err
	}
	if rest, err = takeInteger(out[half:], rest); err != nil || len(rest) != 0 {
		return nil, errDER
	}
	return out, nil
}

var errDER = errors.New("an ECDSA signature that is malformed")

// takeInteger writes an INTEGER to the right end of to, and returns what follows it.
func takeInteger(to, der []byte) (rest []byte, err error) {
	if len(der) < 2 || der[0] != 0x02 || len(der)-2 < int(der[1]) {
		return nil, errDER
	}
	n, rest := der[2:2+int(der[1])], der[2+int(der[1]):]
	if len(n) == half+1 && n[0] == 0 {
		n = n[1:]
	}
	if len(n) == 0 || len(n) > half {
		return nil, errDER
	}
	copy(to[half-len(n):], n)
	return rest, nil
}

// rs256 is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
type rs256 struct{}

func (rs256) Alg() string { return string(RS256) }

// Verify wants an *rsa.PublicKey.
func (rs256) Verify(signingInput string, signature []byte, key any) error {
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return errKeyType
	}
	digest := sum(signingInput)
	if rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) != nil {
		return errSignature
	}
	return nil
}

// Sign wants an *rsa.PrivateKey.
func (m rs256) Sign(signingInput string, key any) ([]byte, error) {
	return m.signBytes([]byte(signingInput), key)
}

func (rs256) signBytes(signingInput []byte, key any) ([]byte, error) {
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errKeyType
	}
	digest := sha256.Sum256(signingInput)
	return rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:])
}

// hs256 is HMAC with SHA-256 (RFC 7518 §3.2).
type hs256 struct{}

func (hs256) Alg() string { return string(HS256) }

// Verify wants an *hmacKey.
func (hs256) Verify(signingInput string, signature []byte, key any) error {
	secret, ok := key.(*hmacKey)
	if !ok {
		return errKeyType
	}
	if want := macOf(secret, signingInput); !hmac.Equal(want[:], signature) {
		return errSignature
	}
	return nil
}

// Sign wants an *hmacKey.
func (hs256) Sign(signingInput string, key any) ([]byte, error) { return signHMAC(signingInput, key) }

func (hs256) signBytes(signingInput []byte, key any) ([]byte, error) {
	return signHMAC(signingInput, key)
}

func signHMAC[T string | []byte](signingInput T, key any) ([]byte, error) {
	secret, ok := key.(*hmacKey)
	if !ok {
		return nil, errKeyType
	}
	mac := macOf(secret, signingInput)
	return mac[:], nil
}

// hmacKey is an HMAC key with hashes that have taken it in: to do that anew for each token would take as long as the token.
type hmacKey struct{ hashes sync.Pool } // of *keyedHash

type keyedHash struct {
	hash.Hash
	room []byte // for the input, which would be copied to the heap each time, and the sum
}

func newHMACKey(secret []byte) *hmacKey {
	return &hmacKey{hashes: sync.Pool{New: func() any { return &keyedHash{Hash: hmac.New(sha256.New, secret)} }}}
}

func macOf[T string | []byte](key *hmacKey, input T) (mac [sha256.Size]byte) {
	h := key.hashes.Get().(*keyedHash)
	defer key.hashes.Put(h)
	h.Reset()
	h.room = append(h.room[:0], input...)
	h.Write(h.room)
	h.room = h.Sum(h.room[:0])
	copy(mac[:], h.room)
	return mac
}
