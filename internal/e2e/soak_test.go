package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/attack"
	"github.com/latchkey-auth/latchkey/internal/dpoptest"
	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// A soak's revocations reach its verifiers sooner than by default, so that many tokens live to see theirs obeyed. Feeds fail
// for longer than soakStaleness at times.
const (
	soakPoll      = 2 * time.Second
	soakStaleness = 8 * time.Second
	// soakBound is when a revocation is obeyed at the latest, while polls fail, and what the machine takes besides.
	soakBound = soakStaleness + revocation.FeedMemory + 3*time.Second
)

// soak is a run of mixed load over the built functions, while AWS and what is published fail at random.
type soak struct {
	d       *deployment
	until   time.Time
	secrets map[string]string

	mu       sync.Mutex
	answered map[string]int // by operation and status
	faults   map[string]int // by what failed and how
	bad      int
	refused  int // revoked tokens that were refused after the bound
}

// soaked is one grant, held by one worker alone.
type soaked struct {
	id, access, refresh string
	key                 *dpoptest.Key // of a DPoP client
	nonce               string
	asked, revoked      time.Time // when its revocation was first asked for, and when that was confirmed
}

// ends are what a verifier may say of a token.
type ends struct{ good, bad bool }

// at returns what may be said of the grant's tokens to who asks now.
func (g *soaked) at(now time.Time) ends {
	return ends{good: g.revoked.IsZero() || now.Before(g.revoked.Add(soakBound)), bad: !g.asked.IsZero()}
}

func (s *soak) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad++; s.bad <= 20 {
		s.d.t.Errorf(format, args...)
	}
}

