package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// bound is how long a revocation may take to be obeyed everywhere: a view's poll interval, the feed's memory, and the
// gateway's cache of what the authorizer said. What a poll itself takes comes on top.
const bound = revocation.PollInterval + revocation.FeedMemory + authorizerTTL

var secretsManager = mode{"secretsmanager", "secretsmanager", "ES256"}

// claims reads a token without verifying it.
func (d *deployment) claims(raw string) (header, payload map[string]any) {
	d.t.Helper()
	for i, to := range []*map[string]any{&header, &payload} {
		part, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[i])
		d.must(err)
		d.must(json.Unmarshal(part, to))
	}
	return header, payload
}

// getWhoami asks the protected resource and returns the status.
func (d *deployment) getWhoami(accessToken string) int {
	d.t.Helper()
	return d.call("GET", "/whoami", nil, accessToken).status
}

// renewAtToken refreshes at the token endpoint.
func (d *deployment) renewAtToken(id, refreshToken string) reply {
	d.t.Helper()
	return d.post(d.token, oauth.PathToken, url.Values{"grant_type": {"refresh_token"}, "client_id": {id}, "refresh_token": {refreshToken}}, "")
}

// answersAre checks what the three verifiers say of a grant: whoami's status, and that of both places of refresh, with the
// error that goes with it.
func (d *deployment) answersAre(when, id, access, refresh string, whoami, renewal int) {
	d.t.Helper()
	if got := d.getWhoami(access); got != whoami {
		d.t.Errorf("%s: /whoami %d, want %d\n%s", when, got, whoami, d.authorizer.Logs())
	}
	code := map[int]oauth.Code{200: "", 400: oauth.InvalidGrant, 503: oauth.Unavailable}[renewal]
	for place, r := range map[string]reply{"refresh": d.renew(id, refresh), "token": d.renewAtToken(id, refresh)} {
		if r.Status != renewal || r.field("error") != string(code) {
			d.t.Errorf("%s: %s answers %d %s, want %d %s\n%s%s", when, place, r.Status, r.Body, renewal, code, d.refresh.Logs(), d.token.Logs())
		}
	}
}

// Functions that were frozen while a token was revoked refuse it in their first answer after that, however long they were.
func TestThawedFunctionsRefuseAtOnce(t *testing.T) {
	for name, frozen := range map[string]time.Duration{"as long as the bound": bound, "an hour": time.Hour} {
		t.Run(name, func(t *testing.T) {
			d := deployWith(t, secretsManager, map[string]string{"MAX_ACCESS_TOKEN_LIFETIME": "4h"})
			secret := d.register(client.Spec{ID: "shop", AccessTokenLifetime: 4 * time.Hour})
			revoked, other := d.signIn("shop", secret), d.signIn("shop", secret)
			for _, r := range []reply{revoked, other} {
				d.answersAre("before", "shop", r.field("access_token"), r.field("refresh_token"), 200, 200)
			}
			_, claims := d.claims(revoked.field("access_token"))
			d.must(d.log.Append(t.Context(), revocation.Grant(claims["grant_id"].(string), d.now())))

			d.pass(frozen)
			polls := d.feed.polls.Load()
			d.answersAre("thawed", "shop", revoked.field("access_token"), revoked.field("refresh_token"), 401, 400)
			d.answersAre("thawed, the other grant", "shop", other.field("access_token"), other.field("refresh_token"), 200, 200)
			if n := d.feed.polls.Load() - polls; n != 3 {
				t.Errorf("three functions polled %d times for it", n)
			}
			d.answersAre("later", "shop", revoked.field("access_token"), revoked.field("refresh_token"), 401, 400)
			d.scanLogs(secret, revoked.field("access_token"), revoked.field("refresh_token"))
		})
	}
}

