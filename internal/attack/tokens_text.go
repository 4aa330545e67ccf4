package attack

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// jsonRows: what is no JSON object, or only nearly one, in the header and in the claims (RFC 8259, RFC 7493).
func jsonRows() (rows []Row) {
	for name, change := range map[string]func(object string) string{
		"a byte order mark":       func(o string) string { return "\ufeff" + o },
		"UTF-16":                  func(o string) string { return "\xff\xfe" + strings.Join(strings.Split(o, ""), "\x00") + "\x00" },
		"a letter after it":       func(o string) string { return o + "x" },
		"another object after it": func(o string) string { return o + "{}" }, "itself after it": func(o string) string { return o + o },
		"a NUL after it":                       func(o string) string { return o + "\x00" },
		"a NUL before it":                      func(o string) string { return "\x00" + o },
		"a comma after it":                     func(o string) string { return o + "," },
		"in a list":                            func(o string) string { return "[" + o + "]" },
		"in a string":                          func(o string) string { return fmt.Sprintf("%q", o) },
		"in base64url once more":               enc64,
		"a number":                             func(string) string { return "1" },
		"null":                                 func(string) string { return "null" },
		"true":                                 func(string) string { return "true" },
		"a string":                             func(string) string { return `"x"` },
		"a list":                               func(string) string { return "[]" },
		"white space alone":                    func(string) string { return " " },
		"a comma too many":                     func(o string) string { return o[:len(o)-1] + ",}" },
		"a comma at the beginning":             func(o string) string { return "{," + o[1:] },
		"no end":                               func(o string) string { return o[:len(o)-1] },
		"cut in the middle":                    func(o string) string { return o[:len(o)/2] },
		"no beginning":                         func(o string) string { return o[1:] },
		"single quotes":                        func(o string) string { return strings.ReplaceAll(o, `"`, `'`) },
		"names without quotes":                 func(o string) string { return o[:len(o)-1] + `,x:1}` },
		"a comment":                            func(o string) string { return o + "/* x */" },
		"a comment within":                     func(o string) string { return "{/**/" + o[1:] },
		"equals for a colon":                   func(o string) string { return strings.Replace(o, ":", "=", 1) },
		"not UTF-8 in a value":                 func(o string) string { return o[:len(o)-1] + ",\"x\":\"\xff\"}" },
		"not UTF-8 in a name":                  func(o string) string { return o[:len(o)-1] + ",\"\xc3\x28\":1}" },
		"an overlong UTF-8":                    func(o string) string { return o[:len(o)-1] + ",\"x\":\"\xc0\xaf\"}" },
		"half of a surrogate pair":             func(o string) string { return o[:len(o)-1] + `,"x":"\ud800"}` },
		"surrogates in the wrong order":        func(o string) string { return o[:len(o)-1] + `,"x":"\udc00\ud800"}` },
		"a surrogate in UTF-8":                 func(o string) string { return o[:len(o)-1] + ",\"x\":\"\xed\xa0\x80\"}" },
		"a control character":                  func(o string) string { return o[:len(o)-1] + ",\"x\":\"\x01\"}" },
		"a line break in a string":             func(o string) string { return o[:len(o)-1] + ",\"x\":\"\n\"}" },
		"an unknown escape":                    func(o string) string { return o[:len(o)-1] + `,"x":"\q"}` },
		"an escape cut off":                    func(o string) string { return o[:len(o)-1] + `,"x":"\u12"}` },
		"an escape in hex":                     func(o string) string { return o[:len(o)-1] + `,"x":"\x41"}` },
		"NaN":                                  func(o string) string { return o[:len(o)-1] + `,"x":NaN}` },
		"Infinity":                             func(o string) string { return o[:len(o)-1] + `,"x":-Infinity}` },
		"a number that begins with 0":          func(o string) string { return o[:len(o)-1] + `,"x":01}` },
		"a number that no double holds":        func(o string) string { return o[:len(o)-1] + `,"x":1e999}` },
		"another that none holds, written out": func(o string) string { return o[:len(o)-1] + `,"x":-1` + strings.Repeat("0", 400) + `}` },
		"a number with a plus":                 func(o string) string { return o[:len(o)-1] + `,"x":+1}` },
		"no value":                             func(o string) string { return o[:len(o)-1] + `,"x":}` },
		"undefined":                            func(o string) string { return o[:len(o)-1] + `,"x":undefined}` },
		"True":                                 func(o string) string { return o[:len(o)-1] + `,"x":True}` },
		"a name twice, unknown":                func(o string) string { return o[:len(o)-1] + `,"x":1,"x":1}` },
		"a name twice, deeper":                 func(o string) string { return o[:len(o)-1] + `,"x":{"y":1,"y":1}}` },
		"a name twice, escaped":                func(o string) string { return o[:len(o)-1] + `,"x":1,"\u0078":1}` },
		"nested too deep": func(o string) string {
			return o[:len(o)-1] + `,"x":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}`
		}, "nested 800 deep": func(o string) string {
			return o[:len(o)-1] + `,"x":` + strings.Repeat(`{"x":`, 400) + "1" + strings.Repeat("}", 400) + `}`
		},
		"nested 1500 deep, no end": func(o string) string { return o[:len(o)-1] + `,"x":` + strings.Repeat("[", 1500) + `}` },
		"more members than we read": func(o string) string {
			var b strings.Builder
			for i := range 150 {
				fmt.Fprintf(&b, `,"x%d":0`, i)
			}
			return o[:len(o)-1] + b.String() + "}"
		},
		"a form feed":      func(o string) string { return "\f" + o },
		"a no-break space": func(o string) string { return "\u00a0" + o },
		"a line separator": func(o string) string { return o + "\u2028" },
	} {
		rows = append(rows,
			Row{Class: "JSON of the header", Name: name, Reason: token.ReasonMalformed, make: func(m *Maker) string {
				return m.signed(change(m.header.String()), m.claims.String())
			}},
			Row{Class: "JSON of the claims", Name: name, Reason: token.ReasonClaims, make: func(m *Maker) string { return m.signed(m.header.String(), change(m.claims.String())) }})
	}
	return append(rows,
		Row{Class: "JSON of the header", Name: "an empty object", Reason: token.ReasonMalformed, make: func(m *Maker) string {
			return m.signed("{}", m.claims.String())
		}},
		Row{Class: "JSON of the claims", Name: "an empty object", Reason: token.ReasonIssuer, make: func(m *Maker) string {
			return m.signed(m.header.String(), "{}")
		}},
		Row{Class: "nested", Name: "the payload is a token", Reason: token.ReasonClaims, make: func(m *Maker) string {
			return m.signed(m.header.and("cty", `"JWT"`).String(), m.Good)
		}},
		Row{Class: "nested", Name: "the payload is a token in a string", Reason: token.ReasonClaims, make: func(m *Maker) string {
			return m.signed(m.header.and("cty", `"JWT"`).String(), quote(m.Good))
		}},
		Row{Class: "nested", Name: "a token is a claim, and nothing else", Reason: token.ReasonIssuer, make: func(m *Maker) string {
			return m.signed(m.header.String(), `{"jwt":`+quote(m.Good)+`}`)
		}},
		Row{Class: "nested", Name: "by an attacker around a good one", Reason: token.ReasonKey, make: func(m *Maker) string {
			header := object{{"alg", `"ES256"`}, {"kid", quote(m.Foreign.ID)}, {"typ", quote(m.Type)}, {"cty", `"JWT"`}}
			return signedBy(m.Foreign, "ES256", header.String(), m.Good)
		}},
	)
}

