package keyring_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

const (
	day       = 24 * time.Hour
	accessCap = time.Hour
)

var schedules = map[keyring.Use]keyring.Schedule{
	keyring.UseAccess:  {Lead: keyring.DefaultAccessLead, Period: 7 * day, Cap: accessCap},
	keyring.UseRefresh: {Lead: keyring.RefreshLead, Period: 7 * day, Cap: 30 * day},
}

// rotator is a process that rotates a ring of the cloud.
func (c *cloud) rotator(use keyring.Use, now func() time.Time) *keyring.Rotator {
	r := &keyring.Rotator{
		Vault: vault{c, use}, Schedule: schedules[use], Revocations: c, Now: now, Log: quiet,
		NewKey: func(_ context.Context, _ string, from time.Time) (keyring.Key, error) {
			return keyring.Generate(keyring.HS256, from)
		},
	}
	if use == keyring.UseAccess {
		r.Public = c
		r.NewKey = func(_ context.Context, _ string, from time.Time) (keyring.Key, error) {
			return keyring.Generate(keyring.EdDSA, from)
		}
	}
	return r
}

// ready is a cloud with first keys.
func ready(t *testing.T, clock *clocktest.Clock) *cloud {
	t.Helper()
	c := newCloud()
	f := c.first()
	f.Now = clock.Now
	if _, err := f.Make(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cloud) ids(use keyring.Use, s keyring.State, now time.Time) (ids []string) {
	for _, k := range c.rings[use].In(s, now) {
		ids = append(ids, k.ID)
	}
	return ids
}

// published fails the test unless what is published is what the private document says.
func (c *cloud) published(t *testing.T, when string) {
	t.Helper()
	want, err := c.rings[keyring.UseAccess].Public()
	if err != nil || c.public == nil || !slices.Equal(want.Keys, c.public.Keys) {
		t.Errorf("%s: published %+v, want %+v, %v", when, c.public, want, err)
	}
}

// TestLife follows both rings from key to key.
func TestLife(t *testing.T) {
	for use, schedule := range schedules {
		var clock clocktest.Clock
		c := ready(t, &clock)
		r := c.rotator(use, clock.Now)
		first := c.rings[use].Keys[0].ID
		expect := func(when string, pending, signing, verifying, retired []string) {
			t.Helper()
			for s, want := range map[keyring.State][]string{
				keyring.StatePending: pending, keyring.StateSigning: signing, keyring.StateVerifying: verifying, keyring.StateRetired: retired,
			} {
				if got := c.ids(use, s, clock.Now()); !slices.Equal(got, want) {
					t.Errorf("%s keys, %s: %s are %v, want %v", use, when, s, got, want)
				}
			}
			c.published(t, when)
		}
		run := func(early bool) string {
			t.Helper()
			done, err := r.Run(ctx, early)
			if err != nil {
				t.Fatal(err)
			}
			return done.Made
		}
		ids := func(list ...string) []string { return list }

		clock.Move(schedule.Period - time.Second)
		if made := run(false); made != "" {
			t.Errorf("%s keys: rotated before it was due", use)
		}
		clock.Move(time.Second)
		second := run(false)
		expect("due", ids(second), ids(first), nil, nil)
		for _, early := range []bool{false, true} {
			if made := run(early); made != "" {
				t.Errorf("%s keys: rotated while a key is pending", use)
			}
		}
		clock.Move(schedule.Lead - time.Second)
		expect("before the lead is over", ids(second), ids(first), nil, nil)
		clock.Move(time.Second)
		expect("once the lead is over", nil, ids(second), ids(first), nil)
		clock.Move(schedule.Cap + keyring.MaxStale + 5*time.Second)
		expect("at the last token's end", nil, ids(second), ids(first), nil)
		clock.Move(5 * time.Minute)
		expect("after it", nil, ids(second), nil, ids(first))
		if use == keyring.UseAccess {
			if made := run(false); made != "" {
				t.Errorf("%s keys: rotated before it was due", use)
			}
			expect("after the next run", nil, ids(second), nil, nil)
			third := run(true)
			expect("early", ids(third), ids(second), nil, nil)
		}
	}
}

// TestCapGrows: a deployment whose cap grows while a key is pending lets the outgoing one verify for longer.
func TestCapGrows(t *testing.T) {
	var clock clocktest.Clock
	c := ready(t, &clock)
	r := c.rotator(keyring.UseAccess, clock.Now)
	if _, err := r.Run(ctx, true); err != nil {
		t.Fatal(err)
	}
	before := c.rings[keyring.UseAccess].Keys[0].VerifyUntil
	r.Schedule.Cap -= time.Minute
	if _, err := r.Run(ctx, false); err != nil || c.rings[keyring.UseAccess].Keys[0].VerifyUntil != before {
		t.Errorf("a smaller cap changed the end, %v", err)
	}
	r.Schedule.Cap = 3 * accessCap
	if _, err := r.Run(ctx, false); err != nil {
		t.Fatal(err)
	}
	if got := c.rings[keyring.UseAccess].Keys[0].VerifyUntil - before; got != int64(2*accessCap/time.Second) {
		t.Errorf("the end moved by %d s", got)
	}
	c.published(t, "with a larger cap")
}

// TestDies ends a run before and after each of its calls' effects, in both rings, on schedule and in an emergency, and lets
// the next one go on.
func TestDies(t *testing.T) {
	for use := range schedules {
		for _, emergency := range []bool{false, true} {
			for _, later := range []bool{false, true} {
				steps := 0
				for alive := false; !alive; steps++ {
					name := fmt.Sprintf("%s, emergency %v, after the effect %v, step %d", use, emergency, later, steps+1)
					var clock clocktest.Clock
					c := ready(t, &clock)
					clock.Move(schedules[use].Period)
					run := func() (keyring.Rotated, error) {
						if emergency {
							return c.rotator(use, clock.Now).Emergency(ctx)
						}
						return c.rotator(use, clock.Now).Run(ctx, false)
					}
					old := c.rings[use].Keys[0].ID
					c.calls, c.dieAt, c.dieLater = 0, steps+1, later
					_, err := run()
					if alive = err == nil; !alive && !errors.Is(err, errDied) {
						t.Fatalf("%s: %v", name, err)
					}
					// What may sign sometime is published, whatever comes later.
					for _, k := range c.rings[use].Keys {
						if use == keyring.UseAccess && !slices.ContainsFunc(c.public.Keys, func(p keyring.PublicKey) bool { return p.JWK.ID == k.ID }) {
							t.Errorf("%s: key %s is in use and not published", name, k.ID)
						}
					}
					c.dieAt = 0
					clock.Move(time.Minute)
					if _, err := run(); err != nil {
						t.Fatalf("%s: the next run: %v", name, err)
					}
					now := clock.Now()
					if n := len(c.rings[use].Keys); n != 2 {
						t.Errorf("%s: %d keys, want one more than before", name, n)
					}
					if use == keyring.UseAccess {
						// The key of the run that died may be published until it can't be committed any more.
						clock.Move(time.Hour)
						if _, err := c.rotator(use, clock.Now).Run(ctx, false); err != nil {
							t.Fatal(err)
						}
						c.published(t, name)
					}
					if !emergency {
						if got := c.ids(use, keyring.StatePending, now); len(got) != 1 {
							t.Errorf("%s: pending are %v", name, got)
						}
						continue
					}
					if got := c.ids(use, keyring.StateSigning, now); len(got) != 1 || got[0] == old {
						t.Errorf("%s: signing are %v", name, got)
					}
					c.refuses(t, name, revocation.Facts{KeyID: old, AuthTime: now.Add(day)})
				}
				if steps < 3 {
					t.Errorf("%s, emergency %v: only %d steps", use, emergency, steps)
				}
			}
		}
	}
}

// refuses fails the test if what was said to the feed lets a token through.
func (c *cloud) refuses(t *testing.T, name string, f revocation.Facts) {
	t.Helper()
	set := revocation.NewSet()
	for _, e := range c.revoked {
		set.Add(e)
	}
	if set.Revoked(&f) == "" {
		t.Errorf("%s: the feed does not refuse %+v", name, f)
	}
}

func TestAtOnce(t *testing.T) {
	for use := range schedules {
		for _, emergency := range []bool{false, true} {
			var clock clocktest.Clock
			c := ready(t, &clock)
			clock.Move(schedules[use].Period)
			var all sync.WaitGroup
			var mu sync.Mutex
			made := 0
			for range 8 {
				all.Go(func() {
					r := c.rotator(use, clock.Now)
					run := func() (keyring.Rotated, error) { return r.Run(ctx, true) }
					if emergency {
						run = func() (keyring.Rotated, error) { return r.Emergency(ctx) }
					}
					done, err := run()
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Error(err)
					}
					if done.Made != "" {
						made++
					}
				})
			}
			all.Wait()
			if n := len(c.rings[use].Keys); n != 2 || made != 1 {
				t.Errorf("%s, emergency %v: %d keys, %d runs made one", use, emergency, n, made)
			}
			c.published(t, "after eight runs at once")
		}
	}
}

