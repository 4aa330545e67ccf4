package authorizer

import (
	"encoding/json"
	"errors"
	"strings"
)

// kind is an event's.
type kind int

const (
	kindToken     kind = iota // REST API, TOKEN
	kindRequest               // REST API, REQUEST
	kindHTTP1                 // HTTP API, payload format 1.0
	kindHTTP2                 // HTTP API, payload format 2.0
	kindWebSocket             // WebSocket API, $connect
)

func (k kind) String() string {
	return [...]string{"rest-token", "rest-request", "http-1.0", "http-2.0", "websocket"}[k]
}

// unauthorized says that API Gateway makes a 401 of the error Unauthorized: documented of REST and WebSocket APIs, and not of
// HTTP APIs.
func (k kind) unauthorized() bool { return k != kindHTTP1 && k != kindHTTP2 }

// event is what is needed of an event.
type event struct {
	kind kind
	arn  arn
	wire wireEvent
}

// wireEvent has the members, of all kinds together, that are read; the others cost a scan and no memory. API Gateway writes
// the event, so that its member names need no suspicion; the callers' own words are in the values and in the maps' keys.
type wireEvent struct {
	Version string `json:"version"` // HTTP APIs' alone
	Type    string `json:"type"`

	// TOKEN.
	AuthorizationToken string `json:"authorizationToken"`
	MethodArn          string `json:"methodArn"` // of all but payload format 2.0

	// REQUEST and payload format 1.0.
	Resource   string `json:"resource"`
	HTTPMethod string `json:"httpMethod"`
	Path       string `json:"path"`

	// Payload format 2.0.
	RouteArn string   `json:"routeArn"`
	RouteKey string   `json:"routeKey"`
	RawPath  string   `json:"rawPath"`
	Cookies  []string `json:"cookies"`

	// Several kinds.
	IdentitySource    identitySource `json:"identitySource"` // HTTP APIs
	Headers           pairs          `json:"headers"`
	MultiValueHeaders pairs          `json:"multiValueHeaders"` // REST and WebSocket, and perhaps format 1.0
	Query             pairs          `json:"queryStringParameters"`
	MultiValueQuery   pairs          `json:"multiValueQueryStringParameters"`
	RequestContext    struct {
		EventType string `json:"eventType"` // WebSocket
		Path      string `json:"path"`      // REST: as it was sent, with the stage or a base path
		HTTP      struct {
			Method string `json:"method"`
			Path   string `json:"path"`
		} `json:"http"` // payload format 2.0
		Identity struct {
			ClientCert clientCert `json:"clientCert"`
		} `json:"identity"` // with mutual TLS
		Authentication struct {
			ClientCert clientCert `json:"clientCert"`
		} `json:"authentication"` // the same in payload format 2.0
	} `json:"requestContext"`
}

// clientCert is the certificate that the client has shown to API Gateway.
type clientCert struct {
	PEM string `json:"clientCertPem"`
}

// identitySource is the values of the authorizer's identity sources: a list in payload format 2.0; in 1.0 one string of them,
// joined by commas. A value that has a comma falls apart; no token has one.
type identitySource []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *identitySource) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '"' {
		return json.Unmarshal(data, (*[]string)(s))
	}
	var joined string
	if err := json.Unmarshal(data, &joined); err != nil {
		return err
	}
	if joined != "" {
		*s = strings.Split(joined, ",")
	}
	return nil
}

// parseEvent tells the kind from the content. Kinds that are much alike want other answers, so that each has a mark that no
// other one has.
func parseEvent(payload []byte) (*event, error) {
	var e event
	w := &e.wire
	if err := json.Unmarshal(payload, w); err != nil {
		return nil, errors.New("the event is not JSON of the shape that authorizers get")
	}
	resource := w.HTTPMethod != "" && w.Resource != "" && w.RouteArn == ""
	arn := w.MethodArn
	switch {
	case w.Type == "TOKEN" && w.Version == "" && w.RouteArn == "":
		e.kind = kindToken
	case w.Type == "REQUEST" && w.Version == "" && resource:
		e.kind = kindRequest
	case w.Type == "REQUEST" && w.Version == "1.0" && resource:
		e.kind = kindHTTP1
	case w.Type == "REQUEST" && w.Version == "2.0" && w.MethodArn == "" && w.RouteKey != "":
		e.kind, arn = kindHTTP2, w.RouteArn
	case w.Type == "REQUEST" && w.Version == "" && w.RouteArn == "" && w.RequestContext.EventType == "CONNECT":
		e.kind = kindWebSocket
	default:
		return nil, errors.New("the event is neither REST TOKEN, nor REST REQUEST, nor HTTP API 1.0 or 2.0, nor WebSocket $connect")
	}
	var err error
	if e.arn, err = parseARN(arn); err != nil {
		return nil, err
	}
	if e.kind == kindWebSocket && e.arn.route != connect {
		return nil, errors.New("the event is a WebSocket API's and not of $connect, the one route that has authorizers there")
	}
	return &e, nil
}

// The routes that have neither a method nor a path.
const (
	connect      = "$connect" // WebSocket APIs
	defaultRoute = "$default" // HTTP APIs
)

// arn is a method's or a route's ARN.
type arn struct {
	text   string // all of it
	prefix string // up to the slash after the stage
	api    string
	stage  string
	route  string // what follows the prefix: {verb}/{path}, $connect or $default
	verb   string // empty where there is none
}

// parseARN reads arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/{verb}/{path}. The path is the caller's and may
// hold any character, colons and slashes too, so that only what stands before it is split.
func parseARN(text string) (arn, error) {
	bad := errors.New("the ARN of the method or route is malformed")
	var head [5]string // arn, partition, execute-api, region, account
	rest := text
	for i := range head {
		var ok bool
		if head[i], rest, ok = strings.Cut(rest, ":"); !ok {
			return arn{}, bad
		}
	}
	if head[0] != "arn" || head[2] != "execute-api" {
		return arn{}, bad
	}
	id, rest, _ := strings.Cut(rest, "/")
	stage, route, ok := strings.Cut(rest, "/")
	if !ok { // an HTTP API's $default route has no path, but a name
		return arn{}, bad
	}
	for _, part := range [...]string{head[1], head[3], head[4], id, stage} {
		// They go into a policy's resource, where these characters have a meaning.
		if part == "" || strings.ContainsAny(part, "*?{}") {
			return arn{}, bad
		}
	}
	verb, _, ok := strings.Cut(route, "/")
	if !ok {
		verb = ""
	}
	return arn{
		text: text, prefix: text[:len(text)-len(route)], api: id, stage: stage, route: route, verb: verb,
	}, nil
}

// everything is the resource that stands for all that an authorizer of the kind is asked about on the stage: a * crosses
// slashes.
func (e *event) everything() string {
	if e.kind == kindWebSocket {
		return e.arn.text
	}
	return e.arn.prefix + "*"
}

// header returns all values of a header, its name in any case.
func (e *event) header(name string) []string {
	if e.wire.MultiValueHeaders.present() { // Headers has only the last of a repeated header's values there
		return e.wire.MultiValueHeaders.values(name, true)
	}
	return e.wire.Headers.values(name, true)
}

// query returns all values of a query parameter, decoded.
func (e *event) query(name string) []string {
	if e.wire.MultiValueQuery.present() {
		return e.wire.MultiValueQuery.values(name, false)
	}
	return e.wire.Query.values(name, false)
}
