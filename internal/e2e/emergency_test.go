package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/kmssigner"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// An emergency while all that is known of revocations is as old as it may be, and a thief who has the refresh key goes on
// forging with it. Once the bound is over, nothing is taken that the old keys signed, nor what was got by it. Sign-ins work.
func TestEmergency(t *testing.T) {
	for name, m := range map[string]mode{"secretsmanager": secretsManager, "kms": {"kms", "kms", "ES256"}} {
		for _, which := range []string{"access", "refresh", "all"} {
			t.Run(name+", "+which, func(t *testing.T) {
				t.Parallel()
				testEmergency(t, m, which, revocation.MaxStaleness, false)
			})
		}
	}
	// Nobody hears of it for as long as they may go on without hearing anything; and the access key stays good.
	t.Run("unheard of", func(t *testing.T) {
		t.Parallel()
		testEmergency(t, secretsManager, "refresh", revocation.MaxStaleness, true)
	})
	t.Run("unheard of for longer", func(t *testing.T) {
		t.Parallel()
		testEmergency(t, secretsManager, "refresh", 3*time.Minute, true)
	})
}

func testEmergency(t *testing.T, m mode, which string, staleness time.Duration, unheard bool) {
	// How long after an emergency of refresh keys sign-ins have to be made again, and a second.
	reach := staleness + revocation.FeedMemory + 11*time.Second
	d := deployWith(t, m, map[string]string{"MAX_STALENESS": staleness.String()})
	secret := d.register(client.Spec{ID: "shop"})
	server := d.register(client.Spec{ID: "orders", Introspects: []string{audience}})
	d.pass(time.Minute)
	old := d.held(d.signIn("shop", secret))
	leaked := d.leakedKey(old)
	refreshEnds := which != "access"
	active := func(raw string) bool {
		t.Helper()
		a := d.call("POST", oauth.PathIntrospect, url.Values{"client_id": {"orders"}, "client_secret": {server}, "token": {raw}}, "")
		if a.status != 200 && (a.status != 503 || !unheard) {
			t.Errorf("introspection: %d %s", a.status, a.body)
		}
		return strings.Contains(a.body, `"active":true`)
	}
	d.answersAre("before", "shop", old.access, old.refresh, 200, 200)
	d.answersAre("forged, before", "shop", old.access, leaked.forge(d.now(), 0), 200, 200)
	if !active(old.access) {
		t.Error("before: to introspection, it is not active")
	}

	// The feed was read just before, and the views ask while that is still remembered.
	d.pass(revocation.PollInterval - 3*time.Second)
	d.signIn("shop", secret) // so that the client's record is at hand
	d.call("GET", fmt.Sprintf("%s?since=%d", revocation.PathFeed, d.now().Unix()), nil, "").is(200)
	said := d.now()
	after := func() time.Duration { return d.now().Sub(said) }
	if out, err := d.rotate.Invoke(t.Context(), []byte(`{"emergency":"`+which+`"}`)); err != nil {
		t.Fatalf("%v %s\n%s", err, out, d.rotate.Logs())
	}
	d.pass(4 * time.Second)
	window := bound
	if unheard {
		d.answersAre("not heard of it", "shop", old.access, old.refresh, 200, 200) // but as of now
		d.feed.down.Store(true)
		window = staleness + 10*time.Second
	}

	// What the thief holds, by how he came to it.
	forged, access := map[string]string{}, map[string]string{"old": old.access}
	forge := func() map[string]string {
		fresh := map[string]string{}
		for _, ahead := range []time.Duration{-time.Hour, 0, token.Leeway, 2 * token.Leeway, time.Minute, reach, 24 * time.Hour} {
			fresh[fmt.Sprintf("sign-in %v from %.0f s", ahead, after().Seconds())] = leaked.forge(d.now(), ahead)
		}
		maps.Copy(forged, fresh)
		return fresh
	}
	last := map[string]time.Duration{} // when something that is to end was last taken
	use := func(refreshTokens map[string]string) {
		for how, raw := range refreshTokens {
			at := after()
			for where, a := range map[string]reply{"refresh": d.renew("shop", raw), "token": d.renewAtToken("shop", raw)} {
				switch a.Status {
				case 200:
					last[where] = at
					access[fmt.Sprintf("%s, %s, got at %.0f s", where, how, after().Seconds())] = a.field("access_token")
				case 400:
				default:
					if a.Status != 503 || !unheard {
						t.Errorf("%s, %s: %d %s", where, how, a.Status, a.Body)
					}
				}
			}
		}
	}
	// ends reports whether an access token is to end with the emergency.
	ends := func(raw string) bool {
		header, _ := d.claims(raw)
		return refreshEnds || header["kid"] == old.kid
	}
	for after() < window {
		use(forge())
		for _, raw := range access {
			status, at := 0, after()
			if ends(raw) {
				status = d.getWhoami(raw)
			}
			if status == 200 {
				last["authorizer"] = at
			}
			if status == 500 && unheard {
				break // it would say so of each
			}
		}
		if at := after(); active(old.access) {
			last["introspection"] = at
		}
		d.pass(3 * time.Second)
	}
	for where, at := range last {
		limit := map[string]time.Duration{"authorizer": bound}[where]
		if limit == 0 {
			limit = revocation.PollInterval + revocation.FeedMemory
		}
		if unheard {
			limit = staleness + revocation.FeedMemory
			if where == "authorizer" {
				limit += authorizerTTL
			}
		}
		ofGoodKey := !refreshEnds && (where == "refresh" || where == "token")
		if at > limit && !ofGoodKey {
			t.Errorf("%s took something that was to end %v after the emergency, the limit is %v", where, at, limit)
		}
	}
	if last["authorizer"] < revocation.FeedMemory || unheard && last["refresh"] < staleness/2 {
		t.Errorf("nothing was taken on stale state: this shows nothing: %v", last)
	}
	t.Logf("%d forged refresh tokens, %d access tokens; they were last taken at %v", len(forged), len(access), last)

	dead := func(when string) {
		t.Helper()
		for how, raw := range access {
			if !ends(raw) {
				continue
			}
			if status := d.getWhoami(raw); status != 401 {
				t.Errorf("%s: the authorizer answers %d to an access token (%s)", when, status, how)
			}
			if active(raw) {
				t.Errorf("%s: to introspection, an access token is active (%s)", when, how)
			}
		}
		if !refreshEnds {
			return
		}
		forged["old"] = old.refresh
		for how, raw := range forged {
			for where, a := range map[string]reply{"refresh": d.renew("shop", raw), "token": d.renewAtToken("shop", raw)} {
				if a.Status != 400 || a.field("error") != string(oauth.InvalidGrant) {
					t.Errorf("%s: %s answers %d to a refresh token (%s)", when, where, a.Status, how)
				}
			}
		}
	}
	if unheard {
		d.feed.down.Store(false)
		d.pass(authorizerTTL + time.Second)
	}
	dead("after the bound")
	if refreshEnds {
		d.pass(max(0, reach-after()))
		forge()
		dead("after the reach") // when those which said that they are of now then are of the past
	} else {
		d.answersAre("its refresh token", "shop", d.renew("shop", old.refresh).field("access_token"), old.refresh, 200, 200)
	}
	in := d.held(d.signIn("shop", secret))
	d.answersAre("signed in again", "shop", in.access, in.refresh, 200, 200)
	if !active(in.access) {
		t.Error("signed in again: to introspection, it is not active")
	}
	if (in.refreshKid != old.refreshKid) != refreshEnds || (in.kid != old.kid) != (which != "refresh") {
		t.Errorf("signed with %s and %s; before it was %s and %s", in.kid, in.refreshKid, old.kid, old.refreshKid)
	}
	d.pass(keyring.ReloadInterval + time.Minute)
	dead("minutes later")
	d.answersAre("minutes later", "shop", in.access, in.refresh, 200, 200)
}

