package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/gateway"
	"github.com/latchkey-auth/latchkey/pkg/authorizer"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/remotekeys"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/whoami"
)

// form is a kind of authorizer.
type form struct {
	name string
	kind gateway.Kind
	gateway.Authorizer
}

const (
	restHeader = "method.request.header.Authorization"
	httpHeader = "$request.header.Authorization"
)

var forms = []form{
	{"rest-token", gateway.REST, gateway.Authorizer{Type: gateway.Token, IdentitySources: []string{restHeader}}},
	{"rest-request", gateway.REST, gateway.Authorizer{Type: gateway.Request, IdentitySources: []string{restHeader}}},
	{"http-policy", gateway.HTTP, gateway.Authorizer{Type: gateway.Request, IdentitySources: []string{httpHeader}}},
	{"http-simple", gateway.HTTP, gateway.Authorizer{Type: gateway.Request, IdentitySources: []string{httpHeader}, Simple: true}},
	{"http-1.0", gateway.HTTP, gateway.Authorizer{Type: gateway.Request, IdentitySources: []string{httpHeader}, Payload: "1.0"}},
}

// setup is an API with an authorizer in front of all routes.
type setup struct {
	*gateway.Gateway
	backend *recorder
	asked   *recorder
	clock   *clock

	mu     sync.Mutex
	answer gateway.Function
}

func (f form) setup(t *testing.T, ttl time.Duration, answer gateway.Function) *setup {
	t.Helper()
	s := &setup{backend: &recorder{}, asked: &recorder{}, clock: newClock(), answer: answer}
	a := f.Authorizer
	a.TTL = ttl
	a.Function = function(func(payload []byte) ([]byte, error) {
		s.asked.Invoke(context.Background(), payload)
		s.mu.Lock()
		answer := s.answer
		s.mu.Unlock()
		return answer.Invoke(context.Background(), payload)
	})
	s.Gateway = serve(t, gateway.API{
		Kind: f.kind, ID: "abc", Stage: "prod", Region: "eu-central-1", Now: s.clock.now,
		Routes: []gateway.Route{
			{Method: "GET", Path: "/a", Function: s.backend, Authorizer: &a},
			{Method: "POST", Path: "/a", Function: s.backend, Authorizer: &a},
			{Method: "GET", Path: "/b", Function: s.backend, Authorizer: &a},
		},
	})
	return s
}

func (s *setup) says(answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = says(answer)
}

// calls checks how often the authorizer and the backend have been invoked.
func (s *setup) calls(t *testing.T, asked, backend int64) {
	t.Helper()
	if a, b := s.asked.count.Load(), s.backend.count.Load(); a != asked || b != backend {
		t.Errorf("the authorizer was invoked %d times and the backend %d times, want %d and %d", a, b, asked, backend)
	}
}

const everything = "arn:aws:execute-api:eu-central-1:123456789012:abc/prod/*"

// verdictOf is an answer of the form that allows or denies all.
func (f form) verdictOf(allow bool) string {
	if f.Simple {
		return fmt.Sprintf(`{"isAuthorized":%v,"context":{"sub":"ada","n":7,"ok":true}}`, allow)
	}
	return policy(effect(allow), everything)
}

func effect(allow bool) string {
	if allow {
		return "Allow"
	}
	return "Deny"
}

func policy(effect, resource string) string {
	return `{"principalId":"ada","context":{"sub":"ada","n":7,"ok":true},"policyDocument":{"Version":"2012-10-17","Statement":[
		{"Effect":"` + effect + `","Action":"execute-api:Invoke","Resource":"` + resource + `"}]}}`
}

