package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
	"github.com/latchkey-auth/latchkey/pkg/user/usertest"
)

// bench is a limiter with a clock that is set by hand.
type bench struct {
	*testing.T
	*backoff.Limiter
	store *usertest.Store
	now   time.Time
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, store: &usertest.Store{}, now: time.Unix(1_790_000_000, 0)}
	b.Limiter = &backoff.Limiter{
		Store: b.store, Now: func() time.Time { return b.now },
		Key: func(context.Context) ([]byte, error) { return []byte("0123456789abcdef"), nil },
	}
	return b
}

func who(name, source string) backoff.Who {
	return backoff.Who{Name: name, Client: "orders-app", Source: source}
}

// fails is a try with a wrong password that is let in.
func (b *bench) fails(w backoff.Who) {
	b.Helper()
	if _, err := b.Begin(b.Context(), w); err != nil {
		b.Fatalf("%+v: %v", w, err)
	}
}

// waits is a try that is told to wait, and for how long.
func (b *bench) waits(w backoff.Who) time.Duration {
	b.Helper()
	_, err := b.Begin(b.Context(), w)
	var wait *backoff.WaitError
	if !errors.As(err, &wait) || wait.Wait <= 0 {
		b.Fatalf("%+v: %v; want that it has to wait", w, err)
	}
	return wait.Wait
}

