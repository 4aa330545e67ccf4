package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

func TestValidID(t *testing.T) {
	for _, id := range []string{"app", "a-1", "---", "0x0", strings.Repeat("a", 64)} {
		if !ValidID(id) {
			t.Errorf("%q is refused", id)
		}
	}
	for _, id := range []string{"", "ab", strings.Repeat("a", 65), "App", "a_b", "a.b", "a b", "app\n", "\napp", "äpp", "a/b", "u_123", "x_123", "app\x00", "abc\nabc"} {
		if ValidID(id) {
			t.Errorf("%q is accepted", id)
		}
	}
}

func TestValidate(t *testing.T) {
	valid := func(what string, change func(*Record)) {
		t.Helper()
		r := record()
		change(r)
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	invalid := func(what string, change func(*Record)) {
		t.Helper()
		r := record()
		change(r)
		if r.Validate() == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	many := func(n int, form string) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf(form, i))
		}
		return list
	}
	valid("as it is", func(*Record) {})
	valid("no scopes", func(r *Record) { r.Scopes = nil })
	valid("the most scopes", func(r *Record) { r.Scopes = many(MaxScopes, "s%d") })
	valid("the longest scope", func(r *Record) { r.Scopes = oauth.Scope{strings.Repeat("x", MaxScopeLen)} })
	valid("the most audiences", func(r *Record) { r.Audiences = many(MaxAudiences, "urn:%d") })
	valid("the longest audience", func(r *Record) { r.Audiences = []string{"urn:" + strings.Repeat("x", MaxAudience-4)} })
	valid("an audience with a query", func(r *Record) { r.Audiences = []string{"https://a.example:8443/b/?c=d&e=%20"} })
	valid("the longest name", func(r *Record) { r.Name = strings.Repeat("x", MaxNameLen) })
	valid("a minute", func(r *Record) { r.AccessTokenLifetime = 60 })
	valid("mode secret", func(r *Record) { r.RefreshMode = token.ModeSecret })
	valid("mode rotating", func(r *Record) { r.RefreshMode = token.ModeRotating })
	valid("one grant type", func(r *Record) { r.Grants = r.Grants[:1] })
	valid("disabled, without secrets", func(r *Record) { r.Disabled, r.Secrets = true, nil })

	valid("the most to introspect", func(r *Record) { r.Introspects = many(MaxAudiences, "urn:%d") })
	invalid("too many to introspect", func(r *Record) { r.Introspects = many(MaxAudiences+1, "urn:%d") })
	invalid("no URI to introspect", func(r *Record) { r.Introspects = []string{"api"} })
	invalid("nothing to introspect", func(r *Record) { r.Introspects = []string{""} })
	invalid("no id", func(r *Record) { r.ID = "" })
	invalid("a long name", func(r *Record) { r.Name = strings.Repeat("x", MaxNameLen+1) })
	invalid("too many scopes", func(r *Record) { r.Scopes = many(MaxScopes+1, "s%d") })
	invalid("too long a scope", func(r *Record) { r.Scopes = oauth.Scope{strings.Repeat("x", MaxScopeLen+1)} })
	invalid("two scopes in one", func(r *Record) { r.Scopes = oauth.Scope{"read write"} })
	invalid("a scope twice", func(r *Record) { r.Scopes = oauth.Scope{"read", "read"} })
	invalid("an empty scope", func(r *Record) { r.Scopes = oauth.Scope{""} })
	invalid("a scope with a quote", func(r *Record) { r.Scopes = oauth.Scope{`a"b`} })
	invalid("no audience", func(r *Record) { r.Audiences = nil })
	invalid("too many audiences", func(r *Record) { r.Audiences = many(MaxAudiences+1, "urn:%d") })
	for _, a := range []string{
		"", "api", "/api", "//a.example", "a.example/b", "https://a.example#b", "https://a.example/#", "https://a b.example", "https://a.example/b c", "https://a.example/\"",
		"https://a.example/\\", "https://a.example/<", "https://a.example/é", "https://a.example/\xff", "https://a.example/\x7f", "https://a.example/%zz", "1:b",
		"urn:" + strings.Repeat("x", MaxAudience-3), "https://a.example/\n", " urn:a",
	} {
		invalid("audience "+a, func(r *Record) { r.Audiences = []string{"urn:good", a} })
	}
	invalid("no grant types", func(r *Record) { r.Grants = []string{} })
	invalid("another grant type", func(r *Record) { r.Grants = append(r.Grants, "authorization_code") })
	for _, mode := range []token.Mode{"", "DPoP", "Bearer", "Rotating", "tls"} {
		invalid("refresh mode "+string(mode), func(r *Record) { r.RefreshMode = mode })
	}
	invalid("no handle", func(r *Record) { r.Handle = "" })
	invalid("no epoch", func(r *Record) { r.Epoch = 0 })
	invalid("a negative epoch", func(r *Record) { r.Epoch = -1 })
	invalid("a negative access-token lifetime", func(r *Record) { r.AccessTokenLifetime = -1 })
	invalid("a negative refresh-token lifetime", func(r *Record) { r.RefreshTokenLifetime = -1 })
	invalid("a negative grant lifetime", func(r *Record) { r.GrantLifetime = -1 })
	invalid("less than a minute", func(r *Record) { r.AccessTokenLifetime = 59 })
}

