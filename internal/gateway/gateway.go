// Package gateway is an emulation of API Gateway, for `latchkey dev` and for tests: an http.Handler that hands requests to
// Lambda functions as the events that API Gateway makes of them, with Lambda authorizers in front.
//
//	g, err := gateway.New(gateway.API{
//		Kind: gateway.REST, ID: "f6g7h8i9j0", Stage: "prod",
//		Routes: []gateway.Route{{Method: "GET", Path: "/whoami", Function: whoami, Authorizer: &gateway.Authorizer{
//			Function: authorizer, Type: gateway.Request,
//			IdentitySources: []string{"method.request.header.Authorization"}, TTL: 10 * time.Second,
//		}}},
//	})
//
// The API is served as behind a custom domain that is mapped to the stage: the stage is not part of the URL.
//
// What it takes from API Gateway is what decides whether a request gets through: which route it is for, which authorizer
// is asked, what is cached under which key, how a policy is evaluated, and what the function is handed. Where AWS's
// behaviour is not documented it takes the stricter reading; what it does not know (a condition operator, a member of a
// policy, a route) it refuses. It does no throttling, API keys or mappings; on HTTP APIs functions get payload format 2.0 alone,
// authorizers either. Of WebSocket APIs it has what stands in front of $connect: see WebSocket.
package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is an API's.
type Kind int

// The kinds.
const (
	REST Kind = iota + 1 // API Gateway v1; events in payload format 1.0
	HTTP                 // API Gateway v2; events in payload format 2.0
)

// Function is a Lambda function: an in-process lambda.Handler, or a binary behind the Runtime API. Where the error's text is
// not the message that the function returned, the error has a method ErrorMessage that returns that.
type Function interface {
	Invoke(ctx context.Context, payload []byte) ([]byte, error)
}

// API is what to serve.
type API struct {
	Kind Kind // required
	// ID, Stage, Region and Account make up the ARNs. Empty: "local00000", "$default" for HTTP and "prod" for REST,
	// "us-east-1" and "123456789012".
	ID, Stage, Region, Account string
	Routes                     []Route
	// CORS answers preflight requests, without asking an authorizer or a function. Nil: they are requests as any other.
	CORS *CORS
	// BinaryMediaTypes are those that a REST API hands on in base64, such as "image/png" or "*/*".
	BinaryMediaTypes []string
	// Responses are a REST API's answers of its own in place of API Gateway's, for the types given.
	Responses map[ResponseType]Response
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes what goes wrong behind an answer that doesn't say so; nil means slog.Default().
	Log *slog.Logger
}

// Route is one method of a resource.
type Route struct {
	// Method is in upper case, or "ANY".
	Method string
	// Path begins with a slash; segments may be variables, {name}, and the last may be greedy, {name+}. HTTP APIs also have
	// "$default", for all that no route is for, with an empty Method.
	Path     string
	Function Function // required
	// Authorizer stands in front of the function. Nil: the route is open.
	Authorizer *Authorizer
}

// AuthorizerType is what a REST API's authorizer is asked with.
type AuthorizerType int

// The types. HTTP APIs have Request alone.
const (
	Request AuthorizerType = iota + 1
	Token
)

// Authorizer is a Lambda authorizer. Routes that share one share its cache.
type Authorizer struct {
	Function Function // required
	Type     AuthorizerType
	// Payload is the format of an HTTP API's events for it: "2.0", which an empty one stands for, or "1.0".
	Payload string
	// Simple has an HTTP API expect simple responses ({"isAuthorized"}) and no policies.
	Simple bool
	// IdentitySources say which parts of a request must be there; they are the key of the cache. REST:
	// method.request.header.NAME, method.request.querystring.NAME, context.httpMethod, context.path, context.resourcePath. HTTP:
	// $request.header.NAME, $request.querystring.NAME, $context.routeKey, $context.httpMethod, $context.path. A Token
	// authorizer has exactly one, a header.
	IdentitySources []string
	// Validation is what a Token authorizer's token must match from its beginning to its end; empty: anything.
	Validation string
	// TTL is how long an answer is kept; 0 means not at all. At most an hour.
	TTL time.Duration
}

