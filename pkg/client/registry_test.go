package client

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

func TestCreate(t *testing.T) {
	w := newWorld(t)
	r, secret, err := w.registry().Create(ctx, spec("app"))
	if err != nil {
		t.Fatal(err)
	}
	now := w.clock.Now().Unix()
	want := &Record{
		Version: 1, ID: "app", Name: "An app", Scopes: oauth.Scope{"read", "write"}, Audiences: []string{"https://a.example", "urn:b"},
		Grants: []string{"client_credentials", "refresh_token"}, RefreshMode: "bearer", Epoch: 1, Handle: r.Handle,
		Secrets: []StoredSecret{{SHA256: hash(secret), CreatedAt: now}}, CreatedAt: now, UpdatedAt: now,
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	if got, err := w.registry().Get(ctx, "app"); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("%v, %s", err, cmp.Diff(want, got))
	}
	if _, _, err := w.registry().Create(ctx, spec("app")); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v", err)
	}
	if err := w.registry().Delete(ctx, "app"); err != nil {
		t.Fatal(err)
	}
	if again, _, err := w.registry().Create(ctx, spec("app")); err != nil || again.Handle == r.Handle {
		t.Errorf("after deletion: handle %s, as before, %v", again.Handle, err)
	}

	s := spec("other")
	s.Grants, s.RefreshMode, s.SecretLifetime = []string{"client_credentials"}, token.ModeSecret, time.Hour
	s.AccessTokenLifetime, s.RefreshTokenLifetime, s.GrantLifetime = time.Minute, 2*time.Minute, 3*time.Minute
	r, _, err = w.registry().Create(ctx, s)
	if err != nil || r.AccessTokenLifetime != 60 || r.RefreshTokenLifetime != 120 || r.GrantLifetime != 180 || r.RefreshMode != "secret" ||
		!slices.Equal(r.Grants, s.Grants) || r.Secrets[0].ExpiresAt != now+3600 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	for what, change := range map[string]func(*Spec){
		"a bad id": func(s *Spec) { s.ID = "App" }, "no audience": func(s *Spec) { s.Audiences = nil }, "no grants": func(s *Spec) { s.Grants = []string{} },
		"two scopes in one": func(s *Spec) { s.Scopes = oauth.Scope{"a b"} }, "half a second": func(s *Spec) { s.AccessTokenLifetime = time.Second / 2 },
		"half a second of refresh": func(s *Spec) { s.RefreshTokenLifetime = time.Second / 2 }, "half a second of grant": func(s *Spec) { s.GrantLifetime = time.Second / 2 },
		"a negative lifetime": func(s *Spec) { s.GrantLifetime = -time.Hour }, "a secret that has ended": func(s *Spec) { s.SecretLifetime = -1 },
	} {
		w := newWorld(t)
		s := spec("app")
		change(&s)
		var invalid *InvalidError
		if r, secret, err := w.registry().Create(ctx, s); !errors.As(err, &invalid) || r != nil || secret != "" || len(w.records) != 0 {
			t.Errorf("%s: got %+v, %v", what, r, err)
		}
	}
}

func TestList(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"ccc", "aaa", "bbb"} {
		w.create(id)
	}
	list, err := w.registry().List(ctx)
	if err != nil || len(list) != 3 || list[0].ID != "aaa" || list[1].ID != "bbb" || list[2].ID != "ccc" {
		t.Errorf("got %v, %v", list, err)
	}
	w.failure = errors.New("away")
	if _, err := w.registry().List(ctx); !errors.Is(err, w.failure) {
		t.Errorf("got %v", err)
	}
}

