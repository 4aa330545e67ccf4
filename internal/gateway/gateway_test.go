package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
)

// function is a Lambda function that is a Go function.
type function func(payload []byte) ([]byte, error)

func (f function) Invoke(_ context.Context, payload []byte) ([]byte, error) { return f(payload) }

// says answers each event with the same.
func says(answer string) function {
	return func([]byte) ([]byte, error) { return []byte(answer), nil }
}

func fails(message string) function {
	return func([]byte) ([]byte, error) { return nil, errors.New(message) }
}

// recorder keeps the last event, and answers 204.
type recorder struct {
	mu    sync.Mutex
	event map[string]any
	count atomic.Int64
}

func (r *recorder) Invoke(_ context.Context, payload []byte) ([]byte, error) {
	r.count.Add(1)
	var e map[string]any
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event = e
	return []byte(`{"statusCode":204}`), nil
}

// at returns a member of the last event, its path's names joined by dots.
func (r *recorder) at(path string) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	var v any = r.event
	for name := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// clock stands until it is moved.
type clock struct{ seconds atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.seconds.Store(time.Date(2026, 9, 1, 10, 15, 30, 0, time.UTC).Unix())
	return c
}
func (c *clock) now() time.Time          { return time.Unix(c.seconds.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

func serve(t *testing.T, api gateway.API) *gateway.Gateway {
	t.Helper()
	api.Log = slog.New(slog.DiscardHandler)
	g, err := gateway.New(api)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// send sends a request; headers are name, value, name, value.
func send(g http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = "203.0.113.7:4711"
	r.Host = "api.example.com"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

// answered checks status and body.
func answered(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if got := strings.TrimSpace(w.Body.String()); w.Code != status || got != body {
		t.Errorf("the answer is %d %s, want %d %s", w.Code, got, status, body)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %#v, want %#v", what, got, want)
	}
}

// list is a JSON array as it is decoded.
func list(values ...any) []any { return values }

func TestRESTEvent(t *testing.T) {
	f := &recorder{}
	c := newClock()
	g := serve(t, gateway.API{
		Kind: gateway.REST, ID: "abc", Stage: "prod", Now: c.now, BinaryMediaTypes: []string{"image/png"},
		Routes: []gateway.Route{{Method: "POST", Path: "/users/{id}/{rest+}", Function: f}},
	})
	w := send(g, "POST", "/users/a%2Fb/c/d%20e?x=1&x=2&y=%26&z", "a=b&c=%20d", "Content-Type", "application/x-www-form-urlencoded",
		"X-Many", "one", "x-many", "two", "Cookie", "a=1", "Connection", "keep-alive", "X-Forwarded-For", "198.51.100.1")
	if w.Code != 204 {
		t.Fatalf("the answer is %d %s", w.Code, w.Body)
	}
	for path, want := range map[string]any{
		"resource": "/users/{id}/{rest+}", "path": "/users/a%2Fb/c/d%20e", "httpMethod": "POST",
		"headers.X-Many": "two", "multiValueHeaders.X-Many": list("one", "two"), "headers.Host": "api.example.com",
		"headers.Cookie": "a=1", "headers.Connection": nil, "headers.X-Forwarded-For": "198.51.100.1, 203.0.113.7",
		"queryStringParameters.x": "2", "multiValueQueryStringParameters.x": list("1", "2"), "queryStringParameters.y": "&",
		"queryStringParameters.z": "", "pathParameters.id": "a%2Fb", "pathParameters.rest": "c/d%20e", "stageVariables": nil,
		"body": "a=b&c=%20d", "isBase64Encoded": false, "version": nil,
		"requestContext.apiId": "abc", "requestContext.stage": "prod", "requestContext.accountId": "123456789012",
		"requestContext.resourcePath": "/users/{id}/{rest+}", "requestContext.identity.sourceIp": "203.0.113.7",
		"requestContext.requestTime": "01/Sep/2026:10:15:30 +0000", "requestContext.requestTimeEpoch": float64(1788257730000),
		"requestContext.domainName": "api.example.com", "requestContext.domainPrefix": "api", "requestContext.authorizer": nil,
		"requestContext.protocol": "HTTP/1.1", "requestContext.requestId": w.Header().Get("X-Amzn-Requestid"),
	} {
		equal(t, path, f.at(path), want)
	}

	send(g, "POST", "/users/a/b", "\x89PNG", "Content-Type", "image/png")
	equal(t, "a binary body", f.at("body"), "iVBORw==")
	equal(t, "isBase64Encoded", f.at("isBase64Encoded"), true)
	equal(t, "no query", f.at("queryStringParameters"), nil)
	send(g, "POST", "/users/a/b", "")
	equal(t, "no body", f.at("body"), nil)
	equal(t, "isBase64Encoded", f.at("isBase64Encoded"), false)
}

func TestHTTPEvent(t *testing.T) {
	f := &recorder{}
	c := newClock()
	routes := []gateway.Route{{Method: "POST", Path: "/users/{id}/{rest+}", Function: f}}
	g := serve(t, gateway.API{Kind: gateway.HTTP, ID: "abc", Now: c.now, Routes: routes})
	w := send(g, "POST", "/users/ada/c%2Fd%20e?x=1&x=2&y=%26", "a=b&c=%20d", "Content-Type", "application/x-www-form-urlencoded",
		"X-Many", "one", "x-many", "two", "Cookie", "a=1; b=2", "Cookie", "c=3", "Te", "trailers")
	if w.Code != 204 {
		t.Fatalf("the answer is %d %s", w.Code, w.Body)
	}
	for path, want := range map[string]any{
		"version": "2.0", "routeKey": "POST /users/{id}/{rest+}", "rawPath": "/users/ada/c/d e", "rawQueryString": "x=1&x=2&y=%26",
		"headers.x-many": "one,two", "headers.X-Many": nil, "headers.cookie": nil, "headers.te": nil, "headers.host": "api.example.com",
		"headers.content-length": "10", "cookies": list("a=1", "b=2", "c=3"), "queryStringParameters.x": "1,2",
		"queryStringParameters.y": "&", "pathParameters.id": "ada", "pathParameters.rest": "c/d e",
		"body": "YT1iJmM9JTIwZA==", "isBase64Encoded": true, // a form is not among the types that stay plain
		"requestContext.apiId": "abc", "requestContext.stage": "$default", "requestContext.http.method": "POST",
		"requestContext.http.path": "/users/ada/c/d e", "requestContext.http.sourceIp": "203.0.113.7",
		"requestContext.routeKey": "POST /users/{id}/{rest+}", "requestContext.time": "01/Sep/2026:10:15:30 +0000",
		"requestContext.timeEpoch": float64(1788257730000), "requestContext.authorizer": nil,
		"requestContext.requestId": w.Header().Get("Apigw-Requestid"),
	} {
		equal(t, path, f.at(path), want)
	}
	for contentType, plain := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "text/csv": true, "application/xml": true,
		"application/javascript": true, "application/ld+json": false, "application/octet-stream": false, "": false,
	} {
		send(g, "POST", "/users/a/b", "{}", "Content-Type", contentType)
		equal(t, contentType+" isBase64Encoded", f.at("isBase64Encoded"), !plain)
	}
	send(g, "POST", "/users/a/b", "")
	equal(t, "no body", f.at("body"), nil)
	equal(t, "isBase64Encoded", f.at("isBase64Encoded"), false)

	g = serve(t, gateway.API{Kind: gateway.HTTP, Stage: "dev", Routes: routes})
	send(g, "POST", "/users/a/b", "")
	equal(t, "rawPath on a stage", f.at("rawPath"), "/dev/users/a/b")
}

// The events have the members that the samples in events/ have, and no others.
func TestEventsAreLikeTheSamples(t *testing.T) {
	for _, test := range []struct {
		kind                        gateway.Kind
		payload, whoami, authorizer string
	}{
		{gateway.REST, "", "whoami-rest-v1.json", "authorizer-rest-request.json"},
		{gateway.HTTP, "", "whoami-http-v2.json", "authorizer-http-v2.json"},
		{gateway.HTTP, "1.0", "whoami-http-v2.json", "authorizer-http-v1.json"},
	} {
		source := "method.request.header.Authorization"
		if test.kind == gateway.HTTP {
			source = "$request.header.Authorization"
		}
		backend, asked := &recorder{}, &recorder{}
		g := serve(t, gateway.API{Kind: test.kind, Routes: []gateway.Route{{
			Method: "GET", Path: "/whoami", Function: backend, Authorizer: &gateway.Authorizer{
				Type: gateway.Request, Payload: test.payload, IdentitySources: []string{source},
				Function: function(func(payload []byte) ([]byte, error) {
					asked.Invoke(t.Context(), payload)
					return []byte(`{"principalId":"demo","policyDocument":{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}},
						"context":{"client_id":"a","sub":"a","scope":"a","grant_id":"a","jti":"a","exp":"1"}}`), nil
				}),
			},
		}}})
		if w := send(g, "GET", "/whoami", "", "Authorization", "Bearer x"); w.Code != 204 {
			t.Fatalf("the answer is %d %s", w.Code, w.Body)
		}
		for name, got := range map[string]*recorder{test.whoami: backend, test.authorizer: asked} {
			data, err := os.ReadFile("../../events/" + name)
			if err != nil {
				t.Fatal(err)
			}
			var want map[string]any
			if err := json.Unmarshal(data, &want); err != nil {
				t.Fatal(err)
			}
			equal(t, "the members of "+name, members(got.event), members(want))
		}
	}
}

// members lists an object's members, those of its objects too, but for headers.
func members(o map[string]any) []string {
	var names []string
	for name, v := range o {
		names = append(names, name)
		if inner, ok := v.(map[string]any); ok && !strings.HasSuffix(strings.ToLower(name), "headers") {
			for _, n := range members(inner) {
				names = append(names, name+"."+n)
			}
		}
	}
	slices.Sort(names)
	return names
}

func TestRouting(t *testing.T) {
	names := []string{
		"GET /", "GET /users", "ANY /users", "GET /users/{id}", "POST /users/{id}", "GET /users/me", "ANY /files/{path+}",
		"DELETE /files/special",
	}
	build := func(kind gateway.Kind, extra ...gateway.Route) *gateway.Gateway {
		api := gateway.API{Kind: kind, Routes: extra}
		for _, name := range names {
			method, path, _ := strings.Cut(name, " ")
			api.Routes = append(api.Routes, gateway.Route{Method: method, Path: path, Function: says(`{"statusCode":200,"body":"` + name + `"}`)})
		}
		return serve(t, api)
	}
	rest, http2 := build(gateway.REST), build(gateway.HTTP)
	withDefault := build(gateway.HTTP, gateway.Route{Path: "$default", Function: says(`{"statusCode":200,"body":"$default"}`)})
	for _, test := range []struct {
		method, target, rest, http2 string // the route; empty: none
	}{
		{"GET", "/", "GET /", "GET /"},
		{"GET", "/users", "GET /users", "GET /users"},
		{"PUT", "/users", "ANY /users", "ANY /users"},
		{"GET", "/users/", "GET /users", ""},
		{"GET", "/users/ada", "GET /users/{id}", "GET /users/{id}"},
		{"GET", "/users/me", "GET /users/me", "GET /users/me"},
		{"POST", "/users/me", "", "POST /users/{id}"}, // a REST API finds the resource first
		{"DELETE", "/users/ada", "", ""},
		{"HEAD", "/users/ada", "", ""},
		{"GET", "/files/a/b/c", "ANY /files/{path+}", "ANY /files/{path+}"},
		{"GET", "/files", "", ""},
		{"GET", "/files/", "", ""},
		{"DELETE", "/files/special", "DELETE /files/special", "DELETE /files/special"},
		{"GET", "/other", "", ""},
		{"GET", "/Users", "", ""},
		{"GET", "//users", "", ""},
		{"GET", "/users//", "", ""},
		{"GET", "/x/../users", "", ""},
		{"GET", "/./users", "", ""},
		{"GET", "/users;x", "", ""},
		{"GET", "/user%73", "", "GET /users"}, // only HTTP APIs decode the path
		{"GET", "/users/a%2Fb", "GET /users/{id}", ""},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			for _, api := range []struct {
				g      *gateway.Gateway
				want   string
				status int
				none   string
			}{
				{rest, test.rest, 403, `{"message":"Missing Authentication Token"}`},
				{http2, test.http2, 404, `{"message":"Not Found"}`},
				{withDefault, test.http2, 200, "$default"},
			} {
				w := send(api.g, test.method, test.target, "")
				if api.want != "" {
					answered(t, w, 200, api.want)
				} else {
					answered(t, w, api.status, api.none)
				}
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	var answer function
	relay := function(func(payload []byte) ([]byte, error) { return answer(payload) })
	routes := []gateway.Route{{Method: "GET", Path: "/", Function: relay}}
	rest := serve(t, gateway.API{Kind: gateway.REST, Routes: routes})
	binary := serve(t, gateway.API{Kind: gateway.REST, Routes: routes, BinaryMediaTypes: []string{"image/png"}})
	http2 := serve(t, gateway.API{Kind: gateway.HTTP, Routes: routes})
	const bad502, bad500 = `{"message":"Bad Gateway"}`, `{"message":"Internal Server Error"}`
	for _, test := range []struct {
		name   string
		answer function
		rest   int
		http2  int
		body   string // where the status is 200
	}{
		{"plain", says(`{"statusCode":200,"body":"hello"}`), 200, 200, "hello"},
		{"null body", says(`{"statusCode":200,"body":null}`), 200, 200, ""},
		{"other numbers in headers", says(`{"statusCode":200,"headers":{"x-a":1,"x-b":true},"body":"x"}`), 200, 200, "x"},
		{"a function's error", fails("secret"), 502, 500, ""},
		{"a panic", func([]byte) ([]byte, error) { panic("secret") }, 502, 500, ""},
		{"not JSON", says(`hello`), 502, 500, ""},
		{"two documents", says(`{"statusCode":200}{}`), 502, 500, ""},
		{"an informational status", says(`{"statusCode":101}`), 502, 500, ""},
		{"a status of no kind", says(`{"statusCode":1000}`), 502, 500, ""},
		{"a header that is an object", says(`{"statusCode":200,"headers":{"a":{}}}`), 502, 500, ""},
		{"too large", says(`{"statusCode":200,"body":"` + strings.Repeat("x", 6<<20) + `"}`), 502, 500, ""},
		{"no status", says(`{"hello":"world"}`), 502, 200, `{"hello":"world"}`},
		{"a string", says(`"hello"`), 502, 200, `"hello"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer = test.answer
			want := func(status int, bad string) string {
				if status == 200 {
					return test.body
				}
				return bad
			}
			answered(t, send(rest, "GET", "/", ""), test.rest, want(test.rest, bad502))
			answered(t, send(http2, "GET", "/", ""), test.http2, want(test.http2, bad500))
		})
	}

	answer = says(`{"statusCode":201,"headers":{"x-a":"1","content-type":"text/css","WWW-Authenticate":"Basic","Connection":"close"},
		"multiValueHeaders":{"X-A":["2","3"],"Set-Cookie":["a=1","b=2"]},"cookies":["c=3"],"body":"eA==","isBase64Encoded":true}`)
	w := send(rest, "GET", "/", "")
	answered(t, w, 201, "eA==") // without binary media types a REST API does not decode
	for name, want := range map[string][]string{
		"X-A": {"2", "3"}, "Set-Cookie": {"a=1", "b=2"}, "Content-Type": {"text/css"}, "Connection": nil,
		"Www-Authenticate": nil, "X-Amzn-Remapped-Www-Authenticate": {"Basic"},
	} {
		equal(t, "REST "+name, w.Header()[name], want)
	}
	w = send(http2, "GET", "/", "")
	answered(t, w, 201, "x")
	for name, want := range map[string][]string{
		"X-A": {"1"}, "Set-Cookie": {"c=3"}, "Content-Type": {"text/css"}, "Connection": nil, "Www-Authenticate": {"Basic"},
	} {
		equal(t, "HTTP "+name, w.Header()[name], want)
	}
	answered(t, send(binary, "GET", "/", "", "Accept", "image/png"), 201, "x")
	answered(t, send(binary, "GET", "/", "", "Accept", "text/html,image/png"), 201, "eA==")

	answer = says(`{"statusCode":200,"body":"eA=","isBase64Encoded":true}`)
	answered(t, send(http2, "GET", "/", ""), 500, bad500)
	answer = says(`{"statusCode":200,"body":"x"}`)
	equal(t, "REST's type", send(rest, "GET", "/", "").Header().Get("Content-Type"), "application/json")
	equal(t, "HTTP's type", send(http2, "GET", "/", "").Header().Get("Content-Type"), "text/plain;charset=UTF-8")
}

func TestTooLarge(t *testing.T) {
	f := &recorder{}
	for _, kind := range []gateway.Kind{gateway.REST, gateway.HTTP} {
		g := serve(t, gateway.API{Kind: kind, Routes: []gateway.Route{{Method: "POST", Path: "/", Function: f}}})
		for _, size := range []int{6 << 20, 10<<20 + 1} { // Lambda's bound on events, API Gateway's on bodies
			if w := send(g, "POST", "/", strings.Repeat("x", size)); w.Code != http.StatusRequestEntityTooLarge {
				t.Errorf("a body of %d bytes: %d %s", size, w.Code, w.Body)
			}
		}
	}
	equal(t, "the number of calls", f.count.Load(), int64(0))
}

// Behind the emulation, a handler sees what it would see on a server.
func TestWithLambdahttp(t *testing.T) {
	echo := lambdahttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "%s %s %s %q %s", r.Method, r.URL.Path, r.URL.Query().Get("q"), r.Header.Values("X-A"), body)
	}))
	for kind, stage := range map[gateway.Kind]string{gateway.REST: "prod", gateway.HTTP: "dev"} {
		g := serve(t, gateway.API{Kind: kind, Stage: stage, Routes: []gateway.Route{{Method: "POST", Path: "/a/{rest+}", Function: echo}}})
		w := send(g, "POST", "/a/b%20c?q=%2F", "x=y", "X-A", "1", "Content-Type", "application/x-www-form-urlencoded")
		answered(t, w, 200, `POST /a/b c / ["1"] x=y`)
	}
}

func TestCORS(t *testing.T) {
	f := &recorder{}
	cors := &gateway.CORS{AllowOrigin: "*", AllowHeaders: []string{"Authorization"}, ExposeHeaders: []string{"WWW-Authenticate"}, MaxAge: 10 * time.Minute}
	source := map[gateway.Kind]string{gateway.REST: "method.request.header.Authorization", gateway.HTTP: "$request.header.Authorization"}
	for kind := range source {
		a := &gateway.Authorizer{Function: fails("not to be asked"), Type: gateway.Request, IdentitySources: []string{source[kind]}}
		g := serve(t, gateway.API{Kind: kind, CORS: cors, Routes: []gateway.Route{
			{Method: "GET", Path: "/x", Function: f, Authorizer: a}, {Method: "PUT", Path: "/x", Function: f, Authorizer: a},
			{Method: "GET", Path: "/open", Function: says(`{"statusCode":200,"headers":{"access-control-allow-origin":"https://a.example"}}`)},
		}})
		w := send(g, "OPTIONS", "/x", "", "Origin", "https://b.example", "Access-Control-Request-Method", "GET")
		answered(t, w, 204, "")
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET,PUT,OPTIONS",
			"Access-Control-Allow-Headers": "Authorization", "Access-Control-Max-Age": "600",
		} {
			equal(t, name, w.Header().Get(name), want)
		}
		w = send(g, "GET", "/x", "", "Origin", "https://b.example")
		answered(t, w, 401, `{"message":"Unauthorized"}`)
		equal(t, "a 401's origin", w.Header().Get("Access-Control-Allow-Origin"), "*")
		equal(t, "a 401's exposed headers", w.Header().Get("Access-Control-Expose-Headers"), "WWW-Authenticate")
		if w := send(g, "OPTIONS", "/none", "", "Access-Control-Request-Method", "GET"); w.Code != 403 && w.Code != 404 {
			t.Errorf("a preflight for no route: %d", w.Code)
		}
		if w := send(g, "OPTIONS", "/x", ""); w.Code == 204 {
			t.Error("OPTIONS that is no preflight is answered as one")
		}
		want := map[gateway.Kind]string{gateway.REST: "https://a.example", gateway.HTTP: "*"}[kind]
		equal(t, "a function's origin", send(g, "GET", "/open", "").Header().Get("Access-Control-Allow-Origin"), want)
	}
	equal(t, "the number of calls", f.count.Load(), int64(0))
}

func TestRefusedAPIs(t *testing.T) {
	f := says(`{}`)
	route := func(method, path string) gateway.Route { return gateway.Route{Method: method, Path: path, Function: f} }
	behind := func(a gateway.Authorizer) gateway.Route {
		return gateway.Route{Method: "GET", Path: "/", Function: f, Authorizer: &a}
	}
	const restHeader, httpHeader = "method.request.header.Authorization", "$request.header.Authorization"
	for name, api := range map[string]gateway.API{
		"no kind":               {},
		"an ID with a slash":    {Kind: gateway.REST, ID: "a/b"},
		"a stage with a star":   {Kind: gateway.REST, Stage: "*"},
		"no function":           {Kind: gateway.REST, Routes: []gateway.Route{{Method: "GET", Path: "/"}}},
		"no method":             {Kind: gateway.REST, Routes: []gateway.Route{route("", "/")}},
		"a method in lower":     {Kind: gateway.REST, Routes: []gateway.Route{route("get", "/")}},
		"no path":               {Kind: gateway.REST, Routes: []gateway.Route{route("GET", "")}},
		"an open variable":      {Kind: gateway.REST, Routes: []gateway.Route{route("GET", "/{a")}},
		"a nameless variable":   {Kind: gateway.REST, Routes: []gateway.Route{route("GET", "/{}")}},
		"greedy in the middle":  {Kind: gateway.REST, Routes: []gateway.Route{route("GET", "/{a+}/b")}},
		"$default on REST":      {Kind: gateway.REST, Routes: []gateway.Route{route("", "$default")}},
		"$default and a method": {Kind: gateway.HTTP, Routes: []gateway.Route{route("GET", "$default")}},
		"twice":                 {Kind: gateway.REST, Routes: []gateway.Route{route("GET", "/{a}"), route("GET", "/{b}")}},
		"authorizer, no function": {Kind: gateway.REST, Routes: []gateway.Route{behind(
			gateway.Authorizer{Type: gateway.Request, IdentitySources: []string{restHeader}})}},
		"authorizer, no type": {Kind: gateway.REST, Routes: []gateway.Route{behind(
			gateway.Authorizer{Function: f, IdentitySources: []string{restHeader}})}},
		"TOKEN on HTTP": {Kind: gateway.HTTP, Routes: []gateway.Route{behind(
			gateway.Authorizer{Function: f, Type: gateway.Token, IdentitySources: []string{httpHeader}})}},
		"simple on REST": {Kind: gateway.REST, Routes: []gateway.Route{behind(
			gateway.Authorizer{Function: f, Type: gateway.Request, Simple: true, IdentitySources: []string{restHeader}})}},
		"TTL without identity": {Kind: gateway.HTTP, Routes: []gateway.Route{behind(
			gateway.Authorizer{Function: f, Type: gateway.Request, TTL: time.Second})}},
		"TTL too long": {Kind: gateway.HTTP, Routes: []gateway.Route{behind(
			gateway.Authorizer{Function: f, Type: gateway.Request, IdentitySources: []string{httpHeader}, TTL: 2 * time.Hour})}},
		"TOKEN without identity": {Kind: gateway.REST, Routes: []gateway.Route{behind(
			gateway.Authorizer{Function: f, Type: gateway.Token})}},
		"TOKEN by the query": {Kind: gateway.REST, Routes: []gateway.Route{behind(
			gateway.Authorizer{Function: f, Type: gateway.Token, IdentitySources: []string{"method.request.querystring.t"}})}},
		"a source of the other kind": {Kind: gateway.REST, Routes: []gateway.Route{behind(
			gateway.Authorizer{Function: f, Type: gateway.Request, IdentitySources: []string{httpHeader}})}},
		"an unknown source": {Kind: gateway.HTTP, Routes: []gateway.Route{behind(
			gateway.Authorizer{Function: f, Type: gateway.Request, IdentitySources: []string{"$context.identity.x"}})}},
		"a broken expression": {Kind: gateway.REST, Routes: []gateway.Route{behind(
			gateway.Authorizer{Function: f, Type: gateway.Token, IdentitySources: []string{restHeader}, Validation: "("})}},
	} {
		if g, err := gateway.New(api); err == nil || g != nil {
			t.Errorf("%s: New = %v, %v, want an error", name, g, err)
		}
	}
	// These are fine.
	for name, r := range map[string]gateway.Route{
		"no identity": behind(gateway.Authorizer{Function: f, Type: gateway.Request}),
		"two sources": behind(gateway.Authorizer{Function: f, Type: gateway.Request, TTL: time.Second,
			IdentitySources: []string{httpHeader, "$context.routeKey", "$request.querystring.a"}}),
	} {
		if _, err := gateway.New(gateway.API{Kind: gateway.HTTP, Routes: []gateway.Route{r}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
