package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// door is an Authenticator on a world.
type door struct {
	*world
	*Authenticator
}

func newDoor(t testing.TB) *door {
	w := newWorld(t)
	return &door{w, NewAuthenticator(w, w.clock.Now)}
}

func with(id, secret string) oauth.Credentials {
	return oauth.Credentials{Method: oauth.AuthBasic, ClientID: id, Secret: secret}
}

func (d *door) admits(what, id, secret string) *Record {
	d.t.Helper()
	r, err := d.Authenticate(ctx, with(id, secret))
	if err != nil || r.ID != id {
		d.t.Errorf("%s: got %v, %v", what, r, err)
	}
	return r
}

// refuses fails the test unless the answer is the one that all refusals are, for this cause.
func (d *door) refuses(what, id, secret string, cause error) {
	d.t.Helper()
	d.answers(what, id, secret, oauth.InvalidClient, http.StatusUnauthorized, cause)
}

// unavailable fails the test unless the answer is that of an outage.
func (d *door) unavailable(what, id, secret string, cause error) {
	d.t.Helper()
	d.answers(what, id, secret, oauth.Unavailable, http.StatusServiceUnavailable, cause)
}

func (d *door) answers(what, id, secret string, code oauth.Code, status int, cause error) {
	d.t.Helper()
	r, err := d.Authenticate(ctx, with(id, secret))
	var e *oauth.Error
	if r != nil || !errors.As(err, &e) || e.Code != code || e.Status() != status || !errors.Is(err, cause) {
		d.t.Errorf("%s: got %v, %v, want %s because of %v", what, r, err, code, cause)
	} else if code == oauth.InvalidClient && e.Description != "Client authentication failed." {
		d.t.Errorf("%s: %q tells more than other refusals", what, e.Description)
	}
}

// asked fails the test unless the store was read that often since last asked.
func (d *door) asked(what string, want int) {
	d.t.Helper()
	d.mu().Lock()
	defer d.mu().Unlock()
	if d.reads != want {
		d.t.Errorf("%s: %d reads, want %d", what, d.reads, want)
	}
	d.reads = 0
}

func (d *door) mu() *sync.Mutex { return &d.world.mu }

// wrong is a well-formed secret of nobody's.
func wrong() string {
	text, _ := NewSecret(time.Unix(0, 0))
	return text
}

func TestAuthenticate(t *testing.T) {
	d := newDoor(t)
	secret := d.create("app")
	d.admits("first", "app", secret)
	d.asked("for a client not seen lately", 1)
	for range 100 {
		d.admits("again", "app", secret)
	}
	d.asked("for one seen lately", 0)
	if r, err := d.Authenticate(ctx, oauth.Credentials{Method: oauth.AuthPost, ClientID: "app", Secret: secret}); err != nil || r.ID != "app" {
		t.Errorf("by client_secret_post: %v, %v", r, err)
	}
}

// TestReauthenticate: who has learnt that a record is out of date gets the one of now, which costs a read a second at most.
func TestReauthenticate(t *testing.T) {
	d := newDoor(t)
	secret := d.create("app")
	again := func(what string, epoch int64, reads int) {
		t.Helper()
		r, err := d.Reauthenticate(ctx, with("app", secret))
		if err != nil || r.Epoch != epoch {
			t.Errorf("%s: %v, %v, want epoch %d", what, r, err, epoch)
		}
		d.asked(what, reads)
	}
	d.admits("first", "app", secret)
	d.update("app", func(r *Record) { r.Scopes = nil })
	d.asked("so far", 1+1) // the registry's, besides
	again("just read", 1, 0)
	d.clock.Move(RereadInterval)
	again("a second later", 2, 1)
	again("at once", 2, 0)
	d.update("app", func(r *Record) { r.Disabled = true })
	d.clock.Move(RereadInterval)
	if r, err := d.Reauthenticate(ctx, with("app", secret)); r != nil || !errors.Is(err, errDisabled) {
		t.Errorf("disabled meanwhile: %v, %v", r, err)
	}
	if r, err := d.Reauthenticate(ctx, with("nobody", secret)); r != nil || !errors.Is(err, errUnknown) {
		t.Errorf("unknown: %v, %v", r, err)
	}
}

