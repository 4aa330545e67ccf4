package e2e

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

const userPassword = "correct horse battery"

// allGrants are those of a client through which users sign in, too.
var allGrants = []string{oauth.GrantClientCredentials, oauth.GrantRefreshToken, oauth.GrantPassword}

func (d *deployment) person(name string, scope ...string) *user.Record {
	d.t.Helper()
	r, err := d.users.Create(d.t.Context(), user.Spec{Username: name, Scopes: scope, Password: userPassword})
	d.must(err)
	return r
}

// userSignIn signs a user in through the client shop.
func (d *deployment) userSignIn(secret, name, password string) answer {
	d.t.Helper()
	return d.call("POST", oauth.PathToken, url.Values{
		"grant_type": {"password"}, "client_id": {"shop"}, "client_secret": {secret}, "username": {name}, "password": {password},
	}, "")
}

// The whole flow with a user's credentials, and what becomes of it when the user's permissions change.
func TestUserFlow(t *testing.T) {
	d := deploy(t, secretsManager)
	secret := d.register(client.Spec{ID: "shop", Grants: allGrants})
	ada, bob := d.person("ada", "orders:read", "orders:write", "admin"), d.person("bob", "orders:read")

	first := d.userSignIn(secret, "Ada", userPassword)
	first.is(200)
	held := first.field("refresh_token")
	d.whoamiIs(200, first.field("access_token"), scope)
	if a := d.call("GET", "/whoami", nil, first.field("access_token")); a.field("sub") != ada.ID {
		t.Errorf("the backend is told of %s, not of %s", a.body, ada.ID)
	}
	renew := func(scope string) answer {
		t.Helper()
		return d.call("POST", oauth.PathRefresh, url.Values{
			"grant_type": {"refresh_token"}, "client_id": {"shop"}, "refresh_token": {held}, "scope": {scope},
		}, "")
	}
	for _, ask := range []string{"orders:read", scope} {
		a := renew(ask)
		a.is(200)
		d.whoamiIs(200, a.field("access_token"), ask)
	}
	if a := renew("admin"); a.field("error") != "invalid_scope" {
		t.Errorf("what the client may not have: %d %s", a.status, a.body)
	}

	// The same answer whatever is wrong.
	_, err := d.users.SetDisabled(t.Context(), "bob", true)
	d.must(err)
	answers := map[string]bool{}
	for _, wrong := range [][2]string{{"ada", "wrong password"}, {"nobody", userPassword}, {"bob", userPassword}} {
		a := d.userSignIn(secret, wrong[0], wrong[1])
		if a.is(400); a.field("error") != "invalid_grant" {
			t.Errorf("%s: %s", wrong[0], a.body)
		}
		answers[a.body] = true
	}
	if len(answers) != 1 {
		t.Errorf("the reasons can be told apart: %v", answers)
	}

	// Narrowed: the client is told to sign in again, and the API takes the token no more.
	_, err = d.users.Update(t.Context(), "ada", func(r *user.Record) error { r.Scopes = oauth.Scope{"orders:read"}; return nil })
	d.must(err)
	d.pass(bound)
	d.answersAre("narrowed", "shop", first.field("access_token"), held, 401, 400)
	again := d.userSignIn(secret, "ada", userPassword)
	if again.is(200); again.field("scope") != "orders:read" {
		t.Errorf("signed in again: %s", again.body)
	}
	d.answersAre("signed in again", "shop", again.field("access_token"), again.field("refresh_token"), 200, 200)
	d.must(d.users.Delete(t.Context(), "ada"))
	d.pass(bound)
	d.answersAre("deleted", "shop", again.field("access_token"), again.field("refresh_token"), 401, 400)
	if d.person("ada", "orders:read").ID == ada.ID || bob.ID == ada.ID {
		t.Error("an id was given twice")
	}
	d.answersAre("made anew", "shop", again.field("access_token"), again.field("refresh_token"), 401, 400)
	d.scanLogs(secret, userPassword, held, first.field("access_token"))
}

// Guessing is slowed down, across sandboxes, and signing in by the client's own credentials goes on meanwhile.
func TestUserBackoff(t *testing.T) {
	d := deploy(t, secretsManager)
	secret := d.register(client.Spec{ID: "shop", Grants: allGrants})
	d.person("ada", "orders:read")
	statuses := map[string][]int{}
	for _, name := range []string{"ada", "nobody"} {
		for i := range 8 {
			if i == 4 {
				d.startVerifiers()
				d.gateways()
			}
			a := d.userSignIn(secret, name, "wrong password")
			statuses[name] = append(statuses[name], a.status)
			if a.status == http.StatusTooManyRequests && (!slices.Contains([]string{"2", "3"}, a.header.Get("Retry-After")) || a.field("error") != "temporarily_unavailable") {
				t.Errorf("%v %s", a.header, a.body)
			}
		}
	}
	want := []int{400, 400, 400, 400, 400, 400, 429, 429}
	if !slices.Equal(statuses["ada"], want) || !slices.Equal(statuses["nobody"], want) {
		t.Errorf("who exists is answered %v, who doesn't %v; want %v", statuses["ada"], statuses["nobody"], want)
	}
	if r := d.signIn("shop", secret); r.Status != 200 {
		t.Errorf("the client's own credentials: %d %s", r.Status, r.Body)
	}
	d.pass(3 * time.Second)
	d.userSignIn(secret, "ada", userPassword).is(200)
}
