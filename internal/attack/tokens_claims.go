package attack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/token"
)

// absurd are what a time must not be: we write whole seconds since 1970 (RFC 7519 section 2 would allow fractions).
var absurd = []string{
	"-1", "-9223372036854775808", "1.0", "1767226500.5", "1e10", "1E10", "1.7e9", "-0.0", "9007199254740993", "9223372036854775807",
	"18446744073709551616", "1" + strings.Repeat("0", 400), `"1767226500"`, `""`, `"never"`, `"2030-01-01T00:00:00Z"`, "NaN", "Infinity", "-Infinity", "null", "true",
	"false", "[]", "[1767226500]", "{}", "01767226500", "+1767226500", "0x6957b380", "1767226500L", "1_767_226_500", "1767226500;", ".5", "1.", "-",
}

// claimRows: RFC 9068 section 2.2, RFC 8725 sections 3.2, 3.3 and 3.8, RFC 7519 section 4.
func claimRows(typ string) (rows []Row) {
	const missing, types, twice, cased = "claim missing", "claim of a wrong type", "claim twice", "claim in another case"
	const malformed = token.ReasonClaims
	reasonWithout := map[string]token.Reason{"iss": token.ReasonIssuer, "aud": token.ReasonAudience}
	names := []string{"iss", "aud", "sub", "client_id", "iat", "exp", "jti", "grant_id", "auth_time", "epochs"}
	times := []string{"iat", "exp", "nbf", "auth_time"}
	// What a refresh token alone has is of no matter to the revocation of its grant.
	var sealed []string
	if typ == token.TypeRefresh {
		sealed = []string{"resources", "refresh_mode", "grant_ends", "access_lifetime"}
		times = append(times, "grant_ends", "access_lifetime", "generation")
	}
	for _, name := range append(names, sealed...) {
		reason := malformed
		if r, ok := reasonWithout[name]; ok {
			reason = r
		}
		without := body(missing, name, reason, func(c object, _ *Maker) object { return c.without(name) })
		without.revocable = slices.Contains(sealed, name)
		upper := body(cased, strings.ToUpper(name), reason, func(c object, _ *Maker) object { return c.called(name, strings.ToUpper(name)) })
		title := body(cased, strings.ToUpper(name[:1])+name[1:], reason, func(c object, _ *Maker) object {
			return c.called(name, strings.ToUpper(name[:1])+name[1:])
		})
		upper.revocable, title.revocable = without.revocable, without.revocable
		if name == "aud" && typ == token.TypeAccess { // revocation does not ask whom a token is for
			without.revocable, upper.revocable, title.revocable = true, true, true
		}
		escaped := fmt.Sprintf(`\u%04x%s`, name[0], name[1:])
		rows = append(rows, without, upper, title,
			body(twice, name+", the same", malformed, func(c object, _ *Maker) object { return c.and(name, c.get(name)) }),
			body(twice, name+", the first is another", malformed, func(c object, _ *Maker) object { return append(object{{name, `"x"`}}, c...) }),
			body(twice, name+", the last is another", malformed, func(c object, _ *Maker) object { return c.and(name, `"x"`) }),
			body(twice, name+", one of them escaped", malformed, func(c object, _ *Maker) object { return c.and(escaped, c.get(name)) }),
		)
	}
	for _, folded := range [][2]string{{"sub", `\u017fub`}, {"sub", "ſub"}, {"iss", "i\u017fs"},
		{"iss", `is\u017f`},
		{"scope", `\u017fcope`},
		{"jti", "jt\u0131"}, {"client_id", "client\u200b_id"}, {"exp", "\uff45xp"}, {"exp", "exp "}, {"exp", `exp\u0000`}} {
		reason := malformed
		if r, ok := reasonWithout[folded[0]]; ok {
			reason = r
		}
		if folded[0] == "scope" {
			reason = "" // a token without a scope
		}
		rows = append(rows, body(cased, folded[1], reason, func(c object, _ *Maker) object { return c.called(folded[0], folded[1]) }))
	}
	for _, name := range []string{"iss", "sub", "client_id", "jti", "grant_id", "scope"} {
		for what, value := range typed {
			rows = append(rows, body(types, name+" is "+what, malformed, func(c object, _ *Maker) object { return c.with(name, value) }))
		}
	}
	for _, name := range []string{"sub", "client_id", "jti", "grant_id"} {
		rows = append(rows, body(missing, name+" is empty", malformed, func(c object, _ *Maker) object { return c.with(name, `""`) }))
	}
	for _, name := range times {
		for _, value := range absurd {
			rows = append(rows, body("absurd time", fmt.Sprintf("%s %.30s", name, value), malformed, func(c object, _ *Maker) object { return c.with(name, value) }))
		}
	}
	for _, scope := range []string{" ", " orders:read", "orders:read ", "orders:read  x", `\"`, `\\`, "\u00e9", `a\tb`, `a\nb`, "\u007f"} {
		rows = append(rows, body("scope", fmt.Sprintf("%q", scope), malformed, func(c object, _ *Maker) object { return c.with("scope", quote(scope)) }))
	}
	for _, epochs := range []string{
		"{}", "null", "[]", `"c_1"`, "1", `{"c_1":"1"}`, `{"c_1":1.5}`, `{"c_1":1e3}`, `{"c_1":null}`, `{"c_1":true}`, `{"c_1":{}}`, `{"c_1":[1]}`,
		`{"c_1":9007199254740993}`, `{"c_1":1,"c_1":2}`, `{"c_1":1,"\u0063_1":2}`, `{"c_1":NaN}`, `{"c_1":01}`, `{c_1:1}`, `{"c_1"}`, `{"c_1":1,}`, `[["c_1",1]]`,
	} {
		rows = append(rows, body("epochs", epochs, malformed, func(c object, _ *Maker) object { return c.with("epochs", epochs) }))
	}
	sum := strings.Repeat("A", 43)
	for _, cnf := range []string{
		"{}", "null", "[]", `"x"`, "1", "true", `{"jkt":""}`, `{"jkt":1}`, `{"jkt":null}`, `{"jkt":["` + sum + `"]}`, `{"jkt":"` + sum[1:] + `"}`, `{"jkt":"` + sum + `A"}`,
		`{"jkt":"` + sum + `="}`, `{"jkt":"` + sum[1:] + `B"}`, `{"jkt":"` + sum[1:] + `/"}`, `{"JKT":"` + sum + `"}`, `{"x5t#S256":""}`, `{"x5t#S256":1}`,
		`{"x5t":"` + sum + `"}`, `{"jwk":{"kty":"EC"}}`, `{"kid":"x"}`, `{"jku":"https://example.com"}`, `{"jwe":"a.b.c.d.e"}`,
		`{"jkt":"` + sum + `","jkt":"` + sum + `"}`, `{"jkt":"` + sum + `","\u006akt":"` + sum + `"}`, `{"jkt":"` + sum + `","x":1}`, `{"jkt":"` + sum + `","kid":"x"}`,
	} {
		rows = append(rows, body("cnf", cnf, malformed, func(c object, _ *Maker) object { return c.with("cnf", cnf) }))
	}
	if typ == token.TypeRefresh {
		rows = append(rows, sealedRows()...)
	}
	return append(rows,
		body("cnf", "twice", malformed, func(c object, _ *Maker) object {
			return c.and("cnf", `{"jkt":"`+sum+`"}`).and("cnf", `{"jkt":"`+sum+`"}`)
		}))
}

