package user_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
	"github.com/latchkey-auth/latchkey/pkg/user/usertest"
)

// quick are parameters that take no time.
var quick = user.Params{Memory: 64, Time: 1, Threads: 1}

const password = "correct horse battery"

// desk is an Authenticator with a store in memory, and a clock that is set by hand.
type desk struct {
	*testing.T
	*user.Authenticator
	store *usertest.Store
	users *user.Registry
	now   time.Time
	log   bytes.Buffer
}

// newDesk has the users ada and bob, of whom bob is disabled.
func newDesk(t *testing.T, change func(*user.AuthenticatorConfig)) *desk {
	d := &desk{T: t, store: &usertest.Store{}, now: time.Unix(1_790_000_000, 0)}
	now := func() time.Time { return d.now }
	d.users = &user.Registry{Store: d.store, Now: now}
	for _, name := range []string{"ada", "bob"} {
		if _, err := d.users.Create(t.Context(), user.Spec{Username: name, Scopes: oauth.Scope{"orders:read"}, Password: password}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.users.SetDisabled(t.Context(), "bob", true); err != nil {
		t.Fatal(err)
	}
	c := user.AuthenticatorConfig{
		Users: d.store, Hashes: 2, Params: user.DefaultParams, Now: now, Log: slog.New(slog.NewJSONHandler(&d.log, nil)),
		Backoff: &backoff.Limiter{Store: d.store, Now: now, Key: func(context.Context) ([]byte, error) { return make([]byte, 32), nil }},
	}
	if change != nil {
		change(&c)
	}
	d.Authenticator = user.NewAuthenticator(c)
	return d
}

func credentials(name, password string) user.Credentials {
	return user.Credentials{Username: name, Password: password, Client: "orders-app", Source: "192.0.2.1:443"}
}

// refused checks the answer, and what the log is to say of it.
func (d *desk) refused(c user.Credentials, code oauth.Code, status int, cause string) *oauth.Error {
	d.Helper()
	r, err := d.Authenticate(d.Context(), c)
	var e *oauth.Error
	if !errors.As(err, &e) || r != nil || e.Code != code || e.Status() != status || !strings.Contains(err.Error(), cause) {
		d.Fatalf("%q: %v, %v; want %s (%d) because of %q", c.Username, r, err, code, status, cause)
	}
	return e
}

func TestAuthenticate(t *testing.T) {
	d := newDesk(t, nil)
	for _, name := range []string{"ada", "Ada", "ＡＤＡ"} {
		r, err := d.Authenticate(t.Context(), credentials(name, password))
		if err != nil || r.Username != "ada" || !user.ValidID(r.ID) {
			t.Fatalf("%s: %v, %v", name, r, err)
		}
	}
	answers := map[string]bool{}
	for _, c := range []struct{ name, password, cause string }{
		{"ada", "wrong", "wrong password"}, {"ada", "", "wrong password"}, {"ada", strings.Repeat("x", 10_000), "wrong password"},
		{"bob", password, "disabled"}, {"bob", "wrong password", "wrong password"},
		{"eve", password, "unknown user"}, {"", password, "unknown user"}, {"u_x", password, "unknown user"}, {"two words", "", "unknown user"},
	} {
		e := d.refused(credentials(c.name, c.password), oauth.InvalidGrant, http.StatusBadRequest, c.cause)
		answers[e.Description] = true
	}
	if len(answers) != 1 {
		t.Errorf("the reasons can be told apart: %v", answers)
	}
	for text := range answers {
		if text == "" || strings.Contains(d.log.String()+text, password) {
			t.Errorf("%q, and the log says %s", text, &d.log)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", credentials("ada", password), credentials("ada", password), credentials("ada", password)); strings.Contains(text, password) {
		t.Errorf("credentials are written as %s", text)
	}
	r, err := d.users.Get(t.Context(), "ada")
	if text := fmt.Sprintf("%v %+v %#v", r, r, r); err != nil || strings.Contains(text, "argon2") {
		t.Errorf("a record is written as %s (%v)", text, err)
	}
}

// TestBackoff: known and unknown names are told to wait alike, before their passwords are looked at.
func TestBackoff(t *testing.T) {
	d := newDesk(t, func(c *user.AuthenticatorConfig) { c.Params = quick })
	for _, name := range []string{"ada", "bob", "eve"} {
		for range 6 {
			d.refused(credentials(name, "wrong password"), oauth.InvalidGrant, http.StatusBadRequest, "")
		}
		d.refused(credentials(name, password), oauth.Unavailable, http.StatusTooManyRequests, "back-off")
	}
	d.now = d.now.Add(time.Minute)
	if _, err := d.Authenticate(t.Context(), credentials("ada", password)); err != nil {
		t.Errorf("after a minute: %v", err)
	}

	// Tried from everywhere, a name is refused as though the password were wrong.
	for i := range 60 {
		c := credentials("ada", "wrong password")
		c.Source = fmt.Sprint("10.0.0.", i)
		_, err := d.Authenticate(t.Context(), c)
		if d.now = d.now.Add(time.Second); err == nil {
			t.Fatal("a wrong password was taken")
		}
	}
	elsewhere := credentials("ada", password)
	elsewhere.Source = "203.0.113.9"
	d.refused(elsewhere, oauth.InvalidGrant, http.StatusBadRequest, "back-off: too many tries of one name")
	if _, err := d.Authenticate(t.Context(), credentials("ada", password)); err != nil {
		t.Errorf("from where ada has signed in before: %v", err)
	}
}

// TestRehash: a hash of other parameters than today's is replaced by the next sign-in, which ends no token.
func TestRehash(t *testing.T) {
	d := newDesk(t, func(c *user.AuthenticatorConfig) { c.Params = quick })
	before, err := d.users.Get(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	d.refused(credentials("ada", "wrong password"), oauth.InvalidGrant, http.StatusBadRequest, "wrong password")
	d.store.Fault = func(operation string) error {
		if operation == "UpdateUser" {
			return errors.New("it is down")
		}
		return nil
	}
	sign := func(wantHash string) {
		t.Helper()
		r, err := d.Authenticate(t.Context(), credentials("ada", password))
		if err != nil {
			t.Fatal(err)
		}
		after, err := d.users.Get(t.Context(), "ada")
		if err != nil || r.Epoch != before.Epoch || after.Epoch != before.Epoch || after.PasswordSetAt != before.PasswordSetAt || !strings.Contains(after.Password, wantHash) {
			t.Fatalf("%+v, %v; want %s", *after, err, wantHash)
		}
	}
	sign("m=19456,t=2,p=1")
	if !strings.Contains(d.log.String(), `"user.rehash_failed"`) || !strings.Contains(d.log.String(), "it is down") {
		t.Errorf("the log says %s", &d.log)
	}
	d.store.Fault = nil
	sign("m=64,t=1,p=1")
	d.log.Reset()
	sign("m=64,t=1,p=1")
	if d.log.Len() != 0 {
		t.Errorf("once more, the log says %s", &d.log)
	}
}

// TestRehashOfAnother gives the name to another user while the password is hashed anew: the record that was read must not
// come back with it.
func TestRehashOfAnother(t *testing.T) {
	d := newDesk(t, func(c *user.AuthenticatorConfig) { c.Params = quick })
	var heir *user.Record
	d.store.Fault = func(operation string) (err error) {
		if operation != "UpdateUser" {
			return nil
		}
		d.store.Fault = nil
		if err := d.users.Delete(t.Context(), "ada"); err != nil {
			return err
		}
		heir, err = d.users.Create(t.Context(), user.Spec{Username: "ada", Password: "another horse battery"})
		return err
	}
	if _, err := d.Authenticate(t.Context(), credentials("ada", password)); err != nil {
		t.Fatal(err)
	}
	now, err := d.users.Get(t.Context(), "ada")
	if err != nil || heir == nil || now.ID != heir.ID || now.HasPassword(password) {
		t.Errorf("%+v, %v: it is the user who was deleted", now, err)
	}
}

// TestOutages: an outage is none of the user's doing, and is not counted against the name.
func TestOutages(t *testing.T) {
	d := newDesk(t, func(c *user.AuthenticatorConfig) { c.Params = quick })
	for _, operation := range []string{"User", "AddTry"} {
		d.store.Fault = func(o string) error {
			if o == operation {
				return errors.New("it is down")
			}
			return nil
		}
		for range 20 {
			d.refused(credentials("ada", password), oauth.Unavailable, http.StatusServiceUnavailable, "it is down")
		}
	}
	// What can't be uncounted is no reason to refuse a user.
	d.store.Fault = func(o string) error {
		if o == "SetTries" {
			return errors.New("it is down")
		}
		return nil
	}
	if _, err := d.Authenticate(t.Context(), credentials("ada", password)); err != nil || !strings.Contains(d.log.String(), "user.backoff_failed") {
		t.Errorf("%v; the log says %s", err, &d.log)
	}
}

// TestOverload: more than may hash and wait are told at once to come back, and a caller that goes away is not waited for.
func TestOverload(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{}, 10)
	d := newDesk(t, func(c *user.AuthenticatorConfig) { c.Params, c.Hashes, c.Waiting = quick, 1, 1 })
	d.store.Fault = func(operation string) error {
		if operation == "User" {
			held <- struct{}{}
			<-hold
		}
		return nil
	}
	var done sync.WaitGroup
	sign := func(ctx context.Context) (err error) {
		_, err = d.Authenticate(ctx, credentials("ada", password))
		return err
	}
	done.Go(func() {
		if err := sign(t.Context()); err != nil {
			t.Error(err)
		}
	})
	<-held // one hashes
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- sign(ctx) }()
	for d.Waits() != 2 { // and one waits
		runtime.Gosched()
	}
	for range 5 {
		d.refused(credentials("ada", password), oauth.Unavailable, http.StatusServiceUnavailable, "too many")
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who went away: %v", err)
	}
	close(hold)
	done.Wait()
	if err := sign(t.Context()); err != nil {
		t.Error(err)
	}
}

// BenchmarkRefusals times what is refused, each kind in turn, and compares the distributions: how often, in per cent, a random
// one of a kind takes longer than a random one of a wrong password. 50 is no difference. `-benchtime 1000x` takes a minute.
func BenchmarkRefusals(b *testing.B) {
	store := &usertest.Store{}
	users := &user.Registry{Store: store}
	for _, name := range []string{"ada", "bob"} {
		if _, err := users.Create(b.Context(), user.Spec{Username: name, Password: password}); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := users.SetDisabled(b.Context(), "bob", true); err != nil {
		b.Fatal(err)
	}
	kinds := []struct{ what, name, password string }{
		{"wrong", "ada", "wrong password"}, {"unknown", "eve", "wrong password"}, {"disabled", "bob", password},
	}
	for _, c := range []struct {
		what   string
		step   time.Duration // between one and the next
		before int           // tries that are not counted
		source func(i int) string
		want   oauth.Code
	}{
		{"hashed", time.Hour, 0, nil, oauth.InvalidGrant},
		{"tried-from-everywhere", time.Second, 100, func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }, oauth.InvalidGrant},
		{"told-to-wait", 0, 10, nil, oauth.Unavailable},
	} {
		b.Run(c.what, func(b *testing.B) {
			now := time.Unix(1_790_000_000, 0)
			a := user.NewAuthenticator(user.AuthenticatorConfig{Users: store, Backoff: &backoff.Limiter{
				Store: &usertest.Store{}, Now: func() time.Time { return now }, Key: func(context.Context) ([]byte, error) { return make([]byte, 32), nil },
			}})
			i, took := 0, make([][]float64, len(kinds))
			round := func(counted bool) {
				for n := range kinds {
					k := (n + i) % len(kinds)
					given := credentials(kinds[k].name, kinds[k].password)
					if c.source != nil {
						given.Source = c.source(i)
					}
					start := time.Now()
					_, err := a.Authenticate(b.Context(), given)
					lasted := time.Since(start)
					var e *oauth.Error
					switch {
					case !counted:
					case !errors.As(err, &e) || e.Code != c.want:
						b.Fatalf("%s: %v; want %s", kinds[k].what, err, c.want)
					default:
						took[k] = append(took[k], float64(lasted.Nanoseconds())/1000)
					}
				}
				now, i = now.Add(c.step), i+1
			}
			for range c.before {
				round(false)
			}
			for b.Loop() {
				round(true)
			}
			for k, kind := range kinds {
				slices.Sort(took[k])
				b.ReportMetric(took[k][len(took[k])/2], kind.what+"-median-µs")
				if k > 0 {
					b.ReportMetric(100*longer(took[k], took[0]), kind.what+"-longer-%")
				}
			}
		})
	}
}

// longer is how often one of a takes longer than one of b, where they take the same time half of it; both are sorted.
func longer(a, b []float64) float64 {
	sum := 0.0
	for _, x := range a {
		below, _ := slices.BinarySearch(b, x)
		upTo, _ := slices.BinarySearch(b, math.Nextafter(x, math.Inf(1)))
		sum += float64(below) + float64(upTo-below)/2
	}
	return sum / float64(len(a)*len(b))
}
