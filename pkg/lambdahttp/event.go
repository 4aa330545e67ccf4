package lambdahttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey-auth/latchkey/internal/traceid"
	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
)

// event holds the members, of all the forms together, that become part of a request.
type event struct {
	Version string `json:"version"` // "2.0"; "1.0" from an HTTP API; absent from a REST API

	// Payload format 2.0, function URLs among them.
	RouteKey       string   `json:"routeKey"`
	RawPath        string   `json:"rawPath"`
	RawQueryString string   `json:"rawQueryString"`
	Cookies        []string `json:"cookies"`

	// Payload format 1.0.
	Resource          string              `json:"resource"`
	Path              string              `json:"path"`
	HTTPMethod        string              `json:"httpMethod"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
	Query             map[string]string   `json:"queryStringParameters"` // decoded by the gateway
	MultiValueQuery   map[string][]string `json:"multiValueQueryStringParameters"`

	Headers         map[string]string `json:"headers"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`

	RequestContext struct {
		RequestID  string          `json:"requestId"`
		Stage      string          `json:"stage"`
		DomainName string          `json:"domainName"`
		Authorizer json.RawMessage `json:"authorizer"`

		HTTP struct { // payload format 2.0
			Method   string `json:"method"`
			Protocol string `json:"protocol"`
			SourceIP string `json:"sourceIp"`
		} `json:"http"`
		Authentication struct { // payload format 2.0, with mutual TLS
			ClientCert clientCert `json:"clientCert"`
		} `json:"authentication"`

		Protocol string   `json:"protocol"` // payload format 1.0
		Identity struct { // payload format 1.0
			SourceIP   string     `json:"sourceIp"`
			ClientCert clientCert `json:"clientCert"` // with mutual TLS
		} `json:"identity"`
		ELB json.RawMessage `json:"elb"`
	} `json:"requestContext"`

	// Authorizer requests look much like requests, but an answer to a client is no answer to them.
	MethodArn string `json:"methodArn"`
	RouteArn  string `json:"routeArn"`
}

// clientCert is the certificate that the client has shown to the gateway.
type clientCert struct {
	PEM string `json:"clientCertPem"`
}

func parse(payload []byte) (*event, error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, ErrUnknownEvent
	}
	if e.MethodArn != "" || e.RouteArn != "" || e.RequestContext.ELB != nil {
		return nil, ErrUnknownEvent
	}
	switch e.Version {
	case "2.0":
		if e.RequestContext.HTTP.Method == "" || !strings.HasPrefix(e.RawPath, "/") {
			return nil, ErrUnknownEvent
		}
	case "", "1.0":
		if e.HTTPMethod == "" || !strings.HasPrefix(e.Path, "/") {
			return nil, ErrUnknownEvent
		}
	default:
		return nil, ErrUnknownEvent
	}
	return &e, nil
}

func (e *event) v2() bool { return e.Version == "2.0" }

// errCertificate is returned for a client certificate that the gateway took and that we can't read: to go on without it would
// be to make a bearer token of one that is to be bound.
var errCertificate = errors.New("the client certificate can't be read")

// request fails only for a body that is not the base64 it is said to be, and for a client certificate that can't be read.
func (e *event) request(ctx context.Context) (*http.Request, error) {
	var err error
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, err
		}
	}

	method, protocol, sourceIP := e.HTTPMethod, e.RequestContext.Protocol, e.RequestContext.Identity.SourceIP
	if e.v2() {
		rc := e.RequestContext.HTTP
		method, protocol, sourceIP = rc.Method, rc.Protocol, rc.SourceIP
	}
	major, minor, ok := http.ParseHTTPVersion(protocol)
	if !ok {
		protocol, major, minor = "HTTP/1.1", 1, 1
	}

	header := e.header()
	host := header.Get("Host")
	if host == "" {
		host = e.RequestContext.DomainName
	}
	header.Del("Host") // as net/http has it

	req := &http.Request{
		Method:        method,
		URL:           e.url(),
		Proto:         protocol,
		ProtoMajor:    major,
		ProtoMinor:    minor,
		Header:        header,
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
		Host:          host,
	}
	if len(body) == 0 {
		req.Body = http.NoBody
	}
	if req.TLS, err = e.connection(); err != nil {
		return nil, err
	}
	if sourceIP != "" {
		req.RemoteAddr = net.JoinHostPort(sourceIP, "0") // the client's port is not told
	}
	req.RequestURI = req.URL.RequestURI()

	ctx = e.context(ctx)
	if values, ok := e.authorizer(); ok {
		ctx = gatewayctx.WithAuthorizer(ctx, values)
	}
	return req.WithContext(ctx), nil
}

// context returns one with what tells the request from others in logs: the ids of the gateway and of the trace.
func (e *event) context(ctx context.Context) context.Context {
	trace, _ := traceid.Parse(e.oneHeader("X-Amzn-Trace-Id"))
	if trace == "" {
		trace, _ = traceid.Parse(traceid.Lambda(ctx))
	}
	const most = 128 // bytes of an id, which has some forty
	if id := e.RequestContext.RequestID; len(id) <= most {
		ctx = gatewayctx.WithRequestID(ctx, id)
	}
	if trace == "" {
		return ctx
	}
	return gatewayctx.WithTraceID(ctx, trace)
}

// oneHeader returns a header's value, the last where a REST API has several, its name in any case.
func (e *event) oneHeader(name string) string {
	for n, value := range e.Headers {
		if strings.EqualFold(n, name) {
			return value
		}
	}
	return ""
}

// connection has the certificate that the client has shown to the gateway, nil if there is none. Headers that say something
// of certificates are the client's own and no business of ours.
func (e *event) connection() (*tls.ConnectionState, error) {
	text := e.RequestContext.Identity.ClientCert.PEM
	if e.v2() {
		text = e.RequestContext.Authentication.ClientCert.PEM
	}
	if text == "" {
		return nil, nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errCertificate
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, errCertificate
	}
	return &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{certificate}}, nil
}

// header has the values of a repeated header apart where the event has them apart, and never splits one: a comma may
// be part of a value, as in Authorization.
func (e *event) header() http.Header {
	h := make(http.Header, len(e.Headers))
	if e.MultiValueHeaders != nil && !e.v2() {
		// In order, so that two spellings of a name give the same list each time.
		for _, name := range slices.Sorted(maps.Keys(e.MultiValueHeaders)) {
			for _, value := range e.MultiValueHeaders[name] {
				h.Add(name, value)
			}
		}
		return h
	}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		h.Add(name, e.Headers[name])
	}
	if e.v2() && len(e.Cookies) > 0 {
		h.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	return h
}

func (e *event) url() *url.URL {
	u := e.path()
	switch {
	case e.v2():
		u.RawQuery = e.RawQueryString
	case e.MultiValueQuery != nil:
		u.RawQuery = url.Values(e.MultiValueQuery).Encode()
	default:
		q := make(url.Values, len(e.Query))
		for name, value := range e.Query {
			q.Set(name, value)
		}
		u.RawQuery = q.Encode()
	}
	return u
}

// path is the route's own path where that is a literal one: the gateway has decided on it, and what was sent may
// differ from it (in a trailing slash, in its encoding, by a stage or a base path in front) in ways that a second
// decision here could get wrong.
func (e *event) path() *url.URL {
	route, sent := e.Resource, e.Path
	if e.v2() {
		_, route, _ = strings.Cut(e.RouteKey, " ") // "POST /oauth2/token"; "$default" has no path
		sent = e.RawPath
	}
	if strings.HasPrefix(route, "/") && !strings.Contains(route, "{") {
		return &url.URL{Path: route}
	}

	// HTTP APIs put the stage before the path in both payload formats, REST APIs in neither: there, a first segment
	// of the stage's name is the client's own.
	if stage := e.RequestContext.Stage; e.Version != "" && stage != "" && stage != "$default" {
		if rest, ok := strings.CutPrefix(sent, "/"+stage); ok && (rest == "" || rest[0] == '/') {
			sent = "/" + strings.TrimPrefix(rest, "/")
		}
	}

	// HTTP APIs have decoded the path already. Decoding it again would make a "%2F" that was sent as "%252F" a slash.
	functionURL := strings.Contains(e.RequestContext.DomainName, ".lambda-url.")
	if e.Version == "" || functionURL {
		if decoded, err := url.PathUnescape(sent); err == nil {
			return &url.URL{Path: decoded, RawPath: sent}
		}
	}
	return &url.URL{Path: sent}
}

// authorizer is the Lambda authorizer's context. Payload format 1.0 has it directly in the authorizer object, 2.0 under
// "lambda", beside the other kinds ("jwt", "iam") that are not ours. Values that are not strings, numbers or booleans
// are left out: no Lambda authorizer can put them there.
func (e *event) authorizer() (map[string]string, bool) {
	object := e.RequestContext.Authorizer
	if e.v2() {
		var kinds struct {
			Lambda json.RawMessage `json:"lambda"`
		}
		if object == nil || json.Unmarshal(object, &kinds) != nil {
			return nil, false
		}
		object = kinds.Lambda
	}
	var members map[string]any
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber() // a time in seconds stays as it is spelled
	if err := d.Decode(&members); err != nil || members == nil {
		return nil, false
	}
	values := make(map[string]string, len(members))
	for name, member := range members {
		switch v := member.(type) {
		case string:
			values[name] = v
		case json.Number:
			values[name] = v.String()
		case bool:
			values[name] = "false"
			if v {
				values[name] = "true"
			}
		}
	}
	return values, true
}
