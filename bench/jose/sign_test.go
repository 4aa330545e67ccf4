package jose

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	cristalhq "github.com/cristalhq/jwt/v5"
	gojose "github.com/go-jose/go-jose/v4"
	gojosejwt "github.com/go-jose/go-jose/v4/jwt"
	golangjwt "github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/latchkey-auth/latchkey/bench/internal/fixture"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// claims are those of Latchkey's access token, as a peer's user would declare them.
type claims struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  string           `json:"aud"`
	ClientID  string           `json:"client_id"`
	IssuedAt  int64            `json:"iat"`
	ExpiresAt int64            `json:"exp"`
	ID        string           `json:"jti"`
	Scope     string           `json:"scope"`
	GrantID   string           `json:"grant_id"`
	AuthTime  int64            `json:"auth_time"`
	Epochs    map[string]int64 `json:"epochs"`
}

// golang-jwt's interface. It asks for the claims that it would judge, which a signer does not.
func (c *claims) GetExpirationTime() (*golangjwt.NumericDate, error) { return nil, nil }
func (c *claims) GetIssuedAt() (*golangjwt.NumericDate, error)       { return nil, nil }
func (c *claims) GetNotBefore() (*golangjwt.NumericDate, error)      { return nil, nil }
func (c *claims) GetIssuer() (string, error)                         { return c.Issuer, nil }
func (c *claims) GetSubject() (string, error)                        { return c.Subject, nil }
func (c *claims) GetAudience() (golangjwt.ClaimStrings, error)       { return nil, nil }

func newClaims(a *token.Access) *claims {
	c := &claims{
		Issuer: a.Issuer, Subject: a.Subject, Audience: a.Audience[0], ClientID: a.ClientID, IssuedAt: a.IssuedAt.Unix(),
		ExpiresAt: a.ExpiresAt.Unix(), ID: a.ID, Scope: a.Scope.String(), GrantID: a.GrantID, AuthTime: a.AuthTime.Unix(),
		Epochs: make(map[string]int64, len(a.Epochs)),
	}
	for _, e := range a.Epochs {
		c.Epochs[e.Handle] = e.N
	}
	return c
}

// signers make a token of the claims; what can be made ready before is.
func signersOf(tb testing.TB, alg keyring.Algorithm, s *fixture.Signer) map[string]func(a *token.Access) (string, error) {
	return map[string]func(a *token.Access) (string, error){
		"Latchkey":   func(a *token.Access) (string, error) { return a.Sign(context.Background(), s.Key) },
		"golang-jwt": signGolangJWT(alg, s),
		"cristalhq":  signCristalhq(tb, alg, s),
		"go-jose":    signGoJose(tb, alg, s),
		"jwx":        signJWX(tb, alg, s),
	}
}

func bareSign(key crypto.Signer, input []byte) ([]byte, error) {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256(input)
		return ecdsa.SignASN1(rand.Reader, key, digest[:])
	case *rsa.PrivateKey:
		digest := sha256.Sum256(input)
		return rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	default:
		return ed25519.Sign(key.(ed25519.PrivateKey), input), nil
	}
}

func signGolangJWT(alg keyring.Algorithm, s *fixture.Signer) func(a *token.Access) (string, error) {
	method := golangjwt.GetSigningMethod(string(alg))
	return func(a *token.Access) (string, error) {
		t := golangjwt.NewWithClaims(method, newClaims(a))
		t.Header["kid"], t.Header["typ"] = s.Key.ID, token.TypeAccess
		return t.SignedString(s.Private)
	}
}

// signCristalhq can't set the header's typ.
func signCristalhq(tb testing.TB, alg keyring.Algorithm, s *fixture.Signer) func(a *token.Access) (string, error) {
	var signer cristalhq.Signer
	var err error
	switch key := s.Private.(type) {
	case *ecdsa.PrivateKey:
		signer, err = cristalhq.NewSignerES(cristalhq.Algorithm(alg), key)
	case *rsa.PrivateKey:
		signer, err = cristalhq.NewSignerRS(cristalhq.Algorithm(alg), key)
	case ed25519.PrivateKey:
		signer, err = cristalhq.NewSignerEdDSA(key)
	}
	if err != nil {
		tb.Fatal(err)
	}
	builder := cristalhq.NewBuilder(signer, cristalhq.WithKeyID(s.Key.ID))
	return func(a *token.Access) (string, error) {
		t, err := builder.Build(newClaims(a))
		if err != nil {
			return "", err
		}
		return t.String(), nil
	}
}

