package adminsock

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/latchkey-auth/latchkey/pkg/user"
)

var _ user.Store = (*Store)(nil)

// User implements user.Store.
func (s *Store) User(ctx context.Context, username string) (*user.Stored, error) {
	a, err := s.call(ctx, "user", request{ID: username})
	if err != nil {
		return nil, err
	}
	return a.user(username)
}

// CreateUser implements user.Store.
func (s *Store) CreateUser(ctx context.Context, r *user.Record) error {
	return s.writeUser(ctx, "create-user", r, 0)
}

// UpdateUser implements user.Store.
func (s *Store) UpdateUser(ctx context.Context, r *user.Record, revision int64) error {
	return s.writeUser(ctx, "update-user", r, revision)
}

func (s *Store) writeUser(ctx context.Context, operation string, r *user.Record, revision int64) error {
	document, err := r.Marshal()
	if err != nil {
		return err
	}
	_, err = s.call(ctx, operation, request{Revision: revision, Document: document})
	return err
}

// DeleteUser implements user.Store.
func (s *Store) DeleteUser(ctx context.Context, username string, revision int64) error {
	_, err := s.call(ctx, "delete-user", request{ID: username, Revision: revision})
	return err
}

// Users implements user.Store, in the order of the store that is served. Records come one by one, so that yield may have
// been called before an error is returned.
func (s *Store) Users(ctx context.Context, yield func(*user.Stored) bool) error {
	lines, err := s.open(ctx, "users", request{})
	if err != nil {
		return err
	}
	defer lines.Close()
	for {
		a, err := lines.next(ctx)
		if err != nil || a.End {
			return err
		}
		var named struct {
			Username string `json:"username"`
		}
		if err := json.Unmarshal(a.Document, &named); err != nil {
			return fmt.Errorf("the answer of `latchkey dev`: %w", err)
		}
		u, err := a.user(named.Username)
		if err != nil {
			return err
		}
		if !yield(u) {
			return nil
		}
	}
}

func (a *answer) user(username string) (*user.Stored, error) {
	r, err := user.Unmarshal(username, a.Document)
	if err != nil {
		return nil, err
	}
	return &user.Stored{Record: *r, Revision: a.Revision}, nil
}

// handleUsers adds the operations on single users.
func handleUsers(handle func(name string, operation func(context.Context, request) (answer, error)), b user.Store) {
	handle("user", func(ctx context.Context, q request) (answer, error) {
		u, err := b.User(ctx, q.ID)
		if err != nil {
			return answer{}, err
		}
		return userAnswer(u)
	})
	handle("create-user", func(ctx context.Context, q request) (answer, error) {
		r, err := userDocument(q)
		if err != nil {
			return answer{}, err
		}
		return answer{}, b.CreateUser(ctx, r)
	})
	handle("update-user", func(ctx context.Context, q request) (answer, error) {
		r, err := userDocument(q)
		if err != nil {
			return answer{}, err
		}
		return answer{}, b.UpdateUser(ctx, r, q.Revision)
	})
	handle("delete-user", func(ctx context.Context, q request) (answer, error) {
		return answer{}, b.DeleteUser(ctx, q.ID, q.Revision)
	})
}

func userDocument(q request) (*user.Record, error) {
	var r user.Record
	if err := json.Unmarshal(q.Document, &r); err != nil {
		return nil, fmt.Errorf("the record: %w", err)
	}
	return &r, nil
}

// listUsers writes a line for each record and one for the end, without which the list is not whole.
func listUsers(w http.ResponseWriter, r *http.Request, b Backend) {
	last := answer{End: true}
	if _, err := readRequest(w, r); err != nil {
		_ = write(w, failure(err))
		return
	}
	var broken error
	err := b.Users(r.Context(), func(u *user.Stored) bool {
		var line answer
		if line, broken = userAnswer(u); broken == nil {
			broken = write(w, line)
		}
		return broken == nil
	})
	if err == nil {
		err = broken
	}
	if err != nil {
		last = failure(err)
	}
	_ = write(w, last) // who has gone away needs no answer
}

func userAnswer(u *user.Stored) (answer, error) {
	document, err := u.Record.Marshal()
	return answer{Revision: u.Revision, Document: document}, err
}
