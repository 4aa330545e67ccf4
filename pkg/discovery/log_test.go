package discovery_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/discovery"
)

// TestLogged: an answer has one line, unless it is a failure, which its maker has told of.
func TestLogged(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(0, 0)
	h := discovery.Logged(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now = now.Add(1500 * time.Microsecond)
		switch {
		case r.URL.Path == "/silent":
		case r.URL.Path == "/failed":
			w.WriteHeader(503)
		case strings.HasPrefix(r.URL.Path, "/absent"):
			http.NotFound(w, r)
		default:
			w.Write([]byte("x"))
		}
	}), slog.New(slog.NewJSONHandler(&log, nil)), func() time.Time { return now })
	for path, want := range map[string]map[string]any{
		"/jwks":                              {"msg": "discovery.answered", "path": "/jwks", "status": 200.0, "latency_ms": 1.5, "error": nil},
		"/silent":                            {"msg": "discovery.answered", "status": 200.0},
		"/absent" + strings.Repeat("x", 500): {"msg": "discovery.refused", "path": "/absent" + strings.Repeat("x", 121), "status": 404.0, "error": "http_404"},
		"/failed":                            nil,
	} {
		log.Reset()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
		var line map[string]any
		if want == nil {
			if log.Len() > 0 {
				t.Errorf("%s: %s", path, &log)
			}
			continue
		}
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatalf("%s: %s: %v", path, &log, err)
		}
		for name, value := range want {
			if line[name] != value {
				t.Errorf("%s: %s is %v, want %v", path, name, line[name], value)
			}
		}
	}
}
