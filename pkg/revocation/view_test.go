package revocation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
)

// source is a Source whose pages can be looked at, changed and counted on their way.
type source struct {
	Source
	polls   atomic.Int64
	failure error // if not nil, nothing is asked of Source
	change  func(*Page, error) (*Page, error)
}

func (s *source) Page(ctx context.Context, after string, since time.Time) (*Page, error) {
	s.polls.Add(1)
	if s.failure != nil {
		return nil, s.failure
	}
	p, err := s.Source.Page(ctx, after, since)
	if s.change != nil {
		return s.change(p, err)
	}
	return p, err
}

var errDown = errors.New("the feed is down")

// watch makes a view of a feed of a log.
func watch(t *testing.T, clock *clocktest.Clock, change func(*ViewConfig), entries ...Entry) (*View, *source, *memoryLog) {
	t.Helper()
	f, log := feedOf(clock, entries...)
	s := &source{Source: f}
	c := ViewConfig{Source: s, Window: time.Hour, Now: clock.Now, Log: quiet}
	if change != nil {
		change(&c)
	}
	v, err := NewView(c)
	if err != nil {
		t.Fatal(err)
	}
	return v, s, log
}

func lives(t *testing.T, v *View, grant string) {
	t.Helper()
	if err := v.Check(t.Context(), Facts{GrantID: grant, AuthTime: t0}); err != nil {
		t.Errorf("%s: %v", grant, err)
	}
}

func revoked(t *testing.T, v *View, grant string) {
	t.Helper()
	var r *RevokedError
	if err := v.Check(t.Context(), Facts{GrantID: grant, AuthTime: t0}); !errors.As(err, &r) || errors.Is(err, ErrStale) {
		t.Errorf("%s: %v, want it revoked", grant, err)
	}
}

func stale(t *testing.T, v *View, cause string) {
	t.Helper()
	var r *RevokedError
	err := v.Check(t.Context(), Facts{GrantID: "g_live", AuthTime: t0})
	if !errors.Is(err, ErrStale) || errors.As(err, &r) || !strings.Contains(err.Error(), cause) {
		t.Errorf("%v, want an outage that says %q", err, cause)
	}
}

func TestNewView(t *testing.T) {
	f, _ := feedOf(&clocktest.Clock{})
	for name, c := range map[string]ViewConfig{
		"no source": {Window: time.Hour}, "no window": {Source: f}, "a negative window": {Source: f, Window: -1},
		"staler than allowed between polls": {Source: f, Window: time.Hour, PollInterval: 2 * time.Minute},
	} {
		if _, err := NewView(c); err == nil {
			t.Error(name)
		}
	}
}

// The first answer comes after the first load, of all that can matter and no more.
func TestViewLoadsFirst(t *testing.T) {
	var clock clocktest.Clock
	clock.Move(10 * time.Hour)
	v, s, log := watch(t, &clock, nil, Grant("g_1", clock.Now()), Grant("g_old", t0), SigningKey("k_1", t0))
	if _, loaded := v.Age(); loaded {
		t.Error("it is loaded before it was asked")
	}
	revoked(t, v, "g_1")
	lives(t, v, "g_old")
	if err := v.Check(t.Context(), Facts{KeyID: "k_1", AuthTime: t0}); err == nil {
		t.Error("an old key was not told")
	}
	if age, loaded := v.Age(); age != 0 || !loaded || v.Len() != 2 || s.polls.Load() != 1 {
		t.Errorf("age %s, loaded %v, %d entries, %d polls", age, loaded, v.Len(), s.polls.Load())
	}
	if want := clock.Now().Add(-time.Hour - margin).Truncate(time.Hour); !log.from.Equal(want) {
		t.Errorf("loaded from %s, want %s", log.from, want)
	}

	cold, s, _ := watch(t, &clock, nil)
	s.failure = errDown
	stale(t, cold, errDown.Error())
	if _, loaded := cold.Age(); loaded {
		t.Error("it is loaded, from a feed that is down")
	}
	stale(t, cold, errDown.Error())
	if s.polls.Load() != 1 {
		t.Errorf("%d polls within a second", s.polls.Load())
	}
	s.failure = nil
	clock.Move(retryInterval)
	lives(t, cold, "g_1")
}

