package dpop_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/dpoptest"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// BenchmarkVerify stands beside the primitive that bounds it, in the same run: read the ratio.
func BenchmarkVerify(b *testing.B) {
	var clock clocktest.Clock
	key := dpoptest.New(b, "ES256")
	b.Run("bare ES256 verification", func(b *testing.B) {
		private := key.Private.(*ecdsa.PrivateKey)
		digest := sha256.Sum256(make([]byte, 500))
		signature, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(&private.PublicKey, digest[:], signature) {
				b.Fatal("it does not verify")
			}
		}
	})
	nonces := &dpop.Nonces{Keys: source(b, &clock, keyring.HS256), Now: clock.Now}
	nonce, err := nonces.Current(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	proof := key.Proof("GET", url, clock.Now(), dpoptest.For(accessToken), object{"nonce": nonce})
	for name, v := range map[string]*dpop.Verifier{"at an API": {Now: clock.Now}, "with a nonce": {Now: clock.Now, Nonces: nonces}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify(v, proof); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
