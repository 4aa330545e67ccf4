// Package boltstore keeps clients, users, issuers, public keys and revocations in one bbolt file, for Latchkey on a laptop. One process at a
// time can have it open.
//
// Each value carries a checksum, so that a damaged file is told when it is opened, not when a client signs in.
package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// ErrLocked says that another process has the store open.
var ErrLocked = errors.New("the store is in use by another process: is `latchkey dev` running?")

// ErrDamaged says that a file is not a whole store. The error that wraps it names the file.
var ErrDamaged = errors.New("the store is damaged, or the file is something else: move it away to begin with an empty one")

// The file. formatVersion is of the buckets and the values' envelope; documents have versions of their own.
const formatVersion = 1

var (
	metaBucket    = []byte("meta")
	clientsBucket = []byte("clients")
	keysBucket    = []byte("keys")

	// laterBuckets came after the first release, and are made when they are needed. An earlier release does not look at them.
	laterBuckets = [][]byte{revocationsBucket, grantsBucket, usersBucket, signInsBucket, issuersBucket, assertionsBucket}

	formatKey     = []byte("format")
	publicKeysKey = []byte("public")
)

// lockWait is how long Open waits for another process to be done, such as a command that is just ending.
const lockWait = 800 * time.Millisecond

// Store is a client.Store, a keyring.PublicStore and a revocation.Log. A context is heeded when an operation begins, not within it.
type Store struct {
	path string

	mu     sync.Mutex // one operation at a time: one that panics within bbolt leaves bbolt's own locks held
	db     *bolt.DB
	broken error // what such a panic was told as; nothing may call bbolt after it
}

var (
	_ client.Store        = (*Store)(nil)
	_ keyring.PublicStore = (*Store)(nil)
)

// Open opens the store in that file, which it makes, readable by its owner alone, if there is none. The folder must be
// there. It returns ErrLocked after a second at most, ErrDamaged for a file that is not a whole store, and another error
// if the file can't be read and written or is of a later release.
func Open(path string) (*Store, error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(path); err != nil {
			return nil, fmt.Errorf("making the store: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("opening the store: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("opening the store: %s is not a file", path)
	case info.Size() == 0: // which bbolt would take for a new one
		return nil, fmt.Errorf("%s: %w (it is empty)", path, ErrDamaged)
	}
	s, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if err := s.view(s.check); err != nil {
		_ = s.Close() // the other error says more
		return nil, err
	}
	return s, nil
}

// create makes an empty store under a name of its own first: whatever happens, a file at path is a whole one.
func create(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if e := os.Remove(f.Name()); err == nil {
			err = e
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	s, err := openFile(f.Name())
	if err != nil {
		return err
	}
	err = s.update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{metaBucket, clientsBucket, keysBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(formatKey, []byte(strconv.Itoa(formatVersion)))
	})
	if e := s.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	// Unlike a renaming, this leaves alone what another process may have put there.
	if err := os.Link(f.Name(), path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func openFile(path string) (*Store, error) {
	s := &Store{path: path}
	err := s.guard(func() (err error) {
		s.db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait})
		return err
	})
	var file *fs.PathError
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	case errors.Is(err, ErrDamaged):
		return nil, err
	case errors.As(err, &file):
		return nil, fmt.Errorf("opening the store: %w", err)
	default: // invalid database, version mismatch, checksum error, file size too small …
		return nil, s.damaged(err)
	}
}

func (s *Store) damaged(reason any) error {
	return fmt.Errorf("%s: %w (%v)", s.path, ErrDamaged, reason)
}

// guard runs f. bbolt trusts its file: where that is damaged it panics, or reads beyond the file's end, which is a fault.
func (s *Store) guard(f func() error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			if _, fault := p.(interface{ Addr() uintptr }); fault {
				p = "it points beyond its end"
			}
			s.broken = s.damaged(p)
			err = s.broken
		}
	}()
	return f()
}

func (s *Store) view(f func(*bolt.Tx) error) error {
	return s.guard(func() error { return s.db.View(f) })
}
func (s *Store) update(f func(*bolt.Tx) error) error {
	return s.guard(func() error { return s.db.Update(f) })
}

