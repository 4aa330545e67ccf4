package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/attack"
	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/resource/verify"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// besieged is all of `latchkey dev` with keys of every kind and age, and whoever makes tokens by them.
type besieged struct {
	handler   http.Handler
	url       string
	clock     *clocktest.Clock
	log       *attack.Log
	store     *boltstore.Store
	keys      laptopKeys
	secrets   map[string]string
	strayed   atomic.Int64 // requests to where a token wanted us to look
	access    map[string]attack.Key
	refresh   map[string]attack.Key
	elsewhere string
}

const revokedGrant = "g_revoked"

func besiege(t *testing.T) *besieged {
	t.Helper()
	dir := t.TempDir()
	b := &besieged{clock: new(clocktest.Clock), log: new(attack.Log), secrets: map[string]string{}}
	var err error
	if b.store, err = boltstore.Open(filepath.Join(dir, storeFile)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.store.Close() })
	b.keys = openLaptopKeys(dir)
	b.access = b.ring(t, b.keys.access, keyring.UseAccess, keyring.ES256)
	b.refresh = b.ring(t, b.keys.refresh, keyring.UseRefresh, keyring.HS256)
	if _, err := (&app{now: b.clock.Now}).first(t.Context(), b.keys, b.store, keyring.ES256); err != nil {
		t.Fatal(err)
	}

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { b.strayed.Add(1) }))
	t.Cleanup(other.Close)
	b.url, b.elsewhere = server.URL, other.URL
	b.handler, err = devHandler(devConfig{
		Issuer: b.url, Clients: b.store, Users: b.store, SignIns: b.store, SignInKey: b.store.SignInKey,
		Issuers: b.store, Assertions: b.store, Public: b.store, Grants: b.store, Revocations: b.store, Keys: b.keys,
		Log: jsonlog.New(b.log), Now: b.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	registry := &client.Registry{Store: b.store, Revocations: b.store, Now: b.clock.Now}
	for _, spec := range []client.Spec{
		{ID: "shop", Scopes: oauth.Scope{"orders:read"}, Audiences: []string{devAudience}},
		{ID: "api", Scopes: oauth.Scope{"orders:read"}, Audiences: []string{devAudience}, Introspects: []string{devAudience}},
	} {
		if _, b.secrets[spec.ID], err = registry.Create(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range []revocation.Entry{
		revocation.Grant(revokedGrant, b.clock.Now()), revocation.SigningKey(b.access["revoked"].ID, b.clock.Now()),
		revocation.SigningKey(b.refresh["revoked"].ID, b.clock.Now()),
	} {
		if err := b.store.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	b.clock.Move(time.Minute)
	return b
}

// ring makes a ring: a key that signs, one of each other algorithm that verifies, one that is retired, one that is revoked.
func (b *besieged) ring(t *testing.T, v keyring.Vault, use keyring.Use, signs keyring.Algorithm) map[string]attack.Key {
	t.Helper()
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: use}
	keys := map[string]attack.Key{}
	add := func(name string, alg keyring.Algorithm, age time.Duration, until int64) {
		k, err := keyring.Generate(alg, b.clock.Now().Add(-age))
		if err != nil {
			t.Fatal(err)
		}
		k.VerifyUntil = until
		d.Keys = append(d.Keys, k)
		keys[name] = attack.NewKey(t, k)
	}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		if alg != signs {
			add(string(alg), alg, 2*time.Hour, 0)
		}
	}
	add("revoked", signs, 3*time.Hour, 0)
	add("retired", signs, 4*time.Hour, b.clock.Now().Unix()-60)
	add(string(signs), signs, time.Hour, 0)
	if err := v.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return keys
}

func (b *besieged) forge(t *testing.T, typ string) *attack.Forge {
	t.Helper()
	foreign, err := keyring.Generate(keyring.ES256, b.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	ring, other := b.access, b.refresh[string(keyring.HS256)]
	if typ == token.TypeRefresh {
		ring, other = b.refresh, b.access[string(keyring.ES256)]
	}
	f := &attack.Forge{
		Type: typ, Issuer: b.url, Audience: devAudience, Client: "shop", Now: b.clock.Now, Keys: map[keyring.Algorithm]attack.Key{},
		Retired: ring["retired"], Revoked: ring["revoked"], Other: other, Foreign: attack.NewKey(t, foreign),
		RevokedGrant: revokedGrant, Elsewhere: b.elsewhere,
	}
	for name, k := range ring {
		if name == string(k.Algorithm) {
			f.Keys[k.Algorithm] = k
		}
	}
	return f
}

// view is of the revocations, read without a network.
func (b *besieged) view(t *testing.T) *revocation.View {
	t.Helper()
	feed := revocation.NewFeed(revocation.FeedConfig{Source: b.store, Log: jsonlog.New(b.log), Now: b.clock.Now})
	view, err := revocation.NewView(revocation.ViewConfig{Source: feed, Window: time.Hour, Log: jsonlog.New(b.log), Now: b.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return view
}

func (b *besieged) verifier(t *testing.T, cache int) *token.AccessVerifier {
	t.Helper()
	keys := keyring.NewPublicSource(keyring.PublicSourceConfig{Keys: b.store, Log: jsonlog.New(b.log), Now: b.clock.Now})
	v, err := token.NewAccessVerifier(token.Config{
		Issuer: b.url, Audiences: []string{devAudience}, Keys: keys, Revocations: b.view(t), Now: b.clock.Now, Cache: cache,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (b *besieged) authorizer(t *testing.T, cache int, simple bool) *authorizer.Authorizer {
	t.Helper()
	a, err := authorizer.New(authorizer.Config{Verifier: b.verifier(t, cache), SimpleResponses: simple, Now: b.clock.Now, Log: jsonlog.New(b.log)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// inspectPlace is `latchkey token inspect`, in this process and at the clock's time.
func (b *besieged) inspectPlace() attack.Place {
	return attack.Place{Name: "token inspect", Tidies: true, Judge: func(t testing.TB, raw string) attack.Verdict {
		var out, errs bytes.Buffer
		a := &app{stdin: strings.NewReader(raw), stdout: &out, stderr: &errs, env: func(string) string { return "" }, now: b.clock.Now}
		root := a.root()
		root.SetArgs([]string{"token", "inspect", "--issuer", b.url, "--audience", devAudience, "--json"})
		err := root.ExecuteContext(t.Context())
		var answer struct {
			Valid  bool
			Reason token.Reason
			Claims struct{ JTI string }
		}
		_ = json.Unmarshal(out.Bytes(), &answer) // claims that are none of ours are shown as they are
		v := attack.Verdict{Accepted: err == nil, Reason: answer.Reason, Said: out.String() + errs.String()}
		if answer.Valid != (err == nil) {
			t.Errorf("token inspect: valid is %v, and the error %v", answer.Valid, err)
		}
		if v.Accepted {
			v.ID = answer.Claims.JTI
		}
		return v
	}}
}

// TestHostileTokens shows the corpus of package attack in every place that takes a token: all come to the verdict that it
// names, and so to the same.
func TestHostileTokens(t *testing.T) {
	t.Parallel()
	b := besiege(t)
	guard, err := verify.New(verify.Config{Issuer: b.url, Audiences: []string{devAudience}, Now: b.clock.Now, Log: jsonlog.New(b.log)})
	if err != nil {
		t.Fatal(err)
	}
	plain, remembering := b.verifier(t, 0), b.verifier(t, 100)
	jti := func(v *token.AccessVerifier) func(context.Context, string) (string, error) {
		return func(ctx context.Context, raw string) (string, error) {
			a, err := v.Verify(ctx, raw)
			if err != nil {
				return "", err
			}
			return a.ID, nil
		}
	}
	const events = "../../events"
	authorizers := attack.AuthorizerPlaces(t, b.authorizer(t, 0, false).Invoke, b.log.Take, events, false)
	authorizers = append(authorizers, attack.AuthorizerPlaces(t, b.authorizer(t, 100, true).Invoke, b.log.Take, events, true)...)
	b.judge(t, token.TypeAccess, []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA}, [][]attack.Place{
		authorizers,
		{attack.VerifierPlace("verifier", false, jti(plain))},
		{attack.VerifierPlace("verifier with a cache", true, jti(remembering))},
		{attack.APIPlace("whoami", b.handler, b.log, pathWhoami)},
		{attack.APIPlace("pkg/resource/verify", guard.Handler(attack.SayID), b.log, "/orders")},
		{attack.IntrospectPlace(b.handler, b.log, "api", b.secrets["api"])},
		{b.inspectPlace()},
		{attack.RevokePlace(b.handler, b.log, "shop", b.secrets["shop"])}, // the last, for it ends what it takes
	})

	source := keyring.NewSource(keyring.SourceConfig{Load: b.keys.refresh.Load, Now: b.clock.Now, Log: jsonlog.New(b.log)})
	refresh, err := token.NewRefreshVerifier(token.Config{Issuer: b.url, Keys: source, Revocations: b.view(t), Now: b.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	b.judge(t, token.TypeRefresh, []keyring.Algorithm{keyring.HS256, keyring.ES256, keyring.RS256, keyring.EdDSA}, [][]attack.Place{
		{attack.RefreshPlace(b.handler, b.log, oauth.PathRefresh, "shop")},
		{attack.RefreshPlace(b.handler, b.log, oauth.PathToken, "shop")},
		{attack.VerifierPlace("verifier", false, func(ctx context.Context, raw string) (string, error) {
			r, err := refresh.Verify(ctx, raw)
			if err != nil {
				return "", err
			}
			return r.ID, nil
		})},
		{attack.RevokePlace(b.handler, b.log, "shop", b.secrets["shop"])},
	})
	if n := b.strayed.Load(); n > 0 {
		t.Errorf("%d requests to where a token said that its keys are", n)
	}
}

func (b *besieged) judge(t *testing.T, typ string, algs []keyring.Algorithm, places [][]attack.Place) {
	t.Helper()
	thorough := os.Getenv("LATCHKEY_LONG") == "1"
	f := b.forge(t, typ)
	f.Now = func() time.Time { b.clock.Move(time.Second); return b.clock.Now() } // no client may revoke too often
	rows := f.Judge(t, algs, places, thorough)
	total := 0
	for class, n := range rows {
		t.Logf("%s: %s: %d tokens", typ, class, n)
		total += n
	}
	t.Logf("%s: %d tokens, each in %d kinds of places", typ, total, len(places))
}
