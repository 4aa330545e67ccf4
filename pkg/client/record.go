// Package client is the registered client: its record and its secrets, the rules by which an operator changes them, and
// the Authenticator that checks a client's credentials at sign-in.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/members"
	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Record is a registered client.
type Record struct {
	Version int    `json:"version"` // RecordVersion
	ID      string `json:"client_id"`
	Name    string `json:"name,omitempty"` // for people

	Scopes    oauth.Scope `json:"scopes"`    // all that it may be granted
	Audiences []string    `json:"audiences"` // that its tokens may be for; the first is the default
	Grants    []string    `json:"grants"`    // grant types; without refresh_token it gets no refresh token

	// Introspects are the audiences for tokens of which it may ask the introspection endpoint: those of the resource server
	// that this client is. Usually none.
	Introspects []string `json:"introspects,omitempty"`

	// Keys are the client's own, for private_key_jwt. Usually none.
	Keys assertion.KeySource `json:"keys,omitempty"`
	// TokenEndpointAudience takes assertions that are for the token endpoint's URL, besides those that are for the issuer.
	TokenEndpointAudience bool `json:"token_endpoint_audience,omitempty"`
	// Identities are what the client is elsewhere: it signs in by a token of that issuer's, too.
	Identities []Identity `json:"identities,omitempty"`
	// AssertionIssuers are those whose tokens it may come with in the JWT bearer grant.
	AssertionIssuers []string `json:"assertion_issuers,omitempty"`
	// ForwardsUserAddress says that the client tells the address of the user who signs in through it, and is believed: for a
	// web application, whose own address is the same for all of its users. With it, tries are counted by that.
	ForwardsUserAddress bool `json:"forwards_user_address,omitempty"`

	// Lifetimes in seconds, 0 for the default; the deployment's caps bound them.
	AccessTokenLifetime  int64 `json:"access_token_lifetime,omitempty"`
	RefreshTokenLifetime int64 `json:"refresh_token_lifetime,omitempty"` // unused for this long, a refresh token ends
	GrantLifetime        int64 `json:"grant_lifetime,omitempty"`         // from sign-in to the end of the last token

	RefreshMode token.Mode `json:"refresh_mode"`

	// Epoch grows whenever something is taken from the client; Handle is random, so that an id which is deleted and
	// registered again shares nothing with its predecessor. Tokens seal both.
	Epoch  int64  `json:"epoch"`
	Handle string `json:"handle"`
	// Untold is set from when the epoch has grown until the revocations have been told. Whoever changes the record next tells
	// them, should the one that set it not have got that far.
	Untold bool `json:"untold,omitempty"`

	Disabled bool           `json:"disabled,omitempty"`
	Secrets  []StoredSecret `json:"secrets"` // at most MaxSecrets live ones

	CreatedAt int64 `json:"created_at"` // seconds since 1970
	UpdatedAt int64 `json:"updated_at"`

	// RestsOn are other records that a sign-in by this one rests on, never stored: see With.
	RestsOn token.Epochs `json:"-"`
	// Later are members that a newer release wrote and this one does not know. They are kept as they are.
	Later members.Later `json:"-"`
}

type plain Record

// MarshalJSON writes Later with the rest.
func (r Record) MarshalJSON() ([]byte, error) { return members.Marshal(plain(r), r.Later) }

// UnmarshalJSON reads into Later what this release does not know.
func (r *Record) UnmarshalJSON(data []byte) (err error) {
	r.Later, err = members.Unmarshal(data, (*plain)(r))
	return err
}

// With returns the record as one whose sign-in rests on other records as well: Sealed has theirs, too.
func (r *Record) With(epochs token.Epochs) *Record {
	c := *r
	c.RestsOn = epochs
	return &c
}

// RecordVersion is the version that this release writes.
const RecordVersion = 1

