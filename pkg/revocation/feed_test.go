package revocation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// feedOf makes a feed of what a log holds.
func feedOf(clock *clocktest.Clock, entries ...Entry) (*Feed, *memoryLog) {
	log := &memoryLog{id: "feed-1", entries: entries}
	return NewFeed(FeedConfig{Source: log, Log: quiet, Now: clock.Now}), log
}

func page(t *testing.T, f *Feed, after string, since time.Time) *Page {
	t.Helper()
	p, err := f.Page(t.Context(), after, since)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readAll reads pages to the end.
func readAll(t *testing.T, f *Feed, after string, since time.Time) (entries []string, next string) {
	t.Helper()
	for range 100 {
		p := page(t, f, after, since)
		entries = append(entries, p.Entries...)
		if after = p.Next; !p.More {
			return entries, after
		}
	}
	t.Fatal("the feed has no end")
	return nil, ""
}

func TestFeedMemory(t *testing.T) {
	var clock clocktest.Clock
	f, log := feedOf(&clock, Grant("g_1", t0))
	for i, step := range []struct {
		move  time.Duration
		reads int
	}{{0, 1}, {FeedMemory - 1, 1}, {1, 2}, {0, 2}, {time.Hour, 3}, {4 * time.Second, 3}} {
		clock.Move(step.move)
		f.Now = clock.Now
		p := page(t, f, "", t0)
		if got := log.readCount(); got != step.reads {
			t.Errorf("step %d: %d reads, want %d", i, got, step.reads)
		}
		if want := clock.Now().Add(-step.move); p.AsOf > clock.Now().Unix() || i == 5 && p.AsOf != want.Unix() {
			t.Errorf("step %d: as of %d", i, p.AsOf)
		}
	}
	// A frozen process's monotonic clock stands still.
	f.Now = clock.Frozen
	clock.Move(time.Hour)
	if p := page(t, f, "", t0); p.AsOf != clock.Now().Unix() || log.readCount() != 4 {
		t.Errorf("thawed: as of %d, want %d", p.AsOf, clock.Now().Unix())
	}
}

func TestFeedCollapsesReads(t *testing.T) {
	var clock clocktest.Clock
	f, log := feedOf(&clock, Grant("g_1", t0))
	hold := make(chan struct{})
	log.hold = hold
	var readers sync.WaitGroup
	for range 50 {
		readers.Go(func() {
			if p, err := f.Page(t.Context(), "", t0); err != nil || len(p.Entries) != 1 {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	close(hold)
	readers.Wait()
	if got := log.readCount(); got != 1 {
		t.Errorf("50 readers at once caused %d reads", got)
	}

	// So they do while the store is down, for a second.
	log.set(func(l *memoryLog) { l.failure = errors.New("on fire") })
	clock.Move(FeedMemory)
	for range 20 {
		if _, err := f.Page(t.Context(), "", t0); err == nil {
			t.Error("an outage went unnoticed")
		}
	}
	if got := log.readCount(); got != 2 {
		t.Errorf("20 readers caused %d reads during an outage", got-1)
	}
	log.set(func(l *memoryLog) { l.failure = nil })
	clock.Move(retryInterval)
	page(t, f, "", t0)
}

// A reader that goes away is no outage for the others.
func TestFeedReaderGoesAway(t *testing.T) {
	var clock clocktest.Clock
	f, log := feedOf(&clock, Grant("g_1", t0))
	log.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Page(ctx, "", t0); err == nil {
		t.Error("a reader that had gone away was answered")
	}
	log.set(func(l *memoryLog) { close(l.hold); l.hold = nil })
	page(t, f, "", t0)
}

// An entry that is stamped 30 seconds back, and committed after a later one was served, is told to who has read on.
func TestFeedOverlap(t *testing.T) {
	var clock clocktest.Clock
	clock.Move(time.Hour)
	f, log := feedOf(&clock)
	log.entries = append(log.entries, Grant("g_later", clock.Now()))
	got, next := readAll(t, f, "", t0)
	if len(got) != 1 {
		t.Fatalf("%q", got)
	}
	for _, back := range []time.Duration{30 * time.Second, Overlap - FeedMemory - time.Second, 0} {
		clock.Move(FeedMemory)
		late := Token(fmt.Sprint("t_", back), clock.Now().Add(-back))
		if err := log.Append(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		got, next = readAll(t, f, next, t0)
		if !slices.Contains(got, late.String()) {
			t.Errorf("stamped %s back: missed: %q", back, got)
		}
	}

	// In a crowd of more than a page, too: wherever the last page began, its cursor reaches back.
	var crowd []Entry
	for i := range PageSize + 10 {
		crowd = append(crowd, numbered(i, clock.Now()))
	}
	log.set(func(l *memoryLog) { l.entries = append(l.entries, crowd...) })
	clock.Move(FeedMemory)
	got, next = readAll(t, f, next, t0)
	if len(got) < len(crowd) {
		t.Fatalf("%d of %d", len(got), len(crowd))
	}
	clock.Move(FeedMemory)
	late := Token("t_late", clock.Now().Add(-30*time.Second))
	log.set(func(l *memoryLog) { l.entries = append(l.entries, late) })
	if got, _ = readAll(t, f, next, t0); !slices.Contains(got, late.String()) {
		t.Error("stamped 30s back, committed after a page of later ones: missed")
	}

	// A reader whose clock is ahead misses nothing either.
	clock.Move(FeedMemory)
	if got, _ = readAll(t, f, "", clock.Now().Add(time.Minute)); !slices.Contains(got, late.String()) {
		t.Error("a reader that asked by a clock that is ahead missed an entry")
	}
}

// Pages at the bound: everything once, in order, none lost between them.
func TestFeedPages(t *testing.T) {
	for _, count := range []int{0, PageSize, 2*PageSize + 7} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			var clock clocktest.Clock
			clock.Move(6 * time.Hour)
			f, log := feedOf(&clock, SigningKey("k_1", t0.Add(-1000*time.Hour)), Before(t0, t0))
			want := map[string]bool{}
			for i := range count {
				e := numbered(i, t0.Add(time.Duration(i%7)*time.Hour/2)) // many of one second
				want[e.String()] = true
				log.entries = append(log.entries, e)
			}
			pages, after, lastAt := 0, "", int64(0)
			for {
				p := page(t, f, after, t0)
				pages++
				if p.Version != 1 || p.Feed != "feed-1" || p.AsOf != clock.Now().Unix() || p.Next == "" || p.Next == after {
					t.Fatalf("page %d: %+v", pages, Page{p.Version, p.Feed, p.AsOf, p.Next, p.More, nil})
				}
				told := p.Entries
				if p.More {
					if len(told) != PageSize {
						t.Errorf("page %d has %d entries, and there are more", pages, len(told))
					}
				} else {
					told = told[:len(told)-2]
					if last := strings.Join(p.Entries[len(told):], ""); !strings.Contains(last, "k ") || !strings.Contains(last, "a ") {
						t.Errorf("what is told always is not on the last page: %s", last)
					}
				}
				for _, s := range told {
					e, err := Parse(s)
					if err != nil || e.At.Unix() < lastAt || !want[s] {
						t.Fatalf("page %d: %q after %d, %v, or told twice", pages, s, lastAt, err)
					}
					lastAt = e.At.Unix()
					delete(want, s)
				}
				if after = p.Next; !p.More {
					break
				}
			}
			if len(want) > 0 || pages != max(1, (count+PageSize-1)/PageSize) {
				t.Errorf("%d entries were not told, in %d pages", len(want), pages)
			}
			if log.readCount() != 1 {
				t.Errorf("%d reads", log.readCount())
			}
		})
	}
}

// Who asks for what is older than memory gets it, and those who ask for ever older things cause no read twice.
func TestFeedOlder(t *testing.T) {
	var clock clocktest.Clock
	clock.Move(FeedWindow)
	f, log := feedOf(&clock)
	now := clock.Now()
	for i := range 300 {
		log.entries = append(log.entries, numbered(i, now.Add(-time.Duration(i)*24*time.Hour)))
	}
	for i := range 300 {
		got, _ := readAll(t, f, "", now.Add(-time.Duration(i)*24*time.Hour-time.Hour))
		if len(got) != i+1 {
			t.Fatalf("of %d days: %d entries", i, len(got))
		}
	}
	// Each entry was read once, whoever asked for how much.
	if log.told > 301 || log.reads != 1 {
		t.Errorf("%d entries were read, and what is new %d times", log.told, log.reads)
	}
	// Nobody can have it read from the beginning of time.
	readAll(t, f, "", time.Unix(0, 0))
	if log.oldest.Before(now.Add(-FeedWindow - time.Hour)) {
		t.Errorf("read from %s", log.oldest)
	}
	// What was read once stays, and what is new comes to it.
	log.set(func(l *memoryLog) { l.entries = append(l.entries, Token("new", now)) })
	clock.Move(FeedMemory)
	if got, _ := readAll(t, f, "", now.Add(-FeedWindow)); len(got) != 301 {
		t.Errorf("%d entries, want 301", len(got))
	}
	if log.from.Before(now.Add(-Overlap - time.Second)) {
		t.Errorf("all was read anew: from %s", log.from)
	}
}

// A process that starts with a cursor knows only what is after it, until somebody asks for more.
func TestFeedColdCursor(t *testing.T) {
	var clock clocktest.Clock
	clock.Move(10 * time.Hour)
	f, log := feedOf(&clock, Grant("g_1", t0), Grant("g_2", clock.Now()))
	_, next := readAll(t, f, "", t0)
	cold := NewFeed(FeedConfig{Source: log, Log: quiet, Now: clock.Now})
	if got, _ := readAll(t, cold, next, t0); len(got) != 1 {
		t.Errorf("after the cursor: %q", got)
	}
	if got, _ := readAll(t, cold, "", t0); len(got) != 2 {
		t.Errorf("since the beginning: %q", got)
	}
}

// A clock that was ahead and is set back hides nothing.
func TestFeedClockSetBack(t *testing.T) {
	var clock clocktest.Clock
	f, log := feedOf(&clock)
	clock.Move(3 * time.Hour)
	readAll(t, f, "", t0)
	clock.Move(-2 * time.Hour)
	log.set(func(l *memoryLog) { l.entries = append(l.entries, Grant("g_1", clock.Now())) })
	p := page(t, f, "", t0)
	if len(p.Entries) != 1 || p.AsOf != clock.Now().Unix() {
		t.Errorf("%+v", p)
	}
}

// The log was restored under another name: who has its old cursor is told so, and nothing more.
func TestFeedForeignCursor(t *testing.T) {
	var clock clocktest.Clock
	f, log := feedOf(&clock, Grant("g_1", t0))
	_, next := readAll(t, f, "", t0)
	log.set(func(l *memoryLog) { l.id, l.entries = "feed-2", []Entry{Grant("g_2", t0)} })
	f = NewFeed(FeedConfig{Source: log, Log: quiet, Now: clock.Now})
	p := page(t, f, next, t0)
	if p.Feed != "feed-2" || len(p.Entries) != 0 || p.Next != "" || p.AsOf != 0 {
		t.Errorf("%+v", p)
	}
}

func get(f *Feed, method, query string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(method, PathFeed+query, nil))
	return w
}

func TestFeedHTTP(t *testing.T) {
	var clock clocktest.Clock
	clock.Move(2 * time.Hour)
	f, log := feedOf(&clock, Grant("g_old", t0), Grant("g_new", clock.Now()))
	_, next := readAll(t, f, "", t0)
	foreign := (&Feed{id: "other"}).cursor(Entry{At: t0})
	const short = "public, max-age=5"
	for _, test := range []struct {
		method, query string
		status        int
		entries       int
		cache         string
	}{
		{"GET", "", 200, 1, short},
		{"HEAD", "", 200, 1, short},
		{"GET", "?since=0", 200, 2, short},
		{"GET", fmt.Sprint("?since=", t0.Unix()), 200, 2, short},
		{"GET", fmt.Sprint("?since=", t0.Unix()+1), 200, 1, short},
		{"GET", "?after=" + next, 200, 1, short},
		{"GET", "?after=" + next + "&since=0", 200, 1, short},
		{"GET", "?after=" + foreign, 200, 0, short},
		{"GET", "?since=-1", 400, 0, "no-store"},
		{"GET", "?since=x", 400, 0, "no-store"},
		{"GET", "?since=1e9", 400, 0, "no-store"},
		{"GET", "?since=9223372036854775807", 400, 0, "no-store"},
		{"GET", "?since=99999999999999999999", 400, 0, "no-store"},
		{"GET", "?after=x", 400, 0, "no-store"},
		{"GET", "?after=" + next[:len(next)-1], 400, 0, "no-store"},
		{"GET", "?after=" + url.QueryEscape(next+"="), 400, 0, "no-store"},
		{"GET", "?after=" + strings.Repeat("A", 100_000), 400, 0, "no-store"},
		{"POST", "", 405, 0, "no-store"},
		{"DELETE", "", 405, 0, "no-store"},
	} {
		w := get(f, test.method, test.query)
		var p Page
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Errorf("%s: %v", test.query, err)
		}
		if w.Code != test.status || len(p.Entries) != test.entries || w.Header().Get("Cache-Control") != test.cache {
			t.Errorf("%s %.60s: %d, %d entries, %s; want %+v", test.method, test.query, w.Code, len(p.Entries), w.Header().Get("Cache-Control"), test)
		}
		if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %v", test.query, w.Header())
		}
		if test.status == 405 && w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("Allow: %q", w.Header().Get("Allow"))
		}
	}
	if body := get(f, "GET", "?after="+foreign).Body.String(); !strings.Contains(body, `"entries":[]`) {
		t.Errorf("no entries are not an empty list: %s", body)
	}

	log.set(func(l *memoryLog) { l.failure = errors.New("table arn:aws:x is on fire") })
	clock.Move(FeedMemory)
	w := get(f, "GET", "")
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store" || strings.Contains(w.Body.String(), "fire") {
		t.Errorf("an outage: %d %v %s", w.Code, w.Header(), w.Body)
	}
}

