package resource_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/deptest"
	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/resource"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// now is the time of the sample events, whose token ends 15 minutes later.
var (
	now = time.Date(2026, 9, 1, 10, 15, 30, 0, time.UTC)
	end = time.Unix(1788258630, 0)
)

var demo = &resource.Caller{
	ClientID: "demo", Subject: "demo", Scope: []string{"orders:read", "orders:write"},
	GrantID: "g_example0000000000000000", TokenID: "t_example0000000000000000", ExpiresAt: end,
	Claims: map[string]string{},
}

// samples are an event of each kind.
var samples = map[string]string{
	"REST":      "../../events/whoami-rest-v1.json",
	"HTTP 1.0":  "testdata/http-v1.json",
	"HTTP 2.0":  "../../events/whoami-http-v2.json",
	"WebSocket": "testdata/websocket-message.json",
}

func sample(t testing.TB, kind string) []byte {
	t.Helper()
	payload, err := os.ReadFile(samples[kind])
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func guard(at time.Time) *resource.Guard {
	return &resource.Guard{Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler)}
}

// mustRefuse returns the refusal that err is.
func mustRefuse(t *testing.T, caller *resource.Caller, err error, status int, code string) *resource.Refusal {
	t.Helper()
	var r *resource.Refusal
	if !errors.As(err, &r) || r.Status != status || r.Code != code {
		t.Fatalf("the outcome is %v, want %d %s", err, status, code)
	}
	if caller != nil {
		t.Errorf("a refusal with the caller %+v", caller)
	}
	return r
}

func TestEvent(t *testing.T) {
	for kind := range samples {
		t.Run(kind, func(t *testing.T) {
			payload := sample(t, kind)
			got, err := guard(now).Event(payload, "orders:write")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(demo, got); diff != "" {
				t.Errorf("the caller (-want +got):\n%s", diff)
			}
			more := bytes.Replace(payload, []byte(`"sub"`), []byte(`"aud":"a b","auth_time":"1788257000","reason":"x","sub"`), 1)
			if got, err := guard(now).Event(more); err != nil || !maps.Equal(got.Claims, map[string]string{"aud": "a b", "auth_time": "1788257000"}) {
				t.Errorf("with more claims the caller is %+v, %v", got, err)
			}
			got, err = guard(now).Event(payload, "orders:read", "orders:delete")
			r := mustRefuse(t, got, err, 403, resource.InsufficientScope)
			if r.Scope != "orders:read orders:delete" {
				t.Errorf("it asks for the scope %q", r.Scope)
			}
			got, err = guard(end.Add(resource.Leeway)).Event(payload)
			mustRefuse(t, got, err, 401, resource.InvalidToken)
			// Whatever of the caller is not there.
			for _, name := range []string{"authorizer", "client_id", "sub", "grant_id", "jti", "exp"} {
				got, err := guard(now).Event(bytes.Replace(payload, []byte(`"`+name+`"`), []byte(`"other"`), 1))
				mustRefuse(t, got, err, 500, resource.ServerError)
			}
		})
	}
}