// sealedRows: what a refresh token alone has. Its grant can be revoked by it all the same, unless it can't be read.
func sealedRows() (rows []Row) {
	const class = "refresh claims"
	for _, c := range [][2]string{
		{"resources", "null"}, {"resources", "1"}, {"resources", "{}"}, {"resources", "[1]"}, {"resources", "[null]"}, {"resources", "[[]]"},
		{"refresh_mode", "1"}, {"refresh_mode", "null"}, {"refresh_mode", `["bearer"]`}, {"generation", "0"},
	} {
		rows = append(rows, body(class, c[0]+" "+c[1], token.ReasonClaims, func(o object, _ *Maker) object { return o.with(c[0], c[1]) }))
	}
	for _, c := range [][2]string{
		{"resources", "[]"}, {"refresh_mode", `""`}, {"refresh_mode", `"rotating"`}, {"refresh_mode", `"dpop"`}, {"refresh_mode", `"mtls"`}, {"access_lifetime", "0"},
		{"generation", "1"},
	} {
		r := body(class, c[0]+" "+c[1], token.ReasonClaims, func(o object, _ *Maker) object { return o.with(c[0], c[1]) })
		r.revocable = true
		rows = append(rows, r)
	}
	return rows
}

// audienceRows: an audience is one string among those of aud, byte by byte (RFC 7519 section 4.1.3).
func audienceRows(typ string) (rows []Row) {
	const class = "aud"
	add := func(name string, value func(ours string) string) {
		r := body(class, name, token.ReasonAudience, func(c object, _ *Maker) object {
			return c.with("aud", value(strings.Trim(c.get("aud"), `"`)))
		})
		r.revocable = typ == token.TypeAccess
		rows = append(rows, r)
	}
	for name, change := range map[string]func(ours string) string{
		"a prefix of ours":       func(a string) string { return a[:len(a)-1] },
		"ours is a prefix of it": func(a string) string { return a + "x" },
		"a slash more":           func(a string) string { return a + "/" }, "a path below": func(a string) string { return a + "/orders" },
		"the host alone":                 func(a string) string { return a[strings.Index(a, "://")+3:] },
		"a substring":                    func(a string) string { return a[1 : len(a)-1] },
		"in capitals":                    strings.ToUpper,
		"with a space after it":          func(a string) string { return a + " " },
		"with a space before it":         func(a string) string { return " " + a },
		"with a NUL":                     func(a string) string { return a + `\u0000` },
		"ours and another in one string": func(a string) string { return a + " urn:x" },
		"with a comma":                   func(a string) string { return a + ",urn:x" },
		"with a query":                   func(a string) string { return a + "?" },
		"with a fragment":                func(a string) string { return a + "#" },
		"another scheme":                 func(a string) string { return "ws" + a[strings.Index(a, "://"):] },
		"with a user":                    func(a string) string { return strings.Replace(a, "://", "://x@", 1) },
		"a dot after the host":           func(a string) string { return a + "." },
		"empty":                          func(string) string { return "" },
		"everything":                     func(string) string { return "*" },
		"another's":                      func(string) string { return "https://api.example.org" }, "the client": func(string) string { return "shop" },
	} {
		add(name, func(ours string) string { return quote(change(ours)) })
		add(name+", in a list", func(ours string) string { return `["urn:x",` + quote(change(ours)) + `]` })
	}
	add("an empty list", func(string) string { return "[]" })
	for name, value := range map[string]func(ours string) string{
		"null":              func(string) string { return "null" },
		"a number":          func(string) string { return "1" },
		"an object":         func(a string) string { return `{"aud":` + quote(a) + `}` },
		"ours in an object": func(a string) string { return `{` + quote(a) + `:true}` }, "true": func(string) string { return "true" },
		"ours in a list of a list":  func(a string) string { return `[[` + quote(a) + `]]` },
		"ours and a number":         func(a string) string { return `[` + quote(a) + `,1]` },
		"a number and ours":         func(a string) string { return `[1,` + quote(a) + `]` },
		"ours and null":             func(a string) string { return `[` + quote(a) + `,null]` },
		"ours and an object":        func(a string) string { return `[` + quote(a) + `,{}]` },
		"more of them than we read": func(a string) string { return `[` + quote(a) + strings.Repeat(`,"x"`, 200) + `]` },
	} {
		rows = append(rows, body(class, name, token.ReasonClaims, func(c object, _ *Maker) object {
			return c.with("aud", value(strings.Trim(c.get("aud"), `"`)))
		}))
	}
	return append(rows,
		body(class, "ours among others", "", func(c object, _ *Maker) object { return c.with("aud", `["urn:x",`+c.get("aud")+`]`) }),
		body(class, "ours twice", "", func(c object, _ *Maker) object { return c.with("aud", `[`+c.get("aud")+`,`+c.get("aud")+`]`) }))
}