// Within the poll interval nothing is asked; at its end, what is new is there with the first answer.
func TestViewPolls(t *testing.T) {
	var clock clocktest.Clock
	v, s, log := watch(t, &clock, nil)
	lives(t, v, "g_1")
	log.set(func(l *memoryLog) { l.entries = append(l.entries, Grant("g_1", clock.Now())) })
	clock.Move(PollInterval - 1)
	lives(t, v, "g_1")
	if s.polls.Load() != 1 {
		t.Errorf("%d polls within the interval", s.polls.Load())
	}
	clock.Move(1)
	revoked(t, v, "g_1")
	revoked(t, v, "g_1")
	if s.polls.Load() != 2 {
		t.Errorf("%d polls, want 2", s.polls.Load())
	}
}

// A Lambda that was frozen for an hour: its monotonic clock says that no time has passed.
func TestViewFrozen(t *testing.T) {
	var clock clocktest.Clock
	v, s, log := watch(t, &clock, func(c *ViewConfig) { c.Now = clock.Frozen })
	lives(t, v, "g_1")
	clock.Move(time.Hour)
	log.set(func(l *memoryLog) { l.entries = append(l.entries, Grant("g_1", clock.Now().Add(-time.Minute))) })
	revoked(t, v, "g_1")
	clock.Move(time.Hour)
	s.failure = errDown
	stale(t, v, errDown.Error())
	clock.Move(retryInterval)
	s.failure = nil
	lives(t, v, "g_live")
}

func TestViewSingleFlight(t *testing.T) {
	var clock clocktest.Clock
	v, s, log := watch(t, &clock, nil, Grant("g_1", t0))
	crowd := func(check func(*testing.T, *View, string), wantPolls int64) {
		t.Helper()
		before := s.polls.Load()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { check(t, v, "g_1") })
		}
		all.Wait()
		if got := s.polls.Load() - before; got != wantPolls {
			t.Errorf("100 at once made %d polls, want %d", got, wantPolls)
		}
	}
	crowd(revoked, 1)
	clock.Move(PollInterval)
	crowd(revoked, 1)
	clock.Move(PollInterval)
	s.failure = errDown
	crowd(revoked, 1) // still usable
	s.failure = nil
	clock.Move(retryInterval)
	log.set(func(l *memoryLog) { l.entries = append(l.entries, Grant("g_2", clock.Now())) })
	crowd(revoked, 1)
	revoked(t, v, "g_2")

	// A load that takes longer than the interval between tries is not made by one after the other.
	cold, s, _ := watch(t, &clock, nil)
	v = cold
	s.change = func(*Page, error) (*Page, error) { clock.Move(loadTimeout); return nil, errDown }
	crowd(func(t *testing.T, v *View, _ string) { stale(t, v, errDown.Error()) }, 1)
}

// While polls fail, the view serves on for MaxStaleness from the feed's as_of, and then says so.
func TestViewStaleness(t *testing.T) {
	for _, allow := range []bool{false, true} {
		t.Run(fmt.Sprint(allow), func(t *testing.T) {
			var clock clocktest.Clock
			var log bytes.Buffer
			v, s, _ := watch(t, &clock, func(c *ViewConfig) {
				c.AllowStale, c.Log = allow, slog.New(slog.NewTextHandler(&log, nil))
			}, Grant("g_1", t0))
			revoked(t, v, "g_1")
			s.failure = errDown
			clock.Move(MaxStaleness)
			revoked(t, v, "g_1")
			lives(t, v, "g_live")
			clock.Move(1)
			if allow {
				revoked(t, v, "g_1") // what is known is obeyed
				lives(t, v, "g_live")
				if !strings.Contains(log.String(), "revocations.stale_allowed") {
					t.Errorf("nothing was logged: %s", &log)
				}
			} else {
				stale(t, v, errDown.Error())
			}
			if !strings.Contains(log.String(), "revocations.poll_failed") {
				t.Errorf("nothing was logged: %s", &log)
			}
			s.failure = nil
			clock.Move(time.Second)
			lives(t, v, "g_live")
			revoked(t, v, "g_1")
			if age, _ := v.Age(); age >= time.Second { // which as_of counts in
				t.Errorf("age %s", age)
			}
		})
	}

	// A view that was never loaded lets nothing through, whatever is allowed.
	var clock clocktest.Clock
	v, s, _ := watch(t, &clock, func(c *ViewConfig) { c.AllowStale = true })
	s.failure = errDown
	stale(t, v, errDown.Error())
}