func TestLifetimes(t *testing.T) {
	lifetimes := func(what string, r *Record, access, refresh, grant time.Duration) {
		t.Helper()
		if a, f, g := r.AccessLifetime(), r.RefreshLifetime(), r.GrantDuration(); a != access || f != refresh || g != grant {
			t.Errorf("%s: got %s, %s, %s, want %s, %s, %s", what, a, f, g, access, refresh, grant)
		}
	}
	lifetimes("bearer", &Record{RefreshMode: token.ModeBearer}, 15*time.Minute, day, day)
	lifetimes("secret", &Record{RefreshMode: token.ModeSecret}, 15*time.Minute, 7*day, 30*day)
	lifetimes("rotating", &Record{RefreshMode: token.ModeRotating}, 15*time.Minute, 7*day, 30*day)
	lifetimes("bearer with a grant of an hour", &Record{RefreshMode: token.ModeBearer, GrantLifetime: 3600}, 15*time.Minute, time.Hour, time.Hour)
	lifetimes("all given", &Record{RefreshMode: token.ModeBearer, AccessTokenLifetime: 60, RefreshTokenLifetime: 120, GrantLifetime: 180},
		time.Minute, 2*time.Minute, 3*time.Minute)
	lifetimes("all given", &Record{RefreshMode: token.ModeSecret, AccessTokenLifetime: 60, RefreshTokenLifetime: 120, GrantLifetime: 180},
		time.Minute, 2*time.Minute, 3*time.Minute)
}

func TestAllowsAndSeals(t *testing.T) {
	r := record()
	r.Grants, r.Epoch = []string{oauth.GrantClientCredentials}, 7
	if !r.Allows(oauth.GrantClientCredentials) || r.Allows(oauth.GrantRefreshToken) || r.Allows("") {
		t.Error("it does not allow what its grants say")
	}
	if diff := cmp.Diff(token.Epochs{{Handle: "c_1", N: 7}}, r.Sealed()); diff != "" {
		t.Error(diff)
	}
}

func TestMarshal(t *testing.T) {
	r := record()
	_, secret := NewSecret(time.Unix(5, 0))
	r.Secrets, r.Name, r.GrantLifetime, r.Disabled = []StoredSecret{secret}, "n", 3600, true
	data, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unmarshal("app", data)
	if diff := cmp.Diff(r, got); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	for what, stored := range map[string]string{
		"no JSON": "{", "another version": strings.Replace(string(data), `"version":1`, `"version":2`, 1), "no version": `{"client_id":"app"}`,
		"another's": strings.Replace(string(data), `"client_id":"app"`, `"client_id":"other"`, 1),
		"invalid":   strings.Replace(string(data), `"epoch":1`, `"epoch":0`, 1), "a broken scope": strings.Replace(string(data), `read write`, `read  write`, 1),
	} {
		if _, err := Unmarshal("app", []byte(stored)); err == nil || stored == string(data) {
			t.Errorf("%s: accepted", what)
		}
	}
}

