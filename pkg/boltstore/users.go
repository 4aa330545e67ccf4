package boltstore

import (
	"bytes"
	"context"

	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/pkg/user"
)

// usersBucket is made when the first user is: stores of earlier releases don't have it.
var usersBucket = []byte("users")

var _ user.Store = (*Store)(nil)

// User implements user.Store.
func (s *Store) User(ctx context.Context, username string) (*user.Stored, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var found *user.Stored
	err := s.view(func(tx *bolt.Tx) error {
		if tx.Bucket(usersBucket) == nil {
			return user.ErrNotFound
		}
		revision, document, err := s.get(tx, usersBucket, []byte(username))
		if err != nil {
			return err
		}
		if revision == 0 {
			return user.ErrNotFound
		}
		found, err = readUser(username, revision, document)
		return err
	})
	return found, err
}

func readUser(username string, revision int64, document []byte) (*user.Stored, error) {
	r, err := user.Unmarshal(username, document)
	if err != nil {
		return nil, err
	}
	return &user.Stored{Record: *r, Revision: revision}, nil
}

// CreateUser implements user.Store.
func (s *Store) CreateUser(ctx context.Context, r *user.Record) error {
	return s.changeUser(ctx, r.Username, func(b *bolt.Bucket, key []byte, current int64, document []byte) error {
		if current != 0 {
			return user.ErrExists
		}
		return putUser(b, key, r, 1)
	})
}

// UpdateUser implements user.Store.
func (s *Store) UpdateUser(ctx context.Context, r *user.Record, revision int64) error {
	return s.changeUser(ctx, r.Username, func(b *bolt.Bucket, key []byte, current int64, document []byte) error {
		if err := expectUser(current, revision); err != nil {
			return err
		}
		if !hasHandle(document, r.Handle) {
			return user.ErrConflict
		}
		return putUser(b, key, r, revision+1)
	})
}

// DeleteUser implements user.Store.
func (s *Store) DeleteUser(ctx context.Context, username string, revision int64) error {
	return s.changeUser(ctx, username, func(b *bolt.Bucket, key []byte, current int64, document []byte) error {
		if err := expectUser(current, revision); err != nil {
			return err
		}
		return b.Delete(key)
	})
}

// changeUser calls change with the record's revision, 0 for none, and its document within a transaction.
func (s *Store) changeUser(ctx context.Context, username string, change func(b *bolt.Bucket, key []byte, current int64, document []byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := []byte(username)
	return s.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(usersBucket)
		if err != nil {
			return err
		}
		current, document, err := s.get(tx, usersBucket, key)
		if err != nil {
			return err
		}
		return change(b, key, current, document)
	})
}

func expectUser(current, revision int64) error {
	switch current {
	case 0:
		return user.ErrNotFound
	case revision:
		return nil
	default:
		return user.ErrConflict
	}
}

// hasHandle reports whether a record's document has that handle, of which JSON escapes nothing. A record of another release has
// it as well.
func hasHandle(document []byte, handle string) bool {
	return bytes.Contains(document, []byte(`"handle":"`+handle+`"`))
}

func putUser(b *bolt.Bucket, key []byte, r *user.Record, revision int64) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	return b.Put(key, seal(key, revision, document))
}

// Users implements user.Store, in the order of names. yield may use the store.
func (s *Store) Users(ctx context.Context, yield func(*user.Stored) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// As with clients: few, and yield may write.
	var list []*user.Stored
	err := s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(usersBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(key, value []byte) error {
			revision, document, err := s.unseal(key, value)
			if err != nil {
				return err
			}
			u, err := readUser(string(key), revision, document)
			list = append(list, u)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, u := range list {
		if !yield(u) {
			return nil
		}
	}
	return nil
}
