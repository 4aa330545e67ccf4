package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/outbound"
)

// TestDiscover asks issuers of this machine where their keys are.
func TestDiscover(t *testing.T) {
	var self string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant, found := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration")
		switch {
		case !found:
			http.NotFound(w, r)
		case tenant == "" || tenant == "/good":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"https://keys.example.com","id_token_signing_alg_values_supported":["none","RS256","PS256","ES256"]}`, self+tenant)
		case tenant == "/other":
			fmt.Fprint(w, `{"issuer":"https://other.example.com","jwks_uri":"https://keys.example.com"}`)
		case tenant == "/moved":
			http.Redirect(w, r, "/good/.well-known/openid-configuration", http.StatusFound)
		case tenant == "/html":
			fmt.Fprint(w, "<html>")
		case tenant == "/huge":
			fmt.Fprintf(w, `{"issuer":%q,"pad":%q}`, self+tenant, strings.Repeat("x", outbound.MaxBody))
		}
	}))
	defer s.Close()
	self = s.URL
	laptop := outbound.Client(outbound.Config{Loopback: true})
	for _, url := range []string{self, self + "/good"} {
		m, err := discover(t.Context(), laptop, url)
		if err != nil || m.JWKSURI != "https://keys.example.com" || !slices.Equal(m.Algorithms, []string{"RS256", "ES256"}) {
			t.Errorf("%s: %+v, %v", url, m, err)
		}
	}
	for path, why := range map[string]string{
		"/other": `it says to be "https://other.example.com"`, "/moved": "status 302", "/html": "invalid character", "/huge": "longer than", "/none/x": "EOF",
	} {
		if _, err := discover(t.Context(), laptop, self+path); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %s", path, err, why)
		}
	}
	if _, err := discover(t.Context(), outbound.Client(outbound.Config{}), self); err == nil {
		t.Error("this machine was asked")
	}
}
