package boltstore

import (
	"bytes"
	"context"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/pkg/rotating"
)

// grantsBucket is made when the first grant is: stores of earlier releases don't have it. A value's revision is the
// generation of the grant's newest token.
var grantsBucket = []byte("grants")

var _ rotating.Store = (*Store)(nil)

// CreateGrant implements rotating.Store. In passing it deletes some grants that have ended, so that the file does not grow
// for ever.
func (s *Store) CreateGrant(ctx context.Context, r *rotating.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(grantsBucket)
		if err != nil {
			return err
		}
		if b.Get([]byte(r.GrantID)) != nil {
			return rotating.ErrExists
		}
		if err := s.forgetGrants(b, r); err != nil {
			return err
		}
		return putGrant(b, r)
	})
}

// forgetGrants looks at a few grants next to a new one, whose id is random.
func (s *Store) forgetGrants(b *bolt.Bucket, r *rotating.Record) error {
	const few = 8
	var ended [][]byte
	c := b.Cursor()
	key, value := c.Seek([]byte(r.GrantID))
	for range few {
		if key == nil {
			break
		}
		g, err := s.readGrant(key, value)
		if err != nil {
			return err
		}
		if g.Ends().Before(r.IssuedAt) {
			ended = append(ended, bytes.Clone(key))
		}
		key, value = c.Next()
	}
	for _, key := range ended {
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// RotateGrant implements rotating.Store.
func (s *Store) RotateGrant(ctx context.Context, next *rotating.Record, now time.Time) (stands *rotating.Record, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(grantsBucket)
		if b == nil {
			return rotating.ErrNotFound
		}
		key := []byte(next.GrantID)
		value := b.Get(key)
		if value == nil {
			return rotating.ErrNotFound
		}
		var err error
		if stands, err = s.readGrant(key, value); err != nil {
			return err
		}
		if stands.Generation != next.Generation-1 || !now.Before(stands.Ends()) {
			return nil
		}
		stands = next
		return putGrant(b, next)
	})
	if err != nil {
		return nil, err
	}
	return stands, nil
}

// DeleteGrant implements rotating.Store.
func (s *Store) DeleteGrant(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.update(func(tx *bolt.Tx) error {
		if b := tx.Bucket(grantsBucket); b != nil {
			return b.Delete([]byte(id))
		}
		return nil
	})
}

func (s *Store) readGrant(key, value []byte) (*rotating.Record, error) {
	generation, document, err := s.unseal(key, value)
	if err != nil {
		return nil, err
	}
	return rotating.Unmarshal(string(key), generation, document)
}

func putGrant(b *bolt.Bucket, r *rotating.Record) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	key := []byte(r.GrantID)
	return b.Put(key, seal(key, r.Generation, document))
}
