package jose

import (
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// BenchmarkKnown is verifying tokens that were seen before, of which Latchkey's verifier remembers as many as it is told to.
func BenchmarkKnown(b *testing.B) {
	b.Run(string(keyring.ES256), func(b *testing.B) {
		s := signer(b, keyring.ES256)
		tokens := must[[]string](b)(s.Tokens(ringSize))
		verify := latchkeyVerifier(b, s, func(c *token.Config) { c.Cache = 1000 })
		for _, raw := range tokens {
			if err := verify(raw); err != nil {
				b.Fatal(err)
			}
		}
		for range *passCount {
			b.Run("Latchkey", func(b *testing.B) { run(b, func(i int) error { return verify(tokens[i]) }) })
		}
	})
}