func TestNarrows(t *testing.T) {
	for _, row := range []struct {
		what   string
		want   bool
		change func(*Record)
	}{
		{"nothing", false, func(*Record) {}},
		{"a name", false, func(r *Record) { r.Name = "x" }},
		{"the order of scopes", false, func(r *Record) { slices.Reverse(r.Scopes) }},
		{"one scope more", false, func(r *Record) { r.Scopes = append(r.Scopes, "all") }},
		{"one scope less", true, func(r *Record) { r.Scopes = r.Scopes[1:] }},
		{"a scope for another", true, func(r *Record) { r.Scopes[0] = "all" }},
		{"no scopes", true, func(r *Record) { r.Scopes = nil }},
		{"one audience more", false, func(r *Record) { r.Audiences = append(r.Audiences, "urn:c") }},
		{"one audience less", true, func(r *Record) { r.Audiences = r.Audiences[:1] }},
		{"something to introspect", false, func(r *Record) { r.Introspects = []string{"urn:b", "urn:c"} }},
		{"one grant type less", true, func(r *Record) { r.Grants = r.Grants[:1] }},
		{"access tokens shorter than the default", true, func(r *Record) { r.AccessTokenLifetime = 899 }},
		{"access tokens as the default", false, func(r *Record) { r.AccessTokenLifetime = 900 }},
		{"access tokens longer", false, func(r *Record) { r.AccessTokenLifetime = 901 }},
		{"refresh tokens shorter", true, func(r *Record) { r.RefreshTokenLifetime = 86399 }},
		{"refresh tokens longer", false, func(r *Record) { r.RefreshTokenLifetime = 86401 }},
		{"grants shorter", true, func(r *Record) { r.RefreshTokenLifetime, r.GrantLifetime = 86400, 86399 }},
		{"grants longer", false, func(r *Record) { r.GrantLifetime = 86401 }},
		{"another mode", true, func(r *Record) { r.RefreshMode = token.ModeSecret }},
		{"disabled", true, func(r *Record) { r.Disabled = true }},
		{"secrets", false, func(r *Record) { r.Secrets = nil }},
		{"keys", false, func(r *Record) { r.Keys = "https://app.example.com/jwks.json" }},
		{"an identity", false, func(r *Record) { r.Identities = []Identity{{Issuer: "https://ci.example.com", Subject: "job"}} }},
		{"an issuer of assertions", false, func(r *Record) { r.AssertionIssuers = []string{"https://id.example.com"} }},
	} {
		before, after := record(), record()
		row.change(after)
		if narrows(before, after) != row.want {
			t.Errorf("%s: want %v", row.what, row.want)
		}
		w := newWorld(t)
		w.records["app"] = &Stored{*before, 1}
		want := int64(1)
		if row.want {
			want = 2
		}
		if r := w.update("app", row.change); r.Epoch != want || w.records["app"].Epoch != want {
			t.Errorf("%s: the epoch is %d, want %d", row.what, r.Epoch, want)
		}
	}
	signing := func() *Record {
		r := record()
		r.Keys, r.AssertionIssuers = "https://app.example.com/jwks.json", []string{"https://id.example.com"}
		r.Identities = []Identity{{Issuer: "https://ci.example.com", Claims: map[string]string{"repository": "a/b"}}}
		return r
	}
	for what, change := range map[string]func(*Record){
		"other keys":                   func(r *Record) { r.Keys = "https://app.example.com/other.json" },
		"no keys":                      func(r *Record) { r.Keys = "" },
		"no identity":                  func(r *Record) { r.Identities = nil },
		"another claim of one":         func(r *Record) { r.Identities[0].Claims = map[string]string{"repository": "a/c"} },
		"another issuer of assertions": func(r *Record) { r.AssertionIssuers = []string{"https://x.example.com"} },
	} {
		after := signing()
		if change(after); !narrows(signing(), after) {
			t.Errorf("%s does not narrow", what)
		}
	}
	before, after := record(), record()
	before.Introspects, after.Introspects = []string{"urn:b", "urn:c"}, []string{"urn:b"}
	if !narrows(before, after) {
		t.Error("an audience less to introspect does not narrow")
	}
	before, after = record(), record()
	before.Disabled = true
	if narrows(before, after) {
		t.Error("enabling narrows")
	}
	after.Disabled = true
	if narrows(before, after) {
		t.Error("disabled as before narrows")
	}
}

func TestUpdateRetries(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	w.clock.Move(time.Hour)
	w.conflicts = 3
	calls := 0
	r, err := w.registry().Update(ctx, "app", func(r *Record) error {
		calls++
		r.Scopes = append(r.Scopes, "all")
		return nil
	})
	if err != nil || calls != 4 || r.Name != "the winner's" || r.Scopes.String() != "read write all" || r.UpdatedAt != w.clock.Now().Unix() || r.CreatedAt == r.UpdatedAt {
		t.Errorf("%d calls, %+v, %v", calls, r, err)
	}
	w.conflicts = 1000
	if _, err := w.registry().Update(ctx, "app", func(*Record) error { return nil }); !errors.Is(err, ErrConflict) || w.conflicts < 900 {
		t.Errorf("after %d tries: %v", 1000-w.conflicts, err)
	}
}