// An entry may be stamped by a clock that is behind, and be committed late: it comes into the feed where readers have been
// already. They hear of it all the same.
func TestLateEntryIsNotMissed(t *testing.T) {
	d := deploy(t, secretsManager)
	secret := d.register(client.Spec{ID: "shop"})
	late, later := d.held(d.signIn("shop", secret)), d.held(d.signIn("shop", secret))
	stamped := d.now()
	d.pass(30 * time.Second)
	d.must(d.log.Append(t.Context(), revocation.Grant(later.grant, d.now())))
	d.pass(time.Second)
	d.answersAre("the later entry was served", "shop", later.access, later.refresh, 401, 400)
	d.answersAre("the earlier is not said yet", "shop", late.access, late.refresh, 200, 200)
	d.must(d.log.Append(t.Context(), revocation.Grant(late.grant, stamped)))
	d.pass(bound)
	d.answersAre("it is said by now", "shop", late.access, late.refresh, 401, 400)
}

// Without the feed, what is known serves as long as it is fresh enough. Then it is an outage, and told as one: never as if
// a token were bad, unless it is known to be.
func TestFeedDown(t *testing.T) {
	d := deployWith(t, secretsManager, map[string]string{"MAX_ACCESS_TOKEN_LIFETIME": "4h"})
	secret := d.register(client.Spec{ID: "shop", AccessTokenLifetime: 4 * time.Hour})
	first, revoked := d.signIn("shop", secret), d.signIn("shop", secret)
	access, refresh := first.field("access_token"), first.field("refresh_token")
	_, claims := d.claims(revoked.field("access_token"))
	d.must(d.log.Append(t.Context(), revocation.Grant(claims["grant_id"].(string), d.now())))
	d.pass(bound) // signers have looked into the feed already
	d.answersAre("feed up", "shop", access, refresh, 200, 200)
	d.answersAre("feed up, revoked", "shop", revoked.field("access_token"), revoked.field("refresh_token"), 401, 400)

	d.feed.down.Store(true)
	d.pass(40 * time.Second)
	d.answersAre("down for 40 s", "shop", access, refresh, 200, 200)
	d.answersAre("down for 40 s, revoked", "shop", revoked.field("access_token"), revoked.field("refresh_token"), 401, 400)
	d.pass(25 * time.Second)
	d.answersAre("down for 65 s", "shop", access, refresh, 500, 503)
	d.answersAre("down for 65 s, revoked", "shop", revoked.field("access_token"), revoked.field("refresh_token"), 500, 503)
	d.pass(time.Hour)
	d.answersAre("frozen for an hour", "shop", access, refresh, 500, 503)
	if r := d.signIn("shop", secret); r.Status != 503 || r.field("error") != string(oauth.Unavailable) {
		t.Errorf("a sign-in, of which nobody knows whether its tokens are revoked already: %d %s", r.Status, r.Body)
	}
	for name, f := range map[string]string{"authorizer": d.authorizer.Logs(), "refresh": d.refresh.Logs(), "token": d.token.Logs()} {
		if !strings.Contains(f, `"event":"revocations.poll_failed"`) || !strings.Contains(f, `"age_s":`) {
			t.Errorf("%s does not log that its view grows old:\n%s", name, f)
		}
	}

	// A new sandbox has nothing to go on with.
	d.startVerifiers()
	d.gateways()
	d.answersAre("cold start", "shop", access, refresh, 500, 503)
	d.feed.down.Store(false)
	d.pass(time.Second)
	d.answersAre("up again", "shop", access, refresh, 200, 200)
	d.answersAre("up again, revoked", "shop", revoked.field("access_token"), revoked.field("refresh_token"), 401, 400)
	if r := d.signIn("shop", secret); r.Status != 200 {
		t.Errorf("up again, a sign-in: %d %s", r.Status, r.Body)
	}
}

