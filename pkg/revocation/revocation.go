// Package revocation is how tokens end before they expire, though they are verified offline: what can be revoked and how
// that is written down, the feed in which it is told to everyone, and the view of the feed that a verifier holds in memory.
//
// What is revoked is said once and never taken back. Who verifies asks its View, which answers from memory and is at most
// a poll interval behind; a View that can't be kept fresh says so, and then nothing is let through.
package revocation

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Kind is what an Entry speaks of. Its value is the letter in the text form.
type Kind byte

// The kinds.
const (
	KindGrant   Kind = 'g' // a grant is over, with all its tokens
	KindToken   Kind = 't' // one access token is, by its jti
	KindBelow   Kind = 'b' // tokens that sealed a handle below epoch N are
	KindSubject Kind = 's' // a subject's tokens with auth_time before N are
	KindIssuer  Kind = 'i' // an issuer's tokens with auth_time before N are
	KindKey     Kind = 'k' // all that a key signed is, for good
	KindBefore  Kind = 'a' // all tokens with auth_time before N are
)

// Always reports whether entries of this kind are never forgotten.
func (k Kind) Always() bool { return k == KindKey || k == KindBefore }

func (k Kind) valid() bool { return strings.IndexByte("gtbsika", byte(k)) >= 0 }

// numbered reports whether N has a meaning.
func (k Kind) numbered() bool {
	return k == KindBelow || k == KindSubject || k == KindIssuer || k == KindBefore
}

// Key stands for an id in the feed, which is public: 128 bits of a hash, from which nobody learns the id.
type Key [16]byte

func keyOf(k Kind, id string) Key {
	var room [128]byte // most ids fit, and nothing is allocated
	sum := sha256.Sum256(append(append(room[:0], byte(k), ':'), id...))
	return Key(sum[:16])
}

// Entry is one thing said. Entries are idempotent and commute: the order in which they are taken in makes no difference.
type Entry struct {
	Kind Kind
	Key  Key
	N    int64     // an epoch for KindBelow, seconds since 1970 for KindSubject, KindIssuer and KindBefore, else 0
	At   time.Time // when it was said, in whole seconds
}

// Grant says that a grant is over.
func Grant(id string, now time.Time) Entry { return entry(KindGrant, id, 0, now) }

// Token says that one access token is.
func Token(jti string, now time.Time) Entry { return entry(KindToken, jti, 0, now) }

// Below says that tokens which sealed the handle below that epoch are revoked.
func Below(handle string, epoch int64, now time.Time) Entry {
	return entry(KindBelow, handle, epoch, now)
}

// Subject says that a subject's tokens of sign-ins before a time are revoked. Times are whole seconds: who means to end
// what is out by now passes the next second, and sign-ins of this one end too.
func Subject(sub string, before, now time.Time) Entry {
	return entry(KindSubject, sub, before.Unix(), now)
}

// Issuer says that an issuer's tokens of sign-ins before a time are revoked, those included that name it as it was called
// before, where such are taken.
func Issuer(iss string, before, now time.Time) Entry {
	return entry(KindIssuer, iss, before.Unix(), now)
}

// SigningKey says that whatever a key signed is not to be trusted, for good.
func SigningKey(kid string, now time.Time) Entry { return entry(KindKey, kid, 0, now) }

// Before says that all tokens of sign-ins before a time are revoked. What Subject says of the time goes for this too.
func Before(t, now time.Time) Entry { return entry(KindBefore, "", t.Unix(), now) }

func entry(k Kind, id string, n int64, now time.Time) Entry {
	return Entry{Kind: k, Key: keyOf(k, id), N: n, At: now.Truncate(time.Second)}
}

// String is the text form: kind, key in base64url, N and At in seconds since 1970, one space between.
func (e Entry) String() string {
	var room [64]byte // most fit: pages have tens of thousands
	b := append(room[:0], byte(e.Kind), ' ')
	b = append(base64.RawURLEncoding.AppendEncode(b, e.Key[:]), ' ')
	b = append(strconv.AppendInt(b, e.N, 10), ' ')
	return string(strconv.AppendInt(b, e.At.Unix(), 10))
}

var errEntry = errors.New("revocation: a malformed entry")

// latest is the last At that there can be, in the year 2286: until then, seconds have at most ten digits.
const latest = 9_999_999_999

// Parse reads the text form. An entry has one text form only.
func Parse(s string) (Entry, error) {
	fields := strings.Split(s, " ")
	if len(fields) != 4 || len(fields[0]) != 1 || len(fields[1]) != 22 {
		return Entry{}, errEntry
	}
	e := Entry{Kind: Kind(fields[0][0])}
	key, errKey := base64.RawURLEncoding.Strict().DecodeString(fields[1])
	n, errN := strconv.ParseInt(fields[2], 10, 64)
	at, errAt := strconv.ParseInt(fields[3], 10, 64)
	if !e.Kind.valid() || errKey != nil || len(key) != len(e.Key) || errN != nil || errAt != nil || n < 0 || at < 0 || at > latest ||
		!e.Kind.numbered() && n != 0 {
		return Entry{}, errEntry
	}
	e.Key, e.N, e.At = Key(key), n, time.Unix(at, 0)
	if e.String() != s { // +1, 01
		return Entry{}, errEntry
	}
	return e, nil
}

// Appender takes what is revoked. Once Append has returned nil it is told to everyone within the bound; an error is an
// outage, after which the entry may or may not have been taken: saying it again does no harm. It must be said again with
// the time of then: readers look back by Overlap alone, and one that is committed longer than that after its At is seen
// only by those who load anew.
type Appender interface {
	Append(ctx context.Context, e Entry) error
}

// Retention is how long a Log keeps entries that are not Always, at least: longer than any token lives.
const Retention = 400 * 24 * time.Hour

// Log keeps what was said.
type Log interface {
	Appender
	// Entries calls yield with each entry said at from or later and before until, in the order of At, until yield returns
	// false. Without an until, which is the zero time, there is no end. It leaves out the kinds that are Always, and sees each
	// entry whose Append has returned. It may have called yield before it returns an error.
	Entries(ctx context.Context, from, until time.Time, yield func(Entry) bool) error
	// Always returns the entries of kinds that are Always, whenever said, and each one whose Append has returned.
	Always(ctx context.Context) ([]Entry, error)
	// FeedID names this log. Another one, as after a restore, has another name. It is made at the first call.
	FeedID(ctx context.Context) (string, error)
}

// Facts are what a token says that can be revoked.
type Facts struct {
	KeyID    string // of the key that signed it
	GrantID  string
	TokenID  string // an access token's jti; empty for refresh tokens, which end with their grant
	Subject  string
	Issuer   string // iss
	Renamed  string // what the issuer of that name is called now; empty: the same
	AuthTime time.Time
	Epochs   []Epoch
}

// Epoch is what a token sealed of a record.
type Epoch struct {
	Handle string
	N      int64
}
