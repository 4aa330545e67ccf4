package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/resource"
)

// TestBackends holds the docs' handlers in other languages to what package resource makes of the same events.
func TestBackends(t *testing.T) {
	t.Parallel()
	var names []string
	var payloads []json.RawMessage
	add := func(name, payload string) {
		names, payloads = append(names, name), append(payloads, json.RawMessage(payload))
	}
	end := fmt.Sprint(time.Now().Add(time.Hour).Unix())
	for kind, file := range map[string]string{
		"REST": "events/whoami-rest-v1.json", "HTTP 2.0": "events/whoami-http-v2.json",
		"HTTP 1.0": "pkg/resource/testdata/http-v1.json", "WebSocket": "pkg/resource/testdata/websocket-message.json",
	} {
		data, err := os.ReadFile(filepath.Join(testenv.Root(t), file))
		if err != nil {
			t.Fatal(err)
		}
		ended := string(data)
		good := strings.Replace(ended, "1788258630", end, 1)
		change := func(name, old, new string) {
			changed := strings.Replace(good, old, new, 1)
			if changed == good {
				t.Fatalf("%s has no %s", file, old)
			}
			add(kind+": "+name, changed)
		}
		add(kind, good)
		add(kind+": ended", ended)
		for _, name := range []string{"authorizer", "client_id", "sub", "grant_id", "jti", "exp"} {
			change("no "+name, `"`+name+`"`, `"other"`)
		}
		change("no scope", `"scope"`, `"other"`)
		change("null in place of the scope", `"orders:read orders:write"`, `null`)
		change("another scope", "orders:read", "orders:readx")
		change("the beginning of the scope", "orders:read", "orders")
		change("an empty sub", `"sub": "demo"`, `"sub": ""`)
		change("a list in place of sub", `"sub": "demo"`, `"sub": ["demo"]`)
		change("exp is a word", `"exp": `, `"exp": "soon", "other": `)
		change("exp has a fraction", `"exp": `, `"exp": 4000000000.5, "other": `)
		if kind == "HTTP 2.0" {
			change("a JWT authorizer", `"lambda"`, `"jwt"`)
			change("null in place of the values", `"lambda": {`, `"lambda": null, "other": {`)
		} else {
			change("null in place of the values", `"authorizer": {`, `"authorizer": null, "other": {`)
			change("Cognito", `"authorizer": {`, `"authorizer": {"claims": {"sub": "x"}}, "other": {`)
		}
	}
	add("no event of an API", `{"Records": []}`)
	add("an empty event", `{}`)

	for _, s := range []struct{ heading, main, snippet string }{
		{"Node.js and TypeScript", "handler.mjs", "snippet.mjs"},
		{"Python", "handler.py", "snippet.py"},
	} {
		t.Run(s.heading, func(t *testing.T) {
			t.Parallel()
			var answers []struct {
				StatusCode int
				Headers    map[string]string
				Body       string
			}
			script{main: s.main, files: map[string]string{s.main: beside(t, s.main), s.snippet: snippet(t, s.heading)}}.run(t, payloads, &answers)
			if len(answers) != len(payloads) {
				t.Fatalf("%d answers to %d events", len(answers), len(payloads))
			}
			counts := map[int]int{}
			for n, got := range answers {
				caller, err := new(resource.Guard).Event(payloads[n], "orders:read")
				want := &resource.Refusal{Status: 200}
				if err != nil && !errors.As(err, &want) {
					t.Fatal(err)
				}
				counts[want.Status]++
				var body struct{ Of, Error string }
				if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
					t.Fatalf("%s: %v", names[n], err)
				}
				if got.StatusCode != want.Status || body.Error != want.Code || (caller != nil) != (body.Of == "demo") {
					t.Errorf("%s: %d %s, want %d %s", names[n], got.StatusCode, got.Body, want.Status, want.Code)
				}
				challenge := got.Headers["www-authenticate"]
				if challenged := want.Status == 401 || want.Status == 403; (challenge != "") != challenged ||
					challenged && !strings.Contains(challenge, `error="`+want.Code+`"`) ||
					(want.Status == 403) != strings.Contains(challenge, `scope="orders:read"`) {
					t.Errorf("%s: %d and the challenge %q", names[n], got.StatusCode, challenge)
				}
			}
			for _, status := range []int{200, 401, 403, 500} {
				if counts[status] < 4 {
					t.Errorf("too few of some kind: %v", counts)
				}
			}
		})
	}
}
