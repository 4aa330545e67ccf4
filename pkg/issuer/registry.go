package issuer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Registry is what an operator does with issuers. Each operation is one conditional write of one record, and one that ends
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
	// Changed is told of each change once it is written. The first record is nil for a new issuer, the second for one that is
	// gone. Nil: nobody is told.
	Changed func(ctx context.Context, before, after *Record)
	Now     func() time.Time // nil: time.Now
}

// ErrUntold is wrapped by the error of an operation that has changed the record and not ended the tokens that are out, or
// may not have: it has to be done again.
var ErrUntold = errors.New("the record was changed, but tokens that are out may live on: do it again")

// InvalidError says what is wrong with what the operator asked for; nothing was written.
type InvalidError struct{ cause error }

func (e *InvalidError) Error() string { return e.cause.Error() }

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
	if err := g.Store.UpdateIssuer(ctx, &told, revision); err == nil {
		r.Untold = false
	}
	return nil
}

// Add has an issuer trusted. What a record is told by (version, handle, epoch, times) is filled in.
func (g *Registry) Add(ctx context.Context, r Record) (*Record, error) {
	now := g.now().Unix()
	added := r.clone()
	added.Version, added.Epoch, added.Handle, added.CreatedAt, added.UpdatedAt = RecordVersion, 1, token.NewID("i_"), now, now
	if err := added.Validate(); err != nil {
		return nil, &InvalidError{err}
	}
	if err := g.Store.CreateIssuer(ctx, added); err != nil {
		return nil, err
	}
	g.changed(ctx, nil, added)
	return added, nil
}

// Get returns an issuer's record.
func (g *Registry) Get(ctx context.Context, url string) (*Record, error) {
	s, err := g.Store.Issuer(ctx, url)
	if err != nil {
		return nil, err
	}
	return &s.Record, nil
}

// List returns all records in the order of their URLs.
func (g *Registry) List(ctx context.Context) ([]*Record, error) {
	var list []*Record
	err := g.Store.Issuers(ctx, func(s *Stored) bool {
		list = append(list, &s.Record)
		return true
	})
	slices.SortFunc(list, func(a, b *Record) int { return strings.Compare(a.URL, b.URL) })
	return list, err
}

// Update changes a record by the function given, which may be called more than once. What a record is told by stays whatever
// the function does, and its epoch never shrinks. Whatever the function takes from the issuer makes the epoch grow, by which
// tokens made before are told, and Revocations tells it. With an error that is ErrUntold it returns the record besides.
func (g *Registry) Update(ctx context.Context, url string, change func(*Record) error) (*Record, error) {
	for range 10 {
		stored, err := g.Store.Issuer(ctx, url)
		if err != nil {
			return nil, err
		}
		r := stored.clone()
		if err := change(r); err != nil {
			return nil, err
		}
		r.Version, r.URL, r.Handle, r.CreatedAt = stored.Version, stored.URL, stored.Handle, stored.CreatedAt
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
		err = g.Store.UpdateIssuer(ctx, r, stored.Revision)
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

// narrows reports whether something that was taken is not any more, or comes to be somebody else's. Other claims to have are
// such a thing whichever they are; an age is not, for it was judged when it was due.
func narrows(before, after *Record) bool {
	lost := func(a, b []string) bool {
		return slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
	}
	return lost(before.Scopes, after.Scopes) || lost(before.Audiences, after.Audiences) || lost(before.Algorithms, after.Algorithms) ||
		before.Keys != after.Keys || before.SubjectClaim != after.SubjectClaim ||
		!maps.EqualFunc(before.Claims, after.Claims, slices.Equal) || !maps.Equal(before.Users, after.Users) ||
		after.UsersOnly && !before.UsersOnly || after.Disabled && !before.Disabled
}

// RevokeTokens ends all grants that rest on an issuer's word. Its tokens are taken again.
func (g *Registry) RevokeTokens(ctx context.Context, url string) (*Record, error) {
	return g.Update(ctx, url, func(r *Record) error {
		r.Epoch++
		return nil
	})
}

// Remove ends the trust in an issuer, and all grants that rest on its word. It may be added again, and shares nothing with what
// it was.
func (g *Registry) Remove(ctx context.Context, url string) error {
	for range 10 {
		disabled, err := g.Update(ctx, url, func(r *Record) error {
			r.Disabled = true
			r.Epoch++ // whether or not it was disabled before
			return nil
		})
		if err != nil {
			return err
		}
		stored, err := g.Store.Issuer(ctx, url)
		if err != nil {
			return err
		}
		if !stored.Disabled || stored.Epoch != disabled.Epoch || stored.Handle != disabled.Handle {
			continue // somebody enabled it meanwhile: what it was given since then has to end too
		}
		err = g.Store.DeleteIssuer(ctx, stored.URL, stored.Revision)
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
