// Package devpage is the page that `latchkey dev` serves at /: the flow as a picture, with buttons to try it. It is for learning
// and demos, on the machine that it runs on; no function links it.
//
// The page is the same for everybody and holds no secret, for any process of the machine and any web page in its user's browser
// may ask for it: the user pastes the demo client's secret. See docs/decisions/25-page-of-dev.md.
package devpage

import (
	"embed"
	"fmt"
	"net/http"
	"net/url"

	"github.com/latchkey-auth/latchkey/internal/outbound"
)

//go:embed index.html page.css page.js page.svg
var files embed.FS

// policy lets in what the page is made of, from where it is served, and its requests to there; nothing inline, nobody's frame,
// and no text that becomes markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

var parts = map[string]part{
	"/":         {"index.html", "text/html; charset=utf-8"},
	"/page.css": {"page.css", "text/css; charset=utf-8"},
	"/page.js":  {"page.js", "text/javascript; charset=utf-8"},
	"/page.svg": {"page.svg", "image/svg+xml"},
}

type part struct{ file, contentType string }

// Find returns what answers a request for the page or a part of it, to GET and HEAD. It is nil for all else, and for requests whose
// Host is no name of this machine: under another name, the page would be in the origin of whoever has that name point here (DNS
// rebinding).
func Find(r *http.Request) http.Handler {
	p, ok := parts[r.URL.EscapedPath()]
	// Host is host:port, as the authority of a URL is.
	if host := (&url.URL{Host: r.Host}).Hostname(); !ok || !outbound.IsLoopback(host) {
		return nil
	}
	return p
}

// ServeHTTP implements http.Handler.
func (p part) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		h.Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusMethodNotAllowed)
		fmt.Fprintln(w, `{"message":"Method Not Allowed"}`) // as API Gateway would say it
		return
	}
	content, err := files.ReadFile(p.file)
	if err != nil { // what is embedded is there
		panic(err)
	}
	h.Set("Content-Type", p.contentType)
	_, _ = w.Write(content) // a browser that went away is no fault of ours
}
