// Package grant is what all grant types share: the token endpoint that tells them apart, and the minting of tokens from a
// grant. Each grant type is a package of its own below this one, so that a function links only those that it serves.
package grant

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// Request is a token request as a grant type sees it.
type Request struct {
	Form        oauth.Form
	Credentials oauth.Credentials
	// Shown is what the client has shown to hold: the key of a DPoP proof, the certificate of its connection. Tokens are bound
	// to it, and those that are bound ask for it.
	Shown token.Confirmation
	// Source is where it came from, as the connection or API Gateway tells it: an address and port.
	Source  string
	Outcome *oauth.Outcome // for the log; the grant type fills it in as it learns
}

// Type is a grant type (RFC 6749 §4): it turns a request into an answer or an *oauth.Error.
type Type interface {
	Grant(ctx context.Context, r *Request) (*oauth.TokenResponse, error)
}

// Endpoint is a token endpoint.
type Endpoint struct {
	// Name begins its log events, such as "token".
	Name string
	// Types are the grant types that it serves, keyed by their names.
	Types map[string]Type
	// NoCredentials makes it refuse any client credential.
	NoCredentials bool
	// URLs are its own addresses, as the metadata has them: a DPoP proof has to be made for one of them.
	URLs []string
	// Proofs verifies DPoP proofs. Nil: a request that has one is refused.
	Proofs *dpop.Verifier

	Log *slog.Logger     // nil: slog.Default()
	Now func() time.Time // nil: time.Now
}

// Handler returns the endpoint's http.Handler.
func (e Endpoint) Handler() http.Handler {
	return &oauth.Endpoint{Name: e.Name, Log: e.Log, Now: e.Now, Handle: e.handle}
}

func (e Endpoint) handle(r *http.Request, o *oauth.Outcome) (any, error) {
	form, err := oauth.ParseForm(r)
	if err != nil {
		return nil, err
	}
	grantType := form["grant_type"]
	if grantType == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "grant_type is missing.")
	}
	t, ok := e.Types[grantType]
	if !ok {
		return nil, oauth.Errorf(oauth.UnsupportedGrantType, "This endpoint does not serve that grant_type.")
	}
	o.GrantType = grantType
	parse := oauth.ParseCredentials
	if e.NoCredentials {
		parse = oauth.ParsePublicClient
	}
	credentials, err := parse(r, form)
	if err != nil {
		return nil, err
	}
	shown, nonce, err := e.shown(r)
	if err != nil {
		return nil, err
	}
	answer, err := t.Grant(r.Context(), &Request{form, credentials, shown, r.RemoteAddr, o})
	if err != nil {
		return nil, err
	}
	answer.DPoPNonce = nonce
	return answer, nil
}

// SigningKeys hands out the key that signs now; an error is an outage.
type SigningKeys interface {
	SigningKey(ctx context.Context) (keyring.SigningKey, error)
}

// Caps bound lifetimes deployment-wide; no client's record exceeds them. What is remembered of revoked tokens, and how
// long a retired key verifies, follow from these and never from a record. Zero means the default.
type Caps struct {
	Access      time.Duration // of an access token; default 1 hour
	Grant       time.Duration // of a grant, from sign-in to its last token's end; default 30 days
	BearerGrant time.Duration // of a grant whose refresh tokens suffice by themselves; default 24 hours
}

// The default caps.
const (
	DefaultAccessCap      = time.Hour
	DefaultGrantCap       = 30 * 24 * time.Hour
	DefaultBearerGrantCap = 24 * time.Hour
)

func (c Caps) access() time.Duration { return orDefault(c.Access, DefaultAccessCap) }

