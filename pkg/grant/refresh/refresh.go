// Package refresh is the refresh of an access token (RFC 6749 §6), in two places:
//
//   - at /oauth2/refresh, by the token's own strength: signature, claims and what is held in memory, with no store to ask
//     and no credential taken;
//   - at /oauth2/token, where any standard client looks for it, and where credentials that come along are checked.
//
// How a token may be used is sealed in it and enforced in both.
package refresh

import (
	"context"
	"errors"
	"slices"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Verifier verifies refresh tokens; see token.RefreshVerifier.
type Verifier interface {
	Verify(ctx context.Context, raw string) (*token.Refresh, error)
}

// Authenticator checks a client's credentials; see client.Authenticator.
type Authenticator interface {
	Authenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error)
}

// Type is the grant type.
type Type struct {
	Tokens Verifier
	Minter *grant.Minter
	// Clients checks credentials that are sent along. Nil at /oauth2/refresh, whose endpoint refuses them.
	Clients Authenticator
}

// Grant implements grant.Type.
func (t *Type) Grant(ctx context.Context, r *grant.Request) (*oauth.TokenResponse, error) {
	if client.ValidID(r.Credentials.ClientID) {
		r.Outcome.ClientID = r.Credentials.ClientID
	}
	record, err := t.authenticate(ctx, r)
	if err != nil {
		return nil, err
	}
	if record != nil {
		r.Credentials.ClientID = record.ID // an assertion may be all that says it
	}
	if r.Credentials.ClientID == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "client_id is missing.")
	}
	if r.Form["refresh_token"] == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "refresh_token is missing.")
	}
	held, err := t.Tokens.Verify(ctx, r.Form["refresh_token"])
	var bad *token.InvalidError
	switch {
	case errors.As(err, &bad):
		r.Outcome.Reason = string(bad.Reason)
		return nil, invalidGrant().Because(bad)
	case err != nil:
		return nil, oauth.Errorf(oauth.Unavailable, "The refresh token can't be verified at the moment. Try again.").Because(err)
	}
	r.Outcome.GrantID, r.Outcome.Subject, r.Outcome.KeyID = held.GrantID, held.Subject, held.KeyID
	if held.ClientID != r.Credentials.ClientID {
		r.Outcome.Reason = "other_client"
		return nil, invalidGrant().Becausef("the token is client %s's", held.ClientID)
	}
	if err := t.allowed(held, record); err != nil {
		return nil, err
	}
	binding, err := grant.Rebind(held.Confirmation, r.Shown)
	if err != nil {
		return nil, err
	}
	scope, err := grant.NarrowScope(r.Form["scope"], held.Scope)
	if err != nil {
		return nil, err
	}
	resources, err := grant.NarrowResource(r.Form["resource"], held.Resources)
	if err != nil {
		return nil, err
	}
	r.Outcome.Event = "token.refreshed"
	answer, err := t.Minter.Renew(ctx, grant.Renewal{Held: held, Scope: scope, Resource: resources[0], Binding: binding}, r.Outcome)
	if errors.As(err, &bad) {
		r.Outcome.Reason = string(bad.Reason)
		err = invalidGrant().Because(bad)
	}
	if err != nil {
		r.Outcome.TokenID = "" // what was made was not handed out
		return nil, err
	}
	return answer, nil
}

// authenticate returns the record of a client that sent credentials, nil for one that sent none.
func (t *Type) authenticate(ctx context.Context, r *grant.Request) (*client.Record, error) {
	if r.Credentials.Method == oauth.AuthNone {
		return nil, nil
	}
	if t.Clients == nil {
		return nil, errors.New("refresh: credentials where none are taken")
	}
	return t.Clients.Authenticate(ctx, r.Credentials)
}

// allowed judges whether the token may be used in this place, and, where the client's record is at hand, whether it still
// stands for what the client may do.
func (t *Type) allowed(held *token.Refresh, record *client.Record) error {
	elsewhere := func(how string) error {
		return oauth.Errorf(oauth.UnauthorizedClient, "This refresh token is not for this endpoint: use it at %s%s.", oauth.PathToken, how).
			Becausef("refresh mode %s", held.Mode)
	}
	switch held.Mode {
	case token.ModeBearer:
	case token.ModeDPoP, token.ModeMTLS: // what they are bound to is asked for next, whatever the mode
	case token.ModeRotating:
		if t.Clients == nil {
			return elsewhere("")
		}
	case token.ModeSecret:
		if t.Clients == nil {
			return elsewhere(", with client authentication")
		}
		if record == nil {
			return oauth.Credentials{}.Refuse(errors.New("refresh mode secret, and no credentials were given"))
		}
	default:
		return invalidGrant().Becausef("unknown refresh mode %q", held.Mode)
	}
	if record == nil {
		return nil
	}
	if !record.Allows(oauth.GrantRefreshToken) {
		return oauth.Errorf(oauth.UnauthorizedClient, "This client is not registered for refresh_token.")
	}
	for _, now := range record.Sealed() {
		i := slices.IndexFunc(held.Epochs, func(e token.Epoch) bool { return e.Handle == now.Handle })
		if i < 0 && now.Handle != record.Handle {
			continue // the client came by an issuer's word this time, on which the grant does not rest
		}
		// Not below it, for a record that is remembered may be older than the sign-in: a token of a later epoch is none the
		// worse for that.
		if i < 0 || held.Epochs[i].N < now.N {
			return invalidGrant().Becausef("the client's permissions were narrowed after this sign-in")
		}
	}
	return nil
}

// invalidGrant is the same for every reason: what exactly was wrong with a token helps its thief more than its owner.
func invalidGrant() *oauth.Error {
	return oauth.Errorf(oauth.InvalidGrant, "The refresh token is invalid, has expired, or is another client's. Sign in again.")
}
