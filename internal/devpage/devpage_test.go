package devpage_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/devpage"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

var paths = []string{"/", "/page.css", "/page.js", "/page.svg"}

// find is nil where the page has no answer.
func find(method, path, host string) http.Handler {
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	return devpage.Find(r)
}

func get(t *testing.T, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w, h := httptest.NewRecorder(), find(method, path, "127.0.0.1:3000")
	if h == nil {
		t.Fatalf("no %s", path)
	}
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

// TestHeaders: each part of the page is sent as what it is, to be taken for nothing else and used nowhere else.
func TestHeaders(t *testing.T) {
	for path, contentType := range map[string]string{
		"/": "text/html; charset=utf-8", "/page.css": "text/css; charset=utf-8", "/page.js": "text/javascript; charset=utf-8", "/page.svg": "image/svg+xml",
	} {
		w := get(t, "GET", path)
		h := w.Header()
		if w.Code != 200 || h.Get("Content-Type") != contentType || w.Body.Len() == 0 {
			t.Errorf("%s: %d, %s, %d bytes", path, w.Code, h.Get("Content-Type"), w.Body.Len())
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", path, name, got, want)
			}
		}
		for _, directive := range []string{
			"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
			"frame-ancestors 'none'", "require-trusted-types-for 'script'",
		} {
			if !strings.Contains(h.Get("Content-Security-Policy")+";", directive+";") {
				t.Errorf("%s: no %s in %s", path, directive, h.Get("Content-Security-Policy"))
			}
		}
	}
	if w := get(t, "POST", "/"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
}

// TestHost: a name that somebody has pointed at this machine gets nothing of the page (DNS rebinding).
func TestHost(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:3000": true, "127.1.2.3:80": true, "localhost:3000": true, "[::1]:3000": true, "[::1]": true,
		"": false, ":3000": false, "evil.example": false, "evil.example:3000": false, "127.0.0.1.evil.example": false,
		"localhost.evil.example:3000": false, "evil.example:localhost": false, "localhost@evil.example": false,
		"192.168.1.7:3000": false, "0.0.0.0:3000": false, "[::]:3000": false,
	} {
		for _, path := range paths {
			if found := find("GET", path, host) != nil; found != want {
				t.Errorf("%s of %q: found is %v", path, host, found)
			}
		}
	}
	for _, path := range []string{"/index.html", "//", "/page.js/", "/%70age.js", "/devpage.go"} {
		if find("GET", path, "localhost") != nil {
			t.Errorf("%s is served", path)
		}
	}
}

// TestSelfContained: the page is made of what is embedded, none of it inline, and it asks nobody else.
func TestSelfContained(t *testing.T) {
	page := get(t, "GET", "/").Body.String()
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(paths, m[1]) && !strings.HasPrefix(m[1], "/.well-known/") {
			t.Errorf("%s is not served", m[1])
		}
	}
	inline := regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|\s(style|on\w+)=|javascript:`)
	if found := inline.FindString(page); found != "" {
		t.Errorf("inline: %s", found)
	}
	for _, path := range paths {
		text := strings.ReplaceAll(get(t, "GET", path).Body.String(), "http://www.w3.org/2000/svg", "")
		if found := regexp.MustCompile(`https?://.*|innerHTML|localStorage|sessionStorage|document\.cookie`).FindString(text); found != "" {
			t.Errorf("%s: %s", path, found)
		}
	}
}

// TestBound: what the page says of when a revocation takes effect is what the packages do.
func TestBound(t *testing.T) {
	want := fmt.Sprintf(`data-poll="%.0f" data-feed="%.0f"`, revocation.PollInterval.Seconds(), revocation.FeedMemory.Seconds())
	if page := get(t, "GET", "/").Body.String(); !strings.Contains(page, want) {
		t.Errorf("the page does not have %s", want)
	}
}
