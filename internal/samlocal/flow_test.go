//go:build unix

package main

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

func (b *bench) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(clientID+":"+b.secret))
}

// signIn returns the tokens of a new grant.
func (b *bench) signIn(t *testing.T, scope string) (access, refresh string) {
	t.Helper()
	a := b.do(t, http.MethodPost, oauth.PathToken, url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}, "Authorization", b.basic())
	access, _ = a.json["access_token"].(string)
	refresh, _ = a.json["refresh_token"].(string)
	if a.status != http.StatusOK || access == "" || refresh == "" || a.json["scope"] != scope {
		t.Fatalf("sign-in: %d %s", a.status, a.text)
	}
	return access, refresh
}

func (b *bench) renew(t *testing.T, refresh, scope string) answer {
	t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {clientID}, "refresh_token": {refresh}}
	if scope != "" {
		form.Set("scope", scope)
	}
	return b.do(t, http.MethodPost, oauth.PathRefresh, form)
}

func (b *bench) whoami(t *testing.T, access string) answer {
	t.Helper()
	return b.do(t, http.MethodGet, "/whoami", nil, "Authorization", "Bearer "+access)
}

func (b *bench) introspect(t *testing.T, access string) answer {
	t.Helper()
	return b.do(t, http.MethodPost, oauth.PathIntrospect, url.Values{"token": {access}}, "Authorization", b.basic())
}

// testFlow does all that the endpoints are for.
func testFlow(t *testing.T, b *bench) {
	for _, path := range []string{oauth.PathMetadata, oauth.PathOpenIDConfiguration} {
		if a := b.do(t, http.MethodGet, path, nil); a.status != http.StatusOK || a.json["issuer"] != b.api() ||
			a.json["token_endpoint"] != b.api()+oauth.PathToken || a.json["jwks_uri"] != b.api()+oauth.PathJWKS {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	if a := b.do(t, http.MethodGet, oauth.PathJWKS, nil); a.status != http.StatusOK || !strings.Contains(a.text, `"ES256"`) || strings.Contains(a.text, `"d"`) {
		t.Errorf("JWKS: %d %s", a.status, a.text)
	}
	if a := b.do(t, http.MethodGet, revocation.PathFeed, nil); a.status != http.StatusOK || a.json == nil {
		t.Errorf("feed: %d %s", a.status, a.text)
	}
	if a := b.do(t, http.MethodHead, oauth.PathJWKS, nil); a.status != http.StatusOK || a.text != "" {
		t.Errorf("HEAD: %d %q", a.status, a.text)
	}
	if a := b.do(t, http.MethodGet, oauth.PathToken, nil); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
		t.Errorf("GET of the token endpoint: %d %v", a.status, a.header)
	}

	access, refresh := b.signIn(t, scope)
	if a := b.whoami(t, access); a.status != http.StatusOK || a.json["client_id"] != clientID || a.json["scope"] != scope {
		t.Errorf("whoami: %d %s", a.status, a.text)
	}
	if a := b.introspect(t, access); a.status != http.StatusOK || a.json["active"] != true || a.json["scope"] != scope {
		t.Errorf("introspect: %d %s", a.status, a.text)
	}
	// Less, and all of it again.
	for _, want := range []string{"orders:read", scope} {
		a := b.renew(t, refresh, want)
		if a.status != http.StatusOK || a.json["scope"] != want {
			t.Fatalf("refresh: %d %s", a.status, a.text)
		}
		if a := b.whoami(t, a.json["access_token"].(string)); a.status != http.StatusOK || a.json["scope"] != want {
			t.Errorf("whoami with %s: %d %s", want, a.status, a.text)
		}
	}

	for name, test := range map[string]struct {
		got   answer
		want  int
		error string
	}{
		"a wrong secret": {b.do(t, http.MethodPost, oauth.PathToken, url.Values{"grant_type": {"client_credentials"}}, "Authorization", "Basic ZGVtbzp4"),
			http.StatusUnauthorized, "invalid_client"},
		"more scope than there is": {b.renew(t, refresh, scope+" admin"), http.StatusBadRequest, "invalid_scope"},
		"no refresh token":         {b.renew(t, access, ""), http.StatusBadRequest, "invalid_grant"},
	} {
		if test.got.status != test.want || test.got.json["error"] != test.error {
			t.Errorf("%s: %d %s", name, test.got.status, test.got.text)
		}
	}
}

// testClosed sees that nothing but a good token with the scope gets to the backend, by any spelling of the request.
func testClosed(t *testing.T, b *bench, api *server) {
	access, _ := b.signIn(t, "orders:write")
	before := strings.Count(api.log.String(), `"whoami.answered"`)
	for name, test := range map[string]struct {
		method, path string
		want         int
		header       []string
	}{
		"no token":            {"GET", "/whoami", 401, nil},
		"an empty token":      {"GET", "/whoami", 401, []string{"Authorization", ""}},
		"missing scope":       {"GET", "/whoami", 403, []string{"Authorization", "Bearer " + access}},
		"a bad token":         {"GET", "/whoami", 502, []string{"Authorization", "Bearer nonsense"}},
		"a forged token":      {"GET", "/whoami", 502, []string{"Authorization", "Bearer " + forged(access)}},
		"a scheme of no use":  {"GET", "/whoami", 502, []string{"Authorization", b.basic()}},
		"a preflight":         {"OPTIONS", "/whoami", 200, nil}, // of sam local's own making
		"another method":      {"POST", "/whoami", 403, nil},
		"HEAD":                {"HEAD", "/whoami", 502, nil},
		"a method overridden": {"POST", "/whoami", 403, []string{"X-HTTP-Method-Override", "GET"}},
		"the stage's path":    {"GET", "/prod/whoami", 403, nil},
		"a slash at the end":  {"GET", "/whoami/", 401, nil},
		"another path":        {"GET", "/nowhere", 403, nil},
		"other case":          {"GET", "/WHOAMI", 403, nil},
		"encoded":             {"GET", "/%77hoami", 401, nil},
		"dot segments":        {"GET", "/x/../whoami", 403, nil},
	} {
		if a := b.do(t, test.method, test.path, nil, test.header...); a.status != test.want || strings.Contains(a.text, "client_id") {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.text, test.want)
		}
	}
	if after := strings.Count(api.log.String(), `"whoami.answered"`); after != before {
		t.Errorf("the backend answered %d of them", after-before)
	}
	for _, words := range openWords {
		if strings.Contains(api.log.String(), words) {
			t.Errorf("sam local said %q", words)
		}
	}
}

