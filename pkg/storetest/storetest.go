// Package storetest is what every store must do, as tests: one suite, which each store's own tests run.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Store { return open(t) })
//	}
//
// It takes a few rounds of each race; with LATCHKEY_LONG=1 in the environment, a hundred.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Store is what the suite tests.
type Store interface {
	client.Store
	keyring.PublicStore
	revocation.Log
}

// writers is how many race for one record.
const writers = 32

// sentinels are the answers that callers branch on: a failure must never look like one of them.
var sentinels = []error{
	client.ErrNotFound, client.ErrExists, client.ErrConflict,
	keyring.ErrNoKeys, keyring.ErrKeysExist, keyring.ErrConflict,
}

// Run runs the suite. open returns an empty store of the test's own, and cleans up by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Store)
	}{
		{"create", testCreate},
		{"absent", testAbsent},
		{"update", testUpdate},
		{"delete", testDelete},
		{"round trip", testRoundTrip},
		{"copies", testCopies},
		{"list", testList},
		{"list stops", testListStops},
		{"public keys", testPublicKeys},
		{"public keys round trip", testPublicKeysRoundTrip},
		{"cancelled", testCancelled},
		{"newer version", testNewerVersion},
		{"race create", testRaceCreate},
		{"race update", testRaceUpdate},
		{"race delete", testRaceDelete},
		{"race update and delete", testRaceUpdateDelete},
		{"race public keys", testRacePublicKeys},
		{"no update is lost", testNoLostUpdate},
		{"revocations", testRevocations},
		{"revocations twice", testRevocationsTwice},
		{"revocations stop", testRevocationsStop},
		{"many revocations", testRevocationsMany},
		{"race revocations", testRaceRevocations},
		{"feed id", testFeedID},
		{"revocations cancelled", testRevocationsCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// record returns a valid record in which little is set.
func record(id string) *client.Record {
	return &client.Record{
		Version: client.RecordVersion, ID: id, Audiences: []string{"https://api.example.com"},
		Grants: []string{oauth.GrantClientCredentials}, RefreshMode: token.ModeBearer, Epoch: 1, Handle: "c_handle",
	}
}

// fullRecord returns a valid record in which every field is set.
func fullRecord(id string) *client.Record {
	_, old := client.NewSecret(time.Unix(1_700_000_000, 0))
	old.ExpiresAt = 1_900_000_000
	_, current := client.NewSecret(time.Unix(1_750_000_000, 0))
	return &client.Record{
		Version: client.RecordVersion, ID: id, Name: "Bestellungen <&> \u2028 訂單 \"quoted\" \\",
		Scopes:      oauth.Scope{"orders:write", "orders:read", "a&b<c>"},
		Audiences:   []string{"https://api.example.com/orders?a=b&c=d", "urn:example:stock"},
		Grants:      []string{oauth.GrantRefreshToken, oauth.GrantClientCredentials},
		Introspects: []string{"urn:example:stock"},
		Keys:        "https://client.example.com/jwks.json?a=b&c=d", TokenEndpointAudience: true,
		Identities:          []client.Identity{{Issuer: "https://ci.example.com", Subject: "repo:a<b>&c", Claims: map[string]string{"ref": "main"}}},
		AssertionIssuers:    []string{"https://accounts.example.com"},
		ForwardsUserAddress: true,
		AccessTokenLifetime: 600, RefreshTokenLifetime: 86_400, GrantLifetime: 1 << 40,
		RefreshMode: token.ModeSecret, Epoch: 1<<53 + 1, Handle: token.NewID("c_"), Untold: true, Disabled: true,
		Secrets: []client.StoredSecret{old, current}, CreatedAt: 1_700_000_000, UpdatedAt: 1_750_000_000,
	}
}

func testCreate(t *testing.T, s Store) {
	first := fullRecord("first")
	must(t, s.CreateClient(t.Context(), first))
	wantClient(t, s, first, 1)

	second := record("first")
	wantIs(t, s.CreateClient(t.Context(), second), client.ErrExists)
	wantClient(t, s, first, 1)

	// Ids of which one is the beginning of the other, and of every length.
	for _, id := range []string{"fir", "first-", "first-1", strings.Repeat("z", 64)} {
		must(t, s.CreateClient(t.Context(), record(id)))
		wantClient(t, s, record(id), 1)
	}
	wantClient(t, s, first, 1)
}

func testAbsent(t *testing.T, s Store) {
	must(t, s.CreateClient(t.Context(), record("present")))
	for _, id := range []string{"absent", "presen", "present-", "Present", "", strings.Repeat("x", 4096)} {
		_, err := s.Client(t.Context(), id)
		wantIs(t, err, client.ErrNotFound)
		wantIs(t, s.DeleteClient(t.Context(), id, 1), client.ErrNotFound)
	}
	for _, revision := range []int64{0, 1, 2} {
		wantIs(t, s.UpdateClient(t.Context(), record("absent"), revision), client.ErrNotFound)
		wantIs(t, s.DeleteClient(t.Context(), "absent", revision), client.ErrNotFound)
	}
	wantList(t, s, map[string]int64{"present": 1})
}

func testUpdate(t *testing.T, s Store) {
	must(t, s.CreateClient(t.Context(), record("c-1")))
	must(t, s.CreateClient(t.Context(), record("c-2")))
	changed := fullRecord("c-1")
	must(t, s.UpdateClient(t.Context(), changed, 1))
	wantClient(t, s, changed, 2)

	for _, revision := range []int64{-1, 0, 1, 3, 1 << 53} {
		wantIs(t, s.UpdateClient(t.Context(), record("c-1"), revision), client.ErrConflict)
	}
	wantClient(t, s, changed, 2)
	wantClient(t, s, record("c-2"), 1)

	for revision := int64(2); revision < 12; revision++ { // across a change of digits
		changed.Epoch++
		must(t, s.UpdateClient(t.Context(), changed, revision))
		wantClient(t, s, changed, revision+1)
	}
	wantIs(t, s.UpdateClient(t.Context(), record("c-1"), 2), client.ErrConflict)
	wantClient(t, s, changed, 12)
}

func testDelete(t *testing.T, s Store) {
	must(t, s.CreateClient(t.Context(), record("gone")))
	must(t, s.CreateClient(t.Context(), record("stays")))
	must(t, s.UpdateClient(t.Context(), record("gone"), 1))
	for _, revision := range []int64{-1, 0, 1, 3} {
		wantIs(t, s.DeleteClient(t.Context(), "gone", revision), client.ErrConflict)
	}
	wantClient(t, s, record("gone"), 2)

	must(t, s.DeleteClient(t.Context(), "gone", 2))
	_, err := s.Client(t.Context(), "gone")
	wantIs(t, err, client.ErrNotFound)
	wantIs(t, s.DeleteClient(t.Context(), "gone", 2), client.ErrNotFound)
	wantIs(t, s.UpdateClient(t.Context(), record("gone"), 2), client.ErrNotFound)
	wantClient(t, s, record("stays"), 1)

	must(t, s.CreateClient(t.Context(), fullRecord("gone"))) // the id is free again
	if got, err := s.Client(t.Context(), "gone"); err != nil || got.Revision != 1 {
		t.Fatalf("registered again: %+v, %v; want revision 1", got, err)
	}
}

func testRoundTrip(t *testing.T, s Store) {
	full := fullRecord("full")
	wantNoZero(t, reflect.ValueOf(*full))
	empty := record("empty")
	for _, r := range []*client.Record{full, empty} {
		must(t, s.CreateClient(t.Context(), r))
		wantClient(t, s, r, 1)
		must(t, s.UpdateClient(t.Context(), r, 1))
		wantClient(t, s, r, 2)
	}
	if err := s.Clients(t.Context(), func(got *client.Stored) bool {
		want := map[string]*client.Record{"full": full, "empty": empty}[got.ID]
		if diff := cmp.Diff(&client.Stored{Record: *want, Revision: 2}, got); diff != "" {
			t.Errorf("listed (-want +got):\n%s", diff)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

// testCopies changes what went in and what came out.
func testCopies(t *testing.T, s Store) {
	r := fullRecord("c-1")
	want := *fullRecord("c-1")
	want.Handle, want.Secrets = r.Handle, slices.Clone(r.Secrets) // which are random
	must(t, s.CreateClient(t.Context(), r))
	r.Scopes[0], r.Secrets[0].ExpiresAt = "changed", 1
	wantClient(t, s, &want, 1)
	got, err := s.Client(t.Context(), "c-1")
	must(t, err)
	got.Scopes[0], got.Secrets[0].SHA256[0] = "changed", got.Secrets[0].SHA256[0]+1
	wantClient(t, s, &want, 1)
}

func testList(t *testing.T, s Store) {
	wantList(t, s, map[string]int64{})
	// More than DynamoDB returns at once, which is 1 MB.
	one, err := bigRecord("client-000").Marshal()
	must(t, err)
	count := 1<<20/len(one) + 20
	want := map[string]int64{}
	for i := range count {
		want[fmt.Sprintf("client-%03d", i)] = 1
	}
	ids := slices.Sorted(maps.Keys(want))
	parallel(t, 16, count, func(i int) error { return s.CreateClient(t.Context(), bigRecord(ids[i])) })
	must(t, s.UpdateClient(t.Context(), bigRecord("client-100"), 1))
	want["client-100"] = 2
	must(t, s.DeleteClient(t.Context(), "client-200", 1))
	delete(want, "client-200")
	wantList(t, s, want)
}

// bigRecord returns a record about as large as one may be, some 5 KB.
func bigRecord(id string) *client.Record {
	r := record(id)
	r.Name = strings.Repeat("n", client.MaxNameLen)
	const scopeLen = 24 // with the space that sets it apart
	for i := range client.MaxScopeLen / scopeLen {
		r.Scopes = append(r.Scopes, fmt.Sprintf("scope-number-%0*d", scopeLen-1-len("scope-number-"), i))
	}
	r.Audiences = nil
	for i := range client.MaxAudiences {
		audience := fmt.Sprintf("https://%d.example.com/", i)
		r.Audiences = append(r.Audiences, audience+strings.Repeat("a", client.MaxAudience-len(audience)))
	}
	return r
}

func testListStops(t *testing.T, s Store) {
	for _, id := range []string{"aaa", "bbb", "ccc"} {
		must(t, s.CreateClient(t.Context(), record(id)))
	}
	calls := 0
	must(t, s.Clients(t.Context(), func(*client.Stored) bool { calls++; return calls < 2 }))
	if calls != 2 {
		t.Fatalf("yield returned false at its second call and was called %d times", calls)
	}
	// What yield calls may be the store itself.
	must(t, s.Clients(t.Context(), func(c *client.Stored) bool {
		must(t, s.UpdateClient(t.Context(), record(c.ID), c.Revision))
		return true
	}))
	wantList(t, s, map[string]int64{"aaa": 2, "bbb": 2, "ccc": 2})
}

func testPublicKeys(t *testing.T, s Store) {
	a, b := publicKeys(t), publicKeys(t)
	b.Keys = b.Keys[:1]
	noKeys := func() {
		t.Helper()
		_, _, err := s.PublicKeys(t.Context())
		wantIs(t, err, keyring.ErrNoKeys)
	}
	noKeys()
	for _, revision := range []int64{-1, 1, 2} {
		wantIs(t, s.PutPublicKeys(t.Context(), a, revision), keyring.ErrConflict)
	}
	noKeys()

	must(t, s.PutPublicKeys(t.Context(), a, 0))
	wantKeys(t, s, a, 1)
	for _, revision := range []int64{-1, 0, 2} {
		wantIs(t, s.PutPublicKeys(t.Context(), b, revision), keyring.ErrConflict)
	}
	wantKeys(t, s, a, 1)
	must(t, s.PutPublicKeys(t.Context(), b, 1))
	wantKeys(t, s, b, 2)
	wantIs(t, s.PutPublicKeys(t.Context(), a, 1), keyring.ErrConflict)
	must(t, s.PutPublicKeys(t.Context(), b, 2)) // the same again is a write like any other
	wantKeys(t, s, b, 3)
	wantList(t, s, map[string]int64{})
}

func testPublicKeysRoundTrip(t *testing.T, s Store) {
	d := publicKeys(t)
	var all keyring.PublicKey // each kind of key has fields of its own
	for _, k := range d.Keys {
		merge(reflect.ValueOf(&all).Elem(), reflect.ValueOf(k))
	}
	wantNoZero(t, reflect.ValueOf(all))
	must(t, s.PutPublicKeys(t.Context(), d, 0))
	wantKeys(t, s, d, 1)
}

// publicKeys returns a document with a key of each kind.
func publicKeys(t *testing.T) *keyring.PublicDocument {
	t.Helper()
	made, err := allKinds()
	must(t, err)
	return &keyring.PublicDocument{Version: made.Version, Keys: slices.Clone(made.Keys)}
}

var allKinds = sync.OnceValues(func() (*keyring.PublicDocument, error) {
	ring := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess}
	for i, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		key, err := keyring.Generate(alg, time.Unix(1_700_000_000+int64(i), 0))
		if err != nil {
			return nil, err
		}
		key.SignsFrom += 7200
		key.VerifyUntil = key.SignsFrom + 86_400
		ring.Keys = append(ring.Keys, key)
	}
	return ring.Public()
})

// testCancelled makes each call with a context that is done: an error, no sentinel, and nothing written.
func testCancelled(t *testing.T, s Store) {
	must(t, s.CreateClient(t.Context(), record("c-1")))
	must(t, s.PutPublicKeys(t.Context(), publicKeys(t), 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	past, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: ctx, context.DeadlineExceeded: past} {
		for name, call := range map[string]func() error{
			"Client":       func() error { _, err := s.Client(ctx, "c-1"); return err },
			"absent":       func() error { _, err := s.Client(ctx, "c-2"); return err },
			"CreateClient": func() error { return s.CreateClient(ctx, record("c-2")) },
			"UpdateClient": func() error { return s.UpdateClient(ctx, fullRecord("c-1"), 1) },
			"conflict":     func() error { return s.UpdateClient(ctx, fullRecord("c-1"), 7) },
			"DeleteClient": func() error { return s.DeleteClient(ctx, "c-1", 1) },
			"Clients": func() error {
				return s.Clients(ctx, func(*client.Stored) bool { t.Error("Clients: yield was called"); return true })
			},
			"PublicKeys":    func() error { _, _, err := s.PublicKeys(ctx); return err },
			"PutPublicKeys": func() error { return s.PutPublicKeys(ctx, publicKeys(t), 1) },
		} {
			err := call()
			wantNoSentinel(t, err)
			if !errors.Is(err, want) {
				t.Errorf("%s: %v; want it to be %v", name, err, want)
			}
		}
	}
	wantList(t, s, map[string]int64{"c-1": 1})
	wantKeys(t, s, publicKeys(t), 1)
}

// testNewerVersion stores what a later release might have.
func testNewerVersion(t *testing.T, s Store) {
	newer := record("newer")
	newer.Version = client.RecordVersion + 1
	must(t, s.CreateClient(t.Context(), newer))
	refused := func(err error) {
		t.Helper()
		wantNoSentinel(t, err)
		if err == nil || !strings.Contains(err.Error(), "version 2, this release reads 1") {
			t.Errorf("%v; want it to say which version this is and which can be read", err)
		}
	}
	_, err := s.Client(t.Context(), "newer")
	refused(err)
	if err != nil && !strings.Contains(err.Error(), "client newer") {
		t.Errorf("%v; want it to name the client", err)
	}
	refused(s.Clients(t.Context(), func(*client.Stored) bool { return true }))

	keys := publicKeys(t)
	keys.Version = keyring.DocumentVersion + 1
	must(t, s.PutPublicKeys(t.Context(), keys, 0))
	_, _, err = s.PublicKeys(t.Context())
	refused(err)
}

func testRaceCreate(t *testing.T, s Store) {
	for round := range rounds() {
		id := fmt.Sprintf("round-%d", round)
		winner := race(t, []error{client.ErrExists}, func(i int) error {
			return s.CreateClient(t.Context(), numbered(id, i))
		})
		wantClient(t, s, numbered(id, winner), 1)
	}
}

func testRaceUpdate(t *testing.T, s Store) {
	must(t, s.CreateClient(t.Context(), record("c-1")))
	for round := range rounds() {
		revision := int64(round + 1)
		winner := race(t, []error{client.ErrConflict}, func(i int) error {
			return s.UpdateClient(t.Context(), numbered("c-1", i), revision)
		})
		wantClient(t, s, numbered("c-1", winner), revision+1)
	}
	// Who writes the same as the winner has lost all the same.
	revision := int64(rounds() + 1)
	race(t, []error{client.ErrConflict}, func(int) error {
		return s.UpdateClient(t.Context(), record("c-1"), revision)
	})
	wantClient(t, s, record("c-1"), revision+1)
}

func testRaceDelete(t *testing.T, s Store) {
	for range rounds() {
		must(t, s.CreateClient(t.Context(), record("c-1")))
		race(t, []error{client.ErrNotFound}, func(int) error { return s.DeleteClient(t.Context(), "c-1", 1) })
		wantList(t, s, map[string]int64{})
	}
}

func testRaceUpdateDelete(t *testing.T, s Store) {
	for round := range rounds() {
		id := fmt.Sprintf("round-%d", round)
		must(t, s.CreateClient(t.Context(), record(id)))
		winner := race(t, []error{client.ErrConflict, client.ErrNotFound}, func(i int) error {
			if i%2 == 0 {
				return s.DeleteClient(t.Context(), id, 1)
			}
			return s.UpdateClient(t.Context(), numbered(id, i), 1)
		})
		if winner%2 == 0 {
			_, err := s.Client(t.Context(), id)
			wantIs(t, err, client.ErrNotFound)
		} else {
			wantClient(t, s, numbered(id, winner), 2)
		}
	}
}

func testRacePublicKeys(t *testing.T, s Store) {
	document := func(i int) *keyring.PublicDocument {
		d := publicKeys(t)
		d.Keys[0].VerifyUntil += int64(i)
		return d
	}
	for round := range rounds() {
		revision := int64(round) // the first round creates
		winner := race(t, []error{keyring.ErrConflict}, func(i int) error {
			return s.PutPublicKeys(t.Context(), document(i), revision)
		})
		wantKeys(t, s, document(winner), revision+1)
	}
}

// testNoLostUpdate counts in one record: each of the counters reads, adds one and writes, again if it lost.
func testNoLostUpdate(t *testing.T, s Store) {
	must(t, s.CreateClient(t.Context(), record("c-1")))
	const counters, each = 4, 5
	parallel(t, counters, counters*each, func(int) error {
		for {
			c, err := s.Client(t.Context(), "c-1")
			if err != nil {
				return err
			}
			c.Epoch++
			if err := s.UpdateClient(t.Context(), &c.Record, c.Revision); !errors.Is(err, client.ErrConflict) {
				return err
			}
		}
	})
	want := record("c-1")
	want.Epoch = 1 + counters*each
	wantClient(t, s, want, 1+counters*each)
}

// numbered returns a record that tells which writer wrote it.
func numbered(id string, writer int) *client.Record {
	r := record(id)
	r.Name = fmt.Sprintf("writer %d", writer)
	return r
}

func rounds() int {
	if os.Getenv("LATCHKEY_LONG") == "1" {
		return 100
	}
	return 3
}

// race lets all writers write at once and returns the only one that may. The others must be told one of the reasons lost.
func race(t *testing.T, lost []error, write func(i int) error) (winner int) {
	t.Helper()
	results := make([]error, writers)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range writers {
		done.Go(func() {
			<-start
			results[i] = write(i)
		})
	}
	close(start)
	done.Wait()
	winner = -1
	for i, err := range results {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Fatalf("writers %d and %d both won", winner, i)
		case !slices.ContainsFunc(lost, func(l error) bool { return errors.Is(err, l) }):
			t.Fatalf("writer %d: %v; want one of %v", i, err, lost)
		}
	}
	if winner < 0 {
		t.Fatalf("none of %d writers won", writers)
	}
	return winner
}

// parallel makes count calls, width of them at a time.
func parallel(t *testing.T, width, count int, call func(i int) error) {
	t.Helper()
	next := make(chan int, count)
	for i := range count {
		next <- i
	}
	close(next)
	var done sync.WaitGroup
	for range width {
		done.Go(func() {
			for i := range next {
				if err := call(i); err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			}
		})
	}
	done.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantIs checks that the error is that sentinel and none else.
func wantIs(t *testing.T, err, want error) {
	t.Helper()
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) != (sentinel == want) {
			t.Fatalf("%v; want: %v", err, want)
		}
	}
}

func wantNoSentinel(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error; want one")
	}
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			t.Errorf("%v: a failure that passes for %q", err, sentinel)
		}
	}
}

