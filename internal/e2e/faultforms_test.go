package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/lambdatest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// formsFrom are the forms that a run tries: all of them in a long one, else so many, other ones for each turn.
func formsFrom(turn, most int) []string {
	all := slices.Sorted(maps.Keys(testenv.Forms))
	if testenv.Long() {
		return all
	}
	var some []string
	for i := range most {
		some = append(some, all[(turn*most+i)%len(all)])
	}
	return some
}

// outage is which service fails for whom; docs/faults.md says the same.
type outage struct {
	operation, service string
	served             bool // all the same, by what is at hand
}

var outages = []outage{
	{operation: "sign-in", service: "DynamoDB"},
	{operation: "sign-in", service: "SecretsManager"},
	{operation: "sign-in", service: "KMS"},
	{operation: "refresh", service: "SecretsManager"},
	{operation: "refresh, keys at hand", service: "SecretsManager", served: true},
	{operation: "refresh, keys at hand", service: "DynamoDB", served: true}, // which it does not ask
	{operation: "refresh, keys at hand", service: "KMS"},
	{operation: "refresh, rotating, at once", service: "DynamoDB"},
	{operation: "introspect", service: "DynamoDB"},
	{operation: "revoke an access token", service: "DynamoDB"},
	{operation: "revoke a refresh token", service: "SecretsManager"},
	{operation: "the feed", service: "DynamoDB"},
}

// A service fails in every form: all who need it say that there is an outage, none that a token or a client is wrong, and none
// takes what it could not check. Whether the effects took place or not, the same request succeeds afterwards.
func TestFaultForms(t *testing.T) {
	t.Parallel() // the SDK waits between its tries
	d := deployWith(t, mode{"kms", "secretsmanager", "ES256"}, map[string]string{"MAX_ACCESS_TOKEN_LIFETIME": "24h"})
	operations, cases := d.operations(), 0
	for turn, o := range outages {
		t.Run(o.operation+", "+o.service, func(t *testing.T) {
			d.t = t
			op := operations[o.operation]
			proxy := op.proxy
			if proxy == nil {
				proxy = d.aws
			}
			names := formsFrom(turn, 1)
			if testenv.Long() && o.operation == "sign-in" {
				names = append(names, "hang") // which takes its time
			}
			for i, name := range names {
				cases++
				f := testenv.Fault{Of: o.service, Form: testenv.Hang, Done: (turn+i)%2 == 1}
				if form, ok := testenv.Forms[name]; ok {
					f.Form = form
				}
				ask, holds := op.prepare()
				d.pass(op.wait)
				proxy.Fail(f)
				a := ask()
				calls, tries := proxy.Mend()
				if tries > 3*calls || (tries == 0) != (o.service == "DynamoDB" && o.served) {
					t.Errorf("%s: %d calls were tried %d times", name, calls, tries)
				}
				unavailable := a.status == 503 && a.field("error") == string(oauth.Unavailable) && a.header.Get("Retry-After") != ""
				if o.served && a.status != 200 || !o.served && !unavailable {
					t.Errorf("%s: %d %s", name, a.status, a.body)
				}
				for waited := 0; a.status == 503 && waited < 15; waited++ {
					d.pass(time.Second)
					a = ask()
				}
				if a.status != 200 {
					t.Errorf("%s: after it: %d %s", name, a.status, a.body)
					continue
				}
				holds(a)
			}
		})
	}
	d.t = t
	t.Logf("%d cases", cases)
}