// issuerRows: the issuer is compared byte by byte (RFC 8414 section 3.3, RFC 8725 section 3.8).
func issuerRows() (rows []Row) {
	for name, change := range map[string]func(ours string) string{
		"a slash more":                 func(i string) string { return i + "/" },
		"two slashes":                  func(i string) string { return i + "//" },
		"a path":                       func(i string) string { return i + "/x" },
		"a character less":             func(i string) string { return i[:len(i)-1] },
		"in capitals":                  strings.ToUpper,
		"the scheme in capitals":       func(i string) string { return "H" + i[1:] },
		"without its scheme":           func(i string) string { return i[strings.Index(i, "://")+3:] },
		"the other scheme":             otherScheme,
		"a query":                      func(i string) string { return i + "?" },
		"a fragment":                   func(i string) string { return i + "#" },
		"a user":                       func(i string) string { return strings.Replace(i, "://", "://x@", 1) },
		"a space after it":             func(i string) string { return i + " " },
		"a space before it":            func(i string) string { return " " + i },
		"a line break":                 func(i string) string { return i + `\n` },
		"a NUL":                        func(i string) string { return i + `\u0000` },
		"a port":                       func(i string) string { return i + ":443" },
		"the JWKS":                     func(i string) string { return i + "/.well-known/jwks.json" },
		"empty":                        func(string) string { return "" },
		"another":                      func(string) string { return "https://id.example.org" },
		"ours as its host's beginning": func(i string) string { return i + ".example.org" },
		"localhost":                    func(string) string { return "http://localhost" },
		"a percent-encoded character":  func(i string) string { return i[:len(i)-1] + fmt.Sprintf("%%%02X", i[len(i)-1]) },
	} {
		rows = append(rows, body("iss", name, token.ReasonIssuer, func(c object, m *Maker) object { return c.with("iss", quote(change(m.Issuer))) }))
	}
	return append(rows, body("iss", "in a list", token.ReasonClaims, func(c object, m *Maker) object { return c.with("iss", `[`+quote(m.Issuer)+`]`) }))
}