// TestFeedFirst: nothing changes before the feed has been told, and nothing does if it can't be.
func TestFeedFirst(t *testing.T) {
	var clock clocktest.Clock
	for use := range schedules {
		c := ready(t, &clock)
		if _, err := c.rotator(use, clock.Now).Run(ctx, true); err != nil { // a pending one is published, and told of too
			t.Fatal(err)
		}
		kids := []string{c.rings[use].Keys[0].ID, c.rings[use].Keys[1].ID}
		clock.Move(time.Minute)
		written := false
		c.before = func(call string) {
			if strings.HasPrefix(call, "replace") || call == "put public" {
				written = true
				for _, kid := range kids {
					c.refuses(t, "before "+call, revocation.Facts{KeyID: kid, AuthTime: clock.Now().Add(day)})
				}
				if use == keyring.UseRefresh {
					c.refuses(t, "before "+call, revocation.Facts{AuthTime: clock.Now().Add(time.Minute)})
				}
			}
		}
		if _, err := c.rotator(use, clock.Now).Emergency(ctx); err != nil || !written {
			t.Fatalf("%v, written: %v", err, written)
		}
		if use == keyring.UseAccess && len(c.revoked) != 2 {
			t.Errorf("an emergency of access keys said %v", c.revoked)
		}
		if got := c.ids(use, keyring.StateRetired, clock.Now()); !slices.Equal(got, kids) {
			t.Errorf("retired are %v, want %v", got, kids)
		}
		for _, k := range c.public.JWKS(clock.Now()).Keys {
			if slices.Contains(kids, k.ID) {
				t.Errorf("key %s is still in the JWKS", k.ID)
			}
		}
		c.published(t, "after an emergency")
		// Its keys are dropped by the next run, which makes none.
		if done, err := c.rotator(use, clock.Now).Run(ctx, false); err != nil || done.Made != "" || !slices.Equal(done.Dropped, kids) {
			t.Errorf("the next run: %+v, %v", done, err)
		}
		// Later it is another emergency.
		clock.Move(10 * time.Minute)
		if done, err := c.rotator(use, clock.Now).Emergency(ctx); err != nil || done.Made == "" {
			t.Errorf("another emergency: %+v, %v", done, err)
		}
	}
	c := ready(t, &clock)
	r := c.rotator(keyring.UseAccess, clock.Now)
	r.Revocations = nil
	if _, err := r.Emergency(ctx); err == nil || len(c.rings[keyring.UseAccess].Keys) != 1 {
		t.Errorf("without a feed: %v", err)
	}
}

