// Package oauth is the wire protocol of an OAuth 2.0 token endpoint (RFC 6749): requests, client credentials, scope,
// errors, answers and metadata. It knows no token format, no store and no cloud, and imports the standard library alone.
//
// An endpoint is a function from a request to an answer or an error; [Endpoint] makes an http.Handler of it, which is the
// one place that writes answers and the one that logs outcomes:
//
//	http.Handle("POST /oauth2/token", &oauth.Endpoint{Name: "token", Log: log, Handle: func(r *http.Request, o *oauth.Outcome) (any, error) {
//		form, err := oauth.ParseForm(r)
//		…
//		return &oauth.TokenResponse{…}, nil
//	}})
package oauth

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// Grant types (RFC 6749 §4.3, §4.4, §6, RFC 7523 §2.1).
const (
	GrantPassword          = "password"
	GrantClientCredentials = "client_credentials"
	GrantRefreshToken      = "refresh_token"
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// The paths of the endpoints, the same wherever Latchkey runs.
const (
	PathToken               = "/oauth2/token"
	PathRefresh             = "/oauth2/refresh"
	PathRevoke              = "/oauth2/revoke"                          // RFC 7009
	PathIntrospect          = "/oauth2/introspect"                      // RFC 7662
	PathMetadata            = "/.well-known/oauth-authorization-server" // RFC 8414 §3
	PathOpenIDConfiguration = "/.well-known/openid-configuration"       // RFC 8414 §5
	PathJWKS                = "/.well-known/jwks.json"
	PathOpenAPI             = "/openapi.json"
)

// TokenResponse is a successful answer of a token endpoint (RFC 6749 §5.1).
type TokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`              // seconds
	RefreshToken string `json:"refresh_token,omitempty"` // absent: none is given, or the one in hand stays good
	Scope        string `json:"scope,omitempty"`

	// DPoPNonce is sent in the header DPoP-Nonce: what the client's next proof is to have (RFC 9449 §8.2).
	DPoPNonce string `json:"-"`
}

// headers has the DPoP nonce.
func (t *TokenResponse) headers(h http.Header) {
	if t.DPoPNonce != "" {
		h.Set(headerDPoPNonce, t.DPoPNonce)
	}
}

// json is json.Marshal of t, without its reflection where no text has a character to be escaped, as those of ours never do.
func (t *TokenResponse) json() ([]byte, error) {
	for _, s := range [...]string{t.AccessToken, t.TokenType, t.RefreshToken, t.Scope} {
		if !plain(s) {
			return json.Marshal(t) //nolint:gosec // the answer to who may have the token
		}
	}
	const names = 128 // more than the names take, with all that stands around the values
	out := make([]byte, 0, names+len(t.AccessToken)+len(t.TokenType)+len(t.RefreshToken)+len(t.Scope))
	out = append(append(out, `{"access_token":"`...), t.AccessToken...)
	out = append(append(out, `","token_type":"`...), t.TokenType...)
	out = strconv.AppendInt(append(out, `","expires_in":`...), t.ExpiresIn, 10)
	if t.RefreshToken != "" {
		out = append(append(append(out, `,"refresh_token":"`...), t.RefreshToken...), '"')
	}
	if t.Scope != "" {
		out = append(append(append(out, `,"scope":"`...), t.Scope...), '"')
	}
	return append(out, '}'), nil
}

// plain reports whether encoding/json writes s as it is, between quotes.
func plain(s string) bool {
	for i := range len(s) {
		if !plainByte[s[i]] {
			return false
		}
	}
	return true
}

// plainByte is a table, for answers are long.
var plainByte = func() (table [256]bool) {
	for c := 0x20; c < 0x7f; c++ {
		table[c] = !strings.ContainsRune(`"\<>&`, rune(c))
	}
	return table
}()

const headerDPoPNonce = "DPoP-Nonce"

// Metadata is the authorization server's metadata (RFC 8414 §2).
type Metadata struct {
	Issuer                 string   `json:"issuer"`
	TokenEndpoint          string   `json:"token_endpoint"`
	JWKSURI                string   `json:"jwks_uri"`
	ResponseTypes          []string `json:"response_types_supported"` // required; empty, for there is no authorization endpoint
	GrantTypes             []string `json:"grant_types_supported"`
	TokenEndpointAuth      []string `json:"token_endpoint_auth_methods_supported"`
	TokenEndpointAuthAlgs  []string `json:"token_endpoint_auth_signing_alg_values_supported"` // of private_key_jwt
	RevocationEndpoint     string   `json:"revocation_endpoint"`
	RevocationAuth         []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionEndpoint  string   `json:"introspection_endpoint"`
	IntrospectionAuth      []string `json:"introspection_endpoint_auth_methods_supported"`
	SubjectTypes           []string `json:"subject_types_supported"`               // read by OpenID clients, which API Gateway is one of
	SigningAlgorithms      []string `json:"id_token_signing_alg_values_supported"` // where OpenID clients look for the algorithms
	DPoPAlgorithms         []string `json:"dpop_signing_alg_values_supported"`     // RFC 9449 §5.1
	LatchkeyRefresh        string   `json:"latchkey_refresh_endpoint"`             // ours: where a token is refreshed without a secret
	LatchkeyRefreshMethods []string `json:"latchkey_refresh_endpoint_auth_methods_supported"`

	// With a domain for mutual TLS (RFC 8705 §3.3, §5).
	CertificateBound bool         `json:"tls_client_certificate_bound_access_tokens,omitempty"`
	MTLSAliases      *MTLSAliases `json:"mtls_endpoint_aliases,omitempty"`
}

// MTLSAliases are the endpoints at the domain that asks for a client certificate.
type MTLSAliases struct {
	TokenEndpoint   string `json:"token_endpoint"`
	LatchkeyRefresh string `json:"latchkey_refresh_endpoint"`
}