// What is no event of an API with our authorizer has no caller, whatever it says.
func TestOtherEvents(t *testing.T) {
	const values = `{"client_id":"demo","sub":"demo","scope":"a","grant_id":"g","jti":"t","exp":"1788258630"}`
	for name, payload := range map[string]string{
		"good, to compare with":       `{"httpMethod":"GET","requestContext":{"authorizer":` + values + `}}`,
		"nothing":                     ``,
		"no JSON":                     `who?`,
		"an array":                    `[]`,
		"null":                        `null`,
		"a queue's":                   `{"Records":[{"body":"x"}]}`,
		"no kind":                     `{"requestContext":{"authorizer":` + values + `}}`,
		"a kind to come":              `{"version":"3.0","httpMethod":"GET","requestContext":{"authorizer":` + values + `}}`,
		"an authorizer's":             `{"type":"REQUEST","methodArn":"arn:x","httpMethod":"GET","requestContext":{"authorizer":` + values + `}}`,
		"an HTTP API's authorizer's":  `{"version":"2.0","routeArn":"arn:x","requestContext":{"authorizer":{"lambda":` + values + `}}}`,
		"2.0 without lambda":          `{"version":"2.0","requestContext":{"authorizer":` + values + `}}`,
		"2.0, a JWT authorizer":       `{"version":"2.0","requestContext":{"authorizer":{"jwt":{"claims":` + values + `}}}}`,
		"2.0, IAM":                    `{"version":"2.0","requestContext":{"authorizer":{"iam":` + values + `}}}`,
		"2.0, null":                   `{"version":"2.0","requestContext":{"authorizer":{"lambda":null}}}`,
		"Cognito":                     `{"httpMethod":"GET","requestContext":{"authorizer":{"claims":` + values + `}}}`,
		"a load balancer's":           `{"httpMethod":"GET","requestContext":{"elb":{"targetGroupArn":"arn:x"}}}`,
		"null in place of the values": `{"httpMethod":"GET","requestContext":{"authorizer":null}}`,
		"a string in place of them":   `{"httpMethod":"GET","requestContext":{"authorizer":"demo"}}`,
		"a list of ids":               `{"httpMethod":"GET","requestContext":{"authorizer":` + strings.Replace(values, `"demo"`, `["demo"]`, 1) + `}}`,
		"exp with a fraction":         `{"httpMethod":"GET","requestContext":{"authorizer":` + strings.Replace(values, `"1788258630"`, `1788258630.5`, 1) + `}}`,
		"exp as another number":       `{"httpMethod":"GET","requestContext":{"authorizer":` + strings.Replace(values, `"1788258630"`, `"1e12"`, 1) + `}}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := guard(now).Event([]byte(payload))
			if name == "good, to compare with" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			mustRefuse(t, got, err, 500, resource.ServerError)
		})
	}
}

// The types that aws-lambda-go has for the events hold what Authorizer takes.
func TestAuthorizer(t *testing.T) {
	parse := func(kind string, v any) {
		if err := json.Unmarshal(sample(t, kind), v); err != nil {
			t.Fatal(err)
		}
	}
	var rest, http1 events.APIGatewayProxyRequest
	var http2 events.APIGatewayV2HTTPRequest
	var socket events.APIGatewayWebsocketProxyRequest
	parse("REST", &rest)
	parse("HTTP 1.0", &http1)
	parse("HTTP 2.0", &http2)
	parse("WebSocket", &socket)
	socketValues, _ := socket.RequestContext.Authorizer.(map[string]any)
	for kind, values := range map[string]map[string]any{
		"REST": rest.RequestContext.Authorizer, "HTTP 1.0": http1.RequestContext.Authorizer,
		"HTTP 2.0": http2.RequestContext.Authorizer.Lambda, "WebSocket": socketValues,
	} {
		got, err := guard(now).Authorizer(values, "orders:read")
		if diff := cmp.Diff(demo, got); err != nil || diff != "" {
			t.Errorf("%s: %v, the caller (-want +got):\n%s", kind, err, diff)
		}
	}
	got, err := guard(now).Authorizer(nil)
	mustRefuse(t, got, err, 500, resource.ServerError)
}

// The zero Guard goes by what lambdahttp hands on.
func TestHandler(t *testing.T) {
	good := map[string]string{
		"client_id": "demo", "sub": "u_1", "scope": "orders:read profile", "grant_id": "g", "jti": "t", "exp": "1788258630", "principalId": "u_1",
	}
	with := func(name, value string) map[string]string {
		m := maps.Clone(good)
		m[name] = value
		return m
	}
	read := []string{"orders:read"}
	tests := []struct {
		name   string
		values map[string]string
		at     time.Time
		scope  []string
		status int
		code   string
	}{
		{"good", good, now, read, 200, ""},
		{"any token", good, now, nil, 200, ""},
		{"both", good, now, []string{"profile", "orders:read"}, 200, ""},
		{"no scope, none asked for", with("scope", ""), now, nil, 200, ""},
		{"last moment", good, end.Add(resource.Leeway - time.Nanosecond), read, 200, ""},
		{"ended", good, end.Add(resource.Leeway), read, 401, resource.InvalidToken},
		{"ended, and without the scope", good, end.Add(resource.Leeway), []string{"x"}, 401, resource.InvalidToken},
		{"no scope", with("scope", ""), now, read, 403, resource.InsufficientScope},
		{"one of two", good, now, []string{"orders:read", "orders:write"}, 403, resource.InsufficientScope},
		{"the beginning of one", good, now, []string{"orders"}, 403, resource.InsufficientScope},
		{"in other letters", good, now, []string{"Orders:read"}, 403, resource.InsufficientScope},
		{"two in one string", good, now, []string{"orders:read profile"}, 403, resource.InsufficientScope},
		{"the empty scope token", good, now, []string{""}, 403, resource.InsufficientScope},
		{"nothing handed over", nil, now, nil, 500, resource.ServerError},
		{"an empty context", map[string]string{}, now, nil, 500, resource.ServerError},
		{"a denied one's context", map[string]string{"reason": "expired"}, now, nil, 500, resource.ServerError},
		{"no client", with("client_id", ""), now, nil, 500, resource.ServerError},
		{"no subject", with("sub", ""), now, nil, 500, resource.ServerError},
		{"no grant", with("grant_id", ""), now, nil, 500, resource.ServerError},
		{"no jti", with("jti", ""), now, nil, 500, resource.ServerError},
		{"no exp", with("exp", ""), now, nil, 500, resource.ServerError},
		{"a bad exp", with("exp", "soon"), now, nil, 500, resource.ServerError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var logs bytes.Buffer
			g := guard(test.at)
			g.Log = slog.New(slog.NewJSONHandler(&logs, nil))
			var caller *resource.Caller
			h := g.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { caller, _ = resource.From(r.Context()) }), test.scope...)

			r := httptest.NewRequest("GET", "/orders", nil)
			r.Header.Set("Authorization", "Bearer abc") // which is none of its business
			if test.values != nil {
				r = r.WithContext(gatewayctx.WithAuthorizer(r.Context(), test.values))
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != test.status || (caller != nil) != (test.status == 200) {
				t.Fatalf("the answer is %d %s, the caller %+v, want %d", w.Code, w.Body, caller, test.status)
			}
			if test.status == 200 {
				if caller.Subject != "u_1" || caller.ClientID != "demo" || logs.Len() > 0 || w.Header().Get("Cache-Control") != "" {
					t.Errorf("the caller is %+v, the log %s, the headers %v", caller, &logs, w.Header())
				}
				return
			}
			var body struct{ Error, Sub string }
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error != test.code {
				t.Errorf("the body is %s, want %s", w.Body, test.code)
			}
			h1 := w.Header()
			if h1.Get("Cache-Control") != "no-store" || h1.Get("Content-Type") != "application/json" {
				t.Errorf("the headers are %v", h1)
			}
			challenge := h1.Get("WWW-Authenticate")
			if (challenge != "") != (test.status < 500) || test.status < 500 && !strings.Contains(challenge, `error="`+test.code+`"`) {
				t.Errorf("WWW-Authenticate is %q with status %d", challenge, w.Code)
			}
			if strings.Count(logs.String(), "\n") != 1 || !strings.Contains(logs.String(), `"msg":"resource.refused"`) {
				t.Errorf("the log is %s", &logs)
			}
		})
	}
}

func TestAuthenticate(t *testing.T) {
	for name, c := range map[string]struct {
		caller *resource.Caller
		err    error
		status int
	}{
		"a caller":       {demo, nil, 200},
		"nobody":         {nil, nil, 500},
		"a refusal":      {nil, &resource.Refusal{Status: 401}, 401},
		"an outage":      {nil, &resource.Refusal{Status: 503, Code: resource.Unavailable}, 503},
		"any other":      {nil, errors.New("the cause"), 500},
		"one with both":  {demo, errors.New("the cause"), 500},
		"one that ended": {&resource.Caller{ClientID: "demo", ExpiresAt: now.Add(-time.Hour)}, nil, 401},
	} {
		g := guard(now)
		g.Authenticate = func(*http.Request) (*resource.Caller, error) { return c.caller, c.err }
		w := httptest.NewRecorder()
		g.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != c.status || strings.Contains(w.Body.String(), "the cause") {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.status)
		}
	}
}

func TestNobodyOutsideAGuard(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(gatewayctx.WithAuthorizer(r.Context(), map[string]string{"client_id": "demo"}))
	if c, ok := resource.From(r.Context()); ok || c != nil {
		t.Errorf("a caller of a request that no guard has seen: %+v", c)
	}
}

func TestChallenge(t *testing.T) {
	for _, c := range []struct {
		refusal resource.Refusal
		want    http.Header
		body    string
	}{
		{resource.Refusal{Status: 401, Description: "No token."}, http.Header{"Www-Authenticate": {`Bearer realm="api"`}}, `{"error_description":"No token."}`},
		{resource.Refusal{Status: 401, Code: resource.InvalidToken, Description: "It ended."},
			http.Header{"Www-Authenticate": {`Bearer realm="api", error="invalid_token", error_description="It ended."`}},
			`{"error":"invalid_token","error_description":"It ended."}`},
		{resource.Refusal{Status: 403, Code: resource.InsufficientScope, Scope: "a b"},
			http.Header{"Www-Authenticate": {`Bearer realm="api", error="insufficient_scope", scope="a b"`}}, `{"error":"insufficient_scope","scope":"a b"}`},
		{resource.Refusal{Status: 403, Code: resource.InsufficientScope, Scope: "a\"\r\nX: y\\"},
			http.Header{"Www-Authenticate": {`Bearer realm="api", error="insufficient_scope", scope="a'''X: y'"`}},
			`{"error":"insufficient_scope","scope":"a\"\r\nX: y\\"}`},
		{resource.Refusal{Status: 500, Code: resource.ServerError}, http.Header{}, `{"error":"server_error"}`},
		{resource.Refusal{Status: 503, Code: resource.Unavailable, Cause: errors.New("why")}, http.Header{"Retry-After": {"2"}}, `{"error":"temporarily_unavailable"}`},
	} {
		got := c.refusal.Header()
		c.want.Set("Content-Type", "application/json")
		c.want.Set("Cache-Control", "no-store")
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.refusal, diff)
		}
		if body := string(c.refusal.Body()); body != c.body+"\n" {
			t.Errorf("the body is %s, want %s", body, c.body)
		}
	}
}

func TestLeewayIsTheSameEverywhere(t *testing.T) {
	if resource.Leeway != token.Leeway {
		t.Errorf("resource.Leeway is %s, token.Leeway %s", resource.Leeway, token.Leeway)
	}
}

// A backend that is told by the authorizer links nothing that verifies.
func TestDependencies(t *testing.T) {
	const backend = "a backend trusts the authorizer's context, and needs nothing of the issuer's"
	deptest.Check(t, deptest.Rules{
		Forbidden: map[string]string{
			"github.com/aws/...":                               "it serves other servers than Lambda's too",
			"github.com/latchkey-auth/latchkey/internal/...":   backend,
			"github.com/latchkey-auth/latchkey/pkg/oauth":      backend,
			"github.com/latchkey-auth/latchkey/pkg/token":      backend,
			"github.com/latchkey-auth/latchkey/pkg/keyring":    backend,
			"github.com/latchkey-auth/latchkey/pkg/revocation": backend,
			"github.com/latchkey-auth/latchkey/pkg/remotekeys": backend,
			"github.com/latchkey-auth/latchkey/pkg/remotefeed": backend,
			"github.com/golang-jwt/jwt/v5":                     backend,
		},
		Expected: []string{"net/http", "github.com/latchkey-auth/latchkey/pkg/gatewayctx"},
	})
}

func FuzzEvent(f *testing.F) {
	for kind := range samples {
		f.Add(sample(f, kind))
	}
	f.Add([]byte(`{"version":"2.0","requestContext":{"authorizer":{"lambda":{"exp":1e400,"sub":[]}}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, err := guard(now).Event(payload)
		if (c == nil) != (err != nil) {
			t.Fatalf("%+v and %v", c, err)
		}
		if c != nil && (c.ClientID == "" || c.Subject == "" || c.GrantID == "" || c.TokenID == "" || !now.Before(c.ExpiresAt.Add(resource.Leeway))) {
			t.Fatalf("half a caller: %+v", c)
		}
		// lambdahttp, where it takes the event at all, comes to the same.
		var handed *resource.Caller
		if _, e := lambdahttp.Handler(guard(now).Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			handed, _ = resource.From(r.Context())
		}))).Invoke(t.Context(), payload); e == nil {
			if diff := cmp.Diff(handed, c); diff != "" {
				t.Fatalf("by the request and by the event:\n%s", diff)
			}
		}
	})
}
