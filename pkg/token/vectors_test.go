package token_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// vector is an example that an RFC prints. Testdata has those of RFC 7515 appendix A, RFC 7520 (sections 3 and 4), RFC 7638
// section 3.1, RFC 7797 section 4.2 and RFC 8037 appendix A; package dpop's has RFC 9449's.
type vector struct {
	Section    string
	Alg        string
	Key        json.RawMessage // none for an unsecured JWS
	JWS        string          // compact or JSON
	Index      int             // which of its signatures
	Detached   string          // the payload, encoded, of a JWS that comes without
	Text       string          // the payload of one that has it unencoded
	Thumbprint string          // of the key
	Reason     token.Reason    // for which both verifiers refuse it, though they have its key
	JWKS       string          // what becomes of the key in a JWKS: taken, ignored or private
}

func vectors(t *testing.T, file string) (list []vector) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatal("there are none")
	}
	return list
}

// jwk is the key as go-jose reads it.
func (v *vector) jwk(t *testing.T) (private, public jose.JSONWebKey) {
	t.Helper()
	if err := json.Unmarshal(v.Key, &private); err != nil {
		t.Fatal(err)
	}
	if public = private.Public(); public.Key == nil { // symmetric
		public = private
	}
	return private, public
}

// check has go-jose verify the figure, so that it is known to be as it was printed.
func (v *vector) check(t *testing.T) {
	t.Helper()
	_, public := v.jwk(t)
	algs := []jose.SignatureAlgorithm{jose.RS256, jose.PS384, jose.ES256, jose.ES512, jose.EdDSA, jose.HS256}
	parse := jose.ParseSignedCompact
	if strings.HasPrefix(v.JWS, "{") {
		parse = jose.ParseSignedJSON
	}
	parsed, err := parse(v.JWS, algs)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case v.Text != "":
		err = parsed.DetachedVerify([]byte(v.Text), public)
	case v.Detached != "":
		err = parsed.DetachedVerify([]byte(decode(t, v.Detached)), public)
	case len(parsed.Signatures) > 1:
		var index int
		if index, _, _, err = parsed.VerifyMulti(public); index != v.Index {
			t.Errorf("signature %d verifies", index)
		}
	default:
		_, err = parsed.Verify(public)
	}
	if err != nil {
		t.Errorf("not as it was printed: %v", err)
	}
}

// signed is what was signed, and the signature.
func (v *vector) signed(t *testing.T) (input string, signature []byte) {
	t.Helper()
	if head, rest, ok := strings.Cut(v.JWS, "."); ok && !strings.HasPrefix(v.JWS, "{") {
		body, sig, _ := strings.Cut(rest, ".")
		return head + "." + body + v.Detached + v.Text, []byte(decode(t, sig))
	}
	type one struct{ Protected, Signature string }
	var general struct {
		Payload    string
		Signatures []one
		one
	}
	if err := json.Unmarshal([]byte(v.JWS), &general); err != nil {
		t.Fatal(err)
	}
	s := general.one
	if len(general.Signatures) > 0 {
		s = general.Signatures[v.Index]
	}
	return s.Protected + "." + general.Payload, []byte(decode(t, s.Signature))
}

// ours is the key as we have it: nil where it is of an algorithm that is none of ours.
func (v *vector) ours(t *testing.T) (verify *keyring.VerificationKey, sign *keyring.SigningKey) {
	t.Helper()
	private, _ := v.jwk(t)
	key := keyring.Key{ID: "k", Algorithm: keyring.Algorithm(v.Alg)}
	switch k := private.Key.(type) {
	case []byte:
		key.Secret = k
	default:
		var j keyring.JWK
		if err := json.Unmarshal(v.Key, &j); err != nil {
			t.Fatal(err)
		}
		public, err := j.VerificationKey()
		if err != nil || string(public.Algorithm) != v.Alg {
			return nil, nil
		}
		if verify = &public; private.IsPublic() {
			return verify, nil
		}
		if key.Private, err = x509.MarshalPKCS8PrivateKey(k); err != nil {
			t.Fatal(err)
		}
	}
	ring := keyring.NewSource(keyring.SourceConfig{Load: func(context.Context) (*keyring.Document, error) {
		return &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseRefresh, Keys: []keyring.Key{key}}, nil
	}})
	signing, err := ring.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if verify == nil {
		public, err := ring.VerificationKey(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		verify = &public
	}
	return verify, &signing
}

