package attack

import (
	"strconv"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

func grants() (rows []Case) {
	for name, grantType := range map[string]string{
		"in capitals": "CLIENT_CREDENTIALS", "with a capital": "Client_credentials", "with a space": "client_credentials ",
		"with a space in front": " client_credentials", "in quotes": `"client_credentials"`, "two of them": "client_credentials refresh_token",
		"authorization_code": "authorization_code", "implicit": "implicit", "device code": "urn:ietf:params:oauth:grant-type:device_code",
		"token exchange": "urn:ietf:params:oauth:grant-type:token-exchange", "SAML": "urn:ietf:params:oauth:grant-type:saml2-bearer",
		"unknown": canary, "CIBA": "urn:openid:params:grant-type:ciba", "with a hyphen": "client-credentials", "a prefix": "client",
	} {
		for _, path := range []string{tokenPath, refreshPath} {
			rows = append(rows, refuse("grant_type "+name+" at "+path, post(path).as("shop").form("grant_type", grantType), 400, oauth.UnsupportedGrantType, rfcErrors))
		}
	}
	return append(rows,
		bad("no grant_type", post(tokenPath).as("shop").form("scope", "orders:read"), "RFC 6749 section 4.4.2"),
		bad("an empty grant_type", post(tokenPath).as("shop").raw("grant_type="), rfcForm),
		bad("grant_type in the query", post(tokenPath).as("shop").asking("grant_type=client_credentials"), rfcForm),
		bad("grant_type in a header", post(tokenPath).as("shop").add("grant_type", oauth.GrantClientCredentials), rfcForm),
		bad("grant_type[]", post(tokenPath).as("shop").raw("grant_type[]=client_credentials"), rfcCode),
		refuse("client_credentials at refresh", signIn.at(refreshPath), 400, oauth.UnsupportedGrantType, rfcErrors),
		refuse("password at refresh", login.at(refreshPath).form("username", "ada", "password", password), 400, oauth.UnsupportedGrantType, rfcErrors),
		refuse("a client that may not", signIn.as("mute"), 400, oauth.UnauthorizedClient, rfcErrors),
		refuse("a client of DPoP without a proof", signIn.as("bound"), 400, oauth.InvalidDPoPProof, "RFC 9449 section 5"),
		refuse("a proof that is none", signIn.as("shop").add("DPoP", canary), 400, oauth.InvalidDPoPProof, "RFC 9449 section 4.3"),
		refuse("an empty proof", signIn.as("shop").add("DPoP", ""), 400, oauth.InvalidDPoPProof, "RFC 9449 section 4.3"),
		refuse("two proofs", signIn.as("shop").add("DPoP", canary).add("DPoP", canary), 400, oauth.InvalidDPoPProof, "RFC 9449 section 4.3"),
		refuse("an access token as a proof", signIn.as("shop").add("DPoP", "{shop.access}"), 400, oauth.InvalidDPoPProof, "RFC 9449 section 4.3"),
		refuse("JWT bearer by a client that may not", post(tokenPath).as("shop").form("grant_type", oauth.GrantJWTBearer, "assertion", "a.b.c"), 400, oauth.UnauthorizedClient, rfcErrors),
		stranger("JWT bearer without client authentication", post(tokenPath).form("grant_type", oauth.GrantJWTBearer, "assertion", "a.b.c"), "RFC 7521 section 4.1"),
		grant("a rotating client", signIn.as("single"), "RFC 9700 section 4.14.2").thatWrites(),
		grant("redirect_uri and code are nothing to us", signIn.as("shop").form("redirect_uri", "https://evil.example.com", "code", "x", "code_verifier", "x"), "RFC 6749 section 3.2"),
		grant("claims of its own are nothing to us", signIn.as("shop").form("sub", "admin", "aud", "x", "exp", "9999999999", "iss", "x", "cnf", "{}"), "RFC 6749 section 3.2"),
		grant("lifetimes of its own are nothing to us", signIn.as("shop").form("expires_in", "9999999999", "lifetime", "1"), "RFC 6749 section 3.2").has(`"expires_in":900`),
	)
}

func scopes() (rows []Case) {
	for name, scope := range map[string]string{
		"a tab": "orders:read\tprofile", "two spaces": "orders:read  profile", "a space in front": " orders:read", "a space at the end": "orders:read ",
		"a space alone": " ", "a quote": `orders:"read"`, "a backslash": `orders:\read`, "a line feed": "orders:read\nprofile", "not ASCII": "órders:read",
		"DEL": "orders:read\x7f", "a no-break space": "orders:read\u00a0profile", "a comma between": "orders:read,profile", "one too many": "orders:read admin",
		"a prefix": "orders:", "in capitals": "ORDERS:READ", "an asterisk": "*", "of a wildcard": "orders:*", "too many": manyScopes(oauth.MaxScopeTokens + 1),
		"very long": strings.Repeat("s", 8<<10), "openid": "openid offline_access",
	} {
		rows = append(rows,
			refuse("scope: "+name, signIn.as("shop").form("scope", scope), 400, oauth.InvalidScope, rfcScope),
			refuse("scope of a refresh: "+name, renew.form("client_id", "shop", "refresh_token", "{shop.refresh}", "scope", scope), 400, oauth.InvalidScope, rfcRenew))
	}
	return append(rows,
		grant("no scope is all of it", signIn.as("shop"), rfcScope).has(`"scope":"orders:read orders:write profile"`),
		grant("a part", signIn.as("shop").form("scope", "profile"), rfcScope).has(`"scope":"profile"`),
		grant("in another order", signIn.as("shop").form("scope", "profile orders:read"), rfcScope).has(`"scope":"profile orders:read"`),
		grant("a token twice counts once", signIn.as("shop").form("scope", "profile profile"), rfcScope).has(`"scope":"profile"`),
		grant("an empty scope is none asked", signIn.as("shop").raw("scope="), rfcForm).has(`"scope":"orders:read orders:write profile"`),
		grant("down at a refresh", renew.form("client_id", "shop", "refresh_token", "{shop.refresh}", "scope", "profile"), rfcRenew).has(`"scope":"profile"`),
	)
}

func manyScopes(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = "s" + strconv.Itoa(i)
	}
	return strings.Join(names, " ")
}

