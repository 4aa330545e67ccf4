package grant_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/password"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
	"github.com/latchkey-auth/latchkey/pkg/user/usertest"
)

const pass = "correct horse battery"

// people is a world in which users sign in, through the client web.
type people struct {
	*world
	users  *user.Registry
	store  *usertest.Store
	secret string // of the client
	entry  http.Handler
}

func newPeople(t *testing.T) *people {
	w := newWorld(t)
	told := &feed{set: revocation.NewSet()}
	p := &people{world: w, store: &usertest.Store{}}
	p.users = &user.Registry{Store: p.store, Revocations: told, Now: w.now}
	p.registry.Revocations, w.minter.Revocations = told, told
	var err error
	if w.refresh, err = token.NewRefreshVerifier(token.Config{Issuer: issuer, Keys: w.keys, Now: w.now, Revocations: told}); err != nil {
		t.Fatal(err)
	}
	w.refreshOnly = grant.Endpoint{Name: "refresh", Log: w.logger(), Now: w.now, NoCredentials: true, Types: map[string]grant.Type{
		oauth.GrantRefreshToken: &refresh.Type{Tokens: w.refresh, Minter: w.minter},
	}}.Handler()
	p.secret = w.register(client.Spec{ID: "web", Grants: []string{oauth.GrantPassword, oauth.GrantRefreshToken}})
	p.entry = grant.Endpoint{Name: "token", Log: w.logger(), Now: w.now, Types: map[string]grant.Type{
		oauth.GrantPassword: &password.Type{
			Clients: client.NewAuthenticator(w.registry.Store, w.now), Minter: w.minter,
			Users: user.NewAuthenticator(user.AuthenticatorConfig{
				Users: p.store, Params: user.Params{Memory: 64, Time: 1, Threads: 1}, Log: slog.New(slog.DiscardHandler), Now: w.now,
				Backoff: &backoff.Limiter{Store: p.store, Now: w.now, Key: func(context.Context) ([]byte, error) { return make([]byte, 32), nil }},
			}),
		},
	}}.Handler()
	return p
}

func (p *people) person(name string, scope ...string) *user.Record {
	p.t.Helper()
	r, err := p.users.Create(p.t.Context(), user.Spec{Username: name, Scopes: scope, Password: pass})
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *people) try(name, password string, pairs ...string) answer {
	p.t.Helper()
	form := append([]string{"grant_type", "password", "username", name, "password", password}, pairs...)
	return p.do(p.entry, basic(post(oauth.PathToken, form...), "web", p.secret))
}

func (p *people) refused(a answer, status int, code string) {
	p.t.Helper()
	if a.status != status || a.field("error") != code {
		p.t.Fatalf("%d %s; want %d %s. The log says %s", a.status, a.body, status, code, a.log)
	}
	if strings.Contains(a.log, pass) {
		p.t.Fatalf("the log has the password: %s", a.log)
	}
}

