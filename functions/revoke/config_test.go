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
		"REVOCATIONS_TABLE": "revocations", "REFRESH_KEYS_SECRET": "refresh", "REFRESH_KEY_MODE": "kms",
		"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
	}
}

func TestConfig(t *testing.T) {
	if handler, err := newHandler(lookup(variables()), slog.Default()); err != nil || handler == nil {
		t.Errorf("newHandler = %v, %v", handler, err)
	}
	for _, test := range []struct{ variable, value string }{
		{"ISSUER", ""}, {"ISSUER", "http://id.example.com"}, {"CLIENTS_TABLE", ""}, {"KEYS_TABLE", ""}, {"REVOCATIONS_TABLE", ""},
		{"REFRESH_KEYS_SECRET", ""}, {"REFRESH_KEY_MODE", "hsm"}, {"ALLOW_HTTP", "1"},
		{"CLIENT_REVOCATIONS_PER_DAY", "99"}, {"CLIENT_REVOCATIONS_PER_DAY", "many"},
	} {
		vars := variables()
		vars[test.variable] = test.value
		if _, err := newHandler(lookup(vars), slog.Default()); err == nil || !strings.HasPrefix(err.Error(), test.variable+" is ") {
			t.Errorf("%s=%s: %v, want an error that names it", test.variable, test.value, err)
		}
	}
}
