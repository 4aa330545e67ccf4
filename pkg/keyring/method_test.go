package keyring

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// inMemory makes a key and parses it.
func inMemory(t testing.TB, alg Algorithm) (ringKey, any) {
	t.Helper()
	k, err := Generate(alg, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	rk, err := k.parse(UseRefresh, nil)
	if err != nil {
		t.Fatal(err)
	}
	if alg == HS256 {
		return rk, k.Secret
	}
	private, err := x509.ParsePKCS8PrivateKey(k.Private)
	if err != nil {
		t.Fatal(err)
	}
	return rk, private
}

// pad is n in 32 bytes.
func pad(n *big.Int) []byte { return n.FillBytes(make([]byte, half)) }

// TestDER holds the two ways between the forms against encoding/asn1.
func TestDER(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	number := func() *big.Int {
		b := make([]byte, half)
		for i := random.IntN(half + 1); i < half; i++ { // any number of zeros before
			b[i] = byte(random.Uint32())
		}
		return new(big.Int).SetBytes(b)
	}
	order := elliptic.P256().Params().N
	special := []*big.Int{{}, big.NewInt(1), big.NewInt(127), big.NewInt(128), big.NewInt(255), big.NewInt(256), order,
		new(big.Int).Sub(order, big.NewInt(1)), new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))}
	for i := range 3000 {
		r, s := number(), number()
		if i < len(special)*len(special) {
			r, s = special[i/len(special)], special[i%len(special)]
		}
		want, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil {
			t.Fatal(err)
		}
		both := append(pad(r), pad(s)...)
		if got := appendDER(nil, both); !bytes.Equal(got, want) {
			t.Fatalf("%x: got %x, want %x", both, got, want)
		}
		if got, err := fromDER(want); err != nil || !bytes.Equal(got, both) {
			t.Fatalf("%x: got %x, %v, want %x", want, got, err, both)
		}
	}
}

func TestFromDERRefuses(t *testing.T) {
	good := appendDER(nil, append(pad(big.NewInt(1)), pad(big.NewInt(300))...))
	for i := range good {
		if _, err := fromDER(good[:i]); err == nil {
			t.Errorf("took the first %d bytes of %x", i, good)
		}
	}
	long := append([]byte{2, 34, 1}, make([]byte, 33)...)
	for _, bad := range [][]byte{
		append(bytes.Clone(good), 0), {0x31, 0}, {0x30, 0}, {0x30, 6, 2, 1, 1, 3, 1, 1}, {0x30, 5, 2, 0, 2, 1, 1}, {0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1},
		{0x30, 6, 2, 1, 1, 2, 2, 1}, append([]byte{0x30, byte(len(long) + 3), 2, 1, 1}, long...),
		append([]byte{0x30, 38, 2, 33, 1}, append(make([]byte, 32), 2, 1, 1)...),
	} {
		if got, err := fromDER(bad); err == nil {
			t.Errorf("%x: got %x", bad, got)
		}
	}
}

// TestMethodsAgree: golang-jwt takes what ours sign, and the other way round, for short inputs and long ones; and neither
// takes it for another input.
func TestMethodsAgree(t *testing.T) {
	for alg, theirs := range map[Algorithm]jwt.SigningMethod{ES256: jwt.SigningMethodES256, RS256: jwt.SigningMethodRS256} {
		rk, private := inMemory(t, alg)
		ours := alg.method()
		if ours.Alg() != theirs.Alg() {
			t.Errorf("%s calls itself %s", alg, ours.Alg())
		}
		for _, input := range []string{"", "a.b", strings.Repeat("x", 1024), strings.Repeat("x", 1025), strings.Repeat("x", 8000)} {
			a, errA := ours.Sign(input, private)
			b, errB := theirs.Sign(input, private)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			for what, signature := range map[string][]byte{"ours": a, "theirs": b} {
				for _, m := range []jwt.SigningMethod{ours, theirs} {
					if err := m.Verify(input, signature, rk.verification.key); err != nil {
						t.Errorf("%s, %d bytes: %T on %s: %v", alg, len(input), m, what, err)
					}
					if m.Verify(input+"x", signature, rk.verification.key) == nil {
						t.Errorf("%s, %d bytes: %T took %s for another input", alg, len(input), m, what)
					}
				}
			}
		}
	}
}