// TestOvertaken has an emergency come between any two steps of a run: nothing of what it ended comes back.
func TestOvertaken(t *testing.T) {
	for _, moment := range []string{"read access", "read public", "load access", "put public", "replace access"} {
		var clock clocktest.Clock
		c := ready(t, &clock)
		old := c.rings[keyring.UseAccess].Keys[0].ID
		c.before = func(call string) {
			if call == moment {
				c.before = nil
				if _, err := c.rotator(keyring.UseAccess, clock.Now).Emergency(ctx); err != nil {
					t.Error(err)
				}
			}
		}
		if _, err := c.rotator(keyring.UseAccess, clock.Now).Run(ctx, true); err != nil {
			t.Errorf("%s: %v", moment, err)
		}
		for _, s := range []keyring.State{keyring.StatePending, keyring.StateSigning, keyring.StateVerifying} {
			if slices.Contains(c.ids(keyring.UseAccess, s, clock.Now()), old) {
				t.Errorf("%s: the key that was ended is %s", moment, s)
			}
		}
		c.published(t, moment)
	}
}

// TestTooLate: a run that hangs for long between its steps does not take its key into use.
func TestTooLate(t *testing.T) {
	var clock clocktest.Clock
	c := ready(t, &clock)
	c.before = func(call string) {
		if call == "put public" {
			c.beforeOne.Do(func() { clock.Move(keyring.CommitWithin + 2*time.Second) })
		}
	}
	if _, err := c.rotator(keyring.UseAccess, clock.Now).Run(ctx, true); !errors.Is(err, keyring.ErrTooLate) {
		t.Errorf("got %v, want ErrTooLate", err)
	}
	if n := len(c.rings[keyring.UseAccess].Keys); n != 1 {
		t.Errorf("%d keys", n)
	}
}

