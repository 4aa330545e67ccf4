package boltstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
)

// signInsBucket is made when the first user tries to sign in. A value's revision is always 1.
var signInsBucket = []byte("signins")

// signInKeyKey is, in the bucket of what is about the store itself, where the key of the hashes is.
var signInKeyKey = []byte("signin-key")

var _ backoff.Store = (*Store)(nil)

// countJSON is a backoff.Count as it is stored, in seconds since 1970.
type countJSON struct {
	N       int64 `json:"n"`
	Next    int64 `json:"next,omitempty"`
	Expires int64 `json:"expires"`
}

// SignInKey returns the key of the hashes by which sign-ins are counted, made when it is first asked for. It stands in the
// same file as the counts: on a laptop, who reads one reads the other.
func (s *Store) SignInKey(ctx context.Context) (key []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = s.update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if value := meta.Get(signInKeyKey); value != nil {
			_, stored, err := s.unseal(signInKeyKey, value)
			key = bytes.Clone(stored)
			return err
		}
		key = make([]byte, 32)
		rand.Read(key)
		return meta.Put(signInKeyKey, seal(signInKeyKey, 1, key))
	})
	return key, err
}

// Tries implements backoff.Store.
func (s *Store) Tries(ctx context.Context, key string) (c backoff.Count, err error) {
	if err := ctx.Err(); err != nil {
		return c, err
	}
	err = s.view(func(tx *bolt.Tx) error {
		c, err = s.readTries(tx.Bucket(signInsBucket), []byte(key))
		return err
	})
	return c, err
}

// AddTry implements backoff.Store. In passing it deletes some counts that have expired, so that the file does not grow for
// ever.
func (s *Store) AddTry(ctx context.Context, key string, most int64, now, expires time.Time) (c backoff.Count, added bool, err error) {
	err = s.changeTries(ctx, key, func(b *bolt.Bucket, stands backoff.Count) error {
		c = stands
		none := stands == (backoff.Count{})
		if !none && (stands.N >= most || !stands.Expires.After(now)) {
			return nil
		}
		added = true
		c.N, c.Expires = stands.N+1, expires
		if none {
			if err := s.forgetTries(b, key, now); err != nil {
				return err
			}
		}
		return putTries(b, key, c)
	})
	return c, added, err
}

// SwapTries implements backoff.Store.
func (s *Store) SwapTries(ctx context.Context, key string, seen, next backoff.Count) (swapped bool, err error) {
	err = s.changeTries(ctx, key, func(b *bolt.Bucket, stands backoff.Count) error {
		if swapped = stands == seen; !swapped {
			return nil
		}
		return putTries(b, key, next)
	})
	return swapped, err
}

// TakeTry implements backoff.Store.
func (s *Store) TakeTry(ctx context.Context, key string) error {
	return s.changeTries(ctx, key, func(b *bolt.Bucket, stands backoff.Count) error {
		if stands.N == 0 {
			return nil
		}
		stands.N--
		return putTries(b, key, stands)
	})
}

// SetTries implements backoff.Store.
func (s *Store) SetTries(ctx context.Context, key string, c backoff.Count) error {
	return s.changeTries(ctx, key, func(b *bolt.Bucket, _ backoff.Count) error {
		if c == (backoff.Count{}) {
			return b.Delete([]byte(key))
		}
		return putTries(b, key, c)
	})
}

// changeTries calls change with what stands under a key, within a transaction.
func (s *Store) changeTries(ctx context.Context, key string, change func(b *bolt.Bucket, stands backoff.Count) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(signInsBucket)
		if err != nil {
			return err
		}
		stands, err := s.readTries(b, []byte(key))
		if err != nil {
			return err
		}
		return change(b, stands)
	})
}

func (s *Store) readTries(b *bolt.Bucket, key []byte) (c backoff.Count, err error) {
	if b == nil {
		return c, nil
	}
	value := b.Get(key)
	if value == nil {
		return c, nil
	}
	return s.unsealTries(key, value)
}

func (s *Store) unsealTries(key, value []byte) (c backoff.Count, err error) {
	_, document, err := s.unseal(key, value)
	if err != nil {
		return c, err
	}
	var stored countJSON
	if err := json.Unmarshal(document, &stored); err != nil {
		return c, s.damaged("a count of sign-ins is malformed")
	}
	c = backoff.Count{N: stored.N, Expires: time.Unix(stored.Expires, 0)}
	if stored.Next != 0 {
		c.Next = time.Unix(stored.Next, 0)
	}
	return c, nil
}

func putTries(b *bolt.Bucket, key string, c backoff.Count) error {
	stored := countJSON{N: c.N, Expires: c.Expires.Unix()}
	if !c.Next.IsZero() {
		stored.Next = c.Next.Unix()
	}
	document, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), seal([]byte(key), 1, document))
}

// forgetTries looks at a few counts next to a new one, whose key is a hash.
func (s *Store) forgetTries(b *bolt.Bucket, key string, now time.Time) error {
	const few = 8
	var expired [][]byte
	c := b.Cursor()
	k, value := c.Seek([]byte(key))
	for range few {
		if k == nil {
			break
		}
		count, err := s.unsealTries(k, value)
		if err != nil {
			return err
		}
		if !count.Expires.After(now) {
			expired = append(expired, bytes.Clone(k))
		}
		k, value = c.Next()
	}
	for _, k := range expired {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
