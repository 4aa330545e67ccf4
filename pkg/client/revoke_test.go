package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// flaky is a world and its revocations, of whose calls one fails: the one of that number, before it has an effect or after.
type flaky struct {
	*world
	call   int // counts down to the one that fails; 0: none does
	before bool
	said   []revocation.Entry
}

var errAway = errors.New("away")

func (f *flaky) try(effect func() error) error {
	f.call--
	switch {
	case f.call == 0 && f.before:
		return errAway
	case f.call == 0:
		_ = effect()
		return errAway
	}
	return effect()
}

func (f *flaky) Client(c context.Context, id string) (s *Stored, err error) {
	err = f.try(func() (err error) { s, err = f.world.Client(c, id); return err })
	return s, err
}

func (f *flaky) UpdateClient(c context.Context, r *Record, revision int64) error {
	return f.try(func() error { return f.world.UpdateClient(c, r, revision) })
}

func (f *flaky) DeleteClient(c context.Context, id string, revision int64) error {
	return f.try(func() error { return f.world.DeleteClient(c, id, revision) })
}

// Append holds what is said to the record: what it says is ended must not be made of the record any more, or it would come
// back when it is forgotten that it was said.
func (f *flaky) Append(_ context.Context, e revocation.Entry) error {
	return f.try(func() error {
		if r := f.records["app"]; r == nil || r.Epoch < e.N {
			f.t.Errorf("below %d is said, and the record is %+v", e.N, r)
		}
		f.said = append(f.said, e)
		return nil
	})
}

// ending are operations that end tokens, and below which epoch.
var ending = []struct {
	what  string
	below int64 // 0: none
	do    func(*Registry) error
}{
	{"a name", 0, changing(func(r *Record) { r.Name = "x" })},
	{"a scope more", 0, changing(func(r *Record) { r.Scopes = oauth.Scope{"all", "read", "write"} })},
	{"a scope less", 2, changing(func(r *Record) { r.Scopes = r.Scopes[:1] })},
	{"an epoch by hand", 7, changing(func(r *Record) { r.Epoch = 7 })},
	{"disabled", 2, func(g *Registry) error { _, err := g.SetDisabled(ctx, "app", true); return err }},
	{"enabled", 0, func(g *Registry) error { _, err := g.SetDisabled(ctx, "app", false); return err }},
	{"tokens revoked", 2, func(g *Registry) error { _, err := g.RevokeTokens(ctx, "app"); return err }},
	{"a new secret", 0, func(g *Registry) error { _, _, err := g.RotateSecret(ctx, "app", Rotation{}); return err }},
	{"a new secret, tokens revoked", 2, func(g *Registry) error {
		_, _, err := g.RotateSecret(ctx, "app", Rotation{RevokeTokens: true})
		return err
	}},
	{"deleted", 2, func(g *Registry) error { return g.Delete(ctx, "app") }},
}

func changing(change func(*Record)) func(*Registry) error {
	return func(g *Registry) error {
		_, err := g.Update(ctx, "app", func(r *Record) error {
			change(r)
			return nil
		})
		return err
	}
}

// TestTold: what ends tokens is told, by the time of then, and what does not end any is not; also when a race is lost.
func TestTold(t *testing.T) {
	for _, row := range ending {
		f := &flaky{world: newWorld(t)}
		f.create("app")
		handle := f.records["app"].Handle
		f.conflicts = 1
		if err := row.do(&Registry{Store: f, Revocations: f, Now: f.clock.Now}); err != nil {
			t.Errorf("%s: %v", row.what, err)
		}
		var want []revocation.Entry
		if row.below != 0 {
			want = []revocation.Entry{revocation.Below(handle, row.below, f.clock.Now())}
		}
		if diff := cmp.Diff(want, f.said); diff != "" {
			t.Errorf("%s: told (-want +got):\n%s", row.what, diff)
		}
		if r := f.records["app"]; r != nil && (r.Untold || r.Epoch != max(1, row.below)) {
			t.Errorf("%s: %+v", row.what, r)
		}
	}
}

// TestTellingFails has each call of each operation fail, before its effect and after it. Nothing is said that does not hold for
// good (see flaky); what fails is reported; and once the operation was done again without a fault, or any other that changes
// the record, all is told that has to be.
func TestTellingFails(t *testing.T) {
	for _, row := range ending {
		for _, before := range []bool{true, false} {
			for _, another := range []bool{false, true} {
				for call := 1; ; call++ {
					f := &flaky{world: newWorld(t), call: call, before: before}
					f.create("app")
					handle := f.records["app"].Handle
					g := &Registry{Store: f, Revocations: f, Now: f.clock.Now}
					err := row.do(g)
					if f.call > 0 {
						break // it makes no more calls than that
					}
					what := fmt.Sprintf("%s, call %d, before its effect: %v", row.what, call, before)
					r := f.records["app"]
					if err != nil && !errors.Is(err, errAway) {
						t.Errorf("%s: %v", what, err)
					}
					if err == nil && r != nil && r.Untold && len(f.said) == 0 {
						t.Errorf("%s: no error, and the record is %+v", what, r)
					}
					// An hour later somebody does it again, or something else.
					f.clock.Move(time.Hour)
					again := row.do
					if another {
						again = changing(func(r *Record) { r.Name = "another" })
					}
					changed := r == nil || r.Epoch > 1
					if err := again(g); err != nil && !errors.Is(err, ErrNotFound) {
						t.Errorf("%s: again: %v", what, err)
					}
					told := int64(0)
					for _, e := range f.said {
						if e.Key == revocation.Below(handle, 1, f.clock.Now()).Key {
							told = max(told, e.N)
						}
					}
					if r := f.records["app"]; r != nil && (r.Untold || r.Epoch > 1 && told != r.Epoch) || changed && told < row.below {
						t.Errorf("%s: in the end below %d was told, and the record is %+v", what, told, r)
					}
				}
			}
		}
	}
}

// TestSecretBesidesUntold: a new secret that is good by now is not lost because the tokens could not be ended.
func TestSecretBesidesUntold(t *testing.T) {
	f := &flaky{world: newWorld(t), call: 3, before: true}
	f.create("app")
	r, secret, err := (&Registry{Store: f, Revocations: f, Now: f.clock.Now}).RotateSecret(ctx, "app", Rotation{RevokeTokens: true})
	if !errors.Is(err, ErrUntold) || r == nil || !f.records["app"].HasSecret(secret, f.clock.Now()) {
		t.Errorf("%+v, %q, %v", r, secret, err)
	}
}

// TestDeleteRace: a client that is enabled while it is being deleted is not deleted before what it was given since has ended.
func TestDeleteRace(t *testing.T) {
	w := newWorld(t)
	w.create("app")
	handle := w.records["app"].Handle
	f := &flaky{world: w}
	enabled := false
	g := &Registry{Store: f, Now: w.clock.Now, Revocations: appender(func(e revocation.Entry) error {
		f.said = append(f.said, e)
		if !enabled {
			enabled = true
			_, err := w.registry().SetDisabled(ctx, "app", false)
			return err
		}
		return nil
	})}
	if err := g.Delete(ctx, "app"); err != nil || w.records["app"] != nil {
		t.Fatalf("%v, %+v", err, w.records["app"])
	}
	want := []revocation.Entry{revocation.Below(handle, 2, w.clock.Now()), revocation.Below(handle, 3, w.clock.Now())}
	if diff := cmp.Diff(want, f.said); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

type appender func(revocation.Entry) error

func (a appender) Append(_ context.Context, e revocation.Entry) error { return a(e) }
