package authorizer

import (
	"errors"
	"slices"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/dpop"
)

// refusal is why a request is not let through. It says nothing that must not be shown, and no part of the token.
type refusal struct {
	reason string // one word
	code   string // RFC 6750 §3.1; empty where that has none
	detail string // for the log
	// denied: the token is good, so that another one of the kind won't help, and the answer is a 403. Otherwise there is no
	// good token, and the answer is a 401 where the kind has one.
	denied bool
	// ours: an operator is to set something right.
	ours bool
}

// The reasons besides token.Reason's. Those with which a token is bad or absent come first.
const (
	reasonMissing        = "missing"         // no token
	reasonRepeated       = "repeated"        // several
	reasonScheme         = "scheme"          // neither Bearer nor DPoP
	reasonCredentials    = "credentials"     // one of these, but not one token of the characters that tokens have
	reasonIdentitySource = "identity_source" // API Gateway would cache the answer under something else than it rests on
)

// The codes of RFC 6750 §3.1. A request without a token, or with another scheme, gets none.
const (
	codeRequest = "invalid_request"
	codeToken   = "invalid_token"
	codeScope   = "insufficient_scope"
	codeProof   = "invalid_dpop_proof" // RFC 9449 §7.1
)

// WebSocketToken is where the token of a WebSocket API's $connect may be, besides the Authorization header, which browsers
// can't set. The zero value is nowhere.
type WebSocketToken struct {
	// Protocol: in Sec-WebSocket-Protocol, as the protocol right after "latchkey.bearer". In a browser:
	//
	//	new WebSocket(url, ["latchkey.bearer", token])
	//
	// Other protocols may stand before and after the two. The integration of $connect has to answer with a protocol that was
	// offered (RFC 6455 §4.2.2), "latchkey.bearer" or one of its own, and never with the token.
	Protocol bool
	// Query is the name of a query parameter whose value is the token (RFC 6750 §2.3). URLs get into logs, histories and
	// Referer headers: the last resort.
	Query string
}

// ParseWebSocketToken reads the setting: "header", "protocol" or "query:NAME".
func ParseWebSocketToken(s string) (WebSocketToken, error) {
	name, query := strings.CutPrefix(s, "query:")
	switch {
	case s == "header":
		return WebSocketToken{}, nil
	case s == "protocol":
		return WebSocketToken{Protocol: true}, nil
	case query && name != "" && !strings.ContainsAny(name, " ,&=?#%+"):
		return WebSocketToken{Query: name}, nil
	}
	return WebSocketToken{}, errors.New("it must be header, protocol or query: and a parameter's name, such as query:access_token")
}

// bearerProtocol is the one that says that the next one is the token.
const bearerProtocol = "latchkey.bearer"

// credentials are what a request came with.
type credentials struct {
	token string
	dpop  bool // with the scheme DPoP, not Bearer
}

// credentials returns the one token of the request.
func (a *Authorizer) credentials(e *event) (credentials, *refusal) {
	var values []string
	if e.kind == kindToken {
		if e.wire.AuthorizationToken != "" {
			values = []string{e.wire.AuthorizationToken}
		}
	} else {
		values = e.header("Authorization")
	}
	if e.kind == kindWebSocket {
		elsewhere, refused := a.WebSocketToken.find(e)
		if refused != nil {
			return credentials{}, refused
		}
		// No more than one way in a request (RFC 6750 §2).
		if len(values)+len(elsewhere) > 1 {
			return credentials{}, &refusal{reason: reasonRepeated, code: codeRequest, detail: "more than one token"}
		}
		if len(elsewhere) == 1 {
			return credentials{token: elsewhere[0]}, nil
		}
	}
	switch {
	case len(values) == 0:
		return credentials{}, &refusal{reason: reasonMissing, detail: "no Authorization header"}
	case len(values) > 1:
		return credentials{}, &refusal{reason: reasonRepeated, code: codeRequest, detail: "more than one Authorization header"}
	}
	c, refused := parseCredentials(values[0])
	// API Gateway caches the answer under the identity source's values. If the token is not among them, whoever sends those
	// would be let in on this token.
	if refused == nil && len(e.wire.IdentitySource) > 0 && !slices.Contains(e.wire.IdentitySource, values[0]) {
		refused = &refusal{reason: reasonIdentitySource, detail: "the API's identity source is not $request.header.Authorization", ours: true}
	}
	return c, refused
}

// find returns the tokens that a WebSocket's request has where the operator has turned that on.
func (w WebSocketToken) find(e *event) ([]string, *refusal) {
	var found []string
	switch {
	case w.Protocol:
		list := protocols(e)
		for i, protocol := range list {
			if protocol != bearerProtocol {
				continue
			}
			if i+1 == len(list) {
				return nil, &refusal{reason: reasonCredentials, code: codeToken, detail: "no token after the protocol " + bearerProtocol}
			}
			found = append(found, list[i+1])
		}
	case w.Query != "":
		found = e.query(w.Query)
	}
	for _, raw := range found {
		if !isToken68(raw) {
			return nil, &refusal{reason: reasonCredentials, code: codeToken, detail: "not a token in the place where it is expected"}
		}
	}
	return found, nil
}

// protocols are those that a WebSocket's client offers, of all header lines together (RFC 6455 §11.3.4).
func protocols(e *event) []string {
	var list []string
	for _, value := range e.header("Sec-WebSocket-Protocol") {
		for protocol := range strings.SplitSeq(value, ",") {
			list = append(list, strings.Trim(protocol, " \t"))
		}
	}
	return list
}

// parseCredentials takes the token out of credentials: the scheme in any case, one or more spaces (RFC 6750 §2.1, RFC 9449
// §7.1, RFC 9110 §11.4: 1*SP, and no tab), and a token68. HTTP APIs join repeated headers with commas, which a token68 has none of.
func parseCredentials(value string) (credentials, *refusal) {
	scheme, raw, found := strings.Cut(value, " ")
	c := credentials{dpop: strings.EqualFold(scheme, dpop.Scheme)}
	if !c.dpop && !strings.EqualFold(scheme, "Bearer") {
		return credentials{}, &refusal{reason: reasonScheme, detail: "the scheme is neither Bearer nor DPoP"}
	}
	raw = strings.TrimLeft(raw, " ")
	if !found || !isToken68(raw) {
		return credentials{}, &refusal{reason: reasonCredentials, code: codeToken, detail: "not one token after the scheme"}
	}
	c.token = raw
	return c, nil
}

// isToken68 is token68 of RFC 9110 §11.2.
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return s != ""
}