// The JWKS and the feed fail in every form. The authorizer goes by what it has for as long as it may; then, or if it has
// nothing, it answers 500: never a 401, by which a good token's holder would sign in again, and never anything to a revoked one.
func TestPublishedFaults(t *testing.T) {
	t.Parallel()
	d := deployWith(t, secretsManager, map[string]string{"MAX_ACCESS_TOKEN_LIFETIME": "24h", "MAX_GRANT_LIFETIME": "48h"})
	secret := d.register(client.Spec{ID: "shop", AccessTokenLifetime: 24 * time.Hour})
	server := d.register(client.Spec{ID: "orders", Introspects: []string{audience}})
	d.pass(time.Minute)
	good, dead := d.held(d.signIn("shop", secret)), d.held(d.signIn("shop", secret))
	d.must(d.log.Append(t.Context(), revocation.Grant(dead.grant, d.now())))
	d.pass(bound)
	are := func(when string, wantGood, wantDead int) {
		t.Helper()
		d.pass(authorizerTTL + time.Second) // so that it is asked
		if a, b := d.getWhoami(good.access), d.getWhoami(dead.access); a != wantGood || b != wantDead {
			t.Errorf("%s: %d to a good token, want %d; %d to a revoked one, want %d", when, a, wantGood, b, wantDead)
		}
	}
	spoil := func(path string, form testenv.Form) {
		choose := func(asked string) (testenv.Fault, bool) { return testenv.Fault{Form: form}, asked == path }
		d.spoil.Store(&choose)
	}
	issuers := func(when string, want int) {
		t.Helper()
		if r := d.renew("shop", good.refresh); r.Status != want {
			t.Errorf("%s: refresh %d %s, want %d", when, r.Status, r.Body, want)
		}
		form := signInForm("orders", server)
		form.Set("token", good.access)
		if a := d.call("POST", oauth.PathIntrospect, form, ""); a.status != want {
			t.Errorf("%s: introspection %d %s, want %d", when, a.status, a.body, want)
		}
	}
	are("before", 200, 401)
	issuers("before", 200)
	for _, name := range formsFrom(1, 2) {
		form := testenv.Forms[name]
		spoil(revocation.PathFeed, form)
		are("the feed: "+name, 200, 401)
		d.pass(revocation.MaxStaleness)
		are("the feed, for longer than it may: "+name, 500, 500)
		issuers("the feed, for longer than it may: "+name, 503)
		d.spoil.Store(nil)
		are("the feed is back: "+name, 200, 401)
		issuers("the feed is back: "+name, 200)

		spoil(oauth.PathJWKS, form)
		d.pass(2 * remotekeys.MaxAge)
		are("the JWKS: "+name, 200, 401)
		d.authorizer.Kill()
		d.authorizer = d.start("authorizer", d.env, "MAX_ACCESS_TOKEN_LIFETIME", "MAX_GRANT_LIFETIME", "ISSUER", "AUDIENCE")
		d.gateways()
		are("the JWKS, cold: "+name, 500, 500)
		d.spoil.Store(nil)
		are("the JWKS is back: "+name, 200, 401)
	}
}

// steps of the clock between any two requests: tokens are judged by the clock as it is, what was issued ahead of it is not
// taken, and once the step is undone all is as before. What was revoked stays so, whenever that was.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]time.Duration{"ahead": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, secretsManager)
			secret := d.register(client.Spec{ID: "shop"})
			server := d.register(client.Spec{ID: "orders", Introspects: []string{audience}})
			d.pass(3 * time.Hour) // the keys are older than any step
			// one makes a grant and looks at it with every function.
			one := func(when string) held {
				t.Helper()
				in := d.held(d.signIn("shop", secret))
				d.answersAre(when, "shop", in.access, in.refresh, 200, 200)
				form := signInForm("orders", server)
				form.Set("token", in.access)
				if a := d.call("POST", oauth.PathIntrospect, form, ""); !strings.Contains(a.body, `"active":true`) {
					t.Errorf("%s: introspection: %d %s", when, a.status, a.body)
				}
				for _, path := range []string{oauth.PathJWKS, oauth.PathMetadata, fmt.Sprintf("%s?since=%d", revocation.PathFeed, d.now().Unix())} {
					if a := d.call("GET", path, nil, ""); a.status != 200 {
						t.Errorf("%s: %s: %d %s", when, path, a.status, a.body)
					}
				}
				return in
			}
			end := func(when string, in held) {
				t.Helper()
				form := signInForm("shop", secret)
				form.Set("token", in.refresh)
				d.call("POST", oauth.PathRevoke, form, "").is(200)
				d.pass(bound)
				d.answersAre(when, "shop", in.access, in.refresh, 401, 400)
			}
			before, gone := one("before"), one("before")
			end("revoked before the step", gone)
			d.pass(step)
			during, endedDuring := one("during"), one("during")
			end("revoked during the step", endedDuring)
			if step > 0 { // they have expired, and that is all
				d.answersAre("expired by the step", "shop", before.access, before.refresh, 401, 200)
			} else if a := d.getWhoami(before.access); a != 401 {
				t.Errorf("a token of the future: %d", a)
			}
			if d.getWhoami(gone.access) != 401 {
				t.Error("revoked before the step: it is taken during that")
			}
			d.pass(-step)
			d.answersAre("before the step, after it", "shop", before.access, before.refresh, 200, 200)
			if step > 0 {
				if a := d.getWhoami(during.access); a != 401 {
					t.Errorf("a token of the future: %d", a)
				}
			} else {
				d.answersAre("issued during the step, and older than that seemed", "shop", during.access, during.refresh, 401, 200)
			}
			for _, in := range []held{gone, endedDuring} {
				if a := d.getWhoami(in.access); a != 401 {
					t.Errorf("what was revoked is taken: %d", a)
				}
			}
			after := one("after")
			end("revoked after the step", after)
			end("issued before the step, revoked after it", before)
		})
	}
}