// Freshness is what the feed says of itself: polls that succeed with an old page, as from a cache, do not count.
func TestViewAsOf(t *testing.T) {
	var clock clocktest.Clock
	v, s, _ := watch(t, &clock, nil)
	lives(t, v, "g_live")
	first := clock.Now().Unix()
	s.change = func(p *Page, err error) (*Page, error) { p.AsOf = first; return p, err }
	for range 4 {
		clock.Move(PollInterval)
		lives(t, v, "g_live")
	}
	clock.Move(time.Second)
	stale(t, v, "as of 1m1s ago")
	before := s.polls.Load()
	stale(t, v, "as of 1m1s ago")
	if s.polls.Load() != before {
		t.Error("the stale feed is asked at each check")
	}

	// It never goes back.
	s.change = nil
	clock.Move(FeedMemory)
	lives(t, v, "g_live")
	s.change = func(p *Page, err error) (*Page, error) { p.AsOf = first; return p, err }
	clock.Move(PollInterval)
	lives(t, v, "g_live")
	if age, _ := v.Age(); age != PollInterval {
		t.Errorf("age %s after an older page, want %s", age, PollInterval)
	}

	// A feed whose clock is ahead is credited with no more than now; by too much, with nothing.
	s.change = func(p *Page, err error) (*Page, error) { p.AsOf += int64(maxAhead / time.Second); return p, err }
	clock.Move(PollInterval)
	lives(t, v, "g_live")
	if age, _ := v.Age(); age != 0 {
		t.Errorf("age %s", age)
	}
	s.failure = errDown
	clock.Move(MaxStaleness + time.Second)
	stale(t, v, errDown.Error())
	s.failure = nil
	s.change = func(p *Page, err error) (*Page, error) { p.AsOf += int64(maxAhead/time.Second) + 1; return p, err }
	clock.Move(time.Second)
	stale(t, v, "ahead")
	// Neither does a page without a time.
	s.change = func(p *Page, err error) (*Page, error) { p.AsOf = 0; return p, err }
	clock.Move(time.Second)
	stale(t, v, "ago")
}

// A clock that is set back by a little is no outage; by more, it is one until the feed has been asked.
func TestViewClockSetBack(t *testing.T) {
	var clock clocktest.Clock
	clock.Move(time.Hour)
	v, s, _ := watch(t, &clock, nil)
	lives(t, v, "g_live")
	clock.Move(-step)
	lives(t, v, "g_live")
	if s.polls.Load() != 1 {
		t.Errorf("%d polls", s.polls.Load())
	}
	clock.Move(-time.Nanosecond)
	s.failure = errDown
	stale(t, v, errDown.Error())
	s.failure = nil
	clock.Move(-30 * time.Minute)
	lives(t, v, "g_live")
	if age, _ := v.Age(); age >= time.Second || s.polls.Load() != 3 {
		t.Errorf("age %s, %d polls", age, s.polls.Load())
	}
}

