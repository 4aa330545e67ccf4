// Package backoff slows down the guessing of passwords. It knows names, clients and addresses by keyed hashes alone, and
// counts for a name whether or not there is such a user, so that neither its answers nor its store tell which names exist.
//
// A try is counted before the password is looked at, and given back if it was right: tries made at once can't all pass
// before the first has failed. Each count is one item, changed by one conditional write.
//
//	try, err := limiter.Begin(ctx, backoff.Who{Name: name, Client: client, Source: address})
//	…
//	try.Succeeded(ctx)
package backoff

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Count is how many tries are counted under a key. The zero value is no count at all.
type Count struct {
	N       int64
	Next    time.Time // when the next try may be made, in whole seconds; zero: at once
	Expires time.Time // when it is forgotten, in whole seconds
}

// Store keeps counts. Each method is one write of one item, or a read that sees the last write.
type Store interface {
	// Tries returns what stands under a key.
	Tries(ctx context.Context, key string) (Count, error)
	// AddTry counts one more, until a new time of expiry, if less than most is counted. Otherwise, or if what stands has
	// expired by now, it changes nothing, and returns what stands and false.
	AddTry(ctx context.Context, key string, most int64, now, expires time.Time) (Count, bool, error)
	// SwapTries puts one count in place of another, and returns false if that is not what stands.
	SwapTries(ctx context.Context, key string, seen, next Count) (bool, error)
	// TakeTry counts one less, if any is counted.
	TakeTry(ctx context.Context, key string) error
	// SetTries puts a count in place of whatever stands; the zero value removes it.
	SetTries(ctx context.Context, key string, c Count) error
}

// Rule says how tries under one kind of key are slowed down: beyond Free of them, each is followed by a wait, the first by
// First, the next by twice that, and so on up to Most. They are forgotten when there was none for Memory.
type Rule struct {
	Free                int64
	First, Most, Memory time.Duration
}

// The rules. docs/decisions/14-user-sign-in.md has the reasons.
var (
	// pairRule is of one name, tried through one client from one address.
	pairRule = Rule{Free: 5, First: 2 * time.Second, Most: 5 * time.Minute, Memory: 24 * time.Hour}
	// nameRule is of one name, through whatever client and from wherever.
	nameRule = Rule{Free: 50, First: 2 * time.Second, Most: 5 * time.Minute, Memory: 24 * time.Hour}
)

const (
	// Window is how long tries through one client, and from one address, are counted together, whatever the names;
	// WindowTries how many may fail or be under way in it.
	Window      = 10 * time.Second
	WindowTries = 60

	// known is for how long a client and an address through which a user has signed in are known for it: strangers' tries of
	// the name don't count against them.
	known = 30 * 24 * time.Hour
)

// wait is how long after try n the next may be made.
func (r Rule) wait(n int64) time.Duration {
	doublings := n - r.Free - 1
	switch {
	case doublings < 0:
		return 0
	case doublings > 30:
		return r.Most
	}
	return min(r.First<<doublings, r.Most)
}

// Who tries.
type Who struct {
	Name   string // normalised, or whatever was sent in its place
	Client string // authenticated
	Source string // address and port, or an address, as the connection or API Gateway tells it, never a header
}

// WaitError says that a try may not be made yet. It does not depend on whether there is such a user.
type WaitError struct {
	Wait time.Duration
	kind string
}

func (e *WaitError) Error() string { return "back-off: too many tries of one " + e.kind }

// Limiter counts tries. Safe for many goroutines.
type Limiter struct {
	Store Store
	// Key returns the key of the hashes, at least 16 bytes, the same for all processes on one store. It is asked until it has
	// answered once.
	Key func(ctx context.Context) ([]byte, error)
	Now func() time.Time // nil: time.Now

	mu   sync.Mutex
	key  []byte
	full map[string]time.Time // windows that were found full, and their ends: a flood costs no write each
}

// Try is a try under way.
type Try struct {
	// Refused says that the name is tried so often that even the right password is no good. The answer has to be that to a
	// wrong one, after the same time: who has signed in from here before is not refused, and nobody must learn that.
	Refused bool

	limiter *Limiter
	pair    string
	known   string
	given   []string // keys under which it is counted and given back from
}

