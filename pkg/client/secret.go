package client

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash/crc32"
	"math/big"
	"strings"
	"time"
)

// A client secret is SecretPrefix, 256 random bits and the CRC-32 of what precedes it, both in base 62, so that scanners
// of source code find it, a slip of the keyboard is told from a wrong secret, and nothing in it needs form-encoding or
// quoting. It is shown once. A slow hash would add nothing to 256 random bits, and would cost each sign-in its time.
const (
	SecretPrefix = "lk_secret_"

	base62      = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	randomLen   = 43 // digits of 256 bits
	checksumLen = 6  // digits of 32 bits
	secretLen   = len(SecretPrefix) + randomLen + checksumLen
)

// MaxSecrets is how many secrets may live at once: two, so that one is rotated without downtime.
const MaxSecrets = 2

// StoredSecret is what is kept of a secret.
type StoredSecret struct {
	SHA256    []byte `json:"sha256"`
	CreatedAt int64  `json:"created_at"`           // seconds since 1970
	ExpiresAt int64  `json:"expires_at,omitempty"` // 0: never
}

func (s *StoredSecret) live(now time.Time) bool {
	return s.ExpiresAt == 0 || now.Unix() < s.ExpiresAt
}

// NewSecret returns a secret and what is to be kept of it.
func NewSecret(now time.Time) (string, StoredSecret) {
	var b [32]byte
	rand.Read(b[:])
	text := SecretPrefix + digits(new(big.Int).SetBytes(b[:]), randomLen)
	text += checksum(text)
	return text, StoredSecret{SHA256: hash(text), CreatedAt: now.Unix()}
}

func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// digits writes n in base 62 with leading zeros.
func digits(n *big.Int, length int) string {
	out := make([]byte, length)
	base, digit := big.NewInt(62), new(big.Int)
	for i := length - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = base62[digit.Int64()]
	}
	return string(out)
}

func checksum(text string) string {
	var out [checksumLen]byte
	n := crc32.ChecksumIEEE([]byte(text))
	for i := checksumLen - 1; i >= 0; i-- {
		out[i], n = base62[n%62], n/62
	}
	return string(out[:])
}

// errMistyped says that a text is not a secret of ours at all, known without asking the store.
var errMistyped = errors.New("the secret is mistyped: its form or its checksum is wrong")

// checkForm tells texts that can't be any client's secret.
func checkForm(text string) error {
	if len(text) != secretLen || !strings.HasPrefix(text, SecretPrefix) {
		return errMistyped
	}
	body := text[:secretLen-checksumLen]
	if checksum(body) != text[secretLen-checksumLen:] {
		return errMistyped
	}
	return nil
}

// nobody stands in for the secrets of clients that do not exist, so that they cost the same time.
var nobody = []StoredSecret{{SHA256: make([]byte, sha256.Size)}, {SHA256: make([]byte, sha256.Size)}}

// matches compares the text to each live secret.
func matches(secrets []StoredSecret, text string, now time.Time) bool {
	return matchHash(secrets, hash(text), now)
}

// matchHash compares a text's hash to each live secret, all of them every time.
func matchHash(secrets []StoredSecret, given []byte, now time.Time) bool {
	match := 0
	for i := range secrets {
		equal := subtle.ConstantTimeCompare(secrets[i].SHA256, given)
		if secrets[i].live(now) {
			match |= equal
		}
	}
	return match == 1
}