// Another log under the same address: all of it is read, and nothing that was known is forgotten.
func TestViewResync(t *testing.T) {
	var clock clocktest.Clock
	v, s, log := watch(t, &clock, nil, Grant("g_lost", t0))
	revoked(t, v, "g_lost")
	clock.Move(30 * time.Minute)
	log.set(func(l *memoryLog) { l.id, l.entries = "feed-2", []Entry{Grant("g_old", t0)} })
	s.Source = NewFeed(FeedConfig{Source: log, Log: quiet, Now: clock.Now})
	revoked(t, v, "g_old") // which is before the cursor
	revoked(t, v, "g_lost")
	if got := s.polls.Load(); got != 3 {
		t.Errorf("%d polls, want one more than without a change", got)
	}
	clock.Move(PollInterval)
	lives(t, v, "g_live")
	if got := s.polls.Load(); got != 4 {
		t.Errorf("%d polls: it does not go on with the new feed's cursor", got)
	}
}

// Nothing is forgotten while it can match; what can't is forgotten on the way.
func TestViewWindow(t *testing.T) {
	var clock clocktest.Clock
	v, _, log := watch(t, &clock, nil, Grant("g_1", t0), SigningKey("k_1", t0))
	for clock.Now().Sub(t0) <= v.Window+margin {
		revoked(t, v, "g_1")
		clock.Move(time.Minute)
	}
	log.set(func(l *memoryLog) { l.entries = l.entries[1:] })
	for range 6 {
		clock.Move(time.Minute)
		lives(t, v, "g_live")
	}
	if v.Len() != 1 {
		t.Errorf("%d entries are left", v.Len())
	}
	if err := v.Check(t.Context(), Facts{KeyID: "k_1", AuthTime: t0}); err == nil {
		t.Error("the key was forgotten")
	}
}

// At the memory bound nothing is dropped and nothing let through, even where stale views are; below it again, all is well.
func TestViewMemoryBound(t *testing.T) {
	var clock clocktest.Clock
	v, _, log := watch(t, &clock, func(c *ViewConfig) { c.MaxEntries, c.AllowStale = 10, true })
	for i := range 10 {
		log.entries = append(log.entries, numbered(i, t0))
	}
	revoked(t, v, "g_0")
	clock.Move(30 * time.Minute)
	log.set(func(l *memoryLog) { l.entries = append(l.entries, numbered(10, clock.Now())) })
	stale(t, v, "more than 10")
	clock.Move(retryInterval)
	stale(t, v, "more than 10")
	clock.Move(36 * time.Minute) // the ten are past the window
	lives(t, v, "g_live")
	revoked(t, v, "g_10")
}

// What this release can't read it can't obey.
func TestViewFailsClosed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Page)
		want   string
	}{
		"kind":      {func(p *Page) { p.Entries = append(p.Entries, "z"+Grant("g_9", t0).String()[1:]) }, "does not know"},
		"nothing":   {func(p *Page) { p.Entries = append(p.Entries, "") }, "does not know"},
		"malformed": {func(p *Page) { p.Entries = append(p.Entries, "g x 0 1") }, "malformed"},
		"version":   {func(p *Page) { p.Version = 2 }, "version 2"},
		"no end":    {func(p *Page) { p.More, p.Next = true, "" }, "does not go on"},
		"in place":  {func(p *Page) { p.More, p.Next = true, "x" }, "not a cursor"},
	} {
		t.Run(name, func(t *testing.T) {
			var clock clocktest.Clock
			v, s, _ := watch(t, &clock, nil, Grant("g_1", t0))
			s.change = func(p *Page, err error) (*Page, error) {
				if err == nil {
					test.change(p)
				}
				return p, err
			}
			stale(t, v, test.want)
			s.change = nil
			clock.Move(retryInterval)
			if name != "in place" { // whose cursor was taken
				revoked(t, v, "g_1")
			}
		})
	}
}

