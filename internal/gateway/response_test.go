package gateway_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/gateway"
)

func TestGatewayResponses(t *testing.T) {
	own := gateway.Response{Status: 418, Header: map[string]string{"Retry-After": "2", "WWW-Authenticate": `Bearer realm="x"`}, Body: `{"error":"e"}`}
	for _, test := range []struct {
		name, header string
		kind         gateway.ResponseType
		answer       func([]byte) ([]byte, error)
	}{
		{"no token", "", gateway.Unauthorized, nil},
		{"a bad token", "Bearer x", gateway.Unauthorized, func([]byte) ([]byte, error) { return nil, errors.New("Unauthorized") }},
		{"denied", "Bearer x", gateway.AccessDenied, func([]byte) ([]byte, error) {
			return []byte(`{"principalId":"p","policyDocument":{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}}`), nil
		}},
		{"an outage", "Bearer x", gateway.AuthorizerConfigurationError, func([]byte) ([]byte, error) { return nil, errors.New("down") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ask := func(responses map[gateway.ResponseType]gateway.Response) *httptest.ResponseRecorder {
				g := serve(t, gateway.API{
					Kind: gateway.REST, Responses: responses, CORS: &gateway.CORS{AllowOrigin: "https://app.example.com"},
					Routes: []gateway.Route{{Method: "GET", Path: "/a", Function: &recorder{}, Authorizer: &gateway.Authorizer{
						Type: gateway.Request, IdentitySources: []string{restHeader}, Function: function(test.answer),
					}}},
				})
				r := httptest.NewRequest("GET", "/a", nil)
				if test.header != "" {
					r.Header.Set("Authorization", test.header)
				}
				w := httptest.NewRecorder()
				g.ServeHTTP(w, r)
				return w
			}
			w := ask(map[gateway.ResponseType]gateway.Response{test.kind: own})
			if w.Code != own.Status || w.Body.String() != own.Body+"\n" {
				t.Errorf("status %d, body %s", w.Code, w.Body)
			}
			for name, want := range map[string]string{
				"Retry-After": "2", "WWW-Authenticate": `Bearer realm="x"`, "Cache-Control": "no-store",
				"Access-Control-Allow-Origin": "https://app.example.com", "X-Amzn-Errortype": string(test.kind),
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			// Those of the other types stay API Gateway's.
			others := map[gateway.ResponseType]gateway.Response{gateway.Unauthorized: own, gateway.AccessDenied: own, gateway.AuthorizerConfigurationError: own}
			delete(others, test.kind)
			if w := ask(others); w.Code == own.Status || !strings.HasPrefix(w.Body.String(), `{"message":`) {
				t.Errorf("not replaced, it has status %d, body %s", w.Code, w.Body)
			}
		})
	}
	if _, err := gateway.New(gateway.API{Kind: gateway.HTTP, Responses: map[gateway.ResponseType]gateway.Response{gateway.AccessDenied: own}}); err == nil {
		t.Error("an HTTP API takes gateway responses")
	}
}
