package revocation

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// PathFeed is where the feed is served.
const PathFeed = "/.well-known/latchkey-revocations"

// How the feed is served.
const (
	// FeedMemory is how long the feed is served from memory, so that a flood of polls is not a flood of reads.
	FeedMemory = 5 * time.Second
	// Overlap is how far the last page's cursor reaches back before its as_of: an entry is stamped by the clock of whoever
	// said it, and may be committed that much later. It is told again and again until then.
	Overlap = 90 * time.Second
	// PageSize is the most entries on a page: some 1.7 MB, below the 6 MB of a Lambda's answer.
	PageSize = 40_000
	// FeedWindow is how far back the feed goes: the longest that a token can live, by any deployment's caps.
	FeedWindow = 367 * 24 * time.Hour
)

// FeedConfig is what the feed is served from.
type FeedConfig struct {
	Source Log              // required
	Log    *slog.Logger     // nil: slog.Default()
	Now    func() time.Time // nil: time.Now
	// Window is how far back the feed goes: the longest that a token can live, by the deployment's caps, and what readers
	// add to that. Zero: FeedWindow.
	Window time.Duration
}

// Feed serves a Log to everyone. It keeps in memory what it was asked for, in the order of time. Safe for many goroutines;
// make one with NewFeed.
type Feed struct {
	FeedConfig

	mu      sync.Mutex
	id      string
	from    time.Time // what was said since then is in entries
	asOf    time.Time // when the last read that succeeded began; zero: nothing was read yet
	tried   time.Time // when the last read ended
	failure error     // its outcome, which stands for a retryInterval
	entries []Entry   // by compare, none twice
	always  []Entry
}

// NewFeed makes a Feed. It reads nothing yet.
func NewFeed(c FeedConfig) *Feed {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Window == 0 {
		c.Window = FeedWindow
	}
	return &Feed{FeedConfig: c}
}

// compare is the order of the feed: total, so that a cursor has one meaning.
func compare(a, b Entry) int {
	if d := a.At.Unix() - b.At.Unix(); d != 0 {
		return int(max(-1, min(1, d)))
	}
	if a.Kind != b.Kind {
		return int(a.Kind) - int(b.Kind)
	}
	if c := bytes.Compare(a.Key[:], b.Key[:]); c != 0 {
		return c
	}
	return int(max(-1, min(1, a.N-b.N)))
}

var errCursor = errors.New("after is not a cursor of this feed, or since is not a time")

