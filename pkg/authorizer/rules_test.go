package authorizer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/iameval"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

func compiled(t testing.TB, apis ...routes.API) *routes.Set {
	t.Helper()
	set, err := routes.New(apis)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// orders are the rules of an API that has no variables, and of one that has.
var (
	plain = []routes.Route{
		{Method: "GET", Path: "/orders", AllOf: []string{"orders:read"}},
		{Method: "POST", Path: "/orders", AllOf: []string{"orders:read", "orders:write"}},
		{Method: "GET", Path: "/whoami"},
	}
	variables = []routes.Route{
		{Method: "GET", Path: "/orders/{id}", AllOf: []string{"orders:read"}},
		{Method: "GET", Path: "/orders/{id}/cost", AnyOf: [][]string{{"admin"}, {"finance", "orders:read"}}},
		{Method: "ANY", Path: "/files/{name+}", AllOf: []string{"files"}},
		{Method: "DELETE", Path: "/files/{name+}", AllOf: []string{"files", "admin"}},
		{Path: "$default", AllOf: []string{"other"}},
	}
	socket = []routes.Route{{Path: "$connect", AllOf: []string{"chat"}}}
)

// asks is a request as API Gateway routes it.
type asks struct {
	api, stage string // a, s
	method     string
	path       string // as in the ARN; empty: none, as of $default and $connect
	template   string
	any        bool // the route is for any method
	scope      string
	sources    []string // HTTP: the identity sources' values besides the token; nil: the route's key
	header     string   // a value that the caller chooses
	query      string
}

// key is the route's.
func (r asks) key() string {
	switch {
	case !strings.HasPrefix(r.template, "/"):
		return r.template
	case r.any:
		return "ANY " + r.template
	}
	return r.method + " " + r.template
}

func (r asks) arn() string {
	base := "arn:aws:execute-api:eu-central-1:123456789012:" + r.api + "/" + r.stage + "/"
	if r.path == "" {
		return base + r.template
	}
	return base + r.method + r.path
}

// event is the authorizer's for the request, in the form's kind.
func (r asks) event(t testing.TB, form, raw string) []byte {
	t.Helper()
	authorization := "Bearer " + raw
	e := map[string]any{"type": "REQUEST", "methodArn": r.arn()}
	headers, multi := map[string]any{"Authorization": authorization}, map[string]any{"Authorization": []string{authorization}}
	if r.header != "" {
		headers["X-Choice"], multi["X-Choice"] = r.header, []string{r.header}
	}
	if r.query != "" {
		e["queryStringParameters"] = map[string]any{"choice": r.query}
	}
	sources := r.sources
	if sources == nil {
		sources = []string{r.key()}
	}
	sources = append([]string{authorization}, sources...)
	e["headers"] = headers
	switch form {
	case "rest-token":
		e = map[string]any{"type": "TOKEN", "methodArn": r.arn(), "authorizationToken": authorization}
	case "rest-request":
		e["resource"], e["httpMethod"], e["multiValueHeaders"] = r.template, r.method, multi
	case "http-1.0":
		e["version"], e["resource"], e["httpMethod"] = "1.0", r.template, r.method
		e["identitySource"] = strings.Join(sources, ",")
	case "http-policy", "http-simple":
		delete(e, "methodArn")
		e["version"], e["routeArn"], e["routeKey"], e["identitySource"] = "2.0", r.arn(), r.key(), sources
		e["requestContext"] = map[string]any{"http": map[string]any{"method": r.method}}
	case "websocket":
		e["multiValueHeaders"], e["requestContext"] = multi, map[string]any{"eventType": "CONNECT", "routeKey": "$connect"}
	}
	payload, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// verdict is what API Gateway makes of an answer for a request at a time: 200, 401, 403 or 500.
func verdict(t testing.TB, form string, out []byte, err error, arn string, now time.Time) int {
	t.Helper()
	switch {
	case err != nil && err.Error() == "Unauthorized" && !strings.HasPrefix(form, "http"):
		return 401
	case err != nil:
		return 500
	case kept(t, form, out, err, now)(arn):
		return 200
	}
	return 403
}

// kept is an answer as API Gateway keeps it: it lets requests of some ARNs through.
func kept(t testing.TB, form string, out []byte, err error, now time.Time) func(arn string) bool {
	t.Helper()
	if err != nil {
		return func(string) bool { return false }
	}
	var a struct {
		PolicyDocument json.RawMessage
		IsAuthorized   *bool
	}
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatal(err)
	}
	if form == "http-simple" {
		if a.IsAuthorized == nil || a.PolicyDocument != nil {
			t.Fatalf("the answer %s is no simple response", out)
		}
		return func(string) bool { return *a.IsAuthorized }
	}
	p, err := iameval.Parse(a.PolicyDocument)
	if err != nil {
		t.Fatalf("the answer %s: %v", out, err)
	}
	return func(arn string) bool {
		return p.Decide(iameval.Request{Action: "execute-api:Invoke", Resource: arn, Now: now}) == iameval.Allowed
	}
}

func TestRules(t *testing.T) {
	w := newWorld(t)
	set := compiled(t,
		routes.API{ID: "plain", Stage: "s", Complete: true, Routes: plain},
		routes.API{ID: "vars", Stage: "s", Routes: variables},
		routes.API{ID: "ws", Stage: "s", Routes: socket},
		routes.API{ID: "other", Stage: "s", Routes: plain, Audiences: []string{"https://other.example.com"}},
		routes.API{ID: "bound", Stage: "s", Routes: plain, Bound: true},
	)
	if plain, vars := set.API("plain", "s").Form, set.API("vars", "s").Form; plain != routes.FormToken || vars != routes.FormRoute {
		t.Fatalf("the forms are %s and %s", plain, vars)
	}
	const request, http1, policy, simple = "rest-request", "http-1.0", "http-policy", "http-simple"
	every := []string{request, http1, policy, simple}
	orders := asks{api: "plain", method: "GET", path: "/orders", template: "/orders", scope: "orders:read"}
	with := func(r asks, change func(*asks)) asks {
		change(&r)
		return r
	}
	scope := func(r asks, s string) asks { return with(r, func(r *asks) { r.scope = s }) }
	order := asks{api: "vars", method: "GET", path: "/orders/7", template: "/orders/{id}", scope: "orders:read"}
	cost := asks{api: "vars", method: "GET", path: "/orders/7/cost", template: "/orders/{id}/cost"}
	file := asks{api: "vars", method: "GET", path: "/files/a/b", template: "/files/{name+}", scope: "files", any: true}
	for _, test := range []struct {
		name   string
		forms  []string
		ask    asks
		status int
		reason string
	}{
		{"token: all it needs", every, orders, 200, ""},
		{"token: more than it needs", every, scope(orders, "x orders:read y"), 200, ""},
		{"token: no scope of the rule's", every, scope(orders, "x"), 403, "scope"},
		{"token: one of two", every, with(orders, func(r *asks) { r.method = "POST" }), 403, "scope"},
		{"token: both", every, with(orders, func(r *asks) { r.method, r.scope = "POST", "orders:read orders:write" }), 200, ""},
		{"token: a rule without scopes", every, with(orders, func(r *asks) { r.path, r.template, r.scope = "/whoami", "/whoami", "x" }), 200, ""},
		{"token: no rule", every, with(orders, func(r *asks) { r.path, r.template = "/admin", "/admin" }), 403, "route"},
		{"token: no rule for the method", every, with(orders, func(r *asks) { r.method = "DELETE" }), 403, "route"},
		{"token: a TOKEN event", []string{"rest-token"}, orders, 200, ""},
		{"token: a TOKEN event of another route", []string{"rest-token"}, with(orders, func(r *asks) { r.path = "/admin" }), 403, ""},

		{"route: all it needs", every, order, 200, ""},
		{"route: no scope of the rule's", every, scope(order, "x"), 403, "scope"},
		{"route: any of, the first", every, scope(cost, "admin"), 200, ""},
		{"route: any of, the second", every, scope(cost, "orders:read finance"), 200, ""},
		{"route: any of, half of one", every, scope(cost, "finance"), 403, "scope"},
		{"route: the rule for any method", []string{request, http1, policy}, file, 200, ""},
		{"route: the method's own rule", []string{request, http1, policy}, with(file, func(r *asks) { r.method = "DELETE" }), 403, "scope"},
		// A simple response is kept for the route's key, that is for any method.
		{"route: a simple response for any method", []string{simple}, file, 403, "scope"},
		{"route: a simple response for every method's scope", []string{simple}, scope(file, "files admin"), 200, ""},
		{"route: no rule for any method", []string{simple}, with(order, func(r *asks) { r.any = true }), 403, "route"},
		{"route: a route of any method", []string{http1, policy}, with(order, func(r *asks) { r.any = true }), 200, ""},
		{"route: $default", every, asks{api: "vars", method: "GET", template: "$default", scope: "other"}, 200, ""},
		{"route: $default with a path", every, asks{api: "vars", method: "GET", path: "/x", template: "$default", scope: "other"}, 200, ""},
		{"route: $default, no scope of the rule's", every, asks{api: "vars", method: "GET", template: "$default", scope: "x"}, 403, "scope"},
		{"route: no rule", every, with(order, func(r *asks) { r.path, r.template = "/admin", "/admin" }), 403, "route"},
		{"route: a TOKEN event", []string{"rest-token"}, order, 403, "kind"},

		{"connect", []string{"websocket"}, asks{api: "ws", template: "$connect", scope: "chat"}, 200, ""},
		{"connect: no scope of the rule's", []string{"websocket"}, asks{api: "ws", template: "$connect", scope: "x"}, 403, "scope"},
		{"connect: no rule", []string{"websocket"}, asks{api: "plain", template: "$connect", scope: "orders:read"}, 403, "route"},

		{"an unknown API", append(every, "rest-token"), with(orders, func(r *asks) { r.api = "nobody" }), 403, "unknown_api"},
		{"an unknown API of WebSockets", []string{"websocket"}, asks{api: "nobody", template: "$connect", scope: "chat"}, 403, "unknown_api"},
		{"an unknown stage", every, with(orders, func(r *asks) { r.stage = "test" }), 403, "unknown_api"},
		{"another API's audience", []string{policy, simple}, with(orders, func(r *asks) { r.api = "other" }), 403, "audience"},
		{"another API's audience, REST", []string{request, "rest-token"}, with(orders, func(r *asks) { r.api = "other" }), 401, "audience"},
		{"an API for bound tokens", []string{policy, simple, http1}, with(orders, func(r *asks) { r.api = "bound" }), 403, "unbound"},
		{"an API for bound tokens, REST", []string{request, "rest-token"}, with(orders, func(r *asks) { r.api = "bound" }), 401, "unbound"},
	} {
		for _, f := range test.forms {
			t.Run(test.name+"/"+f, func(t *testing.T) {
				r := test.ask
				if r.stage == "" {
					r.stage = "s"
				}
				a := w.with(authorizer.Config{Routes: set, SimpleResponses: f == simple})
				raw := w.token(func(a *token.Access) { a.Scope = strings.Fields(r.scope) })
				w.logs.take()
				out, err := a.Invoke(t.Context(), r.event(t, f, raw))
				if got := verdict(t, f, out, err, r.arn(), now); got != test.status {
					t.Errorf("API Gateway answers %d to %s %v, want %d", got, out, err, test.status)
				}
				line := w.line()
				if reason, _ := line["reason"].(string); reason != test.reason {
					t.Errorf("the log's reason is %q, want %q: %v", reason, test.reason, line)
				}
				if insufficient := line["error"] == "insufficient_scope"; insufficient != (test.reason == "scope") {
					t.Errorf("the log's error is %v", line["error"])
				}
				// A denial names whom it denies, if that is known for sure.
				who := `"principalId":"u_ada"`
				if slices.Contains([]string{"audience", "unbound", "unknown_api"}, test.reason) {
					who = `"principalId":"unauthorized"`
				}
				if err == nil && f != simple && !bytes.Contains(out, []byte(who)) {
					t.Errorf("the answer is %s, want %s", out, who)
				}
				// A denial that is kept for the token alone must not tell other requests why.
				if test.status == 403 && bytes.Contains(out, []byte(`"reason"`)) && !bytes.Contains(out, []byte(`"reason":"`+test.reason+`"`)) {
					t.Errorf("the answer is %s, want the reason %q", out, test.reason)
				}
			})
		}
	}
}

// What a policy about one route can't name, or what names two.
func TestExactARN(t *testing.T) {
	w := newWorld(t)
	a := w.with(authorizer.Config{Routes: compiled(t, routes.API{ID: "vars", Stage: "s", Routes: variables})})
	raw := w.token(nil)
	order := asks{api: "vars", stage: "s", method: "GET", template: "/orders/{id}"}
	for _, test := range []struct{ path, reason string }{
		{"/orders/7", ""}, {"/orders/7:8", ""}, {"/orders/{id}", ""}, {"/orders/...", ""}, {"/orders/..x", ""}, {"/orders/%2A", ""}, {"/orders/é", ""},
		{"/orders/*", "path"}, {"/orders/7*", "path"}, {"/orders/?", "path"}, {"/orders/$", "path"}, {"/orders/${aws:username}", "path"},
		{"/*", "path"}, {"/orders/..", "path"}, {"/orders/.", "path"}, {"/orders/%2e%2E", "path"}, {"/orders/.%2e", "path"},
		{"/orders/..%2fadmin", "path"}, {"/orders/..%5Cadmin", "path"}, {`/orders/..\admin`, "path"}, {"/orders/..;x", "path"},
		{"/orders/..%3bx=1", "path"}, {"/orders/%", "path"}, {"/orders/%2", "path"}, {"/orders/%zz", "path"},
	} {
		r := order
		r.path = test.path
		w.logs.take()
		out, err := a.Invoke(t.Context(), r.event(t, "rest-request", raw))
		want := 200
		if test.reason != "" {
			want = 403
		}
		reason, _ := w.line()["reason"].(string)
		if got := verdict(t, "rest-request", out, err, r.arn(), now); got != want || reason != test.reason {
			t.Errorf("%s: %d with reason %q, want %d with %q", test.path, got, reason, want, test.reason)
		}
	}
	r := order
	for r.path = "/orders/7"; len(r.arn()) < 512; {
		r.path += "7"
	}
	for i, want := range []int{200, 403} {
		r.path += strings.Repeat("7", i)
		out, err := a.Invoke(t.Context(), r.event(t, "rest-request", raw))
		if got := verdict(t, "rest-request", out, err, r.arn(), now); got != want {
			t.Errorf("an ARN of %d bytes: %d, want %d", len(r.arn()), got, want)
		}
	}
	// The route's method and the ARN's.
	r.path = "/orders/7"
	payload := bytes.Replace(r.event(t, "rest-request", raw), []byte("/s/GET/orders"), []byte("/s/POST/orders"), 1)
	w.logs.take()
	out, err := a.Invoke(t.Context(), payload)
	if got := verdict(t, "rest-request", out, err, r.arn(), now); got != 403 || w.line()["reason"] != "method" {
		t.Errorf("two methods: %d to %s", got, out)
	}
}

// Wherever an event has the path, and in whichever form the answer is about the request alone, a path that a server could
// take for another route's is denied.
func TestAmbiguousPaths(t *testing.T) {
	w := newWorld(t)
	raw := w.token(nil)
	ask := asks{api: "vars", stage: "s", method: "GET", path: "/orders/7", template: "/orders/{id}"}
	set := compiled(t, routes.API{ID: "vars", Stage: "s", Routes: variables})
	for form, places := range map[string][]string{
		"rest-request": {"path", "requestContext.path"}, "http-1.0": {"path", "requestContext.path"},
		"http-policy": {"rawPath", "requestContext.http.path"}, "http-simple": {"rawPath", "requestContext.http.path"},
	} {
		a := w.with(authorizer.Config{Routes: set, SimpleResponses: form == "http-simple"})
		for _, place := range places {
			for path, want := range map[string]int{"/orders/7": 200, "/orders/../admin": 403, "/orders/%2e%2e": 403, "/orders/%": 403} {
				var e map[string]any
				if err := json.Unmarshal(ask.event(t, form, raw), &e); err != nil {
					t.Fatal(err)
				}
				if form == "http-simple" {
					delete(e, "identitySource")
				}
				at, names := e, strings.Split(place, ".")
				for _, name := range names[:len(names)-1] {
					if at[name] == nil {
						at[name] = map[string]any{}
					}
					at = at[name].(map[string]any)
				}
				at[names[len(names)-1]] = path
				payload, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				w.logs.take()
				out, err := a.Invoke(t.Context(), payload)
				if got := verdict(t, form, out, err, ask.arn(), now); got != want || want == 403 && w.line()["reason"] != "path" {
					t.Errorf("%s, %s %s: %d to %s, want %d", form, place, path, got, out, want)
				}
			}
		}
	}
}

// What API Gateway would cache under something else than the answer rests on is not allowed.
func TestIdentitySources(t *testing.T) {
	w := newWorld(t)
	set := compiled(t, routes.API{ID: "plain", Stage: "s", Complete: true, Routes: plain}, routes.API{ID: "vars", Stage: "s", Routes: variables})
	raw := w.token(nil) // orders:read and orders:write
	order := asks{api: "vars", stage: "s", method: "GET", path: "/orders/7", template: "/orders/{id}"}
	listed := asks{api: "plain", stage: "s", method: "GET", path: "/orders", template: "/orders"}
	for _, test := range []struct {
		name    string
		forms   string
		ask     asks
		sources []string
		header  string
		query   string
		status  int
	}{
		{"the route's key", "http-simple http-policy http-1.0", order, []string{"GET /orders/{id}"}, "", "", 200},
		{"the route's key and more", "http-simple http-policy http-1.0", order, []string{"GET", "/orders/7", "GET /orders/{id}"}, "", "", 200},
		{"the token alone", "http-simple http-policy http-1.0", order, []string{}, "", "", 403},
		{"the path", "http-simple http-policy http-1.0", order, []string{"/orders/7"}, "", "", 403},
		{"another route's key", "http-simple http-policy http-1.0", order, []string{"GET /orders"}, "", "", 403},
		{"a header that says the route's key", "http-simple http-policy http-1.0", order, []string{"GET /orders/{id}"}, "GET /orders/{id}", "", 403},
		{"a header that says more", "http-simple http-1.0", order, []string{"GET /orders/{id}"}, "x,GET /orders/{id}", "", 403},
		{"a parameter that says the route's key", "http-simple http-1.0", order, []string{"GET /orders/{id}"}, "", "GET /orders/{id}", 403},
		{"a list for all that the token may call", "http-policy http-1.0", listed, []string{}, "", "", 200},
		{"a simple response has no list", "http-simple", listed, []string{}, "", "", 403},
	} {
		for f := range strings.FieldsSeq(test.forms) {
			r := test.ask
			r.sources, r.header, r.query = test.sources, test.header, test.query
			a := w.with(authorizer.Config{Routes: set, SimpleResponses: f == "http-simple"})
			w.logs.take()
			out, err := a.Invoke(t.Context(), r.event(t, f, raw))
			if got := verdict(t, f, out, err, r.arn(), now); got != test.status {
				t.Errorf("%s, %s: API Gateway answers %d to %s, want %d", test.name, f, got, out, test.status)
			}
			if line := w.line(); test.status == 403 && (line["reason"] != "identity_source" || line["level"] != "WARN") {
				t.Errorf("%s, %s: the log is %v", test.name, f, line)
			}
		}
	}
	// A path that says the route's key: in format 1.0 a comma in it is as good as the one between two values.
	catchAll := compiled(t, routes.API{ID: "vars", Stage: "s", Routes: []routes.Route{{Method: "GET", Path: "/{proxy+}"}}})
	for _, f := range []string{"http-1.0", "http-policy", "http-simple"} {
		for _, name := range []string{"path", "rawPath"} {
			for _, path := range []string{"/a/b,GET /{proxy+}", "/a/b,GET%20/%7Bproxy+%7D", "/a/b,GET%20/%7bproxy%2B%7d"} {
				r := asks{api: "vars", stage: "s", method: "GET", path: "/a/b", template: "/{proxy+}", sources: []string{"/a/b", "GET /{proxy+}"}}
				payload := bytes.Replace(r.event(t, f, raw), []byte(`{`), fmt.Appendf(nil, `{"%s":"%s",`, name, path), 1)
				w.logs.take()
				out, err := w.with(authorizer.Config{Routes: catchAll, SimpleResponses: f == "http-simple"}).Invoke(t.Context(), payload)
				if got := verdict(t, f, out, err, r.arn(), now); got != 403 || w.line()["reason"] != "identity_source" {
					t.Errorf("%s with %s %s: %d to %s", f, name, path, got, out)
				}
			}
		}
	}
	// Without identity sources nothing is cached.
	payload := bytes.Replace(order.event(t, "http-simple", raw), []byte(`"identitySource":["Bearer `+raw+`","GET /orders/{id}"],`), nil, 1)
	out, err := w.with(authorizer.Config{Routes: set, SimpleResponses: true}).Invoke(t.Context(), payload)
	if bytes.Contains(payload, []byte("identitySource")) || verdict(t, "http-simple", out, err, "", now) != 200 {
		t.Errorf("without identity sources: %s, %v", out, err)
	}
}

// Each API takes tokens for its own audiences, and one verifier serves all that have the same.
func TestAudiences(t *testing.T) {
	w := newWorld(t)
	set := compiled(t,
		routes.API{ID: "one", Stage: "s", Routes: plain, Audiences: []string{"urn:b", "urn:c"}},
		routes.API{ID: "two", Stage: "s", Routes: plain, Audiences: []string{"urn:b", "urn:c"}},
		routes.API{ID: "own", Stage: "s", Routes: plain},
	)
	var made [][]string
	a, err := authorizer.New(authorizer.Config{
		Verifier: w.authorizer(false).Verifier, Routes: set, Now: w.now, Log: slog.New(slog.DiscardHandler),
		VerifierFor: func(audiences []string) (authorizer.Verifier, error) {
			made = append(made, audiences)
			return w.with(authorizer.Config{}).VerifierFor(audiences)
		},
	})
	if err != nil || len(made) != 1 {
		t.Fatalf("New made verifiers for %v, %v", made, err)
	}
	for aud, taken := range map[string]string{"urn:b": "one two", "urn:c": "one two", audience: "own", "urn:d": ""} {
		raw := w.token(func(a *token.Access) { a.Audience = []string{aud} })
		for _, api := range []string{"one", "two", "own"} {
			r := asks{api: api, stage: "s", method: "GET", path: "/orders", template: "/orders"}
			out, err := a.Invoke(t.Context(), r.event(t, "http-policy", raw))
			want := 403
			if strings.Contains(taken, api) {
				want = 200
			}
			if got := verdict(t, "http-policy", out, err, r.arn(), now); got != want {
				t.Errorf("a token for %s at %s: %d, want %d", aud, api, got, want)
			}
		}
	}
}

func TestContext(t *testing.T) {
	w := newWorld(t)
	set := compiled(t,
		routes.API{ID: "some", Stage: "s", Routes: plain, Context: []string{"iss", "auth_time"}},
		routes.API{ID: "none", Stage: "s", Routes: plain},
	)
	raw := w.token(func(a *token.Access) { a.Audience = []string{audience, "urn:b"} })
	usual := map[string]string{
		"client_id": "demo", "sub": "u_ada", "scope": "orders:read orders:write", "grant_id": "g_1", "jti": "t_1", "exp": "1788258630",
	}
	for api, more := range map[string]map[string]string{
		"some": {"iss": issuer, "auth_time": "1788257730"},
		"none": {"aud": audience + " urn:b", "iat": "1788257730"},
	} {
		a := w.with(authorizer.Config{Routes: set, Claims: []string{"aud", "iat"}})
		r := asks{api: api, stage: "s", method: "GET", path: "/orders", template: "/orders"}
		out, err := a.Invoke(t.Context(), r.event(t, "rest-request", raw))
		if err != nil {
			t.Fatal(err)
		}
		got := parse(t, out).Context
		if len(got) != len(usual)+len(more) {
			t.Errorf("%s: the context is %v", api, got)
		}
		for _, want := range []map[string]string{usual, more} {
			for name, value := range want {
				if got[name] != value {
					t.Errorf("%s: the context's %s is %q, want %q", api, name, got[name], value)
				}
			}
		}
	}
	// A context's values are never what JSON has objects and lists for.
	for scope, status := range map[string]int{"{}": 403, "[1]": 403, "[1] x": 200, "{x}": 200, "1": 200} {
		raw := w.token(func(a *token.Access) { a.Scope = strings.Fields(scope) })
		out, err := w.authorizer(false).Invoke(t.Context(), event(t, forms[1], "Bearer "+raw))
		if got := verdict(t, "rest-request", out, err, "arn:aws:execute-api:eu-central-1:123456789012:f6g7h8i9j0/prod/GET/whoami", now); got != status {
			t.Errorf("scope %s: %d, want %d", scope, got, status)
		}
	}
	for _, c := range []authorizer.Config{
		{Claims: []string{"email"}}, {Claims: []string{"sub"}},
		{Routes: compiled(t, routes.API{ID: "a", Stage: "s", Routes: plain, Audiences: []string{"urn:b"}})}, // no VerifierFor
	} {
		c.Verifier = w.authorizer(false).Verifier
		if _, err := authorizer.New(c); err == nil {
			t.Errorf("New(%+v): want an error", c)
		}
	}
}

// numbered are as many routes, each with a scope of its own.
func numbered(n int) []routes.Route {
	list := make([]routes.Route, n)
	for i := range list {
		list[i] = routes.Route{Method: "GET", Path: fmt.Sprintf("/resource-%03d", i), AllOf: []string{fmt.Sprintf("r%d", i%100)}}
	}
	return list
}

// The answer's size, however many routes there are: a list where that is small enough, else one about the route alone.
func TestAnswersAreBounded(t *testing.T) {
	w := newWorld(t)
	var all []string
	for i := range 100 {
		all = append(all, fmt.Sprintf("r%d", i))
	}
	raw := w.token(func(a *token.Access) { a.Scope = all })
	for _, test := range []struct {
		routes int
		form   routes.Form
		listed int
	}{{30, routes.FormToken, 30}, {100, routes.FormRoute, 1}, {300, routes.FormRoute, 1}} {
		set := compiled(t, routes.API{ID: "f6g7h8i9j0", Stage: "prod", Complete: true, Routes: numbered(test.routes)})
		if form := set.APIs[0].Form; form != test.form {
			t.Errorf("%d routes: the form is %s, want %s", test.routes, form, test.form)
		}
		r := asks{api: "f6g7h8i9j0", stage: "prod", method: "GET", path: "/resource-007", template: "/resource-007"}
		for _, f := range []string{"rest-request", "http-1.0", "http-policy"} {
			out, err := w.with(authorizer.Config{Routes: set}).Invoke(t.Context(), r.event(t, f, raw))
			if verdict(t, f, out, err, r.arn(), now) != 200 || len(out) > authorizer.MaxAnswer {
				t.Errorf("%d routes, %s: %d bytes: %.200s, %v", test.routes, f, len(out), out, err)
				continue
			}
			if got := len(parse(t, out).PolicyDocument.Statement[0].Resource); got != test.listed {
				t.Errorf("%d routes, %s: the policy lists %d resources, want %d", test.routes, f, got, test.listed)
			}
			t.Logf("%d routes, %s: %d resources, %d bytes", test.routes, f, test.listed, len(out))
		}
	}
	// What the rules' sizes allow is answered, with every scope of the rules and ids of some length: none is denied at run time
	// because of its form.
	lists := 0
	for n := 10; n <= 100; n += 5 {
		var scopes []string
		for i := range 24 {
			scopes = append(scopes, fmt.Sprintf("https://api.example.com/scopes/<%02d>&%s", i, strings.Repeat("s", 60)))
		}
		list := numbered(n)
		for i := range list {
			list[i].Path, list[i].AllOf = list[i].Path+"&&", scopes[i%24:i%24+1]
		}
		set := compiled(t, routes.API{ID: "f6g7h8i9j0", Stage: "prod", Complete: true, Routes: list})
		if set.APIs[0].Form == routes.FormToken {
			lists++
		}
		raw := w.token(func(a *token.Access) {
			a.Scope = scopes[:min(n, 24)]
			a.Subject, a.ClientID = "u_"+strings.Repeat("u", 64), strings.Repeat("c", 64)
		})
		r := asks{api: "f6g7h8i9j0", stage: "prod", method: "GET", path: "/resource-007&&", template: "/resource-007&&"}
		out, err := w.with(authorizer.Config{Routes: set}).Invoke(t.Context(), r.event(t, "rest-request", raw))
		if verdict(t, "rest-request", out, err, r.arn(), now) != 200 {
			t.Errorf("%d routes and 24 long scopes, form %s: %d bytes: %.200s, %v", n, set.APIs[0].Form, len(out), out, err)
		}
	}
	if lists < 5 {
		t.Errorf("%d of form token: the test shows little", lists)
	}
	// A scope that leaves no room for the list: nothing is left out of either, and the answer is no.
	set := compiled(t, routes.API{ID: "f6g7h8i9j0", Stage: "prod", Complete: true, Routes: numbered(50)})
	raw = w.token(func(a *token.Access) {
		a.Scope = append(all[:50:50], strings.Repeat("x", 2000), strings.Repeat("y", 1700))
	})
	r := asks{api: "f6g7h8i9j0", stage: "prod", method: "GET", path: "/resource-007", template: "/resource-007"}
	w.logs.take()
	out, err := w.with(authorizer.Config{Routes: set}).Invoke(t.Context(), r.event(t, "rest-request", raw))
	if verdict(t, "rest-request", out, err, r.arn(), now) != 403 || w.line()["reason"] != "size" || len(out) > 1024 {
		t.Errorf("too large an answer: %d bytes, %.300s, %v", len(out), out, err)
	}
}
