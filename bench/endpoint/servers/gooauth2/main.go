// Command gooauth2 is a token endpoint of go-oauth2/oauth2, as it is configured for sign-in with a secret: ES256 access
// tokens, refresh tokens that work once, its own token store in memory.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"flag"
	"net/http"
	"time"

	"github.com/go-oauth2/oauth2/v4"
	"github.com/go-oauth2/oauth2/v4/generates"
	"github.com/go-oauth2/oauth2/v4/manage"
	"github.com/go-oauth2/oauth2/v4/models"
	"github.com/go-oauth2/oauth2/v4/server"
	"github.com/go-oauth2/oauth2/v4/store"
	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-auth/latchkey/bench/endpoint/internal/stand"
)

func main() {
	seats := flag.Int("seats", 1, "how many tokens are refreshed side by side")
	flag.Parse()
	key, public := stand.Key()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	stand.Must(err)
	m := manage.NewManager()
	m.MapAccessGenerate(generates.NewJWTAccessGenerate("k1", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), jwt.SigningMethodES256))
	m.SetClientTokenCfg(&manage.Config{AccessTokenExp: 15 * time.Minute, RefreshTokenExp: 24 * time.Hour, IsGenerateRefresh: true})
	m.SetRefreshTokenCfg(&manage.RefreshingConfig{
		AccessTokenExp: 15 * time.Minute, RefreshTokenExp: 24 * time.Hour, IsGenerateRefresh: true, IsRemoveAccess: true, IsRemoveRefreshing: true,
	})
	m.MustTokenStorage(store.NewMemoryTokenStore())
	secret := stand.Secret()
	clients := store.NewClientStore()
	stand.Must(clients.Set("shop", &models.Client{ID: "shop", Secret: secret}))
	m.MapClientStorage(clients)
	srv := server.NewServer(server.NewConfig(), m)
	srv.SetAllowedGrantType(oauth2.ClientCredentials, oauth2.Refreshing)
	srv.SetClientInfoHandler(server.ClientBasicHandler)

	l, _ := stand.Listen()
	a := stand.Announcement{TokenPath: "/token", RefreshPath: "/token", Scope: "orders:read orders:write", PublicKey: public}
	for range *seats {
		a.Credentials = append(a.Credentials, stand.Credential{ID: "shop", Secret: secret})
	}
	stand.Serve(l, a, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = srv.HandleTokenRequest(w, r) // it has written the error
	}))
}
