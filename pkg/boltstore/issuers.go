package boltstore

import (
	"context"

	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/pkg/issuer"
)

// issuersBucket is made when the first issuer is: stores of earlier releases don't have it.
var issuersBucket = []byte("issuers")

var _ issuer.Store = (*Store)(nil)

// Issuer implements issuer.Store.
func (s *Store) Issuer(ctx context.Context, url string) (*issuer.Stored, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var found *issuer.Stored
	err := s.view(func(tx *bolt.Tx) error {
		if tx.Bucket(issuersBucket) == nil {
			return issuer.ErrNotFound
		}
		revision, document, err := s.get(tx, issuersBucket, []byte(url))
		if err != nil {
			return err
		}
		if revision == 0 {
			return issuer.ErrNotFound
		}
		found, err = readIssuer(url, revision, document)
		return err
	})
	return found, err
}

func readIssuer(url string, revision int64, document []byte) (*issuer.Stored, error) {
	r, err := issuer.Unmarshal(url, document)
	if err != nil {
		return nil, err
	}
	return &issuer.Stored{Record: *r, Revision: revision}, nil
}

// CreateIssuer implements issuer.Store.
func (s *Store) CreateIssuer(ctx context.Context, r *issuer.Record) error {
	return s.changeIssuer(ctx, r.URL, func(b *bolt.Bucket, key []byte, current int64, document []byte) error {
		if current != 0 {
			return issuer.ErrExists
		}
		return putIssuer(b, key, r, 1)
	})
}

// UpdateIssuer implements issuer.Store.
func (s *Store) UpdateIssuer(ctx context.Context, r *issuer.Record, revision int64) error {
	return s.changeIssuer(ctx, r.URL, func(b *bolt.Bucket, key []byte, current int64, document []byte) error {
		if err := expectIssuer(current, revision); err != nil {
			return err
		}
		if !hasHandle(document, r.Handle) {
			return issuer.ErrConflict
		}
		return putIssuer(b, key, r, revision+1)
	})
}

// DeleteIssuer implements issuer.Store.
func (s *Store) DeleteIssuer(ctx context.Context, url string, revision int64) error {
	return s.changeIssuer(ctx, url, func(b *bolt.Bucket, key []byte, current int64, document []byte) error {
		if err := expectIssuer(current, revision); err != nil {
			return err
		}
		return b.Delete(key)
	})
}

// changeIssuer calls change with the record's revision, 0 for none, and its document within a transaction.
func (s *Store) changeIssuer(ctx context.Context, url string, change func(b *bolt.Bucket, key []byte, current int64, document []byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := []byte(url)
	return s.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(issuersBucket)
		if err != nil {
			return err
		}
		current, document, err := s.get(tx, issuersBucket, key)
		if err != nil {
			return err
		}
		return change(b, key, current, document)
	})
}

func expectIssuer(current, revision int64) error {
	switch current {
	case 0:
		return issuer.ErrNotFound
	case revision:
		return nil
	default:
		return issuer.ErrConflict
	}
}

func putIssuer(b *bolt.Bucket, key []byte, r *issuer.Record, revision int64) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	return b.Put(key, seal(key, revision, document))
}

// Issuers implements issuer.Store, in the order of URLs. yield may use the store.
func (s *Store) Issuers(ctx context.Context, yield func(*issuer.Stored) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// As with clients: few, and yield may write.
	var list []*issuer.Stored
	err := s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(issuersBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(key, value []byte) error {
			revision, document, err := s.unseal(key, value)
			if err != nil {
				return err
			}
			i, err := readIssuer(string(key), revision, document)
			list = append(list, i)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, i := range list {
		if !yield(i) {
			return nil
		}
	}
	return nil
}