func resources() (rows []Case) {
	for name, resource := range map[string]string{
		"unknown": "https://payroll.example.com", "relative": "/orders", "a fragment": Orders + "#x", "a slash more": Orders + "/", "a prefix": "https://orders",
		"in capitals": "HTTPS://ORDERS.EXAMPLE.COM", "http": "http://orders.example.com", "a port": Orders + ":443", "a user": "https://x@orders.example.com",
		"two in one": Orders + " " + Invoices, "no URL": canary, "a space": Orders + " ", "a query": Orders + "?a=b", "the issuer": "https://auth.example.com",
	} {
		rows = append(rows,
			refuse("resource: "+name, signIn.as("shop").form("resource", resource), 400, oauth.InvalidTarget, rfcTarget),
			refuse("resource of a refresh: "+name, renew.form("client_id", "shop", "refresh_token", "{shop.refresh}", "resource", resource), 400, oauth.InvalidTarget, rfcTarget))
	}
	return append(rows,
		refuse("two resources", signIn.as("shop").form("resource", Orders, "resource", Invoices), 400, oauth.InvalidTarget, rfcTarget),
		refuse("one resource twice", signIn.as("shop").form("resource", Orders, "resource", Orders), 400, oauth.InvalidTarget, rfcTarget),
		grant("the second one", signIn.as("shop").form("resource", Invoices), rfcTarget),
		grant("audience is not a parameter of ours", signIn.as("shop").form("audience", "https://payroll.example.com"), "RFC 8693 section 2.1"),
	)
}

