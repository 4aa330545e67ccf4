package grant_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

func TestSignIn(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop"})
	a := w.signIn("shop", secret)
	if a.field("token_type") != "Bearer" || a.expiresIn() != 900 || a.field("scope") != "orders:read orders:write profile" {
		t.Errorf("got %s", a.body)
	}
	claims := w.claims(a)
	if claims.ClientID != "shop" || claims.Subject != "shop" || len(claims.Audience) != 1 || claims.Audience[0] != orders {
		t.Errorf("got %+v", claims)
	}
	record, err := w.registry.Get(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(claims.Epochs) != 1 || claims.Epochs[0] != record.Sealed()[0] {
		t.Errorf("the epochs sealed are %v, the record's %v", claims.Epochs, record.Sealed())
	}
	if !claims.AuthTime.Equal(w.now()) {
		t.Errorf("auth_time %v", claims.AuthTime)
	}
	sealed, err := w.refresh.Verify(t.Context(), a.field("refresh_token"))
	if err != nil {
		t.Fatal(err)
	}
	if sealed.Mode != token.ModeBearer || sealed.GrantID != claims.GrantID || sealed.Scope.String() != a.field("scope") {
		t.Errorf("sealed %+v", sealed)
	}
	if got := sealed.GrantEnds.Sub(w.now()); got != 24*time.Hour {
		t.Errorf("a bearer grant ends after %v, want 24h", got)
	}
	if !strings.Contains(a.log, `"msg":"token.issued"`) || !strings.Contains(a.log, claims.GrantID) || !strings.Contains(a.log, claims.ID) {
		t.Errorf("log: %s", a.log)
	}
}

func TestBothAuthenticationMethods(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop"})
	a := w.do(w.token, post(oauth.PathToken, "grant_type", "client_credentials", "client_id", "shop", "client_secret", secret))
	if a.status != http.StatusOK {
		t.Errorf("client_secret_post: %d %s", a.status, a.body)
	}
	// RFC 6749 §2.3.1: id and secret are form-encoded before base64.
	a = w.do(w.token, basic(post(oauth.PathToken, "grant_type", "client_credentials", "client_id", "shop"), "sh%6Fp", strings.Replace(secret, "_", "%5F", 1)))
	if a.status != http.StatusOK {
		t.Errorf("form-encoded Basic with the same client_id: %d %s", a.status, a.body)
	}
}

func TestScopeDownAndUpAgain(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop"})
	for path, first := range map[string]answer{
		oauth.PathRefresh: w.signIn("shop", secret),
		oauth.PathToken:   w.signIn("shop", secret, "scope", "orders:write orders:read"),
	} {
		endpoint := w.refreshOnly
		if path == oauth.PathToken {
			endpoint = w.token
		}
		granted := first.field("scope")
		for _, step := range []struct{ ask, want string }{
			{"orders:read", "orders:read"},
			{"", granted},
			{"orders:write orders:read", "orders:write orders:read"},
			{"orders:read orders:read", "orders:read"},
		} {
			pairs := []string{"grant_type", "refresh_token", "client_id", "shop", "refresh_token", first.field("refresh_token")}
			if step.ask != "" {
				pairs = append(pairs, "scope", step.ask)
			}
			a := w.do(endpoint, post(path, pairs...))
			if a.status != http.StatusOK || a.field("scope") != step.want || w.claims(a).Scope.String() != step.want {
				t.Errorf("%s, asked %q: %d %s", path, step.ask, a.status, a.body)
			}
			if a.field("refresh_token") != "" {
				t.Errorf("%s: a new refresh token before half of the old one's life", path)
			}
			if w.claims(a).GrantID != w.claims(first).GrantID || !w.claims(a).AuthTime.Equal(w.claims(first).AuthTime) {
				t.Errorf("%s: the grant changed on the way", path)
			}
		}
	}
}

func TestResource(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop"})
	audience := func(a answer) string {
		t.Helper()
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return strings.Join(w.claims(a).Audience, " ")
	}
	all := w.signIn("shop", secret)
	if got := audience(all); got != orders {
		t.Errorf("by default a token is for %s", got)
	}
	if got := audience(w.renew("shop", all.field("refresh_token"), "resource", invoices)); got != invoices {
		t.Errorf("refreshed for another of the grant's audiences, it is for %s", got)
	}
	one := w.signIn("shop", secret, "resource", invoices)
	if got := audience(one); got != invoices {
		t.Errorf("asked for invoices, got %s", got)
	}
	if got := audience(w.renew("shop", one.field("refresh_token"))); got != invoices {
		t.Errorf("a grant for invoices gave %s", got)
	}
	if a := w.renew("shop", one.field("refresh_token"), "resource", orders); a.field("error") != "invalid_target" || a.status != 400 {
		t.Errorf("a grant for invoices alone: %d %s", a.status, a.body)
	}
}

// A bearer grant ends at its time, whatever is done with it.
func TestBearerGrantDoesNotSlide(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop"})
	first := w.signIn("shop", secret)
	w.pass(24*time.Hour - 10*time.Minute)
	a := w.renew("shop", first.field("refresh_token"))
	if a.status != http.StatusOK || a.field("refresh_token") != "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a.expiresIn() != 600 {
		t.Errorf("expires_in %d: an access token must not outlive its grant", a.expiresIn())
	}
	w.pass(10*time.Minute - time.Second)
	if a := w.renew("shop", first.field("refresh_token")); a.status != http.StatusOK || a.expiresIn() != 1 {
		t.Errorf("in the last second: %d %s", a.status, a.body)
	}
	w.pass(time.Second)
	if a := w.renew("shop", first.field("refresh_token")); a.field("error") != "invalid_grant" {
		t.Errorf("at the end: %d %s", a.status, a.body)
	}
}

