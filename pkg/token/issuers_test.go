package token_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// moved is what the test's issuer is called after its move to another domain.
const moved = "https://id.example"

// afterMove are verifiers of what goes by another name by now and takes the test's issuer as its own.
func afterMove(t testing.TB, c token.Config) (*token.AccessVerifier, *token.RefreshVerifier, *token.AccessOrigin) {
	t.Helper()
	c.Issuer, c.AcceptedIssuers, c.Audiences, c.Now = moved, []string{"https://older.example", issuer}, []string{api}, new(clocktest.Clock).Now
	c.Keys = accessKeys()
	a, err1 := token.NewAccessVerifier(c)
	o, err2 := token.NewAccessOrigin(c)
	c.Keys = refreshKeys()
	r, err3 := token.NewRefreshVerifier(c)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return a, r, o
}

// A token is taken by any name of its issuer, and a refresh token is for the one that it names.
func TestAcceptedIssuers(t *testing.T) {
	a, r, o := afterMove(t, token.Config{})
	of := func(claims, iss string) string {
		return strings.Replace(claims, `"iss":"`+issuer+`"`, `"iss":"`+iss+`"`, 1)
	}
	for _, iss := range []string{moved, issuer, "https://older.example"} {
		raw := accessToken(t, of(accessClaims, iss))
		if got, err := a.Verify(t.Context(), raw); err != nil || got.Issuer != iss {
			t.Errorf("of %s: %+v, %v", iss, got, err)
		}
		if got, err := o.Authentic(t.Context(), raw); err != nil || got.Issuer != iss {
			t.Errorf("the origin of one of %s: %+v, %v", iss, got, err)
		}
	}
	for _, iss := range []string{
		"", "https://auth.example/", "https://AUTH.example", "http://auth.example", "https://auth.example:443", "https://staging.auth.example",
		issuer + "," + moved, moved + " " + issuer,
	} {
		raw := accessToken(t, of(accessClaims, iss))
		_, err := a.Verify(t.Context(), raw)
		judged(t, fmt.Sprintf("of %q", iss), raw, err, token.ReasonIssuer)
		_, err = o.Authentic(t.Context(), raw)
		judged(t, fmt.Sprintf("the origin of one of %q", iss), raw, err, token.ReasonIssuer)
	}

	for _, test := range []struct {
		iss, aud string
		reason   token.Reason
	}{
		{moved, moved, ""},
		{issuer, issuer, ""},
		{issuer, moved, token.ReasonAudience},
		{moved, issuer, token.ReasonAudience},
		{issuer, "https://older.example", token.ReasonAudience},
		{issuer, api, token.ReasonAudience},
		{"https://staging.auth.example", issuer, token.ReasonIssuer},
		{"https://staging.auth.example", "https://staging.auth.example", token.ReasonIssuer},
		{"", "", token.ReasonIssuer},
	} {
		claims := edit(t, of(refreshClaims, test.iss), `"aud":"`+issuer+`"`, `"aud":"`+test.aud+`"`)
		raw := forge(t, keyring.HS256, head(keyring.HS256, token.TypeRefresh), claims)
		got, err := r.Verify(t.Context(), raw)
		_, origin := r.Authentic(t.Context(), raw)
		if test.reason != "" {
			judged(t, "a refresh token of "+test.iss+" for "+test.aud, raw, err, test.reason)
			judged(t, "the origin of one of "+test.iss+" for "+test.aud, raw, origin, test.reason)
		} else if err != nil || origin != nil || got.Issuer != test.iss {
			t.Errorf("a refresh token of %s for itself: %+v, %v, %v", test.iss, got, err, origin)
		}
	}
}

