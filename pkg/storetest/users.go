package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
)

// RunUsers runs the suite of a user.Store. open returns an empty one of the test's own.
func RunUsers(t *testing.T, open func(t *testing.T) user.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, user.Store)
	}{
		{"life", testUserLife},
		{"absent", testUserAbsent},
		{"round trip", testUserRoundTrip},
		{"list", testUserList},
		{"newer version", testUserNewerVersion},
		{"cancelled", testUserCancelled},
		{"race create", testRaceCreateUser},
		{"race update", testRaceUpdateUser},
		{"race update and delete", testRaceUpdateDeleteUser},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// userSentinels are the answers that callers branch on.
var userSentinels = []error{user.ErrNotFound, user.ErrExists, user.ErrConflict}

// wantUserIs checks that the error is that sentinel and none else; nil for a failure that must not pass for one.
func wantUserIs(t *testing.T, err, want error) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %v", want)
	}
	for _, sentinel := range userSentinels {
		if errors.Is(err, sentinel) != (sentinel == want) {
			t.Fatalf("%v; want: %v", err, want)
		}
	}
}

// testHash is the form of a password's hash, which no store looks at.
const testHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// userRecord returns a valid record in which little is set.
func userRecord(name string) *user.Record {
	return &user.Record{
		Version: user.RecordVersion, Username: name, ID: "u_0123456789abcdefghij_-", Epoch: 1, Handle: "h_handle", Password: testHash,
	}
}

func fullUser(name string) *user.Record {
	r := userRecord(name)
	r.Name, r.Scopes, r.Epoch, r.Disabled, r.Untold = "Ada <&> 訂單 \"quoted\"", oauth.Scope{"orders:write", "a&b<c>"}, 1<<53+1, true, true
	r.PasswordSetAt, r.CreatedAt, r.UpdatedAt = 1_700_000_000, 1_700_000_001, 1_700_000_002
	return r
}

func wantUser(t *testing.T, s user.Store, want *user.Record, revision int64) {
	t.Helper()
	got, err := s.User(t.Context(), want.Username)
	must(t, err)
	if diff := cmp.Diff(&user.Stored{Record: *want, Revision: revision}, got); diff != "" {
		t.Fatalf("user %s (-want +got):\n%s", want.Username, diff)
	}
}

func wantUsers(t *testing.T, s user.Store, want map[string]int64) {
	t.Helper()
	got := map[string]int64{}
	must(t, s.Users(t.Context(), func(u *user.Stored) bool {
		if _, twice := got[u.Username]; twice {
			t.Errorf("user %s is listed twice", u.Username)
		}
		got[u.Username] = u.Revision
		return true
	}))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("listed users and their revisions (-want +got):\n%s", diff)
	}
}

func testUserLife(t *testing.T, s user.Store) {
	wantUsers(t, s, map[string]int64{})
	must(t, s.CreateUser(t.Context(), userRecord("ada")))
	must(t, s.CreateUser(t.Context(), userRecord("ada@example.com")))
	wantUserIs(t, s.CreateUser(t.Context(), fullUser("ada")), user.ErrExists)
	wantUser(t, s, userRecord("ada"), 1)

	changed := fullUser("ada")
	for revision := int64(1); revision < 12; revision++ { // across a change of digits
		for _, other := range []int64{-1, 0, revision - 1, revision + 1} {
			if other != revision {
				wantUserIs(t, s.UpdateUser(t.Context(), userRecord("ada"), other), user.ErrConflict)
				wantUserIs(t, s.DeleteUser(t.Context(), "ada", other), user.ErrConflict)
			}
		}
		must(t, s.UpdateUser(t.Context(), changed, revision))
		wantUser(t, s, changed, revision+1)
	}
	must(t, s.DeleteUser(t.Context(), "ada", 12))
	_, err := s.User(t.Context(), "ada")
	wantUserIs(t, err, user.ErrNotFound)
	wantUserIs(t, s.UpdateUser(t.Context(), changed, 12), user.ErrNotFound)
	wantUserIs(t, s.DeleteUser(t.Context(), "ada", 12), user.ErrNotFound)
	heir := fullUser("ada")
	heir.Handle = "h_heir"
	must(t, s.CreateUser(t.Context(), heir)) // the name is free again
	wantUserIs(t, s.UpdateUser(t.Context(), changed, 1), user.ErrConflict)
	wantUser(t, s, heir, 1)
	wantUser(t, s, userRecord("ada@example.com"), 1)
}

