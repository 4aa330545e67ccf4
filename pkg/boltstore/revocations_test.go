package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// TestStoreWithoutRevocations opens what the first release made: without a bucket of revocations.
func TestStoreWithoutRevocations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	now := time.Now().Truncate(time.Second)
	entries := func(want int) {
		t.Helper()
		got := 0
		must(t, s.Entries(t.Context(), now, time.Time{}, func(revocation.Entry) bool { got++; return true }))
		if got != want {
			t.Errorf("%d entries, want %d", got, want)
		}
	}
	entries(0)
	if err := withBucket(path, s, func(b *bolt.Bucket) error { return nil }); err == nil {
		t.Error("the bucket is there before it is needed: an older release's store is not what is tested here")
	}
	s = open(t, path)
	entries(0)
	must(t, s.Append(t.Context(), revocation.Grant("g_1", now)))
	id, err := s.FeedID(t.Context())
	must(t, err)
	must(t, s.Close())
	s = open(t, path)
	entries(1)
	if again, err := s.FeedID(t.Context()); err != nil || again != id {
		t.Errorf("the feed's name was %q, is %q, %v", id, again, err)
	}
}

// TestDamagedRevocations changes a stored entry: the store says that it is damaged when it is opened.
func TestDamagedRevocations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	must(t, s.Append(t.Context(), revocation.Grant("g_1", time.Now())))
	must(t, withBucket(path, s, func(b *bolt.Bucket) error {
		key, value := b.Cursor().First()
		key = append([]byte(nil), key...)
		if err := b.Delete(key); err != nil {
			return err
		}
		key[len(key)-1] ^= 1 // another time
		return b.Put(key, append([]byte(nil), value...))
	}))
	if err := openError(path); !errors.Is(err, boltstore.ErrDamaged) {
		t.Errorf("%v; want ErrDamaged", err)
	}
}

// withBucket closes the store and changes its bucket of revocations behind its back.
func withBucket(path string, s *boltstore.Store, change func(*bolt.Bucket) error) error {
	if err := s.Close(); err != nil {
		return err
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("revocations"))
		if b == nil {
			return os.ErrNotExist
		}
		return change(b)
	})
}