// A full page can be kept for good when nothing can come in between any more, and no other.
func TestFeedImmutable(t *testing.T) {
	var clock clocktest.Clock
	f, log := feedOf(&clock)
	for i := range 3 * PageSize {
		log.entries = append(log.entries, numbered(i, t0))
	}
	first := page(t, f, "", t0.Add(-time.Hour))
	url := "?after=" + first.Next
	cache := func(query string) (string, *Page) {
		w := get(f, http.MethodGet, query)
		var p Page
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		return w.Header().Get("Cache-Control"), &p
	}
	if got, _ := cache(url); strings.Contains(got, "immutable") {
		t.Errorf("a page of this very second: %s", got)
	}
	clock.Move(settled)
	if got, _ := cache(url); strings.Contains(got, "immutable") {
		t.Errorf("at the edge: %s", got)
	}
	clock.Move(time.Second)
	got, kept := cache(url)
	if got != "public, max-age=31536000, immutable" || !kept.More {
		t.Errorf("%s, more: %v", got, kept.More)
	}
	if got, _ := cache(fmt.Sprint("?since=", t0.Unix()-3600)); strings.Contains(got, "immutable") {
		t.Errorf("a page since a time: %s", got)
	}
	if got, last := cache("?after=" + kept.Next); strings.Contains(got, "immutable") || last.More {
		t.Errorf("the last page: %s, more: %v", got, last.More)
	}
	// It stays what it was whatever is said later.
	log.set(func(l *memoryLog) { l.entries = append(l.entries, Grant("late", clock.Now().Add(-Overlap))) })
	clock.Move(FeedMemory)
	if _, again := cache(url); !slices.Equal(again.Entries, kept.Entries) || again.Next != kept.Next {
		t.Error("it changed")
	}
}

