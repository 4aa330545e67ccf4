// Command latchkey is Latchkey's two token endpoints over net/http, put together as functions/token and functions/refresh
// do it and with every check on: ES256 access tokens and HS256 refresh tokens, a view of the revocation feed that is kept
// fresh, one JSON line a request written to a file. What Lambda and AWS do around them is left out: clients and keys are
// in memory, each record read is decoded from its stored form.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/latchkey-auth/latchkey/bench/endpoint/internal/stand"
	"github.com/latchkey-auth/latchkey/internal/clock"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/clientassertion"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

const issuer = "https://auth.example.com"

func main() {
	seats := flag.Int("seats", 1, "how many tokens are refreshed side by side")
	clients := flag.Int("clients", 1, "how many clients they are of, in turn")
	logFile := flag.String("log", os.DevNull, "`file` that takes the log")
	flag.Parse()

	out, err := openLog(*logFile)
	stand.Must(err)
	store, err := newClientStore(*clients)
	stand.Must(err)
	records, secrets, err := register(store, *clients)
	stand.Must(err)
	handler, minter, public, err := endpoints(store, jsonlog.New(out))
	stand.Must(err)
	a := stand.Announcement{
		TokenPath: oauth.PathToken, RefreshPath: oauth.PathRefresh, Bare: true, Scope: "orders:read orders:write", PublicKey: public,
	}
	for i := range max(*seats, *clients) {
		i %= *clients
		refresh, err := signIn(minter, records[i])
		stand.Must(err)
		a.Credentials = append(a.Credentials, stand.Credential{ID: records[i].ID, Secret: secrets[i], RefreshToken: refresh})
	}
	l, _ := stand.Listen()
	stand.Serve(l, a, handler)
}

// register makes the clients. Lifetimes and refresh mode are the default ones.
func register(store *clientStore, clients int) (records []*client.Record, secrets []string, err error) {
	registry := &client.Registry{Store: store, Now: clock.Now}
	for i := range clients {
		record, secret, err := registry.Create(context.Background(), client.Spec{
			ID: clientID(i), Name: "a shop", Scopes: oauth.Scope{"orders:read", "orders:write", "profile"},
			Audiences: []string{"https://orders.example.com", "https://invoices.example.com"},
		})
		if err != nil {
			return nil, nil, err
		}
		records, secrets = append(records, record), append(secrets, secret)
	}
	return records, secrets, nil
}

// signIn makes a refresh token without the token endpoint, which remembers whom it has seen: /oauth2/refresh, whose function
// is another, knows nothing of that.
func signIn(minter *grant.Minter, r *client.Record) (string, error) {
	answer, err := minter.SignIn(context.Background(), grant.SignIn{
		ClientID: r.ID, Subject: r.ID, Epochs: r.Sealed(), Scope: r.Scopes, Resources: r.Audiences,
		Refreshable: true, Mode: r.RefreshMode,
		AccessLifetime: r.AccessLifetime(), RefreshLifetime: r.RefreshLifetime(), GrantDuration: r.GrantDuration(),
	}, new(oauth.Outcome))
	if err != nil {
		return "", err
	}
	return answer.RefreshToken, nil
}

// endpoints is what the functions' newHandler makes of AWS.
func endpoints(store *clientStore, log *slog.Logger) (http.Handler, *grant.Minter, string, error) {
	view, err := freshView(log)
	if err != nil {
		return nil, nil, "", err
	}
	access, public, err := newKey(keyring.UseAccess, keyring.ES256, view, log)
	if err != nil {
		return nil, nil, "", err
	}
	refreshKeys, _, err := newKey(keyring.UseRefresh, keyring.HS256, view, log)
	if err != nil {
		return nil, nil, "", err
	}
	minter := &grant.Minter{Issuer: issuer, Now: clock.Now, AccessKeys: access, RefreshKeys: refreshKeys, Revocations: view}
	tokens, err := token.NewRefreshVerifier(token.Config{Issuer: issuer, Keys: refreshKeys, Revocations: view, Now: clock.Now})
	if err != nil {
		return nil, nil, "", err
	}
	addresses := func(path string) []string { return []string{issuer + path} }
	authenticator := &clientassertion.Authenticator{
		Clients: client.NewAuthenticator(store, clock.Now), Issuer: issuer, TokenEndpoints: addresses(oauth.PathToken), Now: clock.Now,
	}
	proofs := &dpop.Verifier{Nonces: &dpop.Nonces{Keys: refreshKeys, Now: clock.Now}, Now: clock.Now}
	mux := http.NewServeMux()
	mux.Handle(oauth.PathToken, grant.Endpoint{
		Name: "token", Log: log, Now: clock.Now, URLs: addresses(oauth.PathToken), Proofs: proofs,
		Types: map[string]grant.Type{
			oauth.GrantClientCredentials: &clientcredentials.Type{Clients: authenticator, Minter: minter},
			oauth.GrantRefreshToken:      &refresh.Type{Tokens: tokens, Minter: minter, Clients: authenticator},
		},
	}.Handler())
	mux.Handle(oauth.PathRefresh, grant.Endpoint{
		Name: "refresh", NoCredentials: true, Log: log, Now: clock.Now, URLs: addresses(oauth.PathRefresh), Proofs: proofs,
		Types: map[string]grant.Type{
			oauth.GrantRefreshToken: &refresh.Type{Tokens: tokens, Minter: minter},
		},
	}.Handler())
	return mux, minter, public, nil
}

// newKey makes a ring of one key and, of an ES256 key, the public half.
func newKey(use keyring.Use, alg keyring.Algorithm, view *revocation.View, log *slog.Logger) (*keyring.Source, string, error) {
	key, err := keyring.Generate(alg, clock.Now())
	if err != nil {
		return nil, "", err
	}
	public := ""
	if alg == keyring.ES256 {
		private, err := x509.ParsePKCS8PrivateKey(key.Private)
		if err != nil {
			return nil, "", err
		}
		public = stand.PublicKey(private.(*ecdsa.PrivateKey).Public())
	}
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{key}}
	return keyring.NewSource(keyring.SourceConfig{
		Load:    func(context.Context) (*keyring.Document, error) { return d, nil },
		Revoked: view.KeyRevoked, Now: clock.Now, Log: log,
	}), public, nil
}

// freshView is a view of a feed that tells of some thousand revocations, none of which matches what is made here.
func freshView(log *slog.Logger) (*revocation.View, error) {
	said := clock.Now().Add(-time.Hour)
	var entries revocations
	for i := range 5_000 {
		id := token.NewID("")
		switch i % 3 {
		case 0:
			entries = append(entries, revocation.Grant(id, said))
		case 1:
			entries = append(entries, revocation.Below(id, 2, said))
		case 2:
			entries = append(entries, revocation.Subject(id, said, said))
		}
	}
	return revocation.NewView(revocation.ViewConfig{
		Source: revocation.NewFeed(revocation.FeedConfig{Source: entries, Log: log, Now: clock.Now}),
		Window: grant.DefaultGrantCap, RefreshOnly: true, Now: clock.Now, Log: log,
	})
}
