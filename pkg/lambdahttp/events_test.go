package lambdahttp_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
)

// seen is what a handler can tell of a request.
type seen struct {
	Method, Host, Path, URI, RemoteAddr, RequestID, Body string
	User, Password, Bearer                               string
	Form                                                 map[string][]string
	Authorizer                                           map[string]string
}

func look(t *testing.T, r *http.Request) seen {
	t.Helper()
	s := seen{
		Method: r.Method, Host: r.Host, Path: r.URL.Path, URI: r.RequestURI, RemoteAddr: r.RemoteAddr,
		RequestID: gatewayctx.RequestID(r.Context()),
	}
	s.User, s.Password, _ = r.BasicAuth()
	s.Bearer, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.Bearer == r.Header.Get("Authorization") {
		s.Bearer = ""
	}
	s.Authorizer, _ = gatewayctx.Authorizer(r.Context())
	if err := r.ParseForm(); err != nil {
		t.Errorf("ParseForm: %v", err)
	}
	s.Form = r.PostForm
	rest, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("reading the body: %v", err)
	}
	s.Body = string(rest)
	return s
}

// TestGoldenEvents gives every sample event to a handler, so that none of the samples can rot.
func TestGoldenEvents(t *testing.T) {
	const (
		httpHost = "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"
		restHost = "f6g7h8i9j0.execute-api.eu-central-1.amazonaws.com"
		urlHost  = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws"
		httpID   = "JKJaXmPLvHcESHA="
		restID   = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
		urlID    = "6f1c2a9e-6c1a-4a51-9b0e-0a5d3f1f7c11"
		remote   = "203.0.113.7:0"
	)
	token := func(host, id string) seen {
		return seen{
			Method: "POST", Host: host, Path: "/oauth2/token", URI: "/oauth2/token", RemoteAddr: remote, RequestID: id,
			User: "demo", Password: "example-secret",
			Form: map[string][]string{"grant_type": {"client_credentials"}, "scope": {"orders:read orders:write"}},
		}
	}
	get := func(host, id, path string) seen {
		return seen{
			Method: "GET", Host: host, Path: path, URI: path, RemoteAddr: remote, RequestID: id,
			Form: map[string][]string{},
		}
	}
	whoami := func(host, id string, more map[string]string) seen {
		s := get(host, id, "/whoami")
		s.Bearer = "example-access-token"
		s.Authorizer = map[string]string{
			"client_id": "demo", "sub": "demo", "scope": "orders:read orders:write", "exp": "1788258630",
			"grant_id": "g_example0000000000000000", "jti": "t_example0000000000000000",
		}
		for name, value := range more {
			s.Authorizer[name] = value
		}
		return s
	}
	want := map[string]seen{
		"token-http-v2.json":      token(httpHost, httpID),
		"token-rest-v1.json":      token(restHost, restID),
		"token-function-url.json": token(urlHost, urlID),
		"refresh-http-v2.json": {
			Method: "POST", Host: httpHost, Path: "/oauth2/refresh", URI: "/oauth2/refresh", RemoteAddr: remote,
			RequestID: httpID,
			Form: map[string][]string{
				"grant_type": {"refresh_token"}, "client_id": {"demo"}, "refresh_token": {"example-refresh-token"},
				"scope": {"orders:read"},
			},
		},
		"revoke-http-v2.json": {
			Method: "POST", Host: httpHost, Path: "/oauth2/revoke", URI: "/oauth2/revoke", RemoteAddr: remote, RequestID: httpID,
			User: "demo", Password: "example-secret",
			Form: map[string][]string{"token": {"example-refresh-token"}, "token_type_hint": {"refresh_token"}},
		},
		"introspect-http-v2.json": {
			Method: "POST", Host: httpHost, Path: "/oauth2/introspect", URI: "/oauth2/introspect", RemoteAddr: remote,
			RequestID: httpID, User: "orders-api", Password: "example-secret",
			Form: map[string][]string{"token": {"example-access-token"}},
		},
		"discovery-metadata-http-v2.json": get(httpHost, httpID, "/.well-known/oauth-authorization-server"),
		"discovery-jwks-http-v2.json":     get(httpHost, httpID, "/.well-known/jwks.json"),
		"discovery-openapi-http-v2.json":  get(httpHost, httpID, "/openapi.json"),
		"discovery-revocations-http-v2.json": {
			Method: "GET", Host: httpHost, Path: "/.well-known/latchkey-revocations",
			URI: "/.well-known/latchkey-revocations?since=1788256800", RemoteAddr: remote, RequestID: httpID, Form: map[string][]string{},
		},
		"whoami-rest-v1.json": whoami(restHost, restID,
			map[string]string{"principalId": "demo", "integrationLatency": "41"}),
		"whoami-http-v2.json": whoami(httpHost, httpID, nil),
	}

	files, err := filepath.Glob("../../events/*.json")
	if err != nil {
		t.Fatal(err)
	}
	left := make(map[string]bool)
	for name := range want {
		left[name] = true
	}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "authorizer-") || strings.HasPrefix(name, "rotate-") {
			continue // not requests
		}
		delete(left, name)
		t.Run(name, func(t *testing.T) {
			w, ok := want[name]
			if !ok {
				t.Fatal("nothing is said of this sample here")
			}
			payload, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got seen
			a := invoke(t, func(rw http.ResponseWriter, r *http.Request) {
				got = look(t, r)
				rw.Header().Set("Content-Type", "application/json")
				rw.Header().Add("Vary", "Origin")
				rw.Header().Add("Vary", "Accept")
				io.WriteString(rw, `{"ok":true}`)
			}, string(payload))
			if diff := cmp.Diff(w, got); diff != "" {
				t.Errorf("the handler's request (-want +got):\n%s", diff)
			}
			wantAnswer := answer{StatusCode: 200, Body: `{"ok":true}`}
			if strings.HasSuffix(name, "-rest-v1.json") {
				wantAnswer.MultiValueHeaders = http.Header{
					"Content-Type": {"application/json"}, "Vary": {"Origin", "Accept"},
				}
			} else {
				wantAnswer.Headers = map[string]string{"Content-Type": "application/json", "Vary": "Origin, Accept"}
			}
			if diff := cmp.Diff(wantAnswer, a); diff != "" {
				t.Errorf("the answer (-want +got):\n%s", diff)
			}
		})
	}
	for name := range left {
		t.Errorf("events/%s is gone", name)
	}
}