// TestRetire: a key is given up before it is forgotten, and not forgotten if that fails.
func TestRetire(t *testing.T) {
	var clock clocktest.Clock
	c := ready(t, &clock)
	r := c.rotator(keyring.UseAccess, clock.Now)
	old := c.rings[keyring.UseAccess].Keys[0].ID
	var fails error
	var given []string
	r.Retire = func(_ context.Context, k keyring.Key) error {
		given = append(given, k.ID)
		return fails
	}
	if _, err := r.Run(ctx, true); err != nil {
		t.Fatal(err)
	}
	clock.Move(2 * day)
	if given != nil {
		t.Errorf("%v were given up before their time", given)
	}
	fails = errors.New("denied")
	if done, err := r.Run(ctx, false); err != nil || done.Dropped != nil || len(c.rings[keyring.UseAccess].Keys) != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	fails = nil
	if done, err := r.Run(ctx, false); err != nil || !slices.Equal(done.Dropped, []string{old}) || !slices.Equal(given, []string{old, old}) {
		t.Errorf("%+v, %v, given up %v", done, err, given)
	}
}

func TestCheck(t *testing.T) {
	es, hs := generated()[keyring.ES256], generated()[keyring.HS256]
	for use, key := range map[keyring.Use]keyring.Key{keyring.UseAccess: es, keyring.UseRefresh: hs} {
		if err := keyring.Check(ctx, document(use, key), nil, start); err != nil {
			t.Errorf("%s: %v", use, err)
		}
	}
	other, err := keyring.Generate(keyring.ES256, start)
	if err != nil {
		t.Fatal(err)
	}
	other.ID = "other"
	inKMS := kmsKey(t, es)
	wrong := func(keyring.Key) (keyring.Signer, error) {
		return newSource(t, document(keyring.UseAccess, other)).SigningKey(ctx)
	}
	if err := keyring.Check(ctx, document(keyring.UseAccess, inKMS), wrong, start); err == nil {
		t.Error("a key in KMS that signs by another passed")
	}
	if err := keyring.Check(ctx, document(keyring.UseAccess, inKMS), nil, start); err == nil {
		t.Error("a key in KMS passed without KMS")
	}
}

