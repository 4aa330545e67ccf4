package rotating_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// TestInterleavings runs Grants in every order that its store calls can be carried out in, with every call failing before
// and after its effect, answers lost, and the clock moving over the grace. See model for what must hold.
func TestInterleavings(t *testing.T) {
	long := os.Getenv("LATCHKEY_LONG") == "1"
	for _, scenario := range []struct {
		name       string
		budget     budget
		forLong    budget
		thief      bool
		least      int // states, so that a model that does nothing is seen
		mustHappen string
	}{
		{name: "one client", least: 2000, mustHappen: "successor,repeated,outage,late",
			budget: budget{requests: 4, faults: 2, lost: 1, ticks: 1, jumps: 1}, forLong: budget{requests: 6, faults: 2, lost: 1, ticks: 2, jumps: 1}},
		{name: "a client and a thief", least: 5000, thief: true, mustHappen: "successor,repeated,outage,reused,ended,late",
			budget: budget{requests: 4, faults: 1, ticks: 1, jumps: 1}, forLong: budget{requests: 5, faults: 2, lost: 1, ticks: 1, jumps: 1}},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			b := scenario.budget
			if long {
				b = scenario.forLong
			}
			seen, happened := map[string]bool{}, map[string]bool{}
			runs := explore(func(choose func(n int) (int, bool)) { runModel(t, b, scenario.thief, choose, seen, happened) })
			t.Logf("%d runs, %d states, %v", runs, len(seen), happened)
			if len(seen) < scenario.least {
				t.Errorf("%d states; want %d at least", len(seen), scenario.least)
			}
			for what := range strings.SplitSeq(scenario.mustHappen, ",") {
				if !happened[what] {
					t.Errorf("%s never happened", what)
				}
			}
		})
	}
}

// explore calls run with every sequence of choices there is. choose says too whether the choice is a new one, or one on
// the way to where this run parts from the one before.
func explore(run func(choose func(n int) (choice int, isNew bool))) (runs int) {
	var path, width []int
	for {
		i, parts := 0, len(path)-1
		run(func(n int) (int, bool) {
			if i == len(path) {
				path, width = append(path, 0), append(width, n)
			}
			i++
			return path[i-1], i > parts
		})
		runs++
		last := len(path) - 1
		for last >= 0 && path[last] == width[last]-1 {
			last--
		}
		if last < 0 {
			return runs
		}
		path, width = path[:last+1], width[:last+1]
		path[last]++
	}
}

// budget bounds what can happen in a run.
type budget struct {
	requests int // in all
	faults   int // store calls that fail
	lost     int // answers that do not arrive
	ticks    int // of 10 s, a function's time-out: at any time
	jumps    int // of more than the grace: with no request under way, for none lives that long
}

var errFault = errors.New("the store does not answer")

// model is a store, a feed and a clock, and parties that hold tokens of one grant. A party that behaves well renews the
// newest token that it has, from several places at once perhaps, sends it again when the answer is missing or an outage,
// and uses a successor only when nothing is under way with the token before.
//
// In every state: each generation has one successor, whoever asked for it; a fault is answered with an outage and with
// nothing else; "reused" is answered only when the feed has the grant, and always for a token that has had its use and its
// grace; a grant that has ended is not renewed again. And with no thief about: nothing is refused as long as the client
// asks again within the grace, the grant is in no feed, and in the end the client can renew.
type model struct {
	t        *testing.T
	now      time.Time
	record   *rotating.Record
	feed     bool
	had      map[int64]string    // the successor of a generation
	used     map[int64]time.Time // when it was made
	parties  []*party
	under    []*request
	budget   budget
	happened map[string]bool
}

type party struct {
	held *token.Refresh
	late bool // it lost an answer, and let the grace pass
}

// request is a call of Rotate as a coroutine, which stops before each store call.
type request struct {
	id       string
	party    *party
	held     *token.Refresh
	started  time.Time
	proceed  func() (struct{}, bool)
	stop     func()
	pause    func(struct{}) bool
	m        *model
	outcome  outcome // of the next store call
	calls    int
	faulted  bool
	expected string // what the first call found
	got      *token.Refresh
	err      error
}

type outcome int

const (
	works outcome = iota
	failsBefore
	failsAfter
)

type stopped struct{}

// call carries out a store call when the schedule comes to it.
func (r *request) call(effect func()) error {
	if !r.pause(struct{}{}) {
		panic(stopped{})
	}
	r.calls++
	if r.outcome == failsBefore {
		r.faulted = true
		return errFault
	}
	effect()
	if r.outcome == failsAfter {
		r.faulted = true
		return errFault
	}
	return nil
}

