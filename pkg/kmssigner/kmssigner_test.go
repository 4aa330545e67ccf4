package kmssigner

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

func client(endpoint string) *kms.Client { return kms.NewFromConfig(testenv.AWSConfig(endpoint)) }

func createKey(t *testing.T, c *kms.Client, spec types.KeySpec, usage types.KeyUsageType) string {
	t.Helper()
	out, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})
	if err != nil {
		t.Fatal(err)
	}
	return *out.KeyMetadata.KeyId
}

func newSigner(t *testing.T, c *kms.Client, id string, alg keyring.Algorithm) *Signer {
	t.Helper()
	s, err := New(c, id, alg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignaturesVerify(t *testing.T) {
	proxy := testenv.Proxy(t, testenv.Moto(t).Endpoint)
	c := client(proxy.Endpoint)
	for _, test := range []struct {
		alg    keyring.Algorithm
		spec   types.KeySpec
		method jwt.SigningMethod
		length int
	}{
		{keyring.ES256, types.KeySpecEccNistP256, jwt.SigningMethodES256, 64},
		{keyring.RS256, types.KeySpecRsa2048, jwt.SigningMethodRS256, 256},
		{keyring.RS256, types.KeySpecRsa3072, jwt.SigningMethodRS256, 384},
	} {
		t.Run(string(test.spec), func(t *testing.T) {
			s := newSigner(t, c, createKey(t, c, test.spec, types.KeyUsageTypeSignVerify), test.alg)
			der, err := s.PublicKey(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			public, err := x509.ParsePKIXPublicKey(der)
			if err != nil {
				t.Fatal(err)
			}
			// About one ECDSA signature in 128 has an R or an S with a leading zero byte.
			for i := range 40 {
				message := strings.Repeat("x", 1+i*105) // up to 4,096 bytes
				signature, err := s.Sign(t.Context(), []byte(message))
				if err != nil {
					t.Fatal(err)
				}
				if len(signature) != test.length {
					t.Errorf("a signature of %d bytes", len(signature))
				}
				if err := test.method.Verify(message, signature, public); err != nil {
					t.Fatalf("a message of %d bytes: %v", len(message), err)
				}
			}

			proxy.Reset()
			for range 3 {
				again, err := s.PublicKey(t.Context())
				if err != nil || !bytes.Equal(again, der) {
					t.Errorf("the public half read again: %v", err)
				}
				again[0]++ // a caller's copy
			}
			if n := proxy.Counts()["KMS.GetPublicKey"]; n != 0 {
				t.Errorf("the public half was read %d times more", n)
			}
		})
	}
}

// TestKeyring has a ring in KMS mode sign and verify.
func TestKeyring(t *testing.T) {
	c := client(testenv.Moto(t).Endpoint)
	id := createKey(t, c, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	if _, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/signing"), TargetKeyId: &id}); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	key, err := NewKey(t.Context(), c, "alias/signing", keyring.ES256, now)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(key.KMSKey, id) {
		t.Errorf("the key described is %s, want key %s itself", key.KMSKey, id)
	}
	source := keyring.NewSource(keyring.SourceConfig{
		Load: func(context.Context) (*keyring.Document, error) {
			return &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{key}}, nil
		},
		KMS: Signers(c, nil),
		Now: func() time.Time { return now },
	})
	signing, err := source.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signing.Sign(t.Context(), []byte("a.b"))
	if err != nil {
		t.Fatal(err)
	}
	verification, err := source.VerificationKey(t.Context(), signing.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := verification.Verify("a.b", signature); err != nil {
		t.Error(err)
	}
	if err := verification.Verify("a.c", signature); err == nil {
		t.Error("another message verified")
	}
}

// TestLongMessagesAreHashedHere looks at the request, because moto hashes digests again: its signature is none.
func TestLongMessagesAreHashedHere(t *testing.T) {
	var sent struct{ Message, MessageType string }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"Signature":"` + base64.StdEncoding.EncodeToString(der(t, big.NewInt(1), big.NewInt(2))) + `"}`))
	}))
	defer server.Close()
	s := newSigner(t, client(server.URL), "k", keyring.ES256)
	longest, longer := bytes.Repeat([]byte("x"), 4096), bytes.Repeat([]byte("x"), 4097)
	sum := sha256.Sum256(longer)
	for _, test := range []struct {
		message, sent []byte
		kind          string
	}{{longest, longest, "RAW"}, {longer, sum[:], "DIGEST"}} {
		if _, err := s.Sign(t.Context(), test.message); err != nil {
			t.Fatal(err)
		}
		if sent.Message != base64.StdEncoding.EncodeToString(test.sent) || sent.MessageType != test.kind {
			t.Errorf("%d bytes: sent %.80s as %s", len(test.message), sent.Message, sent.MessageType)
		}
	}
}

func der(t *testing.T, r, s *big.Int) []byte {
	t.Helper()
	b, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConcatenate(t *testing.T) {
	order := elliptic.P256().Params().N
	last := new(big.Int).Sub(order, big.NewInt(1))
	got, err := concatenate(der(t, big.NewInt(1), last))
	want := append(append(make([]byte, 31), 1), last.Bytes()...)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v, want %x", got, err, want)
	}

	good := der(t, big.NewInt(1), big.NewInt(2)) // 30 06 02 01 01 02 01 02
	for name, bad := range map[string][]byte{
		"empty":            {},
		"cut":              good[:len(good)-1],
		"trailing data":    append(bytes.Clone(good), 0),
		"a third integer":  {0x30, 9, 2, 1, 1, 2, 1, 2, 2, 1, 3},
		"padded integer":   {0x30, 7, 2, 2, 0, 1, 2, 1, 2},
		"long-form length": {0x30, 0x81, 6, 2, 1, 1, 2, 1, 2},
		"indefinite":       {0x30, 0x80, 2, 1, 1, 2, 1, 2, 0, 0},
		"a set":            {0x31, 6, 2, 1, 1, 2, 1, 2},
		"R zero":           der(t, big.NewInt(0), big.NewInt(2)),
		"S zero":           der(t, big.NewInt(1), big.NewInt(0)),
		"R negative":       der(t, big.NewInt(-1), big.NewInt(2)),
		"R the order":      der(t, order, big.NewInt(2)),
		"S the order":      der(t, big.NewInt(1), order),
		"S too large":      der(t, big.NewInt(1), new(big.Int).Lsh(order, 8)),
		"R‖S already":      make([]byte, 64),
	} {
		if got, err := concatenate(bad); err == nil {
			t.Errorf("%s: got %x", name, got)
		}
	}
}

// FuzzConcatenate holds each signature that is taken to one DER form.
func FuzzConcatenate(f *testing.F) {
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 2})
	f.Add([]byte{0x30, 7, 2, 2, 0, 0xff, 2, 1, 2})
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := concatenate(in)
		if err != nil {
			return
		}
		r, s := new(big.Int).SetBytes(out[:32]), new(big.Int).SetBytes(out[32:])
		if again := der(t, r, s); !bytes.Equal(again, in) {
			t.Errorf("%x was read as %x, which is %x", in, out, again)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, alg := range []keyring.Algorithm{keyring.EdDSA, keyring.HS256, "", "none", "PS256"} {
		if _, err := New(nil, "k", alg); err == nil || !strings.Contains(err.Error(), "must be ES256 or RS256") {
			t.Errorf("%q: %v", alg, err)
		}
		if s, err := Signers(nil, nil)(keyring.Key{KMSKey: "k", Algorithm: alg}); err == nil || s != nil {
			t.Errorf("%q: Signers made %v, %v", alg, s, err)
		}
	}
	if _, err := New(nil, "", keyring.ES256); err == nil {
		t.Error("no key id was taken")
	}
}

func TestUnsuitableKeys(t *testing.T) {
	c := client(testenv.Moto(t).Endpoint)
	for _, test := range []struct {
		alg   keyring.Algorithm
		spec  types.KeySpec
		usage types.KeyUsageType
		want  string
	}{
		{keyring.ES256, types.KeySpecRsa2048, types.KeyUsageTypeSignVerify, "the KMS key signs by RSASSA_PKCS1_V1_5_SHA_256, RSASSA_PKCS1_V1_5_SHA_384, " +
			"RSASSA_PKCS1_V1_5_SHA_512, RSASSA_PSS_SHA_256, RSASSA_PSS_SHA_384, RSASSA_PSS_SHA_512: ES256 needs ECDSA_SHA_256"},
		{keyring.ES256, types.KeySpecEccNistP384, types.KeyUsageTypeSignVerify, "the KMS key signs by ECDSA_SHA_384: ES256 needs ECDSA_SHA_256"},
		{keyring.ES256, types.KeySpecEccSecgP256k1, types.KeyUsageTypeSignVerify, "the KMS key: the public half is not SubjectPublicKeyInfo"},
		{keyring.RS256, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify, "the KMS key signs by ECDSA_SHA_256: RS256 needs RSASSA_PKCS1_V1_5_SHA_256"},
		{keyring.RS256, types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt, "the KMS key has the usage ENCRYPT_DECRYPT: it must be SIGN_VERIFY"},
	} {
		id := createKey(t, c, test.spec, test.usage)
		if _, err := newSigner(t, c, id, test.alg).PublicKey(t.Context()); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
		if _, err := NewKey(t.Context(), c, id, test.alg, time.Now()); err == nil || err.Error() != test.want {
			t.Errorf("NewKey: got %v, want %s", err, test.want)
		}
	}
}

func TestErrorsShowNoNames(t *testing.T) {
	const arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
	check := func(what string, err error) {
		t.Helper()
		if err == nil || strings.Contains(err.Error(), "arn:") || strings.Contains(err.Error(), "123456789012") || strings.Contains(err.Error(), "5555") {
			t.Errorf("%s: %v", what, err)
		}
	}
	s := newSigner(t, client(testenv.Moto(t).Endpoint), arn, keyring.ES256)
	_, err := s.Sign(t.Context(), []byte("x"))
	check("Sign with a key that is not there", err)
	_, err = s.PublicKey(t.Context())
	check("PublicKey of a key that is not there", err)

	throttled := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"__type":"ThrottlingException","message":"` + arn + `"}`))
	}))
	defer throttled.Close()
	_, err = newSigner(t, client(throttled.URL), arn, keyring.ES256).Sign(t.Context(), []byte("x"))
	check("throttled", err)
	if want := "KMS: asked too often (ThrottlingException)"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Sign(ctx, []byte("x"))
	check("cancelled", err)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not wrap context.Canceled", err)
	}
}

// TestBadAnswers has KMS sign nonsense.
func TestBadAnswers(t *testing.T) {
	for _, body := range []string{`{}`, `{"Signature":""}`, `{"Signature":"AAAA"}`} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256} {
			if got, err := newSigner(t, client(server.URL), "k", alg).Sign(t.Context(), []byte("x")); err == nil {
				t.Errorf("%s %s: got %x", alg, body, got)
			}
		}
		server.Close()
	}
}
