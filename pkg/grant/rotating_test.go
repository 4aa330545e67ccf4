package grant_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/grant/clientcredentials"
	"github.com/latchkey-auth/latchkey/pkg/grant/refresh"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// rotatingWorld is a world with a client of mode rotating.
type rotatingWorld struct {
	*world
	grants *faultyGrants
	feed   *feed
	secret string
}

const rotator = "rotator"

func newRotatingWorld(t testing.TB, store rotating.Store) *rotatingWorld {
	w := &rotatingWorld{world: newWorld(t), grants: &faultyGrants{Store: store}, feed: &feed{set: revocation.NewSet()}}
	w.secret = w.register(client.Spec{ID: rotator, RefreshMode: token.ModeRotating})
	w.coldStart()
	return w
}

// coldStart makes the token function anew, with nothing in memory but what the stores have.
func (w *rotatingWorld) coldStart() {
	w.t.Helper()
	var err error
	w.refresh, err = token.NewRefreshVerifier(token.Config{Issuer: issuer, Keys: w.keys, Now: w.now, Revocations: w.feed})
	if err != nil {
		w.t.Fatal(err)
	}
	minter := *w.minter
	minter.Rotations = &rotating.Grants{Store: w.grants, Revocations: w.feed, Now: w.now}
	w.minter = &minter
	clients := client.NewAuthenticator(w.registry.Store, w.now)
	w.token = grant.Endpoint{Name: "token", Log: w.logger(), Now: w.now, URLs: []string{issuer + oauth.PathToken}, Proofs: w.proofs, Types: map[string]grant.Type{
		oauth.GrantClientCredentials: &clientcredentials.Type{Clients: clients, Minter: w.minter},
		oauth.GrantRefreshToken:      &refresh.Type{Tokens: w.refresh, Minter: w.minter, Clients: clients},
	}}.Handler()
}

// begin signs in and returns the first refresh token.
func (w *rotatingWorld) begin() string {
	w.t.Helper()
	return w.signIn(rotator, w.secret).field("refresh_token")
}

func rotation(refreshToken string, pairs ...string) *http.Request {
	return post(oauth.PathToken, append([]string{"grant_type", "refresh_token", "client_id", rotator, "refresh_token", refreshToken}, pairs...)...)
}

// rotate uses a refresh token, without the client's secret.
func (w *rotatingWorld) rotate(refreshToken string, pairs ...string) answer {
	w.t.Helper()
	return w.do(w.token, rotation(refreshToken, pairs...))
}

// sealed returns the claims of a refresh token that was just handed out.
func (w *rotatingWorld) sealed(raw string) *token.Refresh {
	w.t.Helper()
	r, err := w.refresh.Verify(w.t.Context(), raw)
	if err != nil {
		w.t.Fatalf("the refresh token: %v", err)
	}
	return r
}

// renews uses a refresh token and returns its successor's text and claims.
func (w *rotatingWorld) renews(refreshToken string) (string, *token.Refresh) {
	w.t.Helper()
	a := w.rotate(refreshToken)
	if a.status != http.StatusOK {
		w.t.Fatalf("%d %s %s", a.status, a.body, a.log)
	}
	w.claims(a)
	raw := a.field("refresh_token")
	return raw, w.sealed(raw)
}

func (w *rotatingWorld) refuses(what string, a answer, code string) {
	w.t.Helper()
	if a.field("error") != code {
		w.t.Errorf("%s: %d %s %s; want %s", what, a.status, a.body, a.log, code)
	}
	if code == "temporarily_unavailable" && (a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "") {
		w.t.Errorf("%s: %d, Retry-After %q", what, a.status, a.header.Get("Retry-After"))
	}
}

// feed is a revocation log, and a view of it that is never behind.
type feed struct {
	mu      sync.Mutex
	set     *revocation.Set
	appends int
	fault   fault
}

// Append implements revocation.Appender.
func (f *feed) Append(_ context.Context, e revocation.Entry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault.around(func() error {
		f.set.Add(e)
		f.appends++
		return nil
	})
}

// Check implements token.Revocations.
func (f *feed) Check(_ context.Context, facts revocation.Facts) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if reason := f.set.Revoked(&facts); reason != "" {
		return &revocation.RevokedError{Reason: reason}
	}
	return nil
}

// fault makes the next call fail, before its effect or after it.
type fault string

var errFault = errors.New("the store does not answer")

