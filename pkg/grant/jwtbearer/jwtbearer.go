// Package jwtbearer is the JWT bearer grant (RFC 7523 §2.1), with client authentication: step 1 of the flow with a token of
// another issuer's besides the client's credentials. It is how people sign in by an identity provider: the client has an ID
// token from there, and shows it here once.
package jwtbearer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// Authenticator checks a client's credentials.
type Authenticator interface {
	Authenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error)
	// Reauthenticate is for a record that turns out to be out of date, after Authenticate.
	Reauthenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error)
}

// Users finds local users.
type Users interface {
	User(ctx context.Context, username string) (*user.Stored, error)
}

// Type is the grant type.
type Type struct {
	Clients Authenticator
	Issuers *issuer.Verifier
	Users   Users
	Uses    assertion.Uses
	Minter  *grant.Minter
	Now     func() time.Time // nil: time.Now
}

// Grant implements grant.Type. The assertion has its one use when nothing is left to refuse.
func (t *Type) Grant(ctx context.Context, r *grant.Request) (*oauth.TokenResponse, error) {
	record, err := t.Clients.Authenticate(ctx, r.Credentials)
	if client.ValidID(r.Credentials.ClientID) {
		r.Outcome.ClientID = r.Credentials.ClientID
	}
	if err != nil {
		return nil, err
	}
	r.Outcome.ClientID = record.ID
	used := false
	answer, err := t.signIn(ctx, r, record, &used)
	if !grant.IsRevoked(err) {
		return answer, err
	}
	// The client's record is older than what is said of it, perhaps: by a newer one it may sign in, or no more.
	if record, err = t.Clients.Reauthenticate(ctx, r.Credentials); err != nil {
		return nil, err
	}
	return t.signIn(ctx, r, record, &used)
}

// signIn begins a grant by that record. The assertion has its use unless used says that it had it.
func (t *Type) signIn(ctx context.Context, r *grant.Request, record *client.Record, used *bool) (*oauth.TokenResponse, error) {
	if !record.Allows(oauth.GrantJWTBearer) {
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "This client is not registered for %s.", oauth.GrantJWTBearer)
	}
	raw := r.Form["assertion"]
	if raw == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "assertion is missing.")
	}
	good, err := t.verify(ctx, record, raw)
	if err != nil {
		return nil, refuse(err)
	}
	who, err := t.subject(ctx, good)
	if err != nil {
		return nil, refuse(err)
	}
	r.Outcome.Subject = who.id
	granted := both(record.Scopes, good.Issuer.Scopes)
	if who.user != nil {
		granted = both(granted, who.user.Scopes)
	}
	scope, err := grant.NarrowScope(r.Form["scope"], granted)
	if err != nil {
		return nil, err
	}
	resources, err := grant.NarrowResource(r.Form["resource"], record.Audiences)
	if err != nil {
		return nil, err
	}
	binding, err := grant.Bind(record.RefreshMode, r.Shown)
	if err != nil {
		return nil, err
	}
	if !*used {
		if err := assertion.Use(ctx, t.Uses, good.Claims, t.now()); err != nil {
			return nil, refuse(err)
		}
		*used = true
	}
	epochs := with(record.Sealed(), good.Issuer.Sealed())
	if who.user != nil {
		epochs = with(epochs, who.user.Sealed())
	}
	r.Outcome.Event = "token.issued"
	return t.Minter.SignIn(ctx, grant.SignIn{
		ClientID: record.ID, Subject: who.id, Epochs: epochs, Scope: scope, Resources: resources,
		Refreshable: record.Allows(oauth.GrantRefreshToken), Mode: record.RefreshMode,
		AccessLifetime: record.AccessLifetime(), RefreshLifetime: record.RefreshLifetime(), GrantDuration: record.GrantDuration(),
		Binding: binding,
	}, r.Outcome)
}

func (t *Type) now() time.Time {
	if t.Now != nil {
		return t.Now()
	}
	return time.Now()
}

// verify asks for an issuer's record where the client's names the issuer: no stranger has others looked up.
func (t *Type) verify(ctx context.Context, record *client.Record, raw string) (*issuer.Verified, error) {
	iss, _, err := assertion.Peek(raw)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(record.AssertionIssuers, iss) {
		return nil, assertion.Invalid("its issuer is not one that this client is registered for")
	}
	return t.Issuers.Verify(ctx, iss, raw)
}

type who struct {
	id   string       // the sub
	user *user.Record // nil for a subject of the issuer's own
}

func (t *Type) subject(ctx context.Context, good *issuer.Verified) (who, error) {
	local, mapped := good.Issuer.Users[good.Subject]
	switch {
	case !mapped && good.Issuer.UsersOnly:
		return who{}, assertion.Invalid("its subject is not a user here")
	case !mapped:
		return who{id: issuer.Subject(good.Issuer.URL, good.Subject)}, nil
	}
	stored, err := t.Users.User(ctx, local.Username)
	switch {
	case errors.Is(err, user.ErrNotFound):
		return who{}, assertion.Invalid("its subject may not sign in")
	case err != nil:
		return who{}, err
	case stored.Disabled || stored.ID != local.ID: // a name that was given again is somebody else's
		return who{}, assertion.Invalid("its subject may not sign in")
	}
	return who{stored.ID, &stored.Record}, nil
}

// refuse tells the client, which is known by now, what is wrong with its assertion (RFC 7523 §3.1).
func refuse(err error) error {
	if bad := (*assertion.InvalidError)(nil); errors.As(err, &bad) {
		return oauth.Errorf(oauth.InvalidGrant, "The assertion is not taken: %s.", bad.Detail)
	}
	return oauth.Errorf(oauth.Unavailable, "The assertion can't be verified at the moment. Try again.").Because(err)
}

// with adds epochs of other records, each record once: the client may have come by the same issuer's word, and rests on that
// as it was then. The least epoch is the one that ends first.
func with(epochs, others token.Epochs) token.Epochs {
	for _, e := range others {
		i := slices.IndexFunc(epochs, func(have token.Epoch) bool { return have.Handle == e.Handle })
		if i < 0 {
			epochs = append(epochs, e)
			continue
		}
		epochs[i].N = min(epochs[i].N, e.N)
	}
	return epochs
}

// both is the part of a scope that another has too.
func both(a, b oauth.Scope) oauth.Scope {
	var scope oauth.Scope
	for _, token := range a {
		if slices.Contains(b, token) {
			scope = append(scope, token)
		}
	}
	return scope
}
