package authorizer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/appendjson"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

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

// appendClaims appends what backends are told of a token, all as strings, which every kind of API passes on unchanged, from
// its cache too. The order is that of the alphabet.
func (x extraClaims) appendClaims(out []byte, access *token.Access) []byte {
	claim := func(name, value string) {
		out = append(append(append(out, ',', '"'), name...), `":`...)
		out = appendjson.String(out, value)
	}
	start := len(out)
	if x.audience {
		claim("aud", audience(access))
	}
	if x.authTime {
		claim("auth_time", seconds(access.AuthTime))
	}
	claim("client_id", access.ClientID)
	claim("exp", seconds(access.ExpiresAt))
	claim("grant_id", access.GrantID)
	if x.issued {
		claim("iat", seconds(access.IssuedAt))
	}
	if x.issuer {
		claim("iss", access.Issuer)
	}
	claim("jti", access.ID)
	claim("scope", access.Scope.String())
	claim("sub", access.Subject)
	out[start] = '{'
	return append(out, '}')
}

// audience joins several by spaces, as scopes are: a list would have to be JSON, which API Gateway's cache does not take in a
// context.
func audience(access *token.Access) string { return strings.Join(access.Audience, " ") }

// plain says whether a value could not be taken for JSON's objects or lists, which API Gateway was seen to fail on when it has
// a context from its cache. Ids never are; scopes and audiences are what an operator made of them.
func plain(value string) bool {
	return value == "" || value[0] != '{' && value[0] != '[' || !json.Valid([]byte(value))
}

// seconds is a time as claims have it: seconds since 1970.
func seconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
