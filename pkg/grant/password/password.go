// Package password is the resource owner password credentials grant (RFC 6749 §4.3): step 1 of the flow with a user's
// credentials besides the client's.
//
// RFC 9700 §2.4 says that it must not be used: the client sees the password, there can be no second factor, and users learn
// to type passwords into whatever asks for them. So a client has to be registered for it, and has to authenticate, which
// also keeps strangers from having passwords hashed.
package password

import (
	"context"
	"net/netip"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/grant"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// ClientAuthenticator checks a client's credentials; see client.Authenticator.
type ClientAuthenticator interface {
	Authenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error)
	// Reauthenticate is for a record that turns out to be out of date, after Authenticate.
	Reauthenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error)
}

// UserAuthenticator checks a user's credentials; see user.Authenticator.
type UserAuthenticator interface {
	Authenticate(ctx context.Context, c user.Credentials) (*user.Record, error)
}

// Type is the grant type.
type Type struct {
	Clients ClientAuthenticator
	Users   UserAuthenticator
	Minter  *grant.Minter
}

// Grant implements grant.Type. Whatever can be refused without the password is refused before it is looked at, and so tells
// nothing of the user.
func (t *Type) Grant(ctx context.Context, r *grant.Request) (*oauth.TokenResponse, error) {
	record, err := t.Clients.Authenticate(ctx, r.Credentials)
	if client.ValidID(r.Credentials.ClientID) {
		r.Outcome.ClientID = r.Credentials.ClientID
	}
	if err != nil {
		return nil, err
	}
	r.Outcome.ClientID = record.ID // an assertion may be all that says it
	if !record.Allows(oauth.GrantPassword) {
		return nil, errNotRegistered()
	}
	for _, name := range []string{"username", "password"} {
		if r.Form[name] == "" {
			return nil, oauth.Errorf(oauth.InvalidRequest, "%s is missing.", name)
		}
	}
	if _, err := grant.NarrowScope(r.Form["scope"], record.Scopes); err != nil {
		return nil, err
	}
	if _, err := grant.NarrowResource(r.Form["resource"], record.Audiences); err != nil {
		return nil, err
	}
	if _, err := grant.Bind(record.RefreshMode, r.Shown); err != nil {
		return nil, err
	}
	source, err := source(r, record)
	if err != nil {
		return nil, err
	}
	who, err := t.Users.Authenticate(ctx, user.Credentials{
		Username: r.Form["username"], Password: r.Form["password"], Client: record.ID, Source: source,
	})
	if err != nil {
		return nil, err
	}
	answer, err := t.signIn(ctx, r, record, who)
	if !grant.IsRevoked(err) {
		return answer, err
	}
	// The client's record is older than what is said of it, perhaps: by a newer one it may sign users in, or no more.
	if record, err = t.Clients.Reauthenticate(ctx, r.Credentials); err != nil {
		return nil, err
	}
	return t.signIn(ctx, r, record, who)
}

// signIn begins a grant by those records.
func (t *Type) signIn(ctx context.Context, r *grant.Request, record *client.Record, who *user.Record) (*oauth.TokenResponse, error) {
	r.Outcome.Subject = who.ID
	if !record.Allows(oauth.GrantPassword) {
		return nil, errNotRegistered()
	}
	scope, err := grant.NarrowScope(r.Form["scope"], both(record.Scopes, who.Scopes))
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
	r.Outcome.Event = "token.issued"
	return t.Minter.SignIn(ctx, grant.SignIn{
		ClientID: record.ID, Subject: who.ID, Epochs: append(record.Sealed(), who.Sealed()...),
		Scope: scope, Resources: resources,
		Refreshable: record.Allows(oauth.GrantRefreshToken), Mode: record.RefreshMode,
		AccessLifetime: record.AccessLifetime(), RefreshLifetime: record.RefreshLifetime(), GrantDuration: record.GrantDuration(),
		Binding: binding,
	}, r.Outcome)
}

func errNotRegistered() error {
	return oauth.Errorf(oauth.UnauthorizedClient, "This client is not registered for password.")
}

// ParameterUserAddress is the form's parameter by which a client that is registered for it tells its user's address. It is an
// extension (RFC 6749 §8.2), and unlike a header comes with the client's own authentication alone.
const ParameterUserAddress = "user_address"

// source is where the user is: where the request comes from, unless the client is to say.
func source(r *grant.Request, record *client.Record) (string, error) {
	told := r.Form[ParameterUserAddress]
	if told == "" {
		return r.Source, nil
	}
	if !record.ForwardsUserAddress {
		return "", oauth.Errorf(oauth.InvalidRequest, "This client is not registered to forward its users' addresses.")
	}
	if _, err := netip.ParseAddr(told); err != nil {
		return "", oauth.Errorf(oauth.InvalidRequest, "%s must be an IP address.", ParameterUserAddress)
	}
	return told, nil
}

// both is the part of the client's scope that the user has too.
func both(client, user oauth.Scope) oauth.Scope {
	var scope oauth.Scope
	for _, token := range client {
		if (oauth.Scope{token}).Within(user) {
			scope = append(scope, token)
		}
	}
	return scope
}