// Begin counts a try, or returns a *WaitError. Any other error is an outage.
func (l *Limiter) Begin(ctx context.Context, w Who) (*Try, error) {
	now := l.now()
	key, err := l.hashKey(ctx)
	if err != nil {
		return nil, err
	}
	source := network(w.Source)
	window := now.Unix() / int64(Window/time.Second)
	ends := time.Unix((window+1)*int64(Window/time.Second), 0)
	t := &Try{limiter: l, pair: hashOf(key, "pair", w.Name, w.Client, source), known: hashOf(key, "known", w.Name, w.Client, source)}

	windows := []struct{ kind, key string }{
		{"client", hashOf(key, "client", w.Client, strconv.FormatInt(window, 10))},
		{"address", hashOf(key, "address", source, strconv.FormatInt(window, 10))},
	}
	for _, of := range windows {
		if l.isFull(of.key, now) {
			return nil, &WaitError{ends.Sub(now), of.kind}
		}
	}
	wait, err := l.count(ctx, t.pair, pairRule, now)
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		return nil, &WaitError{wait, "name from one address"}
	}
	t.given = append(t.given, t.pair)
	for _, of := range windows {
		_, added, err := l.Store.AddTry(ctx, of.key, WindowTries, now, ends)
		if err == nil && !added {
			l.remember(of.key, ends, now)
			err = &WaitError{ends.Sub(now), of.kind}
		}
		if err != nil {
			return nil, errors.Join(err, t.GiveBack(ctx))
		}
		t.given = append(t.given, of.key)
	}
	name := hashOf(key, "name", w.Name)
	wait, err = l.count(ctx, name, nameRule, now)
	if err != nil {
		return nil, errors.Join(err, t.GiveBack(ctx))
	}
	if wait == 0 {
		t.given = append(t.given, name)
		return t, nil
	}
	before, err := l.Store.Tries(ctx, t.known)
	if err != nil {
		return nil, errors.Join(err, t.GiveBack(ctx))
	}
	t.Refused = !before.Expires.After(now)
	return t, nil
}

// isFull reports whether a window is known to be full. Tries that are given back after that make no room
// that is seen: it is over in seconds.
func (l *Limiter) isFull(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.full[key])
}

// remember keeps windows that are full, which all end together.
func (l *Limiter) remember(key string, ends, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for other, over := range l.full {
		if !now.Before(over) {
			delete(l.full, other)
		}
	}
	if l.full == nil {
		l.full = map[string]time.Time{}
	}
	if len(l.full) < maxFull {
		l.full[key] = ends
	}
}

// maxFull bounds how many full windows are remembered.
const maxFull = 1000

// GiveBack uncounts a try that came to no verdict, as far as that can be done: what stays counted is forgotten in time.
func (t *Try) GiveBack(ctx context.Context) error {
	var errs []error
	for _, key := range t.given {
		errs = append(errs, t.limiter.Store.TakeTry(ctx, key))
	}
	t.given = nil
	return errors.Join(errs...)
}

// Succeeded uncounts a try whose password was right, and all before it of this name from here, from where it is known from
// now on. An error changes nothing for the user, who may sign in.
func (t *Try) Succeeded(ctx context.Context) error {
	t.given = t.given[1:] // the pair's is removed
	return errors.Join(
		t.GiveBack(ctx),
		t.limiter.Store.SetTries(ctx, t.pair, Count{}),
		t.limiter.Store.SetTries(ctx, t.known, Count{N: 1, Expires: seconds(t.limiter.now().Add(known))}),
	)
}

// count counts a try under a rule, or returns how long it has to wait.
func (l *Limiter) count(ctx context.Context, key string, rule Rule, now time.Time) (time.Duration, error) {
	expires := seconds(now.Add(rule.Memory))
	for range 3 {
		stands, added, err := l.Store.AddTry(ctx, key, rule.Free, now, expires)
		if err != nil || added {
			return 0, err
		}
		next := Count{N: stands.N + 1, Expires: expires}
		if !stands.Expires.After(now) {
			next.N = 1
		} else if stands.Next.After(now) {
			return stands.Next.Sub(now), nil
		}
		if wait := rule.wait(next.N); wait > 0 {
			next.Next = seconds(now.Add(wait))
		}
		swapped, err := l.Store.SwapTries(ctx, key, stands, next)
		if err != nil || swapped {
			return 0, err
		}
	}
	// Others try the same at this moment, and one of them was let in.
	return time.Second, nil
}

// seconds rounds up: a count is not forgotten, and no wait over, too soon.
func seconds(t time.Time) time.Time {
	return time.Unix(t.Add(time.Second-1).Unix(), 0)
}

func (l *Limiter) now() time.Time {
	if l.Now != nil {
		return l.Now()
	}
	return time.Now()
}

func (l *Limiter) hashKey(ctx context.Context) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.key != nil {
		return l.key, nil
	}
	key, err := l.Key(ctx)
	if err != nil {
		return nil, err
	}
	if len(key) < 16 {
		return nil, fmt.Errorf("back-off: the key has %d bytes; it must have 16 at least", len(key))
	}
	l.key = key
	return key, nil
}

// hashOf makes the key of a count. Each part goes in with its length, so that no two lists of parts look alike.
func hashOf(key []byte, parts ...string) string {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(p))) // a hash takes all
		h.Write([]byte(p))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// network is the part of an address that one subscriber has: of IPv6, the first 64 bits.
func network(source string) string {
	ip, err := netip.ParseAddr(source)
	if port, e := netip.ParseAddrPort(source); e == nil {
		ip, err = port.Addr(), nil
	}
	if err != nil {
		return "unknown"
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	p, _ := ip.Prefix(64) // which an IPv6 address has
	return p.String()
}