// named are verifiers of the test's issuer where it goes by another name besides, and of what has that one for its other name.
func named(t testing.TB, now func() time.Time) []*token.AccessVerifier {
	t.Helper()
	var list []*token.AccessVerifier
	for _, names := range [][]string{{issuer, moved}, {moved, issuer}} {
		v, err := token.NewAccessVerifier(token.Config{
			Issuer: names[0], AcceptedIssuers: names[1:], Audiences: []string{"urn:other", api}, Keys: accessKeys(), Now: now,
		})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}

// Another environment's tokens are refused though somebody lists its issuer: its keys are not ours.
func TestAcceptedIssuersOfAnotherEnvironment(t *testing.T) {
	a, r, _ := afterMove(t, token.Config{})
	theirs := func(id string, alg keyring.Algorithm) keyring.SigningKey {
		k, err := keyring.Generate(alg, at(0))
		if err != nil {
			t.Fatal(err)
		}
		if id != "" {
			k.ID = id
		}
		d := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseRefresh, Keys: []keyring.Key{k}}
		source := keyring.NewSource(keyring.SourceConfig{Load: func(context.Context) (*keyring.Document, error) { return d, nil }, Now: new(clocktest.Clock).Now})
		key, err := source.SigningKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	for id, reason := range map[string]token.Reason{"": token.ReasonKey, "key-ES256": token.ReasonSignature} {
		raw, err := access().Sign(t.Context(), theirs(id, keyring.ES256))
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Verify(t.Context(), raw)
		judged(t, "an access token by key "+id, raw, err, reason)
	}
	for id, reason := range map[string]token.Reason{"": token.ReasonKey, "key-HS256": token.ReasonSignature} {
		raw, err := refresh().Sign(t.Context(), theirs(id, keyring.HS256))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Verify(t.Context(), raw)
		judged(t, "a refresh token by key "+id, raw, err, reason)
	}
}

// What is said of an issuer's sign-ins holds for those under its other names; what is said of such a name, for what names it.
func TestRevokedIssuerOfAnotherName(t *testing.T) {
	set := revocation.NewSet()
	a, r, _ := afterMove(t, token.Config{Revocations: setOf{set}})
	rawAccess, rawRefresh := accessToken(t, accessClaims), forge(t, keyring.HS256, head(keyring.HS256, token.TypeRefresh), refreshClaims)
	verify := func() (errs []error) {
		_, err1 := a.Verify(t.Context(), rawAccess)
		_, err2 := r.Verify(t.Context(), rawRefresh)
		return []error{err1, err2}
	}
	signedIn := at(1767225500)
	set.Add(revocation.Issuer("https://older.example", signedIn.Add(time.Hour), signedIn))
	set.Add(revocation.Issuer(moved, signedIn, signedIn))
	for _, err := range verify() {
		if err != nil {
			t.Errorf("nothing is revoked of them: %v", err)
		}
	}
	for _, iss := range []string{issuer, moved} {
		*set = *revocation.NewSet()
		set.Add(revocation.Issuer(iss, signedIn.Add(time.Second), signedIn))
		for _, err := range verify() {
			judged(t, "with the sign-ins of "+iss+" revoked", "", err, token.ReasonRevoked)
		}
	}
}

// setOf is Revocations without a feed.
type setOf struct{ set *revocation.Set }

func (s setOf) Check(_ context.Context, f revocation.Facts) error {
	if reason := s.set.Revoked(&f); reason != "" {
		return &revocation.RevokedError{Reason: reason}
	}
	return nil
}

func TestAcceptedIssuersNeedNames(t *testing.T) {
	c := token.Config{Issuer: issuer, AcceptedIssuers: []string{moved, ""}, Audiences: []string{api}, Keys: accessKeys()}
	if _, err := token.NewAccessVerifier(c); err == nil {
		t.Error("tokens without an issuer would be taken")
	}
	if _, err := token.NewAccessOrigin(c); err == nil {
		t.Error("the same where they come from")
	}
	if _, err := token.NewRefreshVerifier(c); err == nil {
		t.Error("the same of refresh tokens")
	}
}

// Other names cost no allocation, whichever a token has.
func TestAcceptedIssuersAllocateNothing(t *testing.T) {
	v, _, _ := afterMove(t, token.Config{})
	allocations := func(iss string) float64 {
		raw := accessToken(t, edit(t, accessClaims, issuer, iss))
		return testing.AllocsPerRun(10, func() {
			if _, err := v.Verify(context.Background(), raw); err != nil {
				t.Fatal(err)
			}
		})
	}
	if now, before := allocations(moved), allocations(issuer); now != before {
		t.Errorf("%v allocations by the name that it has, %v by the one that it had", now, before)
	}
}