func TestResults(t *testing.T) {
	for _, f := range forms {
		allow := f.verdictOf(true)
		type test struct {
			name   string
			answer gateway.Function
			status int
		}
		tests := []test{
			{"allow", says(allow), 204},
			{"deny", says(f.verdictOf(false)), 403},
			{"any other error", fails("unauthorized"), 500},
			{"an error that begins so", fails("Unauthorized: no"), 500},
			{"a panic", function(func([]byte) ([]byte, error) { panic("Unauthorized") }), 500},
			{"not JSON", says("yes"), 500},
			{"null", says("null"), 500},
			{"an empty object", says("{}"), 500},
			{"nothing", says(""), 500},
			{"data after the end", says(allow + "{}"), 500},
			{"a context of objects", says(strings.Replace(allow, `"n":7`, `"n":{}`, 1)), 500},
			{"a context of lists", says(strings.Replace(allow, `"n":7`, `"n":[]`, 1)), 500},
			{"a context with null", says(strings.Replace(allow, `"n":7`, `"n":null`, 1)), 500},
			{"an unknown member", says(strings.Replace(allow, `"context"`, `"kontext"`, 1)), 500},
		}
		unauthorized := test{"the error Unauthorized", fails("Unauthorized"), 401}
		if f.kind == gateway.HTTP {
			unauthorized.status = 500 // not documented: the stricter reading
		}
		tests = append(tests, unauthorized)
		if f.Simple {
			tests = append(tests,
				test{"a policy", says(policy("Allow", "*")), 500},
				test{"both", says(strings.Replace(policy("Allow", "*"), "{", `{"isAuthorized":true,`, 1)), 500},
				test{"not a boolean", says(`{"isAuthorized":"true"}`), 500},
			)
		} else {
			tests = append(tests,
				test{"a simple response", says(`{"isAuthorized":true}`), 500},
				test{"both", says(strings.Replace(allow, "{", `{"isAuthorized":true,`, 1)), 500},
				test{"an empty principal", says(strings.Replace(allow, `"principalId":"ada"`, `"principalId":""`, 1)), 500},
				test{"a principal that is no string", says(strings.Replace(allow, `"principalId":"ada"`, `"principalId":1`, 1)), 500},
				test{"a policy for another route", says(policy("Allow", strings.Replace(everything, "*", "GET/b", 1))), 403},
				test{"a policy that is broken", says(policy("Allow", "abc")), 500},
			)
		}
		for _, test := range tests {
			t.Run(f.name+"/"+test.name, func(t *testing.T) {
				s := f.setup(t, 0, test.answer)
				w := send(s, "GET", "/a", "", "Authorization", "Bearer x")
				if w.Code != test.status {
					t.Fatalf("the answer is %d %s, want %d", w.Code, w.Body, test.status)
				}
				if test.status == 204 {
					s.calls(t, 1, 1)
					return
				}
				s.calls(t, 1, 0)
				var body struct{ Message string }
				if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Message == "" || w.Header().Get("Content-Type") != "application/json" {
					t.Errorf("the body is %s", w.Body)
				}
				if challenge := w.Header().Get("WWW-Authenticate"); (challenge == "Bearer") != (test.status == 401) {
					t.Errorf("WWW-Authenticate is %q with status %d", challenge, test.status)
				}
			})
		}
	}
}

// remoteError is an error as a harness reports it that runs the function elsewhere.
type remoteError struct{ message string }

func (e remoteError) Error() string        { return "errorString: " + e.message }
func (e remoteError) ErrorMessage() string { return e.message }

func TestErrorMessage(t *testing.T) {
	for message, status := range map[string]int{"Unauthorized": 401, "other": 500} {
		s := forms[0].setup(t, 0, function(func([]byte) ([]byte, error) { return nil, fmt.Errorf("invoking: %w", remoteError{message}) }))
		if w := send(s, "GET", "/a", "", "Authorization", "x"); w.Code != status {
			t.Errorf("%s: the answer is %d, want %d", message, w.Code, status)
		}
	}
}

