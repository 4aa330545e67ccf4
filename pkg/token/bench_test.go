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
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Each benchmark stands beside its bare primitive on the same bytes. The metric x-bare is the ratio of the two, in CPU time
// and taken in turns, so that other load on the machine does not matter much.

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
	ours, bare := verifying(b, alg)
	beside(b, ours, bare)
}

// verifying verifies the same token, and its signature alone.
func verifying(tb testing.TB, alg keyring.Algorithm) (ours, bare func() error) {
	ctx := context.Background()
	raw := sign(tb, alg, signingKey(tb, alg))
	now := new(clocktest.Clock).Now
	if a, r := accessVerifier(tb, now), refreshVerifier(tb, now); alg == keyring.HS256 {
		ours = func() error {
			_, err := r.Verify(ctx, raw)
			return err
		}
	} else {
		ours = func() error {
			_, err := a.Verify(ctx, raw)
			return err
		}
	}
	dot := strings.LastIndex(raw, ".")
	input, signature := []byte(raw[:dot]), []byte(decode(tb, raw[dot+1:]))
	if alg == keyring.ES256 {
		signature = asn1(signature)
	}
	key := bareKey(tb, alg)
	return ours, func() error {
		if !key.verify(input, signature) {
			return errors.New("the signature does not verify")
		}
		return nil
	}
}

// TestVerifyAllocatesLittle beyond what the primitive does.
func TestVerifyAllocatesLittle(t *testing.T) {
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		allocations := func(do func() error) float64 {
			return testing.AllocsPerRun(100, func() {
				if err := do(); err != nil {
					t.Fatal(err)
				}
			})
		}
		ours, bare := verifying(t, alg)
		if a, b := allocations(ours), allocations(bare); a > b+5 {
			t.Errorf("%s: %v allocations, %v of them the primitive's", alg, a, b)
		}
	}
}

// beside runs ours, then the bare primitive, then both in turns.
func beside(b *testing.B, ours, bare func() error) {
	b.Run("token", func(b *testing.B) { repeat(b, ours) })
	b.Run("bare", func(b *testing.B) { repeat(b, bare) })
	b.Run("ratio", func(b *testing.B) {
		const turns = 50 // long beside the resolution of CPU time
		var both [2]time.Duration
		for b.Loop() {
			for i, do := range []func() error{ours, bare} {
				before := cpuTime(b)
				for range turns {
					if err := do(); err != nil {
						b.Fatal(err)
					}
				}
				both[i] += cpuTime(b) - before
			}
		}
		b.ReportMetric(float64(both[0])/float64(both[1]), "x-bare")
	})
}

func repeat(b *testing.B, do func() error) {
	b.ReportAllocs()
	for b.Loop() {
		if err := do(); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
	ctx := context.Background()
	before := cpuTime(b)
	repeat(b, func() error {
		_, err := v.Verify(ctx, raw)
		return err
	})
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// emptyFeed says that nothing is revoked.
type emptyFeed func() time.Time

func (now emptyFeed) Page(context.Context, string, time.Time) (*revocation.Page, error) {
	return &revocation.Page{Version: revocation.PageVersion, Feed: "f", AsOf: now().Unix(), Next: "c"}, nil
}

func benchmarkSign(b *testing.B, alg keyring.Algorithm) {
	ctx := context.Background()
	key := signingKey(b, alg)
	raw := sign(b, alg, key)
	signToken := access().Sign
	if alg == keyring.HS256 {
		signToken = refresh().Sign
	}
	input := []byte(raw[:strings.LastIndex(raw, ".")])
	bare := bareKey(b, alg)
	beside(b, func() error {
		_, err := signToken(ctx, key)
		return err
	}, func() error {
		_, err := bare.sign(input)
		return err
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
