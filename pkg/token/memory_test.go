package token

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// keySet is a JWKS as verifiers take it.
type keySet struct{ *keyring.KeySet }

func (k keySet) VerificationKey(_ context.Context, kid string) (keyring.VerificationKey, error) {
	return k.Key(kid)
}

// TestStrangersFillNothing: what no key of ours has signed leaves no trace.
func TestStrangersFillNothing(t *testing.T) {
	// The key of RFC 8037 appendix A.2.
	keys, err := keyring.ParseJWKS([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewAccessVerifier(Config{Issuer: "i", Audiences: []string{"a"}, Keys: keySet{keys}, Cache: 10})
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	for i := range 100 {
		raw := b64(fmt.Appendf(nil, `{"alg":"EdDSA","kid":"k","typ":"at+jwt","x":%d}`, i)) + "." + b64([]byte("{}")) + "." + b64(make([]byte, 64))
		var bad *InvalidError
		if _, err := v.Verify(t.Context(), raw); !errors.As(err, &bad) || bad.Reason != ReasonSignature {
			t.Fatalf("got %v", err)
		}
	}
	if v.v.headers.known.Load() != nil || len(v.v.cache.slots)+len(v.v.cache.index) > 0 {
		t.Error("something was remembered")
	}
}

func TestHeadersAreBounded(t *testing.T) {
	var h headers
	for i := range 100 {
		segment := fmt.Sprint(i)
		h.add(segment, parsedHeader{kid: segment})
		if got, ok := h.get(segment); !ok || got.kid != segment {
			t.Errorf("%s: got %+v, %v", segment, got, ok)
		}
		if n := len(*h.known.Load()); n > maxHeaders {
			t.Fatalf("%d headers are remembered", n)
		}
	}
}

// TestCacheStaysWhole puts in and asks at random: the index and the slots always say the same, and no more than there is
// room for.
func TestCacheStaysWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 7} {
		c := newCache(size)
		for range 2000 {
			text := fmt.Sprint(random.IntN(3 * size))
			id := idOf(text)
			if random.IntN(2) == 0 {
				c.put(id, seen{claims: &claims{kid: text}})
				if got, ok := c.get(id); !ok || got.claims.kid != text {
					t.Fatalf("%s was put in and is not there", text)
				}
			} else if got, ok := c.get(id); ok && got.claims.kid != text {
				t.Fatalf("asked for %s, got %s", text, got.claims.kid)
			}
			if len(c.slots) > size || len(c.index) != len(c.slots) {
				t.Fatalf("%d slots and %d ids where there is room for %d", len(c.slots), len(c.index), size)
			}
			for id, i := range c.index {
				if c.slots[i].id != id {
					t.Fatal("the index is wrong")
				}
			}
		}
		if len(c.slots) != size {
			t.Errorf("%d slots of %d were used", len(c.slots), size)
		}
	}
	for _, n := range []int{0, 1, 2047, 2048, 2049, MaxLength} {
		if text := string(make([]byte, n)); idOf(text) != sha256.Sum256([]byte(text)) {
			t.Errorf("the id of %d bytes is not their hash", n)
		}
	}
}