// kmsKey is the key as if its private half were in KMS.
func kmsKey(t *testing.T, k keyring.Key) keyring.Key {
	t.Helper()
	private, err := x509.ParsePKCS8PrivateKey(k.Private)
	if err != nil {
		t.Fatal(err)
	}
	made, err := keyring.FromKMS("arn:x", k.Algorithm, pkix(t, private.(crypto.Signer).Public()), start)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

var errBroken = errors.New("the keys can't be read")

// TestUnderLoad lives through six weeks: signers that read their keys every five minutes, one of which can't for an hour
// now and then, verifiers that keep a JWKS for two hours, whatever comes, tokens that live as long as the caps allow, and
// rotate runs, each second one of which dies somewhere.
func TestUnderLoad(t *testing.T) {
	const caches = 5
	var clock clocktest.Clock
	c := ready(t, &clock)
	type token struct {
		kid       string
		input     string
		signature []byte
	}
	ends := map[int64][]token{} // by minute
	refreshEnds := map[int64][]token{}
	broken := false
	source := func(use keyring.Use, breaks bool) *keyring.Source {
		return keyring.NewSource(keyring.SourceConfig{Now: clock.Now, Log: quiet, Load: func(context.Context) (*keyring.Document, error) {
			if breaks && broken {
				return nil, errBroken
			}
			return c.rings[use], nil
		}})
	}
	access := []*keyring.Source{source(keyring.UseAccess, false), source(keyring.UseAccess, true)}
	refresh := []*keyring.Source{source(keyring.UseRefresh, false), source(keyring.UseRefresh, true)}
	jwks := make([]*keyring.KeySet, caches)
	failed, verified := 0, 0
	verify := func(k keyring.VerificationKey, err error, tok token, what string) {
		if errors.Is(err, errBroken) {
			return // who can't know yet says so, and is asked again
		}
		if err == nil {
			err = k.Verify(tok.input, tok.signature)
		}
		verified++
		if err != nil && failed < 10 {
			t.Errorf("%s, %s: key %s: %v", clock.Now(), what, tok.kid, err)
		}
		if err != nil {
			failed++
		}
	}
	kids := map[string]bool{}
	// handover reports whether a key begins or has just begun to sign: then each minute counts.
	handover := func() bool {
		for use := range schedules {
			for _, k := range c.rings[use].Keys {
				if since := clock.Now().Unix() - k.SignsFrom; since >= -120 && since < 480 && k.SignsFrom != k.Published {
					return true
				}
			}
		}
		return false
	}
	const minutes = 45 * 24 * 60
	for minute := range int64(minutes) {
		// One signer can't read its keys for 55 minutes of every three hours.
		broken = minute%180 >= 60 && minute%180 < 110
		for i := range jwks {
			if minute%120 == int64(24*i) || jwks[i] == nil {
				set, err := json.Marshal(c.public.JWKS(clock.Now()))
				if err != nil {
					t.Fatal(err)
				}
				if jwks[i], err = keyring.ParseJWKS(set); err != nil {
					t.Fatal(err)
				}
			}
		}
		if minute%60 == 7 {
			for use := range schedules {
				c.calls, c.dieAt, c.dieLater = 0, 0, minute%120 == 7
				if minute/60%2 == 1 {
					c.dieAt = int(minute / 120 % 12)
				}
				if _, err := c.rotator(use, clock.Now).Run(ctx, false); err != nil && !errors.Is(err, errDied) {
					t.Fatal(err)
				}
				c.dieAt = 0
			}
		}
		if minute%31 == 0 || handover() {
			for i := range access {
				for use, s := range map[keyring.Use]*keyring.Source{keyring.UseAccess: access[i], keyring.UseRefresh: refresh[i]} {
					k, err := s.SigningKey(ctx)
					if errors.Is(err, errBroken) {
						continue
					}
					if err != nil {
						t.Fatalf("%s: %v", clock.Now(), err)
					}
					tok := token{kid: k.ID, input: fmt.Sprint("input ", minute)}
					if tok.signature, err = k.Sign(ctx, []byte(tok.input)); err != nil {
						t.Fatal(err)
					}
					kids[k.ID] = true
					end := minute + int64(schedules[use].Cap/time.Minute)
					if use == keyring.UseAccess {
						ends[end] = append(ends[end], tok)
						for _, set := range jwks {
							key, err := set.Key(tok.kid)
							verify(key, err, tok, "a new access token")
						}
						continue
					}
					refreshEnds[end] = append(refreshEnds[end], tok)
					for _, v := range refresh {
						key, err := v.VerificationKey(ctx, tok.kid)
						verify(key, err, tok, "a new refresh token")
					}
				}
			}
		}
		for _, tok := range ends[minute] {
			for _, set := range jwks {
				key, err := set.Key(tok.kid)
				verify(key, err, tok, "an access token that ends")
			}
		}
		for _, tok := range refreshEnds[minute] {
			for _, v := range refresh {
				key, err := v.VerificationKey(ctx, tok.kid)
				verify(key, err, tok, "a refresh token that ends")
			}
		}
		delete(ends, minute)
		delete(refreshEnds, minute)
		clock.Move(time.Minute)
	}
	if failed > 0 || verified < 20_000 {
		t.Errorf("%d of %d verifications failed", failed, verified)
	}
	if len(kids) < 10 { // six weeks, two rings
		t.Errorf("only %d keys signed", len(kids))
	}
	if n := len(c.rings[keyring.UseAccess].Keys); n > 3 {
		t.Errorf("%d access keys are kept", n)
	}
}

// TestRevokedKeySignsNoMore: a signer that hears of an emergency reads its keys again before their time.
func TestRevokedKeySignsNoMore(t *testing.T) {
	var clock clocktest.Clock
	c := ready(t, &clock)
	reads := 0
	document := c.rings[keyring.UseAccess]
	s := keyring.NewSource(keyring.SourceConfig{
		Now: clock.Now, Log: quiet,
		Load: func(context.Context) (*keyring.Document, error) { reads++; return document, nil },
		Revoked: func(_ context.Context, kid string) bool {
			set := revocation.NewSet()
			for _, e := range c.revoked {
				set.Add(e)
			}
			return set.Revoked(&revocation.Facts{KeyID: kid, AuthTime: clock.Now().Add(day)}) != ""
		},
	})
	old, err := s.SigningKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	clock.Move(time.Minute)
	done, err := c.rotator(keyring.UseAccess, clock.Now).Emergency(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // the new document is not seen yet
		if k, err := s.SigningKey(ctx); err == nil {
			t.Errorf("key %s signs", k.ID)
		}
	}
	if reads != 2 {
		t.Errorf("%d reads, want one more", reads)
	}
	document = c.rings[keyring.UseAccess]
	clock.Move(11 * time.Second)
	if k, err := s.SigningKey(ctx); err != nil || k.ID != done.Made || k.ID == old.ID {
		t.Errorf("key %s signs, %v, want %s", k.ID, err, done.Made)
	}
}
