// Package usertest keeps users and their sign-ins in memory, for tests in which a store on disk would be what is measured.
package usertest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/user"
	"github.com/latchkey-auth/latchkey/pkg/user/backoff"
)

// Store is a user.Store and a backoff.Store. The zero value is empty.
type Store struct {
	mu    sync.Mutex
	users map[string]user.Stored
	tries map[string]backoff.Count

	// Fault, where it is set, is called before each operation, which fails with what it returns.
	Fault func(operation string) error
}

var (
	_ user.Store    = (*Store)(nil)
	_ backoff.Store = (*Store)(nil)
)

// enter begins an operation; leave ends it.
func (s *Store) enter(ctx context.Context, operation string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.Fault != nil {
		if err := s.Fault(operation); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if s.users == nil {
		s.users, s.tries = map[string]user.Stored{}, map[string]backoff.Count{}
	}
	return nil
}

// User implements user.Store.
func (s *Store) User(ctx context.Context, username string) (*user.Stored, error) {
	if err := s.enter(ctx, "User"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	found, ok := s.users[username]
	if !ok {
		return nil, user.ErrNotFound
	}
	return read(found)
}

// read makes a copy as a store does: by the stored form.
func read(stored user.Stored) (*user.Stored, error) {
	document, err := stored.Record.Marshal()
	if err != nil {
		return nil, err
	}
	r, err := user.Unmarshal(stored.Username, document)
	if err != nil {
		return nil, err
	}
	return &user.Stored{Record: *r, Revision: stored.Revision}, nil
}

// CreateUser implements user.Store.
func (s *Store) CreateUser(ctx context.Context, r *user.Record) error {
	if err := s.enter(ctx, "CreateUser"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if _, ok := s.users[r.Username]; ok {
		return user.ErrExists
	}
	s.put(r, 1)
	return nil
}

func (s *Store) put(r *user.Record, revision int64) {
	kept := *r
	kept.Scopes = slices.Clone(r.Scopes)
	s.users[r.Username] = user.Stored{Record: kept, Revision: revision}
}

// UpdateUser implements user.Store.
func (s *Store) UpdateUser(ctx context.Context, r *user.Record, revision int64) error {
	if err := s.enter(ctx, "UpdateUser"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if err := s.expect(r.Username, revision); err != nil {
		return err
	}
	if s.users[r.Username].Handle != r.Handle {
		return user.ErrConflict
	}
	s.put(r, revision+1)
	return nil
}

// DeleteUser implements user.Store.
func (s *Store) DeleteUser(ctx context.Context, username string, revision int64) error {
	if err := s.enter(ctx, "DeleteUser"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if err := s.expect(username, revision); err != nil {
		return err
	}
	delete(s.users, username)
	return nil
}

func (s *Store) expect(username string, revision int64) error {
	switch found, ok := s.users[username]; {
	case !ok:
		return user.ErrNotFound
	case found.Revision != revision:
		return user.ErrConflict
	}
	return nil
}

// Users implements user.Store.
func (s *Store) Users(ctx context.Context, yield func(*user.Stored) bool) error {
	if err := s.enter(ctx, "Users"); err != nil {
		return err
	}
	var list []*user.Stored
	for _, stored := range s.users {
		u, err := read(stored)
		if err != nil {
			s.mu.Unlock()
			return err
		}
		list = append(list, u)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *user.Stored) int { return cmp.Compare(a.Username, b.Username) })
	for _, u := range list {
		if !yield(u) {
			break
		}
	}
	return nil
}

// Tries implements backoff.Store.
func (s *Store) Tries(ctx context.Context, key string) (backoff.Count, error) {
	if err := s.enter(ctx, "Tries"); err != nil {
		return backoff.Count{}, err
	}
	defer s.mu.Unlock()
	return s.tries[key], nil
}

// AddTry implements backoff.Store.
func (s *Store) AddTry(ctx context.Context, key string, most int64, now, expires time.Time) (backoff.Count, bool, error) {
	if err := s.enter(ctx, "AddTry"); err != nil {
		return backoff.Count{}, false, err
	}
	defer s.mu.Unlock()
	c, ok := s.tries[key]
	if ok && (c.N >= most || !c.Expires.After(now)) {
		return c, false, nil
	}
	c.N, c.Expires = c.N+1, expires
	s.tries[key] = c
	return c, true, nil
}

// SwapTries implements backoff.Store.
func (s *Store) SwapTries(ctx context.Context, key string, seen, next backoff.Count) (bool, error) {
	if err := s.enter(ctx, "SwapTries"); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	if s.tries[key] != seen {
		return false, nil
	}
	s.tries[key] = next
	return true, nil
}

// TakeTry implements backoff.Store.
func (s *Store) TakeTry(ctx context.Context, key string) error {
	if err := s.enter(ctx, "TakeTry"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if c, ok := s.tries[key]; ok && c.N > 0 {
		c.N--
		s.tries[key] = c
	}
	return nil
}

// SetTries implements backoff.Store.
func (s *Store) SetTries(ctx context.Context, key string, c backoff.Count) error {
	if err := s.enter(ctx, "SetTries"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if c == (backoff.Count{}) {
		delete(s.tries, key)
	} else {
		s.tries[key] = c
	}
	return nil
}

// Keys returns the keys under which tries are counted.
func (s *Store) Keys() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.tries {
		keys = append(keys, key)
	}
	return keys
}