func TestPasswordGrant(t *testing.T) {
	p := newPeople(t)
	ada := p.person("ada", "orders:write", "orders:read", "admin")

	a := p.try("Ada", pass)
	if a.status != http.StatusOK || a.field("scope") != "orders:read orders:write" || !strings.Contains(a.log, `"sub":"`+ada.ID) || strings.Contains(a.log, pass) {
		t.Fatalf("%d %s %s", a.status, a.body, a.log)
	}
	claims := p.claims(a)
	if claims.Subject != ada.ID || claims.ClientID != "web" || len(claims.Epochs) != 2 || claims.Audience[0] != orders {
		t.Errorf("%+v", claims)
	}
	held, err := p.refresh.Verify(t.Context(), a.field("refresh_token"))
	if err != nil || held.Subject != ada.ID || held.Scope.String() != "orders:read orders:write" || len(held.Epochs) != 2 {
		t.Errorf("%+v, %v", held, err)
	}
	// Down, and up again.
	for _, scope := range []string{"orders:read", "orders:write orders:read"} {
		if r := p.renew("web", a.field("refresh_token"), "scope", scope); r.status != http.StatusOK || r.field("scope") != scope || p.claims(r).Subject != ada.ID {
			t.Errorf("%s: %d %s", scope, r.status, r.body)
		}
	}
	if r := p.renew("web", a.field("refresh_token"), "scope", "profile"); r.field("error") != "invalid_scope" {
		t.Errorf("the client's alone: %s", r.body)
	}

	if a := p.try("ada", pass, "scope", "orders:write", "resource", invoices); a.field("scope") != "orders:write" || p.claims(a).Audience[0] != invoices {
		t.Errorf("%d %s", a.status, a.body)
	}
	p.refused(p.try("ada", pass, "scope", "profile"), http.StatusBadRequest, "invalid_scope") // the client's alone
	p.refused(p.try("ada", pass, "scope", "admin"), http.StatusBadRequest, "invalid_scope")   // the user's alone
	p.refused(p.try("eve", pass, "scope", "admin"), http.StatusBadRequest, "invalid_scope")   // nobody's password is looked at
	p.refused(p.try("ada", pass, "resource", "https://other.example"), http.StatusBadRequest, "invalid_target")
	p.refused(p.try("ada", ""), http.StatusBadRequest, "invalid_request")
	p.refused(p.try("", pass), http.StatusBadRequest, "invalid_request")
	p.refused(p.try("ada", "wrong password"), http.StatusBadRequest, "invalid_grant")
	p.refused(p.try("eve", pass), http.StatusBadRequest, "invalid_grant")

	// The client has to be registered for it, and to say who it is.
	other := p.register(client.Spec{ID: "other"})
	p.refused(p.do(p.entry, basic(post(oauth.PathToken, "grant_type", "password", "username", "ada", "password", pass), "other", other)),
		http.StatusBadRequest, "unauthorized_client")
	p.refused(p.do(p.entry, post(oauth.PathToken, "grant_type", "password", "username", "ada", "password", pass, "client_id", "web")),
		http.StatusUnauthorized, "invalid_client")
	p.refused(p.do(p.entry, basic(post(oauth.PathToken, "grant_type", "password", "username", "ada", "password", pass), "web", other)),
		http.StatusUnauthorized, "invalid_client")
	p.refused(p.do(p.token, basic(post(oauth.PathToken, "grant_type", "client_credentials"), "web", p.secret)),
		http.StatusBadRequest, "unauthorized_client")
}

// TestPasswordBackoff: from where a request comes counts, and who waits is told for how long.
func TestPasswordBackoff(t *testing.T) {
	p := newPeople(t)
	p.person("ada")
	from := func(address, password string) answer {
		r := basic(post(oauth.PathToken, "grant_type", "password", "username", "ada", "password", password), "web", p.secret)
		r.RemoteAddr = address
		r.Header.Set("X-Forwarded-For", "203.0.113.1")
		return p.do(p.entry, r)
	}
	for range 6 {
		p.refused(from("192.0.2.1:1", "wrong password"), http.StatusBadRequest, "invalid_grant")
	}
	a := from("192.0.2.1:2", pass)
	p.refused(a, http.StatusTooManyRequests, "temporarily_unavailable")
	if a.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
	if a := from("192.0.2.2:1", pass); a.status != http.StatusOK {
		t.Errorf("from elsewhere: %d %s", a.status, a.body)
	}
	p.pass(2 * time.Second)
	if a := from("192.0.2.1:3", pass); a.status != http.StatusOK {
		t.Errorf("after the wait: %d %s", a.status, a.body)
	}
}

