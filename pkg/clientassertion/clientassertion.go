// Package clientassertion authenticates clients that share no secret with us, at the token endpoint: by a JWT that the client
// signs itself (private_key_jwt, RFC 7523 §2.2), or by a token of another issuer's that says what the client is, as a job of
// GitHub Actions and a pod of Kubernetes have one.
package clientassertion

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// MaxLife is how far ahead the end of a client's own assertion may be.
const MaxLife = 5 * time.Minute

// types are what the header of a client's own assertion may say.
var types = []string{"JWT", "client-authentication+jwt"}

// Authenticator checks credentials of all kinds: secrets are left to Clients.
type Authenticator struct {
	Clients *client.Authenticator
	Keys    issuer.KeyFinder
	Issuers *issuer.Verifier
	Uses    assertion.Uses
	// Issuer is us: what an assertion must be for, by that name or one of AcceptedIssuers, while we move to another domain.
	// TokenEndpoints are our addresses, taken from clients that are registered so.
	Issuer          string
	AcceptedIssuers []string
	TokenEndpoints  []string
	Now             func() time.Time // nil: time.Now
}

// Reasons for a refusal, for the log alone.
var (
	errNoKeys     = errors.New("the client has no keys registered")
	errOther      = errors.New("client_id is not the client of the assertion")
	errNoID       = errors.New("a token of another issuer's needs client_id besides")
	errNoIdentity = errors.New("the token is of none of the client's identities")
)

// Authenticate returns the record of the client whose credentials these are. The record must not be changed. Refusals are
// invalid_client, the same for every reason; what fails for another reason is temporarily_unavailable.
func (a *Authenticator) Authenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error) {
	if c.Method != oauth.AuthAssertion {
		return a.Clients.Authenticate(ctx, c)
	}
	record, claims, err := a.check(ctx, c)
	if err != nil {
		return nil, err
	}
	err = assertion.Use(ctx, a.Uses, claims, a.now())
	if bad := (*assertion.InvalidError)(nil); errors.As(err, &bad) {
		return nil, c.Refuse(bad)
	}
	if err != nil {
		return nil, outage(err)
	}
	return record, nil
}

// Reauthenticate is Authenticate by the record as it is by now, or as it was read within client.RereadInterval: for one who
// has learnt, after Authenticate and in the same request, that what is remembered is out of date. The assertion has had its
// use by then, which is not asked for again.
func (a *Authenticator) Reauthenticate(ctx context.Context, c oauth.Credentials) (*client.Record, error) {
	if c.Method != oauth.AuthAssertion {
		return a.Clients.Reauthenticate(ctx, c)
	}
	record, _, err := a.check(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := a.Clients.Renew(ctx, record.ID); err != nil {
		return nil, err
	}
	record, _, err = a.check(ctx, c)
	return record, err
}

// check is all but the use.
func (a *Authenticator) check(ctx context.Context, c oauth.Credentials) (*client.Record, *assertion.Claims, error) {
	iss, sub, err := assertion.Peek(c.Assertion)
	if err != nil {
		return nil, nil, c.Refuse(err)
	}
	id, own := c.ClientID, iss == sub && client.ValidID(iss)
	switch {
	case own && id != "" && id != iss:
		return nil, nil, c.Refuse(errOther)
	case own:
		id = iss
	case id == "":
		return nil, nil, c.Refuse(errNoID)
	}
	var claims *assertion.Claims
	var word *issuer.Verified
	record, err := a.Clients.Check(ctx, c, id, func(r *client.Record) (err error) {
		if own {
			claims, err = a.own(ctx, r, c.Assertion)
			return err
		}
		word, err = a.workload(ctx, r, iss, c.Assertion)
		return err
	})
	if err != nil {
		return nil, nil, outage(err)
	}
	if word != nil {
		claims, record = word.Claims, record.With(word.Issuer.Sealed())
	}
	return record, claims, nil
}

func (a *Authenticator) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

// own verifies what the client signed.
func (a *Authenticator) own(ctx context.Context, r *client.Record, raw string) (*assertion.Claims, error) {
	if r.Keys == "" {
		return nil, &assertion.InvalidError{Detail: errNoKeys.Error()}
	}
	keys, err := a.Keys.Keys(r.Keys)
	if err != nil {
		return nil, err
	}
	audiences := append([]string{a.Issuer}, a.AcceptedIssuers...)
	if r.TokenEndpointAudience {
		audiences = append(audiences, a.TokenEndpoints...)
	}
	return assertion.Verify(ctx, raw, keys, assertion.Expect{
		Issuer: r.ID, Subject: r.ID, Audiences: audiences, OneAud: true, Algorithms: assertion.Algorithms, Types: types,
		MaxLife: MaxLife, WithID: true,
	}, a.now())
}

// workload verifies what another issuer says of the client. An issuer is looked up if the client has an identity of it.
func (a *Authenticator) workload(ctx context.Context, r *client.Record, iss, raw string) (*issuer.Verified, error) {
	var names []string
	known := false
	for _, i := range r.Identities {
		if i.Issuer == iss {
			known = true
			for name := range i.Claims {
				names = append(names, name)
			}
		}
	}
	if !known {
		return nil, &assertion.InvalidError{Detail: errNoIdentity.Error()}
	}
	word, err := a.Issuers.Verify(ctx, iss, raw, names...)
	if err != nil {
		return nil, err
	}
	for _, i := range r.Identities {
		if i.Issuer == iss && i.Matches(word.Subject, word.Claims.Values) {
			return word, nil
		}
	}
	return nil, &assertion.InvalidError{Detail: errNoIdentity.Error()}
}

// outage has whatever is no answer yet be one that the client can try again after.
func outage(err error) error {
	if answer := (*oauth.Error)(nil); errors.As(err, &answer) {
		return err
	}
	return oauth.Errorf(oauth.Unavailable, "The client can't be authenticated at the moment. Try again.").Because(err)
}
