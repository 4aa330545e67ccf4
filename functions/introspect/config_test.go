package main

import (
	"log/slog"
	"strings"
	"testing"
)

func lookup(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

func variables() map[string]string {
	return map[string]string{
		"ISSUER": "https://id.example.com", "CLIENTS_TABLE": "clients", "KEYS_TABLE": "keys",
		"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
	}
}

func TestConfig(t *testing.T) {
	if handler, err := newHandler(lookup(variables()), slog.Default(), nil); err != nil || handler == nil {
		t.Errorf("newHandler = %v, %v", handler, err)
	}
	for _, test := range []struct{ variable, value string }{
		{"ISSUER", ""}, {"ISSUER", "http://id.example.com"}, {"CLIENTS_TABLE", ""}, {"KEYS_TABLE", ""},
		{"REVOCATIONS_URL", "http://id.example.com"}, {"REVOCATIONS_POLL_INTERVAL", "soon"}, {"MAX_STALENESS", "0"},
		{"MAX_ACCESS_TOKEN_LIFETIME", "48h"}, {"ALLOW_HTTP", "1"},
	} {
		vars := variables()
		vars[test.variable] = test.value
		if _, err := newHandler(lookup(vars), slog.Default(), nil); err == nil || !strings.HasPrefix(err.Error(), test.variable+" is ") {
			t.Errorf("%s=%s: %v, want an error that names it", test.variable, test.value, err)
		}
	}
	// It never goes on with stale revocations, whatever the authorizer may do.
	vars := variables()
	vars["STALE_REVOCATIONS"] = "allow"
	if c, err := readConfig(lookup(vars)); err != nil || c.revocations.AllowStale {
		t.Errorf("readConfig = %+v, %v", c, err)
	}
}
