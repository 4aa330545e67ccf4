package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// change is one that an operator makes, in one run of the CLI.
type change struct {
	prepare func() (do func() error, holds func())
	// again is what a second run may be told if the first one had its effect, though its operator did not hear of it.
	again error
}

// Each AWS call of each change that an operator makes fails for good, before its effect or after it, as when the CLI is killed
// there. It is told as a failure, and the same run again has the effect, whatever of the first one there was.
func TestOperatorsFaults(t *testing.T) {
	t.Parallel()
	d := deploy(t, secretsManager)
	n := 0
	name := func() string { n++; return fmt.Sprintf("one-%d", n) }
	ctx := t.Context()
	newClient := func() (string, string) { id := name(); return id, d.register(client.Spec{ID: id, Grants: allGrants}) }
	works := func(what string, r reply, status int) {
		d.t.Helper()
		if r.Status != status {
			d.t.Errorf("%s: %d %s, want %d", what, r.Status, r.Body, status)
		}
	}
	// told wants it said that what is known by that handle ended below the epoch. A record may still be marked as one whose
	// change is to be told: that would be said twice.
	told := func(handle string, before, epoch int64) {
		d.t.Helper()
		said := false
		d.must(d.log.Entries(ctx, d.now().Add(-time.Hour), d.now().Add(time.Minute), func(e revocation.Entry) bool {
			said = said || strings.HasPrefix(e.String(), revocation.Below(handle, epoch, e.At).String())
			return !said
		}))
		if !said || epoch <= before {
			d.t.Errorf("the tokens of before live on: epoch %d, before it %d, told: %v", epoch, before, said)
		}
	}
	changes := map[string]change{
		"client create": {again: client.ErrExists, prepare: func() (func() error, func()) {
			id := name()
			spec := client.Spec{ID: id, Scopes: oauth.Scope{"orders:read"}, Audiences: []string{audience}}
			return func() error { _, _, err := d.clients.Create(ctx, spec); return err }, func() {
				// Its secret may have been lost with the answer: another one is made.
				_, secret, err := d.clients.RotateSecret(ctx, id, client.Rotation{})
				d.must(err)
				works("a new client", d.signIn(id, secret), 200)
			}
		}},
		"client disable": {prepare: func() (func() error, func()) {
			id, secret := newClient()
			in := d.held(d.signIn(id, secret))
			return func() error { _, err := d.clients.SetDisabled(ctx, id, true); return err }, func() {
				d.pass(client.RecordTTL + bound)
				works("a disabled client", d.signIn(id, secret), 401)
				d.answersAre("a disabled client's", id, in.access, in.refresh, 401, 400)
			}
		}},
		"client revoke": {prepare: func() (func() error, func()) {
			id, secret := newClient()
			in := d.held(d.signIn(id, secret))
			return func() error { _, err := d.clients.RevokeTokens(ctx, id); return err }, func() {
				d.pass(client.RecordTTL + bound)
				d.answersAre("a client's, which ended", id, in.access, in.refresh, 401, 400)
				works("signed in again", d.signIn(id, secret), 200)
			}
		}},
		"client rotate-secret": {prepare: func() (func() error, func()) {
			id, old := newClient()
			fresh := ""
			return func() (err error) { _, fresh, err = d.clients.RotateSecret(ctx, id, client.Rotation{}); return err }, func() {
				d.pass(client.RecordTTL)
				works("the new secret", d.signIn(id, fresh), 200)
				works("the old secret", d.signIn(id, old), 401)
			}
		}},
		"client delete": {again: client.ErrNotFound, prepare: func() (func() error, func()) {
			id, secret := newClient()
			in := d.held(d.signIn(id, secret))
			return func() error { return d.clients.Delete(ctx, id) }, func() {
				d.pass(client.RecordTTL + bound)
				works("a deleted client", d.signIn(id, secret), 401)
				d.answersAre("a deleted client's", id, in.access, in.refresh, 401, 400)
			}
		}},
		"user passwd": {prepare: func() (func() error, func()) {
			person := d.person(name(), "orders:read")
			const other = "another good password"
			return func() error { _, err := d.users.SetPassword(ctx, person.Username, other); return err }, func() {
				got, err := d.users.Get(ctx, person.Username)
				d.must(err)
				told(got.Handle, person.Epoch, got.Epoch)
			}
		}},
		"user delete": {again: user.ErrNotFound, prepare: func() (func() error, func()) {
			person := d.person(name(), "orders:read")
			return func() error { return d.users.Delete(ctx, person.Username) }, func() {
				if _, err := d.users.Get(ctx, person.Username); !errors.Is(err, user.ErrNotFound) {
					d.t.Errorf("it is there: %v", err)
				}
			}
		}},
		"issuer revoke": {prepare: func() (func() error, func()) {
			url := "https://" + name() + ".example.com"
			trusted, err := d.issuers.Add(ctx, issuer.Record{
				URL: url, Keys: assertion.KeySource(url + "/jwks"), Audiences: []string{d.issuer}, Algorithms: []string{"ES256"},
				Scopes: oauth.Scope{"orders:read"},
			})
			d.must(err)
			return func() error { _, err := d.issuers.RevokeTokens(ctx, url); return err }, func() {
				got, err := d.issuers.Get(ctx, url)
				d.must(err)
				told(got.Handle, trusted.Epoch, got.Epoch)
			}
		}},
	}
	for name, c := range changes {
		t.Run(name, func(t *testing.T) {
			d.t = t
			d.pass(time.Minute)
			failed := 0
			for call := 1; ; call++ {
				tries := 0
				for i, done := range []bool{false, true} {
					if !testenv.Long() && i == call%2 && call > 1 {
						continue // one of the two
					}
					do, holds := c.prepare()
					d.aws.Fail(testenv.Fault{Call: call, Done: done})
					err := do()
					if _, tries = d.aws.Mend(); tries == 0 {
						break
					}
					failed++
					if err != nil {
						if again := do(); again != nil && (c.again == nil || !errors.Is(again, c.again)) {
							t.Errorf("call %d, after its effect: %v: again: %v", call, done, again)
						}
					}
					if holds(); t.Failed() {
						t.Fatalf("call %d, after its effect: %v: that was the fault; it was told as %v", call, done, err)
					}
				}
				if tries == 0 {
					break
				}
			}
			if t.Logf("%d cases", failed); failed == 0 {
				t.Error("it made no call: this shows nothing")
			}
		})
	}
	d.t = t
}
