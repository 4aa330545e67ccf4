package e2e

import (
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Waits before an operation, by what is read anew in it.
const (
	pastReload = keyring.ReloadInterval + time.Second // the keys, though what is at hand will do if that fails
	pastStale  = keyring.MaxStale + time.Minute       // everything; nothing that is at hand will do
)

// operation is a request whose AWS calls fail one after another.
type operation struct {
	wait time.Duration
	// prepare makes what the request is about. It returns the request, and what must hold once that was answered with
	// anything but a 503.
	prepare func() (ask func() answer, holds func(answer))
	proxy   *testenv.CountingProxy // nil: the one of all functions but discovery
	verdict oauth.Code             // what it is answered with when nothing fails; empty: a 200
	steady  bool                   // no failure gets through to the client
}

// faults are the ways in which a call can fail.
var faults = map[string]testenv.Fault{
	"not carried out":      {},
	"not carried out once": {Form: testenv.Internal, Once: true},
	"answer lost":          {Done: true},
	"answer lost once":     {Done: true, Once: true},
}

// Each AWS call of each operation fails, before its effect and after it, for good or at its first try. That is an outage and
// told as one, or it is none; never is it a token's fault or a client's. The same request succeeds once the fault is
// over, with all of its effect; what is revoked stays so.
func TestFaults(t *testing.T) {
	kms := mode{"kms", "kms", "ES256"}
	for name, part := range map[string]struct {
		mode       mode
		operations []string
	}{
		"secretsmanager": {secretsManager, []string{
			"sign-in", "sign-in, rotating", "sign-in, a user's", "refresh", "refresh, keys at hand", "refresh with the secret", "refresh, rotating", "introspect",
		}},
		"secretsmanager, what is revoked": {secretsManager, []string{
			"a rotating token again", "revoke an access token", "revoke a refresh token", "the feed", "the feed, cold",
		}},
		// What signs calls KMS, after all else has taken its effect.
		"kms": {kms, []string{"sign-in", "sign-in, rotating", "refresh, keys at hand", "refresh, rotating", "refresh, rotating, at once"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the SDK waits between its tries
			d := deployWith(t, part.mode, map[string]string{"MAX_ACCESS_TOKEN_LIFETIME": "24h"})
			operations := d.operations()
			for _, name := range part.operations {
				t.Run(name, func(t *testing.T) { d.failEachCall(t, operations[name]) })
			}
		})
	}
}

// failEachCall runs the operation once for each of its calls and each fault.
func (d *deployment) failEachCall(t *testing.T, op operation) {
	outer := d.t
	d.t = t
	defer func() { d.t = outer }()
	proxy, begun, cases := op.proxy, time.Now(), 0
	if proxy == nil {
		proxy = d.aws
	}
	want := 200
	if op.verdict != "" {
		want = 400
	}
	is := func(a answer) bool { return a.status == want && a.field("error") == string(op.verdict) }
	statuses := map[int]int{}
	call := 1
	for hit := true; hit && !t.Failed(); call++ {
		hit = false
		for name, f := range faults {
			f.Call = call
			ask, holds := op.prepare()
			d.pass(op.wait)
			proxy.Fail(f)
			a := ask()
			_, tries := proxy.Mend()
			if tries == 0 {
				break // it makes fewer calls
			}
			hit = true
			cases++
			statuses[a.status]++
			when := fmt.Sprintf("call %d, %s", call, name)
			if !f.Once && tries != 3 {
				t.Errorf("%s: it was tried %d times: this is not the fault that was meant", when, tries)
			}
			unavailable := a.status == 503 && a.field("error") == string(oauth.Unavailable) && a.header.Get("Retry-After") != ""
			if !is(a) && (!unavailable || f.Once || op.steady) {
				t.Errorf("%s: %d %s, Retry-After %q", when, a.status, a.body, a.header.Get("Retry-After"))
			}
			var waited time.Duration
			for a.status == 503 && waited < 15*time.Second {
				seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
				if err != nil {
					break // which was told
				}
				d.pass(time.Duration(seconds) * time.Second)
				waited += time.Duration(seconds) * time.Second
				a = ask()
			}
			if !is(a) {
				t.Errorf("%s: %v after it, the same request: %d %s", when, waited, a.status, a.body)
				continue
			}
			holds(a)
			if t.Failed() {
				t.Fatalf("%s: that was the fault", when)
			}
		}
	}
	t.Logf("%d calls, %d cases, answered %v, in %.1f s", call-2, cases, statuses, time.Since(begun).Seconds())
	if call < 3 {
		t.Error("it made no call: this shows nothing")
	}
}

// operations are those of a deployment, by name.
func (d *deployment) operations() map[string]operation {
	secrets := map[string]string{}
	for id, spec := range map[string]client.Spec{
		"shop": {Grants: allGrants}, "rotating": {RefreshMode: token.ModeRotating}, "secret": {RefreshMode: token.ModeSecret},
		"orders": {Introspects: []string{audience}},
	} {
		spec.ID, spec.AccessTokenLifetime = id, 24*time.Hour
		secrets[id] = d.register(spec)
	}
	d.person("ada", "orders:read")
	d.pass(time.Minute)

	post := func(path, id string, form url.Values) answer {
		d.t.Helper()
		form = maps.Clone(form)
		form.Set("client_id", id)
		if path != oauth.PathRefresh {
			form.Set("client_secret", secrets[id])
		}
		return d.call("POST", path, form, "")
	}
	signIn := func(id string) answer {
		d.t.Helper()
		return post(oauth.PathToken, id, url.Values{"grant_type": {"client_credentials"}})
	}
	signedIn := func(id string) held {
		d.t.Helper()
		a := signIn(id)
		return d.held(reply{Status: a.status, Body: a.body})
	}
	renew := func(path, id, refreshToken string) answer {
		d.t.Helper()
		return post(path, id, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
	}
	// rotate is a refresh without the secret, so that the write of the grant is its only one.
	rotate := func(refreshToken string) answer {
		d.t.Helper()
		return d.call("POST", oauth.PathToken, url.Values{"grant_type": {"refresh_token"}, "client_id": {"rotating"}, "refresh_token": {refreshToken}}, "")
	}
	invoked := func(a answer) {
		d.t.Helper()
		if status := d.getWhoami(a.field("access_token")); status != 200 {
			d.t.Errorf("the access token: %d", status)
		}
	}
	pairWorks := func(a answer) {
		d.t.Helper()
		invoked(a)
		next := rotate(a.field("refresh_token"))
		next.is(200)
		invoked(next)
	}
	active := func(raw string) answer {
		d.t.Helper()
		return post(oauth.PathIntrospect, "orders", url.Values{"token": {raw}})
	}
	refused := func(raw string) {
		d.t.Helper()
		if status := d.getWhoami(raw); status != 401 {
			d.t.Errorf("a revoked access token: %d", status)
		}
		if a := active(raw); strings.TrimSpace(a.body) != `{"active":false}` {
			d.t.Errorf("a revoked access token, to introspection: %s", a.body)
		}
	}
	var revoked []string // access tokens
	never := func() {
		d.t.Helper()
		for _, raw := range revoked[max(0, len(revoked)-8):] {
			refused(raw)
		}
	}

	signingIn := func(id string, works func(answer)) func() (func() answer, func(answer)) {
		return func() (func() answer, func(answer)) { return func() answer { return signIn(id) }, works }
	}
	renewing := func(path, id string) func() (func() answer, func(answer)) {
		return func() (func() answer, func(answer)) {
			in := signedIn(id)
			return func() answer { return renew(path, id, in.refresh) }, invoked
		}
	}
	revoking := func(which func(held) string, refreshes int) func() (func() answer, func(answer)) {
		return func() (func() answer, func(answer)) {
			in, other := signedIn("shop"), signedIn("shop")
			ask := func() answer { return post(oauth.PathRevoke, "shop", url.Values{"token": {which(in)}}) }
			return ask, func(answer) {
				revoked = append(revoked, in.access)
				d.pass(bound)
				d.answersAre("revoked", "shop", in.access, in.refresh, 401, refreshes)
				never()
				d.answersAre("another grant", "shop", other.access, other.refresh, 200, 200)
			}
		}
	}
	ops := map[string]operation{
		"sign-in": {wait: pastStale, prepare: signingIn("shop", func(a answer) {
			invoked(a)
			renew(oauth.PathRefresh, "shop", a.field("refresh_token")).is(200)
		})},
		"sign-in, rotating": {wait: pastStale, prepare: signingIn("rotating", pairWorks)},
		// What follows on the right password only takes back what was counted, and does not stop it.
		"sign-in, a user's": {wait: pastStale, prepare: func() (func() answer, func(answer)) {
			return func() answer { return d.userSignIn(secrets["shop"], "ada", userPassword) }, func(a answer) {
				invoked(a)
				renew(oauth.PathRefresh, "shop", a.field("refresh_token")).is(200)
			}
		}},
		"refresh": {wait: pastStale, prepare: renewing(oauth.PathRefresh, "shop")},
		"refresh, keys at hand": {wait: pastReload, prepare: func() (func() answer, func(answer)) {
			in := signedIn("shop")
			renew(oauth.PathRefresh, "shop", in.refresh).is(200) // which reads them
			return func() answer { return renew(oauth.PathRefresh, "shop", in.refresh) }, invoked
		}, steady: d.env["ACCESS_KEY_MODE"] != "kms"},
		"refresh with the secret": {wait: pastStale, prepare: renewing(oauth.PathToken, "secret")},
		"refresh, rotating": {wait: pastStale, prepare: func() (func() answer, func(answer)) {
			in := signedIn("rotating")
			return func() answer { return rotate(in.refresh) }, pairWorks
		}},
		// The keys are at hand: the calls that fail are the write and, in KMS, the signatures after it.
		"refresh, rotating, at once": {prepare: func() (func() answer, func(answer)) {
			in := signedIn("rotating")
			return func() answer { return rotate(in.refresh) }, pairWorks
		}},
		"a rotating token again": {wait: pastStale, verdict: oauth.InvalidGrant, prepare: func() (func() answer, func(answer)) {
			in := signedIn("rotating")
			second := rotate(in.refresh)
			second.is(200)
			d.pass(rotating.Grace + 2*time.Second)
			return func() answer { return rotate(in.refresh) }, func(answer) {
				revoked = append(revoked, second.field("access_token"))
				if a := rotate(second.field("refresh_token")); a.field("error") != string(oauth.InvalidGrant) {
					d.t.Errorf("its successor: %d %s", a.status, a.body)
				}
				d.pass(bound)
				never()
			}
		}},
		"revoke an access token": {wait: pastStale, prepare: revoking(func(in held) string { return in.access }, 200)},
		"revoke a refresh token": {wait: pastStale, prepare: revoking(func(in held) string { return in.refresh }, 400)},
		"introspect": {wait: pastStale, prepare: func() (func() answer, func(answer)) {
			in := signedIn("shop")
			return func() answer {
				a := active(in.access)
				if a.status == 200 && !strings.Contains(a.body, `"active":true`) {
					d.t.Errorf("a live token: %s", a.body)
				}
				return a
			}, func(answer) {}
		}},
	}
	feed := func(prepare func()) func() (func() answer, func(answer)) {
		return func() (func() answer, func(answer)) {
			in := signedIn("shop")
			e := revocation.Grant(in.grant, d.now())
			d.must(d.log.Append(d.t.Context(), e))
			prepare()
			ask := func() answer {
				return d.call("GET", fmt.Sprintf("%s?since=%d", revocation.PathFeed, e.At.Unix()), nil, "")
			}
			return ask, func(a answer) {
				if !strings.Contains(a.body, e.String()) {
					d.t.Errorf("the feed does not tell of it: %s", a.body)
				}
				d.pass(bound)
				d.answersAre("revoked", "shop", in.access, in.refresh, 401, 400)
			}
		}
	}
	ops["the feed"] = operation{wait: pastStale, proxy: d.feedAWS, prepare: feed(func() {})}
	whole := d.t
	ops["the feed, cold"] = operation{proxy: d.feedAWS, prepare: feed(func() {
		part := d.t
		d.t = whole // whose end is the sandbox's
		defer func() { d.t = part }()
		d.restartDiscovery()
	})}
	return ops
}

// restartDiscovery gives discovery a new sandbox.
func (d *deployment) restartDiscovery() {
	d.t.Helper()
	d.discovery.Kill()
	env := maps.Clone(d.env)
	env["AWS_ENDPOINT_URL"] = d.feedAWS.Endpoint
	d.discovery = d.start("discovery", env, "ISSUER", "KEYS_TABLE", "REVOCATIONS_TABLE")
	d.gateways()
}