func wantClient(t *testing.T, s Store, want *client.Record, revision int64) {
	t.Helper()
	got, err := s.Client(t.Context(), want.ID)
	must(t, err)
	if diff := cmp.Diff(&client.Stored{Record: *want, Revision: revision}, got); diff != "" {
		t.Fatalf("client %s (-want +got):\n%s", want.ID, diff)
	}
}

func wantKeys(t *testing.T, s Store, want *keyring.PublicDocument, revision int64) {
	t.Helper()
	got, gotRevision, err := s.PublicKeys(t.Context())
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" || gotRevision != revision {
		t.Fatalf("public keys at revision %d, want %d (-want +got):\n%s", gotRevision, revision, diff)
	}
}

// wantList checks which clients are listed, at which revisions, and that none is listed twice.
func wantList(t *testing.T, s Store, want map[string]int64) {
	t.Helper()
	got := map[string]int64{}
	must(t, s.Clients(t.Context(), func(c *client.Stored) bool {
		if _, twice := got[c.ID]; twice {
			t.Errorf("client %s is listed twice", c.ID)
		}
		got[c.ID] = c.Revision
		return true
	}))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("listed clients and their revisions (-want +got):\n%s", diff)
	}
}

// wantNoZero checks that a fixture sets every field, those that are yet to come included.
func wantNoZero(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Kind() == reflect.Struct:
			wantNoZero(t, f)
		case v.Type().Field(i).Tag.Get("json") == "-": // never stored
		case f.IsZero():
			t.Errorf("the fixture does not set %s.%s", v.Type(), v.Type().Field(i).Name)
		}
	}
}

// merge sets the fields of dst that are not set from those of src.
func merge(dst, src reflect.Value) {
	for i := range dst.NumField() {
		switch f := dst.Field(i); {
		case f.Kind() == reflect.Struct:
			merge(f, src.Field(i))
		case f.IsZero():
			f.Set(src.Field(i))
		}
	}
}
