package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// RunIssuers runs the suite of a issuer.Store. open returns an empty one of the test's own.
func RunIssuers(t *testing.T, open func(t *testing.T) issuer.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, issuer.Store)
	}{
		{"life", testIssuerLife},
		{"absent", testIssuerAbsent},
		{"round trip", testIssuerRoundTrip},
		{"list", testIssuerList},
		{"newer version", testIssuerNewerVersion},
		{"cancelled", testIssuerCancelled},
		{"race create", testRaceCreateIssuer},
		{"race update", testRaceUpdateIssuer},
		{"race update and delete", testRaceUpdateDeleteIssuer},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// issuerSentinels are the answers that callers branch on.
var issuerSentinels = []error{issuer.ErrNotFound, issuer.ErrExists, issuer.ErrConflict}

// wantIssuerIs checks that the error is that sentinel and none else; nil for a failure that must not pass for one.
func wantIssuerIs(t *testing.T, err, want error) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %v", want)
	}
	for _, sentinel := range issuerSentinels {
		if errors.Is(err, sentinel) != (sentinel == want) {
			t.Fatalf("%v; want: %v", err, want)
		}
	}
}

// issuerRecord returns a valid record in which little is set.
func issuerRecord(url string) *issuer.Record {
	return &issuer.Record{
		Version: issuer.RecordVersion, URL: url, Keys: assertion.KeySource(url + "/jwks.json"), Audiences: []string{"latchkey"},
		Algorithms: []string{"RS256"}, Epoch: 1, Handle: "i_handle",
	}
}

func fullIssuer(url string) *issuer.Record {
	r := issuerRecord(url)
	r.Name, r.Scopes, r.Epoch = "Konten <&> 訂單 \"quoted\"", oauth.Scope{"orders:write", "a&b<c>"}, 1<<53+1
	r.SubjectClaim, r.Claims, r.MaxAge = "oid", map[string][]string{"tid": {"a<b>", "c&d"}, "hd": {"example.com"}}, 3600
	r.Users = map[string]issuer.LocalUser{"sub|ject": {Username: "https://a.example.com", ID: "u_0123456789abcdefghij_-"}}
	r.Disabled, r.Untold = true, true
	r.UsersOnly, r.CreatedAt, r.UpdatedAt = true, 1_700_000_001, 1_700_000_002
	return r
}

func wantIssuer(t *testing.T, s issuer.Store, want *issuer.Record, revision int64) {
	t.Helper()
	got, err := s.Issuer(t.Context(), want.URL)
	must(t, err)
	if diff := cmp.Diff(&issuer.Stored{Record: *want, Revision: revision}, got); diff != "" {
		t.Fatalf("issuer %s (-want +got):\n%s", want.URL, diff)
	}
}

func wantIssuers(t *testing.T, s issuer.Store, want map[string]int64) {
	t.Helper()
	got := map[string]int64{}
	must(t, s.Issuers(t.Context(), func(u *issuer.Stored) bool {
		if _, twice := got[u.URL]; twice {
			t.Errorf("issuer %s is listed twice", u.URL)
		}
		got[u.URL] = u.Revision
		return true
	}))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("listed issuers and their revisions (-want +got):\n%s", diff)
	}
}

func testIssuerLife(t *testing.T, s issuer.Store) {
	wantIssuers(t, s, map[string]int64{})
	must(t, s.CreateIssuer(t.Context(), issuerRecord("https://a.example.com")))
	must(t, s.CreateIssuer(t.Context(), issuerRecord("https://b.example.com")))
	wantIssuerIs(t, s.CreateIssuer(t.Context(), fullIssuer("https://a.example.com")), issuer.ErrExists)
	wantIssuer(t, s, issuerRecord("https://a.example.com"), 1)

	changed := fullIssuer("https://a.example.com")
	for revision := int64(1); revision < 12; revision++ { // across a change of digits
		for _, other := range []int64{-1, 0, revision - 1, revision + 1} {
			if other != revision {
				wantIssuerIs(t, s.UpdateIssuer(t.Context(), issuerRecord("https://a.example.com"), other), issuer.ErrConflict)
				wantIssuerIs(t, s.DeleteIssuer(t.Context(), "https://a.example.com", other), issuer.ErrConflict)
			}
		}
		must(t, s.UpdateIssuer(t.Context(), changed, revision))
		wantIssuer(t, s, changed, revision+1)
	}
	must(t, s.DeleteIssuer(t.Context(), "https://a.example.com", 12))
	_, err := s.Issuer(t.Context(), "https://a.example.com")
	wantIssuerIs(t, err, issuer.ErrNotFound)
	wantIssuerIs(t, s.UpdateIssuer(t.Context(), changed, 12), issuer.ErrNotFound)
	wantIssuerIs(t, s.DeleteIssuer(t.Context(), "https://a.example.com", 12), issuer.ErrNotFound)
	heir := fullIssuer("https://a.example.com")
	heir.Handle = "i_heir"
	must(t, s.CreateIssuer(t.Context(), heir)) // the URL is free again
	wantIssuerIs(t, s.UpdateIssuer(t.Context(), changed, 1), issuer.ErrConflict)
	wantIssuer(t, s, heir, 1)
	wantIssuer(t, s, issuerRecord("https://b.example.com"), 1)
}