// What is committed late, between the last entry of a page that is kept for good and the first of the next, is told to
// whoever comes by way of that page.
func TestFeedImmutableMissesNothing(t *testing.T) {
	var clock clocktest.Clock
	f, log := feedOf(&clock)
	for i := range 2 * PageSize {
		log.entries = append(log.entries, numbered(i, t0))
	}
	clock.Move(time.Hour)
	log.entries = append(log.entries, Grant("g_next", clock.Now().Add(-time.Second)))
	first := page(t, f, "", t0.Add(-time.Hour))
	kept := page(t, f, first.Next, t0)
	if !kept.More || !kept.settled() {
		t.Fatal("it is no page to be kept")
	}
	late := Grant("g_late", clock.Now().Add(-2*time.Second))
	log.set(func(l *memoryLog) { l.entries = append(l.entries, late) })
	clock.Move(time.Hour)
	got, _ := readAll(t, f, kept.Next, t0)
	if len(got) != 2 || got[0] != late.String() {
		t.Errorf("after the kept page: %q", got)
	}
}

// A made-up cursor, of another feed and long ago, causes no long read, cold or warm; neither does a time before all tokens.
func TestFeedReadsNoFurtherThanNeeded(t *testing.T) {
	var clock clocktest.Clock
	other, _ := feedOf(&clock)
	other.id = "feed-2"
	forged := other.cursor(Entry{At: clock.Now().Add(-300 * 24 * time.Hour)})
	for _, warm := range []bool{false, true} {
		f, log := feedOf(&clock)
		if warm {
			page(t, f, "", clock.Now())
			clock.Move(FeedMemory)
		}
		if p := page(t, f, forged, time.Time{}); p.AsOf != 0 || len(p.Entries) != 0 {
			t.Errorf("warm %v: got %+v", warm, p)
		}
		if log.oldest.Before(clock.Now().Add(-time.Hour)) {
			t.Errorf("warm %v: read from %s", warm, log.oldest)
		}
	}
	log := &memoryLog{id: "feed-1"}
	f := NewFeed(FeedConfig{Source: log, Window: 48 * time.Hour, Log: quiet, Now: clock.Now})
	page(t, f, "", time.Unix(0, 0))
	if log.oldest.Before(clock.Now().Add(-49 * time.Hour)) {
		t.Errorf("read from %s", log.oldest)
	}
}