func TestAuthenticateRefuses(t *testing.T) {
	d := newDoor(t)
	secret := d.create("app")
	gone := d.create("gone")
	d.update("gone", func(r *Record) { r.Disabled = true })
	d.reads = 0
	mistyped := []byte(secret)
	mistyped[20]++

	d.refuses("unknown", "nobody", secret, errUnknown)
	d.refuses("wrong secret", "app", wrong(), errWrongSecret)
	d.refuses("another's secret", "app", gone, errWrongSecret)
	d.refuses("disabled", "gone", gone, errDisabled)
	d.refuses("disabled, wrong secret", "gone", secret, errWrongSecret)
	d.reads = 0
	d.refuses("mistyped", "app", string(mistyped), errMistyped)
	d.refuses("no secret", "app", "", errMistyped)
	d.refuses("the hash", "app", string(hash(secret)), errMistyped)
	d.refuses("mistyped, not seen lately", "other", string(mistyped), errMistyped)
	for _, id := range []string{"", "ab", "App", "app\n", "u_app", "app ", "../app"} {
		d.refuses("no client's id "+id, id, secret, errUnknown)
	}
	d.asked("for what can't be right", 0)
	if r, err := d.Authenticate(ctx, oauth.Credentials{ClientID: "app", Method: oauth.AuthNone}); r != nil || !errors.Is(err, errNoSecret) {
		t.Errorf("no credentials: %v, %v", r, err)
	}
	if r, err := d.Authenticate(ctx, oauth.Credentials{ClientID: "app", Method: oauth.AuthNone, Secret: secret}); r != nil || !errors.Is(err, errNoSecret) {
		t.Errorf("a secret by no method: %v, %v", r, err)
	}
}

// TestChallenge: the challenge belongs to the header, whatever the reason.
func TestChallenge(t *testing.T) {
	d := newDoor(t)
	d.create("app")
	for _, id := range []string{"app", "nobody", "Not an id"} {
		for method, want := range map[oauth.AuthMethod]oauth.Credentials{oauth.AuthBasic: {Method: oauth.AuthBasic}, oauth.AuthPost: {Method: oauth.AuthPost}} {
			_, err := d.Authenticate(ctx, oauth.Credentials{Method: method, ClientID: id, Secret: wrong()})
			if got, want := answer(err), answer(want.Refuse(nil)); got != want {
				t.Errorf("%s by %s: %s, want %s", id, method, got, want)
			}
		}
	}
}

// answer is all that goes out for an error.
func answer(err error) string {
	w := httptest.NewRecorder()
	oauth.WriteError(w, err)
	return fmt.Sprint(w.Code, w.Header(), w.Body)
}

func TestRecordTTL(t *testing.T) {
	d := newDoor(t)
	secret := d.create("app")
	d.admits("first", "app", secret)
	d.update("app", func(r *Record) { r.Name = "changed" })
	d.reads = 0
	d.clock.Move(RecordTTL - 1)
	if r := d.admits("just before the end", "app", secret); r.Name != "An app" {
		t.Errorf("just before the end: %s", r.Name)
	}
	d.asked("just before the end", 0)
	d.clock.Move(1)
	if r := d.admits("at the end", "app", secret); r.Name != "changed" {
		t.Errorf("at the end: %s", r.Name)
	}
	d.asked("at the end", 1)
}

// TestFrozen: what is remembered ages while a Lambda is frozen.
func TestFrozen(t *testing.T) {
	d := newDoor(t)
	d.Authenticator = NewAuthenticator(d.world, d.clock.Frozen)
	secret := d.create("app")
	d.admits("first", "app", secret)
	d.refuses("unknown", "nobody", secret, errUnknown)
	d.reads = 0
	d.clock.Move(RecordTTL)
	d.admits("thawed", "app", secret)
	d.refuses("thawed", "nobody", secret, errUnknown)
	d.asked("thawed", 2)
}

func TestAbsentTTL(t *testing.T) {
	d := newDoor(t)
	for range 100 {
		d.refuses("unknown", "app", wrong(), errUnknown)
	}
	d.asked("while remembered", 1)
	secret := d.create("app")
	d.clock.Move(AbsentTTL - 1)
	d.refuses("just before the end", "app", secret, errUnknown)
	d.asked("just before the end", 0)
	d.clock.Move(1)
	d.admits("at the end", "app", secret)
	d.asked("at the end", 1)
	d.admits("again", "app", secret)
	d.asked("again", 0)
}

