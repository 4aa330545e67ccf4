package jose

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"encoding/asn1"
	"encoding/base64"

	"github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/coreos/go-oidc/v3/oidc"
	cristalhq "github.com/cristalhq/jwt/v5"
	gojose "github.com/go-jose/go-jose/v4"
	gojosejwt "github.com/go-jose/go-jose/v4/jwt"
	golangjwt "github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"
	zoidc "github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/latchkey-auth/latchkey/bench/internal/fixture"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// verifier says whether a token is good. Each is set up as for production: the key is found by the token's kid (go-oidc tries
// those that it is given), and the signature, the algorithm, iss, aud and exp are checked. What the application would read of the claims is decoded as well.
type verifier func(raw string) error

// verifiers are all that are compared, by the names that the driver knows.
func verifiers(tb testing.TB, alg keyring.Algorithm, s *fixture.Signer) map[string]verifier {
	return map[string]verifier{
		"Latchkey":          latchkeyVerifier(tb, s, nil),
		"golang-jwt":        golangJWT(alg, s),
		"cristalhq":         cristalhqJWT(tb, alg, s),
		"go-jose":           goJose(tb, alg, s),
		"go-oidc":           goOIDC(alg, s),
		"zitadel-oidc":      zitadel(tb, alg, s),
		"jwx":               jwx(tb, s),
		"go-jwt-middleware": auth0(tb, alg, s),
	}
}

func must[T any](tb testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// bareVerify is what no verifier can do without: the hash and the signature check, on what has been decoded before.
func bareVerify(public crypto.PublicKey, input, signature []byte) bool {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(input)
		return ecdsa.VerifyASN1(key, digest[:], signature)
	case *rsa.PublicKey:
		digest := sha256.Sum256(input)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	default:
		return ed25519.Verify(key.(ed25519.PublicKey), input, signature)
	}
}

// split returns what a signature is about and the signature, ECDSA's as the standard library takes it.
func split(tb testing.TB, raw string) (input, signature []byte) {
	tb.Helper()
	dot := strings.LastIndexByte(raw, '.')
	signature = must[[]byte](tb)(base64.RawURLEncoding.DecodeString(raw[dot+1:]))
	return []byte(raw[:dot]), signature
}

func toASN1(tb testing.TB, signature []byte) []byte {
	tb.Helper()
	n := len(signature) / 2
	return must[[]byte](tb)(asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:]),
	}))
}

// latchkeyVerifier is the authorizer's verifier: all that it does without being asked, and a thousand revocations at hand.
func latchkeyVerifier(tb testing.TB, s *fixture.Signer, configure func(*token.Config)) verifier {
	tb.Helper()
	keys := must[*remotekeys.Keys](tb)(remotekeys.New(remotekeys.Config{Initial: s.JWKS}))
	view := must[*revocation.View](tb)(revocation.NewView(revocation.ViewConfig{Source: fixture.Feed{N: 1000}, Window: time.Hour}))
	c := token.Config{
		Issuer: fixture.Issuer, Audiences: []string{fixture.Audience}, Keys: keys, MaxLifetime: time.Hour, Revocations: view,
	}
	if configure != nil {
		configure(&c)
	}
	v := must[*token.AccessVerifier](tb)(token.NewAccessVerifier(c))
	ctx := context.Background()
	return func(raw string) error {
		_, err := v.Verify(ctx, raw)
		return err
	}
}

