package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/routes"
)

// upstream is a developer's own API, which `latchkey dev` serves behind the authorizer.
type upstream struct {
	url *url.URL
	// Of the rules: all that the file has, and those of the API that is served. Nil: any valid token may call everything.
	set   *routes.Set
	rules *routes.API
	// id and stage are the API's; empty: the emulation's own.
	id, stage string

	transport http.RoundTripper
	log       *slog.Logger
	now       func() time.Time
}

// openUpstream reads the flag --upstream and those that go with it. It is nil without the first.
func (a *app) openUpstream(f *devFlags) (*upstream, error) {
	if f.upstream == "" {
		if f.rules != "" || f.api != "" || f.dpop {
			return nil, usagef("--rules, --api, --stage and --dpop are about --upstream, which is missing")
		}
		return nil, nil
	}
	// Straight to the upstream, whose answers are left as they are.
	u := &upstream{transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute}}
	var err error
	if u.url, err = parseUpstream(f.upstream); err != nil {
		return nil, usagef("--upstream: %v", err) // without the address, which may hold a password
	}
	u.id, u.stage = f.api, f.stage
	if f.rules == "" {
		if f.api != "" {
			return nil, usagef("--api and --stage are about --rules, which is missing")
		}
		return u, nil
	}
	file, err := a.readRules(f.rules)
	if err != nil {
		return nil, err
	}
	u.set = file.Set
	if u.rules, err = chooseAPI(file, &explainFlags{api: f.api, stage: f.stage}); err != nil {
		return nil, err
	}
	if u.rules.Route("", "$connect") != nil {
		return nil, errors.New("the rules are of a WebSocket API, which latchkey dev can't serve")
	}
	if u.id == "" && u.rules.ID != routes.Any {
		u.id = u.rules.ID
	}
	if u.stage == "" && u.rules.Stage != routes.Any {
		u.stage = u.rules.Stage
	}
	return u, nil
}

// parseUpstream takes the URL of a server: over plain http only one of this machine, for tokens go to it.
func parseUpstream(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("it must be an URL, such as http://127.0.0.1:8080")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("it must be an URL without a user, a query and a fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, errors.New("over http it must be a server on this machine, such as http://127.0.0.1:8080, for tokens go to it; others over https")
	}
	return u, nil
}

// http reports whether it has to be an HTTP API: that has $default, and no 401 for a bad token. Otherwise it is a REST API.
func (u *upstream) http() bool {
	if u.rules == nil {
		return false
	}
	return u.rules.Route("", "$default") != nil
}

// api is the API in front of the upstream, with the authorizer on each of its routes.
func (u *upstream) api(auth gateway.Function, bound bool) gateway.API {
	api := gateway.API{
		Kind: gateway.REST, ID: u.id, Stage: u.stage, Now: u.now, Log: u.log, BinaryMediaTypes: []string{"*/*"},
		Responses: gatewayResponses(bound),
		CORS: &gateway.CORS{
			AllowOrigin: "*", AllowHeaders: []string{"Authorization", "Content-Type", "DPoP"},
			ExposeHeaders: []string{"WWW-Authenticate", "Retry-After"}, MaxAge: 10 * time.Minute,
		},
	}
	a := &gateway.Authorizer{
		Function: auth, Type: gateway.Request, TTL: ttl(bound), IdentitySources: []string{"method.request.header.Authorization"},
	}
	switch {
	case u.http():
		api.Kind, api.Responses, a.Simple = gateway.HTTP, nil, true
		a.IdentitySources = []string{"$request.header.Authorization", "$context.routeKey"}
		if bound {
			a.IdentitySources = nil // by which the authorizer knows that nothing is cached
		}
	case u.rules != nil && u.rules.Form == routes.FormRoute:
		a.IdentitySources = append(a.IdentitySources, "context.httpMethod", "context.path")
	}
	function := lambdahttp.Handler(u)
	for _, r := range u.routes() {
		r.Function, r.Authorizer = function, a
		api.Routes = append(api.Routes, r)
	}
	return api
}

// handler serves the API. It answers 400 to paths with a segment that is a dot or two, however they are spelled: the rules
// would judge /public/../admin as a path below /public, and the upstream may take it for /admin (RFC 3986 §5.2.4).
func (u *upstream) handler(auth gateway.Function, bound bool) (http.Handler, error) {
	api, err := gateway.New(u.api(auth, bound))
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if routes.HasDotSegment(r.URL.Path) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": "Bad Request: the path has a segment . or .."})
			return
		}
		api.ServeHTTP(w, r)
	}), nil
}

// routes are those that the rules name, and others for all the rest, so that it is the authorizer that denies it.
func (u *upstream) routes() []gateway.Route {
	var list []gateway.Route
	seen := map[string]bool{}
	add := func(method, path string) {
		pattern := method + " " + pathVariable.ReplaceAllString(path, "{$1}")
		if !seen[pattern] {
			seen[pattern] = true
			list = append(list, gateway.Route{Method: method, Path: path})
		}
	}
	if u.rules != nil {
		for _, r := range u.rules.Routes {
			add(r.Method, r.Path)
		}
		for _, r := range u.rules.Routes {
			if r.Path != "$default" {
				add("ANY", r.Path)
			}
		}
	}
	if !u.http() {
		add("ANY", "/")
		add("ANY", "/{proxy+}")
	}
	return list
}