// shapeRows: whatever is not the three parts of the compact serialisation (RFC 7515 section 7.1), and what is around it.
func shapeRows() []Row {
	const class, size, jwe = "shape", "size", "JWE"
	parts := func(raw string) (head, body, signature string) {
		list := strings.Split(raw, ".")
		return list[0], list[1], list[2]
	}
	tidied := func(name string, change func(raw string) string) Row {
		r := text("around it", name, change)
		r.tidied = true
		return r
	}
	unsigned := func(name string, change func(raw string) string) Row {
		r := text(class, name, change)
		r.Reason = token.ReasonSignature
		return r
	}
	rows := []Row{
		text(class, "nothing", func(string) string { return "" }),
		text(class, "one dot", func(string) string { return "." }),
		text(class, "two dots", func(string) string { return ".." }),
		text(class, "four dots", func(string) string { return "...." }),
		text(class, "a word", func(string) string { return "null" }),
		text(class, "undefined", func(string) string { return "undefined" }),
		text(class, "no signature, no dot", func(raw string) string { return raw[:strings.LastIndex(raw, ".")] }),
		text(class, "a dot after it", func(raw string) string { return raw + "." }),
		text(class, "a dot before it", func(raw string) string { return "." + raw }),
		text(class, "an empty part in it", func(raw string) string { return strings.Replace(raw, ".", "..", 1) }),
		text(class, "twice", func(raw string) string { return raw + "." + raw }),
		text(class, "twice, a comma between", func(raw string) string { return raw + "," + raw }),
		text(class, "twice, a space between", func(raw string) string { return raw + " " + raw }),
		text(class, "the header alone", func(raw string) string { h, _, _ := parts(raw); return h + ".." }),
		text(class, "the claims alone", func(raw string) string { _, b, _ := parts(raw); return "." + b + "." }),
		text(class, "no header", func(raw string) string { _, b, s := parts(raw); return "." + b + "." + s }),
		unsigned("a detached payload", func(raw string) string { h, _, s := parts(raw); return h + ".." + s }),
		text(class, "in another order", func(raw string) string { h, b, s := parts(raw); return b + "." + h + "." + s }),
		text(class, "in base64url once more", enc64), text(class, "percent-encoded", func(raw string) string { return strings.ReplaceAll(raw, ".", "%2E") }),
		text(class, "flattened JSON serialisation", func(raw string) string {
			h, b, s := parts(raw)
			return `{"payload":"` + b + `","protected":"` + h + `","signature":"` + s + `"}`
		}),
		text(class, "general JSON serialisation", func(raw string) string {
			h, b, s := parts(raw)
			return `{"payload":"` + b + `","signatures":[{"protected":"` + h + `","signature":"` + s + `"}]}`
		}),
		text(class, "general JSON serialisation, unprotected header", func(raw string) string {
			h, b, s := parts(raw)
			return `{"payload":"` + b + `","signatures":[{"header":` + dec64(h) + `,"protected":"` + h + `","signature":"` + s + `"}]}`
		}),
		text(class, "JSON serialisation in base64url", func(raw string) string {
			h, b, s := parts(raw)
			return enc64(`{"payload":"` + b + `","protected":"` + h + `","signature":"` + s + `"}`)
		}),
		text(class, "a disclosure after it (SD-JWT)", func(raw string) string { return raw + "~" + enc64(`["x","sub","x"]`) + "~" }),
		text(class, "a byte order mark before it", func(raw string) string { return "\ufeff" + raw }),
		text(class, "a NUL after it", func(raw string) string { return raw + "\x00" }),
		text(class, "a NUL and more after it", func(raw string) string { return raw + "\x00x" }),
		unsigned("a letter after it", func(raw string) string { return raw + "A" }),
		unsigned("four letters after it", func(raw string) string { return raw + "AAAA" }),
		text(class, "a hash after it", func(raw string) string { return raw + "#x" }),
		text(class, "a semicolon after it", func(raw string) string { return raw + ";x" }),
		text(class, "a full-width dot", func(raw string) string { return strings.Replace(raw, ".", "\uff0e", 1) }),
		text(class, "a space in the middle", func(raw string) string { return raw[:40] + " " + raw[40:] }),
		text(class, "a line break in the middle", func(raw string) string { return raw[:40] + "\r\n " + raw[40:] }),
		text(class, "cut by one", func(raw string) string { return raw[:len(raw)-1] }),
		tidied("quotes", func(raw string) string { return `"` + raw + `"` }),
		tidied("a line break", func(raw string) string { return raw + "\n" }),
		tidied("a tab before it", func(raw string) string { return "\t" + raw }),
		tidied("a scheme", func(raw string) string { return "Bearer " + raw }),
		tidied("a header", func(raw string) string { return "Authorization: Bearer " + raw }),
		text(size, "as long as none may be, in the signature", func(raw string) string { return raw + strings.Repeat("A", token.MaxLength+1-len(raw)) }),
		text(size, "1 MB in the signature", func(raw string) string { return raw + strings.Repeat("A", 1<<20) }),
		text(size, "1 MB in the header", func(raw string) string { return strings.Repeat("A", 1<<20) + raw }),
		text(size, "1 MB of dots", func(string) string { return strings.Repeat(".", 1<<20) }),
		text(size, "1 MB of parts", func(string) string { return strings.Repeat("AA.", 1<<20/3) }),
		text(size, "1 MB of brackets", func(raw string) string {
			h, _, s := parts(raw)
			return h + "." + enc64(strings.Repeat("[", 1<<20)) + "." + s
		}),
		text(jwe, "five parts, all of them empty", func(string) string { return "AA....AA" }),
		text(jwe, "five parts of the good one", func(raw string) string { return raw + ".AA.AA" }),
		body(size, "1 MB in a claim, signed by us", token.ReasonMalformed, func(c object, _ *Maker) object { return c.and("x", quote(strings.Repeat("x", 1<<20))) }),
		body(size, "a byte too long, signed by us", token.ReasonMalformed, func(c object, m *Maker) object { return c.and("x", quote(strings.Repeat("x", token.MaxLength))) }),
		head(size, "a header of 1 MB, signed by us", token.ReasonMalformed, func(h object, _ *Maker) object { return h.and("x", quote(strings.Repeat("x", 1<<20))) }),
	}
	for name, alg := range map[string]jose.KeyAlgorithm{"RSA-OAEP": jose.RSA_OAEP, "RSA1_5": jose.RSA1_5, "ECDH-ES": jose.ECDH_ES, "dir": jose.DIRECT, "PBES2": jose.PBES2_HS256_A128KW} {
		rows = append(rows, Row{Class: jwe, Name: name + " to our public key", Reason: token.ReasonMalformed, make: func(m *Maker) string { return m.encrypted(alg) }})
	}
	return rows
}

