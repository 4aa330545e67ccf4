package secretkeys

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

func TestReplace(t *testing.T) {
	c := moto(t)
	create(t, c, "s", "")
	v := New(c, "s", keyring.UseAccess)
	if err := v.Create(t.Context(), document(t, keyring.UseAccess)); err != nil {
		t.Fatal(err)
	}
	_, revision, err := v.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A rotation of Secrets Manager that is under way keeps its version.
	if err := v.Wait(t.Context(), document(t, keyring.UseAccess), "11111111-1111-1111-1111-111111111111"); err != nil {
		t.Fatal(err)
	}
	var won atomic.Int64
	var winner atomic.Pointer[keyring.Document]
	var all sync.WaitGroup
	for range 8 {
		mine := document(t, keyring.UseAccess)
		all.Go(func() {
			switch err := New(c, "s", keyring.UseAccess).Replace(context.Background(), mine, revision); {
			case err == nil:
				won.Add(1)
				winner.Store(mine)
			case !errors.Is(err, keyring.ErrConflict):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d of 8 say that theirs was stored", won.Load())
	}
	if got, err := v.Load(t.Context()); err != nil || !cmp.Equal(got, winner.Load()) {
		t.Errorf("read %v, %v", got, err)
	}
	if n := holders(t, c, "s", current); n != 1 {
		t.Errorf("%d current versions", n)
	}
	if n := holders(t, c, "s", pending); n != 1 {
		t.Errorf("%d pending versions, want the rotation's", n)
	}
	if err := v.Finish(t.Context(), "11111111-1111-1111-1111-111111111111", revision); !errors.Is(err, keyring.ErrConflict) {
		t.Errorf("a rotation that was overtaken: %v", err)
	}
	if err := v.Abandon(t.Context(), "11111111-1111-1111-1111-111111111111"); err != nil || holders(t, c, "s", pending) != 0 {
		t.Errorf("abandoned: %v", err)
	}
}

func TestIs(t *testing.T) {
	arn := "arn:aws:secretsmanager:eu-central-1:123456789012:secret:latchkey-access-AbCdEf"
	for id, want := range map[string]bool{arn: true, "latchkey-access": true, "latchkey": false, "access": false, "latchkey-access-AbCdE": false, "": false} {
		if got := New(nil, id, keyring.UseAccess).Is(arn); got != want {
			t.Errorf("%q is it: %v", id, got)
		}
	}
	if New(nil, "latchkey-access", keyring.UseAccess).Is("arn:aws:secretsmanager:eu-central-1:123456789012:secret:latchkey-access-x-AbCdEf") {
		t.Error("a longer name is taken for it")
	}
}
