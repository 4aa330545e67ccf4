package user_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/usertest"
)

// feed is a revocation.Appender that remembers, and can fail.
type feed struct {
	entries []string
	err     error
}

func (f *feed) Append(_ context.Context, e revocation.Entry) error {
	if f.err != nil {
		return f.err
	}
	f.entries = append(f.entries, e.String())
	return nil
}

func TestRegistry(t *testing.T) {
	store, told := &usertest.Store{}, &feed{}
	var changes []string
	name := func(r *user.Record) string {
		if r == nil {
			return "none"
		}
		return r.Username
	}
	reg := &user.Registry{
		Store: store, Revocations: told, Now: func() time.Time { return time.Unix(1_790_000_000, 0) },
		Changed: func(_ context.Context, before, after *user.Record) {
			changes = append(changes, name(before)+"-"+name(after))
		},
	}
	ctx := t.Context()
	r, err := reg.Create(ctx, user.Spec{Username: "Ada", Scopes: oauth.Scope{"a", "b"}, Password: password})
	if err != nil || r.Username != "ada" || !user.ValidID(r.ID) || r.Epoch != 1 || len(r.Handle) < 20 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := reg.Create(ctx, user.Spec{Username: "ADA", Password: password}); !errors.Is(err, user.ErrExists) {
		t.Fatalf("a second time: %v", err)
	}
	first := *r

	steps := []struct {
		what   string
		do     func() (*user.Record, error)
		epochs int64 // by which it grows, and the feed is told
	}{
		{"widened", func() (*user.Record, error) {
			return reg.Update(ctx, "ADA", func(r *user.Record) error { r.Scopes = oauth.Scope{"a", "b", "c"}; return nil })
		}, 0},
		{"narrowed", func() (*user.Record, error) {
			return reg.Update(ctx, "ada", func(r *user.Record) error { r.Scopes = oauth.Scope{"c", "a"}; return nil })
		}, 1},
		{"named, and what may not change", func() (*user.Record, error) {
			return reg.Update(ctx, "ada", func(r *user.Record) error {
				r.Name, r.ID, r.Handle, r.Username, r.Epoch, r.CreatedAt = "Ada", "u_other", "other", "other", 0, 7
				return nil
			})
		}, 0},
		{"another password", func() (*user.Record, error) { return reg.SetPassword(ctx, "ada", "another one, longer") }, 1},
		{"disabled", func() (*user.Record, error) { return reg.SetDisabled(ctx, "ada", true) }, 1},
		{"disabled again", func() (*user.Record, error) { return reg.SetDisabled(ctx, "ada", true) }, 0},
		{"enabled", func() (*user.Record, error) { return reg.SetDisabled(ctx, "ada", false) }, 0},
		{"revoked", func() (*user.Record, error) { return reg.RevokeTokens(ctx, "ada") }, 1},
	}
	epoch := int64(1)
	for _, s := range steps {
		told.entries = nil
		r, err := s.do()
		epoch += s.epochs
		if err != nil || r.Epoch != epoch || r.ID != first.ID || r.Handle != first.Handle || r.CreatedAt != first.CreatedAt {
			t.Fatalf("%s: %+v, %v; want epoch %d", s.what, r, err, epoch)
		}
		want := []string(nil)
		if s.epochs > 0 {
			want = []string{revocation.Below(r.Handle, epoch, reg.Now()).String()}
		}
		if !slices.Equal(told.entries, want) {
			t.Errorf("%s: the feed was told %q, want %q", s.what, told.entries, want)
		}
	}

	// What the feed can't be told is done, and told by whatever comes next.
	told.err = errors.New("it is down")
	if _, err := reg.SetDisabled(ctx, "ada", true); !errors.Is(err, told.err) || !errors.Is(err, user.ErrUntold) {
		t.Errorf("disable: %v", err)
	}
	if err := reg.Delete(ctx, "ada"); !errors.Is(err, told.err) || !errors.Is(err, user.ErrUntold) {
		t.Errorf("delete: %v", err)
	}
	r, err = reg.Get(ctx, "ada")
	if err != nil || !r.Disabled || !r.Untold || r.Epoch != epoch+2 {
		t.Errorf("%+v, %v", r, err)
	}
	told.err, told.entries = nil, nil
	r, err = reg.Update(ctx, "ada", func(r *user.Record) error { r.Name = "Lady Lovelace"; return nil })
	if err != nil || r.Untold || !slices.Equal(told.entries, []string{revocation.Below(first.Handle, epoch+2, reg.Now()).String()}) {
		t.Errorf("%+v, %v; the feed was told %q", r, err, told.entries)
	}

	// Without revocations that it has to have, nothing that ends tokens is done.
	mute := &user.Registry{Store: reg.Store, CannotTell: errors.New("no table")}
	if _, err := mute.RevokeTokens(ctx, "ada"); !errors.Is(err, mute.CannotTell) {
		t.Errorf("revoked without telling: %v", err)
	}

	told.entries = nil
	if err := reg.Delete(ctx, "Ada"); err != nil || !slices.Equal(told.entries, []string{revocation.Below(first.Handle, epoch+3, reg.Now()).String()}) {
		t.Errorf("delete: %v; the feed was told %q", err, told.entries)
	}
	again, err := reg.Create(ctx, user.Spec{Username: "ada", Password: password})
	if err != nil || again.ID == first.ID || again.Handle == first.Handle {
		t.Errorf("the name again: %+v, %v; it was %+v", again, err, first)
	}
	if got := strings.Join(changes, " "); got != "none-ada"+strings.Repeat(" ada-ada", len(steps)+4)+" ada-none none-ada" {
		t.Errorf("told of the changes: %s", got)
	}
}