// pathVariable is {name} or {name+} in a route's path, of which the name makes no difference.
var pathVariable = regexp.MustCompile(`\{[^}+]*(\+?)\}`)

// callerHeader begins the names of the headers in which the upstream is told of the caller.
const callerHeader = "X-Latchkey-"

// maxUpstreamAnswer is what a function may answer, by way of which the upstream's answer goes, in base64 at worst.
const maxUpstreamAnswer = 4 << 20

// ServeHTTP hands a request that the authorizer has let through to the upstream, and its answer back.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := u.now()
	who, ok := gatewayctx.Authorizer(r.Context())
	if !ok { // every route has the authorizer
		oauth.WriteError(w, errors.New("no authorizer has let this request through"))
		return
	}
	resp, body, err := u.ask(r, who) //nolint:bodyclose // ask has read and closed it
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("client_id", who["client_id"]), slog.String("jti", who["jti"]),
		slog.Float64("latency_ms", float64(u.now().Sub(start).Microseconds())/1000),
	}
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // the URL may hold what is not for a log
		}
		u.log.LogAttrs(r.Context(), slog.LevelWarn, "upstream.failed", append(attrs, slog.String("cause", err.Error()))...)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusBadGateway)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": "Bad Gateway: the upstream gave no answer; the log of latchkey dev says why"})
		return
	}
	u.log.LogAttrs(r.Context(), slog.LevelInfo, "upstream.answered", append(attrs, slog.Int("status", resp.StatusCode))...)
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	w.Write(body)
}

// ask makes the request to the upstream. The path is the one that was sent: were it cleaned, it could be another route's.
func (u *upstream) ask(r *http.Request, who map[string]string) (*http.Response, []byte, error) {
	to := *u.url
	to.Path = strings.TrimSuffix(u.url.Path, "/") + r.URL.Path
	to.RawPath = strings.TrimSuffix(u.url.EscapedPath(), "/") + r.URL.EscapedPath()
	to.RawQuery = r.URL.RawQuery
	req := (&http.Request{
		Method: r.Method, URL: &to, Host: to.Host, Header: callerHeaders(r.Header, who), Body: r.Body, ContentLength: r.ContentLength,
	}).WithContext(r.Context())
	resp, err := u.transport.RoundTrip(req) // and no client, which would follow redirects
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxUpstreamAnswer+1))
	if err == nil && len(body) > maxUpstreamAnswer {
		err = fmt.Errorf("its answer has more than %d MiB", maxUpstreamAnswer>>20)
	}
	return resp, body, err
}

// callerHeaders are the request's, and what the authorizer says of its caller: X-Latchkey-Client-Id of client_id, and so on.
// What the caller says under such names is dropped, and under those that a CGI would take for them. The Authorization header
// is handed on, as API Gateway does.
func callerHeaders(sent http.Header, who map[string]string) http.Header {
	h := http.Header{"User-Agent": nil} // none of Go's own
	for name, values := range sent {
		if !strings.HasPrefix(http.CanonicalHeaderKey(strings.Map(asVariable, name)), callerHeader) {
			h[name] = values
		}
	}
	for name, value := range who {
		if name != "principalId" && name != "integrationLatency" { // API Gateway's own
			h.Set(callerHeader+strings.ReplaceAll(name, "_", "-"), value)
		}
	}
	return h
}

// asVariable is what servers make of a header's name that hand it on as a variable (RFC 3875 §4.1.18): all that is no letter or
// digit becomes the same.
func asVariable(c rune) rune {
	if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
		return c
	}
	return '-'
}

// sample is a URL of the API to try: the first route that takes GET and has no variable.
func (u *upstream) sample(issuer string) string {
	if u.rules != nil {
		for _, r := range u.rules.Routes {
			if (r.Method == http.MethodGet || r.Method == "ANY") && !strings.Contains(r.Path, "{") {
				return issuer + r.Path
			}
		}
	}
	return issuer + "/"
}

// describe says in `latchkey dev`'s welcome what is served.
func (u *upstream) describe(file string) string {
	text := fmt.Sprintf("All else is %s, behind the authorizer: ", u.url)
	if u.rules == nil {
		return text + "any valid token may call it, for there are no --rules.\n"
	}
	text += fmt.Sprintf("by the rules in %s, which are for API %s, stage %s.\n", file, u.rules.ID, u.rules.Stage)
	if len(u.rules.Audiences) > 0 {
		text += fmt.Sprintf("They are for tokens for %s, which a client gets that is made with --audience.\n", strings.Join(u.rules.Audiences, " or "))
	}
	return text
}