// Bounds of a record, so that every token made from it stays within token.MaxLength, whatever key signs it.
const (
	MaxScopes    = 100
	MaxAudiences = 10
	MaxNameLen   = 128
	MaxScopeLen  = 1920 // of the scope's wire form, in bytes
	MaxAudience  = 256  // of one audience, in bytes
)

// Default lifetimes.
const (
	DefaultAccessTokenLifetime = 15 * time.Minute
	DefaultBearerGrantLifetime = 24 * time.Hour      // a bearer grant does not slide: this bounds a thief's window
	DefaultGrantLifetime       = 30 * 24 * time.Hour // with a mode that needs more than the token
	DefaultRefreshLifetime     = 7 * 24 * time.Hour  // in such a mode; a bearer token lasts as long as its grant
)

// ValidID reports whether id has the form of a client id: 3 to 64 lower-case letters, digits and hyphens. No user's and
// no external subject has it, so that a token's sub can't be taken for another's (RFC 9068 §5).
func ValidID(id string) bool {
	// Not a regular expression: compiling one takes a tenth of a function's start.
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(id) >= 3 && len(id) <= 64
}

// Allows reports whether the client is registered for a grant type.
func (r *Record) Allows(grant string) bool { return slices.Contains(r.Grants, grant) }

// HasSecret reports whether text is one of the client's live secrets. It is for operators: at sign-in, ask an
// Authenticator, for which all refusals take the same time.
func (r *Record) HasSecret(text string, now time.Time) bool { return matches(r.Secrets, text, now) }

// AccessLifetime is how long its access tokens last, before the deployment's cap.
func (r *Record) AccessLifetime() time.Duration {
	return orDefault(r.AccessTokenLifetime, DefaultAccessTokenLifetime)
}

// GrantDuration is how long its grants last, before the deployment's cap.
func (r *Record) GrantDuration() time.Duration {
	if r.RefreshMode == token.ModeBearer {
		return orDefault(r.GrantLifetime, DefaultBearerGrantLifetime)
	}
	return orDefault(r.GrantLifetime, DefaultGrantLifetime)
}

// RefreshLifetime is how long a refresh token lasts unused, before the grant's end.
func (r *Record) RefreshLifetime() time.Duration {
	if r.RefreshMode == token.ModeBearer {
		return orDefault(r.RefreshTokenLifetime, r.GrantDuration())
	}
	return orDefault(r.RefreshTokenLifetime, DefaultRefreshLifetime)
}

func orDefault(seconds int64, d time.Duration) time.Duration {
	if seconds == 0 {
		return d
	}
	return time.Duration(seconds) * time.Second
}

// Sealed is what tokens seal of the record's state.
func (r *Record) Sealed() token.Epochs {
	return append(token.Epochs{{Handle: r.Handle, N: r.Epoch}}, r.RestsOn...)
}

// Validate says what is wrong with the record, in words for the operator.
func (r *Record) Validate() error {
	switch {
	case !ValidID(r.ID):
		return fmt.Errorf("client id %q: it must be 3 to 64 lower-case letters, digits and hyphens", r.ID)
	case len(r.Name) > MaxNameLen:
		return fmt.Errorf("the name is longer than %d bytes", MaxNameLen)
	case len(r.Scopes) > MaxScopes || len(r.Scopes.String()) > MaxScopeLen:
		return fmt.Errorf("the scopes are more than %d, or longer than %d bytes", MaxScopes, MaxScopeLen)
	case !validScopes(r.Scopes):
		return errors.New("a scope holds a character that a scope token can't (RFC 6749 section 3.3), or is named twice")
	case len(r.Audiences) == 0 || len(r.Audiences) > MaxAudiences:
		return fmt.Errorf("there must be 1 to %d audiences", MaxAudiences)
	case len(r.Introspects) > MaxAudiences:
		return fmt.Errorf("there may be at most %d audiences to introspect", MaxAudiences)
	case len(r.Grants) == 0:
		return errors.New("there must be at least one grant type")
	case !slices.Contains(token.Modes, r.RefreshMode):
		return fmt.Errorf("refresh mode %q: it must be bearer, dpop, mtls, rotating or secret", r.RefreshMode)
	case r.Handle == "" || r.Epoch < 1:
		return errors.New("the handle or the epoch is missing")
	case r.AccessTokenLifetime < 0 || r.RefreshTokenLifetime < 0 || r.GrantLifetime < 0:
		return errors.New("a lifetime is negative")
	case r.AccessTokenLifetime != 0 && r.AccessTokenLifetime < 60:
		return errors.New("an access token must last at least a minute")
	}
	for _, g := range r.Grants {
		if !slices.Contains(grantTypes, g) {
			return fmt.Errorf("grant type %q: it must be client_credentials, refresh_token, password or %s", g, oauth.GrantJWTBearer)
		}
	}
	for _, a := range slices.Concat(r.Audiences, r.Introspects) {
		if err := validAudience(a); err != nil {
			return err
		}
	}
	return r.validateAssertions()
}