func TestUpdateRefuses(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	stop := errors.New("stop")
	if _, err := w.registry().Update(ctx, "app", func(*Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if _, err := w.registry().Update(ctx, "app", func(r *Record) error {
		r.Audiences = nil
		return nil
	}); err == nil {
		t.Error("an invalid record is written")
	}
	if w.writes != 0 {
		t.Errorf("%d writes", w.writes)
	}
	if _, err := w.registry().Update(ctx, "nobody", func(*Record) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// TestUpdateKeepsIdentity: no change makes one client pass for another, or revives what was revoked.
func TestUpdateKeepsIdentity(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	w.create("other")
	before := w.update("app", func(r *Record) { r.Scopes = r.Scopes[1:] })
	r := w.update("app", func(r *Record) { r.ID, r.Handle, r.Version, r.CreatedAt, r.Epoch = "other", "c_x", 9, 1, 1 })
	if r.ID != "app" || r.Handle != before.Handle || r.Version != RecordVersion || r.CreatedAt != before.CreatedAt || r.Epoch != 2 {
		t.Errorf("got %+v", r)
	}
	if r := w.update("app", func(r *Record) { r.Epoch += 5 }); r.Epoch != 7 {
		t.Errorf("the epoch is %d, want 7", r.Epoch)
	}
	if r := w.update("app", func(r *Record) { r.Epoch, r.Disabled = 1, true }); r.Epoch != 8 {
		t.Errorf("the epoch is %d, want 8", r.Epoch)
	}
}

// TestUpdateWorksOnACopy: a change that is given up on leaves the record it was made on alone.
func TestUpdateWorksOnACopy(t *testing.T) {
	r := record()
	_, secret := NewSecret(time.Unix(0, 0))
	r.Secrets = []StoredSecret{secret}
	c := r.clone()
	c.Scopes[0], c.Audiences[0], c.Grants[0], c.Secrets[0].ExpiresAt = "x", "x", "x", 1
	if r.Scopes[0] == "x" || r.Audiences[0] == "x" || r.Grants[0] == "x" || r.Secrets[0].ExpiresAt == 1 {
		t.Errorf("the original changed: %+v", r)
	}
}

func TestSetDisabled(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	for _, row := range []struct {
		disabled bool
		epoch    int64
	}{{true, 2}, {true, 2}, {false, 2}, {true, 3}} {
		if r, err := w.registry().SetDisabled(ctx, "app", row.disabled); err != nil || r.Disabled != row.disabled || r.Epoch != row.epoch {
			t.Errorf("disabled %v: got %v, epoch %d, %v, want epoch %d", row.disabled, r.Disabled, r.Epoch, err, row.epoch)
		}
	}
}

func TestRotateSecret(t *testing.T) {
	w := newWorld(t)
	old := w.create("app")
	rotate := func(grace, lifetime time.Duration) (string, error) {
		t.Helper()
		_, secret, err := w.registry().RotateSecret(ctx, "app", Rotation{Grace: grace, Lifetime: lifetime})
		if (err == nil) != (secret != "") {
			t.Errorf("the secret %q along with %v", secret, err)
		}
		return secret, err
	}
	live := func(what string, texts ...string) {
		t.Helper()
		r, err := w.registry().Get(ctx, "app")
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for _, s := range r.Secrets {
			if s.live(w.clock.Now()) {
				count++
			}
		}
		for _, text := range texts {
			if !matches(r.Secrets, text, w.clock.Now()) {
				t.Errorf("%s: a secret that should be live is not", what)
			}
		}
		if count != len(texts) {
			t.Errorf("%s: %d are live, want %d", what, count, len(texts))
		}
		if r.Epoch != 1 {
			t.Errorf("%s: the epoch is %d", what, r.Epoch)
		}
	}
	second, err := rotate(time.Hour, 0)
	if err != nil {
		t.Fatal(err)
	}
	live("in the grace", old, second)

	w.clock.Move(59 * time.Minute)
	_, err = rotate(time.Minute/2, 0)
	if err == nil || !strings.Contains(err.Error(), "2026-01-01T01:00:00Z") {
		t.Errorf("a third secret: %v, want a refusal that names when the first ends", err)
	}
	live("after a refusal", old, second)
	w.clock.Move(time.Minute)
	live("after the grace", second)

	third, err := rotate(0, 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	live("without a grace", third)
	// The one in use ends in two hours anyhow; a longer grace does not prolong it.
	fourth, err := rotate(3*time.Hour, 0)
	if err != nil {
		t.Fatal(err)
	}
	live("two again", third, fourth)
	fifth, err := rotate(0, 0) // as after a leak: both end
	if err != nil {
		t.Fatal(err)
	}
	live("after a leak", fifth)
	if r := w.records["app"]; len(r.Secrets) != 1 {
		t.Errorf("%d secrets are kept, want the live one only", len(r.Secrets))
	}
	if _, err := rotate(0, -time.Second); err == nil {
		t.Error("a secret that has ended is made")
	}
	live("after that", fifth)
}

func TestRotateSecretDoesNotProlong(t *testing.T) {
	w := newWorld(t)
	s := spec("app")
	s.SecretLifetime = time.Hour
	if _, _, err := w.registry().Create(ctx, s); err != nil {
		t.Fatal(err)
	}
	r, _, err := w.registry().RotateSecret(ctx, "app", Rotation{Grace: 2 * time.Hour, Lifetime: 30 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	now := w.clock.Now().Unix()
	if r.Secrets[0].ExpiresAt != now+3600 || r.Secrets[1].ExpiresAt != now+1800 {
		t.Errorf("they end after %d and %d s", r.Secrets[0].ExpiresAt-now, r.Secrets[1].ExpiresAt-now)
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	w.conflicts = 3
	if err := w.registry().Delete(ctx, "app"); err != nil {
		t.Error(err)
	}
	if err := w.registry().Delete(ctx, "app"); !errors.Is(err, ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	w.create("app")
	w.conflicts = 1000
	if err := w.registry().Delete(ctx, "app"); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
}