func TestIdentitySources(t *testing.T) {
	for _, f := range forms {
		s := f.setup(t, 0, says(f.verdictOf(true)))
		for _, headers := range [][]string{{}, {"Authorization", ""}, {"X-Authorization", "Bearer x"}} {
			w := send(s, "GET", "/a?Authorization=x", "", headers...)
			answered(t, w, 401, `{"message":"Unauthorized"}`)
			if w.Header().Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: WWW-Authenticate is %q", f.name, w.Header().Get("WWW-Authenticate"))
			}
		}
		s.calls(t, 0, 0)
		if w := send(s, "GET", "/a", "", "authorization", "Bearer x"); w.Code != 204 {
			t.Errorf("%s: %d %s", f.name, w.Code, w.Body)
		}
		s.calls(t, 1, 1)
	}

	f := forms[0]
	f.Validation = "Bearer [a-z]+"
	s := f.setup(t, 0, says(f.verdictOf(true)))
	for value, status := range map[string]int{"Bearer abc": 204, "Bearer abc1": 401, "xBearer abc": 401, "Bearer abc\nx": 401} {
		if w := send(s, "GET", "/a", "", "Authorization", value); w.Code != status {
			t.Errorf("%q: %d, want %d", value, w.Code, status)
		}
	}

	f = forms[2]
	f.IdentitySources = []string{httpHeader, "$request.querystring.k", "$context.routeKey"}
	s = f.setup(t, 0, says(f.verdictOf(true)))
	if w := send(s, "GET", "/a", "", "Authorization", "x"); w.Code != 401 {
		t.Errorf("without the second source: %d", w.Code)
	}
	send(s, "GET", "/a?k=v", "", "Authorization", "x")
	equal(t, "identitySource", s.asked.at("identitySource"), list("x", "v", "GET /a"))
}

// The sources besides headers and parameters.
func TestContextSources(t *testing.T) {
	for _, test := range []struct {
		form    int
		sources []string
		want    any // as the authorizer's event has them; REST APIs' has none
	}{
		{1, []string{restHeader, "context.httpMethod", "context.path", "context.resourcePath"}, nil},
		{2, []string{httpHeader, "$context.routeKey", "$context.httpMethod", "$context.path"}, list("x", "GET /a", "GET", "/a")},
		{4, []string{httpHeader, "$context.routeKey", "$context.path"}, "x,GET /a,/a"},
	} {
		f := forms[test.form]
		f.IdentitySources = test.sources
		s := f.setup(t, time.Minute, says(f.verdictOf(true)))
		for range 2 {
			if w := send(s, "GET", "/a", "", "Authorization", "x"); w.Code != 204 {
				t.Errorf("%s: %d %s", f.name, w.Code, w.Body)
			}
		}
		equal(t, f.name, s.asked.at("identitySource"), test.want)
		send(s, "POST", "/a", "", "Authorization", "x")
		send(s, "GET", "/b", "", "Authorization", "x")
		s.calls(t, 3, 4)
	}
}

// REST APIs take the header X-HTTP-Method-Override for the method.
func TestMethodOverride(t *testing.T) {
	for i, want := range map[int]string{1: "POST", 2: "GET"} {
		s := forms[i].setup(t, 0, says(forms[i].verdictOf(true)))
		if w := send(s, "GET", "/a", "", "Authorization", "x", "X-HTTP-Method-Override", "POST"); w.Code != 204 {
			t.Errorf("%s: %d %s", forms[i].name, w.Code, w.Body)
		}
		arn, _ := s.asked.at("methodArn").(string)
		method := s.asked.at("httpMethod")
		if forms[i].kind == gateway.HTTP {
			arn, _ = s.asked.at("routeArn").(string)
			method = s.asked.at("requestContext.http.method")
		}
		equal(t, forms[i].name+" method", method, want)
		equal(t, forms[i].name+" ARN", arn, strings.Replace(everything, "*", want+"/a", 1))
	}
	s := forms[1].setup(t, 0, says(forms[1].verdictOf(true)))
	if w := send(s, "GET", "/a", "", "Authorization", "x", "X-HTTP-Method-Override", "DELETE"); w.Code != 403 {
		t.Errorf("a method that the resource does not have: %d", w.Code)
	}
}