var grantTypes = []string{oauth.GrantClientCredentials, oauth.GrantRefreshToken, oauth.GrantPassword, oauth.GrantJWTBearer}

// validScopes reports whether the wire form says the same.
func validScopes(s oauth.Scope) bool {
	parsed, err := oauth.ParseScope(s.String())
	return err == nil && slices.Equal(parsed, s)
}

// notURI are characters that url.Parse takes but that no URI holds (RFC 3986 §2), and the fragment's sign.
func notURI(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("#\"<>\\^`{|}", r)
}

// validAudience takes absolute URIs without a fragment (RFC 8707 §2).
func validAudience(a string) error {
	u, err := url.Parse(a)
	if err != nil || u.Scheme == "" || strings.ContainsFunc(a, notURI) || len(a) > MaxAudience {
		return fmt.Errorf("audience %q: it must be an absolute URI without a fragment, of at most %d bytes (RFC 8707 section 2)", a, MaxAudience)
	}
	return nil
}

// Marshal is the stored form.
func (r *Record) Marshal() ([]byte, error) { return json.Marshal(r) }

// Unmarshal reads the stored form of the client id.
func Unmarshal(id string, data []byte) (*Record, error) {
	var r Record
	if err := r.UnmarshalJSON(data); err != nil {
		return nil, fmt.Errorf("the record of client %s is damaged: %w", id, err)
	}
	if r.Version != RecordVersion {
		return nil, fmt.Errorf("the record of client %s has version %d, this release reads %d", id, r.Version, RecordVersion)
	}
	if r.ID != id {
		return nil, fmt.Errorf("the record under client id %s is another's", id)
	}
	return &r, r.Validate()
}

// What a store answers besides outages.
var (
	ErrNotFound = errors.New("no such client")
	ErrExists   = errors.New("a client of that id exists")
	// ErrConflict says that the record changed since it was read.
	ErrConflict = errors.New("the client was changed by someone else")
)

// Stored is a record with the store's revision of it, which grows with each write.
type Stored struct {
	Record
	Revision int64
}

// Store keeps records. Each method is atomic on its one record; reads see the last write.
type Store interface {
	// Client returns a record, or ErrNotFound.
	Client(ctx context.Context, id string) (*Stored, error)
	// CreateClient writes a record at revision 1, or returns ErrExists.
	CreateClient(ctx context.Context, r *Record) error
	// UpdateClient writes a record over that revision, at the next one: ErrConflict if the stored one is another,
	// ErrNotFound if there is none.
	UpdateClient(ctx context.Context, r *Record, revision int64) error
	// DeleteClient removes a record of that revision: ErrConflict if the stored one is another, ErrNotFound if there is
	// none.
	DeleteClient(ctx context.Context, id string, revision int64) error
	// Clients calls yield with each record, in the order of ids on the laptop and in any order on DynamoDB, until it
	// returns false.
	Clients(ctx context.Context, yield func(*Stored) bool) error
}
