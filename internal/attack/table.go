package attack

import (
	"bytes"
	"compress/gzip"
	"slices"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// Sections that many rows cite.
const (
	rfcForm   = "RFC 6749 section 3.2"
	rfcTwice  = "RFC 6749 section 3.2 (parameters more than once)"
	rfcAuth   = "RFC 6749 section 2.3.1"
	rfcErrors = "RFC 6749 section 5.2"
	rfcScope  = "RFC 6749 section 3.3"
	rfcRenew  = "RFC 6749 section 6"
	rfcBasic  = "RFC 7617 section 2"
	rfcCode   = "RFC 6749 appendix B"
	rfcTarget = "RFC 8707 section 2"
	rfcRevoke = "RFC 7009 section 2.1"
	rfcIntro  = "RFC 7662 section 2.1"
)

var (
	challenge = `WWW-Authenticate: Basic realm="latchkey", charset="UTF-8"`
	silent    = "WWW-Authenticate: "

	signIn     = post(tokenPath).form("grant_type", oauth.GrantClientCredentials)
	renew      = post(refreshPath).form("grant_type", oauth.GrantRefreshToken)
	renewToken = renew.at(tokenPath)
	login      = post(tokenPath).form("grant_type", oauth.GrantPassword)
	revokeForm = post(revokePath)
	introspect = post(introspectPath)
)

// Table is all rows by class.
func Table() map[string][]Case {
	return map[string][]Case{
		"form":         slices.Concat(forms(signIn.as("shop")), forms(renew.form("client_id", "shop", "refresh_token", "{shop.refresh}")), bodies()),
		"http":         slices.Concat(methods(), wires(), paths(), browsers()),
		"client":       authentication(),
		"key":          keys(),
		"log":          logs(),
		"grant":        grants(),
		"scope":        slices.Concat(scopes(), resources()),
		"refresh":      refreshes(),
		"revoke":       revocations(),
		"introspect":   introspections(),
		"discovery":    discovery(),
		"feed":         feed(),
		"user":         users(),
		"confidential": confidential(),
	}
}

// forms are what can be wrong with the form of a request that is good otherwise.
func forms(good Request) []Case {
	at := " at " + good.path
	return []Case{
		grant("the good request"+at, good, rfcForm),
		grant("application/x-www-form-urlencoded in capitals"+at, good.set("Content-Type", strings.ToUpper(formType)), "RFC 9110 section 8.3.1"),
		grant("charset=UTF-8"+at, good.set("Content-Type", formType+"; charset=UTF-8"), rfcCode),
		grant("a charset that is quoted"+at, good.set("Content-Type", formType+`;charset="utf-8"`), "RFC 9110 section 5.6.6"),
		grant("charset=iso-8859-1, and ASCII all the same"+at, good.set("Content-Type", formType+"; charset=iso-8859-1"), rfcCode),
		refuse("no content type"+at, good.del("Content-Type"), 415, oauth.InvalidRequest, rfcForm).with("Accept-Post: " + formType),
		refuse("an empty content type"+at, good.set("Content-Type", ""), 415, oauth.InvalidRequest, rfcForm),
		refuse("JSON"+at, good.set("Content-Type", "application/json"), 415, oauth.InvalidRequest, rfcForm),
		refuse("multipart/form-data"+at, good.set("Content-Type", "multipart/form-data; boundary=x"), 415, oauth.InvalidRequest, rfcForm),
		refuse("text/plain"+at, good.set("Content-Type", "text/plain"), 415, oauth.InvalidRequest, rfcForm),
		refuse("a type that begins so"+at, good.set("Content-Type", formType+"x"), 415, oauth.InvalidRequest, rfcForm),
		refuse("a charset twice"+at, good.set("Content-Type", formType+"; charset=utf-8; charset=utf-7"), 415, oauth.InvalidRequest, "RFC 9110 section 5.6.6"),
		refuse("two content types in one header"+at, good.set("Content-Type", formType+", application/json"), 415, oauth.InvalidRequest, "RFC 9110 section 5.3"),
		refuse("two content types"+at, good.add("Content-Type", "application/json"), 415, oauth.InvalidRequest, "RFC 9110 section 5.3"),
		refuse("gzip"+at, good.add("Content-Encoding", "gzip"), 415, oauth.InvalidRequest, "RFC 9110 section 8.4"),
		refuse("gzip after identity"+at, good.add("Content-Encoding", "identity, gzip"), 415, oauth.InvalidRequest, "RFC 9110 section 8.4"),
		grant("identity"+at, good.add("Content-Encoding", "identity"), "RFC 9110 section 8.4.1"),
		bad("a byte order mark"+at, post(good.path).raw("\ufeffgrant_type=client_credentials"), rfcCode),
		bad("grant_type twice"+at, good.form("grant_type", oauth.GrantClientCredentials), rfcTwice),
		bad("grant_type twice, once encoded"+at, good.raw("%67rant_type=x"), rfcTwice),
		bad("scope twice, once empty"+at, good.raw("scope=&scope=orders:read"), rfcTwice),
		bad("scope twice, once without a value"+at, good.raw("scope&scope=orders:read"), rfcTwice),
		bad("client_id twice"+at, good.form("client_id", "shop", "client_id", "shop"), rfcTwice),
		bad("an unknown parameter twice"+at, good.form(canary, "1", canary, "2"), rfcTwice),
		grant("an unknown parameter"+at, good.form(canary, "1"), "RFC 6749 section 3.2 (unrecognized parameters)"),
		grant("names in other case are other names"+at, good.form("SCOPE", "admin", "Grant_Type", "x"), "RFC 6749 section 1.9"),
		grant("brackets are part of the name"+at, good.form("scope[]", "admin", "scope[0]", "admin", "scope.x", "admin"), rfcCode),
		grant("empty parameters count as absent"+at, good.raw("scope=&resource=&client_secret="), rfcForm),
		grant("empty pairs"+at, good.raw("&&"), rfcCode),
		grant("a semicolon sets nothing apart"+at, good.raw("x=1;scope=admin"), rfcCode),
		bad("broken percent-encoding: one digit"+at, good.raw("scope=%4"), rfcCode),
		bad("broken percent-encoding: none"+at, good.raw("scope=%"), rfcCode),
		bad("broken percent-encoding: letters"+at, good.raw("scope="+canary+"%zz"), rfcCode),
		bad("broken percent-encoding: %u"+at, good.raw("scope=%u0041"), rfcCode),
		bad("broken percent-encoding of a name"+at, good.raw("%zz=1"), rfcCode),
		bad("NUL, encoded"+at, good.raw("scope=orders:read%00"), "RFC 6749 appendix A"),
		bad("NUL in a name"+at, good.raw("sco%00pe=x"), "RFC 6749 appendix A"),
		bad("NUL as it is"+at, good.raw("x=\x00"), "RFC 6749 appendix A"),
		bad("invalid UTF-8, encoded"+at, good.raw("x=%ff"), rfcCode),
		bad("overlong UTF-8"+at, good.raw("x=%c0%af"), rfcCode),
		bad("a surrogate"+at, good.raw("x=%ed%a0%80"), rfcCode),
		bad("UTF-16"+at, good.raw("x=%fe%ff%00a"), rfcCode),
		// A REST API makes U+FFFD of it before a function sees it.
		bad("invalid UTF-8 as it is"+at, good.raw("x=\xff"), rfcCode).only(plain | httpAPI),
		grant("valid UTF-8"+at, good.raw("x=%c3%a9&y=é"), rfcCode),
	}
}

// bodies are of sizes and kinds that a form does not have.
func bodies() []Case {
	good := signIn.as("shop")
	fill := func(n int) Request { // to n bytes
		return good.raw("x=" + strings.Repeat("x", n-len("grant_type=client_credentials&x=")))
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 10<<20)) // a bytes.Buffer takes everything
	_ = z.Close()
	gzipped := post(tokenPath).as("shop").add("Content-Encoding", "gzip")
	return []Case{
		grant("as large as may be", fill(oauth.MaxBody), "RFC 9110 section 15.5.14"),
		refuse("a byte larger", fill(oauth.MaxBody+1), 413, oauth.InvalidRequest, "RFC 9110 section 15.5.14"),
		grant("as large as may be, in chunks", fill(oauth.MaxBody).inChunks(), "RFC 9112 section 7.1"),
		refuse("a byte larger, in chunks", fill(oauth.MaxBody+1).inChunks(), 413, oauth.InvalidRequest, "RFC 9112 section 7.1"),
		refuse("200 KB", fill(200<<10), 413, oauth.InvalidRequest, "RFC 9110 section 15.5.14"),
		refuse("a gzip bomb", gzipped.raw(bomb.String()), 415, oauth.InvalidRequest, "RFC 9110 section 8.4").only(plain | httpAPI),
		bad("a gzip bomb that says nothing of it", post(tokenPath).as("shop").raw(bomb.String()), rfcCode).only(plain | httpAPI),
		bad("4,000 parameters of one name", good.raw(strings.Repeat("x&", 4000)), rfcTwice),
		grant("3,000 parameters", good.raw(manyNames(3000)), rfcForm),
		bad("an empty body", post(tokenPath).as("shop"), "RFC 6749 section 4.4.2"),
		bad("a JSON document called a form", post(tokenPath).as("shop").raw(`{"grant_type":"client_credentials"}`), rfcForm),
		bad("a form in XML", post(tokenPath).as("shop").raw(`<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>`), rfcForm),
		bad("multipart called a form", post(tokenPath).as("shop").raw("--x\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nclient_credentials\r\n--x--"), rfcForm),
		grant("plus is a space", signIn.as("shop").raw("scope=orders:read+profile"), rfcCode).has(`"scope":"orders:read profile"`),
		grant("%20 is one too", signIn.as("shop").raw("scope=orders:read%20profile"), rfcCode).has(`"scope":"orders:read profile"`),
		refuse("%2B is a plus", signIn.as("shop").raw("scope=orders:read%2Bprofile"), 400, oauth.InvalidScope, rfcCode),
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26)) + "&")
	}
	return b.String()
}

