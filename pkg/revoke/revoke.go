// Package revoke is the revocation endpoint (RFC 7009), by which a client ends its own tokens.
//
// It stands apart from package revocation, which every verifier links.
package revoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Authenticator checks a client's credentials; see client.Authenticator.
type Authenticator interface {
	Authenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error)
}

// RefreshTokens tells which refresh tokens are ours, whenever they were; see token.RefreshVerifier.
type RefreshTokens interface {
	Authentic(ctx context.Context, raw string) (*token.Grant, error)
}

// AccessTokens is the same for access tokens; see token.AccessOrigin.
type AccessTokens interface {
	Authentic(ctx context.Context, raw string) (*token.Access, error)
}

// How many requests a client may make: Burst at once, and Rate a second from then on. Each process counts for itself; what all
// processes may write for a client is Quota's.
const (
	Burst = 50
	Rate  = 10
)

// newKey is how long after a token was made its key may be unknown here and ours all the same: copies of the keys are up to
// ten seconds old when an unknown one makes them be read again, and a new key's public half is published last.
const newKey = time.Minute

// afterEnd is how long past its end an access token is still taken for alive here: whoever verifies it has another clock.
const afterEnd = time.Minute

// Endpoint is the revocation endpoint. A refresh token ends with its grant, and so with every token of it; an access token
// ends alone. The fields are required down to Revocations.
type Endpoint struct {
	Clients     Authenticator
	Refresh     RefreshTokens
	Access      AccessTokens
	Revocations revocation.Appender

	// Quota bounds what a client may revoke in a day, in all processes together. Nil: each process goes by Rate alone.
	Quota Quota
	// PerDay is that bound. 0: the constant PerDay.
	PerDay int

	Log *slog.Logger     // nil: slog.Default()
	Now func() time.Time // nil: time.Now
}

// Handler returns the endpoint's http.Handler.
func (e Endpoint) Handler() http.Handler {
	if e.Now == nil {
		e.Now = time.Now
	}
	h := &handler{Endpoint: e, limits: newLimits(e.Now), told: newTold(e.Now), quotas: newQuotas(e.Now, e.Quota, e.PerDay)}
	return &oauth.Endpoint{Name: "revoke", Log: e.Log, Now: e.Now, Handle: h.handle}
}

type handler struct {
	Endpoint
	limits *limits
	told   *told
	quotas *quotas
}

// done is the answer: its body says nothing (RFC 7009 §2.2).
type done struct{}

func (h *handler) handle(r *http.Request, o *oauth.Outcome) (any, error) {
	form, err := oauth.ParseForm(r)
	if err != nil {
		return nil, err
	}
	credentials, err := oauth.ParseCredentials(r, form)
	if err != nil {
		return nil, err
	}
	if client.ValidID(credentials.ClientID) {
		o.ClientID = credentials.ClientID
	}
	record, err := h.Clients.Authenticate(r.Context(), credentials)
	if err != nil {
		return nil, err
	}
	if wait := h.limits.take(record.ID); wait > 0 {
		return nil, oauth.TooManyRequests(wait)
	}
	if form["token"] == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "token is missing.")
	}
	return done{}, h.revoke(r.Context(), form["token"], record.ID, o)
}

// revoke ends what the token stands for. One that is not the client's, or none at all, is no error: whoever sent it can do
// nothing about it, and learns nothing from the answer (RFC 7009 §2.2).
func (h *handler) revoke(ctx context.Context, raw, clientID string, o *oauth.Outcome) error {
	o.Event = "revoke.ignored"
	entry, err := h.entry(ctx, raw, clientID, o)
	var ignored *ignoredError
	switch {
	case errors.As(err, &ignored):
		o.Cause = ignored.cause
		return nil
	case err != nil:
		return oauth.Errorf(oauth.Unavailable, "The token can't be verified at the moment. Try again.").Because(err)
	case h.told.lately(entry.Key):
		o.Cause = "it was revoked already"
		return nil
	}
	wait, err := h.quotas.take(ctx, clientID)
	switch {
	case err != nil:
		return oauth.Errorf(oauth.Unavailable, "The token can't be revoked at the moment. Try again.").Because(err)
	case wait > 0:
		// The token lives on, and the client is told so (RFC 7009 §2.2.1).
		return oauth.TooManyRequests(wait)
	}
	if err := h.Revocations.Append(ctx, entry); err != nil {
		return oauth.Errorf(oauth.Unavailable, "The token can't be revoked at the moment. Try again.").Because(err)
	}
	h.told.add(entry.Key)
	o.Event, o.Audit = "token.revoked", true
	return nil
}

// ignoredError says why there is nothing to revoke.
type ignoredError struct{ cause string }

func (e *ignoredError) Error() string { return e.cause }

// entry is what revokes the token, an *ignoredError if it is none of the client's, else an outage. The token itself says of
// which kind it is, so that a token_type_hint (RFC 7009 §2.1) is of no use.
func (h *handler) entry(ctx context.Context, raw, clientID string, o *oauth.Outcome) (revocation.Entry, error) {
	grant, err := h.Refresh.Authentic(ctx, raw)
	if err == nil {
		o.GrantID, o.Subject = grant.GrantID, grant.Subject
		return revocation.Grant(grant.GrantID, h.Now()), ownedBy(clientID, grant)
	}
	var bad *token.InvalidError
	if !errors.As(err, &bad) {
		return revocation.Entry{}, err
	}
	if bad.Reason != token.ReasonType {
		return revocation.Entry{}, h.notOurs(bad, raw)
	}
	access, err := h.Access.Authentic(ctx, raw)
	switch {
	case errors.As(err, &bad):
		return revocation.Entry{}, h.notOurs(bad, raw)
	case err != nil:
		return revocation.Entry{}, err
	}
	o.GrantID, o.TokenID, o.Subject = access.GrantID, access.ID, access.Subject
	if h.Now().Sub(access.ExpiresAt) > afterEnd {
		return revocation.Entry{}, &ignoredError{"the access token has expired"}
	}
	return revocation.Token(access.ID, h.Now()), ownedBy(clientID, &access.Grant)
}

// notOurs is an *ignoredError, or an outage for a token which may be ours: one that says to be newer than our keys.
func (h *handler) notOurs(bad *token.InvalidError, raw string) error {
	if bad.Reason == token.ReasonKey {
		at, ok := token.SaysIssuedAt(raw)
		if age := h.Now().Sub(at); ok && age < newKey && age >= -newKey {
			return fmt.Errorf("%w, which may be newer than the keys that are known here", bad)
		}
	}
	return &ignoredError{bad.Error()}
}

func ownedBy(clientID string, g *token.Grant) error {
	if g.ClientID != clientID {
		return &ignoredError{"the token is client " + g.ClientID + "'s"}
	}
	return nil
}
