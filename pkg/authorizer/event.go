package authorizer

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// kind is an event's.
type kind int

const (
	kindToken   kind = iota // REST API, TOKEN
	kindRequest             // REST API, REQUEST
	kindHTTP2               // HTTP API, payload format 2.0
)

func (k kind) String() string { return [...]string{"rest-token", "rest-request", "http-2.0"}[k] }

// rest says that API Gateway makes a 401 of the error Unauthorized.
func (k kind) rest() bool { return k != kindHTTP2 }

// event is what is needed of an event.
type event struct {
	kind kind
	api  api
	wire wireEvent
}

// wireEvent has the members, of all kinds together, that are read; the others cost a scan and no memory. API Gateway writes
// the event, so that its member names need no suspicion; the callers' own words are in the values and in the maps' keys.
type wireEvent struct {
	Version string `json:"version"`
	Type    string `json:"type"`

	// TOKEN.
	AuthorizationToken string `json:"authorizationToken"`
	MethodArn          string `json:"methodArn"` // of both kinds for REST APIs

	// REQUEST.
	Resource          string              `json:"resource"`
	HTTPMethod        string              `json:"httpMethod"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders"`

	// HTTP API 2.0.
	RouteArn       string            `json:"routeArn"`
	RouteKey       string            `json:"routeKey"`
	IdentitySource []string          `json:"identitySource"`
	Headers        map[string]string `json:"headers"` // REQUEST's too
}

// parseEvent tells the kind from the content. HTTP APIs' payload format 1.0 and WebSocket APIs have events that are much
// like REQUEST's but want other answers: they are not taken for it.
func parseEvent(payload []byte) (*event, error) {
	var e event
	w := &e.wire
	if err := json.Unmarshal(payload, w); err != nil {
		return nil, errors.New("the event is not JSON of the shape that authorizers get")
	}
	arn := w.MethodArn
	switch {
	case w.Type == "TOKEN" && w.Version == "" && w.RouteArn == "":
		e.kind = kindToken
	case w.Type == "REQUEST" && w.Version == "" && w.RouteArn == "" && w.HTTPMethod != "" && w.Resource != "":
		e.kind = kindRequest
	case w.Type == "REQUEST" && w.Version == "2.0" && w.MethodArn == "" && w.RouteKey != "":
		e.kind, arn = kindHTTP2, w.RouteArn
	default:
		return nil, errors.New("the event is neither REST TOKEN, nor REST REQUEST, nor HTTP API 2.0")
	}
	var err error
	e.api, err = parseARN(arn)
	return &e, err
}

// api is a stage of an API.
type api struct {
	Partition, Region, Account, ID, Stage string
}

// parseARN reads a method's or a route's ARN,
// arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/{verb}/{path}. The path is the caller's and may hold any
// character, colons and slashes too, so that only what stands before it is split.
func parseARN(arn string) (api, error) {
	bad := errors.New("the ARN of the method or route is malformed")
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "execute-api" {
		return api{}, bad
	}
	path := strings.SplitN(parts[5], "/", 4)
	if len(path) < 3 { // an HTTP API's $default route has no path
		return api{}, bad
	}
	a := api{Partition: parts[1], Region: parts[3], Account: parts[4], ID: path[0], Stage: path[1]}
	for _, part := range []string{a.Partition, a.Region, a.Account, a.ID, a.Stage} {
		// They go into a policy's resource, where these characters have a meaning.
		if part == "" || strings.ContainsAny(part, "*?{}") {
			return api{}, bad
		}
	}
	return a, nil
}

// everything is the resource that stands for all methods and paths of the stage: a * crosses slashes.
func (a api) everything() string {
	return "arn:" + a.Partition + ":execute-api:" + a.Region + ":" + a.Account + ":" + a.ID + "/" + a.Stage + "/*"
}

// token returns the token that the request came with.
func (e *event) token() (string, *refusal) {
	value, refused := e.authorization()
	if refused != nil {
		return "", refused
	}
	return bearer(value)
}

// authorization returns the value of the one Authorization header.
func (e *event) authorization() (string, *refusal) {
	w := &e.wire
	var values []string
	switch {
	case e.kind == kindToken:
		if w.AuthorizationToken != "" {
			values = []string{w.AuthorizationToken}
		}
	case e.kind == kindRequest && w.MultiValueHeaders != nil:
		// Headers has only the last of a repeated header's values.
		for name, list := range w.MultiValueHeaders {
			if strings.EqualFold(name, "Authorization") {
				values = append(values, list...)
			}
		}
	default:
		for name, value := range w.Headers {
			if strings.EqualFold(name, "Authorization") {
				values = append(values, value)
			}
		}
	}
	switch {
	case len(values) == 0:
		return "", &refusal{reasonMissing, "no Authorization header"}
	case len(values) > 1:
		return "", &refusal{reasonRepeated, "more than one Authorization header"}
	// API Gateway caches the answer under the identity source's values. If the token is not among them, whoever sends those
	// would be let in on this token.
	case e.kind == kindHTTP2 && len(w.IdentitySource) > 0 && !slices.Contains(w.IdentitySource, values[0]):
		return "", &refusal{reasonIdentitySource, "the API's identity source is not $request.header.Authorization"}
	}
	return values[0], nil
}

// bearer takes the token out of credentials: the scheme in any case, one or more spaces (RFC 6750 §2.1, RFC 9110 §11.4:
// 1*SP, and no tab), and a token68. HTTP APIs join repeated headers with commas, which a token68 has none of.
func bearer(credentials string) (string, *refusal) {
	scheme, raw, found := strings.Cut(credentials, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", &refusal{reasonScheme, "the scheme is not Bearer"}
	}
	raw = strings.TrimLeft(raw, " ")
	if !found || !isToken68(raw) {
		return "", &refusal{reasonCredentials, "not one token after the scheme"}
	}
	return raw, nil
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