// A client revokes its own tokens: an access token by itself, or a grant with all its tokens by a refresh token. Another
// client's request, and a forged token, have no effect.
func TestRevokeEndpoint(t *testing.T) {
	d := deploy(t, secretsManager)
	secret, stranger := d.register(client.Spec{ID: "shop"}), d.register(client.Spec{ID: "stranger"})
	revoke := func(id, secret, raw string) {
		t.Helper()
		d.call("POST", oauth.PathRevoke, url.Values{"client_id": {id}, "client_secret": {secret}, "token": {raw}}, "").is(200)
	}
	one, other := d.held(d.signIn("shop", secret)), d.held(d.signIn("shop", secret))
	renewed := d.renew("shop", one.refresh).field("access_token")
	d.answersAre("before", "shop", one.access, one.refresh, 200, 200)

	revoke("stranger", stranger, one.access)
	revoke("stranger", stranger, one.refresh)
	revoke("shop", secret, one.access[:len(one.access)-4]+"AAAA")
	revoke("shop", secret, one.refresh[:len(one.refresh)-4]+"AAAA")
	d.pass(bound)
	d.answersAre("no effect", "shop", one.access, one.refresh, 200, 200)

	revoke("shop", secret, one.access)
	d.pass(bound)
	d.answersAre("the access token", "shop", one.access, one.refresh, 401, 200)
	if status := d.getWhoami(renewed); status != 200 {
		t.Errorf("another access token of its grant: %d", status)
	}
	revoke("shop", secret, one.refresh)
	d.pass(bound)
	d.answersAre("the refresh token", "shop", renewed, one.refresh, 401, 400)
	d.answersAre("another grant", "shop", other.access, other.refresh, 200, 200)

	// The store fails: the client hears of it.
	d.aws.Stop()
	a := d.call("POST", oauth.PathRevoke, url.Values{"client_id": {"shop"}, "client_secret": {secret}, "token": {other.refresh}}, "")
	if a.is(503); a.field("error") != string(oauth.Unavailable) || a.header.Get("Retry-After") == "" {
		t.Errorf("the store is down: %s, Retry-After %q", a.body, a.header.Get("Retry-After"))
	}
	d.scanLogs(secret, one.access, one.refresh, renewed, other.refresh)
}

// Introspection says of every token what the authorizer does, at the same time.
func TestIntrospectionAgrees(t *testing.T) {
	d := deploy(t, secretsManager)
	secret := d.register(client.Spec{ID: "shop"})
	server := d.register(client.Spec{ID: "orders", Introspects: []string{audience}})
	active := func(raw string) string {
		t.Helper()
		r := d.post(d.introspect, oauth.PathIntrospect, url.Values{"client_id": {"orders"}, "client_secret": {server}, "token": {raw}}, "")
		var answer struct{ Active bool }
		if r.Status == 503 {
			return "outage"
		}
		if err := json.Unmarshal([]byte(r.Body), &answer); err != nil || r.Status != 200 {
			t.Fatalf("introspection: %d %s\n%s", r.Status, r.Body, d.introspect.Logs())
		}
		if !answer.Active && strings.TrimSpace(r.Body) != `{"active":false}` {
			t.Errorf("it says more than that it is not active: %s", r.Body)
		}
		return fmt.Sprint(answer.Active)
	}
	verdict := map[int]string{200: "true", 401: "false", 500: "outage"}
	valid, revoked, grant := d.held(d.signIn("shop", secret)), d.held(d.signIn("shop", secret)), d.held(d.signIn("shop", secret))
	tokens := map[string]string{
		"valid": valid.access, "revoked": revoked.access, "of a revoked grant": grant.access, "a refresh token": valid.refresh,
		"altered": valid.access[:len(valid.access)-4] + "AAAA", "nonsense": "nonsense",
	}
	agree := func(when string, want map[string]string) {
		t.Helper()
		for name, raw := range tokens {
			says := active(raw)
			if authorizer := verdict[d.getWhoami(raw)]; says != authorizer {
				t.Errorf("%s, %s: introspection says %s, the authorizer %s", when, name, says, authorizer)
			}
			if want[name] != "" && says != want[name] {
				t.Errorf("%s, %s: %s, want %s", when, name, says, want[name])
			}
		}
	}
	agree("at first", map[string]string{"valid": "true", "revoked": "true", "of a revoked grant": "true", "a refresh token": "false"})
	d.must(d.log.Append(t.Context(), revocation.Token(revoked.jti, d.now())))
	d.must(d.log.Append(t.Context(), revocation.Grant(grant.grant, d.now())))
	d.pass(bound)
	agree("after the bound", map[string]string{"valid": "true", "revoked": "false", "of a revoked grant": "false"})
	d.feed.down.Store(true)
	d.pass(revocation.MaxStaleness + time.Second)
	agree("without the feed", map[string]string{"valid": "outage", "revoked": "outage"})
	d.feed.down.Store(false)
	d.pass(15 * time.Minute)
	agree("past its time", map[string]string{"valid": "false"})
}