// manyOver makes a log of so many entries, evenly said in the time until now.
func manyOver(clock *clocktest.Clock, count int, over time.Duration) *memoryLog {
	log := &memoryLog{id: "feed-1"}
	for i := range count {
		log.entries = append(log.entries, numbered(i, clock.Now().Add(-time.Duration(float64(over)*float64(count-i)/float64(count)))))
	}
	return log
}

// A page reads what it needs and no more, however much there is; what was read is not read again.
func TestFeedReadsAPageAtATime(t *testing.T) {
	var clock clocktest.Clock
	const count = 5*PageSize + 100
	log := manyOver(&clock, count, 30*24*time.Hour)
	f := NewFeed(FeedConfig{Source: log, Log: quiet, Now: clock.Now})
	since := clock.Now().Add(-30 * 24 * time.Hour).Truncate(time.Hour)
	first := page(t, f, "", since)
	if !first.More || log.told > PageSize*5/4+1000 {
		t.Errorf("the first page, more: %v, read %d entries", first.More, log.told)
	}
	if got, _ := readAll(t, f, first.Next, since); len(got)+len(first.Entries) != count || log.told > count+1000 {
		t.Errorf("%d entries were told, %d read, of %d", len(got)+len(first.Entries), log.told, count)
	}
	pasts := log.pasts
	for range 3 {
		clock.Move(FeedMemory)
		if got, _ := readAll(t, f, "", since); len(got) != count || log.pasts != pasts {
			t.Errorf("once more: %d entries, %d reads of the past", len(got), log.pasts-pasts)
		}
	}

	// A verifier of short-lived tokens, and one that goes on from a cursor, have next to nothing read on a cold start.
	for _, ask := range []struct {
		after string
		since time.Time
	}{{"", clock.Now().Add(-time.Hour)}, {f.cursor(Entry{At: clock.Now().Add(-Overlap)}), since}} {
		cold := NewFeed(f.FeedConfig)
		log.told = 0
		page(t, cold, ask.after, ask.since)
		if log.told > 1000 {
			t.Errorf("%+v: %d entries were read", ask, log.told)
		}
	}
	// An empty year is read once.
	log.set(func(l *memoryLog) { l.entries, l.pasts = nil, 0 })
	empty := NewFeed(f.FeedConfig)
	for range 3 {
		page(t, empty, "", time.Unix(0, 0))
	}
	if log.pasts > 13 {
		t.Errorf("%d reads of nothing", log.pasts)
	}
}