func (f *fault) around(call func() error) error {
	now := *f
	*f = ""
	if now == "before" {
		return errFault
	}
	if err := call(); err != nil || now == "" {
		return err
	}
	return errFault
}

// faultyGrants is a rotating.Store whose next call of a kind fails.
type faultyGrants struct {
	rotating.Store
	create, rotate, delete fault
}

func (g *faultyGrants) CreateGrant(ctx context.Context, r *rotating.Record) error {
	if g.create == "" {
		return g.Store.CreateGrant(ctx, r)
	}
	return g.create.around(func() error { return g.Store.CreateGrant(ctx, r) })
}

func (g *faultyGrants) RotateGrant(ctx context.Context, next *rotating.Record, now time.Time) (stands *rotating.Record, err error) {
	if g.rotate == "" {
		return g.Store.RotateGrant(ctx, next, now)
	}
	err = g.rotate.around(func() (err error) { stands, err = g.Store.RotateGrant(ctx, next, now); return err })
	return stands, err
}

func (g *faultyGrants) DeleteGrant(ctx context.Context, id string) error {
	if g.delete == "" {
		return g.Store.DeleteGrant(ctx, id)
	}
	return g.delete.around(func() error { return g.Store.DeleteGrant(ctx, id) })
}

func boltGrants(t testing.TB) rotating.Store {
	t.Helper()
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "grants.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// onGrantStores runs a test on each store there is.
func onGrantStores(t *testing.T, test func(t *testing.T, store rotating.Store)) {
	t.Run("bolt", func(t *testing.T) { test(t, boltGrants(t)) })
	onDynamo := func(endpoint string, client *http.Client) func(t *testing.T) {
		return func(t *testing.T) {
			cfg := testenv.AWSConfig(endpoint)
			cfg.HTTPClient = client
			db := dynamodb.NewFromConfig(cfg)
			name := "latchkey-test-" + rand.Text()
			if err := dynamostore.CreateGrantsTable(t.Context(), db, name); err != nil {
				t.Fatal(err)
			}
			store, err := dynamostore.NewGrants(db, name)
			if err != nil {
				t.Fatal(err)
			}
			test(t, store)
		}
	}
	t.Run("dynalite", onDynamo(testenv.Dynalite(t), http.DefaultClient))
	// moto's conditional writes are not atomic where requests overlap.
	t.Run("moto", onDynamo(testenv.Moto(t).Endpoint, &http.Client{Transport: &oneAtATime{}}))
}

type oneAtATime struct{ mu sync.Mutex }

func (o *oneAtATime) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

func TestRotating(t *testing.T) {
	onGrantStores(t, func(t *testing.T, store rotating.Store) {
		w := newRotatingWorld(t, store)
		start := w.now()
		raw := w.begin()
		first := w.sealed(raw)
		const day = 24 * time.Hour
		if first.Generation != 1 || !first.GrantEnds.Equal(start.Add(30*day)) || !first.ExpiresAt.Equal(start.Add(7*day)) {
			t.Errorf("the first token: %+v", first)
		}

		// Where it is not for: told where to go, and not used up.
		a := w.renew(rotator, raw)
		w.refuses("at the refresh endpoint", a, "unauthorized_client")
		if want := "use it at " + oauth.PathToken + "."; !strings.Contains(a.field("error_description"), want) {
			t.Errorf("at the refresh endpoint: %s; want %q", a.body, want)
		}
		w.refuses("with a wrong secret", w.do(w.token, basic(post(oauth.PathToken, "grant_type", "refresh_token", "refresh_token", raw), rotator, w.secret+"x")), "invalid_client")
		w.refuses("as another client", w.rotate(raw, "client_id", "another"), "invalid_request")
		w.refuses("for too much", w.rotate(raw, "scope", "orders:read admin"), "invalid_scope")
		w.refuses("for another API", w.rotate(raw, "resource", "https://other.example.com"), "invalid_target")
		w.pass(time.Hour)

		// A part of the scope, and all of it again; the successor has all.
		a = w.rotate(raw, "scope", "profile", "resource", invoices)
		if a.status != http.StatusOK || a.field("scope") != "profile" || w.claims(a).Audience[0] != invoices {
			t.Fatalf("%d %s %s", a.status, a.body, a.log)
		}
		second := w.sealed(a.field("refresh_token"))
		if second.Generation != 2 || second.Scope.String() != first.Scope.String() || len(second.Resources) != 2 || second.ID == first.ID ||
			second.GrantID != first.GrantID || !second.GrantEnds.Equal(first.GrantEnds) || !second.ExpiresAt.Equal(w.now().Add(7*day)) {
			t.Errorf("the second token: %+v", second)
		}
		raw = a.field("refresh_token")
		a = w.do(w.token, basic(post(oauth.PathToken, "grant_type", "refresh_token", "refresh_token", raw), rotator, w.secret))
		if a.status != http.StatusOK || a.field("scope") != first.Scope.String() {
			t.Fatalf("with its secret: %d %s", a.status, a.body)
		}
		raw = a.field("refresh_token")

		// The idle end slides up to the grant's end, and no further.
		var last *token.Refresh
		for range 5 {
			w.pass(6 * day)
			if !w.now().Before(first.GrantEnds) {
				break
			}
			raw, last = w.renews(raw)
			if want := w.now().Add(7 * day); !last.ExpiresAt.Equal(want) && !last.ExpiresAt.Equal(first.GrantEnds) {
				t.Errorf("it ends at %v; want %v, or the grant's end", last.ExpiresAt, want)
			}
		}
		if !last.ExpiresAt.Equal(first.GrantEnds) {
			t.Errorf("the last token ends at %v, the grant at %v", last.ExpiresAt, first.GrantEnds)
		}
		w.refuses("after the grant's end", w.rotate(raw), "invalid_grant")
		if w.feed.appends != 0 {
			t.Error("the grant was revoked")
		}
	})
}

// TestRotatingRetries presents a token again: within the grace it has the successor that it had, for any scope; after that
// it ends the grant.
func TestRotatingRetries(t *testing.T) {
	onGrantStores(t, func(t *testing.T, store rotating.Store) {
		w := newRotatingWorld(t, store)
		first := w.begin()
		w.pass(time.Hour + 400*time.Millisecond)
		raw, want := w.renews(first)
		again := func(what string) {
			t.Helper()
			a := w.rotate(first, "scope", "orders:read")
			if a.status != http.StatusOK || a.field("scope") != "orders:read" {
				t.Fatalf("%s: %d %s %s", what, a.status, a.body, a.log)
			}
			if got := w.sealed(a.field("refresh_token")); a.field("refresh_token") != raw {
				t.Errorf("%s: the successor is %+v; want %+v", what, got, want)
			}
		}
		again("at once")
		w.pass(time.Millisecond)
		again("1 ms after")
		w.pass(time.Second)
		again("1 s after")
		w.coldStart()
		again("after a cold start")
		w.pass(rotating.Grace - time.Second - time.Millisecond)
		again("when the grace ends")
		w.pass(time.Second)
		w.refuses("just past the grace", w.rotate(first), "invalid_grant")
		w.refuses("the successor of a token that was reused", w.rotate(raw), "invalid_grant")
		if w.feed.appends != 1 {
			t.Errorf("%d revocations; want 1", w.feed.appends)
		}
		w.feed.set = revocation.NewSet() // a view that is behind
		w.refuses("without its record", w.rotate(raw), "invalid_grant")
		w.refuses("again, without its record", w.rotate(first), "invalid_grant")
		if w.feed.appends != 1 {
			t.Errorf("%d revocations; want 1", w.feed.appends)
		}
		w.begin() // the client can always sign in
	})
}

func TestRotatingOlderThanThat(t *testing.T) {
	w := newRotatingWorld(t, boltGrants(t))
	first := w.begin()
	second, _ := w.renews(first)
	third, _ := w.renews(second)
	a := w.rotate(first)
	w.refuses("two generations old, within the grace", a, "invalid_grant")
	if !strings.Contains(a.log, "reused") || !strings.Contains(a.log, `"grant_id"`) {
		t.Errorf("the log does not say so: %s", a.log)
	}
	for what, raw := range map[string]string{"second": second, "third": third} {
		w.refuses(what, w.rotate(raw), "invalid_grant")
	}
	if w.feed.appends != 1 {
		t.Errorf("%d revocations; want 1", w.feed.appends)
	}
}

// TestRotatingRecordPastItsEnd has a record end while a token of its grant lives, as with clocks that differ; nobody has
// deleted it. Then somebody does.
func TestRotatingRecordPastItsEnd(t *testing.T) {
	onGrantStores(t, func(t *testing.T, store rotating.Store) {
		w := newRotatingWorld(t, store)
		for _, generation := range []int64{2, 3} { // the token was used, or used long ago
			raw := w.begin()
			grantID := w.sealed(raw).GrantID
			for g := int64(2); g <= generation; g++ {
				stands, err := store.RotateGrant(t.Context(), &rotating.Record{
					GrantID: grantID, Generation: g, TokenID: "t", IssuedAt: w.now(), ExpiresAt: w.now().Add(time.Minute),
				}, w.now())
				if err != nil || stands.Generation != g {
					t.Fatal(stands, err)
				}
			}
			w.pass(time.Minute + token.Leeway)
			w.refuses("after its record's end", w.rotate(raw), "invalid_grant")
			if err := store.DeleteGrant(t.Context(), grantID); err != nil {
				t.Fatal(err)
			}
			w.refuses("after its record was deleted", w.rotate(raw), "invalid_grant")
		}
		raw := w.begin()
		w.pass(7*24*time.Hour + token.Leeway)
		w.refuses("unused for too long", w.rotate(raw), "invalid_grant")
		if w.feed.appends != 0 {
			t.Errorf("%d revocations; want none", w.feed.appends)
		}
	})
}

func raceRounds() int {
	if os.Getenv("LATCHKEY_LONG") == "1" {
		return 100
	}
	return 10
}

// atOnce sends requests at once and returns the answers.
func (w *rotatingWorld) atOnce(n int, request func(i int) *http.Request) []answer {
	w.out = io.Discard
	defer func() { w.out = nil }()
	answers := make([]answer, n)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			<-start
			rec := httptest.NewRecorder()
			w.token.ServeHTTP(rec, request(i))
			answers[i] = answer{t: w.t, status: rec.Code, header: rec.Header(), body: rec.Body.String()}
		})
	}
	close(start)
	done.Wait()
	return answers
}

