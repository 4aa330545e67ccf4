package revocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// What a View does unless its configuration says otherwise.
const (
	// PollInterval is the age at which a view asks for what is new. With the feed's Memory and the cache of API Gateway's
	// authorizer it makes up the bound within which a revocation is obeyed.
	PollInterval = 15 * time.Second
	// MaxStaleness is the age, counted from the feed's as_of, past which a view that can't poll is of no use.
	MaxStaleness = time.Minute
	// MaxEntries bounds memory. Past it nothing is dropped: the view fails, and nothing is let through.
	MaxEntries = 4_000_000

	pollTimeout   = 300 * time.Millisecond // of a poll while there is a view to go on with
	loadTimeout   = 8 * time.Second        // of the first load, and of one that has fallen far behind
	retryInterval = time.Second            // between polls that fail
	// maxAhead is how far the feed's clock may be ahead of ours. Less than Overlap: its cursors must not be past entries that
	// others, by clocks like ours, have still to stamp.
	maxAhead = time.Minute
	// margin is added to windows for clocks that differ and for what is on its way. A feed whose clock is ahead by more is
	// not believed: its as_of would say nothing.
	margin = 5 * time.Minute
	// step is how far the wall clock may be set back without a view being thought infinitely old.
	step = 5 * time.Second
)

// Page is a part of the feed.
type Page struct {
	Version int      `json:"version"` // PageVersion
	Feed    string   `json:"feed"`    // the log's FeedID
	AsOf    int64    `json:"as_of"`   // seconds since 1970: what was said before is told by now; counts on the last page
	Next    string   `json:"next"`    // where to go on, opaque
	More    bool     `json:"more"`    // there is more by now
	Entries []string `json:"entries"` // Entry's text form
}

// PageVersion is the version that this release writes and reads.
const PageVersion = 1

// Source is where a View polls: pages after a cursor, or with an empty one from a time on.
type Source interface {
	Page(ctx context.Context, after string, since time.Time) (*Page, error)
}

// ViewConfig is what a View needs to know. Zero durations and numbers mean the constants of this package.
type ViewConfig struct {
	Source Source // required
	// Window is the longest that a token can live which this view is asked about: the deployment's cap. What was said longer
	// ago can match none and is forgotten. Required.
	Window       time.Duration
	PollInterval time.Duration
	MaxStaleness time.Duration
	// AllowStale lets tokens through when the view is older than MaxStaleness: revocations are then not obeyed for as long
	// as the feed can't be read. An issuer must never set it.
	AllowStale bool
	// RefreshOnly is for a view that is asked about refresh tokens alone, which end with their grant: what was said of single
	// access tokens takes no memory then.
	RefreshOnly bool
	MaxEntries  int

	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: slog.Default()
}

// View is what a verifier holds of the feed. It is made for a process that is frozen between requests: nothing runs in the
// background, and ages count by the wall clock. Safe for many goroutines; make one with NewView.
type View struct {
	ViewConfig

	mu    sync.RWMutex // guards what follows
	set   *Set
	said  Said
	asOf  time.Time // zero: nothing was loaded yet
	asked time.Time // when the last poll that succeeded began
	swept time.Time // when what can match no more was last forgotten

	polling sync.Mutex // held by the one that polls; guards what follows
	feed    string
	cursor  string    // no entry that comes in later than it was given lies before it
	from    time.Time // what was said since then is held, as far as the cursor
	tried   time.Time
	glanced time.Time
	failure error
}

