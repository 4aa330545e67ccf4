package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/outbound"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
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

// TestIssuerSteersNoTerminal adds issuers whose certificate, of which nobody vouches, and whose metadata have characters in
// them that steer terminals: nothing of what is printed does, whether it is refused or taken.
func TestIssuerSteersNoTerminal(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"\x1b[2J.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	var self string
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"https://keys.example.com/\u009b2J\u202e"}`, self)
	}))
	defer plain.Close()
	self = plain.URL
	dir := t.TempDir()
	store, err := boltstore.Open(filepath.Join(dir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
	for url, why := range map[string]string{
		strings.Replace(secure.URL, "127.0.0.1", "localhost", 1): "x509", self: "jwks_uri", "https://a.example/\u009b2J": "issuer",
	} {
		var out bytes.Buffer
		code := run(t.Context(), []string{"issuer", "add", url, "--allow-loopback", "--audience", "us", "--dir", dir}, strings.NewReader(""), &out, &out, func(string) string { return "" })
		if code == exitOK || !strings.Contains(out.String(), why) || strings.ContainsAny(out.String(), "\x1b\u009b\u202e") {
			t.Errorf("%q: %d, %q; want it refused for the %s", url, code, out.String(), why)
		}
	}
}