// TestRotatingRace refreshes one token 50 times at once: one generation, and the same successor for all.
func TestRotatingRace(t *testing.T) {
	onGrantStores(t, func(t *testing.T, store rotating.Store) {
		w := newRotatingWorld(t, store)
		raw := w.begin()
		for round := range raceRounds() {
			scopes := []string{"orders:read", "profile"}
			answers := w.atOnce(50, func(i int) *http.Request { return rotation(raw, "scope", scopes[i%2]) })
			next := answers[0].field("refresh_token")
			for i, a := range answers {
				if a.status != http.StatusOK || a.field("refresh_token") != next || a.field("scope") != scopes[i%2] {
					t.Fatalf("round %d: %d %s; others have the successor %s", round, a.status, a.body, next)
				}
			}
			if got := w.sealed(next).Generation; got != int64(round)+2 {
				t.Fatalf("round %d: generation %d", round, got)
			}
			raw = next
			w.pass(time.Minute)
		}
		if w.feed.appends != 0 {
			t.Errorf("%d revocations; want none", w.feed.appends)
		}
	})
}

// TestRotatingAgainstRevocation revokes a grant while its token is being refreshed: whoever was quicker, nothing of it works
// afterwards, and no answer is an outage.
func TestRotatingAgainstRevocation(t *testing.T) {
	onGrantStores(t, func(t *testing.T, store rotating.Store) {
		w := newRotatingWorld(t, store)
		for range raceRounds() {
			raw := w.begin()
			grantID := w.sealed(raw).GrantID
			answers := w.atOnce(8, func(i int) *http.Request {
				if i == 3 {
					if err := w.feed.Append(t.Context(), revocation.Grant(grantID, w.now())); err != nil {
						t.Error(err)
					}
				}
				return rotation(raw)
			})
			for _, a := range append(answers, w.rotate(raw)) {
				if a.status != http.StatusOK && a.field("error") != "invalid_grant" {
					t.Fatalf("%d %s", a.status, a.body)
				}
				if next := a.field("refresh_token"); next != "" {
					w.refuses("a successor from before", w.rotate(next), "invalid_grant")
				}
			}
			w.refuses("after the revocation", w.rotate(raw), "invalid_grant")
		}
	})
}

