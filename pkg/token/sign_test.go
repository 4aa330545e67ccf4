package token_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// wire is both kinds' claims as encoding/json would write them, in the order in which they are written.
type wire struct {
	Issuer         string           `json:"iss"`
	Audience       any              `json:"aud"`
	Subject        string           `json:"sub"`
	ClientID       string           `json:"client_id"`
	IssuedAt       int64            `json:"iat"`
	ExpiresAt      int64            `json:"exp"`
	ID             string           `json:"jti"`
	Scope          string           `json:"scope,omitempty"`
	GrantID        string           `json:"grant_id"`
	AuthTime       int64            `json:"auth_time"`
	Epochs         map[string]int64 `json:"epochs"`
	Resources      []string         `json:"resources,omitempty"`
	Mode           token.Mode       `json:"refresh_mode,omitempty"`
	GrantEnds      int64            `json:"grant_ends,omitempty"`
	AccessLifetime int64            `json:"access_lifetime,omitempty"`
	Generation     int64            `json:"generation,omitempty"`
	Confirmation   *cnf             `json:"cnf,omitempty"`
}

type cnf struct {
	JKT string `json:"jkt,omitempty"`
	X5T string `json:"x5t#S256,omitempty"`
}

func wireOf(g token.Grant, scope oauth.Scope, c token.Confirmation) wire {
	w := wire{
		Subject: g.Subject, ClientID: g.ClientID, Scope: scope.String(), GrantID: g.GrantID, AuthTime: g.AuthTime.Unix(), Epochs: map[string]int64{},
	}
	for _, e := range g.Epochs {
		w.Epochs[e.Handle] = e.N
	}
	if c.Bound() {
		w.Confirmation = (*cnf)(&c)
	}
	return w
}

// unescaped is what encoding/json makes of v, with <, > and & as they are.
func unescaped(t testing.TB, v any) string {
	t.Helper()
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// captive takes what is to be signed and signs nothing.
type captive struct{ input string }

func (c *captive) Sign(_ context.Context, input []byte) ([]byte, error) {
	c.input = string(input)
	return []byte("x"), nil
}

// written returns header and payload as a token of that key id would have them.
func written(t testing.TB, kid string, sign func(context.Context, keyring.SigningKey) (string, error)) (head, body string) {
	t.Helper()
	var c captive
	if _, err := sign(t.Context(), keyring.SigningKey{ID: kid, Algorithm: keyring.ES256, Signer: &c}); err != nil {
		t.Fatal(err)
	}
	a, b, _ := strings.Cut(c.input, ".")
	return decode(t, a), decode(t, b)
}

// TestClaimsAreWrittenAsJSON: what is written by hand is what encoding/json writes, whatever the strings hold.
func TestClaimsAreWrittenAsJSON(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "app", "https://api.example/?a=1&b=2", " ", `"`, `\`, "/", "<script>", "\x00", "\n", "\x1f", "\x7f", "é", "😀", "\u2028", "\u2029",
		"\xff", "\xc0\xaf", "\xed\xa0\x80", "\ufffd", "\ufeff", "}", `","exp":1,"x":"`}
	word := func() (s string) {
		for range random.IntN(4) {
			s += pieces[random.IntN(len(pieces))]
		}
		return s
	}
	words := func(least int) (list []string) {
		for range least + random.IntN(3) {
			list = append(list, word())
		}
		return list
	}
	when := func() time.Time { return at(random.Int64N(1<<40) + 1) }
	for range 3000 {
		g := token.Grant{GrantID: word(), ClientID: word(), Subject: word(), AuthTime: when()}
		for range random.IntN(4) {
			g.Epochs = append(g.Epochs, token.Epoch{Handle: string(rune('a' + random.IntN(4))), N: random.Int64() - 1<<62})
		}
		var bound token.Confirmation
		if random.IntN(2) == 0 {
			bound.JKT = word()
		}
		if random.IntN(2) == 0 {
			bound.X5T = word()
		}
		a := token.Access{
			Grant: g, Issuer: word(), Audience: words(1), IssuedAt: when(), ExpiresAt: when(), ID: word(), Scope: words(0), Confirmation: bound,
		}
		want := wireOf(g, a.Scope, bound)
		want.Issuer, want.Audience, want.ID, want.IssuedAt, want.ExpiresAt = a.Issuer, a.Audience, a.ID, a.IssuedAt.Unix(), a.ExpiresAt.Unix()
		if len(a.Audience) == 1 {
			want.Audience = a.Audience[0]
		}
		kid := word()
		head, body := written(t, kid, a.Sign)
		if want := unescaped(t, want); body != want {
			t.Fatalf("an access token: got\n%s\nwant\n%s", body, want)
		}
		if want := `{"alg":"ES256","kid":` + unescaped(t, kid) + `,"typ":"at+jwt"}`; head != want {
			t.Fatalf("the header: got %s, want %s", head, want)
		}

		r := token.Refresh{
			Grant: g, Issuer: a.Issuer, IssuedAt: when(), ExpiresAt: when(), ID: a.ID, Scope: a.Scope, Resources: words(0), Mode: token.Mode(word()),
			GrantEnds: when(), AccessLifetime: time.Duration(random.IntN(3)) * time.Minute, Generation: random.Int64N(3), Confirmation: bound,
		}
		want.Audience, want.IssuedAt, want.ExpiresAt = r.Issuer, r.IssuedAt.Unix(), r.ExpiresAt.Unix()
		want.Resources, want.Mode, want.GrantEnds, want.AccessLifetime = r.Resources, r.Mode, r.GrantEnds.Unix(), int64(r.AccessLifetime/time.Second)
		want.Generation = r.Generation
		if _, body := written(t, kid, r.Sign); body != unescaped(t, want) {
			t.Fatalf("a refresh token: got\n%s\nwant\n%s", body, unescaped(t, want))
		}
	}
}

// TestManyClaims signs and verifies what there is no room for beforehand: more audiences, scopes and epochs than usual.
func TestManyClaims(t *testing.T) {
	a := access()
	for i := range 20 {
		name := strings.Repeat("x", 20+i)
		a.Audience = append(a.Audience, "urn:"+name)
		a.Scope = append(a.Scope, name)
		a.Epochs = append(a.Epochs, token.Epoch{Handle: "d_" + name, N: int64(i)})
	}
	raw, err := a.Sign(t.Context(), signingKey(t, keyring.ES256))
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) < 2048 {
		t.Fatalf("a token of %d bytes is not long", len(raw))
	}
	got := check(t).accepts("many claims", raw)
	if diff := cmp.Diff(a, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzSignedStrings(f *testing.F) {
	f.Add("app", "https://api.example")
	f.Add("\"\\\x00\u2028\xff", "<&>")
	f.Fuzz(func(t *testing.T, subject, audience string) {
		a := token.Access{Grant: token.Grant{Subject: subject}, Audience: []string{audience}}
		want := wireOf(a.Grant, nil, token.Confirmation{})
		want.Audience, want.IssuedAt, want.ExpiresAt = audience, a.IssuedAt.Unix(), a.ExpiresAt.Unix()
		if len(subject)+len(audience) > token.MaxLength/12 {
			return
		}
		if _, body := written(t, "k", a.Sign); body != unescaped(t, want) {
			t.Errorf("got %s, want %s", body, unescaped(t, want))
		}
	})
}
