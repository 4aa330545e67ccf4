package client

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// teller is where a registry under test tells what is revoked. It notes what the record's epoch was when it was told.
type teller struct {
	w       *world
	failure error
	said    []revocation.Entry
	epochs  []int64
}

func (o *teller) Append(_ context.Context, e revocation.Entry) error {
	if o.failure != nil {
		return o.failure
	}
	o.said = append(o.said, e)
	o.epochs = append(o.epochs, o.w.records["app"].Epoch)
	return nil
}

// TestTold: what ends tokens is told before the record is written, and what does not end any is not told.
func TestTold(t *testing.T) {
	update := func(change func(*Record)) func(*Registry) error {
		return func(g *Registry) error {
			_, err := g.Update(ctx, "app", func(r *Record) error {
				change(r)
				return nil
			})
			return err
		}
	}
	for _, row := range []struct {
		what  string
		below int64 // 0: nothing is told
		do    func(*Registry) error
	}{
		{"a name", 0, update(func(r *Record) { r.Name = "x" })},
		{"a scope more", 0, update(func(r *Record) { r.Scopes = append(r.Scopes, "all") })},
		{"a scope less", 2, update(func(r *Record) { r.Scopes = r.Scopes[1:] })},
		{"an epoch by hand", 7, update(func(r *Record) { r.Epoch = 7 })},
		{"disabled", 2, func(g *Registry) error { _, err := g.SetDisabled(ctx, "app", true); return err }},
		{"enabled", 0, func(g *Registry) error { _, err := g.SetDisabled(ctx, "app", false); return err }},
		{"tokens revoked", 2, func(g *Registry) error { _, err := g.RevokeTokens(ctx, "app"); return err }},
		{"a new secret", 0, func(g *Registry) error { _, _, err := g.RotateSecret(ctx, "app", Rotation{}); return err }},
		{"a new secret, tokens revoked", 2, func(g *Registry) error {
			_, _, err := g.RotateSecret(ctx, "app", Rotation{RevokeTokens: true})
			return err
		}},
		{"deleted", 2, func(g *Registry) error { return g.Delete(ctx, "app") }},
	} {
		w := newWorld(t)
		w.create("app")
		handle := w.records["app"].Handle
		told := &teller{w: w, failure: errors.New("away")}
		registry := w.registry()
		registry.Revocations = told

		before := *w.records["app"]
		writes := w.writes
		err := row.do(registry)
		if row.below != 0 && (!errors.Is(err, told.failure) || w.writes != writes || cmp.Diff(&before, w.records["app"]) != "") {
			t.Errorf("%s: what could not be told was done: %v", row.what, err)
		}
		if row.below == 0 {
			if err != nil {
				t.Errorf("%s: %v", row.what, err)
			}
			continue
		}

		told.failure = nil
		w.conflicts = 1
		if err := row.do(registry); err != nil {
			t.Errorf("%s: %v", row.what, err)
		}
		below := revocation.Below(handle, row.below, w.clock.Now())
		if diff := cmp.Diff([]revocation.Entry{below, below}, told.said); diff != "" {
			t.Errorf("%s: told, with a race lost (-want +got):\n%s", row.what, diff)
		}
		if diff := cmp.Diff([]int64{1, 1}, told.epochs); diff != "" {
			t.Errorf("%s: the record was written before it was told: %s", row.what, diff)
		}
		if r := w.records["app"]; r != nil && r.Epoch != row.below {
			t.Errorf("%s: the epoch is %d", row.what, r.Epoch)
		}
	}
}