func testIssuerAbsent(t *testing.T, s issuer.Store) {
	for range 2 {
		for _, name := range []string{"absent", "https://present.example.com", "", strings.Repeat("x", 4096)} {
			_, err := s.Issuer(t.Context(), name)
			wantIssuerIs(t, err, issuer.ErrNotFound)
			wantIssuerIs(t, s.DeleteIssuer(t.Context(), name, 1), issuer.ErrNotFound)
		}
		must(t, s.CreateIssuer(t.Context(), issuerRecord("https://present.example.com/"+fmt.Sprint(time.Now().UnixNano()))))
	}
}

func testIssuerRoundTrip(t *testing.T, s issuer.Store) {
	full := fullIssuer("https://accounts.example.com/tenant")
	wantNoZero(t, reflect.ValueOf(*full))
	must(t, s.CreateIssuer(t.Context(), full))
	wantIssuer(t, s, full, 1)
	full.Scopes[0] = "changed" // what went in is a copy
	must(t, s.UpdateIssuer(t.Context(), fullIssuer(full.URL), 1))
	wantIssuer(t, s, fullIssuer(full.URL), 2)
}

func testIssuerList(t *testing.T, s issuer.Store) {
	want := map[string]int64{}
	for i := range 30 {
		name := fmt.Sprintf("https://%02d.example.com", i)
		must(t, s.CreateIssuer(t.Context(), issuerRecord(name)))
		want[name] = 1
	}
	wantIssuers(t, s, want)
	calls := 0
	must(t, s.Issuers(t.Context(), func(u *issuer.Stored) bool {
		calls++
		must(t, s.UpdateIssuer(t.Context(), &u.Record, u.Revision)) // yield may use the store
		return calls < 2
	}))
	if calls != 2 {
		t.Fatalf("yield returned false at its second call and was called %d times", calls)
	}
}

func testIssuerNewerVersion(t *testing.T, s issuer.Store) {
	newer := issuerRecord("https://newer.example.com")
	newer.Version = issuer.RecordVersion + 1
	must(t, s.CreateIssuer(t.Context(), newer))
	_, err := s.Issuer(t.Context(), "https://newer.example.com")
	for _, err := range []error{err, s.Issuers(t.Context(), func(*issuer.Stored) bool { return true })} {
		wantIssuerIs(t, err, nil)
		if !strings.Contains(err.Error(), "issuer https://newer.example.com has version 2, this release reads 1") {
			t.Errorf("%v; want it to say which version this is and which can be read", err)
		}
	}
}

func testIssuerCancelled(t *testing.T, s issuer.Store) {
	must(t, s.CreateIssuer(t.Context(), issuerRecord("https://a.example.com")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Issuer":       func() error { _, err := s.Issuer(ctx, "https://a.example.com"); return err },
		"CreateIssuer": func() error { return s.CreateIssuer(ctx, issuerRecord("https://c.example.com")) },
		"UpdateIssuer": func() error { return s.UpdateIssuer(ctx, fullIssuer("https://a.example.com"), 1) },
		"DeleteIssuer": func() error { return s.DeleteIssuer(ctx, "https://a.example.com", 1) },
		"Issuers":      func() error { return s.Issuers(ctx, func(*issuer.Stored) bool { return true }) },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want that it was cancelled", name, err)
		} else {
			wantIssuerIs(t, err, nil)
		}
	}
	wantIssuers(t, s, map[string]int64{"https://a.example.com": 1})
}