// TestHMACAgrees: golang-jwt makes the same, whichever hash is taken again, and many at once.
func TestHMACAgrees(t *testing.T) {
	var all sync.WaitGroup
	for range 2 {
		rk, secret := inMemory(t, HS256)
		for range 4 {
			all.Go(func() {
				for _, input := range []string{strings.Repeat("x", 8000), "", "a.b", strings.Repeat("x", 64)} {
					want, err := jwt.SigningMethodHS256.Sign(input, secret)
					if err != nil {
						t.Error(err)
					}
					if got, err := rk.signing.Sign(t.Context(), []byte(input)); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%d bytes: got %x, %v, want %x", len(input), got, err, want)
					}
					if got, err := HS256.method().Sign(input, rk.verification.key); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%d bytes of text: got %x, %v, want %x", len(input), got, err, want)
					}
					if err := rk.verification.Verify(input, want); err != nil {
						t.Errorf("%d bytes: %v", len(input), err)
					}
					for what, bad := range map[string]error{
						"another input": rk.verification.Verify(input+"x", want), "half of it": rk.verification.Verify(input, want[:16]),
						"nothing": rk.verification.Verify(input, nil),
					} {
						if bad == nil {
							t.Errorf("%d bytes: took %s", len(input), what)
						}
					}
				}
			})
		}
	}
	all.Wait()
}

// TestShortNumbers signs until R and S have each had a zero before them.
func TestShortNumbers(t *testing.T) {
	rk, private := inMemory(t, ES256)
	var shortR, shortS bool
	for i := 0; !shortR || !shortS; i++ {
		if i == 20_000 {
			t.Fatal("no short number: the primitive does not make any")
		}
		signature, err := rk.signing.Sign(context.Background(), []byte("a.b"))
		if err != nil || len(signature) != 2*half {
			t.Fatalf("%d bytes, %v", len(signature), err)
		}
		if signature[0] != 0 && signature[half] != 0 {
			continue
		}
		shortR, shortS = shortR || signature[0] == 0, shortS || signature[half] == 0
		if err := rk.verification.Verify("a.b", signature); err != nil {
			t.Errorf("%x: %v", signature, err)
		}
		if err := jwt.SigningMethodES256.Verify("a.b", signature, private.(*ecdsa.PrivateKey).Public()); err != nil {
			t.Errorf("%x: golang-jwt: %v", signature, err)
		}
	}
}

// TestES256Refuses: an R or S that is out of range, and any other form of a signature.
func TestES256Refuses(t *testing.T) {
	rk, _ := inMemory(t, ES256)
	good, err := rk.signing.Sign(context.Background(), []byte("a.b"))
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(good[:half]), new(big.Int).SetBytes(good[half:])
	n := elliptic.P256().Params().N
	all := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	var bad [][]byte
	for _, out := range []*big.Int{{}, n, new(big.Int).Add(n, big.NewInt(1)), all} {
		bad = append(bad, append(pad(out), pad(s)...), append(pad(r), pad(out)...), append(pad(out), pad(out)...))
	}
	bad = append(bad, nil, []byte{}, good[:63], append(bytes.Clone(good), 0), append([]byte{0}, good...), good[1:], appendDER(nil, good), make([]byte, 64),
		append(bytes.Clone(good), good...), good[:32])
	for _, signature := range bad {
		if rk.verification.Verify("a.b", signature) == nil {
			t.Errorf("took %x", signature)
		}
	}
	if err := rk.verification.Verify("a.b", good); err != nil {
		t.Errorf("the signature itself: %v", err)
	}
}

// TestKeyTypes: a method takes keys of its own type alone.
func TestKeyTypes(t *testing.T) {
	keys := map[Algorithm][2]any{}
	for _, alg := range []Algorithm{ES256, RS256, EdDSA, HS256} {
		rk, private := inMemory(t, alg)
		keys[alg] = [2]any{private, rk.verification.key}
	}
	for alg, signer := range map[Algorithm]int{ES256: 0, RS256: 0, HS256: 1} { // which of the pair signs
		for of, pair := range keys {
			for i, key := range append(pair[:], nil) {
				_, err := alg.method().Sign("a.b", key)
				if signs := of == alg && i == signer; signs != (err == nil) {
					t.Errorf("%s signing with a %T: %v", alg, key, err)
				}
				if alg.method().Verify("a.b", make([]byte, 64), key) == nil {
					t.Errorf("%s verifying with a %T", alg, key)
				}
			}
		}
	}
}

func TestSame(t *testing.T) {
	for _, alg := range []Algorithm{ES256, RS256, EdDSA} {
		one, _ := inMemory(t, alg)
		two, _ := inMemory(t, alg)
		a, b := one.verification, two.verification
		if !a.Same(a) || a.Same(VerificationKey{}) || (VerificationKey{}).Same(VerificationKey{}) {
			t.Errorf("%s: a key is not the same as itself, or is as none", alg)
		}
		b.ID = a.ID
		if a.Same(b) || b.Same(a) {
			t.Errorf("%s: another key of the same id is the same", alg)
		}
		renamed, other := a, a
		renamed.ID, other.Algorithm = "x", "x"
		if a.Same(renamed) || a.Same(other) {
			t.Errorf("%s: a key of another id or algorithm is the same", alg)
		}
	}
}
