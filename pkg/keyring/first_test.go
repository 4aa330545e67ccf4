package keyring_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

var errDied = errors.New("the process died")

// cloud is a vault for each ring and the public store. It counts down to a death, after which every call fails; hooks let
// somebody else act right before a call.
type cloud struct {
	mu       sync.Mutex
	rings    map[keyring.Use]*keyring.Document
	public   *keyring.PublicDocument
	revision int64
	revoked  []revocation.Entry

	revisions map[keyring.Use]int // of the rings

	calls     int
	dieAt     int  // the call from which on all fail, without effect; 0: never
	dieLater  bool // that call still has its effect
	before    func(call string)
	beforeOne sync.Once
}

// call begins a call by name.
func (c *cloud) call(name string) (end func(), err error) {
	if c.before != nil {
		c.before(name)
	}
	c.mu.Lock()
	c.calls++
	if c.dieAt != 0 && c.calls >= c.dieAt && (c.calls > c.dieAt || !c.dieLater) {
		c.mu.Unlock()
		return nil, errDied
	}
	return c.mu.Unlock, nil
}

// outcome is that of a call that had its effect.
func (c *cloud) outcome() error {
	if c.calls == c.dieAt {
		return errDied
	}
	return nil
}

type vault struct {
	*cloud
	use keyring.Use
}

func (v vault) Load(context.Context) (*keyring.Document, error) {
	end, err := v.call("load " + string(v.use))
	if err != nil {
		return nil, err
	}
	defer end()
	if v.rings[v.use] == nil {
		return nil, keyring.ErrNoKeys
	}
	return v.rings[v.use], nil
}

func (v vault) Create(_ context.Context, d *keyring.Document) error {
	end, err := v.call("create " + string(v.use))
	if err != nil {
		return err
	}
	defer end()
	if v.rings[v.use] != nil {
		return keyring.ErrKeysExist
	}
	v.rings[v.use] = d
	v.revisions[v.use]++
	return v.outcome()
}

func (v vault) Read(context.Context) (*keyring.Document, string, error) {
	end, err := v.call("read " + string(v.use))
	if err != nil {
		return nil, "", err
	}
	defer end()
	if v.rings[v.use] == nil {
		return nil, "", keyring.ErrNoKeys
	}
	return v.rings[v.use], strconv.Itoa(v.revisions[v.use]), v.outcome()
}

func (v vault) Replace(_ context.Context, d *keyring.Document, revision string) error {
	end, err := v.call("replace " + string(v.use))
	if err != nil {
		return err
	}
	defer end()
	if strconv.Itoa(v.revisions[v.use]) != revision {
		return keyring.ErrConflict
	}
	content, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if d, err = keyring.ParseDocument(content, v.use); err != nil {
		return err
	}
	v.rings[v.use] = d
	v.revisions[v.use]++
	return v.outcome()
}

// Append is the feed's.
func (c *cloud) Append(_ context.Context, e revocation.Entry) error {
	end, err := c.call("append")
	if err != nil {
		return err
	}
	defer end()
	c.revoked = append(c.revoked, e)
	return c.outcome()
}

func (c *cloud) PublicKeys(context.Context) (*keyring.PublicDocument, int64, error) {
	end, err := c.call("read public")
	if err != nil {
		return nil, 0, err
	}
	defer end()
	if c.public == nil {
		return nil, 0, keyring.ErrNoKeys
	}
	return c.public, c.revision, nil
}

func (c *cloud) PutPublicKeys(_ context.Context, d *keyring.PublicDocument, revision int64) error {
	end, err := c.call("put public")
	if err != nil {
		return err
	}
	defer end()
	if revision != c.revision {
		return keyring.ErrConflict
	}
	c.public, c.revision = d, revision+1
	return c.outcome()
}

func newCloud() *cloud {
	return &cloud{rings: map[keyring.Use]*keyring.Document{}, revisions: map[keyring.Use]int{}}
}

func generate(alg keyring.Algorithm) func(context.Context, time.Time) (keyring.Key, error) {
	return func(_ context.Context, from time.Time) (keyring.Key, error) { return keyring.Generate(alg, from) }
}

func (c *cloud) first() *keyring.First {
	return &keyring.First{
		Access: vault{c, keyring.UseAccess}, Refresh: vault{c, keyring.UseRefresh}, Public: c,
		NewAccess: generate(keyring.ES256), NewRefresh: generate(keyring.HS256), Now: new(clocktest.Clock).Now,
	}
}

// complete fails the test unless there is one key a ring, which signs at once, and the public document is of it.
func (c *cloud) complete(t *testing.T) {
	t.Helper()
	for use, alg := range map[keyring.Use]keyring.Algorithm{keyring.UseAccess: keyring.ES256, keyring.UseRefresh: keyring.HS256} {
		d := c.rings[use]
		if d == nil || d.Use != use || len(d.Keys) != 1 || d.Keys[0].Algorithm != alg {
			t.Fatalf("the %s ring is %v", use, d)
		}
		if _, err := keyring.ParseDocument(toJSON(t, d), use); err != nil {
			t.Error(err)
		}
		if k, err := newSource(t, d).SigningKey(ctx); err != nil || k.ID != d.Keys[0].ID {
			t.Errorf("%s: %v signs, %v", use, k, err)
		}
	}
	want, err := c.rings[keyring.UseAccess].Public()
	if err != nil || c.public == nil || !slices.Equal(c.public.Keys, want.Keys) {
		t.Errorf("published %+v, want %+v, %v", c.public, want, err)
	}
}

