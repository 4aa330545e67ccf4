package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Registry is what an operator does with clients. Each operation is one conditional write of one record, and one that ends
// tokens is two; one that loses a race is done again on the newer record. Its zero value but for Store is ready.
type Registry struct {
	Store Store
	// Revocations is told of whatever ends tokens that are out, as soon as the record is written: whatever was made of the
	// record as it was, by those who remember it for a while too, is then ended by what is said, and nothing like it is made
	// any more when that is forgotten. A record whose change was not told yet is marked so, and the operation, or any other,
	// can be done again for that. Nil: nothing is told, and such tokens live to their end.
	Revocations revocation.Appender
	// Changed is told of each change once it is written. The first record is nil for a new client, the second for one that is
	// gone. Nil: nobody is told.
	Changed func(ctx context.Context, before, after *Record)
	// CannotTell is for a Registry without Revocations that has to have them: what would end tokens fails with it, and
	// nothing is written. Nil: it is done, and nothing is told.
	CannotTell error
	Now        func() time.Time // nil: time.Now
}

// ErrUntold is wrapped by the error of an operation that has changed the record and not ended the tokens that are out, or
// may not have: it has to be done again.
var ErrUntold = errors.New("the record was changed, but tokens that are out may live on: do it again")

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
	if err := g.Store.UpdateClient(ctx, &told, revision); err == nil {
		r.Untold = false
	}
	return nil
}

func (g *Registry) changed(ctx context.Context, before, after *Record) {
	if g.Changed != nil {
		g.Changed(ctx, before, after)
	}
}

func (g *Registry) now() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
}

// InvalidError says what is wrong with what the operator asked for; nothing was written. A stored record that is wrong is
// another error.
type InvalidError struct{ cause error }

func (e *InvalidError) Error() string { return e.cause.Error() }

// Spec is what an operator says of a new client. The zero value of a field is its default.
type Spec struct {
	ID        string
	Name      string
	Scopes    oauth.Scope
	Audiences []string
	Grants    []string // default: client_credentials and refresh_token

	Introspects []string // default: none

	ForwardsUserAddress bool // default: it does not

	AccessTokenLifetime  time.Duration
	RefreshTokenLifetime time.Duration
	GrantLifetime        time.Duration
	RefreshMode          token.Mode // default: bearer

	SecretLifetime time.Duration // 0: its secret never expires

	Keys                  assertion.KeySource
	TokenEndpointAudience bool
	Identities            []Identity
	AssertionIssuers      []string
	NoSecret              bool // it signs in by its keys or its identities alone
}