// thief has a refresh key, as it stands in the secret, or what signs with it in KMS for as long as that is let.
type thief struct {
	d      *deployment
	key    keyring.SigningKey
	sample token.Refresh // a real token's claims
}

// leakedKey is what signs refresh tokens now, in the hands of one who has seen a token.
func (d *deployment) leakedKey(in held) *thief {
	d.t.Helper()
	cfg := testenv.AWSConfig(d.aws.Endpoint)
	out, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(d.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String(d.env["REFRESH_KEYS_SECRET"])})
	d.must(err)
	stolen, err := keyring.ParseDocument([]byte(aws.ToString(out.SecretString)), keyring.UseRefresh)
	d.must(err)
	source := keyring.NewSource(keyring.SourceConfig{
		Load: func(context.Context) (*keyring.Document, error) { return stolen, nil },
		KMS:  kmssigner.Signers(kms.NewFromConfig(cfg), nil), Now: d.now,
	})
	key, err := source.SigningKey(d.t.Context())
	d.must(err)
	if key.ID != in.refreshKid {
		d.t.Fatalf("key %s signs, the token is of %s", key.ID, in.refreshKid)
	}
	verifier, err := token.NewRefreshVerifier(token.Config{Issuer: d.issuer, Keys: source, Now: d.now})
	d.must(err)
	sample, err := verifier.Verify(d.t.Context(), in.refresh)
	d.must(err)
	return &thief{d, key, *sample}
}

// forge makes a refresh token by which the sign-in was so long after now, and which was issued as late as is believed now.
func (f *thief) forge(now time.Time, ahead time.Duration) string {
	f.d.t.Helper()
	r := f.sample
	r.ID, r.GrantID = token.NewID(""), token.NewID(token.GrantPrefix)
	r.AuthTime = now.Add(ahead)
	r.IssuedAt = now.Add(min(max(ahead, 0), token.Leeway)).Truncate(time.Second)
	r.GrantEnds = now.Add(20 * time.Hour)
	r.ExpiresAt = r.GrantEnds
	raw, err := r.Sign(f.d.t.Context(), f.key)
	f.d.must(err)
	return raw
}
