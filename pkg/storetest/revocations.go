package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// wantEntries checks what is told from a time on and always, and that the former is in the order of At. Within a second any
// order is right.
func wantEntries(t *testing.T, s Store, from time.Time, want ...revocation.Entry) {
	t.Helper()
	wantEntriesUntil(t, s, from, time.Time{}, want...)
}

func wantEntriesUntil(t *testing.T, s Store, from, until time.Time, want ...revocation.Entry) {
	t.Helper()
	var got []string
	var last time.Time
	must(t, s.Entries(t.Context(), from, until, func(e revocation.Entry) bool {
		if e.At.Before(last) || e.Kind.Always() {
			t.Errorf("%s after one said at %d", e, last.Unix())
		}
		last = e.At
		got = append(got, e.String())
		return true
	}))
	always, err := s.Always(t.Context())
	must(t, err)
	for _, e := range always {
		if !e.Kind.Always() {
			t.Errorf("%s is told always", e)
		}
		got = append(got, e.String())
	}
	var all []string
	for _, e := range want {
		all = append(all, e.String())
	}
	slices.Sort(got)
	slices.Sort(all)
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("entries from %s (-want +got):\n%s", from, diff)
	}
}

// testRevocations says things of every kind over some hours, the order in which they are said being no order in time.
func testRevocations(t *testing.T, s Store) {
	now := time.Now().Truncate(time.Second)
	wantEntries(t, s, now.Add(-time.Hour))
	hour := now.Truncate(time.Hour)
	old, edge, late := hour.Add(-26*time.Hour), hour.Add(-time.Second), hour.Add(-40*time.Minute)
	said := map[string]revocation.Entry{
		"now":        revocation.Grant("g_1", now),
		"old":        revocation.Token("t_1", old),
		"edge":       revocation.Below("c_1", 7, edge),
		"hour":       revocation.Subject("u_1", now, hour),
		"late":       revocation.Grant("g_2", late),
		"a key":      revocation.SigningKey("k_1", hour.Add(-1000*24*time.Hour)),
		"before":     revocation.Before(old, hour.Add(-30*time.Minute)),
		"the future": revocation.Grant("g_3", now.Add(30*time.Minute)),
	}
	for _, name := range []string{"now", "old", "edge", "hour", "a key", "before", "the future", "late"} {
		must(t, s.Append(t.Context(), said[name]))
	}
	from := func(from time.Time, names ...string) {
		t.Helper()
		want := []revocation.Entry{said["a key"], said["before"]} // whenever they were said
		for _, name := range names {
			want = append(want, said[name])
		}
		wantEntries(t, s, from, want...)
	}
	from(old.Add(-time.Nanosecond), "old", "late", "edge", "hour", "now", "the future")
	from(old, "old", "late", "edge", "hour", "now", "the future")
	from(old.Add(time.Nanosecond), "late", "edge", "hour", "now", "the future")
	from(late, "late", "edge", "hour", "now", "the future")
	from(edge, "edge", "hour", "now", "the future")
	from(edge.Add(time.Second), "hour", "now", "the future")
	from(now.Add(time.Second), "the future")
	from(now.Add(30*time.Minute), "the future")
	from(now.Add(30*time.Minute + time.Second))
	from(now.Add(48 * time.Hour))
	until := func(from, until time.Time, names ...string) {
		t.Helper()
		want := []revocation.Entry{said["a key"], said["before"]}
		for _, name := range names {
			want = append(want, said[name])
		}
		wantEntriesUntil(t, s, from, until, want...)
	}
	until(old, old)
	until(old, old.Add(time.Nanosecond), "old")
	until(old, old.Add(time.Second), "old")
	until(old.Add(-100*time.Hour), old)
	until(old, late, "old")
	until(old, edge, "old", "late")
	until(old, hour, "old", "late", "edge")
	until(edge, now, "edge", "hour")
	until(old, now.Add(48*time.Hour), "old", "late", "edge", "hour", "now", "the future")

	// What was stamped before others and comes after them is there at once.
	for i := range 5 {
		name := fmt.Sprint("stamped back ", i)
		said[name] = revocation.Grant(name, now.Add(time.Duration(-20-i)*time.Second))
		must(t, s.Append(t.Context(), said[name]))
		wantEntries(t, s, said[name].At, append(entriesFrom(said, said[name].At), said["a key"], said["before"])...)
	}
}

// entriesFrom are those said at from or later, without those that are told always.
func entriesFrom(said map[string]revocation.Entry, from time.Time) []revocation.Entry {
	var list []revocation.Entry
	for _, e := range said {
		if !e.Kind.Always() && !e.At.Before(from) {
			list = append(list, e)
		}
	}
	return list
}

