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
	// FeedEntries is how many entries a Feed keeps in memory, at 56 bytes each. Of more, it reads what is not new again when
	// it is asked for.
	FeedEntries = 2_000_000

	// settled is how long after their time stamps entries can still come in between others: what is older than that never
	// changes.
	settled = 2 * Overlap
	// partSize is the least that a part of the past holds where more comes after it. Stores read by the thousand, and the
	// first entry that is left out has to be seen: it is a little less.
	partSize = PageSize/4 - 100
	// grain is what the parts of the past begin at that are read: whoever asks for all kinds of times has each part read once.
	grain = 10 * time.Minute
	// stride bounds a part where little is said: what was read before a failure need not be read again.
	stride = 32 * 24 * time.Hour
	// pastTimeout bounds the reading of the past for one page: what was read by then is kept, and the next request goes on.
	pastTimeout = 5 * time.Second
	// nameMemory is how long the log's name is taken to be the same: it may be restored under our feet.
	nameMemory = time.Minute
	// partCost is what a part takes besides its entries, counted in entries.
	partCost = 4
)

// FeedConfig is what the feed is served from.
type FeedConfig struct {
	Source Log              // required
	Log    *slog.Logger     // nil: slog.Default()
	Now    func() time.Time // nil: time.Now
	// Window is how far back the feed goes: the longest that a token can live, by the deployment's caps, and what readers
	// add to that. Zero: FeedWindow.
	Window time.Duration
	// MaxEntries bounds memory. Zero: FeedEntries.
	MaxEntries int
}

// Feed serves a Log to everyone. What is new it reads anew every FeedMemory; of the past it reads what the page needs that
// is asked for, and keeps it, because it never changes. Safe for many goroutines; make one with NewFeed.
type Feed struct {
	FeedConfig

	mu     sync.Mutex
	id     string
	named  time.Time // when the log said so
	asOf   time.Time // when the last read of what is new began that succeeded; zero: there was none yet
	from   time.Time // what was said since then is in entries
	always []Entry

	entries []Entry // by compare, none twice
	past    []*part // of before from, in order of time, no two of the same second
	held    int     // what the past takes, in entries
	pages   int64   // served so far

	news, olds attempt
}

// part is all that was said from one second until before another, long enough ago that nothing comes in any more.
type part struct {
	from, to time.Time
	entries  []Entry // by compare, none twice
	used     int64   // by the number of pages, when it was last of use
}

func (p *part) cost() int { return partCost + len(p.entries) }

// attempt is a read of the log: its failure stands for a retryInterval.
type attempt struct {
	ended time.Time
	err   error
}

func (a *attempt) failed(now time.Time) error {
	if since := now.Sub(a.ended.Round(0)); a.err != nil && since >= 0 && since < retryInterval {
		return a.err
	}
	return nil
}