func otherScheme(issuer string) string {
	if rest, ok := strings.CutPrefix(issuer, "https"); ok {
		return "http" + rest
	}
	return "https" + strings.TrimPrefix(issuer, "http")
}

// timeRows: tokens that are over, that are not yet, and that could never be.
func timeRows() []Row {
	const class = "time"
	at := func(name string, reason token.Reason, change func(c object, now int64) object) Row {
		return body(class, name, reason, func(c object, m *Maker) object { return change(c, m.Now().Unix()) })
	}
	ours := func(r Row) Row { r.revocable = true; return r }
	return []Row{
		at("over", token.ReasonExpired, func(c object, now int64) object { return c.with("exp", number(now-100)) }),
		at("over for long", token.ReasonExpired, func(c object, now int64) object {
			return c.with("iat", "1000000000").with("auth_time", "1000000000").with("exp", "1000000300")
		}),
		ours(at("over by more than the leeway", token.ReasonExpired, func(c object, now int64) object { return c.with("exp", number(now-6)) })),
		ours(at("begins later", token.ReasonNotYet, func(c object, now int64) object { return c.with("iat", number(now+60)) })),
		ours(at("begins in a year", token.ReasonNotYet, func(c object, now int64) object {
			return c.with("iat", number(now+31536000)).with("exp", number(now+31536900))
		})),
		ours(at("nbf later", token.ReasonNotYet, func(c object, now int64) object { return c.and("nbf", number(now+60)) })),
		ours(at("nbf far away", token.ReasonNotYet, func(c object, now int64) object { return c.and("nbf", "9007199254740992") })),
		at("nbf past", "", func(c object, now int64) object { return c.and("nbf", number(now-1)) }),
		at("ends as it begins", token.ReasonClaims, func(c object, now int64) object { return c.with("exp", c.get("iat")) }),
		at("ends before it begins", token.ReasonClaims, func(c object, now int64) object { return c.with("iat", number(now)).with("exp", number(now-1)) }),
		at("exp 0", token.ReasonClaims, func(c object, now int64) object { return c.with("exp", "0") }),
		at("exp -0", token.ReasonClaims, func(c object, now int64) object { return c.with("exp", "-0") }),
		at("the sign-in is later than the token", token.ReasonClaims, func(c object, now int64) object { return c.with("auth_time", number(now+3600)) }),
		at("the sign-in is at the end of time", token.ReasonClaims, func(c object, now int64) object { return c.with("auth_time", "9007199254740992") }),
		at("milliseconds", token.ReasonClaims, func(c object, now int64) object { return c.with("auth_time", number(now*1000)) }),
		ours(body("revoked", "its grant", token.ReasonRevoked, func(c object, m *Maker) object { return c.with("grant_id", quote(m.RevokedGrant)) })),
	}
}
