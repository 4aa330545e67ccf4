// Package issuer is another issuer of tokens that the operator trusts: its record, the rules by which an operator changes it,
// and the Verifier of what it issues.
package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/latchkey-auth/latchkey/internal/members"
	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// Record is a trusted issuer.
type Record struct {
	Version int    `json:"version"` // RecordVersion
	URL     string `json:"issuer"`  // its iss, compared byte by byte
	Name    string `json:"name,omitempty"`

	Keys       assertion.KeySource `json:"keys"`
	Audiences  []string            `json:"audiences"`  // one of which its tokens must name: what it knows us by
	Algorithms []string            `json:"algorithms"` // that it signs by

	// SubjectClaim is the claim that tells one subject from another; empty for sub.
	SubjectClaim string `json:"subject_claim,omitempty"`
	// Claims are those that its tokens must have, each with one of these values.
	Claims map[string][]string `json:"claims,omitempty"`

	// Scopes are all that its word may be granted, through whatever client. A client that signs in by a token of this issuer's
	// has its own scope: the operator has named that very subject there.
	Scopes oauth.Scope `json:"scopes"`
	// MaxAge is how long ago, in seconds, a token may have been issued; 0 for DefaultMaxAge.
	MaxAge int64 `json:"max_age,omitempty"`

	// Users are the subjects that are local users. No claim of a token makes a subject one.
	Users map[string]LocalUser `json:"users,omitempty"`
	// UsersOnly refuses all other subjects.
	UsersOnly bool `json:"users_only,omitempty"`

	// Epoch grows whenever something is taken from the issuer; Handle is random, so that one which is removed and added again
	// shares nothing with its predecessor. Tokens seal both.
	Epoch  int64  `json:"epoch"`
	Handle string `json:"handle"`

	// Disabled refuses all that it says: it is about to be removed.
	Disabled bool `json:"disabled,omitempty"`
	// Untold says that the epoch has grown and that it was not told, or may not have been: see Registry.
	Untold bool `json:"untold,omitempty"`

	CreatedAt int64 `json:"created_at"` // seconds since 1970
	UpdatedAt int64 `json:"updated_at"`

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

// LocalUser names a user by both: a name that is given again is another user's.
type LocalUser struct {
	Username string `json:"username"`
	ID       string `json:"user_id"`
}

// RecordVersion is the version that this release writes.
const RecordVersion = 1

// Bounds of a record.
const (
	MaxAudiences = 10
	MaxClaims    = 10
	MaxValues    = 50
	MaxUsers     = 500
	MaxScopes    = 100
	MaxScopeLen  = 1920 // of the scope's wire form, in bytes
	MaxNameLen   = 128  // in bytes
)

// How old a token may be.
const (
	DefaultMaxAge = 5 * time.Minute
	LongestMaxAge = 24 * time.Hour
)

// Age is how old a token may be.
func (r *Record) Age() time.Duration {
	if r.MaxAge == 0 {
		return DefaultMaxAge
	}
	return time.Duration(r.MaxAge) * time.Second
}

// Sealed is what tokens seal of the record's state.
func (r *Record) Sealed() token.Epochs { return token.Epochs{{Handle: r.Handle, N: r.Epoch}} }

// Subject is the sub of our tokens for a subject of another issuer's. No client's id has an underscore, and no user's begins
// so: no token's sub can be taken for another's kind (RFC 9068 §5).
func Subject(issuer, subject string) string {
	return "x_" + assertion.Hash("subject", issuer, subject)
}

// changeable are claims that may name somebody else tomorrow, or that the subject itself can write (OpenID Connect Core §5.7).
var changeable = []string{"email", "phone_number", "name", "nickname", "preferred_username", "unique_name", "upn", "username", "cognito:username"}

// read are claims of which assertion makes more than a text.
var read = []string{"iss", "aud", "exp", "iat", "nbf", "jti", "cnf"}

// Validate says what is wrong with the record, in words for the operator.
func (r *Record) Validate() error {
	if err := assertion.ValidURL("issuer", r.URL, false); err != nil {
		return err
	}
	switch {
	case len(r.Name) > MaxNameLen:
		return fmt.Errorf("the name is longer than %d bytes", MaxNameLen)
	case r.Keys == "":
		return errors.New("the issuer's keys are missing: a jwks_uri, or a JWKS")
	case len(r.Audiences) == 0 || len(r.Audiences) > MaxAudiences || slices.ContainsFunc(r.Audiences, badText):
		return fmt.Errorf("there must be 1 to %d audiences, each of 1 to %d bytes", MaxAudiences, assertion.MaxValue)
	case len(r.Algorithms) == 0 || slices.ContainsFunc(r.Algorithms, func(a string) bool { return !slices.Contains(assertion.Algorithms, a) }):
		return fmt.Errorf("there must be at least one algorithm, of %v", assertion.Algorithms)
	case len(r.Scopes) > MaxScopes || len(r.Scopes.String()) > MaxScopeLen:
		return fmt.Errorf("the scopes are more than %d, or longer than %d bytes", MaxScopes, MaxScopeLen)
	case r.MaxAge < 0 || r.MaxAge > int64(LongestMaxAge/time.Second):
		return fmt.Errorf("the age must be at most %s", LongestMaxAge)
	case slices.Contains(changeable, r.SubjectClaim):
		return fmt.Errorf("the claim %s can be somebody else's tomorrow: no subject is told by it", r.SubjectClaim)
	case slices.Contains(read, r.SubjectClaim) || len(r.SubjectClaim) > assertion.MaxValue:
		return fmt.Errorf("the claim %q tells no subject", r.SubjectClaim)
	case len(r.Users) > MaxUsers:
		return fmt.Errorf("there may be at most %d subjects that are local users", MaxUsers)
	case r.UsersOnly && len(r.Users) == 0:
		return errors.New("only local users may come, and no subject is one")
	case r.Handle == "" || r.Epoch < 1:
		return errors.New("the handle or the epoch is missing")
	}
	if parsed, err := oauth.ParseScope(r.Scopes.String()); err != nil || !slices.Equal(parsed, r.Scopes) {
		return errors.New("a scope holds a character that a scope token can't (RFC 6749 section 3.3), or is named twice")
	}
	if err := validClaims(r.Claims); err != nil {
		return err
	}
	for subject, u := range r.Users {
		if badText(subject) || u.Username == "" || !user.ValidID(u.ID) {
			return errors.New("a subject that is a local user is empty or too long, or the user's name or id is malformed")
		}
	}
	return r.Keys.Validate()
}

func badText(s string) bool { return s == "" || len(s) > assertion.MaxValue }

func validClaims(claims map[string][]string) error {
	if len(claims) > MaxClaims {
		return fmt.Errorf("there may be at most %d claims", MaxClaims)
	}
	for name, values := range claims {
		if badText(name) || slices.Contains(read, name) {
			return fmt.Errorf("the claim %q can't be asked for", name)
		}
		if len(values) == 0 || len(values) > MaxValues || slices.ContainsFunc(values, badText) {
			return fmt.Errorf("the claim %s must have 1 to %d values, each of 1 to %d bytes", name, MaxValues, assertion.MaxValue)
		}
	}
	return nil
}

// clone shares nothing that can be changed.
func (r *Record) clone() *Record {
	c := *r
	c.Audiences, c.Algorithms, c.Scopes = slices.Clone(r.Audiences), slices.Clone(r.Algorithms), slices.Clone(r.Scopes)
	c.Claims, c.Users = maps.Clone(r.Claims), maps.Clone(r.Users)
	for name, values := range c.Claims {
		c.Claims[name] = slices.Clone(values)
	}
	return &c
}

// Marshal is the stored form.
func (r *Record) Marshal() ([]byte, error) { return json.Marshal(r) }

// Unmarshal reads the stored form of the issuer of that URL.
func Unmarshal(url string, data []byte) (*Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("the record of issuer %s is damaged: %w", url, err)
	}
	if r.Version != RecordVersion {
		return nil, fmt.Errorf("the record of issuer %s has version %d, this release reads %d", url, r.Version, RecordVersion)
	}
	if r.URL != url {
		return nil, fmt.Errorf("the record under issuer %s is another's", url)
	}
	return &r, r.Validate()
}