func TestWebSocket(t *testing.T) {
	const arn = "arn:aws:execute-api:eu-central-1:123456789012:abc/prod/$connect"
	asked := &recorder{}
	var answer gateway.Function
	ws := gateway.WebSocket{
		ID: "abc", Stage: "prod", Region: "eu-central-1", Account: "123456789012", Now: newClock().now,
		IdentitySources: []string{"route.request.header.Authorization", "route.request.querystring.k"},
		Function: function(func(payload []byte) ([]byte, error) {
			asked.Invoke(context.Background(), payload)
			return answer.Invoke(context.Background(), payload)
		}),
	}
	connect := func(target string, headers ...string) (int, map[string]any) {
		r := httptest.NewRequest("GET", target, nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		return ws.Connect(r)
	}
	for name, test := range map[string]struct {
		answer gateway.Function
		status int
	}{
		"allow":              {says(policy("Allow", arn)), 101},
		"allow all":          {says(policy("Allow", everything)), 101},
		"deny":               {says(policy("Deny", everything)), 403},
		"another route":      {says(policy("Allow", strings.Replace(arn, "$connect", "GET/a", 1))), 403},
		"Unauthorized":       {fails("Unauthorized"), 401},
		"another error":      {fails("no"), 500},
		"a simple response":  {says(`{"isAuthorized":true}`), 500},
		"more than 8 KB":     {says(strings.Replace(policy("Allow", arn), `"n":7`, `"n":"`+strings.Repeat("x", 8<<10)+`"`, 1)), 500},
		"a context of lists": {says(strings.Replace(policy("Allow", arn), `"n":7`, `"n":[]`, 1)), 500},
	} {
		answer = test.answer
		status, got := connect("/?k=1", "Authorization", "Bearer x")
		if status != test.status || (got != nil) != (status == 101) {
			t.Errorf("%s: %d %v, want %d", name, status, got, test.status)
		}
	}
	equal(t, "methodArn", asked.at("methodArn"), arn)
	equal(t, "headers", asked.at("multiValueHeaders.Authorization"), list("Bearer x"))
	equal(t, "query", asked.at("multiValueQueryStringParameters.k"), list("1"))
	n := asked.count.Load()
	for _, target := range []string{"/", "/?k="} {
		if status, _ := connect(target, "Authorization", "Bearer x"); status != 401 {
			t.Errorf("%s: %d, want 401", target, status)
		}
	}
	if status, _ := connect("/?k=1"); status != 401 || asked.count.Load() != n {
		t.Errorf("without a header: %d", status)
	}
	data, err := os.ReadFile("../../events/authorizer-websocket.json")
	if err != nil {
		t.Fatal(err)
	}
	var sample map[string]any
	if err := json.Unmarshal(data, &sample); err != nil {
		t.Fatal(err)
	}
	delete(asked.event["queryStringParameters"].(map[string]any), "k")
	delete(asked.event["multiValueQueryStringParameters"].(map[string]any), "k")
	equal(t, "the members of the sample", members(asked.event), members(sample))
}

func TestAuthorizerEvents(t *testing.T) {
	for _, f := range forms {
		s := f.setup(t, 0, says(f.verdictOf(true)))
		send(s, "POST", "/a?x=1", "a secret body", "Authorization", "Bearer x", "Content-Type", "text/plain")
		const arn = "arn:aws:execute-api:eu-central-1:123456789012:abc/prod/POST/a"
		want := map[string]any{"body": nil, "isBase64Encoded": nil}
		switch f.name {
		case "rest-token":
			want = map[string]any{"type": "TOKEN", "methodArn": arn, "authorizationToken": "Bearer x", "headers": nil}
			equal(t, "the event's size", len(s.asked.event), 3)
		case "rest-request":
			want["type"], want["methodArn"], want["version"] = "REQUEST", arn, nil
			want["resource"], want["path"], want["httpMethod"] = "/a", "/a", "POST"
			want["headers.Authorization"], want["multiValueHeaders.Authorization"] = "Bearer x", list("Bearer x")
			want["pathParameters"], want["requestContext.authorizer"] = map[string]any{}, nil
		case "http-1.0":
			want["type"], want["methodArn"], want["version"], want["routeArn"] = "REQUEST", arn, "1.0", nil
			want["identitySource"], want["authorizationToken"], want["multiValueHeaders.Authorization"] = "Bearer x", "Bearer x", list("Bearer x")
			want["resource"], want["httpMethod"], want["pathParameters"] = "/a", "POST", map[string]any{}
		default:
			want["type"], want["routeArn"], want["version"], want["methodArn"] = "REQUEST", arn, "2.0", nil
			want["identitySource"], want["headers.authorization"] = list("Bearer x"), "Bearer x"
			want["routeKey"], want["rawPath"] = "POST /a", "/prod/a"
		}
		for path, value := range want {
			equal(t, f.name+" "+path, s.asked.at(path), value)
		}
	}
	// A repeated header: every value of it is to be seen.
	s := forms[0].setup(t, 0, says(forms[0].verdictOf(true)))
	send(s, "GET", "/a", "", "Authorization", "Bearer x", "Authorization", "Bearer y")
	equal(t, "authorizationToken", s.asked.at("authorizationToken"), "Bearer x,Bearer y")
}

func TestContextReachesTheBackend(t *testing.T) {
	for _, f := range forms {
		s := f.setup(t, time.Minute, says(f.verdictOf(true)))
		for range 2 { // afresh, and from the cache
			send(s, "GET", "/a", "", "Authorization", "Bearer x")
			if f.kind == gateway.REST {
				for name, want := range map[string]any{"principalId": "ada", "sub": "ada", "n": "7", "ok": "true", "integrationLatency": float64(0)} {
					equal(t, f.name+" "+name, s.backend.at("requestContext.authorizer."+name), want)
				}
				continue
			}
			equal(t, f.name, s.backend.at("requestContext.authorizer.lambda"), map[string]any{"sub": "ada", "n": float64(7), "ok": true})
		}
		s.calls(t, 1, 2)
	}
}

// A caller can't hand the backend a context of its own.
func TestNoContextWithoutAnAuthorizer(t *testing.T) {
	for _, kind := range []gateway.Kind{gateway.REST, gateway.HTTP} {
		f := &recorder{}
		g := serve(t, gateway.API{Kind: kind, Routes: []gateway.Route{{Method: "POST", Path: "/", Function: f}}})
		send(g, "POST", "/?requestContext.authorizer=x", `{"requestContext":{"authorizer":{"sub":"ada"}}}`, "Authorizer", "sub=ada")
		equal(t, "the context", f.at("requestContext.authorizer"), nil)
	}
}

func TestCache(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			get := func(s *setup, target, who string, status int) {
				t.Helper()
				if w := send(s, "GET", target, "", "Authorization", who); w.Code != status {
					t.Errorf("GET %s by %s: %d %s, want %d", target, who, w.Code, w.Body, status)
				}
			}
			s := f.setup(t, 10*time.Second, says(f.verdictOf(true)))
			get(s, "/a", "one", 204)
			get(s, "/a", "one", 204)
			get(s, "/b", "one", 204) // the key is the identity alone
			s.calls(t, 1, 3)
			get(s, "/a", "two", 204)
			s.calls(t, 2, 4)

			s.says(f.verdictOf(false))
			s.clock.advance(9 * time.Second)
			get(s, "/a", "one", 204)
			s.clock.advance(time.Second)
			get(s, "/a", "one", 403)
			s.says(f.verdictOf(true))
			get(s, "/a", "one", 403) // denials are kept as well
			s.calls(t, 3, 5)
			s.clock.advance(-time.Hour)
			get(s, "/a", "one", 204)

			// Errors are not kept.
			s = f.setup(t, 10*time.Second, fails("outage"))
			get(s, "/a", "one", 500)
			s.says(f.verdictOf(true))
			get(s, "/a", "one", 204)

			// Without a TTL nothing is.
			s = f.setup(t, 0, says(f.verdictOf(true)))
			get(s, "/a", "one", 204)
			get(s, "/a", "one", 204)
			s.calls(t, 2, 2)
		})
	}
}