// Create registers a client and returns its record and its secret, which can't be had again; it is empty for a client that
// has none.
func (g *Registry) Create(ctx context.Context, s Spec) (*Record, string, error) {
	now := g.now()
	if s.Grants == nil {
		s.Grants = []string{oauth.GrantClientCredentials, oauth.GrantRefreshToken}
	}
	if s.RefreshMode == "" {
		s.RefreshMode = token.ModeBearer
	}
	for _, d := range []time.Duration{s.AccessTokenLifetime, s.RefreshTokenLifetime, s.GrantLifetime} {
		if d%time.Second != 0 {
			return nil, "", &InvalidError{fmt.Errorf("lifetime %s: it must be whole seconds", d)}
		}
	}
	text, secret, err := newSecret(now, s.SecretLifetime)
	if err != nil {
		return nil, "", err
	}
	r := &Record{
		Version: RecordVersion, ID: s.ID, Name: s.Name, Scopes: s.Scopes, Audiences: s.Audiences, Grants: s.Grants,
		Introspects:          s.Introspects,
		ForwardsUserAddress:  s.ForwardsUserAddress,
		AccessTokenLifetime:  seconds(s.AccessTokenLifetime),
		RefreshTokenLifetime: seconds(s.RefreshTokenLifetime),
		GrantLifetime:        seconds(s.GrantLifetime),
		RefreshMode:          s.RefreshMode, Epoch: 1, Handle: newHandle(), Secrets: []StoredSecret{secret},
		Keys: s.Keys, TokenEndpointAudience: s.TokenEndpointAudience, Identities: s.Identities, AssertionIssuers: s.AssertionIssuers,
		CreatedAt: now.Unix(), UpdatedAt: now.Unix(),
	}
	if s.NoSecret {
		if r.Keys == "" && len(r.Identities) == 0 {
			return nil, "", &InvalidError{errors.New("a client without a secret needs keys, or an identity")}
		}
		text, r.Secrets = "", []StoredSecret{}
	}
	if err := r.Validate(); err != nil {
		return nil, "", &InvalidError{err}
	}
	if err := g.Store.CreateClient(ctx, r); err != nil {
		return nil, "", err
	}
	g.changed(ctx, nil, r)
	return r, text, nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// Get returns a client's record.
func (g *Registry) Get(ctx context.Context, id string) (*Record, error) {
	s, err := g.Store.Client(ctx, id)
	if err != nil {
		return nil, err
	}
	return &s.Record, nil
}

// List returns all records in the order of their ids.
func (g *Registry) List(ctx context.Context) ([]*Record, error) {
	var list []*Record
	err := g.Store.Clients(ctx, func(s *Stored) bool {
		list = append(list, &s.Record)
		return true
	})
	slices.SortFunc(list, func(a, b *Record) int { return strings.Compare(a.ID, b.ID) })
	return list, err
}

// Update changes a record by the function given, which may be called more than once. What a record is told by (its id,
// its handle, when it was made) stays whatever the function does, and its epoch never shrinks. Whatever the function takes
// from the client (scopes, audiences, grants, what it may introspect, a longer lifetime, the refresh mode it had, being
// enabled) makes the record's epoch grow, by which tokens made before are told, and Revocations tells it. With an error that
// is ErrUntold it returns the record besides.
func (g *Registry) Update(ctx context.Context, id string, change func(*Record) error) (*Record, error) {
	for range 10 {
		stored, err := g.Store.Client(ctx, id)
		if err != nil {
			return nil, err
		}
		r := stored.Record.clone()
		if err := change(r); err != nil {
			return nil, err
		}
		r.Version, r.ID, r.Handle, r.CreatedAt = stored.Version, stored.ID, stored.Handle, stored.CreatedAt
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
		err = g.Store.UpdateClient(ctx, r, stored.Revision)
		switch {
		case errors.Is(err, ErrConflict):
			continue
		case err != nil:
			return nil, err
		}
		g.changed(ctx, &stored.Record, r)
		return r, g.tell(ctx, r, stored.Revision+1)
	}
	return nil, ErrConflict
}

func (r *Record) clone() *Record {
	c := *r
	c.Scopes = slices.Clone(r.Scopes)
	c.Audiences = slices.Clone(r.Audiences)
	c.Grants = slices.Clone(r.Grants)
	c.Introspects = slices.Clone(r.Introspects)
	c.Secrets = slices.Clone(r.Secrets)
	c.Identities = slices.Clone(r.Identities)
	c.AssertionIssuers = slices.Clone(r.AssertionIssuers)
	return &c
}

// narrows reports whether a client may do less with the new record than with the old.
func narrows(before, after *Record) bool {
	lost := func(a, b []string) bool { return !oauth.Scope(a).Within(b) }
	return lost(before.Scopes, after.Scopes) || lost(before.Audiences, after.Audiences) || lost(before.Grants, after.Grants) ||
		lost(before.Introspects, after.Introspects) ||
		after.AccessLifetime() < before.AccessLifetime() || after.RefreshLifetime() < before.RefreshLifetime() ||
		after.GrantDuration() < before.GrantDuration() || before.RefreshMode != after.RefreshMode ||
		narrowsAssertions(before, after) || after.Disabled && !before.Disabled
}

// SetDisabled disables or enables a client.
func (g *Registry) SetDisabled(ctx context.Context, id string, disabled bool) (*Record, error) {
	return g.Update(ctx, id, func(r *Record) error {
		r.Disabled = disabled
		return nil
	})
}

// RevokeTokens ends all tokens of a client that are out. It may sign in again.
func (g *Registry) RevokeTokens(ctx context.Context, id string) (*Record, error) {
	return g.Update(ctx, id, func(r *Record) error {
		r.Epoch++
		return nil
	})
}

// Rotation is how a secret is replaced.
type Rotation struct {
	// Grace is how long the secrets in use stay good, if they don't end sooner anyhow; with 0 they end at once.
	Grace time.Duration
	// Lifetime is the new one's, 0 for no end.
	Lifetime time.Duration
	// RevokeTokens ends the tokens that are out, too.
	RevokeTokens bool
}

// RotateSecret adds a secret and returns it. With an error that is ErrUntold it returns it besides, for it is good already:
// RevokeTokens ends the tokens then.
func (g *Registry) RotateSecret(ctx context.Context, id string, how Rotation) (*Record, string, error) {
	var text string
	r, err := g.Update(ctx, id, func(r *Record) error {
		now := g.now()
		var secret StoredSecret
		var err error
		if text, secret, err = newSecret(now, how.Lifetime); err != nil {
			return err
		}
		if how.RevokeTokens {
			r.Epoch++
		}
		end, soonest := now.Add(how.Grace).Unix(), int64(math.MaxInt64)
		kept := []StoredSecret{}
		for _, s := range r.Secrets {
			expires := s.ExpiresAt
			if expires == 0 || expires > end {
				s.ExpiresAt = end
			}
			if s.live(now) {
				kept = append(kept, s)
				if expires != 0 {
					soonest = min(soonest, expires)
				}
			}
		}
		if len(kept) >= MaxSecrets {
			wait := ""
			if soonest != math.MaxInt64 {
				wait = fmt.Sprintf("wait until %s, when one of them ends, or ", time.Unix(soonest, 0).UTC().Format(time.RFC3339))
			}
			return fmt.Errorf("%d secrets are live already: %srotate with a grace of 0", len(kept), wait)
		}
		r.Secrets = append(kept, secret)
		return nil
	})
	if err != nil && !errors.Is(err, ErrUntold) {
		return nil, "", err
	}
	return r, text, err
}

// newSecret is NewSecret with an end, none for a lifetime of 0.
func newSecret(now time.Time, lifetime time.Duration) (string, StoredSecret, error) {
	if lifetime < 0 {
		return "", StoredSecret{}, &InvalidError{fmt.Errorf("secret lifetime %s: it must not be negative", lifetime)}
	}
	text, secret := NewSecret(now)
	if lifetime != 0 {
		secret.ExpiresAt = now.Add(lifetime).Unix()
	}
	return text, secret, nil
}

// Delete removes a client, disabling it first. Its id may be registered again; the new client shares nothing with the old.
func (g *Registry) Delete(ctx context.Context, id string) error {
	for range 10 {
		disabled, err := g.Update(ctx, id, func(r *Record) error {
			r.Disabled = true
			r.Epoch++ // whether or not it was disabled before
			return nil
		})
		if err != nil {
			return err
		}
		stored, err := g.Store.Client(ctx, id)
		if err != nil {
			return err
		}
		if !stored.Disabled || stored.Epoch != disabled.Epoch || stored.Handle != disabled.Handle {
			continue // somebody enabled it meanwhile: what it was given since then has to end too
		}
		err = g.Store.DeleteClient(ctx, id, stored.Revision)
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
