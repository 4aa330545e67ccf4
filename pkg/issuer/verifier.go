package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
)

// Reader is the part of a Store that verifying needs.
type Reader interface {
	Issuer(ctx context.Context, url string) (*Stored, error)
}

// KeyFinder finds the keys of a source; *assertionkeys.Cache is one.
type KeyFinder interface {
	Keys(s assertion.KeySource) (assertion.Keys, error)
}

// Verifier verifies the tokens of trusted issuers. It reads the record each time, so that what changes in it holds at once.
type Verifier struct {
	Store Reader
	Keys  KeyFinder
	Now   func() time.Time // nil: time.Now
}

// types of tokens are all that say no more than that they are one. An access token of RFC 9068 is for an API, and says so.
var types = []string{"JWT"}

// Verified is a token that is good.
type Verified struct {
	Issuer  *Record
	Claims  *assertion.Claims
	Subject string // by the record's SubjectClaim
}

// Verify judges a token that says to be an issuer's, and reads some claims more. An *assertion.InvalidError says that it is
// bad; any other error is an outage. That it is used once is for the caller to see to.
func (v *Verifier) Verify(ctx context.Context, url, raw string, claims ...string) (*Verified, error) {
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	if assertion.ValidURL("issuer", url, false) != nil {
		return nil, assertion.Invalid("its issuer is not trusted")
	}
	stored, err := v.Store.Issuer(ctx, url)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, assertion.Invalid("its issuer is not trusted")
	case err != nil:
		return nil, fmt.Errorf("reading the record of an issuer: %w", err)
	}
	r := &stored.Record
	if r.Disabled {
		return nil, assertion.Invalid("its issuer is not trusted")
	}
	keys, err := v.Keys.Keys(r.Keys)
	if err != nil {
		return nil, err
	}
	for name := range r.Claims {
		claims = append(claims, name)
	}
	if r.SubjectClaim != "" {
		claims = append(claims, r.SubjectClaim)
	}
	c, err := assertion.Verify(ctx, raw, keys, assertion.Expect{
		Issuer: r.URL, Audiences: r.Audiences, Algorithms: r.Algorithms, Types: types, MaxAge: r.Age(), Claims: claims,
	}, now())
	if err != nil {
		return nil, err
	}
	for name, values := range r.Claims {
		if got, ok := c.Values[name]; !ok || !slices.Contains(values, got) {
			return nil, assertion.Invalid("its claim %s is not what the issuer's record asks for", name)
		}
	}
	good := &Verified{Issuer: r, Claims: c, Subject: c.Subject}
	if r.SubjectClaim != "" {
		if good.Subject = c.Values[r.SubjectClaim]; good.Subject == "" {
			return nil, assertion.Invalid("it has no %s, which tells its subject", r.SubjectClaim)
		}
	}
	return good, nil
}