// What is cached is the policy, not the verdict.
func TestCachedPolicyIsEvaluatedAfresh(t *testing.T) {
	for _, f := range forms[:3] {
		one := strings.Replace(everything, "*", "GET/a", 1)
		s := f.setup(t, time.Hour, says(policy("Allow", one)))
		for _, test := range []struct {
			method, target string
			status         int
		}{{"GET", "/a", 204}, {"POST", "/a", 403}, {"GET", "/b", 403}, {"GET", "/a", 204}} {
			if w := send(s, test.method, test.target, "", "Authorization", "x"); w.Code != test.status {
				t.Errorf("%s: %s %s: %d, want %d", f.name, test.method, test.target, w.Code, test.status)
			}
		}
		s.calls(t, 1, 2)

		until := s.clock.now().Add(30 * time.Second).UTC().Format(time.RFC3339)
		s = f.setup(t, time.Hour, says(strings.Replace(policy("Allow", everything), `"Action"`,
			`"Condition":{"DateLessThan":{"aws:CurrentTime":"`+until+`"}},"Action"`, 1)))
		for _, step := range []struct {
			wait   time.Duration
			status int
		}{{0, 204}, {29 * time.Second, 204}, {time.Second, 403}} {
			s.clock.advance(step.wait)
			if w := send(s, "GET", "/a", "", "Authorization", "x"); w.Code != step.status {
				t.Errorf("%s: after %s more: %d, want %d", f.name, step.wait, w.Code, step.status)
			}
		}
		s.calls(t, 1, 2)
	}
}

