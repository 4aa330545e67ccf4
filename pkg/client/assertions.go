package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// Identity is what a client is at another issuer: one subject, or all that have the same claims, or both.
type Identity struct {
	Issuer  string            `json:"issuer"`
	Subject string            `json:"subject,omitempty"`
	Claims  map[string]string `json:"claims,omitempty"`
}

// Bounds of what a record says of assertions.
const (
	MaxIdentities       = 10
	MaxIdentityClaims   = 10
	MaxAssertionIssuers = 10
)

// Matches reports whether a subject with these claims is it: all that it names has to be there, byte by byte.
func (i *Identity) Matches(subject string, claims map[string]string) bool {
	if i.Subject == "" && len(i.Claims) == 0 || i.Subject != "" && i.Subject != subject {
		return false
	}
	for name, value := range i.Claims {
		if got, ok := claims[name]; !ok || got != value {
			return false
		}
	}
	return true
}

func (i *Identity) equal(other Identity) bool {
	return i.Issuer == other.Issuer && i.Subject == other.Subject && maps.Equal(i.Claims, other.Claims)
}

func (i *Identity) validate() error {
	if err := assertion.ValidURL("issuer", i.Issuer, false); err != nil {
		return err
	}
	switch {
	case i.Subject == "" && len(i.Claims) == 0:
		return errors.New("an identity names a subject, or claims")
	case len(i.Subject) > assertion.MaxValue || len(i.Claims) > MaxIdentityClaims:
		return fmt.Errorf("an identity's subject is longer than %d bytes, or its claims are more than %d", assertion.MaxValue, MaxIdentityClaims)
	}
	for name, value := range i.Claims {
		if name == "" || value == "" || len(name) > assertion.MaxValue || len(value) > assertion.MaxValue || slices.Contains(unfit, name) {
			return fmt.Errorf("an identity's claim %q can't be asked for, or its value is empty or too long", name)
		}
	}
	return nil
}

// unfit are claims that say nothing of whose a token is.
var unfit = []string{"iss", "aud", "exp", "iat", "nbf", "jti", "cnf"}

// validateAssertions says what is wrong with what a record says of assertions.
func (r *Record) validateAssertions() error {
	switch {
	case len(r.Identities) > MaxIdentities:
		return fmt.Errorf("there may be at most %d identities", MaxIdentities)
	case len(r.AssertionIssuers) > MaxAssertionIssuers:
		return fmt.Errorf("there may be at most %d issuers of assertions", MaxAssertionIssuers)
	case r.Allows(oauth.GrantJWTBearer) && len(r.AssertionIssuers) == 0:
		return errors.New("whose assertions may it come with? The grant type jwt-bearer takes at least one issuer")
	}
	for _, url := range r.AssertionIssuers {
		if err := assertion.ValidURL("issuer", url, false); err != nil {
			return err
		}
	}
	for i := range r.Identities {
		if err := r.Identities[i].validate(); err != nil {
			return err
		}
	}
	return r.Keys.Validate()
}

// narrowsAssertions reports whether something that let the client in does not any more.
func narrowsAssertions(before, after *Record) bool {
	kept := func(i Identity) bool { return slices.ContainsFunc(after.Identities, i.equal) }
	return before.Keys != "" && before.Keys != after.Keys ||
		slices.ContainsFunc(before.Identities, func(i Identity) bool { return !kept(i) }) ||
		!oauth.Scope(before.AssertionIssuers).Within(after.AssertionIssuers)
}

// Check returns the record of a client by credentials of another kind than a secret, which a function judges: an
// *assertion.InvalidError is a refusal, and has a remembered record read again, as a wrong secret does. Refusals are
// invalid_client, the same for every reason; any other error is returned as it is.
func (a *Authenticator) Check(ctx context.Context, c oauth.Credentials, id string, right func(*Record) error) (*Record, error) {
	if !ValidID(id) {
		return nil, c.Refuse(errUnknown)
	}
	known, err := a.lookup(ctx, id)
	if err != nil {
		return nil, err
	}
	if known == nil {
		return nil, c.Refuse(errUnknown)
	}
	var bad *assertion.InvalidError
	if err = right(known.record); errors.As(err, &bad) {
		newer, errRead := a.newer(ctx, known)
		switch {
		case errRead != nil:
			return nil, errRead
		case newer == nil:
			return nil, c.Refuse(errUnknown)
		case newer != known:
			known = newer
			err = right(known.record)
		}
	}
	if errors.As(err, &bad) {
		return nil, c.Refuse(bad)
	}
	if err != nil {
		return nil, err
	}
	if known.record.Disabled {
		return nil, c.Refuse(errDisabled)
	}
	return known.record, nil
}
