package whoami_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/gatewayctx"
	"github.com/latchkey-auth/latchkey/pkg/lambdahttp"
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
				strings.Contains(line, "example-access-token") {
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
			if answer.StatusCode != http.StatusInternalServerError {
				t.Errorf("without an authorizer the answer is %d %s, want 500", answer.StatusCode, answer.Body)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	values := map[string]string{"client_id": "demo", "sub": "demo", "scope": "a", "grant_id": "g", "jti": "t", "exp": "1788258630"}
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "OPTIONS": 405} {
		var logs bytes.Buffer
		r := httptest.NewRequest(method, "/whoami", nil)
		r = r.WithContext(gatewayctx.WithAuthorizer(r.Context(), values))
		w := httptest.NewRecorder()
		handler(now, &logs).ServeHTTP(w, r)
		if h := w.Header(); w.Code != want || h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/json" || h.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
			t.Errorf("%s: the answer is %d %v, want %d", method, w.Code, h, want)
		}
		if allow := w.Header().Get("Allow"); (allow != "") != (want == 405) {
			t.Errorf("%s: Allow is %q", method, allow)
		}
		if strings.Count(logs.String(), "\n") != 1 {
			t.Errorf("%s: the log is not one line: %s", method, &logs)
		}
	}
}

// A client is told to get a new token when the one that the gateway's cache still lets in has ended.
func TestEnded(t *testing.T) {
	payload, err := os.ReadFile("../../events/whoami-rest-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	out, err := lambdahttp.Handler(handler(now.Add(time.Hour), &logs)).Invoke(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), `"statusCode":401`) || !strings.Contains(string(out), "invalid_token") {
		t.Errorf("the answer is %s", out)
	}
	if !strings.Contains(logs.String(), `"msg":"resource.refused"`) || !strings.Contains(logs.String(), `"client_id":"demo"`) {
		t.Errorf("the log is %s", &logs)
	}
}