// A stateless refresh token that can last longer is renewed past half its life, up to the grant's end.
func TestRenewalOfRefreshTokens(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop", RefreshTokenLifetime: 10 * time.Hour})
	first := w.signIn("shop", secret)
	w.pass(5 * time.Hour)
	if a := w.renew("shop", first.field("refresh_token")); a.field("refresh_token") != "" {
		t.Error("renewed at half its life; it is due past that")
	}
	w.pass(time.Second)
	second := w.renew("shop", first.field("refresh_token"), "scope", "profile")
	if second.field("refresh_token") == "" {
		t.Fatal("not renewed past half its life")
	}
	old, err1 := w.refresh.Verify(t.Context(), first.field("refresh_token"))
	renewed, err2 := w.refresh.Verify(t.Context(), second.field("refresh_token"))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if renewed.Scope.String() != old.Scope.String() || !renewed.GrantEnds.Equal(old.GrantEnds) || !renewed.AuthTime.Equal(old.AuthTime) ||
		renewed.GrantID != old.GrantID || renewed.Mode != old.Mode || renewed.ID == old.ID {
		t.Errorf("renewal must copy what was sealed, under a new jti:\n%+v\n%+v", old, renewed)
	}
	w.pass(9 * time.Hour)
	third := w.renew("shop", second.field("refresh_token"))
	last, err := w.refresh.Verify(t.Context(), third.field("refresh_token"))
	if err != nil {
		t.Fatal(err)
	}
	if !last.ExpiresAt.Equal(old.GrantEnds) {
		t.Errorf("it ends at %v, the grant at %v", last.ExpiresAt, old.GrantEnds)
	}
}