// A store that fails again and again delays a reader, and what was read before a failure is not read again.
func TestFeedGoesOnAfterFailures(t *testing.T) {
	var clock clocktest.Clock
	const count = 3 * PageSize
	log := manyOver(&clock, count, 30*24*time.Hour)
	log.breaks = 9_000
	f := NewFeed(FeedConfig{Source: log, Log: quiet, Now: clock.Now})
	since := clock.Now().Add(-30 * 24 * time.Hour).Truncate(time.Hour)
	got, after, failures := 0, "", 0
	for {
		p, err := f.Page(t.Context(), after, since)
		if clock.Move(retryInterval); err != nil {
			if failures++; failures > 100 {
				t.Fatal(err)
			}
			continue
		}
		got += len(p.Entries)
		if after = p.Next; !p.More {
			break
		}
	}
	if got != count || failures == 0 || log.told > 2*count {
		t.Errorf("%d of %d entries after %d failures, %d read", got, count, failures, log.told)
	}
}

// Memory is bounded, and what has gone from it is read again.
func TestFeedMemoryBound(t *testing.T) {
	var clock clocktest.Clock
	const count = 6 * PageSize
	log := manyOver(&clock, count, 30*24*time.Hour)
	f := NewFeed(FeedConfig{Source: log, Log: quiet, Now: clock.Now, MaxEntries: 3 * PageSize})
	since := clock.Now().Add(-30 * 24 * time.Hour).Truncate(time.Hour)
	for range 2 {
		for after, got := "", 0; ; {
			p := page(t, f, after, since)
			held := 0
			for _, p := range f.past {
				held += p.cost()
			}
			if held != f.held || held > f.MaxEntries {
				t.Fatalf("%d entries are held, counted as %d", held, f.held)
			}
			got += len(p.Entries)
			if after = p.Next; !p.More {
				if got != count {
					t.Errorf("%d of %d entries were told", got, count)
				}
				break
			}
		}
	}
	if log.told < count+count/2 {
		t.Errorf("%d entries were read: it held more than it may", log.told)
	}
}

