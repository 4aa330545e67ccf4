// Package attack holds what Latchkey's endpoints must bear: a table of requests, with what each is to be answered and the
// section of the RFC that says so, and what holds for every answer whatever was asked. The tests of cmd/latchkey run the table
// over the handlers of `latchkey dev`, reached over plain HTTP and as Lambda functions are; Breaches and Secrets are for other
// tests' answers and logs too.
package attack

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/openapitest"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// Answer is one answer, and the part of its request that decides what must hold for it.
type Answer struct {
	Method, Path  string // of the request; the path without the query
	Authorization bool   // the request had such a header

	Status int
	Header http.Header
	Body   []byte

	// Faulty says that a fault was injected: only then may a status be 500 or above.
	Faulty bool
}

// codes are the error codes that may be answered, all of them in IANA's registry of OAuth extension errors.
var codes = map[oauth.Code]bool{
	oauth.InvalidRequest: true, oauth.InvalidClient: true, oauth.InvalidGrant: true, oauth.UnauthorizedClient: true,
	oauth.UnsupportedGrantType: true, oauth.InvalidScope: true, oauth.InvalidTarget: true, oauth.InvalidDPoPProof: true,
	oauth.UseDPoPNonce: true, oauth.ServerError: true, oauth.Unavailable: true,
}

// formPaths take forms and hand out what must not be stored; publicPaths anyone may read.
var (
	formPaths   = []string{oauth.PathToken, oauth.PathRefresh, oauth.PathRevoke, oauth.PathIntrospect}
	publicPaths = []string{oauth.PathMetadata, oauth.PathOpenIDConfiguration, oauth.PathJWKS, oauth.PathOpenAPI, revocation.PathFeed}
)

// Breaches returns what is wrong with an answer of one of the endpoints, whatever was asked; nothing of other paths. Empty: it
// is as it must be.
func Breaches(a Answer) []string {
	form, public := slices.Contains(formPaths, a.Path), slices.Contains(publicPaths, a.Path)
	if !form && !public {
		return nil
	}
	b := &breaches{Answer: a}
	b.unless(a.Status < 500 || a.Faulty, "status %d without a fault (RFC 9110 section 15.6)", a.Status)
	b.unless(a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "", "a 405 without Allow (RFC 9110 section 15.5.6)")
	// Who sent no Authorization is not asked for one: decision 5.
	b.unless(a.Status != http.StatusUnauthorized || a.Authorization == (a.Header.Get("WWW-Authenticate") != ""),
		"a 401 with WWW-Authenticate %q (RFC 6749 section 5.2)", a.Header.Get("WWW-Authenticate"))
	for _, name := range []string{"Set-Cookie", "Server", "X-Powered-By", "Location", "Content-Encoding"} {
		b.unless(a.Header.Get(name) == "", "%s: %q", name, a.Header.Get(name))
	}
	b.unless(a.Header.Get("X-Content-Type-Options") == "nosniff" || a.Status == http.StatusNotModified, "no X-Content-Type-Options: nosniff")
	b.storage(form)
	b.body(form)
	return b.found
}

// undeclared is how an answer of one of the endpoints differs from what the OpenAPI document says.
func undeclared(a Answer) []string {
	if !slices.Contains(formPaths, a.Path) && !slices.Contains(publicPaths, a.Path) {
		return nil // in front of the sample stands what the test has put there
	}
	return openapitest.Breaches(a.Method, a.Path, a.Status, a.Header, a.Body)
}

type breaches struct {
	Answer
	found []string
}

func (b *breaches) unless(holds bool, format string, args ...any) {
	if !holds {
		b.found = append(b.found, fmt.Sprintf(format, args...))
	}
}

// storage judges who may keep the answer and who may read it.
func (b *breaches) storage(form bool) {
	cache, origin := b.Header.Get("Cache-Control"), b.Header.Get("Access-Control-Allow-Origin")
	if form {
		b.unless(b.Header.Get("Pragma") == "no-cache", "Pragma %q (RFC 6749 section 5.1)", b.Header.Get("Pragma"))
		b.unless(origin == "", "another origin's pages (%s) may read the answer (Fetch section 3.2)", origin)
	} else {
		b.unless(origin == "*" && b.Header.Get("Access-Control-Allow-Credentials") == "", "Access-Control-Allow-Origin %q of what is public", origin)
	}
	if form || b.Status >= 400 {
		b.unless(cache == "no-store", "Cache-Control %q (RFC 6749 section 5.1)", cache)
	} else {
		b.unless(strings.HasPrefix(cache, "public, max-age="), "Cache-Control %q of what is public", cache)
	}
}

// body judges what is said, and in which form.
func (b *breaches) body(form bool) {
	if b.Method == http.MethodHead || b.Status == http.StatusNotModified {
		b.unless(len(b.Body) == 0, "a body where there is none (RFC 9110 section 9.3.2)")
		return
	}
	kind, _, err := mime.ParseMediaType(b.Header.Get("Content-Type"))
	b.unless(err == nil && kind == "application/json", "Content-Type %q (RFC 6749 section 5.1)", b.Header.Get("Content-Type"))
	var members map[string]any
	if err := json.Unmarshal(b.Body, &members); err != nil {
		b.unless(false, "not a JSON object (RFC 8259): %.200q", b.Body)
		return
	}
	code, isError := members["error"].(string)
	b.unless(isError == (b.Status >= 400), "status %d with error %q (RFC 6749 section 5.2)", b.Status, code)
	if b.Status < 400 {
		return
	}
	b.unless(codes[oauth.Code(code)], "error %q is not a registered one (RFC 6749 section 11.4)", code)
	description, isText := members["error_description"].(string)
	b.unless(isText || members["error_description"] == nil, "error_description is no text")
	b.unless(strings.IndexFunc(description, notDescription) < 0, "error_description %q has characters that it may not (RFC 6749 section 5.2)", description)
	b.unless(!form || description != "", "an error without a description")
	for name := range members {
		b.unless(name == "error" || name == "error_description", "a member %q besides the error", name)
	}
}

// notDescription is what RFC 6749 §5.2 keeps out: all but %x20-21 / %x23-5B / %x5D-7E.
func notDescription(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }

// Judge fails the test for what is wrong with an answer whatever was asked. It takes a 503 for what it was told to expect:
// tests that have outages say themselves which.
func Judge(t testing.TB, r *http.Request, status int, header http.Header, body []byte) {
	t.Helper()
	a := Answer{
		Method: r.Method, Path: r.URL.Path, Authorization: len(r.Header.Values("Authorization")) > 0,
		Status: status, Header: header, Body: body, Faulty: status == http.StatusServiceUnavailable,
	}
	for _, breach := range append(Breaches(a), undeclared(a)...) {
		t.Errorf("%s %s: %s\n%d %v\n%.500s", a.Method, a.Path, breach, status, header, body)
	}
}