// encrypted puts the good token into a JWE (RFC 7516) that whoever knows our public keys can make.
func (m *Maker) encrypted(alg jose.KeyAlgorithm) string {
	r := jose.Recipient{Algorithm: alg, KeyID: m.Key.ID, PBES2Count: 1000}
	secret := sha256.Sum256([]byte(m.Key.ID))
	switch alg {
	case jose.RSA_OAEP, jose.RSA1_5:
		r.Key = m.Keys[keyring.RS256].public()
	case jose.ECDH_ES:
		r.Key = m.Keys[keyring.ES256].public()
	case jose.DIRECT:
		r.Key = secret[:16]
	default:
		r.Key = secret[:]
	}
	encrypter, err := jose.NewEncrypter(jose.A128GCM, r, (&jose.EncrypterOptions{Compression: jose.NONE}).WithType(jose.ContentType(m.Type)).WithContentType("JWT"))
	if err != nil {
		panic(err)
	}
	sealed, err := encrypter.Encrypt([]byte(m.Good))
	if err != nil {
		panic(err)
	}
	raw, err := sealed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return raw
}

// signatureRows: numbers out of range, other forms, other lengths (RFC 7518 section 3.4, RFC 8032 section 5.1.7).
func signatureRows() (rows []Row) {
	const class = "signature"
	add := func(name string, reason token.Reason, only keyring.Algorithm, change func(s []byte) []byte) {
		rows = append(rows, Row{Class: class, Name: strings.TrimSpace(string(only) + " " + name), Reason: reason, everyAlg: true, make: func(m *Maker) string {
			if only != "" && m.Key.Algorithm != only {
				return ""
			}
			return m.resigned(change)
		}})
	}
	add("of zeros", token.ReasonSignature, "", func(s []byte) []byte { return make([]byte, len(s)) })
	add("of ones", token.ReasonSignature, "", func(s []byte) []byte { return bytes.Repeat([]byte{0xff}, len(s)) })
	add("a byte short", token.ReasonSignature, "", func(s []byte) []byte { return s[:len(s)-1] })
	add("a byte short in front", token.ReasonSignature, "", func(s []byte) []byte { return s[1:] })
	add("a byte more", token.ReasonSignature, "", func(s []byte) []byte { return append(s, 0) })
	add("a byte more in front", token.ReasonSignature, "", func(s []byte) []byte { return append([]byte{0}, s...) })
	add("half", token.ReasonSignature, "", func(s []byte) []byte { return s[:len(s)/2] })
	add("twice", token.ReasonSignature, "", func(s []byte) []byte { return append(s, s...) })
	add("one byte", token.ReasonSignature, "", func([]byte) []byte { return []byte{0} })
	add("a bit of the first byte", token.ReasonSignature, "", func(s []byte) []byte { s[0] ^= 1; return s })
	add("a bit of the last byte", token.ReasonSignature, "", func(s []byte) []byte { s[len(s)-1] ^= 0x80; return s })
	add("backwards", token.ReasonSignature, "", func(s []byte) []byte { slices.Reverse(s); return s })

	n := elliptic.P256().Params().N
	one := big.NewInt(1)
	most := new(big.Int).Sub(new(big.Int).Lsh(one, 256), one)
	ec := func(name string, reason token.Reason, change func(r, s *big.Int) (*big.Int, *big.Int)) {
		add(name, reason, keyring.ES256, func(sig []byte) []byte {
			return rawSignature(change(new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])))
		})
	}
	zero := new(big.Int)
	ec("s of n-s, which anybody can make", "", func(r, s *big.Int) (*big.Int, *big.Int) { return r, new(big.Int).Sub(n, s) })
	ec("r = 0", token.ReasonSignature, func(_, s *big.Int) (*big.Int, *big.Int) { return zero, s })
	ec("s = 0", token.ReasonSignature, func(r, _ *big.Int) (*big.Int, *big.Int) { return r, zero })
	ec("r = s = 0", token.ReasonSignature, func(_, _ *big.Int) (*big.Int, *big.Int) { return zero, zero })
	ec("r = 1", token.ReasonSignature, func(_, s *big.Int) (*big.Int, *big.Int) { return one, s })
	ec("r = s = 1", token.ReasonSignature, func(_, _ *big.Int) (*big.Int, *big.Int) { return one, one })
	ec("r = n", token.ReasonSignature, func(_, s *big.Int) (*big.Int, *big.Int) { return n, s })
	ec("s = n", token.ReasonSignature, func(r, _ *big.Int) (*big.Int, *big.Int) { return r, n })
	ec("r = s = n", token.ReasonSignature, func(_, _ *big.Int) (*big.Int, *big.Int) { return n, n })
	ec("r = n, s = 0", token.ReasonSignature, func(_, _ *big.Int) (*big.Int, *big.Int) { return n, zero })
	ec("r = n+1", token.ReasonSignature, func(_, s *big.Int) (*big.Int, *big.Int) { return new(big.Int).Add(n, one), s })
	ec("s = n+1", token.ReasonSignature, func(r, _ *big.Int) (*big.Int, *big.Int) { return r, new(big.Int).Add(n, one) })
	ec("r the largest there is", token.ReasonSignature, func(_, s *big.Int) (*big.Int, *big.Int) { return most, s })
	ec("s the largest there is", token.ReasonSignature, func(r, _ *big.Int) (*big.Int, *big.Int) { return r, most })
	ec("r the field's prime", token.ReasonSignature, func(_, s *big.Int) (*big.Int, *big.Int) { return elliptic.P256().Params().P, s })
	ec("r of n-r", token.ReasonSignature, func(r, s *big.Int) (*big.Int, *big.Int) { return new(big.Int).Sub(n, r), s })
	ec("r and s in each other's place", token.ReasonSignature, func(r, s *big.Int) (*big.Int, *big.Int) { return s, r })
	add("in DER", token.ReasonSignature, keyring.ES256, func(sig []byte) []byte {
		der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
		if err != nil {
			panic(err)
		}
		return der
	})
	add("r and s as 48 bytes each", token.ReasonSignature, keyring.ES256, func(s []byte) []byte {
		return slices.Concat(make([]byte, 16), s[:32], make([]byte, 16), s[32:])
	})
	add("r and s as 33 bytes each", token.ReasonSignature, keyring.ES256, func(s []byte) []byte { return slices.Concat([]byte{0}, s[:32], []byte{0}, s[32:]) })
	add("s as 33 bytes", token.ReasonSignature, keyring.ES256, func(s []byte) []byte { return slices.Concat(s[:32], []byte{0}, s[32:]) })
	add("in little endian", token.ReasonSignature, keyring.ES256, func(s []byte) []byte {
		r, t := slices.Clone(s[:32]), slices.Clone(s[32:])
		slices.Reverse(r)
		slices.Reverse(t)
		return append(r, t...)
	})
	// L, the order of the group: S + L signs what S does, where that is not looked at.
	order, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	add("s of s+L", token.ReasonSignature, keyring.EdDSA, func(sig []byte) []byte {
		s := slices.Clone(sig[32:])
		slices.Reverse(s)
		sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
		slices.Reverse(sum)
		return append(slices.Clone(sig[:32]), sum...)
	})
	add("R of small order, s = 0", token.ReasonSignature, keyring.EdDSA, func(sig []byte) []byte { return append([]byte{1}, make([]byte, 63)...) })
	for _, other := range []string{"RS256 1", "RS256 modulus"} {
		rows = append(rows, Row{Class: class, Name: other, Reason: token.ReasonSignature, everyAlg: true, make: func(m *Maker) string {
			if m.Key.Algorithm != keyring.RS256 {
				return ""
			}
			public, _ := m.Key.rsaPublic()
			return m.resigned(func(s []byte) []byte {
				if other == "RS256 modulus" {
					return public.N.FillBytes(make([]byte, len(s)))
				}
				return one.FillBytes(make([]byte, len(s)))
			})
		}})
	}
	changed := func(name string, change func(m *Maker) string) {
		rows = append(rows, Row{Class: class, Name: name, Reason: token.ReasonSignature, everyAlg: true, make: change})
	}
	splice := func(m *Maker, header, claims string) string {
		_, signature := m.parts()
		return enc64(header) + "." + enc64(claims) + "." + enc64(string(signature))
	}
	changed("the claims were changed", func(m *Maker) string {
		return splice(m, m.header.String(), m.claims.with("scope", `"orders:read admin"`).String())
	})
	changed("the claims have white space more", func(m *Maker) string { return splice(m, m.header.String(), m.claims.String()+" ") })
	changed("the header has a member more", func(m *Maker) string { return splice(m, m.header.and("x", "1").String(), m.claims.String()) })
	changed("another token's", func(m *Maker) string {
		other := m.token(m.header, m.claims.with("jti", `"other"`))
		input, _ := m.parts()
		return input + other[strings.LastIndex(other, "."):]
	})
	return rows
}