func testUserAbsent(t *testing.T, s user.Store) {
	for range 2 {
		for _, name := range []string{"absent", "presen", "Present", "u_", "", strings.Repeat("x", 4096)} {
			_, err := s.User(t.Context(), name)
			wantUserIs(t, err, user.ErrNotFound)
			wantUserIs(t, s.DeleteUser(t.Context(), name, 1), user.ErrNotFound)
		}
		must(t, s.CreateUser(t.Context(), userRecord("present"+fmt.Sprint(time.Now().UnixNano()))))
	}
}

func testUserRoundTrip(t *testing.T, s user.Store) {
	full := fullUser("bücher訂單")
	wantNoZero(t, reflect.ValueOf(*full))
	must(t, s.CreateUser(t.Context(), full))
	wantUser(t, s, full, 1)
	full.Scopes[0] = "changed" // what went in is a copy
	must(t, s.UpdateUser(t.Context(), fullUser(full.Username), 1))
	wantUser(t, s, fullUser(full.Username), 2)
}

func testUserList(t *testing.T, s user.Store) {
	want := map[string]int64{}
	for i := range 30 {
		name := fmt.Sprintf("user-%02d", i)
		must(t, s.CreateUser(t.Context(), userRecord(name)))
		want[name] = 1
	}
	wantUsers(t, s, want)
	calls := 0
	must(t, s.Users(t.Context(), func(u *user.Stored) bool {
		calls++
		must(t, s.UpdateUser(t.Context(), &u.Record, u.Revision)) // yield may use the store
		return calls < 2
	}))
	if calls != 2 {
		t.Fatalf("yield returned false at its second call and was called %d times", calls)
	}
}

func testUserNewerVersion(t *testing.T, s user.Store) {
	newer := userRecord("newer")
	newer.Version = user.RecordVersion + 1
	must(t, s.CreateUser(t.Context(), newer))
	_, err := s.User(t.Context(), "newer")
	for _, err := range []error{err, s.Users(t.Context(), func(*user.Stored) bool { return true })} {
		wantUserIs(t, err, nil)
		if !strings.Contains(err.Error(), "user newer has version 2, this release reads 1") {
			t.Errorf("%v; want it to say which version this is and which can be read", err)
		}
	}
}

func testUserCancelled(t *testing.T, s user.Store) {
	must(t, s.CreateUser(t.Context(), userRecord("ada")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"User":       func() error { _, err := s.User(ctx, "ada"); return err },
		"CreateUser": func() error { return s.CreateUser(ctx, userRecord("bob")) },
		"UpdateUser": func() error { return s.UpdateUser(ctx, fullUser("ada"), 1) },
		"DeleteUser": func() error { return s.DeleteUser(ctx, "ada", 1) },
		"Users":      func() error { return s.Users(ctx, func(*user.Stored) bool { return true }) },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want that it was cancelled", name, err)
		} else {
			wantUserIs(t, err, nil)
		}
	}
	wantUsers(t, s, map[string]int64{"ada": 1})
}

func writtenBy(name string, writer int) *user.Record {
	r := userRecord(name)
	r.Name = fmt.Sprintf("writer %d", writer)
	return r
}

// testRaceCreateUser: a name is one user's.
func testRaceCreateUser(t *testing.T, s user.Store) {
	for round := range rounds() {
		name := fmt.Sprintf("user-%d", round)
		winner := race(t, []error{user.ErrExists}, func(i int) error { return s.CreateUser(t.Context(), writtenBy(name, i)) })
		wantUser(t, s, writtenBy(name, winner), 1)
	}
}

