package main

import (
	"path/filepath"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/attack"
	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// attacked is all of `latchkey dev`, with a clock that stands still and the table's clients.
func attacked(t testing.TB) *attack.World {
	t.Helper()
	dir := t.TempDir()
	store, err := boltstore.Open(filepath.Join(dir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	clock := new(clocktest.Clock)
	w := &attack.World{
		Store: filepath.Join(dir, storeFile), Clock: clock, Log: new(attack.Log),
		Clients: &client.Registry{Store: store, Revocations: store, Now: clock.Now},
		Users:   &user.Registry{Store: store, Revocations: store, Now: clock.Now},
	}
	keys := openLaptopKeys(dir)
	if _, err := (&app{now: clock.Now}).first(t.Context(), keys, store, keyring.ES256); err != nil {
		t.Fatal(err)
	}
	w.Handler, err = devHandler(devConfig{
		Issuer: "https://auth.example.com", Clients: store, Users: store, SignIns: store, SignInKey: store.SignInKey,
		Issuers: store, Assertions: store, Public: store, Grants: store, Revocations: store, Keys: keys,
		Log: jsonlog.New(w.Log), Now: clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Register(t)
	return w
}

// TestAttack sends all of package attack's requests to all that `latchkey dev` serves, over HTTP and as API Gateway's events.
func TestAttack(t *testing.T) {
	t.Parallel()
	total := 0
	for class, n := range attacked(t).Run(t) {
		t.Logf("%s: %d requests", class, n)
		total += n
	}
	t.Logf("%d requests of %d cases", total, attack.Count())
}
