// Command fosite is a token endpoint of ory/fosite: ES256 access tokens, refresh tokens that work once, its own store in
// memory. It gives no refresh token for client_credentials, so the first ones come from its password grant. Secrets are
// compared by SHA-256, which its default, bcrypt of cost 12, would make some 250 ms.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"
	"github.com/ory/fosite/token/jwt"

	"github.com/latchkey-auth/latchkey/bench/endpoint/internal/stand"
)

const (
	audience = "https://orders.example.com"
	scopes   = "orders:read orders:write"
)

// hasher stores secrets as Latchkey does.
type hasher struct{}

func (hasher) Compare(_ context.Context, hash, data []byte) error {
	if len(hash) == sha256.Size && stand.Matches([sha256.Size]byte(hash), string(data)) {
		return nil
	}
	return errors.New("wrong secret")
}

func (hasher) Hash(_ context.Context, data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	return sum[:], nil
}

func main() {
	seats := flag.Int("seats", 1, "how many tokens are refreshed side by side")
	flag.Parse()
	key, public := stand.Key()
	l, origin := stand.Listen()
	secret := stand.Secret()
	sum := sha256.Sum256([]byte(secret))

	memory := storage.NewMemoryStore()
	memory.Clients["shop"] = &fosite.DefaultClient{
		ID: "shop", Secret: sum[:], GrantTypes: []string{"client_credentials", "password", "refresh_token"},
		Scopes: strings.Fields(scopes), Audience: []string{audience},
	}
	memory.Users["somebody"] = storage.MemoryUserRelation{Username: "somebody", Password: secret}
	config := &fosite.Config{
		AccessTokenLifespan: 15 * time.Minute, RefreshTokenLifespan: 24 * time.Hour, AccessTokenIssuer: origin,
		RefreshTokenScopes: []string{}, ScopeStrategy: fosite.ExactScopeStrategy, ClientSecretsHasher: hasher{},
		GlobalSecret: []byte(stand.Secret())[:32], JWTScopeClaimKey: jwt.JWTScopeFieldString,
	}
	privateKey := func(context.Context) (any, error) { return key, nil }
	strategy := &compose.CommonStrategy{
		CoreStrategy: compose.NewOAuth2JWTStrategy(privateKey, compose.NewOAuth2HMACStrategy(config), config),
		Signer:       &jwt.DefaultSigner{GetPrivateKey: privateKey},
	}
	provider := compose.Compose(config, memory, strategy,
		compose.OAuth2ClientCredentialsGrantFactory, compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2ResourceOwnerPasswordCredentialsFactory) //nolint:staticcheck // deprecated, and the shortest way to a refresh token
	handler := tokenHandler(provider)

	a := stand.Announcement{TokenPath: "/token", RefreshPath: "/token", Scope: scopes, PublicKey: public}
	for range *seats {
		refresh, err := signIn(provider, secret)
		stand.Must(err)
		a.Credentials = append(a.Credentials, stand.Credential{ID: "shop", Secret: secret, RefreshToken: refresh})
	}
	stand.Serve(l, a, handler)
}

func tokenHandler(provider fosite.OAuth2Provider) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		request, response, err := exchange(ctx, provider, r)
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		provider.WriteAccessResponse(ctx, w, request, response)
	}
}

// exchange is what fosite's documentation has a token endpoint do.
func exchange(ctx context.Context, provider fosite.OAuth2Provider, r *http.Request) (fosite.AccessRequester, fosite.AccessResponder, error) {
	session := &oauth2.JWTSession{JWTClaims: &jwt.JWTClaims{Subject: "shop"}, JWTHeader: &jwt.Headers{}}
	session.JWTHeader.Add("kid", "k1")
	request, err := provider.NewAccessRequest(ctx, r, session)
	if err != nil {
		return request, nil, err
	}
	if request.GetGrantTypes().ExactOne("client_credentials") || request.GetGrantTypes().ExactOne("password") {
		for _, scope := range request.GetRequestedScopes() {
			request.GrantScope(scope)
		}
		request.GrantAudience(audience)
	}
	response, err := provider.NewAccessResponse(ctx, request)
	return request, response, err
}

// signIn gets a refresh token by the password grant.
func signIn(provider fosite.OAuth2Provider, secret string) (string, error) {
	form := url.Values{"grant_type": {"password"}, "username": {"somebody"}, "password": {secret}, "scope": {scopes}}
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("shop", secret)
	_, response, err := exchange(r.Context(), provider, r)
	if err != nil {
		return "", err
	}
	refresh, _ := response.GetExtra("refresh_token").(string)
	return refresh, nil
}
