// Package introspect is the introspection endpoint (RFC 7662): for resource servers that can't verify a token by
// themselves. It takes access tokens alone, goes by the verifier and the revocations that the authorizer goes by, and so
// says of every token what that would.
package introspect

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Authenticator checks a client's credentials; see client.Authenticator.
type Authenticator interface {
	Authenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error)
}

// Endpoint is the introspection endpoint. It answers a client that is registered to introspect one of the token's
// audiences (client.Record.Introspects) and tells anyone else that the token is not active.
type Endpoint struct {
	Clients Authenticator // required
	// Tokens is what access tokens are verified by. Revocations is required; Audiences are those of the record of the
	// client that asks.
	Tokens token.Config

	Log *slog.Logger     // nil: slog.Default()
	Now func() time.Time // nil: time.Now
}

// Response is the answer (RFC 7662 §2.2). The zero value is that to all tokens which are not active.
type Response struct {
	Active    bool     `json:"active"`
	Scope     string   `json:"scope,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	ExpiresAt int64    `json:"exp,omitempty"` // seconds since 1970, as all times
	IssuedAt  int64    `json:"iat,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Audience  Audience `json:"aud,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	ID        string   `json:"jti,omitempty"`
	GrantID   string   `json:"grant_id,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`

	// Confirmation is what the token is bound to (RFC 8705 §3.2, RFC 9449 §6.2). Who asks has to see to it that the caller
	// shows that: it can't be told here.
	Confirmation token.Confirmation `json:"cnf,omitzero"`
}

// Audience is a string in JSON where there is one (RFC 7519 §4.1.3).
type Audience []string

// MarshalJSON implements json.Marshaler.
func (a Audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// Handler returns the endpoint's http.Handler, or an error for an endpoint that would leave something unchecked.
func (e Endpoint) Handler() (http.Handler, error) {
	if e.Clients == nil || e.Tokens.Revocations == nil {
		return nil, errors.New("introspect: the clients or the revocations are missing")
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	if _, err := e.verifier([]string{"any"}); err != nil {
		return nil, err
	}
	return &oauth.Endpoint{Name: "introspect", Log: e.Log, Now: e.Now, Handle: e.handle}, nil
}

func (e *Endpoint) verifier(audiences []string) (*token.AccessVerifier, error) {
	c := e.Tokens
	c.Audiences = audiences
	return token.NewAccessVerifier(c)
}

func (e *Endpoint) handle(r *http.Request, o *oauth.Outcome) (any, error) {
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
	record, err := e.Clients.Authenticate(r.Context(), credentials)
	if err != nil {
		return nil, err
	}
	if form["token"] == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "token is missing.")
	}
	o.Event = "introspect.inactive"
	if len(record.Introspects) == 0 {
		o.Cause = "the client is not registered to introspect any audience"
		return Response{}, nil
	}
	verifier, err := e.verifier(record.Introspects)
	if err != nil {
		return nil, err
	}
	t, err := verifier.Verify(r.Context(), form["token"])
	var bad *token.InvalidError
	switch {
	case errors.As(err, &bad):
		o.Cause = bad.Error()
		return Response{}, nil
	case err != nil:
		// "Not active" would be a lie that the resource server acts upon.
		return nil, oauth.Errorf(oauth.Unavailable, "The token can't be verified at the moment. Try again.").Because(err)
	case !e.Now().Before(t.ExpiresAt):
		// Within the leeway for clocks that differ. What is active is active until exp, as the answer says, and the
		// authorizer's policies end then too.
		o.Cause = "it has expired"
		return Response{}, nil
	}
	o.Event, o.Subject, o.GrantID, o.TokenID = "introspect.active", t.Subject, t.GrantID, t.ID
	return Response{
		Active: true, Scope: t.Scope.String(), ClientID: t.ClientID, TokenType: t.Confirmation.Type(), ExpiresAt: t.ExpiresAt.Unix(),
		IssuedAt: t.IssuedAt.Unix(), Subject: t.Subject, Audience: t.Audience, Issuer: t.Issuer, ID: t.ID, GrantID: t.GrantID,
		AuthTime: t.AuthTime.Unix(), Confirmation: t.Confirmation,
	}, nil
}