func issuerBy(name string, writer int) *issuer.Record {
	r := issuerRecord(name)
	r.Name = fmt.Sprintf("writer %d", writer)
	return r
}

// testRaceCreateIssuer: a URL is one record's.
func testRaceCreateIssuer(t *testing.T, s issuer.Store) {
	for round := range rounds() {
		name := fmt.Sprintf("https://%d.example.com", round)
		winner := race(t, []error{issuer.ErrExists}, func(i int) error { return s.CreateIssuer(t.Context(), issuerBy(name, i)) })
		wantIssuer(t, s, issuerBy(name, winner), 1)
	}
}

func testRaceUpdateIssuer(t *testing.T, s issuer.Store) {
	must(t, s.CreateIssuer(t.Context(), issuerRecord("https://a.example.com")))
	for round := range rounds() {
		revision := int64(round + 1)
		winner := race(t, []error{issuer.ErrConflict}, func(i int) error {
			return s.UpdateIssuer(t.Context(), issuerBy("https://a.example.com", i), revision)
		})
		wantIssuer(t, s, issuerBy("https://a.example.com", winner), revision+1)
	}
}

func testRaceUpdateDeleteIssuer(t *testing.T, s issuer.Store) {
	for round := range rounds() {
		name := fmt.Sprintf("https://%d.example.com", round)
		must(t, s.CreateIssuer(t.Context(), issuerRecord(name)))
		winner := race(t, []error{issuer.ErrConflict, issuer.ErrNotFound}, func(i int) error {
			if i%2 == 0 {
				return s.DeleteIssuer(t.Context(), name, 1)
			}
			return s.UpdateIssuer(t.Context(), issuerBy(name, i), 1)
		})
		if winner%2 == 0 {
			_, err := s.Issuer(t.Context(), name)
			wantIssuerIs(t, err, issuer.ErrNotFound)
		} else {
			wantIssuer(t, s, issuerBy(name, winner), 2)
		}
	}
}

// RunAssertions runs the suite of an assertion.Uses. open returns an empty one of the test's own.
func RunAssertions(t *testing.T, open func(t *testing.T) assertion.Uses) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, assertion.Uses)
	}{
		{"once", testAssertionOnce},
		{"cancelled", testAssertionCancelled},
		{"race", testRaceAssertion},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func testAssertionOnce(t *testing.T, s assertion.Uses) {
	now := time.Unix(1_790_000_000, 0)
	use := func(key string, at time.Time) bool {
		t.Helper()
		first, err := s.UseAssertion(t.Context(), key, at, at.Add(time.Minute))
		must(t, err)
		return first
	}
	for _, step := range []struct {
		key  string
		at   time.Time
		want bool
	}{
		{"a", now, true},
		{"a", now, false},
		{"b", now, true},
		{"a", now.Add(time.Minute), false},                 // its end
		{"a", now.Add(time.Minute + time.Second), true},    // nobody has deleted it
		{"a", now.Add(2 * time.Minute), false},             // remembered anew
		{"b", now.Add(1000 * time.Hour), true},             //
		{"a", now.Add(1000*time.Hour - time.Second), true}, //
	} {
		if use(step.key, step.at) != step.want {
			t.Errorf("%s at %v: want %v", step.key, step.at.Sub(now), step.want)
		}
	}
}

func testAssertionCancelled(t *testing.T, s assertion.Uses) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	now := time.Unix(1_790_000_000, 0)
	if first, err := s.UseAssertion(ctx, "a", now, now); first || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v; want that it was cancelled", first, err)
	}
}

// testRaceAssertion has 32 use one assertion at once: one of them does.
func testRaceAssertion(t *testing.T, s assertion.Uses) {
	now := time.Unix(1_790_000_000, 0)
	for round := range rounds() {
		var firsts atomic.Int64
		var done sync.WaitGroup
		for range 32 {
			done.Go(func() {
				first, err := s.UseAssertion(t.Context(), fmt.Sprint(round), now, now.Add(time.Minute))
				if err != nil {
					t.Error(err)
				}
				if first {
					firsts.Add(1)
				}
			})
		}
		done.Wait()
		if n := firsts.Load(); n != 1 {
			t.Fatalf("round %d: %d had it first", round, n)
		}
	}
}
