package user

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Registry is what an operator does with users. Each operation is one conditional write of one record, and one that ends
// tokens is two; one that loses a race is done again on the newer record. Its zero value but for Store is ready.
type Registry struct {
	Store Store
	// Revocations is told of whatever ends tokens that are out, as soon as the record is written: whatever was made of the
	// record as it was is then ended by what is said, and nothing like it is made any more when that is forgotten. A record
	// whose change was not told yet is marked so, and the operation, or any other, can be done again for that. Nil: nothing
	// is told, and such tokens live to their end.
	Revocations revocation.Appender
	// CannotTell is for a Registry without Revocations that has to have them: what would end tokens fails with it, and
	// nothing is written. Nil: it is done, and nothing is told.
	CannotTell error
	// Changed is told of each change once it is written. The first record is nil for a new user, the second for one that is
	// gone. Nil: nobody is told.
	Changed func(ctx context.Context, before, after *Record)
	Now     func() time.Time // nil: time.Now
}

// ErrUntold is wrapped by the error of an operation that has changed the record and not ended the tokens that are out, or
// may not have: it has to be done again.
var ErrUntold = errors.New("the record was changed, but tokens that are out may live on: do it again")

func (g *Registry) now() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
}

func (g *Registry) changed(ctx context.Context, before, after *Record) {
	if g.Changed != nil {
		g.Changed(ctx, before, after)
	}
}

// tell says that tokens which sealed the record below its epoch are over, if that is still to be said, and takes the mark
// away. The record is one that was written at that revision.
func (g *Registry) tell(ctx context.Context, r *Record, revision int64) error {
	if !r.Untold || g.Revocations == nil {
		return nil
	}
	if err := g.Revocations.Append(ctx, revocation.Below(r.Handle, r.Epoch, g.now())); err != nil {
		return fmt.Errorf("%w: telling that they are revoked: %w", ErrUntold, err)
	}
	told := *r
	told.Untold = false
	// Should the record have changed meanwhile, whoever changed it saw the mark, and tells too. Should the write fail, the
	// next one tells it again, which does no harm.
	if err := g.Store.UpdateUser(ctx, &told, revision); err == nil {
		r.Untold = false
	}
	return nil
}

// InvalidError says what is wrong with what the operator asked for; nothing was written. A stored record that is wrong is
// another error.
type InvalidError struct{ cause error }

func (e *InvalidError) Error() string { return e.cause.Error() }

// Spec is what an operator says of a new user.
type Spec struct {
	Username string
	Name     string
	Scopes   oauth.Scope
	Password string
}

// Create registers a user.
func (g *Registry) Create(ctx context.Context, s Spec) (*Record, error) {
	now := g.now().Unix()
	username, err := Normalize(s.Username)
	if err != nil {
		return nil, &InvalidError{err}
	}
	r := &Record{
		Version: RecordVersion, Username: username, ID: token.NewID(IDPrefix), Name: s.Name, Scopes: s.Scopes,
		Epoch: 1, Handle: token.NewID("h_"), PasswordSetAt: now, CreatedAt: now, UpdatedAt: now,
	}
	if r.Password, err = Hash(s.Password, r); err != nil {
		return nil, &InvalidError{err}
	}
	if err := r.Validate(); err != nil {
		return nil, &InvalidError{err}
	}
	if err := g.Store.CreateUser(ctx, r); err != nil {
		return nil, err
	}
	g.changed(ctx, nil, r)
	return r, nil
}

// Get returns the record of the user of a name, in whatever spelling.
func (g *Registry) Get(ctx context.Context, username string) (*Record, error) {
	s, err := g.stored(ctx, username)
	if err != nil {
		return nil, err
	}
	return &s.Record, nil
}

func (g *Registry) stored(ctx context.Context, username string) (*Stored, error) {
	username, err := Normalize(username)
	if err != nil {
		return nil, &InvalidError{err}
	}
	return g.Store.User(ctx, username)
}

