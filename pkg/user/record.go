// Package user is the person who signs in through a client: the record and the password, the rules by which an operator
// changes them, and the Authenticator that checks a user's credentials at sign-in.
package user

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/secure/precis"

	"github.com/latchkey-auth/latchkey/internal/members"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Record is a user.
type Record struct {
	Version  int    `json:"version"` // RecordVersion
	Username string `json:"username"`
	ID       string `json:"user_id"`        // the sub of the user's tokens: random, and never another user's
	Name     string `json:"name,omitempty"` // for people

	Scopes oauth.Scope `json:"scopes"` // all that tokens for the user may be granted, through whatever client

	// Epoch grows whenever something is taken from the user; Handle is random, so that a name which is deleted and given
	// again shares nothing with its predecessor. Tokens seal both.
	Epoch  int64  `json:"epoch"`
	Handle string `json:"handle"`
	// Untold is set from when the epoch has grown until the revocations have been told. Whoever changes the record next tells
	// them too.
	Untold bool `json:"untold,omitempty"`

	Disabled bool   `json:"disabled,omitempty"`
	Password string `json:"password"` // see Hash

	PasswordSetAt int64 `json:"password_set_at"` // seconds since 1970
	CreatedAt     int64 `json:"created_at"`
	UpdatedAt     int64 `json:"updated_at"`

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

// RecordVersion is the version that this release writes.
const RecordVersion = 1

// IDPrefix begins each user's id. No client's id has an underscore, so that no token's sub can be taken for another's kind
// (RFC 9068 §5).
const IDPrefix = "u_"

// Bounds of a record, so that every token made from it stays within token.MaxLength.
const (
	MaxScopes      = 100
	MaxScopeLen    = 1920 // of the scope's wire form, in bytes
	MaxNameLen     = 128  // in bytes
	MaxUsernameLen = 128  // in bytes
)

// ValidID reports whether id has the form of a user's id.
func ValidID(id string) bool {
	random, ok := strings.CutPrefix(id, "u_")
	for i := range len(random) {
		if c := random[i]; (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return ok && len(random) == 22
}

// subjectLike reports whether a name could be taken for a subject: for a user's id, or one made of another issuer's subject.
func subjectLike(name string) bool {
	return strings.HasPrefix(name, "u_") || strings.HasPrefix(name, "x_")
}

// errUsername says what a username may be. It shows nothing of the one that is not.
var errUsername = fmt.Errorf("the username must be letters, digits and punctuation without spaces, of at most %d bytes, such as ada or ada@example.com, and must not begin with u_ or x_", MaxUsernameLen)

// Normalize returns the one form of a username by which it is kept and compared: that of RFC 8265 §3.3
// (UsernameCaseMapped), in which case, width and the composition of letters make no difference.
func Normalize(username string) (string, error) {
	if len(username) > 4*MaxUsernameLen {
		return "", errUsername
	}
	name, err := precis.UsernameCaseMapped.String(username)
	if err != nil || name == "" || len(name) > MaxUsernameLen || subjectLike(name) {
		return "", errUsername
	}
	if again, err := precis.UsernameCaseMapped.String(name); err != nil || again != name {
		return "", errUsername // it has no one form
	}
	return name, nil
}

// HasPassword reports whether a text is the user's password. It is for operators: at sign-in, ask an Authenticator, for which
// all refusals take the same time, and tries are counted.
func (r *Record) HasPassword(text string) bool {
	hash, err := parseHash(r.Password)
	normal, errText := normalizePassword(text)
	return err == nil && errText == nil && hash.matches(normal)
}

// Sealed is what tokens seal of the record's state.
func (r *Record) Sealed() token.Epochs {
	return token.Epochs{{Handle: r.Handle, N: r.Epoch}}
}

// Validate says what is wrong with the record, in words for the operator.
func (r *Record) Validate() error {
	if name, err := Normalize(r.Username); err != nil {
		return err
	} else if name != r.Username {
		return errors.New("the username is not in its normal form")
	}
	switch {
	case !ValidID(r.ID):
		return errors.New("the user's id is malformed")
	case len(r.Name) > MaxNameLen:
		return fmt.Errorf("the name is longer than %d bytes", MaxNameLen)
	case len(r.Scopes) > MaxScopes || len(r.Scopes.String()) > MaxScopeLen:
		return fmt.Errorf("the scopes are more than %d, or longer than %d bytes", MaxScopes, MaxScopeLen)
	case !validScopes(r.Scopes):
		return errors.New("a scope holds a character that a scope token can't (RFC 6749 section 3.3), or is named twice")
	case r.Handle == "" || r.Epoch < 1:
		return errors.New("the handle or the epoch is missing")
	}
	if _, err := parseHash(r.Password); err != nil {
		return err
	}
	return nil
}

// validScopes reports whether the wire form says the same.
func validScopes(s oauth.Scope) bool {
	parsed, err := oauth.ParseScope(s.String())
	return err == nil && slices.Equal(parsed, s)
}

// Marshal is the stored form.
func (r *Record) Marshal() ([]byte, error) { return json.Marshal(r) }

// Unmarshal reads the stored form of the user of that name.
func Unmarshal(username string, data []byte) (*Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("the record of user %s is damaged: %w", username, err)
	}
	if r.Version != RecordVersion {
		return nil, fmt.Errorf("the record of user %s has version %d, this release reads %d", username, r.Version, RecordVersion)
	}
	if r.Username != username {
		return nil, fmt.Errorf("the record under user %s is another's", username)
	}
	return &r, r.Validate()
}

// String keeps the password's hash out of logs and error texts.
func (r *Record) String() string { return "user " + r.Username }

// GoString keeps it out of %#v.
func (r *Record) GoString() string { return r.String() }

// words are what a user's password must not be made of.
func (r *Record) words() []string {
	split := func(c rune) bool { return strings.ContainsRune(" @.-_+,'", c) }
	words := append([]string{r.Username, r.Name, "latchkey"}, strings.FieldsFunc(r.Username, split)...)
	return append(words, strings.FieldsFunc(r.Name, split)...)
}

// What a store answers besides outages.
var (
	ErrNotFound = errors.New("no such user")
	ErrExists   = errors.New("a user of that name exists")
	// ErrConflict says that the record changed since it was read.
	ErrConflict = errors.New("the user was changed by someone else")
)

// Stored is a record with the store's revision of it, which grows with each write.
type Stored struct {
	Record
	Revision int64
}

// Store keeps records by their usernames, which are unique by that. Each method is atomic on its one record; reads see the
// last write.
type Store interface {
	// User returns a record, or ErrNotFound.
	User(ctx context.Context, username string) (*Stored, error)
	// CreateUser writes a record at revision 1, or returns ErrExists.
	CreateUser(ctx context.Context, r *Record) error
	// UpdateUser writes a record over that revision, at the next one: ErrConflict if the stored one is another, or has another
	// handle, for revisions begin anew with a name that is given again; ErrNotFound if there is none.
	UpdateUser(ctx context.Context, r *Record, revision int64) error
	// DeleteUser removes a record of that revision: ErrConflict if the stored one is another, ErrNotFound if there is none.
	DeleteUser(ctx context.Context, username string, revision int64) error
	// Users calls yield with each record, in the order of names on the laptop and in any order on DynamoDB, until it returns
	// false.
	Users(ctx context.Context, yield func(*Stored) bool) error
}
