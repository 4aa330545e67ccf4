package attack

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// state is all that a store's file holds. The store keeps the file locked, so that its bytes are compared first, and their
// meaning only where they differ.
type state []byte

func readState(t testing.TB, path string) state {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// changes are the keys whose values differ, by table.
func changes(t testing.TB, before, after state) []string {
	t.Helper()
	if bytes.Equal(before, after) {
		return nil
	}
	old, now := entries(t, before), entries(t, after)
	var found []string
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if old[key] != now[key] {
			found = append(found, key)
		}
		delete(old, key)
	}
	return append(found, slices.Sorted(maps.Keys(old))...)
}

// entries are what a store's file holds, by table and key.
func entries(t testing.TB, s state) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, s, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all := map[string]string{}
	var walk func(prefix string, b *bolt.Bucket) error
	walk = func(prefix string, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return walk(fmt.Sprintf("%s/%q", prefix, k), b.Bucket(k))
			}
			all[fmt.Sprintf("%s/%q", prefix, k)] = string(v)
			return nil
		})
	}
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return walk(string(name), b) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