// List returns all records in the order of their names.
func (g *Registry) List(ctx context.Context) ([]*Record, error) {
	var list []*Record
	err := g.Store.Users(ctx, func(s *Stored) bool {
		list = append(list, &s.Record)
		return true
	})
	slices.SortFunc(list, func(a, b *Record) int { return strings.Compare(a.Username, b.Username) })
	return list, err
}

// Update changes a record by the function given, which may be called more than once. What a record is told by (its name,
// its id, its handle, when it was made) stays whatever the function does, and its epoch never shrinks. Whatever the function
// takes from the user (scopes, the password that was, being enabled) makes the record's epoch grow, by which tokens made
// before are told, and Revocations tells it. With an error that is ErrUntold it returns the record besides.
func (g *Registry) Update(ctx context.Context, username string, change func(*Record) error) (*Record, error) {
	for range 10 {
		stored, err := g.stored(ctx, username)
		if err != nil {
			return nil, err
		}
		after := stored.Record
		r := &after
		r.Scopes = slices.Clone(stored.Scopes)
		if err := change(r); err != nil {
			return nil, err
		}
		r.Version, r.Username, r.ID, r.Handle, r.CreatedAt = stored.Version, stored.Username, stored.ID, stored.Handle, stored.CreatedAt
		r.UpdatedAt = g.now().Unix()
		least := stored.Epoch
		if narrows(&stored.Record, r) {
			least++
		}
		r.Epoch = max(r.Epoch, least)
		if err := r.Validate(); err != nil {
			return nil, &InvalidError{err}
		}
		if r.Epoch > stored.Epoch && g.CannotTell != nil {
			return nil, g.CannotTell
		}
		r.Untold = stored.Untold || g.Revocations != nil && r.Epoch > stored.Epoch
		err = g.Store.UpdateUser(ctx, r, stored.Revision)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		g.changed(ctx, &stored.Record, r)
		return r, g.tell(ctx, r, stored.Revision+1)
	}
	return nil, ErrConflict
}

// narrows reports whether tokens for the user must be made anew.
func narrows(before, after *Record) bool {
	return !before.Scopes.Within(after.Scopes) || before.Password != after.Password || after.Disabled && !before.Disabled
}

// SetDisabled disables or enables a user.
func (g *Registry) SetDisabled(ctx context.Context, username string, disabled bool) (*Record, error) {
	return g.Update(ctx, username, func(r *Record) error {
		r.Disabled = disabled
		return nil
	})
}

// SetPassword replaces a user's password. Tokens that are out end with the old one.
func (g *Registry) SetPassword(ctx context.Context, username, password string) (*Record, error) {
	return g.Update(ctx, username, func(r *Record) (err error) {
		if r.Password, err = Hash(password, r); err != nil {
			return &InvalidError{err}
		}
		r.PasswordSetAt = g.now().Unix()
		return nil
	})
}

// RevokeTokens ends all tokens for a user that are out. The user may sign in again.
func (g *Registry) RevokeTokens(ctx context.Context, username string) (*Record, error) {
	return g.Update(ctx, username, func(r *Record) error {
		r.Epoch++
		return nil
	})
}

// Delete removes a user, disabling it first. The name may be given again; the new user shares nothing with the old.
func (g *Registry) Delete(ctx context.Context, username string) error {
	for range 10 {
		disabled, err := g.Update(ctx, username, func(r *Record) error {
			r.Disabled = true
			r.Epoch++ // whether or not it was disabled before
			return nil
		})
		if err != nil {
			return err
		}
		stored, err := g.stored(ctx, username)
		if err != nil {
			return err
		}
		if !stored.Disabled || stored.Epoch != disabled.Epoch || stored.Handle != disabled.Handle {
			continue // somebody enabled it meanwhile: what it was given since then has to end too
		}
		err = g.Store.DeleteUser(ctx, stored.Username, stored.Revision)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err == nil {
			g.changed(ctx, &stored.Record, nil)
		}
		return err
	}
	return ErrConflict
}