// TestProbing: whoever tries wrong secrets again and again can't tell by the time that the answers take which clients there are.
// Not by reads of the store, which take milliseconds, at whatever pace; nor, between those, by the work.
func TestProbing(t *testing.T) {
	d := newDoor(t)
	d.create("app")
	text := wrong()
	reads := func(id string, cause error) int {
		d.reads = 0
		d.refuses(id, id, text, cause)
		return d.reads
	}
	for i, step := range []time.Duration{
		0, 0, RereadInterval / 2, RereadInterval / 2, 0, RereadInterval - 1, 1, RereadInterval, 2 * RereadInterval, 3 * RereadInterval,
		AbsentTTL, AbsentTTL - 1, RecordTTL - 1, RecordTTL, 0,
	} {
		d.clock.Move(step)
		if known, unknown := reads("app", errWrongSecret), reads("nobody", errUnknown); known != unknown {
			t.Errorf("probe %d, %v after the last: %d reads for a client that there is, %d for one that there is not", i, step, known, unknown)
		}
	}
	// A hash of the secret is an allocation.
	allocations := func(id string) float64 {
		c := with(id, text)
		return testing.AllocsPerRun(100, func() { _, _ = d.Authenticate(ctx, c) })
	}
	if known, unknown := allocations("app"), allocations("nobody"); known != unknown {
		t.Errorf("%v allocations for a client that there is, %v for one that there is not", known, unknown)
	}
}

// BenchmarkProbe stands for the time that a refusal takes, whatever its reason.
func BenchmarkProbe(b *testing.B) {
	d := newDoor(b)
	d.create("app")
	for _, id := range []string{"app", "nobody"} {
		b.Run(id, func(b *testing.B) {
			c := with(id, wrong())
			for b.Loop() {
				_, _ = d.Authenticate(ctx, c)
			}
		})
	}
}

// TestNewSecretIsSeen: a secret that was made after the record was read is admitted at once.
func TestNewSecretIsSeen(t *testing.T) {
	d := newDoor(t)
	old := d.create("app")
	d.admits("the old", "app", old)
	_, secret, err := d.registry().RotateSecret(ctx, "app", Rotation{})
	if err != nil {
		t.Fatal(err)
	}
	d.reads = 0
	d.clock.Move(RereadInterval)
	d.admits("the new", "app", secret)
	d.asked("for the new", 1)
	d.refuses("the old, after that", "app", old, errWrongSecret)
	d.asked("within the second", 0)
}