// CreateGrant implements rotating.Store.
func (r *request) CreateGrant(context.Context, *rotating.Record) error { panic("not called") }

// RotateGrant implements rotating.Store, and says what is to come of it by what happened so far, not by the record.
func (r *request) RotateGrant(_ context.Context, next *rotating.Record, now time.Time) (stands *rotating.Record, err error) {
	m := r.m
	err = r.call(func() {
		generation := next.Generation - 1
		at, used := m.used[generation]
		_, usedNext := m.used[generation+1]
		switch {
		case m.record == nil:
			r.expected = "ended"
			return
		case !used:
			r.expected = "successor"
			m.had[generation], m.used[generation] = next.TokenID, next.IssuedAt
		case !usedNext && now.Sub(at) <= rotating.Grace:
			r.expected = "repeated"
		default:
			r.expected = "reused"
		}
		if m.record.Generation == generation && now.Before(m.record.Ends()) {
			m.record = next
		}
		stands = m.record
	})
	if err == nil && stands == nil {
		err = rotating.ErrNotFound
	}
	return stands, err
}

// DeleteGrant implements rotating.Store.
func (r *request) DeleteGrant(context.Context, string) error {
	return r.call(func() {
		if !r.m.feed {
			r.m.t.Error("the record is deleted before the feed has the grant")
		}
		r.m.record = nil
	})
}

// Append implements revocation.Appender.
func (r *request) Append(_ context.Context, e revocation.Entry) error {
	if e.String() != revocation.Grant("g_1", r.m.now).String() && e.Key != revocation.Grant("g_1", r.m.now).Key {
		r.m.t.Errorf("revoked: %s", e)
	}
	return r.call(func() { r.m.feed = true })
}

func (m *model) start(p *party) {
	m.budget.requests--
	r := &request{id: fmt.Sprintf("t%d", m.budget.requests), party: p, held: p.held, started: m.now, m: m}
	r.proceed, r.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if v := recover(); v != nil && v != (stopped{}) {
				panic(v)
			}
		}()
		r.pause = yield
		next := *r.held
		next.Generation++
		next.ID, next.IssuedAt, next.ExpiresAt = r.id, r.started, r.started.Add(time.Hour)
		g := rotating.Grants{Store: r, Revocations: r, Now: func() time.Time { return r.started }}
		r.got, r.err = g.Rotate(context.Background(), r.held, &next)
	})
	r.proceed() // to its first store call
	m.under = append(m.under, r)
}

// step lets a request make its next store call, and takes in its answer if it has one then.
func (m *model) step(r *request, o outcome, lost bool) {
	r.outcome = o
	if o != works {
		m.budget.faults--
	}
	if _, more := r.proceed(); more {
		return
	}
	m.under = slices.DeleteFunc(m.under, func(other *request) bool { return other == r })
	r.stop()
	m.judge(r)
	if lost {
		m.budget.lost--
		return
	}
	if r.err == nil && r.got.Generation > r.party.held.Generation {
		r.party.held = r.got
	}
}

// judge looks at an answer.
func (m *model) judge(r *request) {
	m.t.Helper()
	var bad *token.InvalidError
	said := "outage"
	switch {
	case r.err == nil:
		said = r.expected // successor or repeated, or the test fails below
		if id := m.had[r.held.Generation]; r.got.ID != id || r.got.Generation != r.held.Generation+1 {
			m.t.Errorf("the successor of generation %d is %s of %d; it was %s before", r.held.Generation, r.got.ID, r.got.Generation, id)
		}
		if r.expected == "successor" != (r.got.ID == r.id) {
			m.t.Errorf("%s: got %s, and is the request %s", r.expected, r.got.ID, r.id)
		}
		if !r.got.IssuedAt.Equal(m.used[r.held.Generation]) || !r.got.ExpiresAt.Equal(r.got.IssuedAt.Add(time.Hour)) {
			m.t.Errorf("%s lasts from %v to %v", r.got.ID, r.got.IssuedAt, r.got.ExpiresAt)
		}
		if r.expected == "reused" || r.expected == "ended" {
			m.t.Errorf("renewed, though it is %s", r.expected)
		}
	case errors.As(r.err, &bad):
		said = string(bad.Reason)
		if said != r.expected {
			m.t.Errorf("answered %v; want %s", r.err, r.expected)
		}
		if said == "reused" && (!m.feed || m.record != nil) {
			m.t.Errorf("reused: in the feed %v, the record %+v", m.feed, m.record)
		}
		if len(m.parties) == 1 && !r.party.late {
			m.t.Errorf("a client that did nothing wrong is told %v", r.err)
		}
	case !errors.Is(r.err, errFault):
		m.t.Errorf("an outage of another kind: %v", r.err)
	}
	if r.faulted != (said == "outage") {
		m.t.Errorf("answered %s, and a call failed: %v", said, r.faulted)
	}
	m.happened[said] = true
}

