package introspect_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/introspect"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

const (
	issuer   = "https://auth.example"
	orders   = "https://orders.example"
	invoices = "https://invoices.example"
)

// world is the endpoint on a real store, and a verifier such as an authorizer has on the same view.
type world struct {
	t     *testing.T
	clock clocktest.Clock
	store *boltstore.Store
	http.Handler
	config  token.Config // of the endpoint
	secrets map[string]string
	log     bytes.Buffer

	access, refresh *keyring.Source
	feedFails       error
	keysFail        error
}

// source is the store's feed, unless it is away.
type source struct {
	*revocation.Feed
	failure *error
}

// Page implements revocation.Source.
func (s source) Page(ctx context.Context, after string, since time.Time) (*revocation.Page, error) {
	if *s.failure != nil {
		return nil, *s.failure
	}
	return s.Feed.Page(ctx, after, since)
}

// public is the public document of the access keys, unless it is away.
type public struct {
	document *keyring.PublicDocument
	failure  *error
}

// PublicKeys implements keyring.PublicKeyReader.
func (p public) PublicKeys(context.Context) (*keyring.PublicDocument, int64, error) {
	return p.document, 1, *p.failure
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, secrets: map[string]string{}}
	var err error
	if w.store, err = boltstore.Open(filepath.Join(t.TempDir(), "store.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	accessKeys := w.ring(keyring.UseAccess, keyring.ES256)
	document, err := accessKeys.Public()
	if err != nil {
		t.Fatal(err)
	}
	w.access, w.refresh = w.source(accessKeys), w.source(w.ring(keyring.UseRefresh, keyring.ES256))
	quiet := slog.New(slog.DiscardHandler)
	view, err := revocation.NewView(revocation.ViewConfig{
		Source: source{revocation.NewFeed(revocation.FeedConfig{Source: w.store, Now: w.clock.Now, Log: quiet}), &w.feedFails},
		Window: time.Hour, Now: w.clock.Now, Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.register("app")
	w.register("orders-api", orders)
	w.register("both-apis", orders, invoices)
	w.config = token.Config{
		Issuer: issuer, Revocations: view, Now: w.clock.Now,
		Keys: keyring.NewPublicSource(keyring.PublicSourceConfig{Keys: public{document, &w.keysFail}, Now: w.clock.Now, Log: quiet}),
	}
	if w.Handler, err = (introspect.Endpoint{
		Clients: client.NewAuthenticator(w.store, w.clock.Now), Tokens: w.config, Now: w.clock.Now,
		Log: slog.New(slog.NewJSONHandler(&w.log, nil)),
	}).Handler(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) ring(use keyring.Use, alg keyring.Algorithm) *keyring.Document {
	w.t.Helper()
	key, err := keyring.Generate(alg, w.clock.Now().Add(-time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	return &keyring.Document{Version: keyring.DocumentVersion, Use: use, Keys: []keyring.Key{key}}
}

func (w *world) source(d *keyring.Document) *keyring.Source {
	return keyring.NewSource(keyring.SourceConfig{
		Now: w.clock.Now, Load: func(context.Context) (*keyring.Document, error) { return d, nil },
	})
}

func (w *world) register(id string, introspects ...string) {
	w.t.Helper()
	_, secret, err := w.registry().Create(w.t.Context(), client.Spec{
		ID: id, Scopes: oauth.Scope{"read", "write"}, Audiences: []string{orders, invoices}, Introspects: introspects,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.secrets[id] = secret
}

func (w *world) registry() *client.Registry {
	return &client.Registry{Store: w.store, Revocations: w.store, Now: w.clock.Now}
}

// claims are an access token's of the client app, a quarter of an hour long, signed in a minute ago.
func (w *world) claims() *token.Access {
	w.t.Helper()
	record, err := w.registry().Get(w.t.Context(), "app")
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.clock.Now()
	return &token.Access{
		Grant: token.Grant{
			GrantID: "g_1", ClientID: "app", Subject: "u_1", AuthTime: now.Add(-time.Minute), Epochs: record.Sealed(),
		},
		Issuer: issuer, Audience: []string{orders}, IssuedAt: now, ExpiresAt: now.Add(15 * time.Minute), ID: "j1", Scope: oauth.Scope{"read"},
	}
}

func (w *world) sign(a interface {
	Sign(context.Context, keyring.SigningKey) (string, error)
}, by *keyring.Source) string {
	w.t.Helper()
	key, err := by.SigningKey(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := a.Sign(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

func (w *world) say(e revocation.Entry) {
	w.t.Helper()
	if err := w.store.Append(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
}

type answer struct {
	*httptest.ResponseRecorder
	log map[string]any
}

func (w *world) ask(id string, pairs ...string) answer {
	w.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, issuer+oauth.PathIntrospect, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+w.secrets[id])))
	}
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

// TestConfirmation: a resource server learns what a token is bound to (RFC 8705 §3.2, RFC 9449 §6.2).
func TestConfirmation(t *testing.T) {
	w := newWorld(t)
	thumbprint := token.CertificateThumbprint([]byte("x"))
	for _, row := range []struct {
		binding   token.Confirmation
		tokenType string
		cnf       any
	}{
		{token.Confirmation{}, "Bearer", nil},
		{token.Confirmation{JKT: thumbprint}, "DPoP", map[string]any{"jkt": thumbprint}},
		{token.Confirmation{X5T: thumbprint}, "Bearer", map[string]any{"x5t#S256": thumbprint}},
		{token.Confirmation{JKT: thumbprint, X5T: thumbprint}, "DPoP", map[string]any{"jkt": thumbprint, "x5t#S256": thumbprint}},
	} {
		claims := w.claims()
		claims.Confirmation = row.binding
		a := w.ask("orders-api", "token", w.sign(claims, w.access))
		var got map[string]any
		if err := json.Unmarshal(a.Body.Bytes(), &got); err != nil || got["active"] != true {
			t.Fatalf("%v: %s", err, a.Body)
		}
		if diff := cmp.Diff(row.cnf, got["cnf"]); diff != "" || got["token_type"] != row.tokenType {
			t.Errorf("%+v: %s", row.binding, a.Body)
		}
	}
}

// active asks, and wants an answer without an error.
func (w *world) active(what, id, raw string) bool {
	w.t.Helper()
	a := w.ask(id, "token", raw)
	var said struct{ Active *bool }
	if err := json.Unmarshal(a.Body.Bytes(), &said); a.Code != 200 || err != nil || said.Active == nil {
		w.t.Fatalf("%s: %d %s %v", what, a.Code, a.Body, a.log)
	}
	if strings.Contains(w.log.String(), raw) {
		w.t.Errorf("%s: the log holds the token", what)
	}
	if !*said.Active && a.Body.String() != `{"active":false}` {
		w.t.Errorf("%s: it says more: %s", what, a.Body)
	}
	want := "introspect.inactive"
	if *said.Active {
		want = "introspect.active"
	} else if cause, _ := a.log["cause"].(string); cause == "" {
		w.t.Errorf("%s: no cause for operators: %v", what, a.log)
	}
	if a.log["msg"] != want || a.log["client_id"] != id {
		w.t.Errorf("%s: the log says %v", what, a.log)
	}
	return *said.Active
}

func TestActive(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now().Unix()
	raw := w.sign(w.claims(), w.access)
	want := map[string]any{
		"active": true, "scope": "read", "client_id": "app", "token_type": "Bearer", "sub": "u_1", "aud": orders, "iss": issuer,
		"exp": float64(now + 900), "iat": float64(now), "auth_time": float64(now - 60), "jti": "j1", "grant_id": "g_1",
	}
	for _, hint := range []string{"", "access_token", "refresh_token", "unheard_of"} {
		a := w.ask("orders-api", "token", raw, "token_type_hint", hint)
		var got map[string]any
		if err := json.Unmarshal(a.Body.Bytes(), &got); err != nil || a.Code != 200 {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("hint %q (-want +got):\n%s", hint, diff)
		}
	}
	several := w.claims()
	several.Audience, several.Scope = []string{invoices, orders}, nil
	if a := w.ask("orders-api", "token", w.sign(several, w.access)); !strings.Contains(a.Body.String(), `"aud":["https://invoices.example","https://orders.example"]`) ||
		strings.Contains(a.Body.String(), "scope") {
		t.Errorf("of two audiences, without scope: %s", a.Body)
	}
}

// TestWho: a client may ask about the audiences that it is registered for, and no others.
func TestWho(t *testing.T) {
	w := newWorld(t)
	forOrders, toInvoices := w.claims(), w.claims()
	toInvoices.Audience = []string{invoices}
	for _, row := range []struct {
		id       string
		orders   bool
		invoices bool
	}{{"orders-api", true, false}, {"both-apis", true, true}, {"app", false, false}} {
		if got := w.active(row.id, row.id, w.sign(forOrders, w.access)); got != row.orders {
			t.Errorf("%s about orders: %v", row.id, got)
		}
		if got := w.active(row.id, row.id, w.sign(toInvoices, w.access)); got != row.invoices {
			t.Errorf("%s about invoices: %v", row.id, got)
		}
	}
	// What is taken away is, within the time that records are remembered.
	raw := w.sign(w.claims(), w.access)
	if _, err := w.registry().Update(t.Context(), "orders-api", func(r *client.Record) error {
		r.Introspects = []string{invoices}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.clock.Move(client.RecordTTL)
	if w.active("after it was taken away", "orders-api", raw) {
		t.Error("still allowed")
	}
}

// TestRefusedClientIsNamed: the log says whose authentication failed, if that can be the name of a client.
func TestRefusedClientIsNamed(t *testing.T) {
	w := newWorld(t)
	for id, want := range map[string]any{"orders-api": "orders-api", "nobody": "nobody", "Not/An/Id": nil} {
		a := w.ask("", "token", "x", "client_id", id, "client_secret", "wrong")
		if a.Code != 401 || a.log["client_id"] != want {
			t.Errorf("%s: %d, the log says %v", id, a.Code, a.log)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	raw := w.sign(w.claims(), w.access)
	refuses := func(what string, a answer, status int, code string) {
		t.Helper()
		if a.Code != status || !strings.Contains(a.Body.String(), `"error":"`+code+`"`) || strings.Contains(a.Body.String(), "active") {
			t.Errorf("%s: %d %s", what, a.Code, a.Body)
		}
	}
	refuses("no credentials", w.ask("", "token", raw), 401, "invalid_client")
	refuses("no token", w.ask("orders-api", "token_type_hint", "access_token"), 400, "invalid_request")
	refuses("two tokens", w.ask("orders-api", "token", raw, "token", raw), 400, "invalid_request")
	w.secrets["orders-api"] = w.secrets["app"]
	refuses("another's secret", w.ask("orders-api", "token", raw), 401, "invalid_client")
	if _, err := (introspect.Endpoint{Clients: client.NewAuthenticator(w.store, nil), Tokens: token.Config{Issuer: issuer, Keys: w.access}}).Handler(); err == nil {
		t.Error("an endpoint that knows of no revocation")
	}
	if _, err := (introspect.Endpoint{Clients: client.NewAuthenticator(w.store, nil), Tokens: token.Config{Revocations: w.config.Revocations, Keys: w.access}}).Handler(); err == nil {
		t.Error("an endpoint without an issuer")
	}
}

// TestAgrees: of every token it says what a verifier says that is set up as the authorizer's.
func TestAgrees(t *testing.T) {
	w := newWorld(t)
	c := w.config
	c.Audiences = []string{orders}
	verifier, err := token.NewAccessVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := authorizer.New(authorizer.Config{Verifier: verifier, Now: w.clock.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	// The policy form, which is what a cache may keep until exp.
	allows := func(raw string) bool {
		event, err := json.Marshal(map[string]string{
			"type": "TOKEN", "authorizationToken": "Bearer " + raw, "methodArn": "arn:aws:execute-api:eu-central-1:123456789012:abc/prod/GET/orders",
		})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := auth.Invoke(t.Context(), event)
		return err == nil && strings.Contains(string(answer), `"Allow"`)
	}
	agrees := func(what, raw string, want bool) {
		t.Helper()
		if got, allowed := w.active(what, "orders-api", raw), allows(raw); got != want || got != allowed {
			t.Errorf("%s: active %v, want %v; the authorizer allows it: %v", what, got, want, allowed)
		}
	}
	stranger := newWorld(t)
	good := w.sign(w.claims(), w.access)
	agrees("a good one", good, true)
	with := func(what string, want bool, change func(*token.Access)) {
		t.Helper()
		claims := w.claims()
		change(claims)
		agrees(what, w.sign(claims, w.access), want)
	}
	with("another issuer's", false, func(a *token.Access) { a.Issuer = "https://evil.example" })
	with("for another audience", false, func(a *token.Access) { a.Audience = []string{invoices} })
	for left, want := range map[time.Duration]bool{
		time.Second: true, 0: false, -time.Second: false, -token.Leeway + time.Second: false, -token.Leeway: false, -time.Minute: false,
	} {
		with(left.String()+" before its end", want, func(a *token.Access) {
			a.AuthTime, a.IssuedAt, a.ExpiresAt = w.clock.Now().Add(-time.Hour), w.clock.Now().Add(-time.Hour), w.clock.Now().Add(left)
		})
	}
	for early, want := range map[time.Duration]bool{token.Leeway: true, token.Leeway + time.Second: false} {
		with(early.String()+" before it was issued", want, func(a *token.Access) {
			a.AuthTime, a.IssuedAt, a.ExpiresAt = w.clock.Now().Add(early), w.clock.Now().Add(early), w.clock.Now().Add(time.Hour)
		})
	}
	with("of tomorrow", false, func(a *token.Access) {
		a.IssuedAt, a.ExpiresAt = w.clock.Now().Add(24*time.Hour), w.clock.Now().Add(25*time.Hour)
	})
	agrees("of another deployment's key", stranger.sign(w.claims(), stranger.access), false)
	agrees("signed by a refresh key", w.sign(w.claims(), w.refresh), false)
	agrees("tampered with", good[:len(good)-4]+"AAAA", false)
	agrees("garbage", "garbage", false)
	agrees("very long", strings.Repeat("x", token.MaxLength+1), false)
	refresh := &token.Refresh{
		Grant: w.claims().Grant, Issuer: issuer, IssuedAt: w.clock.Now(), ExpiresAt: w.clock.Now().Add(time.Hour), ID: "j2",
		Resources: []string{orders}, Mode: token.ModeBearer, GrantEnds: w.clock.Now().Add(time.Hour), AccessLifetime: time.Minute,
	}
	agrees("a refresh token", w.sign(refresh, w.refresh), false)
	agrees("a refresh token by an access key", w.sign(refresh, w.access), false)

	for i, revoke := range []func(a *token.Access){
		func(a *token.Access) { w.say(revocation.Token(a.ID, w.clock.Now())) },
		func(a *token.Access) { w.say(revocation.Grant(a.GrantID, w.clock.Now())) },
		func(a *token.Access) {
			w.say(revocation.Subject(a.Subject, a.AuthTime.Add(time.Second), w.clock.Now()))
		},
		func(*token.Access) {
			if _, err := w.registry().SetDisabled(t.Context(), "app", true); err != nil {
				t.Fatal(err)
			}
		},
		func(a *token.Access) { w.say(revocation.Before(a.AuthTime.Add(time.Second), w.clock.Now())) },
	} {
		w.clock.Move(time.Hour) // past all that was said of sign-ins before
		claims := w.claims()
		claims.ID, claims.GrantID, claims.Subject = token.NewID(""), token.NewID("g_"), token.NewID("u_")
		raw := w.sign(claims, w.access)
		agrees("before it is revoked", raw, true)
		revoke(claims)
		w.clock.Move(revocation.PollInterval - 1)
		agrees("before the view hears of it", raw, true)
		w.clock.Move(1)
		agrees("revoked "+string(rune('a'+i)), raw, false)
	}
}

// TestOutage: what can't be known is never said to be inactive.
func TestOutage(t *testing.T) {
	w := newWorld(t)
	raw := w.sign(w.claims(), w.access)
	fails := func(what string) {
		t.Helper()
		a := w.ask("orders-api", "token", raw)
		if a.Code != 503 || a.Header().Get("Retry-After") != "2" || strings.Contains(a.Body.String(), "active") ||
			strings.Contains(a.Body.String(), "arn:") || a.log["msg"] != "introspect.failed" {
			t.Errorf("%s: %d %v %s %v", what, a.Code, a.Header(), a.Body, a.log)
		}
	}
	away := errors.New("no route to arn:aws:dynamodb:eu-west-1:123456789012:table/x")
	w.keysFail = away
	fails("the keys are away")
	w.keysFail, w.feedFails = nil, away
	fails("the feed is away")
	w.feedFails = nil
	w.clock.Move(time.Second)
	if !w.active("recovered", "orders-api", raw) {
		t.Error("not active")
	}
	w.feedFails = away
	w.clock.Move(revocation.MaxStaleness)
	if !w.active("while the view is good enough", "orders-api", raw) {
		t.Error("not active")
	}
	w.clock.Move(2 * time.Second)
	fails("the view is too old")
	w.feedFails = nil
	w.clock.Move(time.Second)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	fails("the clients are away")
}