// NewView makes a View. It loads nothing yet.
func NewView(c ViewConfig) (*View, error) {
	if c.Source == nil || c.Window <= 0 {
		return nil, errors.New("revocation: a view needs a source and a window")
	}
	c.PollInterval = orDefault(c.PollInterval, PollInterval)
	c.MaxStaleness = orDefault(c.MaxStaleness, MaxStaleness)
	if c.MaxStaleness < c.PollInterval {
		return nil, errors.New("revocation: a view must be let grow as old as the poll interval")
	}
	if c.MaxEntries == 0 {
		c.MaxEntries = MaxEntries
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &View{ViewConfig: c, set: NewSet(), said: 1}, nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// RevokedError says that a token is revoked. It is a fact about the token, not an outage.
type RevokedError struct{ Reason string }

func (e *RevokedError) Error() string { return e.Reason }

// ErrStale is wrapped by the error of a view that is too old to answer. It is an outage.
var ErrStale = errors.New("the revocations in memory are out of date")

// Said stands for what a view had taken in at a time. It grows with each entry that says something new.
type Said uint64

// Check returns a *RevokedError if the token is revoked, nil if it is not; any other error is an outage.
func (v *View) Check(ctx context.Context, f Facts) error {
	_, err := v.CheckSince(ctx, f, 0)
	return err
}

// CheckSince is Check for who may have asked about the same token before: since is what an earlier call returned for it
// along with no error, 0 if there was none. The facts are looked at only if something new was said after that; whether the
// view is up to date is seen to in any case.
func (v *View) CheckSince(ctx context.Context, f Facts, since Said) (Said, error) {
	if v.RefreshOnly && f.TokenID != "" {
		return 0, errors.New("revocation: a view of refresh tokens alone was asked about an access token")
	}
	if err := v.fresh(ctx); err != nil {
		return 0, err
	}
	v.mu.RLock()
	said, reason := v.said, ""
	if said != since {
		reason = v.set.Revoked(&f)
	}
	v.mu.RUnlock()
	if reason != "" {
		return 0, &RevokedError{reason}
	}
	return said, nil
}

// KeyRevoked reports whether a signing key is known to be revoked, for whoever is about to sign with it: what that key signs
// is refused by all who verify. It asks for what is new if it is time, but waits for that no longer than a poll and lets the
// signing go on if there is no answer: when a view is too old to go by, Check says.
func (v *View) KeyRevoked(ctx context.Context, kid string) bool {
	if _, fresh, _ := v.state(); !fresh {
		v.glance(ctx)
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.set.said(KindKey, kid)
}

// glance is a poll whose failure is nobody's: it leaves the first load to those who need one.
func (v *View) glance(ctx context.Context) {
	if !v.polling.TryLock() {
		return // somebody polls already
	}
	defer v.polling.Unlock()
	now := v.Now()
	if age0(v.glanced, now) < retryInterval {
		return
	}
	v.glanced = now
	v.mend(now)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pollTimeout)
	defer cancel()
	if err := v.catchUp(ctx, now); err != nil {
		v.Log.LogAttrs(ctx, slog.LevelWarn, "revocations.poll_failed", slog.String("cause", err.Error()))
	}
}

// Age is how old the view is, from the feed's as_of; loaded is false before the first load.
func (v *View) Age() (age time.Duration, loaded bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return age0(v.asOf, v.Now()), !v.asOf.IsZero()
}

// Len is how many entries are held.
func (v *View) Len() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.set.Len()
}

// age0 is the time gone by on the wall clock; a clock that was set back by more than a step makes anything infinitely old.
func age0(since, now time.Time) time.Duration {
	if age := now.Round(0).Sub(since.Round(0)); age >= -step {
		return max(0, age)
	}
	return 1<<63 - 1
}

// state returns how fresh the view is.
func (v *View) state() (loaded, fresh, usable bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	now := v.Now()
	loaded = !v.asOf.IsZero()
	usable = loaded && age0(v.asOf, now) <= v.MaxStaleness
	return loaded, usable && age0(v.asked, now) < v.PollInterval, usable
}

// fresh polls if it is time, and returns an error if the view then is too old.
func (v *View) fresh(ctx context.Context) error {
	if _, fresh, _ := v.state(); fresh {
		return nil
	}
	err := v.poll(ctx)
	if err == nil {
		return nil
	}
	loaded, _, usable := v.state()
	switch {
	case usable:
		return nil
	case loaded && v.AllowStale:
		v.Log.LogAttrs(ctx, slog.LevelError, "revocations.stale_allowed", slog.String("cause", err.Error()))
		return nil
	}
	return fmt.Errorf("%w: %w", ErrStale, err)
}

// poll brings the view up to date, once for all who wait.
func (v *View) poll(ctx context.Context) error {
	v.polling.Lock()
	defer v.polling.Unlock()
	loaded, fresh, usable := v.state()
	if fresh {
		return nil // somebody else has just done it
	}
	now := v.Now()
	if v.mend(now) {
		loaded, usable = false, false
	}
	if v.failure != nil && age0(v.tried, now) < retryInterval {
		return v.failure
	}
	timeout := pollTimeout
	if !usable {
		timeout = loadTimeout
	}
	// Not the caller's own end: one that goes away must not fail the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	v.failure = v.catchUp(ctx, now)
	v.tried = v.Now() // and not now: a poll may have taken longer than the interval
	age, _ := v.Age()
	if v.failure == nil && age > v.MaxStaleness {
		v.failure = fmt.Errorf("the feed is as of %s ago, as from a cache that does not heed max-age", age.Round(time.Second))
	}
	if v.failure != nil {
		v.Log.LogAttrs(ctx, slog.LevelWarn, "revocations.poll_failed", slog.String("cause", v.failure.Error()),
			slog.Bool("loaded", loaded), slog.Float64("age_s", age.Seconds()))
	}
	return v.failure
}

// mend finds out whether the clock was ahead when entries were loaded or forgotten by it, so that some which matter now are
// missing. It makes such a view one that was not loaded yet, though what it knows stays known.
func (v *View) mend(now time.Time) bool {
	if !v.from.After(now.Add(-v.Window)) {
		return false
	}
	v.mu.Lock()
	v.asOf = time.Time{}
	v.mu.Unlock()
	v.cursor, v.from, v.failure = "", time.Time{}, nil
	return true
}

// catchUp takes in page after page. What was taken in before an error stays, and the next poll goes on from the last page
// before which nothing can come in any more: it may be long until then.
func (v *View) catchUp(ctx context.Context, now time.Time) error {
	cursor := v.cursor
	since := now.Add(-v.Window - margin).Truncate(time.Hour) // whole hours, so that caches on the way are of use
	for {
		if cursor == "" {
			v.from = since
		}
		page, err := v.Source.Page(ctx, cursor, since)
		if err != nil {
			return err
		}
		if page.Version != PageVersion {
			return fmt.Errorf("the feed has version %d, this release reads %d", page.Version, PageVersion)
		}
		if page.Feed != v.feed && cursor != "" {
			// Another log, such as a restored one: from the beginning. What is known stays known.
			v.feed, v.cursor, cursor = page.Feed, "", ""
			continue
		}
		if err := v.takeIn(page, now); err != nil {
			return err
		}
		if page.More && (page.Next == "" || page.Next == cursor) {
			return errors.New("the feed does not go on")
		}
		v.feed, cursor = page.Feed, page.Next
		if !page.More || page.settled() {
			v.cursor = cursor
		}
		if !page.More {
			return nil
		}
	}
}

// settled reports whether what is said from now on comes after the page.
func (p *Page) settled() bool {
	if len(p.Entries) == 0 {
		return false
	}
	last, err := Parse(p.Entries[len(p.Entries)-1])
	return err == nil && last.At.Unix() <= p.AsOf-int64(Overlap/time.Second)
}

// takeIn adds a page's entries, all or none.
func (v *View) takeIn(page *Page, now time.Time) error {
	entries := make([]Entry, 0, len(page.Entries))
	for _, line := range page.Entries {
		if line == "" || !Kind(line[0]).valid() {
			return errors.New("the feed speaks of a kind of revocation that this release does not know")
		}
		e, err := Parse(line)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range entries {
		if (e.Kind != KindToken || !v.RefreshOnly) && v.set.Add(e) {
			v.said++
		}
	}
	if v.set.Len() > v.MaxEntries || age0(v.swept, now) > margin {
		limit := now.Add(-v.Window - margin)
		v.set.Forget(limit)
		v.swept, v.from = now, later(v.from, limit)
	}
	if v.set.Len() > v.MaxEntries {
		v.asOf = time.Time{}
		return fmt.Errorf("more than %d revocations are live: give the function more memory", v.MaxEntries)
	}
	if page.More {
		return nil
	}
	// The feed's clock may be ahead of ours, which is no credit; and as_of never goes back.
	asOf := time.Unix(page.AsOf, 0)
	if asOf.After(now.Add(maxAhead)) {
		return fmt.Errorf("the feed's as_of is ahead by %s: its clock is wrong, or this one", asOf.Sub(now.Round(0)).Round(time.Second))
	}
	if asOf.After(now) {
		asOf = now.Round(0)
	}
	if asOf.After(v.asOf) || v.asOf.After(now.Add(step)) { // the latter: our own clock was set back
		v.asOf = asOf
	}
	v.asked = now.Round(0)
	return nil
}
