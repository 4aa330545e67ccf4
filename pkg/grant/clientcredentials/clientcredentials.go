// Package clientcredentials is the client credentials grant (RFC 6749 §4.4): step 1 of the flow where no user is involved.
// Unlike §4.4.3 recommends, it answers with a refresh token too, unless the client is registered not to get one: the
// point is that the secret crosses the network, and the store is asked, once in the life of a grant.
package clientcredentials

import (
	"context"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// Authenticator checks a client's credentials; see client.Authenticator.
type Authenticator interface {
	Authenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error)
	Reauthenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error)
}

// Type is the grant type.
type Type struct {
	Clients Authenticator
	Minter  *grant.Minter
}

// Grant implements grant.Type.
func (t *Type) Grant(ctx context.Context, r *grant.Request) (*oauth.TokenResponse, error) {
	record, err := t.Clients.Authenticate(ctx, r.Credentials)
	if client.ValidID(r.Credentials.ClientID) {
		r.Outcome.ClientID = r.Credentials.ClientID
	}
	if err != nil {
		return nil, err
	}
	r.Outcome.ClientID = record.ID // an assertion may be all that says it
	answer, err := t.signIn(ctx, r, record)
	if !grant.IsRevoked(err) {
		return answer, err
	}
	// The record is older than what is said of it, perhaps: by a newer one the client may sign in, or no more.
	if record, err = t.Clients.Reauthenticate(ctx, r.Credentials); err != nil {
		return nil, err
	}
	return t.signIn(ctx, r, record)
}

// signIn begins a grant by that record.
func (t *Type) signIn(ctx context.Context, r *grant.Request, record *client.Record) (*oauth.TokenResponse, error) {
	if !record.Allows(oauth.GrantClientCredentials) {
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "This client is not registered for client_credentials.")
	}
	scope, err := grant.NarrowScope(r.Form["scope"], record.Scopes)
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
	r.Outcome.Event, r.Outcome.Subject = "token.issued", record.ID
	return t.Minter.SignIn(ctx, grant.SignIn{
		ClientID: record.ID, Subject: record.ID, Epochs: record.Sealed(),
		Scope: scope, Resources: resources,
		Refreshable: record.Allows(oauth.GrantRefreshToken), Mode: record.RefreshMode,
		AccessLifetime: record.AccessLifetime(), RefreshLifetime: record.RefreshLifetime(), GrantDuration: record.GrantDuration(),
		Binding: binding,
	}, r.Outcome)
}
