package authorizer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/token"
)

// claims is what backends are told of a token, all as strings, which every kind of API passes on unchanged, from its cache
// too. The order is that of the alphabet.
type claims struct {
	Audience string `json:"aud,omitempty"`
	AuthTime string `json:"auth_time,omitempty"`
	ClientID string `json:"client_id"`
	Expires  string `json:"exp"`
	GrantID  string `json:"grant_id"`
	Issued   string `json:"iat,omitempty"`
	Issuer   string `json:"iss,omitempty"`
	ID       string `json:"jti"`
	Scope    string `json:"scope"`
	Subject  string `json:"sub"`
}

// extraClaims says which claims the context has besides the usual ones.
type extraClaims struct{ audience, authTime, issued, issuer bool }

// CheckClaims says whether a context can have these claims, as Config.Claims.
func CheckClaims(names []string) error {
	_, err := parseExtraClaims(names)
	return err
}

// parseExtraClaims refuses names of claims that there are none of, or that the context has anyway.
func parseExtraClaims(names []string) (extraClaims, error) {
	var x extraClaims
	for _, name := range names {
		switch name {
		case "aud":
			x.audience = true
		case "auth_time":
			x.authTime = true
		case "iat":
			x.issued = true
		case "iss":
			x.issuer = true
		default:
			return x, fmt.Errorf("%q can't be in the context: the claims to choose from are aud, auth_time, iat and iss", name)
		}
	}
	return x, nil
}

// of returns the claims of a token. Several audiences are joined by spaces, as scopes are: a list would have to be JSON, which
// API Gateway's cache does not take in a context.
func (x extraClaims) of(access *token.Access) *claims {
	c := &claims{
		ClientID: access.ClientID, Expires: seconds(access.ExpiresAt), GrantID: access.GrantID, ID: access.ID,
		Scope: access.Scope.String(), Subject: access.Subject,
	}
	if x.audience {
		c.Audience = strings.Join(access.Audience, " ")
	}
	if x.authTime {
		c.AuthTime = seconds(access.AuthTime)
	}
	if x.issued {
		c.Issued = seconds(access.IssuedAt)
	}
	if x.issuer {
		c.Issuer = access.Issuer
	}
	return c
}

// plain says whether no value could be taken for JSON's objects or lists, which API Gateway was seen to fail on when it has a
// context from its cache. Ids never are; scopes and audiences are what an operator made of them.
func (c *claims) plain() bool {
	for _, value := range [...]string{c.Scope, c.Audience} {
		if value != "" && (value[0] == '{' || value[0] == '[') && json.Valid([]byte(value)) {
			return false
		}
	}
	return true
}

// seconds is a time as claims have it: seconds since 1970.
func seconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
