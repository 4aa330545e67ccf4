package revoke_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/revoke"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

const (
	issuer = "https://auth.example"
	api    = "https://api.example"
)

// world is the endpoint on a real store, beside verifiers that obey what is said there at once.
type world struct {
	t     *testing.T
	clock clocktest.Clock
	store *boltstore.Store
	http.Handler

	access, refresh         *keys
	accessTokens            *token.AccessVerifier
	refreshTokens           *token.RefreshVerifier
	appID, appKey           string // a client and its secret
	otherID, otherKey       string
	mu                      sync.Mutex
	failure                 error // of Append, before its effect
	appended                []revocation.Entry
	said                    *revocation.Set
	log                     bytes.Buffer
	grants                  int
	failAccess, failRefresh error // of the keys
}

// keys are a ring that fails when told to.
type keys struct {
	*keyring.Source
	document *keyring.Document
	failure  *error
}

func (k *keys) VerificationKey(ctx context.Context, kid string) (keyring.VerificationKey, error) {
	if *k.failure != nil {
		return keyring.VerificationKey{}, *k.failure
	}
	return k.Source.VerificationKey(ctx, kid)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, said: revocation.NewSet()}
	var err error
	if w.store, err = boltstore.Open(filepath.Join(t.TempDir(), "store.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	w.access = w.ring(keyring.UseAccess, keyring.ES256, &w.failAccess)
	w.refresh = w.ring(keyring.UseRefresh, keyring.HS256, &w.failRefresh)
	w.appID, w.appKey = "app", w.register("app")
	w.otherID, w.otherKey = "other", w.register("other")

	config := token.Config{Issuer: issuer, Audiences: []string{api}, Keys: w.access, Revocations: w, Now: w.clock.Now}
	if w.accessTokens, err = token.NewAccessVerifier(config); err != nil {
		t.Fatal(err)
	}
	config.Keys = w.refresh
	if w.refreshTokens, err = token.NewRefreshVerifier(config); err != nil {
		t.Fatal(err)
	}
	w.Handler = w.endpoint(nil, 0)
	return w
}

func (w *world) endpoint(q revoke.Quota, perDay int) http.Handler {
	w.t.Helper()
	origin, err := token.NewAccessOrigin(token.Config{Issuer: issuer, Keys: w.access, Now: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	return revoke.Endpoint{
		Clients: client.NewAuthenticator(w.store, w.clock.Now), Refresh: w.refreshTokens, Access: origin, Revocations: w,
		Quota: q, PerDay: perDay, Now: w.clock.Now, Log: slog.New(slog.NewJSONHandler(&w.log, nil)),
	}.Handler()
}

func (w *world) ring(use keyring.Use, alg keyring.Algorithm, failure *error) *keys {
	w.t.Helper()
	key, err := keyring.Generate(alg, w.clock.Now().Add(-time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	return newKeys(&keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{key}}, &w.clock, failure)
}

func newKeys(d *keyring.Document, clock *clocktest.Clock, failure *error) *keys {
	return &keys{keyring.NewSource(keyring.SourceConfig{
		Now: clock.Now, Load: func(context.Context) (*keyring.Document, error) { return d, nil },
	}), d, failure}
}

// copy reads the same document, by itself.
func (k *keys) copy(clock *clocktest.Clock) *keys { return newKeys(k.document, clock, new(error)) }

func (w *world) register(id string) string {
	w.t.Helper()
	reg := client.Registry{Store: w.store, Now: w.clock.Now}
	_, secret, err := reg.Create(w.t.Context(), client.Spec{ID: id, Scopes: oauth.Scope{"read"}, Audiences: []string{api}})
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// Append implements revocation.Appender.
func (w *world) Append(_ context.Context, e revocation.Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure != nil {
		return w.failure
	}
	w.appended = append(w.appended, e)
	w.said.Add(e)
	return nil
}

// Check implements token.Revocations.
func (w *world) Check(_ context.Context, f revocation.Facts) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if reason := w.said.Revoked(&f); reason != "" {
		return &revocation.RevokedError{Reason: reason}
	}
	return nil
}

// family is a grant's tokens.
type family struct {
	id              string
	refresh, access string
	second          string // another access token of the grant, for another audience
}

// signIn makes a family of a client's. Its access tokens last a quarter of an hour, its refresh token an hour.
func (w *world) signIn(clientID string) family {
	w.t.Helper()
	w.grants++
	now := w.clock.Now()
	g := token.Grant{
		GrantID: fmt.Sprintf("g_%d", w.grants), ClientID: clientID, Subject: clientID, AuthTime: now,
		Epochs: token.Epochs{{Handle: "c_" + clientID, N: 1}},
	}
	access := func(audience, id string) string {
		a := token.Access{Grant: g, Issuer: issuer, Audience: []string{audience}, IssuedAt: now, ExpiresAt: now.Add(15 * time.Minute), ID: id}
		return w.sign(a.Sign, w.access)
	}
	r := token.Refresh{
		Grant: g, Issuer: issuer, IssuedAt: now, ExpiresAt: now.Add(time.Hour), ID: token.NewID(""), Resources: []string{api},
		Mode: token.ModeBearer, GrantEnds: now.Add(2 * time.Hour), AccessLifetime: 15 * time.Minute,
	}
	return family{g.GrantID, w.sign(r.Sign, w.refresh), access(api, token.NewID("")), access("https://elsewhere.example", token.NewID(""))}
}

func (w *world) sign(sign func(context.Context, keyring.SigningKey) (string, error), k *keys) string {
	w.t.Helper()
	key, err := k.SigningKey(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := sign(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// alive says which of a family's tokens are, in letters: r and a.
func (w *world) alive(f family) string {
	w.t.Helper()
	letters := ""
	if _, err := w.refreshTokens.Verify(w.t.Context(), f.refresh); err == nil {
		letters += "r"
	}
	if _, err := w.accessTokens.Verify(w.t.Context(), f.access); err == nil {
		letters += "a"
	}
	return letters
}

type answer struct {
	*httptest.ResponseRecorder
	log map[string]any
}

// ask posts a form of name, value, name, value … with Basic credentials, unless id is empty.
func (w *world) ask(id, secret string, pairs ...string) answer {
	w.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, issuer+oauth.PathRevoke, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	}
	return w.do(r)
}

func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	w.log.Reset()
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	w.ServeHTTP(a, r)
	if err := json.Unmarshal(w.log.Bytes(), &a.log); err != nil {
		w.t.Fatalf("not one log line: %s", &w.log)
	}
	if got := a.Header().Get("Cache-Control"); got != "no-store" {
		w.t.Errorf("Cache-Control is %q", got)
	}
	return a
}

// revokes wants the token revoked; what the log says of it is returned.
func (w *world) revokes(what, id, secret, raw string) map[string]any {
	w.t.Helper()
	a := w.ask(id, secret, "token", raw)
	if a.Code != http.StatusOK || a.Body.String() != "{}" || a.log["msg"] != "token.revoked" || a.log["client_id"] != id {
		w.t.Errorf("%s: %d %s %v", what, a.Code, a.Body, a.log)
	}
	if strings.Contains(w.log.String(), raw) {
		w.t.Errorf("%s: the log holds the token", what)
	}
	return a.log
}

// ignores wants an answer like that to a revocation, nothing said in the log of revocations, and a cause for operators.
func (w *world) ignores(what, id, secret, raw, cause string) {
	w.t.Helper()
	before := len(w.appended)
	a := w.ask(id, secret, "token", raw)
	if a.Code != http.StatusOK || a.Body.String() != "{}" || a.log["msg"] != "revoke.ignored" || len(w.appended) != before {
		w.t.Errorf("%s: %d %s %v, %d entries", what, a.Code, a.Body, a.log, len(w.appended)-before)
	}
	if said, _ := a.log["cause"].(string); !strings.Contains(said, cause) {
		w.t.Errorf("%s: the cause is %q, want %q", what, said, cause)
	}
}

func (w *world) wantAlive(what string, f family, want string) {
	w.t.Helper()
	if got := w.alive(f); got != want {
		w.t.Errorf("%s: %q is alive, want %q", what, got, want)
	}
}

func TestRefreshTokenEndsItsGrant(t *testing.T) {
	w := newWorld(t)
	f, sibling, others := w.signIn(w.appID), w.signIn(w.appID), w.signIn(w.otherID)
	w.wantAlive("before", f, "ra")
	line := w.revokes("a refresh token", w.appID, w.appKey, f.refresh)
	if line["grant_id"] != f.id || line["jti"] != nil {
		t.Errorf("the log says %v", line)
	}
	w.wantAlive("its grant", f, "")
	w.wantAlive("another grant of the client", sibling, "ra")
	w.wantAlive("another client's", others, "ra")
}

func TestAccessTokenEndsAlone(t *testing.T) {
	w := newWorld(t)
	f := w.signIn(w.appID)
	if line := w.revokes("an access token", w.appID, w.appKey, f.access); line["jti"] == nil || line["grant_id"] != f.id {
		t.Errorf("the log says %v", line)
	}
	w.wantAlive("its grant", f, "r")
	w.revokes("one for whatever audience", w.appID, w.appKey, f.second)
	w.revokes("the refresh token then", w.appID, w.appKey, f.refresh)
	w.wantAlive("its grant", f, "")
}

func TestExpired(t *testing.T) {
	w := newWorld(t)
	f := w.signIn(w.appID)
	w.clock.Move(15*time.Minute + time.Minute)
	w.revokes("an access token whose end has just come", w.appID, w.appKey, f.second)
	w.clock.Move(time.Second)
	w.ignores("an access token that ended long ago", w.appID, w.appKey, f.access, "expired")
	w.clock.Move(time.Hour)
	w.wantAlive("when the refresh token has ended", f, "")
	w.revokes("a refresh token that has ended", w.appID, w.appKey, f.refresh)
	if want := revocation.Grant(f.id, w.clock.Now()); w.appended[1] != want {
		t.Errorf("said %v, want %v: siblings may live", w.appended[1], want)
	}
}

func TestOfNoEffect(t *testing.T) {
	w := newWorld(t)
	f := w.signIn(w.appID)
	stranger := newWorld(t).signIn("app") // of the same names, signed by other keys
	w.clock.Move(2 * time.Minute)         // in which all keys have become known
	head := func(raw string) string { return raw[:strings.Index(raw, ".")] }
	body := func(raw string) string { return raw[:strings.LastIndex(raw, ".")] }
	for what, row := range map[string]struct{ raw, cause string }{
		"another client's refresh token":       {w.signIn(w.otherID).refresh, "the token is client other's"},
		"another client's access token":        {w.signIn(w.otherID).access, "the token is client other's"},
		"a forged refresh token":               {stranger.refresh, "unknown_key"},
		"a forged access token":                {stranger.access, "unknown_key"},
		"a refresh token, signature exchanged": {body(f.refresh) + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 32)), "signature"},
		"an access token, signature exchanged": {body(f.access) + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), "signature"},
		"another one's signature":              {body(f.access) + f.second[strings.LastIndex(f.second, "."):], "signature"},
		"an unsigned one":                      {body(f.refresh) + ".", ""},
		"the header alone":                     {head(f.refresh), "malformed"},
		"a refresh token that says access": {
			base64.RawURLEncoding.EncodeToString(bytes.Replace(decode(t, head(f.refresh)), []byte("rt+jwt"), []byte("at+jwt"), 1)) +
				f.refresh[strings.Index(f.refresh, "."):], "unknown_key"},
		"garbage":   {"garbage", "malformed"},
		"very long": {strings.Repeat("x", token.MaxLength+1), "malformed"},
	} {
		w.ignores(what, w.appID, w.appKey, row.raw, row.cause)
	}
	w.wantAlive("in the end", f, "ra")
}

// TestNewKey: a token whose key may be newer than what is known of the keys is not said to be revoked.
func TestNewKey(t *testing.T) {
	w := newWorld(t)
	f := w.signIn(w.appID)
	w.revokes("the keys are known by now", w.appID, w.appKey, f.access)
	// A second after the keys were read, another one signs.
	w.clock.Move(time.Second)
	for use, k := range map[keyring.Use]*keys{keyring.UseAccess: w.access, keyring.UseRefresh: w.refresh} {
		key, err := keyring.Generate(map[keyring.Use]keyring.Algorithm{keyring.UseAccess: keyring.ES256, keyring.UseRefresh: keyring.HS256}[use], w.clock.Now().Add(-time.Second))
		if err != nil {
			t.Fatal(err)
		}
		k.document.Keys = append([]keyring.Key{key}, k.document.Keys...)
	}
	signer := newWorld(t)
	signer.grants = 10
	signer.clock.Move(time.Second)
	signer.access, signer.refresh = w.access.copy(&signer.clock), w.refresh.copy(&signer.clock)
	f = signer.signIn(w.appID)
	for _, raw := range []string{f.access, f.refresh} {
		if a := w.ask(w.appID, w.appKey, "token", raw); a.Code != 503 || a.Header().Get("Retry-After") == "" || len(w.appended) != 1 {
			t.Errorf("%d %s, %d entries", a.Code, a.Body, len(w.appended))
		}
	}
	w.clock.Move(10 * time.Second)
	w.revokes("once the keys were read again", w.appID, w.appKey, f.access)
	w.revokes("once the keys were read again", w.appID, w.appKey, f.refresh)
}

// quota counts as the store does.
type quota struct {
	mu       sync.Mutex
	counts   map[string]int
	bookings int
	failure  error
}

func (q *quota) CountRevocations(_ context.Context, id, day string, n, most int) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bookings++
	if key := id + day; q.failure == nil && q.counts[key]+n <= most {
		q.counts[key] += n
		return true, nil
	}
	return false, q.failure
}

// TestQuota: however many processes there are, a client's day has an end; and who revokes a little causes no write for it.
func TestQuota(t *testing.T) {
	q := &quota{counts: map[string]int{}}
	w := newWorld(t)
	const perDay, processes = 200, 7
	var endpoints []http.Handler
	for range processes {
		endpoints = append(endpoints, w.endpoint(q, perDay))
	}
	id, secret := w.appID, w.appKey
	ask := func() answer {
		w.Handler = endpoints[w.grants%processes]
		f := w.signIn(id)
		w.clock.Move(time.Second)
		return w.ask(id, secret, "token", f.refresh)
	}
	for range revoke.Unbooked * processes {
		if a := ask(); a.Code != 200 {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
	}
	if q.bookings != 0 {
		t.Errorf("%d bookings for a few revocations", q.bookings)
	}
	q.failure = errors.New("away")
	if a := ask(); a.Code != 503 {
		t.Errorf("an outage: %d", a.Code)
	}
	q.failure = nil
	for range 2 * perDay {
		ask()
	}
	if n := len(w.appended); n > perDay+revoke.Unbooked*processes || n < perDay {
		t.Errorf("%d were revoked", n)
	}
	refused := ask()
	wait, err := strconv.Atoi(refused.Header().Get("Retry-After"))
	if refused.Code != 429 || err != nil || wait < 3600 || wait > 24*3600 || refused.log["msg"] != "revoke.refused" {
		t.Errorf("past the quota: %d %v %v", refused.Code, refused.Header(), refused.log)
	}
	if q.bookings > perDay/20+2*processes*10 {
		t.Errorf("%d bookings", q.bookings)
	}
	// Others are not concerned, and tomorrow is another day.
	id, secret = w.otherID, w.otherKey
	if a := ask(); a.Code != 200 {
		t.Errorf("another client: %d", a.Code)
	}
	id, secret = w.appID, w.appKey
	w.clock.Move(time.Duration(wait) * time.Second)
	if a := ask(); a.Code != 200 {
		t.Errorf("the next day: %d", a.Code)
	}
}

func decode(t *testing.T, segment string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestTwice: a token that is sent again is not told again, for a while.
func TestTwice(t *testing.T) {
	w := newWorld(t)
	f := w.signIn(w.appID)
	w.revokes("the first time", w.appID, w.appKey, f.refresh)
	w.ignores("the second time", w.appID, w.appKey, f.refresh, "revoked already")
	w.clock.Move(10*time.Minute - 1)
	w.ignores("within ten minutes", w.appID, w.appKey, f.refresh, "revoked already")
	w.clock.Move(1)
	w.revokes("after ten minutes", w.appID, w.appKey, f.refresh)
	w.clock.Move(-time.Hour)
	w.revokes("with the clock set back", w.appID, w.appKey, f.refresh)
	w.wantAlive("in the end", f, "")
}

func TestHints(t *testing.T) {
	w := newWorld(t)
	for _, hint := range []string{"refresh_token", "access_token", "", "saml2_assertion"} {
		f := w.signIn(w.appID)
		for _, raw := range []string{f.access, f.refresh} {
			if a := w.ask(w.appID, w.appKey, "token", raw, "token_type_hint", hint); a.Code != 200 || a.log["msg"] != "token.revoked" {
				t.Errorf("hint %q: %d, %v", hint, a.Code, a.log)
			}
		}
		w.wantAlive("hint "+hint, f, "")
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	f := w.signIn(w.appID)
	refuses := func(what string, a answer, status int, code string) {
		t.Helper()
		if a.Code != status || !strings.Contains(a.Body.String(), `"error":"`+code+`"`) || a.log["msg"] != "revoke.refused" {
			t.Errorf("%s: %d %s %v", what, a.Code, a.Body, a.log)
		}
	}
	wrong := w.register("third")
	for id, want := range map[string]any{w.appID: w.appID, "nobody": "nobody", "Not/An/Id": nil} {
		if a := w.ask(id, wrong, "token", f.refresh); a.Code != 401 || a.log["client_id"] != want {
			t.Errorf("%s is refused: %d, the log says %v", id, a.Code, a.log)
		}
	}
	refuses("no token", w.ask(w.appID, w.appKey, "token_type_hint", "access_token"), 400, "invalid_request")
	refuses("two tokens", w.ask(w.appID, w.appKey, "token", f.refresh, "token", f.access), 400, "invalid_request")
	refuses("no credentials", w.ask("", "", "token", f.refresh), 401, "invalid_client")
	refuses("an id alone", w.ask("", "", "token", f.refresh, "client_id", w.appID), 401, "invalid_client")
	a := w.ask(w.appID, wrong, "token", f.refresh)
	refuses("a wrong secret", a, 401, "invalid_client")
	if !strings.HasPrefix(a.Header().Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("no challenge: %v", a.Header())
	}
	refuses("a client that is none", w.ask("nobody", w.appKey, "token", f.refresh), 401, "invalid_client")
	get := httptest.NewRequest(http.MethodGet, issuer+oauth.PathRevoke+"?token="+f.refresh, nil)
	refuses("GET", w.do(get), 405, "invalid_request")
	w.wantAlive("after refusals", f, "ra")

	if a := w.ask("", "", "token", f.refresh, "client_id", w.appID, "client_secret", w.appKey); a.Code != 200 {
		t.Errorf("with client_secret_post: %d %s", a.Code, a.Body)
	}
	w.wantAlive("with client_secret_post", f, "")
}

// TestOutage: what can't be done is never said to be done.
func TestOutage(t *testing.T) {
	w := newWorld(t)
	f := w.signIn(w.appID)
	away := errors.New("no route to arn:aws:dynamodb:eu-west-1:123456789012:table/revocations")
	fails := func(what, raw string) {
		t.Helper()
		a := w.ask(w.appID, w.appKey, "token", raw)
		if a.Code != 503 || a.Header().Get("Retry-After") != "2" || !strings.Contains(a.Body.String(), `"temporarily_unavailable"`) ||
			strings.Contains(a.Body.String(), "arn:") || a.log["msg"] != "revoke.failed" {
			t.Errorf("%s: %d %v %s %v", what, a.Code, a.Header(), a.Body, a.log)
		}
	}
	w.failure = away
	fails("the store is away: refresh token", f.refresh)
	fails("the store is away: access token", f.access)
	w.failure, w.failRefresh = nil, away
	fails("the refresh keys are away", f.refresh)
	w.failRefresh, w.failAccess = nil, away
	fails("the access keys are away", f.access)
	w.wantAlive("the refresh token meanwhile", f, "r")
	w.failAccess = nil
	w.revokes("repeated: the access token", w.appID, w.appKey, f.access)
	w.revokes("repeated: the refresh token", w.appID, w.appKey, f.refresh)
	w.wantAlive("in the end", f, "")

	other := w.signIn(w.otherID)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	a := w.ask(w.otherID, w.otherKey, "token", other.refresh)
	if a.Code != 503 || a.Header().Get("Retry-After") == "" {
		t.Errorf("the clients are away: %d %s", a.Code, a.Body)
	}
}

func TestRateLimit(t *testing.T) {
	w := newWorld(t)
	ask := func(what string, status int) {
		t.Helper()
		a := w.ask(w.appID, w.appKey, "token", "garbage")
		if a.Code != status {
			t.Errorf("%s: %d %s", what, a.Code, a.Body)
		}
		if status == 429 && (a.Header().Get("Retry-After") != "1" || !strings.Contains(a.Body.String(), `"error":"temporarily_unavailable"`) || a.log["msg"] != "revoke.refused") {
			t.Errorf("%s: %v %s %v", what, a.Header(), a.Body, a.log)
		}
	}
	for range revoke.Burst {
		ask("within the burst", 200)
	}
	ask("past the burst", 429)
	if a := w.ask(w.otherID, w.otherKey, "token", "garbage"); a.Code != 200 {
		t.Errorf("another client: %d", a.Code)
	}
	if a := w.ask(w.appID, w.otherKey, "token", "garbage"); a.Code != 401 {
		t.Errorf("with a wrong secret: %d", a.Code)
	}
	w.clock.Move(time.Second / revoke.Rate)
	ask("when one more is due", 200)
	ask("and no second one", 429)
	w.clock.Move(-time.Hour)
	ask("with the clock set back", 429)
	w.clock.Move(time.Hour)
	for range revoke.Burst {
		ask("after a pause", 200)
	}
	ask("past the next burst", 429)
}

// TestAtOnce: the race detector's.
func TestAtOnce(t *testing.T) {
	w := newWorld(t)
	w.Handler = nil // the log buffer is not for many
	origin, err := token.NewAccessOrigin(token.Config{Issuer: issuer, Keys: w.access, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	h := revoke.Endpoint{
		Clients: client.NewAuthenticator(w.store, w.clock.Now), Refresh: w.refreshTokens, Access: origin, Revocations: w,
		Now: w.clock.Now, Log: slog.New(slog.DiscardHandler),
	}.Handler()
	f := w.signIn(w.appID)
	var all sync.WaitGroup
	counts := map[int]int{}
	for range 2 * revoke.Burst {
		all.Go(func() {
			form := url.Values{"token": {f.refresh}, "client_id": {w.appID}, "client_secret": {w.appKey}}
			r := httptest.NewRequest(http.MethodPost, oauth.PathRevoke, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			w.mu.Lock()
			defer w.mu.Unlock()
			counts[rec.Code]++
		})
	}
	all.Wait()
	if counts[200] != revoke.Burst || counts[429] != revoke.Burst {
		t.Errorf("answers: %v", counts)
	}
	w.wantAlive("in the end", f, "")
}