// The table was restored under its old name: a process that knew it before notices within a minute, and at once when a
// reader comes who does.
func TestFeedNotesAnotherLog(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		var clock clocktest.Clock
		clock.Move(3 * time.Hour)
		f, log := feedOf(&clock, Grant("g_1", t0))
		readAll(t, f, "", t0)
		log.set(func(l *memoryLog) { l.id, l.entries = "feed-2", []Entry{Grant("g_2", t0), Grant("g_3", t0)} })
		wait, after := nameMemory, ""
		if foreign {
			wait, after = FeedMemory, (&Feed{id: "feed-2"}).cursor(Entry{At: t0})
		}
		clock.Move(wait)
		want := 2
		if foreign {
			want = 1 // of those after the cursor's key
		}
		if p := page(t, f, after, t0); p.Feed != "feed-2" || len(p.Entries) < want {
			t.Errorf("foreign %v: %+v", foreign, p)
		}
		// Its name can't be had: what was known goes on.
		clock.Move(nameMemory)
		log.set(func(l *memoryLog) { l.nameless = true })
		page(t, f, "", t0)
		clock.Move(time.Hour)
		if p := page(t, f, "", t0); p.Feed != "feed-2" || len(p.Entries) != 2 || p.AsOf != clock.Now().Unix() {
			t.Errorf("foreign %v, nameless: %+v", foreign, p)
		}
	}
}