// pass moves the clock, and sees who is late by it.
func (m *model) pass(d time.Duration) {
	m.now = m.now.Add(d)
	for _, p := range m.parties {
		at, used := m.used[p.held.Generation]
		if used && m.now.Sub(at) > rotating.Grace {
			p.late = true
			m.happened["late"] = true
		}
	}
}

// state is all that what is to come depends on.
func (m *model) state() string {
	var s strings.Builder
	fmt.Fprint(&s, m.now.Unix(), m.record, m.feed, m.had, m.budget)
	for _, p := range m.parties {
		fmt.Fprint(&s, " party ", p.held.Generation, p.held.ID, p.late)
	}
	for _, r := range m.under {
		fmt.Fprint(&s, " request ", r.id, r.held.Generation, r.held.ID, slices.Index(m.parties, r.party), r.started.Unix(), r.calls, r.expected)
	}
	return s.String()
}

// runModel is one run; it ends where the state was seen in another one.
func runModel(t *testing.T, b budget, thief bool, choose func(n int) (int, bool), seen, happened map[string]bool) {
	m := &model{t: t, now: time.Unix(1_790_000_000, 0), had: map[int64]string{}, used: map[int64]time.Time{}, budget: b, happened: happened}
	first := &token.Refresh{
		Grant: token.Grant{GrantID: "g_1"}, ID: "t-first", Generation: 1, Mode: token.ModeRotating,
		IssuedAt: m.now, ExpiresAt: m.now.Add(time.Hour),
	}
	m.record = rotating.Of(first)
	m.parties = []*party{{held: first}}
	if thief {
		m.parties = append(m.parties, &party{held: first})
	}
	defer func() {
		for _, r := range m.under {
			r.stop()
		}
	}()
	for {
		var actions []func()
		for _, p := range m.parties {
			if m.budget.requests > 0 && m.may(p) {
				actions = append(actions, func() { m.start(p) })
			}
		}
		for _, r := range m.under {
			actions = append(actions, func() { m.step(r, works, false) })
			if m.budget.lost > 0 {
				actions = append(actions, func() { m.step(r, works, true) })
			}
			if m.budget.faults > 0 {
				actions = append(actions, func() { m.step(r, failsBefore, false) }, func() { m.step(r, failsAfter, false) })
			}
		}
		if m.budget.ticks > 0 {
			actions = append(actions, func() { m.budget.ticks--; m.pass(10 * time.Second) })
		}
		if m.budget.jumps > 0 && len(m.under) == 0 {
			actions = append(actions, func() { m.budget.jumps--; m.pass(rotating.Grace + time.Second) })
		}
		if len(m.under) == 0 {
			m.inTheEnd()
		}
		if len(actions) == 0 {
			return
		}
		choice, isNew := choose(len(actions))
		actions[choice]()
		if t.Failed() {
			t.FailNow()
		}
		if !isNew {
			continue
		}
		state := m.state()
		if seen[state] {
			return
		}
		seen[state] = true
	}
}

// may reports whether a party begins another request: all with the same token, and where there is one party, from two places
// at once.
func (m *model) may(p *party) bool {
	n := 0
	for _, r := range m.under {
		if r.party != p {
			continue
		}
		if n++; r.held != p.held {
			return false
		}
	}
	return n < 3-len(m.parties)
}

// inTheEnd checks, with nothing under way and the store at work again, what each party would get.
func (m *model) inTheEnd() {
	m.t.Helper()
	for _, p := range m.parties {
		at, used := m.used[p.held.Generation]
		_, usedNext := m.used[p.held.Generation+1]
		live := !used || !usedNext && m.now.Sub(at) <= rotating.Grace
		probe := &model{
			t: m.t, now: m.now, record: m.record, feed: m.feed, had: clone(m.had), used: clone(m.used), parties: m.parties,
			budget: budget{requests: 1000}, happened: map[string]bool{},
		}
		probe.start(&party{held: p.held, late: p.late})
		r := probe.under[0]
		for len(probe.under) > 0 {
			probe.step(r, works, false)
		}
		if live && m.record != nil && r.err != nil || m.record == nil && r.err == nil {
			m.t.Errorf("in the end: %v, of record %+v", r.err, m.record)
		}
		if len(m.parties) == 1 && !p.late && (r.err != nil || m.feed) {
			m.t.Errorf("the client is locked out: %v, in the feed %v", r.err, m.feed)
		}
		if r.err != nil && !probe.feed {
			m.t.Errorf("%v, and the feed does not have the grant", r.err)
		}
	}
}

func clone[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