func (c Caps) grant(mode token.Mode) time.Duration {
	if mode == token.ModeBearer {
		return orDefault(c.BearerGrant, DefaultBearerGrantCap)
	}
	return orDefault(c.Grant, DefaultGrantCap)
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Rotations keep the records of grants whose refresh tokens work once; *rotating.Grants is one.
type Rotations interface {
	// Begin records a grant with its first refresh token; any error is an outage.
	Begin(ctx context.Context, first *token.Refresh) error
	// Rotate exchanges the token held for next and returns the successor that stands, which is another than next if one
	// was given already. A *token.InvalidError says that the grant is over; any other error is an outage.
	Rotate(ctx context.Context, held, next *token.Refresh) (*token.Refresh, error)
}

// Minter makes tokens from grants.
type Minter struct {
	Issuer                  string // of all that it makes, renewals of what another name issued included
	AccessKeys, RefreshKeys SigningKeys
	// Rotations are of the grants of token.ModeRotating. Nil where such tokens are not taken.
	Rotations Rotations
	// Revocations are asked before a grant begins: tokens that all who verify would refuse are not handed out. Nil: nothing
	// is ever revoked. Refreshes don't need them, for who verified the token in hand has asked already.
	Revocations token.Revocations
	Caps        Caps
	Now         func() time.Time // nil: time.Now
}

func (m *Minter) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// SignIn is what a client has been found to be allowed, at step 1 of the flow.
type SignIn struct {
	ClientID, Subject string
	Epochs            token.Epochs
	Scope             oauth.Scope // granted
	Resources         []string    // audiences granted, the first is this access token's
	Refreshable       bool        // the client gets a refresh token
	Mode              token.Mode
	AccessLifetime    time.Duration
	RefreshLifetime   time.Duration
	GrantDuration     time.Duration
	Binding           token.Confirmation // of all its tokens; see Bind
}

// SignIn begins a grant and makes its first tokens. Where these would be revoked from the start, the error is an outage of
// which IsRevoked is true.
func (m *Minter) SignIn(ctx context.Context, s SignIn, o *oauth.Outcome) (*oauth.TokenResponse, error) {
	// Once more here, so that no grant type that forgets to ask makes a bearer token of what is to be bound.
	if _, err := Bind(s.Mode, s.Binding); err != nil {
		return nil, err
	}
	o.Audit = true
	now := m.now()
	// Claims count whole seconds: the grant begins when its first token does.
	start := now.Truncate(time.Second)
	g := &token.Refresh{
		Grant: token.Grant{
			GrantID: token.NewID(token.GrantPrefix), ClientID: s.ClientID, Subject: s.Subject, AuthTime: start, Epochs: s.Epochs,
		},
		Issuer: m.Issuer, Scope: s.Scope, Resources: s.Resources, Mode: s.Mode,
		GrantEnds:      start.Add(min(s.GrantDuration, m.Caps.grant(s.Mode))),
		AccessLifetime: s.AccessLifetime, Confirmation: s.Binding,
	}
	if err := m.checkRevoked(ctx, &g.Grant); err != nil {
		return nil, err
	}
	refresh := g
	switch {
	case !s.Refreshable:
		refresh = nil
	case s.Mode == token.ModeRotating:
		g.Generation = 1
	}
	m.setTimes(g, start, s.RefreshLifetime)
	answer, err := m.answer(ctx, g, Renewal{Scope: s.Scope, Resource: s.Resources[0], Binding: s.Binding}, start, refresh, o)
	if err != nil || refresh == nil || s.Mode != token.ModeRotating {
		return answer, err
	}
	if m.Rotations == nil {
		return nil, errNoRotations
	}
	if err := m.Rotations.Begin(ctx, g); err != nil {
		return nil, oauth.Errorf(oauth.Unavailable, "The grant can't be recorded at the moment. Try again.").Because(err)
	}
	return answer, nil
}

// checkRevoked asks whether what a grant seals is revoked already: the record that it was made of may be an old one, and
// after an emergency sign-ins may be cut off until a time that is yet to come. Which keys are revoked, those know that sign.
func (m *Minter) checkRevoked(ctx context.Context, g *token.Grant) error {
	if m.Revocations == nil {
		return nil
	}
	err := m.Revocations.Check(ctx, revocation.Facts{
		GrantID: g.GrantID, Subject: g.Subject, Issuer: m.Issuer, AuthTime: g.AuthTime, Epochs: g.Epochs,
	})
	if err != nil {
		return oauth.Errorf(oauth.Unavailable, "Signing in is not possible at the moment. Try again.").Because(err)
	}
	return nil
}

// IsRevoked reports whether SignIn failed because the grant would be revoked. A grant type that went by a record in memory
// may try once more with the record as it is by now.
func IsRevoked(err error) bool {
	var revoked *revocation.RevokedError
	return errors.As(err, &revoked)
}

var errNoRotations = errors.New("grant: a rotating refresh token where no records are kept")

// Renewal is what a client has been found to be allowed, at step 3 of the flow.
type Renewal struct {
	Held     *token.Refresh
	Scope    oauth.Scope        // a part of the grant's
	Resource string             // one of the grant's
	Binding  token.Confirmation // of the access token; a new refresh token is bound as the one in hand is
}

// Renew makes an access token of a grant. Past half the life of
// the refresh token in hand it makes a new one too, if that would last longer: one signature for most refreshes. A
// rotating token gets its successor each time; if its grant is over, the error is a *token.InvalidError.
func (m *Minter) Renew(ctx context.Context, r Renewal, o *oauth.Outcome) (*oauth.TokenResponse, error) {
	now, held := m.now().Truncate(time.Second), r.Held
	g := *held
	g.Issuer = m.Issuer // what began under another name goes on under this one
	// The cap may have been lowered since the grant began, and no grant outlives it.
	g.GrantEnds = earlier(held.GrantEnds, held.AuthTime.Add(m.Caps.grant(held.Mode)))
	if !now.Before(g.GrantEnds) {
		return nil, oauth.Errorf(oauth.InvalidGrant, "The grant has ended. Sign in again.").Becausef("the grant ended at %s", g.GrantEnds.UTC().Format(time.RFC3339))
	}
	life := held.ExpiresAt.Sub(held.IssuedAt)
	if held.Mode == token.ModeRotating {
		return m.rotate(ctx, &g, r, now, life, o)
	}
	if now.Sub(held.IssuedAt) <= life/2 || !m.refreshEnd(&g, now, life).After(held.ExpiresAt) {
		return m.answer(ctx, &g, r, now, nil, o)
	}
	m.setTimes(&g, now, life)
	return m.answer(ctx, &g, r, now, &g, o)
}

// rotate answers with the successor of a rotating token. Whatever can fail without consuming the token in hand is done before
// it is consumed, signing included: an outage of KMS may last longer than a token that had its use can be presented again.
func (m *Minter) rotate(ctx context.Context, held *token.Refresh, r Renewal, now time.Time, life time.Duration, o *oauth.Outcome) (*oauth.TokenResponse, error) {
	if m.Rotations == nil {
		return nil, errNoRotations
	}
	next := *held
	next.Generation++
	m.setTimes(&next, now, life)
	answer, err := m.answer(ctx, held, r, now, &next, o)
	if err != nil {
		return nil, err
	}
	stands, err := m.Rotations.Rotate(ctx, held, &next)
	var over *token.InvalidError
	switch {
	case errors.As(err, &over):
		return nil, err
	case err != nil:
		return nil, oauth.Errorf(oauth.Unavailable, "The refresh token can't be renewed at the moment. Try again.").Because(err)
	case stands.ID == next.ID:
		return answer, nil
	}
	key, err := m.RefreshKeys.SigningKey(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	if answer.RefreshToken, err = stands.Sign(ctx, key); err != nil {
		return nil, unavailable(err)
	}
	return answer, nil
}

// answer makes an access token of a grant, which it never outlives, and signs the refresh token that goes with it, if any.
func (m *Minter) answer(ctx context.Context, g *token.Refresh, r Renewal, now time.Time, refresh *token.Refresh, o *oauth.Outcome) (*oauth.TokenResponse, error) {
	a := &token.Access{
		Grant: g.Grant, Issuer: m.Issuer, Audience: []string{r.Resource}, IssuedAt: now, ID: token.NewID(""), Scope: r.Scope,
		Confirmation: r.Binding,
	}
	a.ExpiresAt = earlier(now.Add(min(g.AccessLifetime, m.Caps.access())), g.GrantEnds)
	signed, renewed, err := m.sign(ctx, a, refresh)
	if err != nil {
		return nil, unavailable(err)
	}
	o.GrantID, o.TokenID, o.Scope, o.Audience = g.GrantID, a.ID, r.Scope.String(), r.Resource
	return &oauth.TokenResponse{
		AccessToken: signed, TokenType: a.Confirmation.Type(), ExpiresIn: int64(a.ExpiresAt.Sub(now) / time.Second),
		RefreshToken: renewed, Scope: o.Scope,
	}, nil
}

// setTimes makes g the claims of a new refresh token.
func (m *Minter) setTimes(g *token.Refresh, now time.Time, life time.Duration) {
	g.IssuedAt, g.ExpiresAt, g.ID = now, m.refreshEnd(g, now, life), token.NewID("")
}

func (m *Minter) refreshEnd(g *token.Refresh, now time.Time, life time.Duration) time.Time {
	return earlier(now.Add(life), g.GrantEnds)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// unavailable reports a key that can't be had or can't sign just now: an outage, never the client's fault.
func unavailable(err error) error {
	if errors.Is(err, token.ErrTooLong) {
		return err // trying again would not help
	}
	return oauth.Errorf(oauth.Unavailable, "Tokens can't be signed at the moment. Try again.").Because(err)
}

// NarrowScope returns the scope asked for if it lies within what is granted, all of that if none is asked (RFC 6749 §3.3,
// §6), else invalid_scope.
func NarrowScope(asked string, granted oauth.Scope) (oauth.Scope, error) {
	if asked == "" {
		return granted, nil
	}
	scope, err := oauth.ParseScope(asked)
	if err != nil {
		return nil, err
	}
	if !scope.Within(granted) {
		return nil, oauth.Errorf(oauth.InvalidScope, "The scope exceeds what this client or this grant may have.")
	}
	return scope, nil
}

// NarrowResource returns the audiences asked for if they lie within those granted (RFC 8707 §2), the asked one first and
// alone; all of those granted if none is asked.
func NarrowResource(asked string, granted []string) ([]string, error) {
	if asked == "" {
		return granted, nil
	}
	for _, r := range granted {
		if r == asked {
			return []string{r}, nil
		}
	}
	return nil, oauth.Errorf(oauth.InvalidTarget, "The resource is not an audience that this client or this grant may have.")
}