// testRevocationsTwice says the same again, and nearly the same.
func testRevocationsTwice(t *testing.T, s Store) {
	now := time.Now().Truncate(time.Second)
	all := []revocation.Entry{
		revocation.Grant("g_1", now), revocation.Token("g_1", now), revocation.Grant("g_1", now.Add(-time.Second)),
		// Of one handle in one second: neither may take the other's place.
		revocation.Below("c_1", 6, now), revocation.Below("c_1", 5, now), revocation.Below("c_1", 1<<53+1, now),
		revocation.SigningKey("k_1", now), revocation.Before(now, now), revocation.Before(now.Add(-time.Hour), now),
	}
	for range 3 {
		for _, e := range all {
			must(t, s.Append(t.Context(), e))
		}
	}
	wantEntries(t, s, now.Add(-time.Minute), all...)

	// A part of a second says nothing, and what can't be written down is refused.
	fraction := revocation.Grant("g_2", now)
	fraction.At = fraction.At.Add(time.Millisecond)
	must(t, s.Append(t.Context(), fraction))
	wantEntries(t, s, now.Add(-time.Minute), append(all, revocation.Grant("g_2", now))...)
	for _, bad := range []revocation.Entry{
		{}, {Kind: 'x', At: now}, {Kind: revocation.KindGrant, N: 1, At: now}, {Kind: revocation.KindBelow, N: -1, At: now},
		{Kind: revocation.KindGrant, At: time.Unix(-1, 0)}, {Kind: revocation.KindGrant, At: time.Unix(1<<40, 0)},
	} {
		wantNoSentinel(t, s.Append(t.Context(), bad))
	}
	wantEntries(t, s, now.Add(-time.Minute), append(all, revocation.Grant("g_2", now))...)
}

func testRevocationsStop(t *testing.T, s Store) {
	now := time.Now().Truncate(time.Second)
	must(t, s.Append(t.Context(), revocation.SigningKey("k_1", now.Add(-90*time.Minute))))
	for i := range 6 {
		must(t, s.Append(t.Context(), revocation.Grant(fmt.Sprint(i), now.Add(time.Duration(-i)*time.Hour))))
	}
	for most := 1; most <= 6; most++ {
		calls := 0
		must(t, s.Entries(t.Context(), now.Add(-6*time.Hour), time.Time{}, func(revocation.Entry) bool { calls++; return calls < most }))
		if calls != most {
			t.Errorf("yield returned false at its call %d and was called %d times", most, calls)
		}
	}
	// What yield calls may be the store itself.
	must(t, s.Entries(t.Context(), now, time.Time{}, func(e revocation.Entry) bool {
		must(t, s.Append(t.Context(), revocation.Token("t_1", now)))
		return true
	}))
	wantEntries(t, s, now, revocation.Grant("0", now), revocation.Token("t_1", now), revocation.SigningKey("k_1", now.Add(-90*time.Minute)))
}

// testRevocationsMany says many things, some at the same time.
func testRevocationsMany(t *testing.T, s Store) {
	const count = 300
	now := time.Now().Truncate(time.Second)
	all := make([]revocation.Entry, count)
	for i := range all {
		all[i] = revocation.Grant(fmt.Sprint("g_", i), now.Add(time.Duration(-i/10)*time.Second))
	}
	parallel(t, 16, count, func(i int) error { return s.Append(t.Context(), all[i]) })
	wantEntries(t, s, now.Add(-time.Hour), all...)
}

// testRaceRevocations has all writers say something, and some the same.
func testRaceRevocations(t *testing.T, s Store) {
	now := time.Now().Truncate(time.Second)
	var all []revocation.Entry
	for round := range rounds() {
		for i := range writers {
			all = append(all, revocation.Grant(fmt.Sprint("g_", round, "_", i), now))
		}
		all = append(all, revocation.SigningKey(fmt.Sprint("k_", round), now))
		must(t, concurrently(2*writers, func(i int) error {
			if i >= writers {
				return s.Append(t.Context(), revocation.SigningKey(fmt.Sprint("k_", round), now))
			}
			return s.Append(t.Context(), all[round*(writers+1)+i])
		}))
		wantEntries(t, s, now, all...)
	}
}

func testFeedID(t *testing.T, s Store) {
	ids := make([]string, writers)
	must(t, concurrently(writers, func(i int) (err error) {
		ids[i], err = s.FeedID(t.Context())
		return err
	}))
	now := time.Now().Truncate(time.Second)
	must(t, s.Append(t.Context(), revocation.Grant("g_1", now)))
	again, err := s.FeedID(t.Context())
	must(t, err)
	for _, id := range append(ids, again) { //nolint:makezero // all of them are set
		if id != ids[0] || len(id) < 16 || strings.ContainsAny(id, " \n") {
			t.Errorf("the feed's name is %q, and %q", ids[0], id)
		}
	}
	// It is no entry.
	wantEntries(t, s, now, revocation.Grant("g_1", now))
}

func testRevocationsCancelled(t *testing.T, s Store) {
	now := time.Now().Truncate(time.Second)
	kept := revocation.Grant("kept", now)
	must(t, s.Append(t.Context(), kept))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	past, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: ctx, context.DeadlineExceeded: past} {
		for name, call := range map[string]func() error{
			"Append": func() error { return s.Append(ctx, revocation.Grant("new", time.Now())) },
			"Entries": func() error {
				return s.Entries(ctx, now, time.Time{}, func(revocation.Entry) bool { t.Error("Entries: yield was called"); return true })
			},
			"Always": func() error { _, err := s.Always(ctx); return err },
			"FeedID": func() error { _, err := s.FeedID(ctx); return err },
		} {
			err := call()
			wantNoSentinel(t, err)
			if !errors.Is(err, want) {
				t.Errorf("%s: %v; want it to be %v", name, err, want)
			}
		}
	}
	wantEntries(t, s, now, kept)
}

// concurrently makes calls at once and returns what went wrong.
func concurrently(count int, call func(i int) error) error {
	results := make(chan error, count)
	start := make(chan struct{})
	for i := range count {
		go func() {
			<-start
			results <- call(i)
		}()
	}
	close(start)
	var errs []error
	for range count {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}