// killing has a function die at one of its AWS calls; restart makes another sandbox of it.
type killing struct {
	operation string
	long      bool
	function  func(*deployment) *lambdatest.Function
	restart   func(*deployment)
}

var killings = []killing{
	{"revoke an access token", false, func(d *deployment) *lambdatest.Function { return d.revoke }, func(d *deployment) {
		d.startRevoke()
	}},
	{"refresh, rotating, at once", false, func(d *deployment) *lambdatest.Function { return d.token }, (*deployment).startVerifiers},
	{"a rotating token again", true, func(d *deployment) *lambdatest.Function { return d.token }, (*deployment).startVerifiers},
}

// A function is killed (SIGKILL) at each of its AWS calls, before the effect and after it. The same request to the next
// sandbox has all of its effect.
func TestKilledFunctions(t *testing.T) {
	t.Parallel()
	d := deployWith(t, secretsManager, map[string]string{"MAX_ACCESS_TOKEN_LIFETIME": "24h"})
	operations, whole := d.operations(), t
	for _, k := range killings {
		if k.long && !testenv.Long() {
			continue
		}
		t.Run(k.operation, func(t *testing.T) {
			d.t = t
			op, killed := operations[k.operation], 0
			want := 200
			if op.verdict != "" {
				want = 400
			}
			for call := 1; ; call++ {
				hit := false
				for _, done := range []bool{false, true} {
					ask, holds := op.prepare()
					d.pass(op.wait)
					victim := k.function(d)
					d.aws.Fail(testenv.Fault{Call: call, Once: true, Done: done, Hit: victim.Kill})
					d.unjudged = true // API Gateway answers in its own words
					a := ask()
					d.unjudged = false
					if _, tries := d.aws.Mend(); tries == 0 {
						break
					}
					hit = true
					killed++
					if a.status < 500 {
						t.Errorf("call %d: it was to be killed, and answers %d %s", call, a.status, a.body)
					}
					d.t = whole // whose end is the sandbox's
					k.restart(d)
					d.t = t
					d.gateways()
					if a = ask(); a.status != want {
						t.Errorf("call %d, after its effect: %v: the next sandbox answers %d %s", call, done, a.status, a.body)
						continue
					}
					holds(a)
				}
				if !hit {
					break
				}
			}
			if t.Logf("killed %d times", killed); killed == 0 {
				t.Error("it was never killed: this shows nothing")
			}
		})
	}
}

// Rotate is killed at one call after another amidst an emergency. The next run ends what was to end, and leaves keys that
// sign. functions/rotate's TestLife has it die at each of its calls, in the course of a key's life.
func TestKilledRotate(t *testing.T) {
	if !testenv.Long() {
		t.Skip("make test-long")
	}
	d := deploy(t, secretsManager)
	secret := d.register(client.Spec{ID: "shop"})
	killed := 0
	for call := 1; ; call += 5 {
		tries := 0
		for _, done := range []bool{false, true} {
			d.pass(6 * time.Minute) // else it is the same emergency
			old := d.held(d.signIn("shop", secret))
			d.aws.Fail(testenv.Fault{Call: call, Once: true, Done: done, Hit: d.rotate.Kill})
			_, err := d.rotate.Invoke(t.Context(), []byte(`{"emergency":"all"}`))
			if _, tries = d.aws.Mend(); tries == 0 {
				break
			}
			if killed++; err == nil {
				t.Errorf("call %d: it was killed, and answers", call)
			}
			d.rotate = d.start("rotate", d.env, "KEYS_TABLE", "REVOCATIONS_TABLE", "ACCESS_KEYS_SECRET", "REFRESH_KEYS_SECRET", "ACCESS_KEY_MODE",
				"REFRESH_KEY_MODE", "ACCESS_KEY_ALGORITHM", "KMS_KEY_NAME", "MAX_STALENESS")
			if out, err := d.rotate.Invoke(t.Context(), []byte(`{"emergency":"all"}`)); err != nil {
				t.Fatalf("call %d, after its effect: %v: again: %v %s", call, done, err, out)
			}
			d.pass(revocation.MaxStaleness + revocation.FeedMemory + 11*time.Second)
			d.answersAre("before the emergency", "shop", old.access, old.refresh, 401, 400)
			in := d.held(d.signIn("shop", secret))
			d.answersAre("after the emergency", "shop", in.access, in.refresh, 200, 200)
			if t.Failed() {
				t.Fatalf("call %d, after its effect: %v: that was it", call, done)
			}
		}
		if tries == 0 {
			break
		}
	}
	if t.Logf("killed %d times", killed); killed == 0 {
		t.Error("it was never killed: this shows nothing")
	}
}