func TestRegistryRefuses(t *testing.T) {
	store := &usertest.Store{}
	reg := &user.Registry{Store: store}
	for what, s := range map[string]user.Spec{
		"two words":      {Username: "two words", Password: password},
		"8 to 256":       {Username: "ada", Password: "short"},
		"commonest":      {Username: "ada", Password: "password1"},
		"128 bytes":      {Username: "ada", Password: password, Name: strings.Repeat("n", 129)},
		"a scope holds":  {Username: "ada", Password: password, Scopes: oauth.Scope{"a b"}},
		"more than 100":  {Username: "ada", Password: password, Scopes: oauth.Scope(strings.Split(strings.Repeat("s,", 101), ","))},
		"begin with u_ ": {Username: "u_ada", Password: password},
	} {
		_, err := reg.Create(t.Context(), s)
		var invalid *user.InvalidError
		if what == "two words" {
			what = "without spaces"
		}
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), what) {
			t.Errorf("%v; want that it says %q", err, what)
		}
	}
	if list, err := reg.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%d users were made, %v", len(list), err)
	}
	if _, err := reg.SetPassword(t.Context(), "ada", password); !errors.Is(err, user.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}

// TestRegistryRaces: who loses a race does it again on the newer record.
func TestRegistryRaces(t *testing.T) {
	store := &usertest.Store{}
	reg := &user.Registry{Store: store}
	if _, err := reg.Create(t.Context(), user.Spec{Username: "ada", Password: password, Scopes: oauth.Scope{"a"}}); err != nil {
		t.Fatal(err)
	}
	calls := 0
	r, err := reg.Update(t.Context(), "ada", func(r *user.Record) error {
		if calls++; calls == 1 {
			if _, err := reg.SetDisabled(t.Context(), "ada", true); err != nil {
				t.Fatal(err)
			}
		}
		r.Scopes = append(r.Scopes, "b")
		return nil
	})
	if err != nil || calls != 2 || !r.Disabled || r.Scopes.String() != "a b" || r.Epoch != 2 {
		t.Errorf("%+v, %v after %d calls", r, err, calls)
	}
}

func TestValidID(t *testing.T) {
	const random = "0123456789azAZ_-012345"
	if !user.ValidID("u_" + random) {
		t.Error("refused")
	}
	for _, id := range []string{"", "u_", random, "x_" + random, "U_" + random, "u_" + random + "0", "u_" + random[1:], "u_" + random[1:] + ".", "u_" + random[1:] + "\n", "u_" + random[2:] + "ü"} {
		if user.ValidID(id) {
			t.Errorf("%q is taken", id)
		}
	}
}