func TestFirst(t *testing.T) {
	c := newCloud()
	if made, err := c.first().Make(ctx); err != nil || made != (keyring.Made{Access: true, Refresh: true, Public: true}) {
		t.Fatalf("made %+v, %v", made, err)
	}
	c.complete(t)
	access, refresh, revision := c.rings[keyring.UseAccess], c.rings[keyring.UseRefresh], c.revision
	if made, err := c.first().Make(ctx); err != nil || made != (keyring.Made{}) {
		t.Errorf("the second time: made %+v, %v", made, err)
	}
	if c.rings[keyring.UseAccess] != access || c.rings[keyring.UseRefresh] != refresh || c.revision != revision {
		t.Error("the second time changed something")
	}
	c.public = &keyring.PublicDocument{Version: keyring.DocumentVersion}
	if made, err := c.first().Make(ctx); err != nil || made != (keyring.Made{Public: true}) {
		t.Errorf("with another public document: made %+v, %v", made, err)
	}
	c.complete(t)
}

func TestFirstAtOnce(t *testing.T) {
	c := newCloud()
	f := c.first()
	var mu sync.Mutex
	var access, refresh int
	atOnce(func() {
		made, err := f.Make(ctx)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		if made.Access {
			access++
		}
		if made.Refresh {
			refresh++
		}
	})
	c.complete(t)
	if access != 1 || refresh != 1 {
		t.Errorf("%d made the access keys and %d the refresh keys, want one each", access, refresh)
	}
}

// TestFirstIsOvertaken: somebody else's keys come between the look and the creation, and count.
func TestFirstIsOvertaken(t *testing.T) {
	c := newCloud()
	theirs := document(keyring.UseAccess, generated()[keyring.ES256])
	c.before = func(call string) {
		if call == "create access" {
			c.rings[keyring.UseAccess] = theirs
		}
	}
	if made, err := c.first().Make(ctx); err != nil || made != (keyring.Made{Refresh: true, Public: true}) {
		t.Errorf("made %+v, %v", made, err)
	}
	if c.rings[keyring.UseAccess] != theirs {
		t.Error("their keys were replaced")
	}
	c.complete(t)
}

// TestFirstDies lets Make die before each of its steps, and runs it again.
func TestFirstDies(t *testing.T) {
	for step := 1; ; step++ {
		c := newCloud()
		c.dieAt = step
		_, err := c.first().Make(ctx)
		if err == nil {
			if step < 7 {
				t.Errorf("Make takes %d steps only", step-1)
			}
			return
		}
		if !errors.Is(err, errDied) {
			t.Fatalf("step %d: %v", step, err)
		}
		before := c.rings[keyring.UseAccess]
		c.dieAt = 0
		if _, err := c.first().Make(ctx); err != nil {
			t.Errorf("after dying at step %d: %v", step, err)
		}
		c.complete(t)
		if before != nil && c.rings[keyring.UseAccess] != before {
			t.Errorf("after dying at step %d the access keys were replaced", step)
		}
	}
}

// TestFirstDoesNotPublishTheOld: somebody changes the keys and publishes them between any two of Make's steps.
func TestFirstDoesNotPublishTheOld(t *testing.T) {
	for _, moment := range []string{"read public", "load access", "put public"} {
		c := newCloud()
		if _, err := c.first().Make(ctx); err != nil {
			t.Fatal(err)
		}
		c.public = &keyring.PublicDocument{Version: keyring.DocumentVersion} // so that there is something to write
		newer := document(keyring.UseAccess, c.rings[keyring.UseAccess].Keys[0], generated()[keyring.EdDSA])
		published, err := newer.Public()
		if err != nil {
			t.Fatal(err)
		}
		loads := 0
		c.before = func(call string) {
			if call == "load access" {
				loads++
			}
			if call == moment && (moment != "load access" || loads == 2) { // the first only looks whether there is one
				c.beforeOne.Do(func() {
					c.rings[keyring.UseAccess], c.public, c.revision = newer, published, c.revision+1
				})
			}
		}
		if _, err := c.first().Make(ctx); err != nil {
			t.Errorf("%s: %v", moment, err)
		}
		if !slices.Equal(c.public.Keys, published.Keys) {
			t.Errorf("before %q: the older keys were published over the newer", moment)
		}
	}
}

func TestFirstFails(t *testing.T) {
	c := newCloud()
	f := c.first()
	broken := errors.New("broken")
	f.NewRefresh = func(context.Context, time.Time) (keyring.Key, error) { return keyring.Key{}, broken }
	if made, err := f.Make(ctx); !errors.Is(err, broken) || !made.Access || made.Refresh || made.Public {
		t.Errorf("made %+v, %v", made, err)
	}
}

// TestFirstGivesUp: a public document that changes at each look is not fought over for ever.
func TestFirstGivesUp(t *testing.T) {
	c := newCloud()
	c.before = func(call string) {
		if call == "put public" {
			c.revision++
		}
	}
	if _, err := c.first().Make(ctx); !errors.Is(err, keyring.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
}