func methods() (rows []Case) {
	for _, path := range formPaths {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"} {
			row := refuse(method+" "+path, post(path).by(method).as("shop"), 405, oauth.InvalidRequest, "RFC 6749 section 3.2 (MUST use POST)").with("Allow: POST")
			if method == "HEAD" { // which has no body to read the code from
				row.code = ""
			}
			rows = append(rows, row)
		}
	}
	for _, path := range publicPaths {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			rows = append(rows, refuse(method+" "+path, get(path).by(method), 405, oauth.InvalidRequest, "RFC 9110 section 15.5.6").with("Allow: GET, HEAD"))
		}
	}
	good := signIn.as("shop")
	for _, name := range []string{"X-HTTP-Method", "X-Method-Override", "_method"} {
		rows = append(rows, grant(name+" is nothing to us", good.add(name, "DELETE"), "RFC 9110 section 9.1"))
	}
	return append(rows,
		// A REST API takes it for the method, and what it is taken for is refused.
		grant("X-HTTP-Method-Override is nothing to us", good.add("X-HTTP-Method-Override", "DELETE"), "RFC 9110 section 9.1").behind(restAPI, 405, oauth.InvalidRequest),
		refuse("GET that would be POST", good.by("GET").add("X-HTTP-Method-Override", "POST"), 405, oauth.InvalidRequest, rfcForm).only(plain|httpAPI),
		refuse("a _method parameter", good.by("PUT").form("_method", "POST"), 405, oauth.InvalidRequest, rfcForm),
		refuse("post in small letters", good.by("post"), 405, oauth.InvalidRequest, "RFC 9110 section 9.1").only(plain),
		refuse("a method of its own", good.by("ZQ7CANARY"), 405, oauth.InvalidRequest, "RFC 9110 section 9.1").only(plain),
	)
}

