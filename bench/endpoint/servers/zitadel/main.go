// Command zitadel is a token endpoint of zitadel/oidc: ES256 access tokens, refresh tokens that work once, the store in
// memory of its own example. It gives no refresh token for client_credentials, so the first ones are made in the store; a
// refresh gives an ID token too, and there is no way to be without.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/latchkey-auth/latchkey/bench/endpoint/internal/stand"
)

// store is the example's with a client and a key of our own.
type store struct {
	*storage.Storage
	client *client
	secret [sha256.Size]byte
	key    signingKey
}

type client struct{ *storage.Client }

func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials, oidc.GrantTypeRefreshToken}
}

func (client) IsScopeAllowed(string) bool { return true }

type signingKey struct{ key *ecdsa.PrivateKey }

func (k signingKey) ID() string                                  { return "k1" }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k signingKey) Key() any                                    { return k.key }

type publicKey struct{ signingKey }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return k.key.Public() }

func (s *store) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }
func (s *store) KeySet(context.Context) ([]op.Key, error)          { return []op.Key{publicKey{s.key}}, nil }
func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

var errClient = errors.New("no such client, or the wrong secret")

func (s *store) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.client.GetID() {
		return nil, errClient
	}
	return s.client, nil
}

func (s *store) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != s.client.GetID() || !stand.Matches(s.secret, secret) {
		return errClient
	}
	return nil
}

func (s *store) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.client, nil
}

func (s *store) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{"https://orders.example.com"}, Scopes: scopes}, nil
}

func main() {
	seats := flag.Int("seats", 1, "how many tokens are refreshed side by side")
	flag.Parse()
	key, public := stand.Key()
	l, origin := stand.Listen()
	secret := stand.Secret()
	s := &store{
		Storage: storage.NewStorage(storage.NewUserStore(origin)),
		client:  &client{storage.WebClient("shop", secret)},
		secret:  sha256.Sum256([]byte(secret)),
		key:     signingKey{key},
	}
	config := &op.Config{CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true}
	rand.Read(config.CryptoKey[:])
	provider, err := op.NewProvider(config, s, op.StaticIssuer(origin), op.WithAllowInsecure())
	stand.Must(err)

	a := stand.Announcement{TokenPath: "/oauth/token", RefreshPath: "/oauth/token", Scope: "orders:read orders:write", PublicKey: public}
	for range *seats {
		_, refresh, _, err := s.CreateAccessAndRefreshTokens(context.Background(), &storage.AuthRequest{
			ID: stand.Secret(), CreationDate: time.Now(), ApplicationID: "shop", UserID: "id1",
			Scopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess, "orders:read", "orders:write"},
		}, "")
		stand.Must(err)
		a.Credentials = append(a.Credentials, stand.Credential{ID: "shop", Secret: secret, RefreshToken: refresh})
	}
	stand.Serve(l, a, provider)
}