func signGoJose(tb testing.TB, alg keyring.Algorithm, s *fixture.Signer) func(a *token.Access) (string, error) {
	signer := must[gojose.Signer](tb)(gojose.NewSigner(
		gojose.SigningKey{Algorithm: gojose.SignatureAlgorithm(alg), Key: gojose.JSONWebKey{Key: s.Private, KeyID: s.Key.ID}},
		(&gojose.SignerOptions{}).WithType(token.TypeAccess)))
	return func(a *token.Access) (string, error) {
		return gojosejwt.Signed(signer).Claims(newClaims(a)).Serialize()
	}
}

func signJWX(tb testing.TB, alg keyring.Algorithm, s *fixture.Signer) func(a *token.Access) (string, error) {
	algorithm, ok := jwa.LookupSignatureAlgorithm(string(alg))
	if !ok {
		tb.Fatalf("jwx does not know %s", alg)
	}
	key := must[jwk.Key](tb)(jwk.Import(s.Private))
	if err := key.Set(jwk.KeyIDKey, s.Key.ID); err != nil {
		tb.Fatal(err)
	}
	headers := jws.NewHeaders()
	if err := headers.Set(jws.TypeKey, token.TypeAccess); err != nil {
		tb.Fatal(err)
	}
	return func(a *token.Access) (string, error) {
		epochs := make(map[string]int64, len(a.Epochs))
		for _, e := range a.Epochs {
			epochs[e.Handle] = e.N
		}
		t, err := jwxjwt.NewBuilder().Issuer(a.Issuer).Subject(a.Subject).Audience(a.Audience).IssuedAt(a.IssuedAt).Expiration(a.ExpiresAt).
			JwtID(a.ID).Claim("client_id", a.ClientID).Claim("scope", a.Scope.String()).Claim("grant_id", a.GrantID).
			Claim("auth_time", a.AuthTime.Unix()).Claim("epochs", epochs).Build()
		if err != nil {
			return "", err
		}
		raw, err := jwxjwt.Sign(t, jwxjwt.WithKey(algorithm, key, jws.WithProtectedHeaders(headers)))
		return string(raw), err
	}
}

// What the peers sign is as good as what Latchkey signs: each of their tokens passes a verifier, and but for the typ that
// one of them can't set, Latchkey's.
func TestSigners(t *testing.T) {
	for _, alg := range algorithms {
		s := signer(t, alg)
		a := must[*token.Access](t)(fixture.Access())
		for name, sign := range signersOf(t, alg, s) {
			raw, err := sign(a)
			if err != nil {
				t.Errorf("%s %s: %v", name, alg, err)
				continue
			}
			verify := latchkeyVerifier(t, s, nil)
			if name == "cristalhq" {
				verify = golangJWT(alg, s)
			}
			if err := verify(raw); err != nil {
				t.Errorf("%s %s: %v", name, alg, err)
			}
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range algorithms {
		b.Run(string(alg), func(b *testing.B) {
			s := signer(b, alg)
			ring := make([]*token.Access, ringSize)
			inputs := make([][]byte, ringSize)
			for i := range ring {
				ring[i] = must[*token.Access](b)(fixture.Access())
				inputs[i], _ = split(b, must[string](b)(ring[i].Sign(b.Context(), s.Key)))
			}
			all := make(map[string]func(i int) error)
			for name, sign := range signersOf(b, alg, s) {
				all[name] = func(i int) error {
					_, err := sign(ring[i])
					return err
				}
			}
			all["bare"] = func(i int) error {
				_, err := bareSign(s.Private, inputs[i])
				return err
			}
			compare(b, all)
		})
	}
}
