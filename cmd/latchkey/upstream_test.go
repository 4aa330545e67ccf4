package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/routefile"
)

// letIn is an authorizer that lets every request through.
type letIn string

func (a letIn) Invoke(context.Context, []byte) ([]byte, error) { return []byte(a), nil }

const (
	letInREST = letIn(`{"principalId":"demo","context":{"sub":"ada"},
		"policyDocument":{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}}`)
	letInHTTP = letIn(`{"isAuthorized":true,"context":{"sub":"ada"}}`)
)

// front serves an upstream by these rules, behind an authorizer that lets every request through.
func front(t *testing.T, auth letIn, rules string, up http.HandlerFunc) http.Handler {
	t.Helper()
	server := httptest.NewServer(up)
	t.Cleanup(server.Close)
	address, err := parseUpstream(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	file, err := routefile.Parse("rules.yaml", []byte("version: 1\napis: [{api: '*', stage: '*', routes: "+rules+"}]"))
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{url: address, set: file.Set, rules: &file.Set.APIs[0], transport: http.DefaultTransport, log: slog.New(slog.DiscardHandler), now: time.Now}
	h, err := u.handler(auth, false)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestUpstreamDotSegments: what an upstream could take for another route's path does not get there.
func TestUpstreamDotSegments(t *testing.T) {
	t.Parallel()
	for auth, rules := range map[letIn]string{
		letInREST: "{'GET /public/{proxy+}': [], 'GET /admin': admin}",
		letInHTTP: "{'GET /public/{proxy+}': [], 'GET /admin': admin, $default: []}",
	} {
		h := front(t, auth, rules, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
		for path, want := range map[string]int{
			"/public/../admin":        400,
			"/public/%2e%2e/admin":    400,
			"/public/.%2E/admin":      400,
			"/public/..%2fadmin":      400,
			"/public/..%2Fadmin":      400,
			"/public/x%2f..%2f..":     400,
			"/public/..%5cadmin":      400,
			"/public/x%5C..%5Cadmin":  400,
			"/public/..\\admin":       400,
			"/public/..;/admin":       400,
			"/public/..%3bx=1/admin":  400,
			"/public/./x":             400,
			"/public/x/..":            400,
			"/public/x.y/...":         http.StatusTeapot,
			"/public/..x/.well-known": http.StatusTeapot,
			"/public/x;y/a%2fb":       http.StatusTeapot,
		} {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Authorization", "Bearer x")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != want || w.Code == 400 && !strings.Contains(w.Body.String(), `"message":"Bad Request`) {
				t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
			}
		}
	}
}