// Pages are read to the end before there is an answer, and after an error the next poll goes on where it stopped.
func TestViewPages(t *testing.T) {
	var clock clocktest.Clock
	v, s, log := watch(t, &clock, nil)
	for i := range 3 * PageSize {
		log.entries = append(log.entries, numbered(i, t0.Add(time.Duration(-i/PageSize)*2*time.Minute)))
	}
	s.change = func(p *Page, err error) (*Page, error) {
		if s.polls.Load() == 3 {
			return nil, errDown
		}
		return p, err
	}
	stale(t, v, errDown.Error())
	clock.Move(retryInterval)
	revoked(t, v, "g_0")
	revoked(t, v, fmt.Sprint("g_", 3*PageSize-1))
	if s.polls.Load() != 4 || v.Len() != 3*PageSize {
		t.Errorf("%d polls, %d entries", s.polls.Load(), v.Len())
	}
	// What came before the error counts at once for a view that can be used.
	clock.Move(PollInterval)
	log.set(func(l *memoryLog) {
		for i := range PageSize + 1 {
			l.entries = append(l.entries, Token(fmt.Sprint(i), clock.Now()))
		}
		l.entries = append(l.entries, Grant("g_new", clock.Now().Add(-time.Second)))
	})
	s.change = func(p *Page, err error) (*Page, error) {
		if err == nil && !p.More {
			return nil, errDown
		}
		return p, err
	}
	revoked(t, v, "g_new")
	if age, _ := v.Age(); age != PollInterval+retryInterval {
		t.Errorf("half a poll made the view %s old", age)
	}
}

// A caller that goes away does not end the poll of the others; a source that does not answer is not waited for.
// TestKeyRevoked: a signer learns of a revoked key within the poll interval, and an outage of the feed does not stop it.
func TestKeyRevoked(t *testing.T) {
	var clock clocktest.Clock
	v, s, log := watch(t, &clock, nil)
	is := func(what string, want bool, polls int64) {
		t.Helper()
		if got := v.KeyRevoked(t.Context(), "k1"); got != want {
			t.Errorf("%s: revoked: %v", what, got)
		}
		if got := s.polls.Load(); got != polls {
			t.Errorf("%s: %d polls, want %d", what, got, polls)
		}
	}
	s.failure = errDown
	is("the feed is down", false, 1)
	is("and was a moment ago", false, 1)
	// That was nobody's failure: who needs an answer asks at once.
	s.failure = nil
	lives(t, v, "g_live")
	is("loaded", false, 2)
	if err := log.Append(t.Context(), SigningKey("k1", clock.Now())); err != nil {
		t.Fatal(err)
	}
	if err := log.Append(t.Context(), SigningKey("k2", clock.Now())); err != nil {
		t.Fatal(err)
	}
	is("within the interval", false, 2)
	clock.Move(PollInterval)
	is("after it", true, 3)
	if v.KeyRevoked(t.Context(), "k3") {
		t.Error("another key is revoked")
	}
	s.failure = errDown
	clock.Move(MaxStaleness + time.Second)
	is("what is known stays known", true, 4)
}