// TestRotatingReuseRace presents a stolen token while the client renews the newest one.
func TestRotatingReuseRace(t *testing.T) {
	onGrantStores(t, func(t *testing.T, store rotating.Store) {
		w := newRotatingWorld(t, store)
		for range raceRounds() {
			stolen := w.begin()
			newest, _ := w.renews(stolen)
			w.pass(time.Minute)
			w.atOnce(8, func(i int) *http.Request { return rotation([]string{newest, stolen}[i%2]) })
			w.feed.set = revocation.NewSet() // by the record alone
			for _, raw := range []string{newest, stolen} {
				w.refuses("after the reuse", w.rotate(raw), "invalid_grant")
			}
		}
	})
}

// TestRotatingFaults has each store call fail before its effect and after it. The answer is an outage, never that the token
// is bad; and doing the same again does what was to be done.
func TestRotatingFaults(t *testing.T) {
	for _, when := range []fault{"before", "after"} {
		t.Run(string(when), func(t *testing.T) {
			onGrantStores(t, func(t *testing.T, store rotating.Store) {
				w := newRotatingWorld(t, store)
				const outage = "temporarily_unavailable"

				w.grants.create = when
				w.refuses("sign-in", w.do(w.token, basic(post(oauth.PathToken, "grant_type", "client_credentials"), rotator, w.secret)), outage)
				first := w.begin()

				w.grants.rotate = when
				w.refuses("rotation", w.rotate(first), outage)
				w.pass(rotating.Grace)
				second, sealed := w.renews(first)
				if sealed.Generation != 2 {
					t.Errorf("generation %d after a fault; want 2", sealed.Generation)
				}
				w.grants.rotate = when
				w.refuses("retry", w.rotate(first), outage)
				if again, _ := w.renews(first); again != second {
					t.Error("another successor after a fault")
				}

				w.pass(time.Hour)
				third, _ := w.renews(second)
				w.feed.fault = when
				w.refuses("reuse, with the feed down", w.rotate(first), outage)
				if when == "before" {
					w.grants.delete = when
					w.refuses("reuse, with the store down", w.rotate(first), outage)
					if w.feed.appends != 1 {
						t.Errorf("%d revocations; want 1", w.feed.appends)
					}
					w.feed.set = revocation.NewSet() // a view that is behind
					w.refuses("reuse", w.rotate(first), "invalid_grant")
				}
				w.refuses("the newest token after a reuse", w.rotate(third), "invalid_grant")
				w.begin()
			})
		})
	}
}