// A simple response for one route is one for all, unless the route is a part of the key.
func TestCachedSimpleResponse(t *testing.T) {
	byRoute := function(func(payload []byte) ([]byte, error) {
		return fmt.Appendf(nil, `{"isAuthorized":%v}`, strings.Contains(string(payload), `"routeKey":"GET /a"`)), nil
	})
	for _, withRoute := range []bool{false, true} {
		f := forms[3]
		want := 204
		if withRoute {
			f.IdentitySources = []string{httpHeader, "$context.routeKey"}
			want = 403
		}
		s := f.setup(t, time.Minute, byRoute)
		if w := send(s, "GET", "/a", "", "Authorization", "x"); w.Code != 204 {
			t.Fatalf("GET /a: %d", w.Code)
		}
		if w := send(s, "GET", "/b", "", "Authorization", "x"); w.Code != want {
			t.Errorf("GET /b with the route in the key %v: %d, want %d", withRoute, w.Code, want)
		}
	}
}

func TestCacheKeysDoNotRunTogether(t *testing.T) {
	f := forms[2]
	f.IdentitySources = []string{"$request.header.A", "$request.header.B"}
	s := f.setup(t, time.Minute, says(f.verdictOf(true)))
	send(s, "GET", "/a", "", "A", "1", "B", "2,3")
	send(s, "GET", "/a", "", "A", "1,2", "B", "3")
	send(s, "GET", "/a", "", "A", "11:2", "B", "3")
	s.calls(t, 3, 3)
}

func TestCacheIsBounded(t *testing.T) {
	f := forms[3]
	s := f.setup(t, time.Hour, says(f.verdictOf(true)))
	for i := range 3000 {
		send(s, "GET", "/a", "", "Authorization", fmt.Sprint(i))
	}
	if n := s.Cached(); n > 1024 {
		t.Errorf("%d answers are cached", n)
	}
	send(s, "GET", "/a", "", "Authorization", "2999")
	s.calls(t, 3000, 3001) // the latest is there
}

func TestConcurrently(t *testing.T) {
	for _, f := range forms {
		s := f.setup(t, time.Second, says(f.verdictOf(true)))
		var wg sync.WaitGroup
		var refused atomic.Int64
		for i := range 8 {
			wg.Go(func() {
				for j := range 50 {
					if w := send(s, "GET", "/a", "", "Authorization", fmt.Sprint(i%2, j%5)); w.Code != 204 {
						refused.Add(1)
					}
					s.clock.advance(time.Second)
				}
			})
		}
		wg.Wait()
		equal(t, f.name+": the number refused", refused.Load(), int64(0))
	}
}

