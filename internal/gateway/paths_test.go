package gateway_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/routes"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// scopeIsToken is a verifier whose tokens are their scope, joined by dots.
type scopeIsToken func() time.Time

func (now scopeIsToken) Verify(_ context.Context, raw string) (*token.Access, error) {
	return &token.Access{
		Grant: token.Grant{GrantID: "g_1", ClientID: "demo", Subject: "demo", AuthTime: now()}, ID: "t_1",
		Scope: oauth.Scope(strings.Split(raw, ".")), ExpiresAt: now().Add(time.Hour),
	}, nil
}

// ruled is an API whose routes need scopes, with the product's authorizer in front.
func ruled(t *testing.T, f form, sources []string, rules ...routes.Route) *setup {
	t.Helper()
	set, err := routes.New([]routes.API{{ID: "abc", Stage: "dev", Complete: true, Routes: rules}})
	if err != nil {
		t.Fatal(err)
	}
	c := newClock()
	a, err := authorizer.New(authorizer.Config{
		Verifier: scopeIsToken(c.now), Routes: set, SimpleResponses: f.Simple, Now: c.now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{backend: &recorder{}, asked: &recorder{}, clock: c}
	guard := f.Authorizer
	guard.TTL, guard.IdentitySources = time.Minute, sources
	guard.Function = function(func(payload []byte) ([]byte, error) {
		s.asked.Invoke(context.Background(), payload)
		return a.Invoke(context.Background(), payload)
	})
	api := gateway.API{Kind: f.kind, ID: "abc", Stage: "dev", Region: "eu-central-1", Now: c.now}
	for _, r := range rules {
		api.Routes = append(api.Routes, gateway.Route{Method: r.Method, Path: r.Path, Function: s.backend, Authorizer: &guard})
	}
	s.Gateway = serve(t, api)
	return s
}

// The identity sources that answers about single routes need.
var routeSources = map[string][]string{
	"rest-request": {restHeader, "context.httpMethod", "context.path"},
	"http-policy":  {httpHeader, "$context.routeKey", "$context.httpMethod", "$context.path"},
	"http-1.0":     {httpHeader, "$context.routeKey", "$context.httpMethod", "$context.path"},
	"http-simple":  {httpHeader, "$context.routeKey"},
}

var orderRules = []routes.Route{
	{Method: "GET", Path: "/hello"},
	{Method: "GET", Path: "/orders/{id}", AllOf: []string{"read"}},
	{Method: "DELETE", Path: "/orders/{id}", AllOf: []string{"delete"}},
	{Method: "GET", Path: "/orders/export", AllOf: []string{"export"}},
	{Method: "GET", Path: "/orders/{id}/cost", AllOf: []string{"cost"}},
	{Method: "GET", Path: "/admin/{rest+}", AllOf: []string{"admin"}},
}

// What callers can do to a path, in the order in which a clever one would try it, all within the cache's time. What API
// Gateway makes of a path is in the emulation's route.go and event.go: REST APIs route and name it as it is sent, HTTP APIs
// decoded; nothing resolves "..".
func TestPaths(t *testing.T) {
	type step struct {
		scope, method, path string
		rest, http, simple  int // statuses; 204 is the backend's
		headers             []string
	}
	for name, steps := range map[string][]step{
		"traversal": {
			{"read", "GET", "/orders/7", 204, 204, 204, nil},
			{"read", "GET", "/orders/..", 403, 403, 204, nil}, // the id is "..": denied where the answer is about one request
			{"read", "GET", "/orders/../admin/users", 403, 404, 404, nil},
			{"read", "GET", "/orders/%2e%2e/admin/users", 403, 404, 404, nil},
			{"read", "GET", "/admin/../orders/7", 403, 403, 403, nil}, // the route of /admin, whatever it may resolve to
			{"read", "GET", "/admin/users", 403, 403, 403, nil},
			{"admin", "GET", "/admin/../orders/7", 403, 403, 204, nil},
			{"read", "GET", "/admin/../orders/7", 403, 403, 403, nil},
		},
		"encoded slashes": {
			{"read", "GET", "/orders/7%2Fcost", 204, 403, 403, nil}, // REST: an id with a slash; HTTP: /orders/7/cost
			{"read", "GET", "/orders/7/cost", 403, 403, 403, nil},
			{"cost", "GET", "/orders/7/cost", 204, 204, 204, nil},
			{"cost", "GET", "/orders/7%2Fcost", 403, 204, 204, nil},
			{"read", "GET", "/orders/7%2fcost", 204, 403, 403, nil},
			{"read", "GET", "/orders%2Fexport", 403, 403, 403, nil},
			{"read", "GET", "/orders/expor%74", 204, 403, 403, nil}, // REST: another id; HTTP: /orders/export
			{"read", "GET", "/orders/export", 403, 403, 403, nil},
		},
		"trailing slashes": {
			{"read", "GET", "/hello/", 204, 404, 404, nil}, // REST APIs route /hello/ to /hello
			{"read", "GET", "/orders/7/", 204, 404, 404, nil},
			{"read", "GET", "/orders/export/", 403, 404, 404, nil},
			{"read", "GET", "/orders/export", 403, 403, 403, nil},
			{"read", "GET", "/orders//", 403, 404, 404, nil},
		},
		"wildcards": {
			{"read", "GET", "/orders/*", 403, 403, 204, nil}, // a policy can't name it; a simple response names nothing
			{"read", "GET", "/orders/7*", 403, 403, 204, nil},
			{"read", "GET", "/orders/%2A", 204, 403, 204, nil}, // REST: not the character
			{"read", "GET", "/orders/%3F", 204, 403, 204, nil},
			{"read", "GET", "/orders/${aws:username}", 403, 403, 204, nil},
			{"read", "GET", "/orders/7/cost", 403, 403, 403, nil},
			{"read", "GET", "/orders/export", 403, 403, 403, nil},
			{"read", "GET", "/orders/7", 204, 204, 204, nil},
		},
		"method override": {
			{"read", "GET", "/orders/7", 204, 204, 204, nil},
			{"read", "GET", "/orders/7", 403, 204, 204, []string{"X-HTTP-Method-Override", "DELETE"}}, // REST: it is a DELETE
			{"read", "DELETE", "/orders/7", 204, 403, 403, []string{"X-HTTP-Method-Override", "GET"}},
			{"delete", "GET", "/orders/7", 204, 403, 403, []string{"X-HTTP-Method-Override", "DELETE"}},
			{"read", "GET", "/orders/7", 403, 204, 204, []string{"X-HTTP-Method-Override", "PATCH"}},
		},
		"stage prefixes": { // the stage's name is in an HTTP API's rawPath, and no part of a route
			{"read", "GET", "/dev/orders/7", 403, 404, 404, nil},
			{"read", "GET", "/orders/7", 204, 204, 204, nil},
			{"read", "GET", "/orders/dev", 204, 204, 204, nil},
		},
	} {
		for _, f := range forms {
			sources := routeSources[f.name]
			if sources == nil {
				continue // TOKEN: its events don't say which route is asked for
			}
			t.Run(name+"/"+f.name, func(t *testing.T) {
				s := ruled(t, f, sources, orderRules...)
				for i, step := range append(steps, steps...) { // and once more, from the cache
					target := httptest.NewRequest(step.method, "/", nil)
					target.URL.Path, target.URL.RawPath = decodedPath(t, step.path), step.path
					target.Header.Set("Authorization", "Bearer "+step.scope)
					for i := 0; i < len(step.headers); i += 2 {
						target.Header.Set(step.headers[i], step.headers[i+1])
					}
					want := step.http
					if f.kind == gateway.REST {
						want = step.rest
					} else if f.Simple {
						want = step.simple
					}
					w := httptest.NewRecorder()
					s.ServeHTTP(w, target)
					if w.Code != want {
						t.Errorf("step %d: %s %s %v with %s: %d %s, want %d", i, step.method, step.path, step.headers, step.scope, w.Code, w.Body, want)
					}
				}
			})
		}
	}
}

func decodedPath(t *testing.T, path string) string {
	t.Helper()
	r := httptest.NewRequest("GET", "http://example.com"+strings.NewReplacer("{", "%7B", "}", "%7D").Replace(path), nil)
	return r.URL.Path
}

// Identity sources that lack what the answers need cost availability, and open nothing.
func TestTooFewIdentitySources(t *testing.T) {
	for _, f := range forms[1:] {
		source := httpHeader
		if f.kind == gateway.REST {
			source = restHeader
		}
		s := ruled(t, f, []string{source}, orderRules...)
		get := func(path string) int { return send(s, "GET", path, "", "Authorization", "Bearer read").Code }
		first := get("/orders/7")
		if want := map[bool]int{true: 204, false: 403}[f.kind == gateway.REST]; first != want {
			t.Errorf("%s: /orders/7: %d, want %d", f.name, first, want)
		}
		for _, path := range []string{"/orders/8", "/orders/export", "/orders/7/cost", "/admin/x"} {
			if got := get(path); got != 403 {
				t.Errorf("%s: %s from the cache: %d, want 403", f.name, path, got)
			}
		}
	}
}

// Rules without variables: one answer for all that a token may call, kept for the token alone.
func TestOneAnswerForAToken(t *testing.T) {
	rules := []routes.Route{
		{Method: "GET", Path: "/orders", AllOf: []string{"read"}},
		{Method: "POST", Path: "/orders", AllOf: []string{"write"}},
		{Method: "GET", Path: "/orders/export", AllOf: []string{"export"}},
		{Method: "ANY", Path: "/hello"},
	}
	for _, f := range forms {
		if f.Simple {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			s := ruled(t, f, f.IdentitySources, rules...)
			for range 2 {
				for _, step := range []struct {
					scope, method, path string
					status              int
				}{
					{"read", "GET", "/orders/export", 403}, // first, so that the answer is made for a route that is not in it
					{"read", "GET", "/orders", 204},
					{"read", "POST", "/orders", 403},
					{"read", "DELETE", "/hello", 204},
					{"read.write", "POST", "/orders", 204},
					{"read.write", "GET", "/orders/export", 403},
					{"other", "GET", "/hello", 204},
					{"other", "GET", "/orders", 403},
				} {
					if w := send(s, step.method, step.path, "", "Authorization", "Bearer "+step.scope); w.Code != step.status {
						t.Errorf("%s %s with %s: %d, want %d", step.method, step.path, step.scope, w.Code, step.status)
					}
				}
			}
			s.calls(t, 3, 8) // once a token
			s.clock.advance(time.Hour)
			if w := send(s, "GET", "/orders", "", "Authorization", "Bearer read"); w.Code != 204 {
				t.Errorf("an hour later: %d", w.Code)
			}
			s.calls(t, 4, 9)
		})
	}
}