func golangJWT(alg keyring.Algorithm, s *fixture.Signer) verifier {
	type claims struct {
		golangjwt.RegisteredClaims
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	keys := map[string]crypto.PublicKey{s.Key.ID: s.Private.Public()}
	find := func(t *golangjwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		key, ok := keys[kid]
		if !ok {
			return nil, errors.New("unknown key")
		}
		return key, nil
	}
	parser := golangjwt.NewParser(golangjwt.WithValidMethods([]string{string(alg)}), golangjwt.WithIssuer(fixture.Issuer),
		golangjwt.WithAudience(fixture.Audience), golangjwt.WithExpirationRequired(), golangjwt.WithStrictDecoding())
	return func(raw string) error {
		_, err := parser.ParseWithClaims(raw, new(claims), find)
		return err
	}
}

// cristalhqJWT finds no key by itself, and judges no claims: what its users write is here.
func cristalhqJWT(tb testing.TB, alg keyring.Algorithm, s *fixture.Signer) verifier {
	type claims struct {
		cristalhq.RegisteredClaims
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	var v cristalhq.Verifier
	var err error
	switch key := s.Private.Public().(type) {
	case *ecdsa.PublicKey:
		v, err = cristalhq.NewVerifierES(cristalhq.Algorithm(alg), key)
	case *rsa.PublicKey:
		v, err = cristalhq.NewVerifierRS(cristalhq.Algorithm(alg), key)
	case ed25519.PublicKey:
		v, err = cristalhq.NewVerifierEdDSA(key)
	}
	if err != nil {
		tb.Fatal(err)
	}
	keys := map[string]cristalhq.Verifier{s.Key.ID: v}
	return func(raw string) error {
		t, err := cristalhq.ParseNoVerify([]byte(raw))
		if err != nil {
			return err
		}
		v, ok := keys[t.Header().KeyID]
		if !ok {
			return errors.New("unknown key")
		}
		if err := v.Verify(t); err != nil {
			return err
		}
		var c claims
		if err := json.Unmarshal(t.Claims(), &c); err != nil {
			return err
		}
		if c.ExpiresAt == nil || !c.IsValidAt(time.Now()) || !c.IsIssuer(fixture.Issuer) || !c.IsForAudience(fixture.Audience) {
			return errors.New("the claims are not valid")
		}
		return nil
	}
}

func joseKeys(tb testing.TB, s *fixture.Signer) gojose.JSONWebKeySet {
	var set gojose.JSONWebKeySet
	if err := json.Unmarshal(s.JWKS, &set); err != nil {
		tb.Fatal(err)
	}
	return set
}

func goJose(tb testing.TB, alg keyring.Algorithm, s *fixture.Signer) verifier {
	type claims struct {
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	set := joseKeys(tb, s)
	algorithms := []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(alg)}
	return func(raw string) error {
		t, err := gojosejwt.ParseSigned(raw, algorithms)
		if err != nil {
			return err
		}
		keys := set.Key(t.Headers[0].KeyID)
		if len(keys) != 1 {
			return errors.New("unknown key")
		}
		var registered gojosejwt.Claims
		var own claims
		if err := t.Claims(keys[0].Key, &registered, &own); err != nil {
			return err
		}
		if registered.Expiry == nil {
			return errors.New("no exp")
		}
		return registered.ValidateWithLeeway(gojosejwt.Expected{
			Issuer: fixture.Issuer, AnyAudience: gojosejwt.Audience{fixture.Audience}, Time: time.Now(),
		}, 0)
	}
}

func goOIDC(alg keyring.Algorithm, s *fixture.Signer) verifier {
	var own struct {
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	v := oidc.NewVerifier(fixture.Issuer, &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{s.Private.Public()}},
		&oidc.Config{ClientID: fixture.Audience, SupportedSigningAlgs: []string{string(alg)}})
	ctx := context.Background()
	return func(raw string) error {
		t, err := v.Verify(ctx, raw)
		if err != nil {
			return err
		}
		return t.Claims(&own)
	}
}

// zitadelKeys is the key set of an API that has fetched it.
type zitadelKeys []gojose.JSONWebKey

func (k zitadelKeys) VerifySignature(_ context.Context, jws *gojose.JSONWebSignature) ([]byte, error) {
	kid, alg := zoidc.GetKeyIDAndAlg(jws)
	key, err := zoidc.FindMatchingKey(kid, zoidc.KeyUseSignature, alg, k...)
	if err != nil {
		return nil, err
	}
	return jws.Verify(&key)
}

func zitadel(tb testing.TB, alg keyring.Algorithm, s *fixture.Signer) verifier {
	v := op.NewAccessTokenVerifier(fixture.Issuer, zitadelKeys(joseKeys(tb, s).Keys), op.WithSupportedAccessTokenSigningAlgorithms(string(alg)))
	ctx := context.Background()
	return func(raw string) error {
		c, err := op.VerifyAccessToken[*zoidc.AccessTokenClaims](ctx, raw, v)
		if err != nil {
			return err
		}
		if !slices.Contains(c.Audience, fixture.Audience) {
			return errors.New("for another audience")
		}
		return nil
	}
}

func jwx(tb testing.TB, s *fixture.Signer) verifier {
	set := must[jwk.Set](tb)(jwk.Parse(s.JWKS))
	return func(raw string) error {
		_, err := jwxjwt.Parse([]byte(raw), jwxjwt.WithKeySet(set), jwxjwt.WithIssuer(fixture.Issuer),
			jwxjwt.WithAudience(fixture.Audience), jwxjwt.WithRequiredClaim(jwxjwt.ExpirationKey))
		return err
	}
}

func auth0(tb testing.TB, alg keyring.Algorithm, s *fixture.Signer) verifier {
	set := must[jwk.Set](tb)(jwk.Parse(s.JWKS))
	v := must[*validator.Validator](tb)(validator.New(
		validator.WithKeyFunc(func(context.Context) (any, error) { return set, nil }),
		validator.WithAlgorithm(validator.SignatureAlgorithm(alg)), validator.WithIssuer(fixture.Issuer), validator.WithAudience(fixture.Audience),
		validator.WithCustomClaims(func() *auth0Claims { return new(auth0Claims) }),
	))
	ctx := context.Background()
	return func(raw string) error {
		_, err := v.ValidateToken(ctx, raw)
		return err
	}
}

type auth0Claims struct {
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

func (*auth0Claims) Validate(context.Context) error { return nil }

// Nobody is fast by leaving a check out.
func TestPeersCheck(t *testing.T) {
	for _, alg := range algorithms {
		s := signer(t, alg)
		good := must[[]string](t)(s.Tokens(1))[0]
		bad := must[map[string]string](t)(s.Bad())
		for name, verify := range verifiers(t, alg, s) {
			if err := verify(good); err != nil {
				t.Errorf("%s %s refuses a good token: %v", name, alg, err)
			}
			for why, raw := range bad {
				if verify(raw) == nil {
					t.Errorf("%s %s takes a token that is %s", name, alg, why)
				}
			}
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range algorithms {
		b.Run(string(alg), func(b *testing.B) {
			s := signer(b, alg)
			tokens := must[[]string](b)(s.Tokens(ringSize))
			all := make(map[string]func(i int) error)
			for name, verify := range verifiers(b, alg, s) {
				all[name] = func(i int) error { return verify(tokens[i]) }
			}
			all["bare"] = bareVerifier(b, alg, s, tokens)
			compare(b, all)
		})
	}
}

// bareVerifier verifies what has been taken apart before.
func bareVerifier(tb testing.TB, alg keyring.Algorithm, s *fixture.Signer, tokens []string) func(i int) error {
	inputs, signatures := make([][]byte, len(tokens)), make([][]byte, len(tokens))
	for i, raw := range tokens {
		inputs[i], signatures[i] = split(tb, raw)
		if alg == keyring.ES256 {
			signatures[i] = toASN1(tb, signatures[i])
		}
	}
	public := s.Private.Public()
	return func(i int) error {
		if !bareVerify(public, inputs[i], signatures[i]) {
			return errors.New("the signature does not verify")
		}
		return nil
	}
}
