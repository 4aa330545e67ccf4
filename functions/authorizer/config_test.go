package main

import (
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/feedview"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/routes"
)

func lookup(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

const jwks = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

func TestReadConfig(t *testing.T) {
	got, err := readConfig(lookup(map[string]string{
		"ISSUER": "https://id.example.com", "AUDIENCE": "https://a.example.com, urn:b", "JWKS_URL": "", "JWKS": "",
	}))
	want := config{
		issuer: "https://id.example.com", audiences: []string{"https://a.example.com", "urn:b"},
		jwksURL: "https://id.example.com/.well-known/jwks.json", accessCap: time.Hour,
		revocations: feedview.Config{
			URL: "https://id.example.com" + revocation.PathFeed, PollInterval: revocation.PollInterval, MaxStaleness: revocation.MaxStaleness,
			MaxEntries: revocation.MaxEntries,
		},
		remembered: 10_000,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("readConfig = %+v, %v, want %+v", got, err, want)
	}
	vars := map[string]string{
		"ISSUER": "https://id.example.com", "AUDIENCE": "urn:a", "JWKS_URL": "https://keys.example.com/jwks",
		"JWKS": jwks, "SIMPLE_RESPONSES": "true", "REVOCATIONS_URL": "https://keys.example.com/feed", "MAX_STALENESS": "5m",
		"STALE_REVOCATIONS": "allow", "REVOCATIONS_POLL_INTERVAL": "30s", "WEBSOCKET_TOKEN": "protocol", "API_ORIGINS": "execute-api, a1=https://api.example.com", "MAX_ACCESS_TOKEN_LIFETIME": "15m",
	}
	if got, err = readConfig(lookup(vars)); err != nil || got.jwksURL != "https://keys.example.com/jwks" || string(got.jwks) != jwks || !got.simpleResponses || !got.webSocketToken.Protocol || len(got.origins) != 2 {
		t.Errorf("readConfig = %+v, %v", got, err)
	}
	if got.revocations != (feedview.Config{URL: "https://keys.example.com/feed", PollInterval: 30 * time.Second, MaxStaleness: 5 * time.Minute, AllowStale: true, MaxEntries: revocation.MaxEntries}) || got.accessCap != 15*time.Minute {
		t.Errorf("readConfig = %+v", got)
	}
	if handler, err := newHandler(lookup(vars), slog.Default(), nil); err != nil || handler == nil {
		t.Errorf("newHandler = %v, %v", handler, err)
	}
}

// All verifiers together remember what the memory has room for, be each token of the longest.
func TestRemembered(t *testing.T) {
	for _, test := range []struct {
		memory string
		want   int
	}{{"128", 3584}, {"256", 7168}, {"512", 10_000}, {"10240", 10_000}, {"9223372036854775807", 10_000}, {"", 10_000}, {"0", 10_000}} {
		if got := remembered(test.memory); got != test.want {
			t.Errorf("with %q MB: %d, want %d", test.memory, got, test.want)
		}
	}
	c := config{}
	if got := c.verifiers(); got != 1 {
		t.Errorf("without rules: %d verifiers", got)
	}
	c.routes = &routes.Set{APIs: []routes.API{{Audiences: []string{"urn:a"}}, {}, {Audiences: []string{"urn:b"}}}}
	if got := c.verifiers(); got != 3 {
		t.Errorf("two APIs with audiences of their own: %d verifiers", got)
	}
}

// Rules that lie beside the function hold, whether or not the variable is set.
func TestRoutesFile(t *testing.T) {
	const rules = `{"version":1,"apis":[{"api":"a","stage":"s","form":"route","audiences":["urn:b"],"routes":[{"method":"GET","path":"/"}]}]}`
	t.Chdir(t.TempDir())
	vars := map[string]string{"ISSUER": "https://id.example.com", "AUDIENCE": "urn:a", "CONTEXT_CLAIMS": "iat, aud"}
	if c, err := readConfig(lookup(vars)); err != nil || c.routes != nil || !slices.Equal(c.claims, []string{"iat", "aud"}) {
		t.Fatalf("without a file: %+v, %v", c, err)
	}
	for _, test := range []struct{ file, variable string }{{"routes.json", ""}, {"other.json", "other.json"}} {
		if err := os.WriteFile(test.file, []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
		vars["ROUTES_FILE"] = test.variable
		c, err := readConfig(lookup(vars))
		if err != nil || c.routes == nil || c.routes.API("a", "s") == nil {
			t.Errorf("%s: %+v, %v", test.file, c, err)
		}
		if handler, err := newHandler(lookup(vars), slog.Default(), nil); err != nil || handler == nil {
			t.Errorf("%s: newHandler = %v, %v", test.file, handler, err)
		}
	}
	if err := os.WriteFile("routes.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	vars["ROUTES_FILE"] = ""
	if _, err := readConfig(lookup(vars)); err == nil || !strings.HasPrefix(err.Error(), "ROUTES_FILE is ") {
		t.Errorf("a broken file beside the function: %v", err)
	}
}

func TestErrorsNameTheVariable(t *testing.T) {
	for name, test := range map[string]struct{ variable, value string }{
		"no issuer":           {"ISSUER", ""},
		"issuer with a path":  {"ISSUER", "https://id.example.com/"},
		"http issuer":         {"ISSUER", "http://id.example.com"},
		"no audience":         {"AUDIENCE", ""},
		"an empty audience":   {"AUDIENCE", "a,,b"},
		"http JWKS URL":       {"JWKS_URL", "http://id.example.com/jwks"},
		"broken JWKS":         {"JWKS", "{"},
		"JWKS of secret keys": {"JWKS", `{"keys":[{"kty":"oct","kid":"1","k":"c2VjcmV0LXNlY3JldA"}]}`},
		"SIMPLE_RESPONSES":    {"SIMPLE_RESPONSES", "yes"},
		"WEBSOCKET_TOKEN":     {"WEBSOCKET_TOKEN", "cookie"},
		"an origin's path":    {"API_ORIGINS", "execute-api, https://api.example.com/v1"},
		"an http origin":      {"API_ORIGINS", "http://api.example.com"},
		"no routes file":      {"ROUTES_FILE", "testdata/absent.json"},
		"broken routes file":  {"ROUTES_FILE", "config.go"},
		"an unknown claim":    {"CONTEXT_CLAIMS", "iat,email"},
		"ALLOW_HTTP":          {"ALLOW_HTTP", "1"},
		"http feed":           {"REVOCATIONS_URL", "http://id.example.com/feed"},
		"STALE_REVOCATIONS":   {"STALE_REVOCATIONS", "yes"},
		"MAX_STALENESS":       {"MAX_STALENESS", "1s"},
		"poll interval":       {"REVOCATIONS_POLL_INTERVAL", "0s"},
		"the cap":             {"MAX_ACCESS_TOKEN_LIFETIME", "48h"},
	} {
		t.Run(name, func(t *testing.T) {
			vars := map[string]string{"ISSUER": "https://id.example.com", "AUDIENCE": "a"}
			vars[test.variable] = test.value
			_, err := newHandler(lookup(vars), slog.Default(), nil)
			if err == nil || !strings.HasPrefix(err.Error(), test.variable+" is ") {
				t.Fatalf("newHandler: %v, want an error that names %s", err, test.variable)
			}
			if strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}