func TestViewTimeouts(t *testing.T) {
	var clock clocktest.Clock
	v, s, _ := watch(t, &clock, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Check(ctx, Facts{AuthTime: t0}); err != nil {
		t.Error(err)
	}
	clock.Move(PollInterval)
	s.Source = hanging{}
	began := time.Now()
	lives(t, v, "g_live")
	if took := time.Since(began); took < pollTimeout || took > 10*pollTimeout {
		t.Errorf("it took %s", took)
	}
}

type hanging struct{}

func (hanging) Page(ctx context.Context, _ string, _ time.Time) (*Page, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A load that stops in the midst of what is new, and goes on when the process thaws, misses nothing that was committed late.
func TestViewStoppedLoad(t *testing.T) {
	var clock clocktest.Clock
	v, s, log := watch(t, &clock, nil)
	for i := range PageSize + 1 {
		log.entries = append(log.entries, numbered(i, t0))
	}
	s.change = func(p *Page, err error) (*Page, error) {
		if s.polls.Load() == 2 {
			return nil, errDown
		}
		return p, err
	}
	stale(t, v, errDown.Error())
	log.set(func(l *memoryLog) { l.entries = append(l.entries, Grant("g_late", t0.Add(-30*time.Second))) })
	clock.Move(10 * time.Minute)
	revoked(t, v, "g_late")
}

// A clock that was ahead for a while makes the view forget too much, or load too little: it loads anew, and until then it is
// of no use.
func TestViewClockAhead(t *testing.T) {
	for _, loaded := range []bool{true, false} {
		var feedClock, clock clocktest.Clock
		feedClock.Move(30 * time.Minute)
		clock.Move(30 * time.Minute)
		v, s, _ := watch(t, &clock, func(c *ViewConfig) { c.AllowStale = true }, Grant("g_1", t0))
		s.Source.(*Feed).Now = feedClock.Now
		if loaded {
			revoked(t, v, "g_1")
		}
		clock.Move(3 * time.Hour)
		_ = v.Check(t.Context(), Facts{GrantID: "g_1", AuthTime: t0})
		clock.Move(-3 * time.Hour)
		s.failure = errDown
		v.KeyRevoked(t.Context(), "k_1") // which polls too, and must not make good what is missing
		if v.Len() == 0 {
			stale(t, v, errDown.Error())
		}
		clock.Move(retryInterval)
		s.failure = nil
		revoked(t, v, "g_1")
	}
}

// A view of refresh tokens alone has no room for what was said of access tokens, and no answer about them.
func TestViewOfRefreshTokens(t *testing.T) {
	var clock clocktest.Clock
	v, _, log := watch(t, &clock, func(c *ViewConfig) { c.RefreshOnly, c.MaxEntries = true, 2 }, Grant("g_1", t0))
	for i := range 100 {
		log.entries = append(log.entries, Token(fmt.Sprint("t_", i), t0))
	}
	revoked(t, v, "g_1")
	lives(t, v, "g_2")
	if v.Len() != 1 {
		t.Errorf("%d entries are held", v.Len())
	}
	var r *RevokedError
	if err := v.Check(t.Context(), Facts{GrantID: "g_2", TokenID: "t_1", AuthTime: t0}); err == nil || errors.As(err, &r) {
		t.Errorf("of an access token: %v, want an outage", err)
	}
}

// TestCheckSince: who asks again about a token is spared the look only while nothing new was said, and never the look at
// whether the view is up to date.
func TestCheckSince(t *testing.T) {
	var clock clocktest.Clock
	v, s, log := watch(t, &clock, nil, Grant("g_0", clock.Now()))
	ask := func(grant string, since Said) (Said, error) {
		return v.CheckSince(t.Context(), Facts{GrantID: grant, AuthTime: t0}, since)
	}
	first, err := ask("g_1", 0)
	if err != nil || first == 0 {
		t.Fatalf("got %d, %v", first, err)
	}
	var revoked *RevokedError
	if said, err := ask("g_0", 0); !errors.As(err, &revoked) || said != 0 {
		t.Errorf("a token that is revoked: %d, %v", said, err)
	}
	clock.Move(PollInterval)
	if again, err := ask("g_1", first); err != nil || again != first || s.polls.Load() != 2 {
		t.Errorf("after a poll that brought nothing: %d, %v, %d polls; want %d", again, err, s.polls.Load(), first)
	}
	if err := log.Append(t.Context(), Grant("g_2", clock.Now())); err != nil {
		t.Fatal(err)
	}
	clock.Move(PollInterval)
	second, err := ask("g_1", first)
	if err != nil || second == first {
		t.Errorf("after something new: %d, %v", second, err)
	}
	if said, err := ask("g_2", first); !errors.As(err, &revoked) || said != 0 {
		t.Errorf("what was revoked meanwhile: %d, %v", said, err)
	}
	s.failure = errDown
	clock.Move(MaxStaleness + time.Second)
	if said, err := ask("g_1", second); !errors.Is(err, ErrStale) || said != 0 {
		t.Errorf("a stale view: %d, %v", said, err)
	}
}

func TestCheckSinceAllocatesNothing(t *testing.T) {
	var clock clocktest.Clock
	v, _, _ := watch(t, &clock, nil)
	said, err := v.CheckSince(t.Context(), facts(), 0)
	if err != nil {
		t.Fatal(err)
	}
	f := facts()
	if n := testing.AllocsPerRun(100, func() { said, err = v.CheckSince(t.Context(), f, said) }); n != 0 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
}
