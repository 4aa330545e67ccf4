package boltstore

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
)

// assertionsBucket is made when the first assertion is used. A value's revision is always 1, its document when it expires, in
// seconds since 1970.
var assertionsBucket = []byte("assertions")

var _ assertion.Uses = (*Store)(nil)

// UseAssertion implements assertion.Uses. In passing it deletes some that have expired, so that the file does not grow for
// ever.
func (s *Store) UseAssertion(ctx context.Context, key string, now, expires time.Time) (first bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	err = s.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(assertionsBucket)
		if err != nil {
			return err
		}
		until, err := s.assertionEnd(b.Get([]byte(key)), []byte(key))
		if err != nil {
			return err
		}
		if first = until < now.Unix(); !first {
			return nil
		}
		if err := s.forgetAssertions(b, []byte(key), now); err != nil {
			return err
		}
		document, err := json.Marshal(expires.Unix())
		if err != nil {
			return err
		}
		return b.Put([]byte(key), seal([]byte(key), 1, document))
	})
	return first && err == nil, err
}

// assertionEnd reads a value, none being one that has expired.
func (s *Store) assertionEnd(value, key []byte) (int64, error) {
	if value == nil {
		return -1 << 63, nil
	}
	_, document, err := s.unseal(key, value)
	if err != nil {
		return 0, err
	}
	var until int64
	if err := json.Unmarshal(document, &until); err != nil {
		return 0, s.damaged("an assertion's end is no number")
	}
	return until, nil
}

// assertionsLooked is how many are looked at for each that is added. Keys are hashes, so that every one has its turn.
const assertionsLooked = 8

func (s *Store) forgetAssertions(b *bolt.Bucket, key []byte, now time.Time) error {
	c := b.Cursor()
	var over [][]byte
	looked := 0
	for k, v := c.Seek(key); k != nil && looked < assertionsLooked; k, v = c.Next() {
		looked++
		until, err := s.assertionEnd(v, k)
		if err != nil {
			return err
		}
		if until < now.Unix() {
			over = append(over, bytes.Clone(k))
		}
	}
	for _, k := range over {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
