package whoami_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
	"github.com/latchkey-auth/latchkey/pkg/token"
	"github.com/latchkey-auth/latchkey/pkg/whoami"
)

// now is the time of the events in events/, whose token ends 15 minutes later.
var now = time.Date(2026, 9, 1, 10, 15, 30, 0, time.UTC)

const want = `{"client_id":"demo","sub":"demo","scope":"orders:read orders:write",` +
	`"grant_id":"g_example0000000000000000","jti":"t_example0000000000000000","exp":1788258630}` + "\n"

func handler(at time.Time, logs *bytes.Buffer) *whoami.Handler {
	return &whoami.Handler{AllowOrigin: "https://app.example.com", Now: func() time.Time { return at }, Log: slog.New(slog.NewJSONHandler(logs, nil))}
}

func TestEvents(t *testing.T) {
	for _, name := range []string{"whoami-rest-v1.json", "whoami-http-v2.json"} {
		t.Run(name, func(t *testing.T) {
			payload, err := os.ReadFile("../../events/" + name)
			if err != nil {
				t.Fatal(err)
			}
			var logs bytes.Buffer
			out, err := lambdahttp.Handler(handler(now, &logs)).Invoke(t.Context(), payload)
			if err != nil {
				t.Fatal(err)
			}
			var answer struct {
				StatusCode int
				Body       string
			}
			if err := json.Unmarshal(out, &answer); err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != 200 || answer.Body != want {
				t.Errorf("the answer is %d %s, want 200 %s", answer.StatusCode, answer.Body, want)
			}
			if line := logs.String(); !strings.Contains(line, `"msg":"whoami.answered"`) || !strings.Contains(line, `"client_id":"demo"`) ||
				!strings.Contains(line, `"latency_ms"`) || strings.Contains(line, "example-access-token") {
				t.Errorf("the log is %s", line)
			}

			// Without the authorizer's part.
			payload = bytes.Replace(payload, []byte(`"authorizer"`), []byte(`"other"`), 1)
			if out, err = lambdahttp.Handler(handler(now, &logs)).Invoke(t.Context(), payload); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(out, &answer); err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != http.StatusForbidden {
				t.Errorf("without an authorizer the answer is %d %s, want 403", answer.StatusCode, answer.Body)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	good := map[string]string{
		"client_id": "demo", "sub": "demo", "scope": "a", "grant_id": "g", "jti": "t", "exp": "1788258630", "principalId": "demo",
	}
	with := func(name, value string) map[string]string {
		m := maps.Clone(good)
		if m[name] = value; value == "" {
			delete(m, name)
		}
		return m
	}
	end := time.Unix(1788258630, 0)
	tests := []struct {
		name   string
		values map[string]string
		at     time.Time
		method string
		status int
		error  string
	}{
		{"good", good, now, "GET", 200, ""},
		{"HEAD", good, now, "HEAD", 200, ""},
		{"no scope", with("scope", ""), now, "GET", 200, ""},
		{"last moment", good, end.Add(whoami.Leeway - time.Second), "GET", 200, ""},
		{"ended", good, end.Add(whoami.Leeway), "GET", 401, "invalid_token"},
		{"nothing handed", nil, now, "GET", 403, "access_denied"},
		{"an empty context", map[string]string{}, now, "GET", 403, "access_denied"},
		{"a denied one's context", map[string]string{"reason": "expired"}, now, "GET", 403, "access_denied"},
		{"no client", with("client_id", ""), now, "GET", 403, "access_denied"},
		{"no subject", with("sub", ""), now, "GET", 403, "access_denied"},
		{"no grant", with("grant_id", ""), now, "GET", 403, "access_denied"},
		{"no jti", with("jti", ""), now, "GET", 403, "access_denied"},
		{"no exp", with("exp", ""), now, "GET", 403, "access_denied"},
		{"exp is no integer", with("exp", "1788258630.5"), now, "GET", 403, "access_denied"},
		{"exp is another number", with("exp", "1e12"), now, "GET", 403, "access_denied"},
		{"POST", good, now, "POST", 405, "invalid_request"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var logs bytes.Buffer
			r := httptest.NewRequest(test.method, "/whoami", nil)
			r.Header.Set("Authorization", "Bearer abc") // which is none of its business
			if test.values != nil {
				r = r.WithContext(gatewayctx.WithAuthorizer(r.Context(), test.values))
			}
			w := httptest.NewRecorder()
			handler(test.at, &logs).ServeHTTP(w, r)
			var body map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			if got, _ := body["error"].(string); w.Code != test.status || got != test.error {
				t.Errorf("the answer is %d %s, want %d %s", w.Code, w.Body, test.status, test.error)
			}
			if test.error != "" && (body["sub"] != nil || !strings.Contains(logs.String(), "whoami.refused")) {
				t.Errorf("a refusal has the body %s and the log %s", w.Body, logs.String())
			}
			h := w.Header()
			if h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/json" || h.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
				t.Errorf("the headers are %v", h)
			}
			if challenged := h.Get("WWW-Authenticate") != ""; challenged != (test.status == 401) {
				t.Errorf("WWW-Authenticate is %q with status %d", h.Get("WWW-Authenticate"), w.Code)
			}
			if strings.Count(logs.String(), "\n") != 1 {
				t.Errorf("the log is not one line: %s", logs.String())
			}
		})
	}
}

func TestLeewayIsTheSameEverywhere(t *testing.T) {
	if whoami.Leeway != token.Leeway {
		t.Errorf("whoami.Leeway is %s, token.Leeway %s", whoami.Leeway, token.Leeway)
	}
}
