package boltstore_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/storetest"
)

func TestGrants(t *testing.T) {
	storetest.RunGrants(t, func(t *testing.T) rotating.Store { return open(t, filepath.Join(t.TempDir(), "store.db")) })
}

// TestEndedGrantsAreForgotten signs in for long: the store holds what lives, and some more.
func TestEndedGrantsAreForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	const each = 100
	start := time.Unix(1_790_000_000, 0)
	for day := range 5 {
		now := start.Add(time.Duration(day) * 24 * time.Hour)
		for i := range each {
			must(t, s.CreateGrant(t.Context(), &rotating.Record{
				GrantID: fmt.Sprintf("g_%03d%d", i*37%each, day), Generation: 1, TokenID: "t", IssuedAt: now, ExpiresAt: now.Add(time.Hour),
			}))
		}
	}
	must(t, s.Close())
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	defer db.Close()
	must(t, db.View(func(tx *bolt.Tx) error {
		if n := tx.Bucket([]byte("grants")).Stats().KeyN; n < each || n > each+20 {
			t.Errorf("%d grants are kept, of which %d live", n, each)
		}
		return nil
	}))
}