// TestRotatingWithoutKeys has signing fail for longer than the grace: it does not use the token up.
func TestRotatingWithoutKeys(t *testing.T) {
	w := newRotatingWorld(t, boltGrants(t))
	first := w.begin()
	good := *w.minter
	for name, broken := range map[string]*grant.SigningKeys{"access": &w.minter.AccessKeys, "refresh": &w.minter.RefreshKeys} {
		*broken = noKeys{}
		w.refuses(name+": sign-in", w.do(w.token, basic(post(oauth.PathToken, "grant_type", "client_credentials"), rotator, w.secret)), "temporarily_unavailable")
		w.refuses(name+": refresh", w.rotate(first), "temporarily_unavailable")
		*w.minter = good
		w.pass(time.Hour)
	}
	if _, sealed := w.renews(first); sealed.Generation != 2 {
		t.Errorf("generation %d; want 2", sealed.Generation)
	}
}

type noKeys struct{}

func (noKeys) SigningKey(context.Context) (keyring.SigningKey, error) {
	return keyring.SigningKey{}, errors.New("KMS does not answer")
}

// TestRotatingSlowly has the clock jump within a request, as on a laptop that sleeps: what it wrote itself is no reuse.
func TestRotatingSlowly(t *testing.T) {
	w := newRotatingWorld(t, boltGrants(t))
	first := w.begin()
	w.minter.RefreshKeys = slowKeys{w.minter.RefreshKeys, func() { w.pass(time.Minute) }}
	if _, sealed := w.renews(first); sealed.Generation != 2 || w.feed.appends != 0 {
		t.Errorf("generation %d, %d revocations", sealed.Generation, w.feed.appends)
	}
}

type slowKeys struct {
	grant.SigningKeys
	wait func()
}

func (s slowKeys) SigningKey(ctx context.Context) (keyring.SigningKey, error) {
	s.wait()
	return s.SigningKeys.SigningKey(ctx)
}

// TestRotatingWithoutRefresh signs in a client that gets no refresh token: nothing is recorded.
func TestRotatingWithoutRefresh(t *testing.T) {
	w := newRotatingWorld(t, boltGrants(t))
	secret := w.register(client.Spec{ID: "plain", RefreshMode: token.ModeRotating, Grants: []string{oauth.GrantClientCredentials}})
	w.grants.create = "before"
	if a := w.signIn("plain", secret); a.field("refresh_token") != "" || w.grants.create == "" {
		t.Errorf("%s", a.body)
	}
}