func refreshes() (rows []Case) {
	held := func(r Request, id string) Request {
		return r.form("client_id", id, "refresh_token", "{"+id+".refresh}")
	}
	good := held(renew, "shop")
	const credential = "design section 2: a secret that it cannot check"
	for _, r := range []Request{renew, renewToken} {
		at := " at " + r.path
		rows = append(rows,
			grant("a refresh"+at, held(r, "shop"), rfcRenew),
			bad("no refresh_token"+at, r.form("client_id", "shop"), rfcRenew),
			bad("an empty refresh_token"+at, r.form("client_id", "shop", "refresh_token", ""), rfcForm),
			bad("no client_id"+at, r.form("refresh_token", "{shop.refresh}"), "RFC 6749 section 3.2.1"),
			bad("two refresh tokens"+at, held(r, "shop").form("refresh_token", "x"), rfcTwice),
			refuse("another client's token"+at, r.form("client_id", "shop", "refresh_token", "{other.refresh}"), 400, oauth.InvalidGrant, rfcRenew),
			refuse("another client's id"+at, r.form("client_id", "other", "refresh_token", "{shop.refresh}"), 400, oauth.InvalidGrant, rfcRenew),
			refuse("an access token"+at, r.form("client_id", "shop", "refresh_token", "{shop.access}"), 400, oauth.InvalidGrant, "RFC 8725 section 3.11"),
			refuse("a token with a space"+at, r.form("client_id", "shop", "refresh_token", "{shop.refresh} "), 400, oauth.InvalidGrant, "RFC 7515 section 7.1"),
			refuse("a token with a line feed"+at, r.form("client_id", "shop", "refresh_token", "{shop.refresh}\n"), 400, oauth.InvalidGrant, "RFC 7515 section 7.1"),
			refuse("a token with a padding"+at, r.form("client_id", "shop", "refresh_token", "{shop.refresh}="), 400, oauth.InvalidGrant, "RFC 7515 section 2"),
			refuse("a token with Bearer before it"+at, r.form("client_id", "shop", "refresh_token", "Bearer {shop.refresh}"), 400, oauth.InvalidGrant, rfcRenew),
			refuse("two tokens in one"+at, r.form("client_id", "shop", "refresh_token", "{shop.refresh}.{shop.refresh}"), 400, oauth.InvalidGrant, "RFC 7515 section 7.1"),
		)
	}
	return append(rows,
		bad("Basic at refresh", good.as("shop"), credential),
		bad("Basic alone at refresh", renew.form("refresh_token", "{shop.refresh}").as("shop"), credential),
		bad("a wrong secret at refresh", good.basic("shop", "{nobody.secret}"), credential),
		bad("a Bearer token at refresh", good.add("Authorization", "Bearer {shop.access}"), credential),
		bad("an empty Authorization at refresh", good.add("Authorization", ""), credential),
		bad("client_secret at refresh", good.form("client_secret", "{shop.secret}"), credential),
		bad("client_assertion at refresh", good.form("client_assertion", "a.b.c"), credential),
		bad("client_assertion_type at refresh", good.form("client_assertion_type", oauth.AssertionType), credential),
		grant("the secret along with it at token", renewToken.form("refresh_token", "{shop.refresh}").as("shop"), rfcRenew),
		stranger("a wrong secret along with it at token", held(renewToken, "shop").basic("shop", "{nobody.secret}"), rfcRenew).with(challenge),
		stranger("mode secret without it", held(renewToken, "vault"), rfcRenew),
		grant("mode secret with it", renewToken.form("refresh_token", "{vault.refresh}").as("vault"), rfcRenew),
		refuse("mode secret by another client's", renewToken.form("refresh_token", "{vault.refresh}").as("shop"), 400, oauth.InvalidGrant, rfcRenew),
		refuse("mode secret at refresh", held(renew, "vault"), 400, oauth.UnauthorizedClient, rfcRenew),
		refuse("mode rotating at refresh", held(renew, "single"), 400, oauth.UnauthorizedClient, rfcRenew),
		grant("mode rotating at token", held(renewToken, "single"), rfcRenew).thatWrites(),
		refuse("mode rotating, more scope: not consumed", held(renewToken, "single").form("scope", "admin"), 400, oauth.InvalidScope, rfcRenew),
		refuse("mode rotating, another audience: not consumed", held(renewToken, "single").form("resource", "https://payroll.example.com"), 400, oauth.InvalidTarget, rfcTarget),
		refuse("mode rotating, another client: not consumed", renewToken.form("client_id", "shop", "refresh_token", "{single.refresh}"), 400, oauth.InvalidGrant, rfcRenew),
	)
}

func users() []Case {
	one := login.as("shop")
	return []Case{
		grant("a user", one.form("username", "ada", "password", password), "RFC 6749 section 4.3.2").has(`"scope":"orders:read"`).thatCounts(),
		refuse("a wrong password", one.form("username", "ada", "password", "wrong horse battery"), 400, oauth.InvalidGrant, rfcErrors).thatCounts(),
		refuse("an unknown user", one.form("username", "bob", "password", password), 400, oauth.InvalidGrant, rfcErrors).thatCounts(),
		refuse("a user's name with #", one.form("username", "ada#1", "password", password), 400, oauth.InvalidGrant, rfcErrors).thatCounts(),
		refuse("a user's name of 2,049 bytes", one.form("username", strings.Repeat("u", 2049), "password", password), 400, oauth.InvalidGrant, rfcErrors).thatCounts(),
		refuse("a user's name that is a line of a log", one.form("username", canary+"\n{}", "password", password), 400, oauth.InvalidGrant, rfcErrors).thatCounts(),
		refuse("a password in the name's place", one.form("username", password, "password", "ada-ada-ada"), 400, oauth.InvalidGrant, rfcErrors).thatCounts(),
		refuse("a password of 8 KB", one.form("username", "carl", "password", strings.Repeat("p", 8<<10)), 400, oauth.InvalidGrant, rfcErrors).thatCounts(),
		bad("no username", one.form("password", password), "RFC 6749 section 4.3.2"),
		bad("an empty username", one.form("username", "", "password", password), rfcForm),
		bad("no password", one.form("username", "ada"), "RFC 6749 section 4.3.2"),
		bad("two passwords", one.form("username", "ada", "password", password, "password", "x"), rfcTwice),
		bad("the password in the query", one.form("username", "ada").asking("password=x"), "RFC 6749 section 4.3.2"),
		stranger("a user without the client's secret", login.form("client_id", "shop", "username", "ada", "password", password), "RFC 6749 section 4.3.2"),
		stranger("the user's password as the client's", login.basic("shop", password).form("username", "ada", "password", password), rfcAuth),
		refuse("a client that may not", login.as("other").form("username", "ada", "password", password), 400, oauth.UnauthorizedClient, rfcErrors),
		refuse("more scope than the client's", one.form("username", "ada", "password", password, "scope", "admin"), 400, oauth.InvalidScope, rfcScope),
		bad("an address that the client may not tell", one.form("username", "ada", "password", password, "user_address", "203.0.113.9"), "RFC 6749 section 8.2"),
	}
}