func testRaceUpdateUser(t *testing.T, s user.Store) {
	must(t, s.CreateUser(t.Context(), userRecord("ada")))
	for round := range rounds() {
		revision := int64(round + 1)
		winner := race(t, []error{user.ErrConflict}, func(i int) error {
			return s.UpdateUser(t.Context(), writtenBy("ada", i), revision)
		})
		wantUser(t, s, writtenBy("ada", winner), revision+1)
	}
}

func testRaceUpdateDeleteUser(t *testing.T, s user.Store) {
	for round := range rounds() {
		name := fmt.Sprintf("user-%d", round)
		must(t, s.CreateUser(t.Context(), userRecord(name)))
		winner := race(t, []error{user.ErrConflict, user.ErrNotFound}, func(i int) error {
			if i%2 == 0 {
				return s.DeleteUser(t.Context(), name, 1)
			}
			return s.UpdateUser(t.Context(), writtenBy(name, i), 1)
		})
		if winner%2 == 0 {
			_, err := s.User(t.Context(), name)
			wantUserIs(t, err, user.ErrNotFound)
		} else {
			wantUser(t, s, writtenBy(name, winner), 2)
		}
	}
}

// RunSignIns runs the suite of a backoff.Store. open returns an empty one of the test's own.
func RunSignIns(t *testing.T, open func(t *testing.T) backoff.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, backoff.Store)
	}{
		{"add and take", testTries},
		{"expired", testTriesExpired},
		{"swap", testSwapTries},
		{"set", testSetTries},
		{"cancelled", testTriesCancelled},
		{"race add", testRaceAddTry},
		{"race swap", testRaceSwapTries},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

var triesNow = time.Unix(1_790_000_000, 0)

func wantTries(t *testing.T, s backoff.Store, key string, want backoff.Count) {
	t.Helper()
	got, err := s.Tries(t.Context(), key)
	must(t, err)
	if got != want {
		t.Fatalf("%s: %+v stands, want %+v", key, got, want)
	}
}

func addTry(t *testing.T, s backoff.Store, key string, most int64, now, expires time.Time) (backoff.Count, bool) {
	t.Helper()
	c, added, err := s.AddTry(t.Context(), key, most, now, expires)
	must(t, err)
	return c, added
}

func testTries(t *testing.T, s backoff.Store) {
	wantTries(t, s, "a", backoff.Count{})
	must(t, s.TakeTry(t.Context(), "a"))
	for n := int64(1); n <= 12; n++ {
		expires := triesNow.Add(time.Duration(n) * time.Minute)
		c, added := addTry(t, s, "a", 12, triesNow, expires)
		if want := (backoff.Count{N: n, Expires: expires}); !added || c != want {
			t.Fatalf("try %d: %+v, %v; want %+v", n, c, added, want)
		}
		wantTries(t, s, "a", c)
	}
	full := backoff.Count{N: 12, Expires: triesNow.Add(12 * time.Minute)}
	for _, most := range []int64{0, 1, 11, 12} {
		if c, added := addTry(t, s, "a", most, triesNow, triesNow.Add(time.Hour)); added || c != full {
			t.Fatalf("beyond %d: %+v, %v; want %+v to stand", most, c, added, full)
		}
	}
	wantTries(t, s, "b", backoff.Count{})
	for n := int64(11); n >= -1; n-- {
		must(t, s.TakeTry(t.Context(), "a"))
		wantTries(t, s, "a", backoff.Count{N: max(n, 0), Expires: full.Expires})
	}
}

// testTriesExpired: what has expired is not added to, and told, whether or not it is still there.
func testTriesExpired(t *testing.T, s backoff.Store) {
	first, _ := addTry(t, s, "a", 9, triesNow, triesNow.Add(time.Minute))
	for _, late := range []time.Duration{time.Minute, time.Hour} {
		if c, added := addTry(t, s, "a", 9, triesNow.Add(late), triesNow.Add(2*time.Hour)); added || c != first {
			t.Fatalf("after %s: %+v, %v; want %+v to stand", late, c, added, first)
		}
	}
	if c, added := addTry(t, s, "a", 9, triesNow.Add(time.Minute-time.Second), triesNow.Add(time.Hour)); !added || c.N != 2 {
		t.Fatalf("a second before: %+v, %v", c, added)
	}
}

func testSwapTries(t *testing.T, s backoff.Store) {
	swap := func(seen, next backoff.Count, want bool) {
		t.Helper()
		got, err := s.SwapTries(t.Context(), "a", seen, next)
		must(t, err)
		if got != want {
			t.Fatalf("%+v in place of %+v: %v, want %v", next, seen, got, want)
		}
	}
	none := backoff.Count{}
	one := backoff.Count{N: 1, Expires: triesNow}
	waits := backoff.Count{N: 1, Next: triesNow.Add(time.Second), Expires: triesNow}
	swap(one, waits, false)
	swap(none, one, true)
	swap(none, waits, false)
	for _, other := range []backoff.Count{waits, {N: 2, Expires: triesNow}, {N: 1, Expires: triesNow.Add(time.Second)}} {
		swap(other, waits, false)
	}
	wantTries(t, s, "a", one)
	swap(one, waits, true)
	swap(one, waits, false)
	swap(backoff.Count{N: 1, Next: triesNow, Expires: triesNow}, one, false)
	wantTries(t, s, "a", waits)
	swap(waits, one, true)
	wantTries(t, s, "a", one)
}

func testSetTries(t *testing.T, s backoff.Store) {
	must(t, s.SetTries(t.Context(), "a", backoff.Count{}))
	for _, c := range []backoff.Count{{N: 3, Expires: triesNow}, {N: 1, Next: triesNow, Expires: triesNow}, {}, {N: 9, Expires: triesNow}} {
		must(t, s.SetTries(t.Context(), "a", c))
		wantTries(t, s, "a", c)
	}
}

func testTriesCancelled(t *testing.T, s backoff.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Tries":  func() error { _, err := s.Tries(ctx, "a"); return err },
		"AddTry": func() error { _, _, err := s.AddTry(ctx, "a", 1, triesNow, triesNow); return err },
		"SwapTries": func() error {
			_, err := s.SwapTries(ctx, "a", backoff.Count{}, backoff.Count{N: 1, Expires: triesNow})
			return err
		},
		"TakeTry":  func() error { return s.TakeTry(ctx, "a") },
		"SetTries": func() error { return s.SetTries(ctx, "a", backoff.Count{N: 1, Expires: triesNow}) },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want that it was cancelled", name, err)
		}
	}
	wantTries(t, s, "a", backoff.Count{})
}