// ask sends a request to the APIs' handler, and judges of the answer what must hold for every one.
func (s *soak) ask(what, method, path string, form url.Values, header http.Header) answer {
	r := httptest.NewRequest(method, s.d.issuer+path, strings.NewReader(form.Encode()))
	maps.Copy(r.Header, header)
	handler := http.Handler(http.HandlerFunc(s.d.serve))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if strings.HasPrefix(path, "/.well-known/") {
		handler = s.d.http // what the tests have fail there is for verifiers
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	a := answer{s.d.t, w.Code, w.Header(), w.Body.String()}
	for _, breach := range attack.Breaches(attack.Answer{
		Method: method, Path: r.URL.Path, Authorization: header.Get("Authorization") != "",
		Status: a.status, Header: a.header, Body: w.Body.Bytes(), Faulty: a.status == 503,
	}) {
		s.fail("%s: %s: %d %s", what, breach, a.status, a.body)
	}
	if a.status == 503 && (a.field("error") != string(oauth.Unavailable) || a.header.Get("Retry-After") == "") {
		s.fail("%s: an outage without Retry-After: %s", what, a.body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered[fmt.Sprintf("%s %d", what, a.status)]++
	return a
}

// form sends a form, with a proof if the grant is a key's.
func (s *soak) form(what string, g *soaked, path string, form url.Values) answer {
	for try := 0; ; try++ {
		header := http.Header{}
		if g.key != nil {
			more := dpoptest.Object{}
			if g.nonce != "" {
				more["nonce"] = g.nonce
			}
			header.Set(dpop.Header, g.key.Proof("POST", s.d.issuer+path, s.d.now(), more))
		}
		a := s.ask(what, "POST", path, form, header)
		if nonce := a.header.Get(dpop.HeaderNonce); nonce != "" {
			g.nonce = nonce
		}
		if a.field("error") != string(oauth.UseDPoPNonce) || try > 0 {
			return a
		}
	}
}

// signIn makes a grant; nil: there was an outage.
func (s *soak) signIn(rng *rand.Rand) *soaked {
	ids := []string{"bearer", "bearer", "rotating", "dpop"}
	g := &soaked{id: ids[rng.IntN(len(ids))]}
	if g.id == "dpop" {
		g.key = s.d.holderKey()
	}
	form := signInForm(g.id, s.secrets[g.id])
	if g.id == "bearer" && rng.IntN(20) == 0 { // checking a password takes a tenth of a second
		form.Set("grant_type", oauth.GrantPassword)
		form.Set("username", "ada")
		form.Set("password", userPassword)
	}
	a := s.form("sign-in", g, oauth.PathToken, form)
	switch a.status {
	case 200:
		g.access, g.refresh = a.field("access_token"), a.field("refresh_token")
		return g
	case 503:
	default:
		s.fail("a good client's sign-in: %d %s", a.status, a.body)
	}
	return nil
}

// use asks the protected resource.
func (s *soak) use(g *soaked) {
	header := http.Header{"Authorization": {"Bearer " + g.access}}
	if g.key != nil {
		header = http.Header{"Authorization": {"DPoP " + g.access}}
		header.Set(dpop.Header, g.key.Proof("GET", s.d.issuer+"/whoami", s.d.now(), dpoptest.For(g.access)))
	}
	may := g.at(time.Now())
	a := s.ask("whoami", "GET", "/whoami", nil, header)
	s.judge("whoami", may, a.status == 200, a.status == 401, a.status == 500, a)
}

// judge holds an answer to what it may be.
func (s *soak) judge(what string, may ends, good, bad, outage bool, a answer) {
	if !may.good && bad {
		s.mu.Lock()
		s.refused++
		s.mu.Unlock()
	}
	switch {
	case good && !may.good:
		s.fail("%s: a revoked token is taken: %s", what, a.body)
	case bad && !may.bad:
		s.fail("%s: a good token is refused: %d %s", what, a.status, a.body)
	case !good && !bad && !outage:
		s.fail("%s: not an answer that is documented: %d %s", what, a.status, a.body)
	}
}

// renew refreshes. A rotating token is sent until there is an answer, as its client must.
func (s *soak) renew(g *soaked) {
	path := oauth.PathRefresh
	if g.id == "rotating" {
		path = oauth.PathToken
	}
	for begun := time.Now(); ; time.Sleep(250 * time.Millisecond) {
		may := g.at(time.Now())
		a := s.form("refresh", g, path, renewal(g.id, g.refresh))
		s.judge("refresh of "+g.id, may, a.status == 200, a.status == 400 && a.field("error") == string(oauth.InvalidGrant), a.status == 503, a)
		if a.status == 200 {
			g.access = a.field("access_token")
			if next := a.field("refresh_token"); next != "" {
				g.refresh = next
			}
		}
		if a.status != 503 || g.id != "rotating" {
			return
		}
		if time.Since(begun) > rotating.Grace-5*time.Second {
			logs := s.d.token.Logs()
			s.fail("a rotating token could not be used for %v\n%s", time.Since(begun), logs[max(0, len(logs)-2000):])
			return
		}
	}
}

// end revokes the grant.
func (s *soak) end(g *soaked) {
	if g.asked.IsZero() {
		g.asked = time.Now()
	}
	form := url.Values{"token": {g.refresh}, "client_id": {g.id}, "client_secret": {s.secrets[g.id]}}
	switch a := s.ask("revoke", "POST", oauth.PathRevoke, form, nil); a.status {
	case 200:
		if g.revoked.IsZero() {
			g.revoked = time.Now()
		}
	case 503:
	default:
		s.fail("revoke: %d %s", a.status, a.body)
	}
}

func (s *soak) introspect(g *soaked) {
	may := g.at(time.Now())
	form := url.Values{"token": {g.access}, "client_id": {"orders"}, "client_secret": {s.secrets["orders"]}}
	a := s.ask("introspect", "POST", oauth.PathIntrospect, form, nil)
	active := strings.Contains(a.body, `"active":true`)
	s.judge("introspection", may, a.status == 200 && active, a.status == 200 && !active, a.status == 503, a)
}

func (s *soak) read() {
	since := time.Now().Add(-time.Minute).Unix()
	if a := s.ask("feed", "GET", fmt.Sprintf("%s?since=%d", revocation.PathFeed, since), nil, nil); a.status != 200 && a.status != 503 {
		s.fail("the feed: %d %s", a.status, a.body)
	}
	if a := s.ask("jwks", "GET", oauth.PathJWKS, nil, nil); a.status != 200 && a.status != 503 {
		s.fail("the JWKS: %d %s", a.status, a.body)
	}
}

// work is one worker's load.
func (s *soak) work(rng *rand.Rand) (held []*soaked) {
	for time.Now().Before(s.until) {
		time.Sleep(time.Duration(5+rng.IntN(20)) * time.Millisecond)
		// What was refused for a while is of no more use.
		held = slices.DeleteFunc(held, func(g *soaked) bool {
			return !g.revoked.IsZero() && time.Since(g.revoked) > 2*soakBound
		})
		if len(held) < 10 || len(held) < 60 && rng.IntN(20) == 0 {
			if g := s.signIn(rng); g != nil {
				held = append(held, g)
			}
			continue
		}
		g := held[rng.IntN(len(held))]
		switch n := rng.IntN(100); {
		case n < 45:
			s.use(g)
		case n < 75:
			s.renew(g)
		case n < 90:
			s.introspect(g)
		case n < 94:
			s.end(g)
		default:
			s.read()
		}
	}
	return held
}

// breakThings has services and what is published fail, in turns with calm, until a while before the end.
func (s *soak) breakThings(rng *rand.Rand, calmFrom time.Time) {
	forms := slices.Sorted(maps.Keys(testenv.Forms))
	for time.Now().Before(calmFrom) {
		time.Sleep(time.Duration(500+rng.IntN(3000)) * time.Millisecond)
		name := forms[rng.IntN(len(forms))]
		f, share := testenv.Fault{Form: testenv.Forms[name]}, []float64{0.3, 1}[rng.IntN(2)]
		if rng.IntN(12) == 0 {
			name, f.Form, share = "hang", testenv.Hang, 0.2
		}
		lasts := time.Duration(300+rng.IntN(3000)) * time.Millisecond
		where := []string{"DynamoDB", "SecretsManager", "all", "feed", "feed", "jwks"}[rng.IntN(6)]
		if where == "feed" && rng.IntN(4) == 0 {
			lasts, share = soakStaleness+4*time.Second, 1
		}
		if f.Done = rng.IntN(2) == 0; f.Done {
			name += ", after the effect"
		}
		var hits atomic.Int64
		switch where {
		case "feed", "jwks":
			path := map[string]string{"feed": revocation.PathFeed, "jwks": oauth.PathJWKS}[where]
			choose := func(asked string) (testenv.Fault, bool) {
				hit := asked == path && rand.Float64() < share
				if hit {
					hits.Add(1)
				}
				return f, hit
			}
			s.d.spoil.Store(&choose)
			time.Sleep(lasts)
			s.d.spoil.Store(nil)
		default:
			for _, proxy := range []*testenv.CountingProxy{s.d.aws, s.d.feedAWS} {
				proxy.FailBy(func(service string) (testenv.Fault, bool) {
					return f, (where == "all" || service == where) && rand.Float64() < share
				})
			}
			time.Sleep(lasts)
			for _, proxy := range []*testenv.CountingProxy{s.d.aws, s.d.feedAWS} {
				_, tries := proxy.Mend()
				hits.Add(int64(tries))
			}
		}
		s.mu.Lock()
		s.faults[where] += int(hits.Load())
		s.faults["as "+name] += int(hits.Load())
		s.mu.Unlock()
	}
}

// footprint is the most that the functions and this process took at once.
type footprint struct {
	memory, files, threads map[string]int64
	goroutines             int
}

// footprint looks every quarter of a second, for so long.
func (s *soak) footprint(lasts time.Duration) footprint {
	f := footprint{map[string]int64{}, map[string]int64{}, map[string]int64{}, 0}
	for until := time.Now().Add(lasts); time.Now().Before(until); time.Sleep(250 * time.Millisecond) {
		f.goroutines = max(f.goroutines, runtime.NumGoroutine())
		for name, function := range s.d.functions() {
			f.memory[name] = max(f.memory[name], memory(s.d.t, function.PID(), "VmRSS"))
			for what, most := range map[string]map[string]int64{"fd": f.files, "task": f.threads} {
				entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", function.PID(), what))
				s.d.must(err)
				most[name] = max(most[name], int64(len(entries)))
			}
		}
	}
	return f
}

// holderKey is a new key for proofs.
func (d *deployment) holderKey() *dpoptest.Key { return dpoptest.New(d.t, "ES256") }

// TestSoak: ten minutes (LATCHKEY_SOAK=1h: longer) of sign-ins, refreshes of each kind, requests, revocations, introspections
// and reads, while AWS, the JWKS and the feed fail in every form. A good token is refused never, a revoked one taken never
// once the bound is over; each answer is a documented one; what the functions take of the machine does not grow.
func TestSoak(t *testing.T) {
	if !testenv.Long() {
		t.Skip("make test-long")
	}
	lasts := 10 * time.Minute
	if text := os.Getenv("LATCHKEY_SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := deployWith(t, secretsManager, map[string]string{
		"REVOCATIONS_POLL_INTERVAL": soakPoll.String(), "MAX_STALENESS": soakStaleness.String(), "MAX_ACCESS_TOKEN_LIFETIME": "12h",
	})
	d.env["API_ORIGINS"] = d.issuer
	d.authorizer = d.start("authorizer", d.env, "MAX_ACCESS_TOKEN_LIFETIME", "MAX_GRANT_LIFETIME", "REVOCATIONS_POLL_INTERVAL", "MAX_STALENESS",
		"ISSUER", "AUDIENCE", "API_ORIGINS")
	d.takeBound(gateway.REST, gateway.Authorizer{IdentitySources: []string{"method.request.header.Authorization"}})
	s := &soak{d: d, until: time.Now().Add(lasts), secrets: map[string]string{}, answered: map[string]int{}, faults: map[string]int{}}
	for id, spec := range map[string]client.Spec{
		"bearer": {Grants: allGrants}, "rotating": {RefreshMode: token.ModeRotating}, "dpop": {RefreshMode: token.ModeDPoP}, "orders": {Introspects: []string{audience}},
	} {
		spec.ID, spec.AccessTokenLifetime = id, 12*time.Hour
		s.secrets[id] = d.register(spec)
	}
	d.person("ada", "orders:read")
	d.pass(time.Minute)

	var all sync.WaitGroup
	all.Go(func() { s.breakThings(rand.New(rand.NewPCG(seed, 0)), s.until.Add(-lasts/10)) })
	held := make([][]*soaked, 4)
	for i := range held {
		all.Go(func() { held[i] = s.work(rand.New(rand.NewPCG(seed, uint64(i+1)))) })
	}
	time.Sleep(lasts / 20)
	early := s.footprint(lasts * 3 / 20)
	time.Sleep(time.Until(s.until.Add(-lasts * 3 / 20)))
	late := s.footprint(lasts * 3 / 20)
	all.Wait()

	// Calm again: all that was not revoked works, and nothing else does.
	time.Sleep(soakBound)
	grants, revoked := 0, 0
	for _, g := range slices.Concat(held...) {
		if grants++; !g.revoked.IsZero() {
			revoked++
		}
		s.use(g)
		s.renew(g)
		s.introspect(g)
	}
	for name := range early.memory {
		t.Logf("%-10s %5.1f MB, %d files and %d threads; towards the end %5.1f MB, %d files and %d threads", name,
			mb(early.memory[name]), early.files[name], early.threads[name], mb(late.memory[name]), late.files[name], late.threads[name])
		if late.memory[name] > early.memory[name]*5/4+8<<20 || late.files[name] > early.files[name]+8 || late.threads[name] > early.threads[name]+6 {
			t.Errorf("%s grows", name)
		}
	}
	if t.Logf("%d goroutines here; towards the end %d", early.goroutines, late.goroutines); late.goroutines > early.goroutines+40 {
		t.Error("goroutines grow")
	}
	t.Logf("%d grants held at the end, %d of them revoked; %d times was a revoked token refused past the bound", grants, revoked, s.refused)
	t.Logf("answers: %v", s.answered)
	t.Logf("faults: %v", s.faults)
	if s.refused == 0 || len(s.faults) == 0 {
		t.Error("nothing was revoked, or nothing failed: this shows nothing")
	}
	if s.bad > 0 {
		t.Errorf("%d answers were wrong", s.bad)
	}
	d.scanLogs(slices.Collect(maps.Values(s.secrets))...)
}