// What an operator has typed out: the authorizer, and it alone, goes on without the feed.
func TestStaleAllowed(t *testing.T) {
	d := deployWith(t, secretsManager, map[string]string{"STALE_REVOCATIONS": "allow", "MAX_STALENESS": "30s"})
	secret := d.register(client.Spec{ID: "shop"})
	first := d.signIn("shop", secret)
	access, refresh := first.field("access_token"), first.field("refresh_token")
	d.answersAre("feed up", "shop", access, refresh, 200, 200)
	d.feed.down.Store(true)
	d.pass(35 * time.Second)
	d.answersAre("feed down", "shop", access, refresh, 200, 503)
	if !strings.Contains(d.authorizer.Logs(), `"event":"revocations.stale_allowed"`) {
		t.Errorf("the authorizer does not log it:\n%s", d.authorizer.Logs())
	}
	d.startVerifiers()
	d.gateways()
	d.answersAre("cold start, with nothing to be stale", "shop", access, refresh, 500, 503)
}

// Renewals and sign-ins go on while a revocation is on its way, on views and records as old as they may be. Whatever they
// yield is dead with the rest once the bound is over, and stays so.
func TestDeadWithinTheBound(t *testing.T) {
	type kind struct {
		revoke func(*deployment, held) error
		// What of a grant that began before dies, and whether one that begins on what was known before does too.
		access, refresh, signIn bool
	}
	update := func(change func(*client.Record)) func(*deployment, held) error {
		return func(d *deployment, _ held) error {
			_, err := d.clients.Update(d.t.Context(), "shop", func(r *client.Record) error {
				change(r)
				return nil
			})
			return err
		}
	}
	say := func(entry func(d *deployment, h held) revocation.Entry) func(*deployment, held) error {
		return func(d *deployment, h held) error { return d.log.Append(d.t.Context(), entry(d, h)) }
	}
	for name, k := range map[string]kind{
		"grant": {say(func(d *deployment, h held) revocation.Entry { return revocation.Grant(h.grant, d.now()) }), true, true, false},
		"token": {say(func(d *deployment, h held) revocation.Entry { return revocation.Token(h.jti, d.now()) }), false, false, false},
		"subject": {say(func(d *deployment, h held) revocation.Entry {
			return revocation.Subject("shop", d.now(), d.now())
		}), true, true, false},
		"issuer": {say(func(d *deployment, h held) revocation.Entry {
			return revocation.Issuer(d.issuer, d.now(), d.now())
		}), true, true, false},
		"all before": {say(func(d *deployment, h held) revocation.Entry { return revocation.Before(d.now(), d.now()) }), true, true, false},
		"key":        {say(func(d *deployment, h held) revocation.Entry { return revocation.SigningKey(h.kid, d.now()) }), true, false, true},
		"refresh key": {say(func(d *deployment, h held) revocation.Entry {
			return revocation.SigningKey(h.refreshKid, d.now())
		}), false, true, true},
		"disabled": {update(func(r *client.Record) { r.Disabled = true }), true, true, true},
		"narrowed": {update(func(r *client.Record) { r.Scopes = oauth.Scope{"orders:read"} }), true, true, true},
		"deleted":  {func(d *deployment, _ held) error { return d.clients.Delete(d.t.Context(), "shop") }, true, true, true},
		"re-created": {func(d *deployment, _ held) error {
			if err := d.clients.Delete(d.t.Context(), "shop"); err != nil {
				return err
			}
			d.register(client.Spec{ID: "shop"})
			return nil
		}, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, secretsManager)
			secret := d.register(client.Spec{ID: "shop"})
			d.pass(time.Minute) // sign-ins from here on are later than whatever was said of the record
			old := d.held(d.signIn("shop", secret))
			d.answersAre("before", "shop", old.access, old.refresh, 200, 200)
			d.pass(2 * time.Second)

			// The worst that can be: the feed was read just before, and the views ask while that is still remembered.
			d.pass(revocation.PollInterval - 4*time.Second)
			d.signIn("shop", secret) // so that the record in memory is young
			d.call("GET", fmt.Sprintf("%s?since=%d", revocation.PathFeed, d.now().Unix()), nil, "").is(200)
			said := d.now()
			if err := k.revoke(d, old); err != nil {
				t.Fatal(err)
			}
			d.pass(4 * time.Second)

			accesses := []accessToken{{old.access, old.jti, false}}
			refreshes := []refreshToken{{old.refresh, false}}
			last := map[string]time.Duration{} // when something that is to die was last taken
			taken := func(where string, dies bool) {
				if dies {
					last[where] = d.now().Sub(said)
				}
			}
			for d.now().Sub(said) < bound+5*time.Second {
				for _, r := range refreshes {
					for where, renewed := range map[string]reply{"refresh": d.renew("shop", r.raw), "token": d.renewAtToken("shop", r.raw)} {
						switch {
						case renewed.Status == 200:
							taken(where, !r.late && k.refresh || r.late && k.signIn && k.refresh)
							accesses = append(accesses, accessToken{renewed.field("access_token"), "", r.late})
						case renewed.Status == 503 && name == "key":
							// Nobody signs with a revoked key, and there is no other yet.
						case renewed.Status != 400:
							t.Fatalf("%s: %d %s", where, renewed.Status, renewed.Body)
						}
					}
				}
				if in := d.signIn("shop", secret); in.Status == 200 {
					h := d.held(in)
					// Later sign-ins, on a record that is not as it was before, are no concern of the revocation.
					stale := name != "narrowed" || in.field("scope") == scope
					if stale {
						accesses = append(accesses, accessToken{h.access, h.jti, true})
						if len(refreshes) < 4 {
							refreshes = append(refreshes, refreshToken{h.refresh, true})
						}
					}
				}
				for _, a := range accesses {
					dies := !a.late && k.access || a.late && k.signIn && k.access || name == "token" && a.jti == old.jti
					switch status := d.getWhoami(a.raw); {
					case status == 200:
						taken("authorizer", dies)
					case status != 401 && status != 403:
						t.Fatalf("/whoami: %d", status)
					case !dies:
						t.Fatalf("a token was refused that has nothing to do with it\n%s", d.authorizer.Logs())
					}
				}
				d.pass(2 * time.Second)
			}
			for where, after := range last {
				limit := bound
				if where != "authorizer" {
					limit -= authorizerTTL // nothing stands in front of the token endpoints
				}
				t.Logf("%s: %d access tokens and %d refresh tokens; the last was taken %.1f s after the revocation", where, len(accesses), len(refreshes), after.Seconds())
				if after > limit {
					t.Errorf("%s took a token %v after the revocation, the bound is %v", where, after, limit)
				}
			}
			if where := map[bool]string{true: "refresh", false: "authorizer"}[name == "refresh key"]; last[where] < revocation.FeedMemory {
				t.Errorf("nothing was taken on stale state: this shows nothing")
			}
		})
	}
}

// held is what a sign-in yields.
type held struct{ access, refresh, grant, jti, kid, refreshKid string }

func (d *deployment) held(r reply) held {
	d.t.Helper()
	if r.Status != 200 {
		d.t.Fatalf("sign-in: %d %s\n%s", r.Status, r.Body, d.token.Logs())
	}
	header, claims := d.claims(r.field("access_token"))
	refreshHeader, _ := d.claims(r.field("refresh_token"))
	return held{r.field("access_token"), r.field("refresh_token"), claims["grant_id"].(string), claims["jti"].(string), header["kid"].(string), refreshHeader["kid"].(string)}
}

// accessToken and refreshToken are tokens on trial; late ones are of a sign-in after the revocation.
type (
	accessToken struct {
		raw, jti string
		late     bool
	}
	refreshToken struct {
		raw  string
		late bool
	}
)
