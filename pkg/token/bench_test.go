package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Each benchmark stands beside its bare primitive on the same bytes: the ratio of the two can be read within one run.

func BenchmarkVerifyES256(b *testing.B) { benchmarkVerify(b, keyring.ES256) }
func BenchmarkVerifyRS256(b *testing.B) { benchmarkVerify(b, keyring.RS256) }
func BenchmarkVerifyEdDSA(b *testing.B) { benchmarkVerify(b, keyring.EdDSA) }
func BenchmarkVerifyHS256(b *testing.B) { benchmarkVerify(b, keyring.HS256) }
func BenchmarkSignES256(b *testing.B)   { benchmarkSign(b, keyring.ES256) }
func BenchmarkSignRS256(b *testing.B)   { benchmarkSign(b, keyring.RS256) }
func BenchmarkSignEdDSA(b *testing.B)   { benchmarkSign(b, keyring.EdDSA) }
func BenchmarkSignHS256(b *testing.B)   { benchmarkSign(b, keyring.HS256) }

// sign makes an access token, or of HS256, which signs no such, a refresh token.
func sign(tb testing.TB, alg keyring.Algorithm, key keyring.SigningKey) string {
	signToken := access().Sign
	if alg == keyring.HS256 {
		signToken = refresh().Sign
	}
	raw, err := signToken(context.Background(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func benchmarkVerify(b *testing.B, alg keyring.Algorithm) {
	ctx := context.Background()
	raw := sign(b, alg, signingKey(b, alg))
	now := new(clocktest.Clock).Now
	var verify func() error
	if a, r := accessVerifier(b, now), refreshVerifier(b, now); alg == keyring.HS256 {
		verify = func() error {
			_, err := r.Verify(ctx, raw)
			return err
		}
	} else {
		verify = func() error {
			_, err := a.Verify(ctx, raw)
			return err
		}
	}
	b.Run("token", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := verify(); err != nil {
				b.Fatal(err)
			}
		}
	})
	dot := strings.LastIndex(raw, ".")
	input, signature := []byte(raw[:dot]), []byte(decode(b, raw[dot+1:]))
	if alg == keyring.ES256 {
		signature = asn1(signature)
	}
	bare := bareKey(b, alg)
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !bare.verify(input, signature) {
				b.Fatal("the signature does not verify")
			}
		}
	})
}

// BenchmarkVerifySeen is of a token that the verifier remembers, with the look at the revocations.
func BenchmarkVerifySeen(b *testing.B) {
	now := new(clocktest.Clock).Now
	view, err := revocation.NewView(revocation.ViewConfig{Source: emptyFeed(now), Window: time.Hour, Now: now})
	if err != nil {
		b.Fatal(err)
	}
	v, err := token.NewAccessVerifier(token.Config{
		Issuer: issuer, Audiences: []string{api}, Keys: accessKeys(), Revocations: view, Cache: 16, Now: now,
	})
	if err != nil {
		b.Fatal(err)
	}
	raw := sign(b, keyring.ES256, signingKey(b, keyring.ES256))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), raw); err != nil {
			b.Fatal(err)
		}
	}
}

// emptyFeed says that nothing is revoked.
type emptyFeed func() time.Time

func (now emptyFeed) Page(context.Context, string, time.Time) (*revocation.Page, error) {
	return &revocation.Page{Version: revocation.PageVersion, Feed: "f", AsOf: now().Unix(), Next: "c"}, nil
}

func benchmarkSign(b *testing.B, alg keyring.Algorithm) {
	key := signingKey(b, alg)
	raw := sign(b, alg, key)
	b.Run("token", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sign(b, alg, key)
		}
	})
	input := []byte(raw[:strings.LastIndex(raw, ".")])
	bare := bareKey(b, alg)
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bare.sign(input); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// primitive is an algorithm by the standard library alone.
type primitive struct {
	sign   func(input []byte) ([]byte, error)
	verify func(input, signature []byte) bool
}

func bareKey(tb testing.TB, alg keyring.Algorithm) primitive {
	if alg == keyring.HS256 {
		mac := func(input []byte) ([]byte, error) {
			h := hmac.New(sha256.New, testKeys()[alg].Secret)
			h.Write(input)
			return h.Sum(nil), nil
		}
		return primitive{mac, func(input, signature []byte) bool {
			want, _ := mac(input)
			return hmac.Equal(want, signature)
		}}
	}
	private, err := x509.ParsePKCS8PrivateKey(testKeys()[alg].Private)
	if err != nil {
		tb.Fatal(err)
	}
	digest := func(input []byte) []byte {
		sum := sha256.Sum256(input)
		return sum[:]
	}
	switch key := private.(type) {
	case *ecdsa.PrivateKey:
		return primitive{
			func(input []byte) ([]byte, error) { return ecdsa.SignASN1(rand.Reader, key, digest(input)) },
			func(input, signature []byte) bool { return ecdsa.VerifyASN1(&key.PublicKey, digest(input), signature) },
		}
	case *rsa.PrivateKey:
		return primitive{
			func(input []byte) ([]byte, error) { return rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest(input)) },
			func(input, signature []byte) bool {
				return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest(input), signature) == nil
			},
		}
	case ed25519.PrivateKey:
		public := key.Public().(ed25519.PublicKey)
		return primitive{
			func(input []byte) ([]byte, error) { return ed25519.Sign(key, input), nil },
			func(input, signature []byte) bool { return ed25519.Verify(public, input, signature) },
		}
	}
	tb.Fatalf("no primitive for %s", alg)
	return primitive{}
}