// base64Rows: each value has one spelling (RFC 7515 section 2, RFC 4648 section 3.5).
func base64Rows() (rows []Row) {
	const class = "base64"
	parts := []string{"the header", "the claims", "the signature"}
	// Header and claims are signed as they are spelled, so that nothing is wrong but the spelling.
	spelled := func(name string, part int, spell func(data []byte) string) {
		rows = append(rows, Row{Class: class, Name: name + " in " + parts[part], Reason: token.ReasonMalformed, everyAlg: true, make: func(m *Maker) string {
			// With a padding to be had, spare bits to be set, and characters that differ between the alphabets.
			header, claims := padded(m.header.and("x", `"???>>>"`).String()), padded(m.claims.and("x", `"???>>>"`).String())
			list := []string{enc64(header), enc64(claims)}
			if part < 2 {
				list[part] = spell([]byte([]string{header, claims}[part]))
			}
			input := strings.Join(list, ".")
			signature := m.Key.sign(string(m.Key.Algorithm), input)
			last := enc64(string(signature))
			if part == 2 {
				// RSA's signature, of 256 bytes, and those of 64 bytes have spare bits too; HMAC's of 32 as well.
				for try := 0; spell(signature) == last; try++ {
					if try == 100 || m.Key.Algorithm != keyring.ES256 {
						return "" // deterministic, and spelled the same
					}
					signature = m.Key.sign(string(m.Key.Algorithm), input)
					last = enc64(string(signature))
				}
				last = spell(signature)
			}
			return input + "." + last
		}})
	}
	url := base64.RawURLEncoding.EncodeToString
	for part := range parts {
		spelled("padding", part, base64.URLEncoding.EncodeToString)
		spelled("one padding too many", part, func(d []byte) string { return base64.URLEncoding.EncodeToString(d) + "=" })
		spelled("the standard alphabet", part, base64.RawStdEncoding.EncodeToString)
		spelled("the standard alphabet, with padding,", part, base64.StdEncoding.EncodeToString)
		spelled("spare bits that are set", part, func(d []byte) string {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			s := url(d)
			return s[:len(s)-1] + string(alphabet[strings.IndexByte(alphabet, s[len(s)-1])|1])
		})
		for name, c := range map[string]string{"a line feed": "\n", "CRLF": "\r\n", "a carriage return": "\r", "a space": " ", "a tab": "\t", "a NUL": "\x00", "a full stop's percent-encoding": "%2E", "a letter of another script": "\u0430", "a plus": "+", "an exclamation mark": "!"} {
			spelled(name, part, func(d []byte) string { s := url(d); return s[:8] + c + s[8:] })
			spelled(name+" at the end", part, func(d []byte) string { return url(d) + c })
			rows[len(rows)-1].tidied = part == 2 && strings.TrimSpace(c) == ""
		}
		spelled("a character alone", part, func(d []byte) string { s := url(d); return s[:len(s)/4*4] + "A" })
	}
	return rows
}

// padded makes an object's length one that base64 has spare bits for.
func padded(object string) string {
	for len(object)%3 != 1 {
		object += " "
	}
	return object
}
