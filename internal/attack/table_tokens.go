package attack

import (
	"encoding/base64"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// guarded are the ways in which a client fails to authenticate where it must.
func guarded(r Request) []Case {
	at := " at " + r.path
	return []Case{
		stranger("no credentials"+at, r, rfcRevoke).with(silent),
		stranger("client_id alone"+at, r.form("client_id", "shop"), rfcRevoke).with(silent),
		stranger("a wrong secret"+at, r.basic("shop", "{nobody.secret}"), rfcErrors).with(challenge),
		stranger("an unknown client"+at, r.basic("nobody", "{nobody.secret}"), rfcErrors).with(challenge),
		stranger("a disabled client"+at, r.as("disabled"), rfcErrors).with(challenge),
		stranger("a Bearer token"+at, r.add("Authorization", "Bearer {shop.access}"), rfcRevoke).with(challenge),
		stranger("credentials in the query"+at, r.asking("client_id=shop&client_secret={shop.secret}"), rfcAuth).with(silent),
		stranger("an assertion"+at, r.form("client_assertion", "a.b.c", "client_assertion_type", oauth.AssertionType), "RFC 8414 section 2"),
		bad("Basic and a posted secret"+at, r.as("shop").form("client_secret", "{shop.secret}"), "RFC 6749 section 2.3"),
		bad("another client_id"+at, r.as("shop").form("client_id", "other"), "RFC 6749 section 2.3"),
		bad("two tokens"+at, r.as("shop").form("token", "x"), rfcTwice),
		bad("a token twice, once encoded"+at, r.as("shop").raw("%74oken=x"), rfcTwice),
		bad("no token"+at, post(r.path).as("shop"), rfcRevoke),
		bad("an empty token"+at, post(r.path).as("shop").form("token", ""), rfcForm),
		bad("the token in the query"+at, post(r.path).as("shop").asking("token={shop.refresh}"), rfcRevoke),
		bad("token[]"+at, post(r.path).as("shop").raw("token[]=x"), rfcCode),
		bad("broken percent-encoding"+at, r.as("shop").raw("x=%zz"), rfcCode),
		bad("NUL"+at, r.as("shop").raw("x=%00"), rfcCode),
		refuse("JSON"+at, r.as("shop").set("Content-Type", "application/json"), 415, oauth.InvalidRequest, rfcForm),
		refuse("no content type"+at, r.as("shop").del("Content-Type"), 415, oauth.InvalidRequest, rfcForm),
		refuse("gzip"+at, r.as("shop").add("Content-Encoding", "gzip"), 415, oauth.InvalidRequest, "RFC 9110 section 8.4"),
		refuse("too large"+at, r.as("shop").raw("x="+strings.Repeat("x", oauth.MaxBody)), 413, oauth.InvalidRequest, "RFC 9110 section 15.5.14"),
	}
}

func revocations() []Case {
	of := func(token string) Request { return revokeForm.as("shop").form("token", token) }
	const ignored = "RFC 7009 section 2.2 (invalid tokens do not cause an error)"
	return append(guarded(revokeForm.form("token", "{shop.refresh}")),
		grant("a refresh token", of("{shop.refresh}"), rfcRevoke).has("{}").thatWrites(),
		grant("an access token", of("{shop.access}"), rfcRevoke).has("{}").thatWrites(),
		grant("the right hint", of("{shop.refresh}").form("token_type_hint", "refresh_token"), rfcRevoke).has("{}").thatWrites(),
		grant("the wrong hint", of("{shop.refresh}").form("token_type_hint", "access_token"), rfcRevoke).has("{}").thatWrites(),
		grant("an unknown hint", of("{shop.access}").form("token_type_hint", canary), rfcRevoke).has("{}").thatWrites(),
		bad("two hints", of("{shop.access}").form("token_type_hint", "a", "token_type_hint", "b"), rfcTwice),
		grant("with client_secret_post", revokeForm.form("token", "{shop.refresh}", "client_id", "shop", "client_secret", "{shop.secret}"), rfcAuth).has("{}").thatWrites(),
		// None of these writes anything.
		grant("another client's refresh token", of("{other.refresh}"), ignored).has("{}"),
		grant("another client's access token", of("{other.access}"), ignored).has("{}"),
		grant("no token of ours", of(canary), ignored).has("{}"),
		grant("a token and a space", of("{shop.refresh} "), ignored).has("{}"),
		grant("a token that is altered", of("{shop.refresh}A"), ignored).has("{}"),
		grant("a token of no algorithm", of("eyJhbGciOiJub25lIiwidHlwIjoicnQrand0In0.eyJqdGkiOiJ4In0."), ignored).has("{}"),
		grant("a callback is nothing to us", revokeForm.as("shop").form("token", canary).asking("callback=alert"), "RFC 7009 section 2.3").has("{}"),
	)
}

func introspections() []Case {
	of := func(token string) Request { return introspect.as("api").form("token", token) }
	inactive := func(name string, r Request) Case {
		return grant(name, r, "RFC 7662 section 2.2").has(`{"active":false}`)
	}
	return append(guarded(introspect.form("token", "{shop.access}")),
		grant("an access token", of("{shop.access}"), "RFC 7662 section 2.2").has(`"active":true`, `"client_id":"shop"`),
		grant("the wrong hint", of("{shop.access}").form("token_type_hint", "refresh_token"), rfcIntro).has(`"active":true`),
		grant("an unknown hint", of("{shop.access}").form("token_type_hint", canary), rfcIntro).has(`"active":true`),
		grant("with client_secret_post", introspect.form("token", "{shop.access}", "client_id", "api", "client_secret", "{api.secret}"), rfcAuth).has(`"active":true`),
		grant("whatever Accept says, it is JSON", of("{shop.access}").add("Accept", "application/token-introspection+jwt"), "RFC 7662 section 2.2").has(`"active":true`),
		inactive("by a client that may not", introspect.as("shop").form("token", "{shop.access}")),
		inactive("a refresh token", of("{shop.refresh}")),
		inactive("a refresh token with its hint", of("{shop.refresh}").form("token_type_hint", "refresh_token")),
		inactive("no token of ours", of(canary)),
		inactive("a token that is altered", of("{shop.access}A")),
		inactive("a token and a line feed", of("{shop.access}\n")),
		inactive("a token with Bearer before it", of("Bearer {shop.access}")),
		inactive("a token of no algorithm", of("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiJ4In0.")),
		inactive("a token of 12 KB", of(strings.Repeat("a", 12<<10))),
		inactive("the client's own secret", of("{api.secret}")),
	)
}

func discovery() (rows []Case) {
	const rfc = "RFC 8414 section 3"
	const issuer = `"issuer":"https://auth.example.com"`
	for path, has := range map[string]string{
		oauth.PathMetadata: issuer, oauth.PathOpenIDConfiguration: issuer, oauth.PathJWKS: `"kty":"EC"`,
		oauth.PathOpenAPI: `"servers":[{"url":"https://auth.example.com"`,
	} {
		r, at := get(path), " of "+path
		cached := "Cache-Control: public, max-age=300"
		rows = append(rows,
			grant("GET"+at, r, rfc).has(has).with(cached),
			grant("HEAD"+at, r.by("HEAD"), "RFC 9110 section 9.3.2").with(cached),
			grant("a query is nothing to us"+at, r.asking(canary+"=1&issuer=https://evil.example.com"), rfc).has(has),
			grant("a broken query"+at, r.asking("%zz;&=%00"), rfc).has(has),
			grant("another host is nothing to us"+at, r.to("evil.example.com"), "RFC 8414 section 3.3").has(has),
			grant("forwarding headers are nothing to us"+at, r.add("X-Forwarded-Host", "evil.example.com").add("X-Forwarded-Proto", "http"), "RFC 8414 section 3.3").has(has),
			grant("credentials are nothing to us"+at, r.as("disabled"), rfc).has(has),
			grant("another origin's page"+at, r.add("Origin", "https://evil.example.com"), "Fetch section 3.2").with("Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: "),
			refuse("If-None-Match: *"+at, r.add("If-None-Match", "*"), 304, "", "RFC 9110 section 13.1.2").with(cached),
			grant("an ETag of another's"+at, r.add("If-None-Match", `"`+canary+`"`), "RFC 9110 section 13.1.2").has(has),
			grant("a broken ETag"+at, r.add("If-None-Match", canary), "RFC 9110 section 13.1.2").has(has),
			grant("Accept-Encoding: gzip"+at, r.add("Accept-Encoding", "gzip"), "RFC 9110 section 12.5.3").has(has),
			grant("a body"+at, r.raw("x=y"), "RFC 9110 section 9.3.1").has(has),
		)
	}
	return rows
}

func feed() (rows []Case) {
	const rfc = "docs/revocation-feed.md"
	cursor := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	key := strings.Repeat("A", 22)
	for name, query := range map[string]string{
		"garbage": "after=" + canary, "padding": "after=AA==", "not base64": "after=%00", "of one field": "after=" + cursor("x"),
		"of a time before 1970": "after=" + cursor("x -1 1 "+key+" 0"), "of a time without end": "after=" + cursor("x 99999999999999999999 1 "+key+" 0"),
		"of a kind that is none": "after=" + cursor("x 1 999 "+key+" 0"), "of a short key": "after=" + cursor("x 1 1 AA 0"), "with a field more": "after=" + cursor("x 1 1 "+key+" 0 0"),
		"of 10 KB": "after=" + strings.Repeat("A", 10<<10), "and a line feed": "after=" + cursor("x") + "%0A",
		"since: a word": "since=" + canary, "since: below zero": "since=-1", "since: a float": "since=1.5", "since: too large": "since=99999999999999999999",
		"since: hexadecimal": "since=0x10", "since: a space": "since=%201", "since: Arabic digits": "since=%D9%A1",
	} {
		rows = append(rows, bad("a cursor "+name, get(feedPath).asking(query), rfc))
	}
	return append(rows,
		grant("GET", get(feedPath), rfc).has(`"entries":`),
		grant("HEAD", get(feedPath).by("HEAD"), "RFC 9110 section 9.3.2"),
		grant("since now", get(feedPath).asking("since=1767225600"), rfc).has(`"as_of":`),
		grant("since zero", get(feedPath).asking("since=0"), rfc),
		grant("an unknown parameter", get(feedPath).asking(canary+"=1"), rfc),
		grant("another origin's page", get(feedPath).add("Origin", "https://evil.example.com"), "Fetch section 3.2").with("Access-Control-Allow-Credentials: "),
		grant("credentials are nothing to us", get(feedPath).as("disabled"), rfc),
	)
}

// paths are spellings that are no endpoint's: nothing is cleaned, nothing redirected.
func paths() (rows []Case) {
	for _, path := range []string{
		"/", "/oauth2", "/oauth2/", "/oauth2/token/", "//oauth2/token", "/oauth2//token", "/oauth2%2Ftoken", "/oauth2/%74oken", "/oauth2/./token",
		"/x/../oauth2/token", "/OAUTH2/TOKEN", "/oauth2/token%00", "/oauth2/token;x=y", "/oauth2/token%20", "/oauth2/token.json", "/oauth2/token%23",
		"/oauth2/authorize", "/oauth2/refresh/", "/.well-known", "/.well-known/jwks.json/", "/.well-known//jwks.json", "/.env", "/" + canary,
	} {
		row := refuse(path, signIn.as("shop").at(path), 404, "", "RFC 9110 section 15.5.5").only(plain | httpAPI)
		if path == "/oauth2/%74oken" || path == "/oauth2%2Ftoken" {
			// HTTP APIs decode the path before they look for the route.
			row = row.behind(httpAPI, 200, "")
		}
		rows = append(rows, row)
	}
	return rows
}

// browsers must not be of use to another origin's page where there are credentials.
func browsers() (rows []Case) {
	const rfc = "Fetch section 3.2"
	none := []string{"Access-Control-Allow-Origin: ", "Access-Control-Allow-Methods: ", "Access-Control-Allow-Headers: ", "Access-Control-Allow-Credentials: "}
	for _, path := range formPaths {
		preflight := post(path).by("OPTIONS").del("Content-Type").add("Origin", "https://evil.example.com").add("Access-Control-Request-Method", "POST")
		rows = append(rows,
			refuse("a preflight of "+path, preflight, 405, oauth.InvalidRequest, rfc).with(none...),
			refuse("a preflight for Authorization of "+path, preflight.add("Access-Control-Request-Headers", "authorization"), 405, oauth.InvalidRequest, rfc).with(none...),
			refuse("a preflight for a private network of "+path, preflight.add("Access-Control-Request-Private-Network", "true"), 405, oauth.InvalidRequest, rfc).with(none...),
		)
	}
	for _, origin := range []string{"https://evil.example.com", "null", "https://auth.example.com"} {
		rows = append(rows, grant("a page of "+origin, signIn.as("shop").add("Origin", origin).add("Sec-Fetch-Site", "cross-site"), rfc).with(none...))
	}
	return rows
}
