package boltstore_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/storetest"
	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
)

func TestUsers(t *testing.T) {
	storetest.RunUsers(t, func(t *testing.T) user.Store { return open(t, filepath.Join(t.TempDir(), "store.db")) })
}

func TestSignIns(t *testing.T) {
	storetest.RunSignIns(t, func(t *testing.T) backoff.Store { return open(t, filepath.Join(t.TempDir(), "store.db")) })
}

func TestIssuers(t *testing.T) {
	storetest.RunIssuers(t, func(t *testing.T) issuer.Store { return open(t, filepath.Join(t.TempDir(), "store.db")) })
	storetest.RunAssertions(t, func(t *testing.T) assertion.Uses { return open(t, filepath.Join(t.TempDir(), "store.db")) })
}

// TestSignInKey: the key is made once, and is no other store's.
func TestSignInKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	first, err := s.SignInKey(t.Context())
	must(t, err)
	must(t, s.Close())
	again, err := open(t, path).SignInKey(t.Context())
	must(t, err)
	other, err := open(t, filepath.Join(t.TempDir(), "store.db")).SignInKey(t.Context())
	must(t, err)
	if len(first) != 32 || !bytes.Equal(first, again) || bytes.Equal(first, other) {
		t.Errorf("%d bytes; the same after a restart: %v; the same in another store: %v", len(first), bytes.Equal(first, again), bytes.Equal(first, other))
	}
}

// TestExpiredTriesAreForgotten counts for long: the store holds what counts, and some more.
func TestExpiredTriesAreForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	const each = 100
	start := time.Unix(1_790_000_000, 0)
	for day := range 5 {
		now := start.Add(time.Duration(day) * 24 * time.Hour)
		for i := range each {
			_, _, err := s.AddTry(t.Context(), fmt.Sprintf("%03d%d", i*37%each, day), 5, now, now.Add(time.Hour))
			must(t, err)
		}
	}
	must(t, s.Close())
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	defer db.Close()
	must(t, db.View(func(tx *bolt.Tx) error {
		if n := tx.Bucket([]byte("signins")).Stats().KeyN; n < each || n > each+20 {
			t.Errorf("%d counts are kept, of which %d count", n, each)
		}
		return nil
	}))
}