// TestStandardVectors: what an RFC prints, our primitives verify where it is by an algorithm of ours, and make again where the
// algorithm always makes the same; and none of it is a token of ours, though its key be in the ring.
func TestStandardVectors(t *testing.T) {
	ours := map[string]int{}
	for _, file := range []string{"rfc7515.json", "rfc7520.json", "rfc7797.json", "rfc8037.json"} {
		for _, v := range vectors(t, file) {
			t.Run(file+"/"+v.Section, func(t *testing.T) {
				keys := keysFunc(func(string) (keyring.VerificationKey, error) { return keyring.VerificationKey{}, keyring.ErrUnknownKey })
				if v.Alg != "none" {
					v.check(t)
					verify, sign := v.ours(t)
					if verify != nil {
						ours[v.Alg]++
						v.primitives(t, verify, sign)
						keys = func(string) (keyring.VerificationKey, error) { return *verify, nil }
					}
				}
				v.refused(t, keys)
			})
		}
	}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA, keyring.HS256} {
		if ours[string(alg)] == 0 {
			t.Errorf("none by %s", alg)
		}
	}
}

func (v *vector) primitives(t *testing.T, verify *keyring.VerificationKey, sign *keyring.SigningKey) {
	t.Helper()
	input, signature := v.signed(t)
	if err := verify.Verify(input, signature); err != nil {
		t.Errorf("the signature: %v", err)
	}
	if verify.Verify(input+"A", signature) == nil {
		t.Error("the signature verifies something else too")
	}
	if sign == nil || v.Alg == string(keyring.ES256) {
		return
	}
	if again, err := sign.Sign(t.Context(), []byte(input)); err != nil || string(again) != string(signature) {
		t.Errorf("signed again: %x, %v", again, err)
	}
}

func (v *vector) refused(t *testing.T, keys keysFunc) {
	t.Helper()
	now := new(clocktest.Clock).Now
	a, err := token.NewAccessVerifier(token.Config{Issuer: "joe", Audiences: []string{"joe"}, Keys: keys, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	r, err := token.NewRefreshVerifier(token.Config{Issuer: "joe", Keys: keys, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	_, errA := a.Verify(t.Context(), v.JWS)
	_, errR := r.Verify(t.Context(), v.JWS)
	for _, err := range []error{errA, errR} {
		var bad *token.InvalidError
		if !errors.As(err, &bad) || bad.Reason != v.Reason {
			t.Errorf("as a token: %v, want %s", err, v.Reason)
		}
	}
}

// TestStandardKeys: keys as RFCs print them, their thumbprints, and what becomes of them in a JWKS.
func TestStandardKeys(t *testing.T) {
	for _, file := range []string{"rfc7520-keys.json", "rfc7638.json", "rfc8037.json"} {
		for _, v := range vectors(t, file) {
			t.Run(file+"/"+v.Section, func(t *testing.T) {
				if v.Thumbprint != "" {
					var j keyring.JWK
					if err := json.Unmarshal(v.Key, &j); err != nil {
						t.Fatal(err)
					}
					key, err := j.VerificationKey()
					if err != nil {
						t.Fatal(err)
					}
					if got, err := key.Thumbprint(); got != v.Thumbprint || err != nil {
						t.Errorf("thumbprint %s, %v, want %s", got, err, v.Thumbprint)
					}
				}
				if v.JWKS != "" {
					v.inJWKS(t)
				}
			})
		}
	}
}

func (v *vector) inJWKS(t *testing.T) {
	t.Helper()
	private, _ := v.jwk(t)
	// Beside a key that is taken, for a set without any is refused for that.
	const beside = `{"kty":"OKP","crv":"Ed25519","kid":"beside","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	set, err := keyring.ParseJWKS([]byte(`{"keys":[` + beside + `,` + string(v.Key) + `]}`))
	if (err != nil) != (v.JWKS == "private") {
		t.Fatalf("got %v", err)
	}
	if err != nil {
		return
	}
	if _, err := set.Key("beside"); err != nil {
		t.Error(err)
	}
	if _, err := set.Key(private.KeyID); (err == nil) != (v.JWKS == "taken") {
		t.Errorf("got %v", err)
	}
}