// CORS is what preflight requests are told. AllowOrigin and ExposeHeaders are on other answers too: on HTTP APIs on all, in
// place of what functions say; on REST APIs on the gateway's own.
type CORS struct {
	AllowOrigin   string // such as "*"
	AllowHeaders  []string
	ExposeHeaders []string
	MaxAge        time.Duration
}

const (
	maxBody           = 10 << 20 // API Gateway's
	maxEvent          = 6 << 20  // Lambda's, of a request and of an answer
	functionTimeout   = 30 * time.Second
	authorizerTimeout = 10 * time.Second
)

// Gateway serves an API. Make it with New. Safe for many goroutines.
type Gateway struct {
	api         API
	routes      []route
	authorizers map[*Authorizer]*authorizer
}

// New refuses an API that would leave a request undecided.
func New(api API) (*Gateway, error) {
	or := func(s *string, fallback string) {
		if *s == "" {
			*s = fallback
		}
	}
	switch api.Kind {
	case REST:
		or(&api.Stage, "prod")
	case HTTP:
		or(&api.Stage, "$default")
		if api.Responses != nil {
			return nil, errors.New("gateway: HTTP APIs have no gateway responses")
		}
	default:
		return nil, errors.New("gateway: the API's kind must be REST or HTTP")
	}
	or(&api.ID, "local00000")
	or(&api.Region, "us-east-1")
	or(&api.Account, "123456789012")
	if strings.ContainsAny(api.ID+api.Stage+api.Region+api.Account, "/:*?") {
		return nil, errors.New("gateway: ID, stage, region or account can't be part of an ARN")
	}
	if api.Now == nil {
		api.Now = time.Now
	}
	if api.Log == nil {
		api.Log = slog.Default()
	}
	g := &Gateway{api: api, authorizers: map[*Authorizer]*authorizer{}}
	for _, r := range api.Routes {
		if err := g.add(r); err != nil {
			return nil, fmt.Errorf("gateway: route %s %s: %w", r.Method, r.Path, err)
		}
	}
	// The most specific route comes first.
	slices.SortStableFunc(g.routes, route.compare)
	return g, nil
}

func (g *Gateway) add(r Route) error {
	parsed, err := parseRoute(r, g.api.Kind)
	if err != nil {
		return err
	}
	for _, other := range g.routes {
		if other.pattern() == parsed.pattern() {
			return errors.New("there is one like it already")
		}
	}
	if r.Function == nil {
		return errors.New("it has no function")
	}
	g.routes = append(g.routes, parsed)
	if r.Authorizer == nil || g.authorizers[r.Authorizer] != nil {
		return nil
	}
	a, err := newAuthorizer(*r.Authorizer, g.api.Kind)
	if err != nil {
		return fmt.Errorf("authorizer: %w", err)
	}
	g.authorizers[r.Authorizer] = a
	return nil
}

// request is a request on its way.
type request struct {
	*http.Request
	id     string
	time   time.Time
	route  *route
	params map[string]string
	path   string // as the kind of API shows it: REST as sent, HTTP decoded
	body   []byte
	// authorizer is what requestContext.authorizer will be; nil on an open route.
	authorizer map[string]any
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if override := r.Header.Get("X-Http-Method-Override"); g.api.Kind == REST && override != "" {
		// REST APIs take it for the method, in the route, the ARN and the events.
		r = r.Clone(r.Context())
		r.Method = strings.ToUpper(override)
	}
	req := &request{Request: r, id: newID(), time: g.api.Now(), path: r.URL.EscapedPath()}
	if g.api.Kind == HTTP {
		req.path = r.URL.Path
		w.Header().Set("Apigw-Requestid", req.id)
	} else {
		w.Header().Set("X-Amzn-Requestid", req.id)
	}
	if g.api.Kind == HTTP {
		g.cors(w.Header()) // on functions' answers too
	}
	if g.preflight(w, req) {
		return
	}
	if req.route, req.params = g.match(req.Method, req.path); req.route == nil {
		if g.api.Kind == REST {
			g.fail(w, http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token")
		} else {
			g.fail(w, http.StatusNotFound, "", "Not Found")
		}
		return
	}
	// REST APIs ask the authorizer before they look at the body; it never sees one.
	if a := req.route.Authorizer; a != nil {
		if f := g.authorize(req, g.authorizers[a]); f != nil {
			if f.cause != nil {
				g.api.Log.LogAttrs(r.Context(), slog.LevelWarn, "gateway.authorizer_failed", slog.String("cause", f.cause.Error()))
			}
			g.fail(w, f.status, f.errorType, f.message)
			return
		}
	}
	var err error
	if req.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			g.fail(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", "Request Too Long")
		} else {
			g.fail(w, http.StatusBadRequest, "BadRequestException", "Bad Request")
		}
		return
	}
	g.integrate(w, req)
}