func (a *attempt) end(ctx context.Context, now time.Time, err error) error {
	a.ended, a.err = now, err
	if ctx.Err() != nil {
		a.err = nil // one reader went away, which is no answer to the others
	}
	return err
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
	if c.MaxEntries == 0 {
		c.MaxEntries = FeedEntries
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
	f.pages++
	// Of a cursor of another feed only the name matters, so that made-up cursors cause no long reads.
	if err := f.refresh(ctx, now, after != "" && feed != f.id); err != nil {
		return nil, err
	}
	page := &Page{Version: PageVersion, Feed: f.id, AsOf: f.asOf.Unix(), Entries: []string{}}
	if after != "" && feed != f.id {
		// The reader sees another feed's name and begins anew. One that does not look is told of no time, and goes stale.
		page.AsOf = 0
		return page, nil
	}
	entries, more, err := f.following(ctx, start, after != "")
	if err != nil {
		return nil, err
	}
	page.Entries = make([]string, 0, len(entries)+len(f.always))
	for _, e := range entries {
		page.Entries = append(page.Entries, e.String())
	}
	if page.More = more; more {
		// The last one told, and not the first to come: what is said late may yet come in between the two.
		page.Next = f.cursor(entries[len(entries)-1])
		return page, nil
	}
	for _, e := range f.always {
		page.Entries = append(page.Entries, e.String())
	}
	// Back from as_of wherever this page began: what is stamped between and committed later must not be missed.
	page.Next = f.cursor(Entry{At: f.asOf.Add(-Overlap)})
	return page, nil
}

// refresh reads what is new when memory is too old, and the log's name besides when a reader knows another.
func (f *Feed) refresh(ctx context.Context, now time.Time, foreign bool) error {
	within := func(since time.Time, d time.Duration) bool {
		age := now.Sub(since)
		return !since.IsZero() && age >= 0 && age < d // a clock that was set back has said nothing of use
	}
	if within(f.asOf, FeedMemory) && (!foreign || within(f.named, FeedMemory)) {
		return nil
	}
	if err := f.news.failed(now); err != nil {
		return err
	}
	if !within(f.named, nameMemory) || foreign && !within(f.named, FeedMemory) {
		if err := f.rename(ctx, now); err != nil {
			return f.news.end(ctx, f.Now(), fmt.Errorf("reading the feed's name: %w", err))
		}
	}
	if now.Before(f.asOf) {
		f.forgetSince(now)
	}
	err := f.read(ctx, now, within(f.asOf, settled))
	if err != nil {
		err = fmt.Errorf("reading the revocations: %w", err)
	}
	return f.news.end(ctx, f.Now(), err)
}

// rename reads the log's name. One that is known stays when that fails: what it names is read all the same.
func (f *Feed) rename(ctx context.Context, now time.Time) error {
	id, err := f.Source.FeedID(ctx)
	switch {
	case err != nil && f.id == "":
		return err
	case err != nil:
		f.Log.LogAttrs(ctx, slog.LevelWarn, "feed.unnamed", slog.String("cause", err.Error()))
	case id != f.id:
		f.id, f.asOf, f.entries, f.past, f.held = id, time.Time{}, nil, nil, 0
	}
	f.named = now
	return nil
}

// forgetSince forgets what was read by a clock that was ahead: what it took for the past may not all have been said.
func (f *Feed) forgetSince(now time.Time) {
	f.asOf, f.entries = time.Time{}, nil
	sure := now.Add(-settled)
	f.past = slices.DeleteFunc(f.past, func(p *part) bool {
		if p.to.After(sure) {
			f.held -= p.cost()
			return true
		}
		return false
	})
}

// read reads what is new: since the last time if that is known and lately, else of the time that is not settled yet.
func (f *Feed) read(ctx context.Context, now time.Time, known bool) error {
	from := whole(now.Add(-settled))
	if known {
		from = whole(f.asOf.Add(-Overlap))
	}
	var read []Entry
	err := f.Source.Entries(ctx, from, time.Time{}, func(e Entry) bool {
		read = append(read, e)
		return true
	})
	if err != nil {
		return err
	}
	always, err := f.Source.Always(ctx)
	if err != nil {
		return err
	}
	if !f.asOf.IsZero() {
		// Kept as past: what is settled for certain, all of it if there is a gap now, else from time to time.
		if edge := whole(f.asOf.Add(-Overlap)); !known || edge.Sub(f.from) >= time.Hour || len(f.entries) >= 2*PageSize {
			f.settle(edge)
		}
	}
	if known {
		read = append(read, f.entries[f.index(from):]...)
		f.entries = f.entries[:f.index(from)]
	} else {
		f.from, f.entries = from, nil
	}
	f.entries = append(f.entries, sorted(read)...)
	f.always, f.asOf = always, now
	oldest := now.Add(-f.Window - time.Hour)
	f.past = slices.DeleteFunc(f.past, func(p *part) bool {
		if p.to.Before(oldest) {
			f.held -= p.cost()
			return true
		}
		return false
	})
	return nil
}

// index is where in entries what was said from a second on begins.
func (f *Feed) index(from time.Time) int {
	i, _ := slices.BinarySearchFunc(f.entries, Entry{At: from}, compare)
	return i
}

// settle makes what was said before an edge a part of the past.
func (f *Feed) settle(edge time.Time) {
	if !edge.After(f.from) {
		return
	}
	i := f.index(edge)
	f.keep(&part{from: f.from, to: edge, entries: slices.Clone(f.entries[:i])})
	f.from, f.entries = edge, slices.Clone(f.entries[i:])
}

func whole(t time.Time) time.Time { return time.Unix(t.Unix(), 0) }

func sorted(list []Entry) []Entry {
	slices.SortFunc(list, compare)
	return slices.CompactFunc(list, func(a, b Entry) bool { return compare(a, b) == 0 })
}

// following returns what comes from a place on, or after it, as much as a page holds, and whether there is more. It reads
// of the past what it needs for that.
func (f *Feed) following(ctx context.Context, start Entry, after bool) (list []Entry, more bool, err error) {
	take := func(entries []Entry) {
		i, told := slices.BinarySearchFunc(entries, start, compare)
		if told && after {
			i++ // the last one of the page before
		}
		list = append(list, entries[i:min(len(entries), i+PageSize+1-len(list))]...)
	}
	ctx, cancel := context.WithTimeout(ctx, pastTimeout)
	defer cancel()
	for at := whole(start.At); at.Before(f.from) && len(list) <= PageSize; {
		p, err := f.pastAt(ctx, at)
		if err != nil && len(list) == 0 {
			return nil, false, err
		}
		if err != nil {
			f.Log.LogAttrs(ctx, slog.LevelWarn, "feed.short_page", slog.String("cause", err.Error()))
			return list, true, nil // a page may be short: its reader asks again, and is told the rest or of the trouble
		}
		take(p.entries)
		at = p.to
	}
	if len(list) <= PageSize {
		take(f.entries)
	}
	if len(list) > PageSize {
		return list[:PageSize], true, nil
	}
	return list, false, nil
}

// pastAt returns the part of the past that a second lies in.
func (f *Feed) pastAt(ctx context.Context, at time.Time) (*part, error) {
	for {
		i, found := slices.BinarySearchFunc(f.past, at, func(p *part, at time.Time) int {
			switch {
			case !p.to.After(at):
				return -1
			case p.from.After(at):
				return 1
			}
			return 0
		})
		if found {
			f.past[i].used = f.pages
			return f.past[i], nil
		}
		from, until := at.Truncate(grain), f.from
		if i > 0 {
			from = later(from, f.past[i-1].to)
		}
		if i < len(f.past) {
			until = f.past[i].from
		}
		if err := f.readPast(ctx, from, earlier(until, from.Add(stride))); err != nil {
			return nil, err
		}
	}
}

// readPast reads a part of the past. What it read before an error is kept.
func (f *Feed) readPast(ctx context.Context, from, until time.Time) error {
	if err := f.olds.failed(f.Now().Round(0)); err != nil {
		return err
	}
	p := &part{from: from, to: until, used: f.pages}
	last := from
	err := f.Source.Entries(ctx, from, until, func(e Entry) bool {
		if len(p.entries) >= partSize && e.At.After(last) {
			p.to = last.Add(time.Second)
			return false
		}
		p.entries = append(p.entries, e)
		last = e.At
		return true
	})
	if err != nil {
		p.to = last // the store gives entries in the order of time: those before are all
		i, _ := slices.BinarySearchFunc(p.entries, last, func(e Entry, t time.Time) int { return e.At.Compare(t) })
		p.entries = p.entries[:i]
		err = fmt.Errorf("reading past revocations: %w", err)
	}
	p.entries = slices.Clone(sorted(p.entries)) // no larger than it is
	if p.to.After(p.from) {
		f.keep(p)
	}
	return f.olds.end(ctx, f.Now(), err)
}

// keep adds a part to the past, and drops parts that were not asked for the longest if there are too many.
func (f *Feed) keep(p *part) {
	i, _ := slices.BinarySearchFunc(f.past, p.from, func(p *part, t time.Time) int { return p.from.Compare(t) })
	f.past = slices.Insert(f.past, i, p)
	f.held += p.cost()
	for f.held > f.MaxEntries && len(f.past) > 1 {
		oldest := -1
		for i, q := range f.past {
			if q != p && (oldest < 0 || q.used < f.past[oldest].used) {
				oldest = i
			}
		}
		f.held -= f.past[oldest].cost()
		f.past = slices.Delete(f.past, oldest, oldest+1)
	}
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
		f.Log.LogAttrs(r.Context(), slog.LevelError, "feed.failed", slog.String("cause", err.Error()))
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