// TestLargestRecordsTokens: whatever a valid record holds, its tokens can be signed, with the largest of keys.
func TestLargestRecordsTokens(t *testing.T) {
	r := record()
	r.ID = strings.Repeat("a", 64)
	r.Scopes, r.Audiences = oauth.Scope{strings.Repeat("x", MaxScopeLen)}, nil
	for i := range MaxAudiences {
		r.Audiences = append(r.Audiences, fmt.Sprintf("urn:%d&", i)+strings.Repeat("&", MaxAudience-6))
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	refresh := token.Refresh{
		Grant:  token.Grant{GrantID: token.NewID(token.GrantPrefix), ClientID: r.ID, Subject: r.ID, AuthTime: time.Unix(1<<40, 0), Epochs: token.Epochs{{Handle: token.NewID("c_"), N: 1 << 50}}},
		Issuer: "https://" + strings.Repeat("i", 255), IssuedAt: time.Unix(1<<40, 0), ExpiresAt: time.Unix(1<<40, 0), GrantEnds: time.Unix(1<<40, 0),
		ID: token.NewID(""), Scope: r.Scopes, Resources: r.Audiences, Mode: token.ModeRotating, AccessLifetime: time.Hour, Generation: 1 << 50,
	}
	largest := keyring.SigningKey{ID: strings.Repeat("k", 43), Algorithm: keyring.RS256, Signer: signature4096{}}
	if raw, err := refresh.Sign(context.Background(), largest); err != nil {
		t.Errorf("%d bytes: %v", len(raw), err)
	}
}

// signature4096 is as long as signatures of 4096-bit RSA keys.
type signature4096 struct{}

func (signature4096) Sign(context.Context, []byte) ([]byte, error) { return make([]byte, 512), nil }

func TestNewSecret(t *testing.T) {
	now := time.Unix(1767225600, 0)
	seen := map[string]bool{}
	for range 1000 {
		text, stored := NewSecret(now)
		if len(text) != len("lk_secret_")+43+6 || !strings.HasPrefix(text, "lk_secret_") || strings.Trim(text[10:], base62) != "" || seen[text] {
			t.Fatalf("%s: malformed, or seen before", text)
		}
		if err := checkForm(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if stored.CreatedAt != now.Unix() || stored.ExpiresAt != 0 || !matches([]StoredSecret{stored}, text, now) {
			t.Fatalf("%s: kept as %+v", text, stored)
		}
		if data, err := json.Marshal(stored); err != nil || strings.Contains(string(data), text[10:]) {
			t.Fatalf("%s is kept as %s, %v", text, data, err)
		}
		seen[text] = true
	}
}

func TestCheckForm(t *testing.T) {
	text, _ := NewSecret(time.Unix(0, 0))
	mistyped := func(what, text string) {
		t.Helper()
		if err := checkForm(text); !errors.Is(err, errMistyped) {
			t.Errorf("%s: %s: got %v", what, text, err)
		}
	}
	for i := range text {
		other := byte('a')
		if text[i] == other {
			other = 'b'
		}
		mistyped("another character", text[:i]+string(other)+text[i+1:])
		mistyped("one left out", text[:i]+text[i+1:])
		mistyped("one twice", text[:i]+text[i:i+1]+text[i:])
		if i > 0 && text[i] != text[i-1] {
			mistyped("two exchanged", text[:i-1]+text[i:i+1]+text[i-1:i]+text[i+1:])
		}
	}
	for _, other := range []string{"", "lk_secret_", " " + text, text + "\n", strings.ToUpper(text), text + text, "Bearer " + text} {
		mistyped("another form", other)
	}
	body := "lk_SECRET_" + text[10:len(text)-checksumLen]
	mistyped("another prefix with its checksum", body+checksum(body))
}

func TestMatches(t *testing.T) {
	now := time.Unix(1000, 0)
	text1, one := NewSecret(now)
	text2, two := NewSecret(now)
	expired, live := one, one
	expired.ExpiresAt, live.ExpiresAt = 1000, 1001
	for what, row := range map[string]struct {
		secrets []StoredSecret
		text    string
		want    bool
	}{
		"the one": {[]StoredSecret{one}, text1, true}, "the first of two": {[]StoredSecret{one, two}, text1, true}, "the second of two": {[]StoredSecret{one, two}, text2, true},
		"another": {[]StoredSecret{one}, text2, false}, "none": {nil, text1, false}, "nothing": {[]StoredSecret{one}, "", false},
		"an expired one": {[]StoredSecret{expired}, text1, false}, "in its last second": {[]StoredSecret{live}, text1, true},
		"an expired one beside a live one": {[]StoredSecret{expired, two}, text1, false}, "a live one beside an expired one": {[]StoredSecret{expired, two}, text2, true},
		"the same twice": {[]StoredSecret{one, one}, text1, true}, "nobody's": {nobody, text1, false}, "an empty hash": {[]StoredSecret{{}}, "", false},
		"expired, and live as well": {[]StoredSecret{expired, live}, text1, true}, "cut short": {[]StoredSecret{one}, text1[:58], false},
	} {
		if got := matches(row.secrets, row.text, now); got != row.want {
			t.Errorf("%s: got %v", what, got)
		}
		r := &Record{Disabled: true, Secrets: row.secrets}
		if got := r.HasSecret(row.text, now); got != row.want {
			t.Errorf("HasSecret: %s: got %v", what, got)
		}
	}
}