func TestModeSecret(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "vault", RefreshMode: token.ModeSecret})
	first := w.signIn("vault", secret)
	a := w.renew("vault", first.field("refresh_token"))
	if a.status != 400 || a.field("error") != "unauthorized_client" || !strings.Contains(a.field("error_description"), oauth.PathToken) {
		t.Errorf("at the refresh endpoint: %d %s", a.status, a.body)
	}
	form := []string{"grant_type", "refresh_token", "client_id", "vault", "refresh_token", first.field("refresh_token")}
	if a := w.do(w.token, post(oauth.PathToken, form...)); a.status != 401 || a.field("error") != "invalid_client" {
		t.Errorf("without its secret: %d %s", a.status, a.body)
	}
	if a := w.do(w.token, basic(post(oauth.PathToken, form...), "vault", secret)); a.status != http.StatusOK {
		t.Errorf("with its secret: %d %s", a.status, a.body)
	}
	// Something was taken from the client: a sign-in before that no longer counts.
	if _, err := w.registry.Update(t.Context(), "vault", func(r *client.Record) error {
		r.Scopes = oauth.Scope{"orders:read", "profile"}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.pass(client.RecordTTL)
	if a := w.do(w.token, basic(post(oauth.PathToken, form...), "vault", secret)); a.field("error") != "invalid_grant" {
		t.Errorf("after narrowing: %d %s", a.status, a.body)
	}
}

// One instance remembers the record as it was before a narrowing, another signs the client in after it: the newer token is
// good at the first one too.
func TestRefreshOfNewerSignInOnRememberedRecord(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "vault", RefreshMode: token.ModeSecret})
	old := w.signIn("vault", secret) // from here on, this instance remembers the record
	if _, err := w.registry.Update(t.Context(), "vault", func(r *client.Record) error {
		r.Scopes = oauth.Scope{"orders:read"}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	clients := client.NewAuthenticator(w.registry.Store, w.now)
	another := grant.Endpoint{Name: "token", Log: w.logger(), Now: w.now, Types: map[string]grant.Type{
		oauth.GrantClientCredentials: &clientcredentials.Type{Clients: clients, Minter: w.minter},
		oauth.GrantRefreshToken:      &refresh.Type{Tokens: w.refresh, Minter: w.minter, Clients: clients},
	}}.Handler()
	fresh := w.do(another, basic(post(oauth.PathToken, "grant_type", "client_credentials"), "vault", secret))
	renew := func(h http.Handler, held answer) answer {
		return w.do(h, basic(post(oauth.PathToken, "grant_type", "refresh_token", "refresh_token", held.field("refresh_token")), "vault", secret))
	}
	if a := renew(w.token, fresh); a.status != http.StatusOK || a.field("scope") != "orders:read" {
		t.Errorf("a newer token where the record is remembered: %d %s %s", a.status, a.body, a.log)
	}
	if a := renew(another, old); a.field("error") != "invalid_grant" {
		t.Errorf("an older token where the record is new: %d %s", a.status, a.body)
	}
}

func TestNoRefreshTokenForClientsWithoutTheGrant(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop", Grants: []string{"client_credentials"}})
	if a := w.signIn("shop", secret); a.field("refresh_token") != "" {
		t.Error("a refresh token for a client that is registered without")
	}
}

func TestCapsBoundRecords(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop", AccessTokenLifetime: 12 * time.Hour, GrantLifetime: 1000 * time.Hour, RefreshTokenLifetime: 1000 * time.Hour})
	a := w.signIn("shop", secret)
	sealed, err := w.refresh.Verify(t.Context(), a.field("refresh_token"))
	if err != nil {
		t.Fatal(err)
	}
	if a.expiresIn() != 3600 || sealed.ExpiresAt.Sub(w.now()) != 24*time.Hour {
		t.Errorf("access %d s, refresh until %v", a.expiresIn(), sealed.ExpiresAt)
	}
}

// Lowering a cap binds the grants that are out, too: what is remembered of revoked ones is counted from the caps.
func TestLoweredCapEndsGrants(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop", RefreshTokenLifetime: 2 * time.Hour})
	first := w.signIn("shop", secret)
	w.minter.Caps.BearerGrant = 90 * time.Minute
	w.pass(80 * time.Minute)
	if a := w.renew("shop", first.field("refresh_token")); a.status != http.StatusOK || a.expiresIn() != 600 || a.field("refresh_token") != "" {
		t.Errorf("ten minutes before the cap: %d %s", a.status, a.body)
	}
	w.pass(10 * time.Minute)
	if a := w.renew("shop", first.field("refresh_token")); a.field("error") != "invalid_grant" {
		t.Errorf("at the cap: %d %s", a.status, a.body)
	}
}