// Whatever is asked, in whatever order, idle times, late commits and failures between, nobody misses an entry.
func TestFeedAtRandom(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 3))
		var clock clocktest.Clock
		clock.Move(100 * 24 * time.Hour)
		log := manyOver(&clock, 400, 20*24*time.Hour)
		f := NewFeed(FeedConfig{Source: log, Log: quiet, Now: clock.Now, Window: 20 * 24 * time.Hour, MaxEntries: 50 + 200*int(seed%3)})
		said := map[string]time.Time{}
		for _, e := range log.entries {
			said[e.String()] = e.At
		}
		heard, next := map[string]bool{}, "" // by one that goes on from its cursor
		began := clock.Now().Add(-10 * 24 * time.Hour)
		for step := range 150 {
			switch random.IntN(8) {
			case 0:
				clock.Move(time.Duration(random.Int64N(int64(30 * time.Hour))))
			case 1:
				clock.Move(-time.Duration(random.Int64N(int64(3 * time.Second))))
			case 2:
				log.set(func(l *memoryLog) { l.breaks = random.IntN(3) * 37 })
			default:
				clock.Move(time.Duration(random.Int64N(int64(2 * time.Minute))))
			}
			late := Grant(fmt.Sprint("late", seed, step), clock.Now().Add(-time.Duration(random.Int64N(int64(Overlap-5*time.Second)))))
			log.set(func(l *memoryLog) { l.entries = append(l.entries, late) })
			said[late.String()] = late.At

			since := clock.Now().Add(-time.Duration(random.Int64N(int64(19 * 24 * time.Hour))))
			if told, _, ok := tryAll(t, f, "", since); ok && log.breaks == 0 {
				for text, at := range said {
					// What was said within FeedMemory may not be known yet.
					if !at.Before(since) && at.Before(clock.Now().Add(-Overlap-FeedMemory)) && !told[text] {
						t.Fatalf("seed %d, step %d: since %s: %s is missing", seed, step, since, text)
					}
				}
			}
			told, after, ok := tryAll(t, f, next, began)
			if ok {
				next = after
			}
			for text := range told {
				heard[text] = true
			}
			if ok && log.breaks == 0 {
				for text, at := range said {
					if !at.Before(began) && at.Before(clock.Now().Add(-Overlap-FeedMemory)) && !heard[text] {
						t.Fatalf("seed %d, step %d: %s, of %s ago, was never told", seed, step, text, clock.Now().Sub(at))
					}
				}
			}
		}
	}
}

// tryAll is readAll where the log may fail.
func tryAll(t *testing.T, f *Feed, after string, since time.Time) (told map[string]bool, next string, ok bool) {
	t.Helper()
	told = map[string]bool{}
	for range 100 {
		p, err := f.Page(t.Context(), after, since)
		if err != nil {
			return told, "", false
		}
		for _, text := range p.Entries {
			told[text] = true
		}
		if after = p.Next; !p.More {
			return told, after, true
		}
	}
	t.Fatal("the feed has no end")
	return nil, "", false
}