// testRaceAddTry: as many as may are let through, and no more.
func testRaceAddTry(t *testing.T, s backoff.Store) {
	for round := range rounds() {
		key := fmt.Sprint("race-", round)
		const most = 7
		through := triesAtOnce(t, func(int) (bool, error) {
			_, added, err := s.AddTry(t.Context(), key, most, triesNow, triesNow.Add(time.Minute))
			return added, err
		})
		if through != most {
			t.Fatalf("%d of %d were let through, want %d", through, writers, most)
		}
		wantTries(t, s, key, backoff.Count{N: most, Expires: triesNow.Add(time.Minute)})
	}
}

func testRaceSwapTries(t *testing.T, s backoff.Store) {
	seen, _ := addTry(t, s, "a", 1, triesNow, triesNow.Add(time.Minute))
	for range rounds() {
		next := backoff.Count{N: seen.N + 1, Next: triesNow, Expires: seen.Expires}
		through := triesAtOnce(t, func(int) (bool, error) { return s.SwapTries(t.Context(), "a", seen, next) })
		if through != 1 {
			t.Fatalf("%d of %d were let through, want one", through, writers)
		}
		wantTries(t, s, "a", next)
		seen = next
	}
}

// triesAtOnce has all writers call at once, and returns how many were let through.
func triesAtOnce(t *testing.T, call func(i int) (bool, error)) (through int) {
	t.Helper()
	passed, failed := make([]bool, writers), make([]error, writers)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range writers {
		done.Go(func() {
			<-start
			passed[i], failed[i] = call(i)
		})
	}
	close(start)
	done.Wait()
	must(t, errors.Join(failed...))
	for _, ok := range passed {
		if ok {
			through++
		}
	}
	return through
}
