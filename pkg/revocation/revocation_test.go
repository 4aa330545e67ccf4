package revocation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
)

var t0 = (&clocktest.Clock{}).Now()

// all is an entry of each kind.
func all(at time.Time) []Entry {
	return []Entry{
		Grant("g_1", at), Token("t_1", at), Below("c_1", 7, at), Subject("u_1", at.Add(-time.Hour), at), SigningKey("k_1", at),
		Issuer("https://a.example", at.Add(-time.Hour), at), Before(at.Add(-time.Minute), at),
	}
}

func TestTextForm(t *testing.T) {
	for _, e := range all(t0) {
		got, err := Parse(e.String())
		if err != nil || compare(got, e) != 0 || got.Kind != e.Kind || got.String() != e.String() {
			t.Errorf("%q reads as %q, %v", e, got, err)
		}
	}
	// The form that other programs read, to the letter: it never changes.
	for got, want := range map[string]string{
		Grant("g_1", t0.Add(999*time.Millisecond)).String():            "g 6_X2TQSDKcS3P4CQg3G2wQ 0 1767225600",
		Below("c_1", 1<<53+1, t0).String():                             "b 6chYowAFBh1OfeTwPVP4IA 9007199254740993 1767225600",
		Before(time.Unix(1, 0), t0.In(time.FixedZone("", 1))).String(): "a v8Yi1KbUEPJr49ct1PBORw 1 1767225600",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	// One id makes different keys in different kinds.
	seen := map[Key]bool{}
	for _, e := range []Entry{Grant("x", t0), Token("x", t0), Below("x", 1, t0), Subject("x", t0, t0), Issuer("x", t0, t0), SigningKey("x", t0)} {
		if seen[e.Key] {
			t.Errorf("%s has the key of another kind", e)
		}
		seen[e.Key] = true
	}
	if long := Grant(strings.Repeat("x", 1000), t0); long.Key == Grant(strings.Repeat("x", 999), t0).Key {
		t.Error("a long id is cut short")
	}
}

func TestParseRefuses(t *testing.T) {
	good := Below("c_1", 7, t0).String()
	key := good[2:24]
	for name, s := range map[string]string{
		"nothing": "", "a word": "b", "three words": "b " + key + " 7", "five": good + " 1", "two spaces": strings.Replace(good, " ", "  ", 1),
		"end of line": good + "\n", "no kind": good[1:], "another kind": "x" + good[1:], "upper case": "B" + good[1:],
		"a short key": "b " + key[:21] + " 7 1", "padding": "b " + key + "== 7 1", "the other alphabet": "b " + strings.Repeat("+", 22) + " 7 1",
		"loose bits": "b " + key[:21] + "B 7 1", "no number": "b " + key + " x 1", "signed": "b " + key + " +7 1", "negative": "b " + key + " -7 1",
		"zero in front": "b " + key + " 07 1", "fraction": "b " + key + " 7.0 1", "too large": "b " + key + " 9223372036854775808 1",
		"an hour ago": "b " + key + " 7 -3600", "never": "b " + key + " 7 10000000000", "a number that means nothing": "g" + good[1:],
	} {
		if e, err := Parse(s); err == nil {
			t.Errorf("%s: %q reads as %q", name, s, e)
		}
	}
}

// What is read has one text form, and the text form is read as what it was made of.
func FuzzParse(f *testing.F) {
	for _, e := range all(t0) {
		f.Add(e.String())
	}
	f.Add("g AAAAAAAAAAAAAAAAAAAAAA 0 0")
	f.Add("b AAAAAAAAAAAAAAAAAAAAAA 9223372036854775807 9999999999")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			if compare(e, Entry{}) != 0 {
				t.Errorf("%q is refused and reads as %q", s, e)
			}
			return
		}
		if e.String() != s || !e.Kind.valid() || e.N < 0 || e.At.Unix() < 0 || e.At.Nanosecond() != 0 {
			t.Errorf("%q reads as %q", s, e)
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	feed := NewFeed(FeedConfig{Source: &memoryLog{}})
	feed.id = "feed"
	for _, e := range all(t0) {
		f.Add(feed.cursor(e))
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, e, err := parseCursor(s)
		if err != nil {
			return
		}
		feed := Feed{id: id}
		again, e2, err := parseCursor(feed.cursor(e))
		if err != nil || again != id || compare(e, e2) != 0 {
			t.Errorf("%q is a cursor of %q at %q, and then of %q at %q, %v", s, id, e, again, e2, err)
		}
	})
}

// memoryLog is a Log whose next calls can be made to fail, or to wait.
type memoryLog struct {
	mu       sync.Mutex
	id       string
	entries  []Entry
	reads    int       // of what is new, which has no end
	pasts    int       // of the past
	told     int       // entries that were given, in all
	from     time.Time // of the last read
	oldest   time.Time // of all reads
	failure  error
	breaks   int // if not 0, a read breaks off at every so many entries
	nameless bool
	hold     chan struct{} // if not nil, reads wait until it is closed
}

func (l *memoryLog) Append(_ context.Context, e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, e)
	return l.failure
}

func (l *memoryLog) Entries(ctx context.Context, from, until time.Time, yield func(Entry) bool) error {
	l.mu.Lock()
	if until.IsZero() {
		l.reads++
	} else {
		l.pasts++
	}
	l.from = from
	if l.oldest.IsZero() || from.Before(l.oldest) {
		l.oldest = from
	}
	hold, failure, list, told, breaks := l.hold, l.failure, slices.Clone(l.entries), l.told, l.breaks
	l.mu.Unlock()
	defer func() { l.set(func(l *memoryLog) { l.told = told }) }()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if failure != nil {
		return failure
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return a.At.Compare(b.At) })
	for _, e := range list {
		if e.Kind.Always() || e.At.Before(from) || !until.IsZero() && !e.At.Before(until) {
			continue
		}
		if told++; breaks > 0 && told%breaks == 0 {
			return errors.New("broken off")
		}
		if !yield(e) {
			return nil
		}
	}
	return nil
}

func (l *memoryLog) Always(context.Context) ([]Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Entry
	for _, e := range l.entries {
		if e.Kind.Always() {
			list = append(list, e)
		}
	}
	return list, l.failure
}

func (l *memoryLog) FeedID(context.Context) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nameless {
		return "", errors.New("no name")
	}
	return l.id, l.failure
}

func (l *memoryLog) set(change func(*memoryLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *memoryLog) readCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

func numbered(i int, at time.Time) Entry { return Grant(fmt.Sprint("g_", i), at) }