// integrate hands the request to its function, and the function's answer to the client.
func (g *Gateway) integrate(w http.ResponseWriter, req *request) {
	payload, err := g.event(req)
	if err == nil && len(payload) > maxEvent {
		g.fail(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", "Request Too Long")
		return
	}
	var out []byte
	if err == nil {
		out, err = call(req.Context(), req.route.Function, payload, functionTimeout)
	}
	var a *answer
	if err == nil {
		a, err = g.readAnswer(req, out)
	}
	if err == nil {
		a.write(w)
		return
	}
	g.api.Log.LogAttrs(req.Context(), slog.LevelWarn, "gateway.integration_failed", slog.String("cause", err.Error()))
	status := http.StatusInternalServerError
	switch {
	case g.api.Kind == REST && errors.Is(err, context.DeadlineExceeded):
		g.fail(w, http.StatusGatewayTimeout, "InternalServerErrorException", "Endpoint request timed out")
		return
	case g.api.Kind == REST:
		status = http.StatusBadGateway
	case errors.Is(err, context.DeadlineExceeded):
		status = http.StatusServiceUnavailable
	}
	g.fail(w, status, "InternalServerErrorException", http.StatusText(status))
}

// call invokes a function. A panic of one that runs in this process is an error, as a function's crash is.
func call(ctx context.Context, f Function, payload []byte, timeout time.Duration) (out []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("the function panicked: %v", p)
		}
	}()
	return f.Invoke(ctx, payload)
}

// cors sets what every answer says to a browser; REST APIs say it on answers of the gateway's own alone.
func (g *Gateway) cors(h http.Header) {
	if g.api.CORS == nil {
		return
	}
	h.Set("Access-Control-Allow-Origin", g.api.CORS.AllowOrigin)
	if len(g.api.CORS.ExposeHeaders) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(g.api.CORS.ExposeHeaders, ","))
	}
}

// fail is an answer of the gateway's own.
func (g *Gateway) fail(w http.ResponseWriter, status int, errorType, message string) {
	h := w.Header()
	g.cors(h)
	if status == http.StatusUnauthorized {
		h.Set("Www-Authenticate", "Bearer")
	}
	if g.api.Kind == REST && errorType != "" {
		h.Set("X-Amzn-Errortype", errorType)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if own, ok := g.api.Responses[ResponseType(errorType)]; ok {
		own.write(w)
		return
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

// preflight answers a CORS preflight (https://fetch.spec.whatwg.org/#cors-preflight-request), unless the path has an
// OPTIONS route of its own.
func (g *Gateway) preflight(w http.ResponseWriter, req *request) bool {
	cors := g.api.CORS
	if cors == nil || req.Method != http.MethodOptions || req.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	if r, _ := g.match(req.Method, req.path); r != nil && r.Method == http.MethodOptions {
		return false
	}
	methods := g.methods(req.path)
	if len(methods) == 0 {
		return false
	}
	h := w.Header()
	g.cors(h)
	h.Set("Access-Control-Allow-Methods", strings.Join(append(methods, http.MethodOptions), ","))
	if len(cors.AllowHeaders) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(cors.AllowHeaders, ","))
	}
	if cors.MaxAge > 0 {
		h.Set("Access-Control-Max-Age", strconv.Itoa(int(cors.MaxAge/time.Second)))
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// arn is the method's or the route's: with the path that was sent, not the route's pattern.
func (g *Gateway) arn(req *request) string {
	base := "arn:aws:execute-api:" + g.api.Region + ":" + g.api.Account + ":" + g.api.ID + "/" + g.api.Stage
	if req.route.isDefault() {
		return base + "/$default"
	}
	return base + "/" + req.Method + req.path
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// sourceIP is the client's address, without its port.
func sourceIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func compileValidation(expression string) (*regexp.Regexp, error) {
	if expression == "" {
		return nil, nil
	}
	return regexp.Compile("^(?:" + expression + ")$")
}
