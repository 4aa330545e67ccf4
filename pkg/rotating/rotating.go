// Package rotating is the state of grants whose refresh tokens work once (RFC 9700 §4.14.2): each refresh gives a
// successor, and a token that turns up again after that says that somebody holds a copy, so the grant ends.
//
// A token and its grant's record carry a generation. A refresh is one conditional write of one item, which takes the record
// from the token's generation to the next; there is nothing to read first. Whoever presents the same token within Grace,
// because an answer was lost, a tab was not alone, or a request was sent twice, gets the same successor once more, never
// another one: a family can't fork. What is older than that ends the grant through the revocation feed.
//
// Nothing here is kept in memory. Any fault, whether or not the write took effect, is an outage, after which the same
// token gets its successor within Grace.
package rotating

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Grace is how long after its use a token gets the same successor again, in whole seconds of the record's clock: three
// times what a function may take, so that a client can wait for an answer that does not come, and ask twice more.
const Grace = 30 * time.Second

// Record is what is kept of a grant: its newest refresh token, enough to make that again.
type Record struct {
	GrantID    string
	Generation int64     // of the newest token
	TokenID    string    // its jti
	IssuedAt   time.Time // in whole seconds; the token before it had its use then
	ExpiresAt  time.Time // of the newest token; in whole seconds
}

// Of is the record in which r is the newest token of its grant.
func Of(r *token.Refresh) *Record {
	return &Record{GrantID: r.GrantID, Generation: r.Generation, TokenID: r.ID, IssuedAt: r.IssuedAt, ExpiresAt: r.ExpiresAt}
}

// Ends is when no token of the grant can be valid any more, and the record may be deleted. Deletion may come late.
func (r *Record) Ends() time.Time { return r.ExpiresAt.Add(token.Leeway) }

// recordVersion is the version of the stored form that this release writes and reads, Prefix what such a form begins with.
const (
	recordVersion = 1
	Prefix        = `{"version":1,`
)

type stored struct {
	Version    int    `json:"version"`
	GrantID    string `json:"grant_id"`
	Generation int64  `json:"generation"`
	TokenID    string `json:"jti"`
	IssuedAt   int64  `json:"iat"`
	ExpiresAt  int64  `json:"exp"`
}

// Marshal is the stored form.
func (r *Record) Marshal() ([]byte, error) {
	return json.Marshal(stored{recordVersion, r.GrantID, r.Generation, r.TokenID, r.IssuedAt.Unix(), r.ExpiresAt.Unix()})
}

// Unmarshal reads the stored form of that grant at that generation.
func Unmarshal(grantID string, generation int64, data []byte) (*Record, error) {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("the record of grant %s is damaged: %w", grantID, err)
	}
	if s.Version != recordVersion {
		return nil, fmt.Errorf("the record of grant %s has version %d, this release reads %d", grantID, s.Version, recordVersion)
	}
	if s.GrantID != grantID || s.Generation != generation || generation < 1 || s.TokenID == "" {
		return nil, fmt.Errorf("the record of grant %s is damaged: it contradicts itself", grantID)
	}
	return &Record{s.GrantID, s.Generation, s.TokenID, time.Unix(s.IssuedAt, 0), time.Unix(s.ExpiresAt, 0)}, nil
}

// What a store answers besides outages.
var (
	ErrNotFound = errors.New("no such grant")
	ErrExists   = errors.New("a grant of that id exists")
)

// Store keeps records. Each method is atomic on its one record. After an error other than these, a write may or may not have
// taken effect.
type Store interface {
	// CreateGrant writes the record of a new grant, or returns ErrExists.
	CreateGrant(ctx context.Context, r *Record) error
	// RotateGrant writes next over the record of the generation before it, provided that this has not ended by now. It
	// returns the record that stands then: next, or the one that stood in the way; ErrNotFound if there is none.
	RotateGrant(ctx context.Context, next *Record, now time.Time) (*Record, error)
	// DeleteGrant removes a record, if there is one.
	DeleteGrant(ctx context.Context, id string) error
}

// Grants begins and renews grants.
type Grants struct {
	Store Store
	// Revocations takes the grants that ended because a token was used again.
	Revocations revocation.Appender
	Now         func() time.Time // nil: time.Now
}

func (g *Grants) now() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
}

// Begin records a grant with its first refresh token. Unless it returns nil, that token must not be handed out.
func (g *Grants) Begin(ctx context.Context, first *token.Refresh) error {
	return g.Store.CreateGrant(ctx, Of(first))
}

// Rotate exchanges the token held for next, the token of the generation after it. It returns the successor that held has
// once and for all: next, or, if held had its use within Grace, the one that it was given then. A *token.InvalidError says
// that the grant is over; any other error is an outage.
func (g *Grants) Rotate(ctx context.Context, held, next *token.Refresh) (*token.Refresh, error) {
	now := g.now()
	stands, err := g.Store.RotateGrant(ctx, Of(next), now)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, &token.InvalidError{Reason: token.ReasonEnded, Detail: "there is no record of its grant"}
	case err != nil:
		return nil, err
	case stands.TokenID == next.ID:
		return next, nil
	}
	switch judge(stands, held.Generation, now) {
	case successor:
		s := *next
		s.ID, s.IssuedAt, s.ExpiresAt = stands.TokenID, stands.IssuedAt, stands.ExpiresAt
		return &s, nil
	case reused:
		return nil, g.end(ctx, held, stands, now)
	default:
		return nil, &token.InvalidError{Reason: token.ReasonEnded, Detail: "the record of its grant has ended, or is of an earlier time"}
	}
}

// verdict is what becomes of a token.
type verdict int

const (
	ended     verdict = iota // nobody can renew this grant
	successor                // the newest token is the one after it
	reused                   // it has had its use, and its time to ask again is over
)

// judge says what becomes of a token of that generation, given the record that stood in the way of replacing it.
func judge(r *Record, generation int64, now time.Time) verdict {
	switch {
	case !now.Before(r.Ends()):
		return ended // and not yet deleted
	case r.Generation < generation:
		// The table is a restored one: what the record knew is lost, and whoever holds a token of its generation, which was
		// used long ago, could go on with the family. Its owner can't.
		return reused
	case r.Generation == generation:
		return ended
	case r.Generation == generation+1 && now.Unix()-r.IssuedAt.Unix() <= int64(Grace/time.Second):
		return successor
	}
	return reused
}

// end ends the grant of a token that was used again. Verifiers everywhere are told first: whatever fails after that, it is
// not forgotten. Without its record nobody renews the grant, though what verifiers hold in memory be older than this.
func (g *Grants) end(ctx context.Context, held *token.Refresh, stands *Record, now time.Time) error {
	if err := g.Revocations.Append(ctx, revocation.Grant(held.GrantID, now)); err != nil {
		return fmt.Errorf("revoking a grant whose token was used again: %w", err)
	}
	if err := g.Store.DeleteGrant(ctx, held.GrantID); err != nil {
		return fmt.Errorf("ending a grant whose token was used again: %w", err)
	}
	return &token.InvalidError{
		Reason: token.ReasonReused,
		Detail: fmt.Sprintf("generation %d, where %d is the newest; its grant was revoked", held.Generation, stands.Generation),
	}
}