func TestExpiryIsSeen(t *testing.T) {
	d := newDoor(t)
	s := spec("app")
	s.SecretLifetime = 10 * time.Second
	_, secret, err := d.registry().Create(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	d.clock.Move(10*time.Second - 1)
	d.admits("just before its end", "app", secret)
	d.clock.Move(1)
	d.refuses("at its end, though remembered", "app", secret, errWrongSecret)
}

func TestFloodOfWrongSecrets(t *testing.T) {
	d := newDoor(t)
	secret := d.create("app")
	d.admits("first", "app", secret)
	d.reads = 0
	for second := range 3 {
		for range 1000 {
			d.refuses("flood", "app", wrong(), errWrongSecret)
		}
		d.asked(fmt.Sprintf("in second %d", second), min(second, 1)) // the first is that of the first reading
		d.clock.Move(RereadInterval)
	}
	d.clock.Move(-1)
	d.admits("meanwhile", "app", secret)
}

// ticking is a clock that moves at each look: no two goroutines have the same time, and those that wait have an old one.
func (d *door) ticking() time.Time {
	d.clock.Move(time.Microsecond)
	return d.clock.Now()
}

func TestFloodAtOnce(t *testing.T) {
	flood := func(d *door, try func()) {
		d.Authenticator = NewAuthenticator(d.world, d.ticking)
		d.create("app")
		d.refuses("first", "app", wrong(), errWrongSecret)
		d.clock.Move(2 * RereadInterval)
		d.reads = 0
		var all sync.WaitGroup
		for range 1000 {
			all.Go(try)
		}
		all.Wait()
		d.asked("in one flood", 1)
	}
	d := newDoor(t)
	flood(d, func() { d.refuses("flood", "app", wrong(), errWrongSecret) })

	away := errors.New("away")
	o := newDoor(t)
	flood(o, func() {
		o.mu().Lock()
		o.failure = away
		o.mu().Unlock()
		o.unavailable("flood in an outage", "app", wrong(), away)
	})

	gone := newDoor(t)
	flood(gone, func() {
		gone.mu().Lock()
		delete(gone.world.records, "app")
		gone.mu().Unlock()
		if r, err := gone.Authenticate(ctx, with("app", wrong())); r != nil || err == nil {
			t.Errorf("got %v, %v", r, err)
		}
	})
}

func TestOutage(t *testing.T) {
	d := newDoor(t)
	secret := d.create("app")
	away := errors.New("away")
	d.failure = away
	d.unavailable("not seen before", "app", secret, away)
	d.failure = nil
	d.admits("recovered at once", "app", secret)
	d.failure = away
	d.admits("remembered", "app", secret)
	d.clock.Move(RereadInterval)
	d.unavailable("perhaps a newer secret", "app", wrong(), away)
	d.admits("the right one meanwhile", "app", secret)
	d.reads = 0
	for range 100 {
		d.unavailable("perhaps a newer secret", "app", wrong(), away)
	}
	d.asked("within a second of a failure", 0)
	d.clock.Move(RereadInterval)
	d.unavailable("a second later", "app", wrong(), away)
	d.asked("a second later", 1)
	d.clock.Move(RecordTTL)
	d.unavailable("no longer remembered", "app", secret, away)
	d.failure = nil
	d.admits("recovered", "app", secret)
	d.clock.Move(RereadInterval)
	d.refuses("recovered", "app", wrong(), errWrongSecret)
}

func TestDeletedAndDisabled(t *testing.T) {
	d := newDoor(t)
	secret := d.create("app")
	d.admits("first", "app", secret)
	d.update("app", func(r *Record) { r.Disabled = true })
	d.clock.Move(RecordTTL)
	d.refuses("disabled", "app", secret, errDisabled)
	if err := d.registry().Delete(ctx, "app"); err != nil {
		t.Fatal(err)
	}
	d.clock.Move(RecordTTL)
	d.refuses("deleted", "app", secret, errUnknown)
	again := d.create("app")
	d.clock.Move(AbsentTTL)
	d.refuses("the old secret of a new client", "app", secret, errWrongSecret)
	d.admits("the new client", "app", again)
}

// TestDeletionIsRemembered: once found to be gone, a client is not admitted by what is remembered from before.
func TestDeletionIsRemembered(t *testing.T) {
	d := newDoor(t)
	secret := d.create("app")
	d.admits("first", "app", secret)
	if err := d.registry().Delete(ctx, "app"); err != nil {
		t.Fatal(err)
	}
	d.clock.Move(RereadInterval)
	d.refuses("a wrong secret, by which it is noticed", "app", wrong(), errUnknown)
	d.refuses("the right one that was", "app", secret, errUnknown)
	d.clock.Move(AbsentTTL)
	d.refuses("looked for again", "app", secret, errUnknown)
}

func TestClockSetBack(t *testing.T) {
	d := newDoor(t)
	secret := d.create("app")
	d.admits("first", "app", secret)
	d.refuses("unknown", "nobody", secret, errUnknown)
	d.reads = 0
	d.clock.Move(-time.Hour)
	d.admits("set back", "app", secret)
	d.refuses("set back", "nobody", secret, errUnknown)
	d.asked("set back", 2)
	d.admits("and on", "app", secret)
	d.asked("and on", 0)
	again := d.create("nobody")
	d.clock.Move(-time.Hour)
	d.admits("made meanwhile", "nobody", again)
	d.clock.Move(time.Hour)
	d.admits("as late as it was found absent", "nobody", again)
}

func TestMemoryIsBounded(t *testing.T) {
	d := newDoor(t)
	secret := d.create("app")
	d.admits("first", "app", secret)
	for i := range 100_000 {
		id := fmt.Sprint("nobody-", i)
		if _, err := d.Authenticate(ctx, with(id, secret)); !errors.Is(err, errUnknown) {
			t.Fatalf("%s: %v", id, err)
		}
	}
	if len(d.absent) != maxAbsent {
		t.Errorf("%d absent clients are remembered, want %d", len(d.absent), maxAbsent)
	}
	d.reads = 0
	d.admits("who was there before", "app", secret)
	d.asked("for who was there before", 0)

	for i := range maxRecords + 100 {
		id := fmt.Sprint("client-", i)
		r := record()
		r.ID = id
		d.world.records[id] = &Stored{*r, 1}
		if _, err := d.Authenticate(ctx, with(id, secret)); !errors.Is(err, errWrongSecret) {
			t.Fatalf("%s: %v", id, err)
		}
	}
	if got := len(d.Authenticator.records); got != maxRecords {
		t.Errorf("%d clients are remembered, want %d", got, maxRecords)
	}
}