// Page implements Source, so that a view in the same process needs no network.
func (f *Feed) Page(ctx context.Context, after string, since time.Time) (*Page, error) {
	now := f.Now().Round(0)
	start := Entry{At: since}
	feed := ""
	if after != "" {
		var err error
		if feed, start, err = parseCursor(after); err != nil {
			return nil, err
		}
	}
	if oldest := now.Add(-f.Window); start.At.Before(oldest) {
		start = Entry{At: oldest.Truncate(time.Hour)}
	}
	if latest := now.Add(-Overlap); after == "" && start.At.After(latest) {
		start = Entry{At: latest} // whoever asks, by a clock that is ahead, misses nothing
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if after != "" && feed != f.id {
		// A cursor of another feed, or nothing was read yet: the name first, so that made-up cursors cause no long reads.
		if err := f.refresh(ctx, now, now.Add(-Overlap)); err != nil {
			return nil, err
		}
	}
	if after == "" || feed == f.id {
		if err := f.refresh(ctx, now, start.At); err != nil {
			return nil, err
		}
	}
	page := &Page{Version: PageVersion, Feed: f.id, AsOf: f.asOf.Unix(), Entries: []string{}}
	if after != "" && feed != f.id {
		// The reader sees another feed's name and begins anew. One that does not look is told of no time, and goes stale.
		page.AsOf = 0
		return page, nil
	}
	i, told := slices.BinarySearchFunc(f.entries, start, compare)
	if told && after != "" {
		i++ // the last one of the page before
	}
	end := min(i+PageSize, len(f.entries))
	for _, e := range f.entries[i:end] {
		page.Entries = append(page.Entries, e.String())
	}
	if page.More = end < len(f.entries); page.More {
		// The last one told, and not the first to come: what is said late may yet come in between the two.
		page.Next = f.cursor(f.entries[end-1])
		return page, nil
	}
	for _, e := range f.always {
		page.Entries = append(page.Entries, e.String())
	}
	// Back from as_of wherever this page began: what is stamped between and committed later must not be missed.
	page.Next = f.cursor(Entry{At: f.asOf.Add(-Overlap)})
	return page, nil
}

// refresh reads what is new when memory is too old, and what is older than what is in memory when that is asked for.
func (f *Feed) refresh(ctx context.Context, now, from time.Time) error {
	age := now.Sub(f.asOf)
	known := !f.asOf.IsZero() && !from.Before(f.from) && age >= 0 // a clock that was set back has said nothing of use
	if known && age < FeedMemory {
		return nil
	}
	if since := now.Sub(f.tried.Round(0)); f.failure != nil && since >= 0 && since < retryInterval {
		return f.failure
	}
	err := f.read(ctx, now, from, known)
	f.tried, f.failure = f.Now(), err
	if ctx.Err() != nil {
		f.failure = nil // one reader went away, which is no answer to the others
	}
	return err
}

func (f *Feed) read(ctx context.Context, now, from time.Time, known bool) error {
	readFrom, id := f.asOf.Add(-Overlap), f.id
	if !known {
		readFrom = from
		if !f.asOf.IsZero() {
			// At least twice as far back as before: who asks for ever more causes few reads.
			readFrom = earlier(from, now.Add(-2*now.Sub(f.from)))
			readFrom = earlier(f.from, later(readFrom, now.Add(-f.Window).Truncate(time.Hour)))
		}
		var err error
		if id, err = f.Source.FeedID(ctx); err != nil {
			return fmt.Errorf("reading the feed's name: %w", err)
		}
	}
	var read, always []Entry
	err := f.Source.Entries(ctx, readFrom, func(e Entry) bool {
		if e.Kind.Always() {
			always = append(always, e)
		} else {
			read = append(read, e)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("reading the revocations: %w", err)
	}
	if id != f.id {
		f.id, f.entries = id, nil
	}
	settled := 0 // so many of the entries in memory are older than what was read
	if known {
		settled, _ = slices.BinarySearchFunc(f.entries, Entry{At: readFrom}, compare)
	} else {
		f.from = readFrom
	}
	read = append(read, f.entries[settled:]...)
	slices.SortFunc(read, compare)
	read = slices.CompactFunc(read, func(a, b Entry) bool { return compare(a, b) == 0 })
	f.entries, f.always, f.asOf = append(f.entries[:settled], read...), always, now
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// cursor names a place in the feed.
func (f *Feed) cursor(e Entry) string {
	return base64.RawURLEncoding.EncodeToString([]byte(f.id + " " + strconv.FormatInt(e.At.Unix(), 10) + " " +
		strconv.Itoa(int(e.Kind)) + " " + base64.RawURLEncoding.EncodeToString(e.Key[:]) + " " + strconv.FormatInt(e.N, 10)))
}

func parseCursor(s string) (feed string, e Entry, err error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(s)
	fields := strings.Split(string(text), " ")
	if err != nil || len(s) > 256 || len(fields) != 5 {
		return "", e, errCursor
	}
	at, errAt := strconv.ParseInt(fields[1], 10, 64)
	kind, errKind := strconv.ParseUint(fields[2], 10, 8)
	key, errKey := base64.RawURLEncoding.Strict().DecodeString(fields[3])
	n, errN := strconv.ParseInt(fields[4], 10, 64)
	if errors.Join(errAt, errKind, errKey, errN) != nil || len(key) != len(e.Key) || at < 0 || at > latest {
		return "", e, errCursor
	}
	return fields[0], Entry{Kind: Kind(kind), Key: Key(key), N: n, At: time.Unix(at, 0)}, nil
}

// settled is how long after their time stamps entries can still come in between others: a full page that is older than
// that never changes.
const settled = 2 * Overlap

// ServeHTTP serves a page: ?after= a cursor, else ?since= seconds since 1970, else the last hour.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*") // public, and no credentials are taken
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		f.answer(w, http.StatusMethodNotAllowed, []byte(`{"error":"invalid_request"}`))
		return
	}
	query := r.URL.Query()
	since := f.Now().Add(-time.Hour)
	if s := query.Get("since"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 || n > latest {
			f.answer(w, http.StatusBadRequest, []byte(`{"error":"invalid_request"}`))
			return
		}
		since = time.Unix(n, 0)
	}
	page, err := f.Page(r.Context(), query.Get("after"), since)
	switch {
	case errors.Is(err, errCursor):
		f.answer(w, http.StatusBadRequest, []byte(`{"error":"invalid_request"}`))
		return
	case err != nil:
		f.Log.LogAttrs(r.Context(), slog.LevelError, "feed.failed", slog.String("cause", err.Error()))
		h.Set("Retry-After", "1")
		f.answer(w, http.StatusServiceUnavailable, []byte(`{"error":"temporarily_unavailable"}`))
		return
	}
	body, err := json.Marshal(page)
	if err != nil {
		f.answer(w, http.StatusInternalServerError, []byte(`{"error":"server_error"}`))
		return
	}
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(FeedMemory/time.Second)))
	if page.More && query.Get("after") != "" {
		if last, err := Parse(page.Entries[len(page.Entries)-1]); err == nil && f.Now().Sub(last.At) > settled {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
	}
	f.answer(w, http.StatusOK, body)
}

func (f *Feed) answer(w http.ResponseWriter, status int, body []byte) {
	w.WriteHeader(status)
	_, _ = w.Write(body) // a reader that went away is no fault of ours
}
