package authorizer

import (
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
	wire *wireEvent
}

// wireEvent has the members, of all kinds together, that are read.
type wireEvent struct {
	Version string // HTTP APIs' alone
	Type    string

	// TOKEN.
	AuthorizationToken string
	MethodArn          string // of all but payload format 2.0

	// REQUEST and payload format 1.0.
	Resource   string
	HTTPMethod string
	Path       string

	// Payload format 2.0.
	RouteArn string
	RouteKey string
	RawPath  string
	Cookies  []string

	// Several kinds.
	IdentitySource    []string // HTTP APIs; see readIdentitySource
	Headers           pairs
	MultiValueHeaders pairs // REST and WebSocket, and perhaps format 1.0
	Query             pairs
	MultiValueQuery   pairs

	Context requestContext
}

// requestContext is what is read of that member.
type requestContext struct {
	RequestID  string // of all but TOKEN
	EventType  string // WebSocket
	Path       string // REST: as it was sent, with the stage or a base path
	HTTPMethod string // payload format 2.0
	HTTPPath   string // payload format 2.0
	// The certificate that the client has shown to API Gateway, with mutual TLS.
	IdentityPEM       string
	AuthenticationPEM string // payload format 2.0
}

func parseWire(payload []byte) (*wireEvent, error) {
	var w wireEvent
	s := scanner{text: string(payload)}
	err := s.event(func(name string) error {
		switch name {
		case "version":
			return s.string(&w.Version)
		case "type":
			return s.string(&w.Type)
		case "authorizationToken":
			return s.string(&w.AuthorizationToken)
		case "methodArn":
			return s.string(&w.MethodArn)
		case "resource":
			return s.string(&w.Resource)
		case "httpMethod":
			return s.string(&w.HTTPMethod)
		case "path":
			return s.string(&w.Path)
		case "routeArn":
			return s.string(&w.RouteArn)
		case "routeKey":
			return s.string(&w.RouteKey)
		case "rawPath":
			return s.string(&w.RawPath)
		case "cookies":
			return s.strings(&w.Cookies)
		case "identitySource":
			return readIdentitySource(&s, &w.IdentitySource)
		case "headers":
			return s.pairs(&w.Headers)
		case "multiValueHeaders":
			return s.pairs(&w.MultiValueHeaders)
		case "queryStringParameters":
			return s.pairs(&w.Query)
		case "multiValueQueryStringParameters":
			return s.pairs(&w.MultiValueQuery)
		case "requestContext":
			return w.Context.read(&s)
		}
		return s.skip()
	})
	return &w, err
}

func (c *requestContext) read(s *scanner) error {
	return s.object(func(name string) error {
		switch name {
		case "requestId":
			return s.string(&c.RequestID)
		case "eventType":
			return s.string(&c.EventType)
		case "path":
			return s.string(&c.Path)
		case "http":
			return s.object(func(name string) error {
				switch name {
				case "method":
					return s.string(&c.HTTPMethod)
				case "path":
					return s.string(&c.HTTPPath)
				}
				return s.skip()
			})
		case "identity":
			return readCertificate(s, &c.IdentityPEM)
		case "authentication":
			return readCertificate(s, &c.AuthenticationPEM)
		}
		return s.skip()
	})
}

func readCertificate(s *scanner, to *string) error {
	return s.object(func(name string) error {
		if name != "clientCert" {
			return s.skip()
		}
		return s.object(func(name string) error {
			if name != "clientCertPem" {
				return s.skip()
			}
			return s.string(to)
		})
	})
}

// readIdentitySource reads the values of the authorizer's identity sources: a list in payload format 2.0; in 1.0 one string of
// them, joined by commas. A value that has a comma falls apart; no token has one.
func readIdentitySource(s *scanner, to *[]string) error {
	s.space()
	if s.peek() != '"' {
		return s.strings(to)
	}
	var joined string
	err := s.string(&joined)
	if joined != "" {
		*to = strings.Split(joined, ",")
	}
	return err
}

// parseEvent tells the kind from the content. Kinds that are much alike want other answers, so that each has a mark that no
// other one has.
func parseEvent(payload []byte) (*event, error) {
	w, err := parseWire(payload)
	if err != nil {
		return nil, err
	}
	e := event{wire: w}
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
	case w.Type == "REQUEST" && w.Version == "" && w.RouteArn == "" && w.Context.EventType == "CONNECT":
		e.kind = kindWebSocket
	default:
		return nil, errors.New("the event is neither REST TOKEN, nor REST REQUEST, nor HTTP API 1.0 or 2.0, nor WebSocket $connect")
	}
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