// TestUserAddress: a client that says where its users are is believed if it is registered for that, and only then.
func TestUserAddress(t *testing.T) {
	p := newPeople(t)
	p.person("ada")
	p.refused(p.try("ada", pass, "user_address", "192.0.2.1"), http.StatusBadRequest, "invalid_request")
	if _, err := p.registry.Update(t.Context(), "web", func(r *client.Record) error { r.ForwardsUserAddress = true; return nil }); err != nil {
		t.Fatal(err)
	}
	p.pass(client.RecordTTL)
	for _, address := range []string{"somewhere", "192.0.2.1:80", "192.0.2.0/24"} {
		p.refused(p.try("ada", pass, "user_address", address), http.StatusBadRequest, "invalid_request")
	}
	for range 6 {
		p.refused(p.try("ada", "wrong password", "user_address", "198.51.100.1"), http.StatusBadRequest, "invalid_grant")
	}
	p.refused(p.try("ada", pass, "user_address", "198.51.100.1"), http.StatusTooManyRequests, "temporarily_unavailable")
	for _, address := range []string{"192.0.2.2", "2001:db8::1", ""} {
		if a := p.try("ada", pass, "user_address", address); a.status != http.StatusOK {
			t.Errorf("%q, while another guesses: %d %s", address, a.status, a.body)
		}
	}
}

// TestPermissionsChange narrows, and the tokens that are out end; it widens, and the next sign-in has it.
func TestPermissionsChange(t *testing.T) {
	p := newPeople(t)
	p.person("ada", "orders:read", "orders:write")
	p.person("bob", "orders:read")
	scope := func(scope ...string) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			_, err := p.users.Update(ctx, "ada", func(r *user.Record) error { r.Scopes = scope; return nil })
			return err
		}
	}
	renews := func(what string, a answer, want string) {
		t.Helper()
		if r := p.renew("web", a.field("refresh_token")); r.field("error") != want || (want == "") != (r.status == http.StatusOK) {
			t.Errorf("%s: %d %s; want %q", what, r.status, r.body, want)
		}
	}
	bobs, adas := p.try("bob", pass), p.try("ada", pass)
	if err := scope("orders:read", "orders:write", "profile")(t.Context()); err != nil {
		t.Fatal(err)
	}
	renews("widened", adas, "")
	if r := p.renew("web", adas.field("refresh_token"), "scope", "profile"); r.field("error") != "invalid_scope" {
		t.Errorf("what was added is had by a refresh: %s", r.body)
	}
	if a := p.try("ada", pass); a.field("scope") != "orders:read orders:write profile" {
		t.Errorf("what was added is not had by the next sign-in: %s", a.body)
	}

	for what, change := range map[string]func(context.Context) error{
		"narrowed": scope("orders:read"),
		"password": func(ctx context.Context) error { _, err := p.users.SetPassword(ctx, "ada", pass); return err },
		"revoked":  func(ctx context.Context) error { _, err := p.users.RevokeTokens(ctx, "ada"); return err },
	} {
		before := p.try("ada", pass)
		if err := change(t.Context()); err != nil {
			t.Fatal(err)
		}
		renews(what, before, "invalid_grant")
		renews(what+", and signed in again", p.try("ada", pass), "")
	}

	before := p.try("ada", pass)
	if _, err := p.users.SetDisabled(t.Context(), "ada", true); err != nil {
		t.Fatal(err)
	}
	renews("disabled", before, "invalid_grant")
	p.refused(p.try("ada", pass), http.StatusBadRequest, "invalid_grant")
	if _, err := p.users.SetDisabled(t.Context(), "ada", false); err != nil {
		t.Fatal(err)
	}
	renews("enabled", before, "invalid_grant")
	last := p.try("ada", pass)
	renews("enabled, and signed in again", last, "")
	if err := p.users.Delete(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	p.person("ada", "orders:read", "orders:write")
	renews("deleted and made anew", last, "invalid_grant")

	renews("of another user", bobs, "")
	if _, err := p.registry.RevokeTokens(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	renews("of another user, when something is taken from the client", bobs, "invalid_grant")
	p.pass(2 * client.RereadInterval)
	renews("of another user, signed in again at once", p.try("bob", pass), "") // not by the client's record as it is remembered
}