// openWords are what sam local says where it leaves an authorizer out, and lets everybody through.
var openWords = []string{"skipping", "Failed to find a Function to invoke a Lambda authorizer"}

// forged is a token with another signature of the same length.
func forged(token string) string {
	at := strings.LastIndexByte(token, '.') + 1
	return token[:at] + strings.Repeat("A", len(token)-at)
}

// testRevocation revokes, and sees what was revoked refused and nothing else.
func testRevocation(t *testing.T, b *bench) {
	access, refresh := b.signIn(t, scope)
	other, _ := b.signIn(t, scope)
	for _, token := range []string{access, refresh} {
		if a := b.do(t, http.MethodPost, oauth.PathRevoke, url.Values{"token": {token}}, "Authorization", b.basic()); a.status != http.StatusOK {
			t.Fatalf("revoke: %d %s", a.status, a.text)
		}
	}
	var called, renewed, introspected answer
	// Within half a minute, and within MaxStaleness more where polls of the feed fail, which take no more than 300 ms.
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
		called, renewed, introspected = b.whoami(t, access), b.renew(t, refresh, ""), b.introspect(t, access)
		if called.status != http.StatusOK && renewed.status != http.StatusOK && introspected.json["active"] != true || time.Now().After(deadline) {
			break
		}
	}
	if called.status != http.StatusBadGateway { // sam local's answer to a bad token
		t.Errorf("whoami with a revoked token: %d %s", called.status, called.text)
	}
	if renewed.status != http.StatusBadRequest || renewed.json["error"] != "invalid_grant" {
		t.Errorf("refresh with a revoked token: %d %s", renewed.status, renewed.text)
	}
	if introspected.status != http.StatusOK || introspected.json["active"] != false {
		t.Errorf("introspection of a revoked token: %d %s", introspected.status, introspected.text)
	}
	if a := b.whoami(t, other); a.status != http.StatusOK {
		t.Errorf("whoami with another token: %d %s", a.status, a.text)
	}
}

// testWithoutAuthorizer: where sam local leaves the authorizer out, which it does if it can't tell its function, it lets
// everybody through. The backend then has no caller, and refuses.
func testWithoutAuthorizer(t *testing.T, b *bench) {
	text, err := os.ReadFile(b.template())
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]string{
		"unknown":    strings.ReplaceAll(string(text), "${AuthorizerFunction.Arn}", "${NoFunction.Arn}"),
		"unreadable": strings.ReplaceAll(string(text), "${AuthorizerFunction.Arn}", "elsewhere"),
	} {
		t.Run(name, func(t *testing.T) {
			if broken == string(text) {
				t.Fatal("the template names the authorizer otherwise by now")
			}
			file := filepath.Join(b.dir, "build", name+".yaml")
			if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			api := b.startAPI(file, "--warm-containers", "LAZY") // one function is enough
			defer api.stop(t)
			if a := b.whoami(t, "nonsense"); a.status != http.StatusInternalServerError || a.json["error"] != "server_error" {
				t.Errorf("%d %s", a.status, a.text)
			}
			said := false
			for _, words := range openWords {
				said = said || strings.Contains(api.log.String(), words)
			}
			if !said {
				t.Errorf("sam local has other words by now for an authorizer that it leaves out:\n%s", api.log)
			}
		})
	}
}
