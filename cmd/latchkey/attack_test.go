package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/attack"
	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

const attackedIssuer = "https://auth.example.com"

// attacked is all of `latchkey dev`, with a clock that stands still and the table's clients. Its log goes to the writer, and is
// looked at if that is an attack.Log.
func attacked(t testing.TB, log io.Writer) *attack.World {
	t.Helper()
	dir := t.TempDir()
	store, err := boltstore.Open(filepath.Join(dir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	clock := new(clocktest.Clock)
	w := &attack.World{
		Store: filepath.Join(dir, storeFile), Clock: clock,
		Clients: &client.Registry{Store: store, Revocations: store, Now: clock.Now},
		Users:   &user.Registry{Store: store, Revocations: store, Now: clock.Now},
	}
	w.Log, _ = log.(*attack.Log)
	keys := openLaptopKeys(dir)
	if _, err := (&app{now: clock.Now}).first(t.Context(), keys, store, keyring.ES256); err != nil {
		t.Fatal(err)
	}
	w.Handler, err = devHandler(devConfig{
		Issuer: attackedIssuer, Clients: store, Users: store, SignIns: store, SignInKey: store.SignInKey,
		Issuers: store, Assertions: store, Public: store, Grants: store, Revocations: store, Keys: keys,
		Log: jsonlog.New(log), Now: clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Register(t)
	return w
}

// TestAttack sends all of package attack's requests to all that `latchkey dev` serves, over HTTP and as API Gateway's events.
func TestAttack(t *testing.T) {
	t.Parallel()
	total := 0
	for class, n := range attacked(t, new(attack.Log)).Run(t) {
		t.Logf("%s: %d requests", class, n)
		total += n
	}
	t.Logf("%d requests of %d cases", total, attack.Count())
}

// TestLimits: floods are told to wait.
func TestLimits(t *testing.T) {
	t.Parallel()
	attacked(t, new(attack.Log)).Limits(t)
}

// BenchmarkAbuse is what a request of a flood costs, beside the signature that a good sign-in costs at the least. Read the
// ratios: what anybody can send must cost less.
func BenchmarkAbuse(b *testing.B) {
	w := attacked(b, io.Discard)
	held := w.SignIn(b, "shop")
	wrong, _ := client.NewSecret(w.Clock.Now())
	otherKey := func(header, token string) string {
		_, rest, _ := strings.Cut(token, ".")
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + rest
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(make([]byte, 500))
	b.Run("bare ES256 signature", func(b *testing.B) {
		for b.Loop() {
			if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
	run := func(name, method, target string, status int, id, secret string, pairs ...string) {
		form := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		body := form.Encode()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(method, target, strings.NewReader(body))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				if id != "" {
					r.SetBasicAuth(id, secret)
				}
				rec := httptest.NewRecorder()
				w.Handler.ServeHTTP(rec, r)
				if rec.Code != status {
					b.Fatalf("%d %s", rec.Code, rec.Body)
				}
			}
		})
	}
	const post, get = http.MethodPost, http.MethodGet
	run("good sign-in", post, oauth.PathToken, 200, "shop", w.Secret("shop"), "grant_type", oauth.GrantClientCredentials)
	run("wrong secret", post, oauth.PathToken, 401, "shop", wrong, "grant_type", oauth.GrantClientCredentials)
	run("mistyped secret", post, oauth.PathToken, 401, "shop", "secret", "grant_type", oauth.GrantClientCredentials)
	run("unknown client", post, oauth.PathToken, 401, "nobody", wrong, "grant_type", oauth.GrantClientCredentials)
	run("refresh by an unknown key", post, oauth.PathRefresh, 400, "", "", "grant_type", oauth.GrantRefreshToken,
		"client_id", "shop", "refresh_token", otherKey(`{"alg":"HS256","kid":"unknown","typ":"rt+jwt"}`, held.RefreshToken))
	run("forged refresh token", post, oauth.PathRefresh, 400, "", "", "grant_type", oauth.GrantRefreshToken,
		"client_id", "shop", "refresh_token", held.RefreshToken[:len(held.RefreshToken)-4]+"AAAA")
	run("introspection by an unknown key", post, oauth.PathIntrospect, 200, "api", w.Secret("api"),
		"token", otherKey(`{"alg":"ES256","kid":"unknown","typ":"at+jwt"}`, held.AccessToken))
	server := httptest.NewServer(w.Handler)
	b.Cleanup(server.Close)
	published, err := remotekeys.New(remotekeys.Config{URL: server.URL + oauth.PathJWKS, Now: w.Clock.Now})
	if err != nil {
		b.Fatal(err)
	}
	verifier, err := token.NewAccessVerifier(token.Config{Issuer: attackedIssuer, Audiences: []string{attack.Orders}, Keys: published, Now: w.Clock.Now})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := verifier.Verify(b.Context(), held.AccessToken); err != nil { // the keys are fetched
		b.Fatal(err)
	}
	unknown := otherKey(`{"alg":"ES256","kid":"unknown","typ":"at+jwt"}`, held.AccessToken)
	b.Run("authorizer's verifier, unknown key", func(b *testing.B) {
		for b.Loop() {
			if _, err := verifier.Verify(b.Context(), unknown); err == nil {
				b.Fatal("it is taken")
			}
		}
	})
	run("largest form", post, oauth.PathToken, 400, "", "", "x", strings.Repeat("x", oauth.MaxBody-2))
	run("form that is too large", post, oauth.PathToken, 413, "", "", "x", strings.Repeat("x", oauth.MaxBody))
	run("largest form, encoded", post, oauth.PathToken, 400, "", "", "x", strings.Repeat("/", oauth.MaxBody/3-2))
	run("feed", get, revocation.PathFeed, 200, "", "")
	run("feed, no cursor", get, revocation.PathFeed+"?after=x", 400, "", "")
	run("JWKS", get, oauth.PathJWKS, 200, "", "")
	run("metadata", get, oauth.PathMetadata, 200, "", "")
}