// What a store answers besides outages.
var (
	ErrNotFound = errors.New("no such issuer")
	ErrExists   = errors.New("that issuer is there")
	// ErrConflict says that the record changed since it was read.
	ErrConflict = errors.New("the issuer was changed by someone else")
)

// Stored is a record with the store's revision of it, which grows with each write.
type Stored struct {
	Record
	Revision int64
}

// Store keeps records by their URLs. Each method is atomic on its one record; reads see the last write.
type Store interface {
	// Issuer returns a record, or ErrNotFound.
	Issuer(ctx context.Context, url string) (*Stored, error)
	// CreateIssuer writes a record at revision 1, or returns ErrExists.
	CreateIssuer(ctx context.Context, r *Record) error
	// UpdateIssuer writes a record over that revision, at the next one: ErrConflict if the stored one is another, or has another
	// handle, for revisions begin anew with a URL that is given again; ErrNotFound if there is none.
	UpdateIssuer(ctx context.Context, r *Record, revision int64) error
	// DeleteIssuer removes a record of that revision: ErrConflict if the stored one is another, ErrNotFound if there is none.
	DeleteIssuer(ctx context.Context, url string, revision int64) error
	// Issuers calls yield with each record, in the order of URLs on the laptop and in any order on DynamoDB, until it returns
	// false.
	Issuers(ctx context.Context, yield func(*Stored) bool) error
}
