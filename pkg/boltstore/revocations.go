package boltstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

var _ revocation.Log = (*Store)(nil)

// revocationsBucket is made by the first entry: a store that an earlier release made has none. A key is the entry, so
// that saying it twice is saying it once: h, or a for kinds that are Always; the seconds in ten digits, for the order; a
// space; and the entry's text form. The documents are empty.
var (
	revocationsBucket = []byte("revocations")
	feedIDKey         = []byte("feed") // in metaBucket
)

func revocationKey(e revocation.Entry) []byte {
	partition := 'h'
	if e.Kind.Always() {
		partition = 'a'
	}
	return fmt.Appendf(nil, "%c%010d %s", partition, e.At.Unix(), e)
}

// Append implements revocation.Appender. Nothing is ever forgotten: a laptop's revocations are few.
func (s *Store) Append(ctx context.Context, e revocation.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e, err := revocation.Parse(e.String())
	if err != nil {
		return err
	}
	return s.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(revocationsBucket)
		if err != nil {
			return err
		}
		key := revocationKey(e)
		return b.Put(key, seal(key, 1, nil))
	})
}

// Entries implements revocation.Log. yield may use the store.
func (s *Store) Entries(ctx context.Context, from, until time.Time, yield func(revocation.Entry) bool) error {
	list, err := s.revocations(ctx, fmt.Appendf(nil, "h%010d", max(0, seconds(from))))
	if err != nil {
		return err
	}
	for _, e := range list {
		if !until.IsZero() && e.At.Unix() >= seconds(until) || !yield(e) {
			return nil
		}
	}
	return nil
}

// Always implements revocation.Log.
func (s *Store) Always(ctx context.Context) ([]revocation.Entry, error) {
	return s.revocations(ctx, []byte("a"))
}

// seconds is the first whole second from a time on: entries have whole seconds.
func seconds(t time.Time) int64 { return t.Add(time.Second - 1).Unix() }

// revocations returns those of a partition from a key on.
func (s *Store) revocations(ctx context.Context, start []byte) ([]revocation.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var list []revocation.Entry
	err := s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(revocationsBucket)
		if b == nil {
			return nil
		}
		list = nil
		c := b.Cursor()
		for key, value := c.Seek(start); key != nil && key[0] == start[0]; key, value = c.Next() {
			if _, _, err := s.unseal(key, value); err != nil {
				return err
			}
			_, text, _ := bytes.Cut(key, []byte(" "))
			e, err := revocation.Parse(string(text))
			if err != nil {
				return s.damaged(fmt.Sprintf("%.80q is not a revocation", key))
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// FeedID implements revocation.Log: a random name, made at the first call.
func (s *Store) FeedID(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	var id string
	err := s.view(func(tx *bolt.Tx) error {
		id = string(tx.Bucket(metaBucket).Get(feedIDKey))
		return nil
	})
	if id != "" || err != nil {
		return id, err
	}
	err = s.update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if id = string(meta.Get(feedIDKey)); id != "" {
			return nil // another has just made it
		}
		id = rand.Text()
		return meta.Put(feedIDKey, []byte(id))
	})
	if err != nil {
		return "", err
	}
	return id, nil
}