// succeeds is a try with the right password.
func (b *bench) succeeds(w backoff.Who) {
	b.Helper()
	try, err := b.Begin(b.Context(), w)
	if err != nil || try.Refused {
		b.Fatalf("%+v: %+v, %v", w, try, err)
	}
	if err := try.Succeeded(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// TestWaits guesses the password of one name from one address: five at once, and then ever more slowly.
func TestWaits(t *testing.T) {
	b := newBench(t)
	ada := who("ada", "192.0.2.1:443")
	for range 6 {
		b.fails(ada)
	}
	for _, seconds := range []int{2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300} {
		if got := b.waits(ada); got != time.Duration(seconds)*time.Second {
			t.Fatalf("it waits %s, want %d s", got, seconds)
		}
		b.now = b.now.Add(time.Duration(seconds)*time.Second - time.Millisecond)
		b.waits(ada)
		b.now = b.now.Add(time.Millisecond)
		b.fails(ada)
	}
	b.fails(who("ada", "192.0.2.2:443"))
	b.fails(backoff.Who{Name: "ada", Client: "other-app", Source: "192.0.2.1:443"})
	b.fails(who("bob", "192.0.2.1:443"))

	b.now = b.now.Add(300 * time.Second)
	b.succeeds(ada) // who waits for it gets in, and with that all is forgotten
	for range 6 {
		b.fails(ada)
	}
	b.waits(ada)
	b.now = b.now.Add(24*time.Hour + time.Second)
	for range 6 {
		b.fails(ada)
	}
	b.waits(ada)
}

// TestRightPasswords: signing in costs nothing, however often.
func TestRightPasswords(t *testing.T) {
	b := newBench(t)
	for range 500 {
		b.succeeds(who("ada", "192.0.2.1"))
	}
	if keys := b.store.Keys(); len(keys) > 5 {
		t.Errorf("%d counts are left of one user's sign-ins", len(keys))
	}
}

// TestAtOnce makes guesses at the same moment: no more are let in than one after the other.
func TestAtOnce(t *testing.T) {
	b := newBench(t)
	var in sync.Map
	var done sync.WaitGroup
	for i := range 50 {
		done.Go(func() {
			if _, err := b.Begin(t.Context(), who("ada", "192.0.2.1")); err == nil {
				in.Store(i, true)
			}
		})
	}
	done.Wait()
	n := 0
	in.Range(func(any, any) bool { n++; return true })
	if n != 6 {
		t.Errorf("%d of 50 guesses at once were let in, want 6", n)
	}
}

// TestFromEverywhere guesses one name's password from ever new addresses. Strangers are refused as wrong then, most of the
// time, and who has signed in before is not.
func TestFromEverywhere(t *testing.T) {
	b := newBench(t)
	home := who("ada", "198.51.100.7")
	b.succeeds(home)
	guesses, refused := 0, 0
	for i := range 2000 {
		try, err := b.Begin(t.Context(), who("ada", fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
		switch {
		case err != nil:
			t.Fatal(err)
		case try.Refused:
			refused++
		default:
			guesses++
		}
		if i%100 == 0 {
			b.succeeds(home)
		}
		b.now = b.now.Add(time.Second)
	}
	if guesses > 70 || guesses+refused != 2000 {
		t.Errorf("%d guesses were looked at and %d were not", guesses, refused)
	}
	// A new address gets in once the storm is over, for good is nobody locked out.
	b.now = b.now.Add(5 * time.Minute)
	b.succeeds(who("ada", "203.0.113.9"))
}

// TestSpray tries one password with many names, through one client: each has its first try, and still it takes minutes.
func TestSpray(t *testing.T) {
	for what, source := range map[string]func(i int) string{
		"from one address":   func(int) string { return "192.0.2.1" },
		"from ever new ones": func(i int) string { return fmt.Sprintf("10.1.%d.%d", i/250, i%250) },
		"from one network":   func(i int) string { return fmt.Sprintf("[2001:db8:1:2::%x]:443", i) },
	} {
		b := newBench(t)
		start := b.now
		for i := range 1000 {
			for {
				_, err := b.Begin(t.Context(), who(fmt.Sprintf("user-%d", i), source(i)))
				if err == nil {
					break
				}
				var wait *backoff.WaitError
				if !errors.As(err, &wait) || wait.Wait > backoff.Window {
					t.Fatal(err)
				}
				b.now = b.now.Add(wait.Wait)
			}
		}
		if took := b.now.Sub(start); took < 2*time.Minute {
			t.Errorf("%s: a spray over 1,000 names takes %s", what, took)
		}
	}
}

// TestSource: through many clients, an address is an address, and IPv6 counts by the network.
func TestSource(t *testing.T) {
	b := newBench(t)
	try := func(i int, source string) error {
		_, err := b.Begin(t.Context(), backoff.Who{Name: fmt.Sprint(i), Client: fmt.Sprint("client-", i), Source: source})
		return err
	}
	for i := range backoff.WindowTries {
		if err := try(i, fmt.Sprintf("[2001:db8::%x]:%d", i, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := try(1000, "2001:db8::ffff"); err == nil || !strings.Contains(err.Error(), "one address") {
		t.Errorf("%v; want that the network has to wait", err)
	}
	for i, other := range []string{"2001:db8:0:1::1", "192.0.2.1:1", "::ffff:192.0.2.2", "", "@"} {
		if err := try(2000+i, other); err != nil {
			t.Errorf("%q: %v", other, err)
		}
	}
}

// TestNoName: what is stored tells neither names nor passwords typed in their place, nor anything that can be had without
// the key.
func TestNoName(t *testing.T) {
	b := newBench(t)
	b.fails(who("ada", "192.0.2.1"))
	keys := b.store.Keys()
	b.Limiter = &backoff.Limiter{Store: b.store, Now: b.Now, Key: func(context.Context) ([]byte, error) { return []byte("another key, 16+"), nil }}
	b.fails(who("ada", "192.0.2.1"))
	if all := b.store.Keys(); len(keys) != 4 || len(all) != 8 {
		t.Errorf("%d counts with one key, %d with two", len(keys), len(all))
	}
	for _, key := range keys {
		if len(key) != 43 || strings.Contains(key, "ada") {
			t.Errorf("a count stands under %q", key)
		}
	}
}

// TestOutages: a store or a key that fails is neither a refusal nor a way past, and what was counted is given back.
func TestOutages(t *testing.T) {
	b := newBench(t)
	down := errors.New("it is down")
	for fails := 1; fails <= 4; fails++ {
		calls := 0
		b.store.Fault = func(operation string) error {
			if operation == "AddTry" {
				if calls++; calls == fails {
					return down
				}
			}
			return nil
		}
		for range 20 { // more than would be let in
			calls = 0
			_, err := b.Begin(t.Context(), who("ada", "192.0.2.1"))
			var wait *backoff.WaitError
			if !errors.Is(err, down) || errors.As(err, &wait) {
				t.Fatalf("AddTry fails at its call %d: %v", fails, err)
			}
		}
	}
	b.store.Fault = nil
	for range 6 {
		b.fails(who("ada", "192.0.2.1"))
	}

	asked := 0
	l := &backoff.Limiter{Store: b.store, Key: func(context.Context) ([]byte, error) {
		if asked++; asked == 1 {
			return nil, down
		}
		return make([]byte, 8*asked), nil
	}}
	for want := 1; want <= 3; want++ {
		if _, err := l.Begin(t.Context(), who("bob", "192.0.2.3")); (err == nil) != (want > 1) || asked != min(want, 2) {
			t.Errorf("call %d: %v, after the key was asked for %d times", want, err, asked)
		}
	}
}

// TestFlood: what comes when a client has had its tries costs no call of the store.
func TestFlood(t *testing.T) {
	b := newBench(t)
	for i := range backoff.WindowTries {
		b.fails(who(fmt.Sprint(i), "192.0.2.1"))
	}
	b.waits(who("one more", "192.0.2.1")) // by which it is found out
	b.store.Fault = func(operation string) error {
		t.Errorf("the store is asked: %s", operation)
		return nil
	}
	for i := range 100 {
		b.waits(who(fmt.Sprint("flood-", i), "192.0.2.1"))
	}
	b.store.Fault = nil
	b.now = b.now.Add(backoff.Window)
	b.fails(who("one more", "192.0.2.1"))
}
