package grant_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// wary is a token endpoint that asks a view of the store's feed before it lets anybody sign in.
type wary struct {
	*world
	log     *boltstore.Store
	handler http.Handler
	reads   int  // of client records
	down    bool // the feed
}

func newWary(t *testing.T) *wary {
	t.Helper()
	w := &wary{world: newWorld(t)}
	w.log = w.registry.Store.(*boltstore.Store)
	w.registry.Revocations = w.log
	feed := revocation.NewFeed(revocation.FeedConfig{Source: w.log, Log: w.logger(), Now: w.now})
	view, err := revocation.NewView(revocation.ViewConfig{
		Source: pages(func(ctx context.Context, after string, since time.Time) (*revocation.Page, error) {
			if w.down {
				return nil, errors.New("the feed is down")
			}
			return feed.Page(ctx, after, since)
		}),
		Window: grant.DefaultGrantCap, Now: w.now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.minter.Revocations = view
	if w.access, err = token.NewAccessVerifier(token.Config{Issuer: issuer, Audiences: []string{orders, invoices}, Keys: w.minter.AccessKeys.(token.VerificationKeys), Revocations: view, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	w.handler = grant.Endpoint{Name: "token", Log: w.logger(), Now: w.now, Types: map[string]grant.Type{
		oauth.GrantClientCredentials: &clientcredentials.Type{Clients: client.NewAuthenticator(w, w.now), Minter: w.minter},
	}}.Handler()
	return w
}

// Client implements client.Reader.
func (w *wary) Client(ctx context.Context, id string) (*client.Stored, error) {
	w.reads++
	return w.log.Client(ctx, id)
}

// pages implements revocation.Source.
type pages func(ctx context.Context, after string, since time.Time) (*revocation.Page, error)

func (p pages) Page(ctx context.Context, after string, since time.Time) (*revocation.Page, error) {
	return p(ctx, after, since)
}

// enter signs in. Tokens that are handed out must be good; whatever is not handed out must be told as status and code say.
// reads is how often the store may be asked for it.
func (w *wary) enter(what, secret string, status int, code oauth.Code, reads int) answer {
	w.t.Helper()
	w.reads = 0
	a := w.do(w.handler, basic(post(oauth.PathToken, "grant_type", "client_credentials"), "shop", secret))
	if a.status != status || a.field("error") != string(code) || w.reads != reads {
		w.t.Errorf("%s: %d %s after %d reads, want %d %s after %d: %s", what, a.status, a.body, w.reads, status, code, reads, a.log)
	}
	if retry := a.header.Get("Retry-After"); (retry != "") != (status == http.StatusServiceUnavailable) {
		w.t.Errorf("%s: Retry-After %q", what, retry)
	}
	if a.status == http.StatusOK {
		w.claims(a)
	} else if strings.Contains(a.body, "_token\"") || strings.Contains(a.log, `"jti"`) {
		w.t.Errorf("%s: %s %s", what, a.body, a.log)
	}
	return a
}

// A sign-in hands out no tokens that are known to be revoked: it goes by the record as it is by now, or is told as an outage.
func TestSignInIsNotRevoked(t *testing.T) {
	const heard = revocation.PollInterval + revocation.FeedMemory + time.Second // less than a record is remembered for
	for name, row := range map[string]struct {
		revoke func(w *wary) error
		status int
		code   oauth.Code
		scope  string
	}{
		"nothing": {func(*wary) error { return nil }, 200, "", "orders:read orders:write profile"},
		"narrowed": {func(w *wary) error {
			_, err := w.registry.Update(w.t.Context(), "shop", func(r *client.Record) error {
				r.Scopes = oauth.Scope{"profile"}
				return nil
			})
			return err
		}, 200, "", "profile"},
		"disabled": {func(w *wary) error {
			_, err := w.registry.SetDisabled(w.t.Context(), "shop", true)
			return err
		}, 401, oauth.InvalidClient, ""},
		"deleted": {func(w *wary) error { return w.registry.Delete(w.t.Context(), "shop") }, 401, oauth.InvalidClient, ""},
		// The feed was told, and then the record could not be written.
		"told alone": {func(w *wary) error {
			r, err := w.registry.Get(w.t.Context(), "shop")
			if err != nil {
				return err
			}
			return w.log.Append(w.t.Context(), revocation.Below(r.Handle, r.Epoch+1, w.now()))
		}, 503, oauth.Unavailable, ""},
		"cut off": {func(w *wary) error {
			return w.log.Append(w.t.Context(), revocation.Before(w.now().Add(time.Minute), w.now()))
		}, 503, oauth.Unavailable, ""},
		"its subject is cut off": {func(w *wary) error {
			return w.log.Append(w.t.Context(), revocation.Subject("shop", w.now().Add(time.Minute), w.now()))
		}, 503, oauth.Unavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWary(t)
			secret := w.register(client.Spec{ID: "shop"})
			w.enter("at first", secret, 200, "", 1)
			if err := row.revoke(w); err != nil {
				t.Fatal(err)
			}
			w.pass(heard)
			reads := 1
			if name == "nothing" {
				reads = 0
			}
			a := w.enter("once it is known", secret, row.status, row.code, reads)
			if row.status != 200 {
				if row.code == oauth.Unavailable && !strings.Contains(a.log, "revoked") && !strings.Contains(a.log, "taken back") {
					t.Errorf("the log has no cause: %s", a.log)
				}
				w.enter("again, at once", secret, row.status, row.code, 0) // a flood of sign-ins reads no more
			} else if got := a.field("scope"); got != row.scope {
				t.Errorf("the scope is %q, want %q", got, row.scope)
			}
			if row.status == 503 && name != "told alone" {
				w.pass(time.Minute)
				w.enter("when the time is over", secret, 200, "", 1)
			}
		})
	}
}

// A view that is too old to go by is an outage for sign-ins as it is for refreshes; until then they go on without the feed.
func TestSignInWithoutTheFeed(t *testing.T) {
	w := newWary(t)
	secret := w.register(client.Spec{ID: "shop"})
	w.down = true
	w.enter("nothing was ever loaded", secret, 503, oauth.Unavailable, 1)
	w.down = false
	w.pass(2 * time.Second)
	w.enter("the feed is up", secret, 200, "", 0)
	w.down = true
	w.pass(20 * time.Second)
	w.enter("not too old", secret, 200, "", 0)
	w.pass(revocation.MaxStaleness)
	w.enter("too old", secret, 503, oauth.Unavailable, 1)
	w.down = false
	w.pass(2 * time.Second)
	w.enter("up again", secret, 200, "", 0)
}

// A failed authentication is logged under the client's name at a refresh, too, if that can be one.
func TestRefusedClientIsNamed(t *testing.T) {
	w := newWorld(t)
	secret := w.register(client.Spec{ID: "shop"})
	held := w.signIn("shop", secret).field("refresh_token")
	wrong, _ := client.NewSecret(w.now())
	for id, named := range map[string]bool{"shop": true, "nobody": true, "Not/An/Id": false} {
		a := w.do(w.token, basic(post(oauth.PathToken, "grant_type", "refresh_token", "refresh_token", held), id, wrong))
		if a.status != 401 || strings.Contains(a.log, `"client_id":"`+id+`"`) != named {
			t.Errorf("%s: %d, logged %s", id, a.status, a.log)
		}
	}
}