// The product's own authorizer and backend, in every form.
func TestWithLatchkey(t *testing.T) {
	c := newClock()
	key, err := keyring.Generate(keyring.ES256, c.now())
	if err != nil {
		t.Fatal(err)
	}
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{key}}
	signing, err := keyring.NewSource(keyring.SourceConfig{
		Load: func(context.Context) (*keyring.Document, error) { return d, nil }, Now: c.now,
	}).SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	public, err := d.Public()
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(public.JWKS(c.now()))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := remotekeys.New(remotekeys.Config{Initial: jwks, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	const issuer, audience = "https://id.example.com", "https://api.example.com"
	verifier, err := token.NewAccessVerifier(token.Config{Issuer: issuer, Audiences: []string{audience}, Keys: keys, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	claims := token.Access{
		Grant:  token.Grant{GrantID: "g_1", ClientID: "demo", Subject: "demo", AuthTime: c.now(), Epochs: token.Epochs{{Handle: "c_1", N: 1}}},
		Issuer: issuer, Audience: []string{audience}, IssuedAt: c.now(), ExpiresAt: c.now().Add(time.Minute), ID: "t_1",
		Scope: []string{"a", "b"},
	}
	raw, err := claims.Sign(t.Context(), signing)
	if err != nil {
		t.Fatal(err)
	}
	start := c.seconds.Load()
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			c.seconds.Store(start)
			log := slog.New(slog.DiscardHandler)
			a, err := authorizer.New(authorizer.Config{Verifier: verifier, SimpleResponses: f.Simple, Now: c.now, Log: log})
			if err != nil {
				t.Fatal(err)
			}
			f.Function, f.TTL = a, 10*time.Second
			g := serve(t, gateway.API{Kind: f.kind, Now: c.now, Routes: []gateway.Route{{
				Method: "GET", Path: "/whoami", Function: lambdahttp.Handler(&whoami.Handler{Now: c.now, Log: log}), Authorizer: &f.Authorizer,
			}}})
			get := func(headers ...string) int { return send(g, "GET", "/whoami", "", headers...).Code }
			bad := http.StatusUnauthorized
			if f.kind == gateway.HTTP {
				bad = http.StatusForbidden // HTTP APIs have no 401 for a token that an authorizer refuses
			}
			for range 2 {
				answered(t, send(g, "GET", "/whoami", "", "Authorization", "Bearer "+raw), 200, fmt.Sprintf(
					`{"client_id":"demo","sub":"demo","scope":"a b","grant_id":"g_1","jti":"t_1","exp":%d}`, claims.ExpiresAt.Unix()))
				equal(t, "no token", get(), 401)
				equal(t, "an altered token", get("Authorization", "Bearer "+raw[:len(raw)-2]+"AA"), bad)
				equal(t, "Basic", get("Authorization", "Basic eDp5"), bad)
				equal(t, "two headers", get("Authorization", "Bearer "+raw, "Authorization", "Bearer "+raw), bad)
			}
			c.seconds.Store(claims.ExpiresAt.Unix() - 1)
			equal(t, "the last second", get("Authorization", "Bearer "+raw), 200)
			c.advance(time.Second)
			if !f.Simple {
				equal(t, "after the end, from the cache", get("Authorization", "Bearer "+raw), 403)
			}
			c.advance(token.Leeway)
			if f.Simple {
				equal(t, "after the end, from the cache", get("Authorization", "Bearer "+raw), 401) // the backend's
			}
			c.advance(10 * time.Second)
			equal(t, "after the end", get("Authorization", "Bearer "+raw), bad)
		})
	}
	t.Run("websocket", func(t *testing.T) {
		c.seconds.Store(start)
		a, err := authorizer.New(authorizer.Config{
			Verifier: verifier, WebSocketToken: authorizer.WebSocketToken{Protocol: true}, Now: c.now, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ws := gateway.WebSocket{ID: "abc", Stage: "prod", Region: "eu-central-1", Account: "123456789012", Now: c.now, Function: a}
		connect := func(name, value string) (int, map[string]any) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set(name, value)
			return ws.Connect(r)
		}
		for _, value := range []string{"Bearer " + raw, "latchkey.bearer, " + raw} {
			name := map[bool]string{true: "Authorization", false: "Sec-WebSocket-Protocol"}[strings.HasPrefix(value, "Bearer")]
			status, told := connect(name, value)
			if status != 101 || told["sub"] != "demo" || told["scope"] != "a b" {
				t.Errorf("%s: %d %v", name, status, told)
			}
			for what, bad := range map[string]string{"altered": value[:len(value)-2] + "AA", "none": "x"} {
				if status, _ := connect(name, bad); status != 401 {
					t.Errorf("%s, %s: %d, want 401", name, what, status)
				}
			}
		}
		c.seconds.Store(claims.ExpiresAt.Unix())
		if status, _ := connect("Authorization", "Bearer "+raw); status != 401 {
			t.Errorf("after the end: %d, want 401", status)
		}
	})
}
