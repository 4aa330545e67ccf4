package doctor

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// overdue is how late a deployment's rotation may be: its schedule is hourly.
const overdue = 3 * time.Hour

const (
	checkAccess  = "keys.access"
	checkRefresh = "keys.refresh"
	checkPublic  = "keys.public"
)

func (e *Examination) keys(ctx context.Context) {
	e.access = e.ring(ctx, checkAccess, "--access-secret", e.Access)
	e.ring(ctx, checkRefresh, "--refresh-secret", e.Refresh)
	e.published(ctx)
}

// ring looks at one ring of private keys, and returns it if it could be read.
func (e *Examination) ring(ctx context.Context, check, flag string, vault keyring.Vault) *keyring.Document {
	if vault == nil {
		e.skip(check, "not named (%s)", flag)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d, err := vault.Load(ctx)
	switch {
	case errors.Is(err, keyring.ErrNoKeys):
		e.fail(check, e.makeKeys(), "there are no keys: nothing can be signed")
	case err != nil:
		e.trouble(check, "secretsmanager:GetSecretValue on the secret", "", err)
	default:
		e.ages(check, d)
		return d
	}
	return nil
}

func (e *Examination) makeKeys() string {
	if e.Laptop {
		return "`latchkey dev` makes the first ones, or `latchkey keys init`"
	}
	return "the deployment's custom resource FirstKeys makes the first ones: look at the rotate function's log; `latchkey keys init` makes them, too"
}

// ages judges the times of a ring's keys.
func (e *Examination) ages(check string, d *keyring.Document) {
	now := e.Now()
	signing, pending := d.In(keyring.StateSigning, now), d.In(keyring.StatePending, now)
	if len(signing) == 0 {
		e.fail(check, "`latchkey keys rotate --now` makes one that signs at once", "no key signs now; there are: %s", states(d, now))
		return
	}
	k := signing[0]
	due := time.Unix(k.SignsFrom, 0).Add(e.Period)
	switch late := now.Sub(due); {
	case len(pending) > 0:
		e.ok(check, "%s, signs since %s; the next one from %s on", k.Algorithm, day(k.SignsFrom), day(pending[0].SignsFrom))
	case k.VerifyUntil != 0:
		e.fail(check, "`latchkey keys rotate` makes one", "the key that signs ends at %s, and there is none to follow it", day(k.VerifyUntil))
	case late > 0 && e.Laptop:
		e.warn(check, "`latchkey keys rotate`", "%s, signs since %s: due to be replaced for %s, which nothing does by itself on a laptop", k.Algorithm, day(k.SignsFrom), span(late))
	case late > overdue:
		e.fail(check, "the rotate function is to run every hour: look at its log and its schedule; `latchkey keys rotate` makes one meanwhile",
			"%s, signs since %s: a new key is overdue by %s", k.Algorithm, day(k.SignsFrom), span(late))
	case late > 0:
		e.ok(check, "%s, signs since %s; the next one is due now", k.Algorithm, day(k.SignsFrom))
	default:
		e.ok(check, "%s, signs since %s; the next one is due in %s", k.Algorithm, day(k.SignsFrom), span(late))
	}
}

// states counts a ring's keys by what they do.
func states(d *keyring.Document, now time.Time) string {
	var words []string
	for _, s := range keyring.States(d.Keys, now) {
		words = append(words, string(s))
	}
	return strings.Join(words, ", ")
}

// published holds the public document to the private one.
func (e *Examination) published(ctx context.Context) {
	switch {
	case e.Public == nil && e.Laptop:
		e.skip(checkPublic, "the store does not open")
		return
	case e.Public == nil:
		e.skip(checkPublic, "not named (--keys-table)")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d, _, err := e.Public.PublicKeys(ctx)
	switch {
	case errors.Is(err, keyring.ErrNoKeys):
		e.fail(checkPublic, e.makeKeys(), "no key is published: nobody can verify a token")
		return
	case err != nil:
		e.trouble(checkPublic, "dynamodb:GetItem on the keys table", "", err)
		return
	}
	e.public = d
	if e.access == nil {
		e.ok(checkPublic, "%d published; the private ones are not at hand to be compared", len(d.JWKS(e.Now()).Keys))
		return
	}
	want, err := e.access.Public()
	if err != nil {
		e.fail(checkPublic, "", "%v", err)
		return
	}
	e.compare(want, d)
}

// settling is how long a published key may be ahead of the private document: rotate publishes first.
const settling = 2 * keyring.CommitWithin

// compare tells whether the keys published are those that the private document has.
func (e *Examination) compare(want, have *keyring.PublicDocument) {
	const fix = "the rotate function writes what the private keys say, at its next run; is it this deployment's secret and table?"
	now := e.Now()
	published := map[string]keyring.PublicKey{}
	for _, k := range have.Keys {
		published[k.JWK.ID] = k
	}
	for i, state := range keyring.States(want.Keys, now) {
		k := want.Keys[i]
		p, there := published[k.JWK.ID]
		delete(published, k.JWK.ID)
		switch {
		case state == keyring.StateRetired:
		case !there || p.JWK != k.JWK:
			e.fail(checkPublic, fix, "the access key %s, which is %s, is not published", k.JWK.ID, state)
			return
		case p.Times != k.Times:
			e.warn(checkPublic, fix, "the access key %s is published with other times than it has", k.JWK.ID)
			return
		}
	}
	for id, p := range published {
		ended := p.VerifyUntil != 0 && p.VerifyUntil <= now.Unix()
		if !ended && now.Sub(time.Unix(p.Published, 0)) > settling {
			e.fail(checkPublic, "find out who published it: whoever has its private half makes tokens that are taken. "+fix,
				"the key %s is published, and is none of the access keys", id)
			return
		}
	}
	e.ok(checkPublic, "%d published, the public halves of the private ones", len(have.JWKS(now).Keys))
}