// wires are bytes that no client library sends.
func wires() []Case {
	const head, form = "POST /oauth2/token HTTP/1.1", "Content-Type: " + formType
	const host, end = "Host: auth.example.com", "Connection: close"
	return []Case{
		garbled("two lengths", wire(head, host, form, "Content-Length: 3", "Content-Length: 5", end, "", "a=b&c"), 400, "RFC 9112 section 6.3"),
		garbled("a length that is no number", wire(head, host, form, "Content-Length: +3", end, "", "a=b"), 400, "RFC 9112 section 6.2"),
		garbled("a negative length", wire(head, host, form, "Content-Length: -1", end, "", ""), 400, "RFC 9112 section 6.2"),
		garbled("an unknown transfer coding", wire(head, host, form, "Transfer-Encoding: gzip, chunked", end, "", "0", "", ""), 501, "RFC 9112 section 6.1"),
		garbled("two transfer codings", wire(head, host, form, "Transfer-Encoding: chunked", "Transfer-Encoding: identity", end, "", "0", "", ""), 501, "RFC 9112 section 6.1"),
		garbled("a space before the colon", wire(head, host, form, "Content-Length : 3", end, "", "a=b"), 400, "RFC 9112 section 5.1"),
		garbled("a header that has no colon", wire(head, host, form, canary, end, "", ""), 400, "RFC 9112 section 5"),
		garbled("NUL in a header", wire(head, host, form, "X: a\x00b", end, "", ""), 400, "RFC 9110 section 5.5"),
		garbled("no host", wire(head, form, end, "", ""), 400, "RFC 9112 section 3.2"),
		garbled("two hosts", wire(head, host, "Host: evil.example.com", form, end, "", ""), 400, "RFC 9112 section 3.2"),
		garbled("no version", wire("POST /oauth2/token", host, form, end, "", ""), 400, "RFC 9112 section 3"),
		garbled("HTTP/3 over TCP", wire("POST /oauth2/token HTTP/3.0", host, end, "", ""), 505, "RFC 9110 section 15.6.6"),
		garbled("a header of 100 KB", wire(head, host, form, "X: "+strings.Repeat("x", 100<<10), end, "", ""), 431, "RFC 6585 section 5"),
		bad("both a length and chunks: the chunks count", wire(head, host, form, "Content-Length: 29", "Transfer-Encoding: chunked", end, "", "0", "", ""), "RFC 9112 section 6.1").only(plain),
		bad("a chunk that is cut off", wire(head, host, form, "Transfer-Encoding: chunked", end, "", "zz", "a=b", "0", "", ""), "RFC 9112 section 7.1").only(plain),
		bad("a line feed in what is echoed nowhere", post(tokenPath).form("grant_type", "", "x", "\r\nX-Injected: yes"), rfcErrors),
		refuse("CR LF in grant_type", post(tokenPath).form("grant_type", canary+"\r\nX-Injected: yes\r\n\r\n"), 400, oauth.UnsupportedGrantType, rfcErrors).with("X-Injected: "),
		stranger("CR LF in client_id", signIn.form("client_id", canary+"\r\nX-Injected: yes", "client_secret", "{shop.secret}"), rfcErrors).with("X-Injected: "),
		refuse("CR LF in scope", signIn.as("shop").form("scope", canary+"\r\nX-Injected: yes"), 400, oauth.InvalidScope, rfcErrors).with("X-Injected: "),
		refuse("CR LF in resource", signIn.as("shop").form("resource", canary+"\r\nX-Injected: yes"), 400, oauth.InvalidTarget, rfcErrors).with("X-Injected: "),
		grant("another host", signIn.as("shop").to("evil.example.com"), "RFC 9110 section 7.2"),
		grant("forwarding headers are nothing to us", signIn.as("shop").add("X-Forwarded-Host", "evil.example.com").add("X-Forwarded-Proto", "http").add("Forwarded", "for=127.0.0.1;host=evil.example.com"), "RFC 7239 section 8.1"),
		grant("X-Original-URL is nothing to us", signIn.as("shop").add("X-Original-URL", "/oauth2/revoke").add("X-Rewrite-URL", "/oauth2/revoke"), "RFC 9110 section 7.1"),
		grant("Expect: 100-continue", signIn.as("shop").add("Expect", "100-continue"), "RFC 9110 section 10.1.1"),
		grant("whatever Accept says, it is JSON", signIn.as("shop").add("Accept", "text/html, application/xml"), "RFC 6749 section 5.1"),
	}
}

// Count is how many rows there are.
func Count() (n int) {
	for _, rows := range Table() {
		n += len(rows)
	}
	return n
}