// check reads everything.
func (s *Store) check(tx *bolt.Tx) error {
	switch info, err := os.Stat(s.path); {
	case err != nil:
		return err
	case info.Size() < tx.Size():
		return s.damaged("it is cut short")
	}
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		return s.damaged("it has no format version")
	}
	format, err := strconv.Atoi(string(meta.Get(formatKey)))
	switch {
	case err != nil:
		return s.damaged("its format version is not a number")
	case format > formatVersion:
		return fmt.Errorf("%s: the store has format version %d, this release reads %d: use a newer latchkey", s.path, format, formatVersion)
	case format < formatVersion:
		return s.damaged("there never was such a format version")
	}
	for _, name := range [][]byte{clientsBucket, keysBucket, revocationsBucket, grantsBucket, usersBucket, signInsBucket, issuersBucket, assertionsBucket} {
		b := tx.Bucket(name)
		switch {
		case b != nil:
		case slices.ContainsFunc(laterBuckets, func(later []byte) bool { return bytes.Equal(later, name) }):
			continue
		default:
			return s.damaged(fmt.Sprintf("it has no bucket %s", name))
		}
		var last []byte
		if err := b.ForEach(func(key, value []byte) error {
			if last != nil && bytes.Compare(last, key) >= 0 {
				return s.damaged(fmt.Sprintf("bucket %s is not in order", name))
			}
			if _, _, err := s.unseal(key, value); err != nil {
				return err
			}
			last = bytes.Clone(key)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file, after the operation under way. A store that was found damaged on the way stays locked until the
// process ends.
func (s *Store) Close() error { return s.guard(s.db.Close) }

// A value is the CRC-32C of all that follows it and the key, the revision, and the document as JSON.
const (
	crcLen      = 4
	envelopeLen = crcLen + 8
)

// maxLen is more than any key or value takes, in bytes: a damaged length is told before gigabytes are summed up.
const maxLen = 16 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, rest)
}

func seal(key []byte, revision int64, document []byte) []byte {
	value := make([]byte, envelopeLen, envelopeLen+len(document))
	binary.BigEndian.PutUint64(value[crcLen:], uint64(revision)) //nolint:gosec // not negative
	value = append(value, document...)
	binary.BigEndian.PutUint32(value, checksum(key, value[crcLen:]))
	return value
}

// unseal reads a value. The document is valid during the transaction only.
func (s *Store) unseal(key, value []byte) (revision int64, document []byte, err error) {
	if len(key) > maxLen || len(value) > maxLen || len(value) < envelopeLen ||
		binary.BigEndian.Uint32(value) != checksum(key, value[crcLen:]) {
		return 0, nil, s.damaged(fmt.Sprintf("the checksum of %.80q is wrong", key))
	}
	return int64(binary.BigEndian.Uint64(value[crcLen:])), value[envelopeLen:], nil //nolint:gosec // as seal made it
}

// get returns a value's revision, 0 for none, and its document.
func (s *Store) get(tx *bolt.Tx, bucket, key []byte) (revision int64, document []byte, err error) {
	value := tx.Bucket(bucket).Get(key)
	if value == nil {
		return 0, nil, nil
	}
	return s.unseal(key, value)
}

// Client implements client.Store.
func (s *Store) Client(ctx context.Context, id string) (*client.Stored, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var found *client.Stored
	err := s.view(func(tx *bolt.Tx) error {
		revision, document, err := s.get(tx, clientsBucket, []byte(id))
		if err != nil {
			return err
		}
		if revision == 0 {
			return client.ErrNotFound
		}
		found, err = readClient(id, revision, document)
		return err
	})
	return found, err
}

func readClient(id string, revision int64, document []byte) (*client.Stored, error) {
	r, err := client.Unmarshal(id, document)
	if err != nil {
		return nil, err
	}
	return &client.Stored{Record: *r, Revision: revision}, nil
}

// CreateClient implements client.Store.
func (s *Store) CreateClient(ctx context.Context, r *client.Record) error {
	return s.changeClient(ctx, r.ID, func(b *bolt.Bucket, key []byte, current int64) error {
		if current != 0 {
			return client.ErrExists
		}
		return putClient(b, key, r, 1)
	})
}

// UpdateClient implements client.Store.
func (s *Store) UpdateClient(ctx context.Context, r *client.Record, revision int64) error {
	return s.changeClient(ctx, r.ID, func(b *bolt.Bucket, key []byte, current int64) error {
		if err := expect(current, revision); err != nil {
			return err
		}
		return putClient(b, key, r, revision+1)
	})
}

// DeleteClient implements client.Store.
func (s *Store) DeleteClient(ctx context.Context, id string, revision int64) error {
	return s.changeClient(ctx, id, func(b *bolt.Bucket, key []byte, current int64) error {
		if err := expect(current, revision); err != nil {
			return err
		}
		return b.Delete(key)
	})
}

// changeClient calls change with the record's revision, 0 for none, within a transaction.
func (s *Store) changeClient(ctx context.Context, id string, change func(b *bolt.Bucket, key []byte, current int64) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := []byte(id)
	return s.update(func(tx *bolt.Tx) error {
		current, _, err := s.get(tx, clientsBucket, key)
		if err != nil {
			return err
		}
		return change(tx.Bucket(clientsBucket), key, current)
	})
}

func expect(current, revision int64) error {
	switch current {
	case 0:
		return client.ErrNotFound
	case revision:
		return nil
	default:
		return client.ErrConflict
	}
}

func putClient(b *bolt.Bucket, key []byte, r *client.Record, revision int64) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	return b.Put(key, seal(key, revision, document))
}

// Clients implements client.Store, in the order of ids. yield may use the store.
func (s *Store) Clients(ctx context.Context, yield func(*client.Stored) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// A laptop's clients are few. Within the transaction, a write by yield could wait for itself.
	var list []*client.Stored
	err := s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(clientsBucket).ForEach(func(key, value []byte) error {
			revision, document, err := s.unseal(key, value)
			if err != nil {
				return err
			}
			c, err := readClient(string(key), revision, document)
			list = append(list, c)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, c := range list {
		if !yield(c) {
			return nil
		}
	}
	return nil
}

// PublicKeys implements keyring.PublicStore.
func (s *Store) PublicKeys(ctx context.Context) (d *keyring.PublicDocument, revision int64, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	err = s.view(func(tx *bolt.Tx) error {
		current, document, err := s.get(tx, keysBucket, publicKeysKey)
		if err != nil {
			return err
		}
		if current == 0 {
			return keyring.ErrNoKeys
		}
		revision = current
		d, err = keyring.ParsePublicDocument(document)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return d, revision, nil
}

// PutPublicKeys implements keyring.PublicStore.
func (s *Store) PutPublicKeys(ctx context.Context, d *keyring.PublicDocument, revision int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	document, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return s.update(func(tx *bolt.Tx) error {
		current, _, err := s.get(tx, keysBucket, publicKeysKey)
		if err != nil {
			return err
		}
		if current != revision {
			return keyring.ErrConflict
		}
		return tx.Bucket(keysBucket).Put(publicKeysKey, seal(publicKeysKey, revision+1, document))
	})
}
