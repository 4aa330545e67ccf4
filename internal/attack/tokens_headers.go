package attack

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// noneRows: alg none in every spelling, with no signature, with the good one and with another (RFC 8725 section 3.1).
func noneRows() (rows []Row) {
	add := func(what, value string, reason token.Reason) {
		for how, signature := range map[string]func(good string) string{
			"no signature": func(string) string { return "" }, "the good signature": func(good string) string { return good },
			"another signature": func(string) string { return "AA" },
		} {
			rows = append(rows, Row{Class: "alg none", Name: what + ", " + how, Reason: reason, make: func(m *Maker) string {
				header := m.header.with("alg", value)
				return enc64(header.String()) + "." + enc64(m.claims.String()) + "." + signature(m.Good[strings.LastIndex(m.Good, ".")+1:])
			}})
		}
	}
	for _, alg := range []string{
		"none", "None", "NONE", "nOnE", "noNe", "NoNe", "none ", " none", `none\u0000`, `\u006eone`, `n\u006fn\u0065`, `none\n`, "null", "NULL", "n0ne",
		"unsecured", "0", "false", `\u0000`, "plain",
	} {
		add(alg, quote(alg), token.ReasonAlgorithm)
	}
	for what, value := range map[string]string{
		"empty": `""`, "null": "null", "a number": "0", "false": "false", "a list": `["none"]`, "an object": `{"alg":"none"}`, "a list of ours and none": `["ES256","none"]`,
	} {
		add("alg is "+what, value, token.ReasonMalformed)
	}
	return append(rows,
		Row{Class: "alg none", Name: "no alg at all", Reason: token.ReasonMalformed, make: func(m *Maker) string {
			return m.token(m.header.without("alg"), m.claims)
		}},
		Row{Class: "alg none", Name: "the right alg, no signature", Reason: token.ReasonMalformed, everyAlg: true, make: func(m *Maker) string {
			input, _ := m.parts()
			return input + "."
		}},
		head("alg none", "alg twice, the first is none", token.ReasonMalformed, func(h object, _ *Maker) object { return append(object{{"alg", `"none"`}}, h...) }),
		head("alg none", "alg twice, the last is none", token.ReasonMalformed, func(h object, _ *Maker) object { return h.and("alg", `"none"`) }),
		head("alg none", "alg twice, one escaped", token.ReasonMalformed, func(h object, _ *Maker) object { return h.and(`\u0061lg`, `"none"`) }),
	)
}

// encodings are the forms in which a public key could be taken for a secret (RFC 8725 section 2.1).
func (k Key) encodings() map[string][]byte {
	public := k.public()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	jwk, err := json.Marshal(jose.JSONWebKey{Key: public, KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"})
	if err != nil {
		panic(err)
	}
	forms := map[string][]byte{
		"PEM": block, "PEM without the last newline": block[:len(block)-1], "PEM with CRLF": []byte(strings.ReplaceAll(string(block),
			"\n", "\r\n")),
		"DER": der, "DER in base64": []byte(base64.StdEncoding.EncodeToString(der)), "DER in hex": []byte(hex.EncodeToString(der)),
		"JWK": jwk, "JWKS": []byte(`{"keys":[` + string(jwk) + `]}`), "the kid": []byte(k.ID), "nothing": {}, "a zero byte": {0},
	}
	if p, ok := k.ecPublic(); ok {
		point, err := p.Bytes()
		if err != nil {
			panic(err)
		}
		forms["point"], forms["X and Y"], forms["X"] = point, point[1:], point[1:33]
		forms["X in base64url"] = []byte(enc64(string(point[1:33])))
		forms["compressed point"] = append([]byte{2 + point[64]&1}, point[1:33]...)
	}
	if p, ok := k.rsaPublic(); ok {
		pkcs1 := x509.MarshalPKCS1PublicKey(p)
		forms["PKCS 1"], forms["modulus"], forms["modulus in base64url"] = pkcs1, p.N.Bytes(), []byte(enc64(string(p.N.Bytes())))
		forms["PKCS 1 PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1})
		forms["modulus in decimal"] = []byte(p.N.String())
	}
	if p, ok := k.edPublic(); ok {
		forms["raw"], forms["raw in base64url"], forms["raw in hex"] = p, []byte(enc64(string(p))), []byte(hex.EncodeToString(p))
	}
	return forms
}

var asymmetric = []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA}

// confusionRows: a token says what it is signed by, and the key says what it is for (RFC 8725 sections 2.1 and 3.1).
func confusionRows() (rows []Row) {
	const class = "algorithm confusion"
	add := func(name string, reason token.Reason, make func(m *Maker) string) {
		rows = append(rows, Row{Class: class, Name: name, Reason: reason, make: make})
	}
	named := func(m *Maker, k Key, alg string) object {
		return m.header.with("kid", quote(k.ID)).with("alg", quote(alg))
	}
	for _, of := range asymmetric {
		for _, form := range slices.Sorted(maps.Keys(samples()[of].encodings())) {
			for _, hmac := range []string{"HS256", "HS384", "HS512"} {
				add(fmt.Sprintf("%s by the %s key, %s", hmac, of, form), token.ReasonAlgorithm, func(m *Maker) string {
					k := m.Keys[of]
					return signedBy(Key{private: k.encodings()[form]}, hmac, named(m, k, hmac).String(), m.claims.String())
				})
			}
			add(fmt.Sprintf("HS256 by the %s key, %s, under its own alg", of, form), token.ReasonSignature, func(m *Maker) string {
				k := m.Keys[of]
				return signedBy(Key{private: k.encodings()[form]}, "HS256", named(m, k, string(of)).String(), m.claims.String())
			})
		}
		for _, alg := range []string{
			"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES256K", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448", "HS256", "HS384", "HS512",
			strings.ToLower(string(of)), string(of) + " ", string(of) + `\u0000`, "RSA-OAEP", "dir", "A128KW", "ML-DSA-44", strings.Repeat("x", 2000),
		} {
			if alg == string(of) {
				continue
			}
			add(fmt.Sprintf("the %s key's signature as %.20s", of, alg), token.ReasonAlgorithm, func(m *Maker) string {
				k, by := m.Keys[of], string(of)
				if of == keyring.RS256 && (strings.HasPrefix(alg, "PS") || strings.HasPrefix(alg, "RS") && len(alg) == 5) {
					by = alg // what it says is true
				}
				return signedBy(k, by, named(m, k, alg).String(), m.claims.String())
			})
		}
		for _, other := range asymmetric {
			if other == of {
				continue
			}
			add(fmt.Sprintf("the kid of %s, all else of %s", of, other), token.ReasonAlgorithm, func(m *Maker) string {
				return signedBy(m.Keys[other], string(other), named(m, m.Keys[of], string(other)).String(), m.claims.String())
			})
			add(fmt.Sprintf("the kid and the alg of %s, the signature of %s", of, other), token.ReasonSignature, func(m *Maker) string {
				return signedBy(m.Keys[other], string(other), named(m, m.Keys[of], string(of)).String(), m.claims.String())
			})
		}
	}
	for _, alg := range []string{"PS256", "PS384", "PS512", "RS384", "RS512"} {
		add(alg+" as RS256", token.ReasonSignature, func(m *Maker) string {
			k := m.Keys[keyring.RS256]
			return signedBy(k, alg, named(m, k, "RS256").String(), m.claims.String())
		})
	}
	add("ECDSA over SHA-512 as ES256", token.ReasonSignature, func(m *Maker) string {
		k := m.Keys[keyring.ES256]
		input := enc64(named(m, k, "ES256").String()) + "." + enc64(m.claims.String())
		digest := sha512.Sum512([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, k.private.(*ecdsa.PrivateKey), digest[:])
		if err != nil {
			panic(err)
		}
		return input + "." + enc64(string(rawSignature(r, s)))
	})
	return rows
}

// samples are a key of each algorithm, for what does not depend on which.
var samples = sync.OnceValue(func() map[keyring.Algorithm]Key {
	keys := map[keyring.Algorithm]Key{}
	for _, alg := range asymmetric {
		keys[alg] = newKey(alg)
	}
	return keys
})

func newKey(alg keyring.Algorithm) Key {
	k, err := keyring.Generate(alg, time.Unix(0, 0))
	if err != nil {
		panic(err)
	}
	private, err := x509.ParsePKCS8PrivateKey(k.Private)
	if err != nil {
		panic(err)
	}
	return Key{k.ID, alg, private}
}

func rawSignature(r, s *big.Int) []byte {
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

// kidRows: a key id is looked for in the ring and nowhere else.
func kidRows() (rows []Row) {
	const class = "kid"
	for _, kid := range []string{
		"../../../../../../dev/null", "/dev/null", "/proc/self/environ", `..\\..\\windows\\win.ini`, "file:///etc/passwd", "keys.json", ".",
		"' OR '1'='1", "x' UNION SELECT 'AA'; --", "1; DROP TABLE keys", `{\"$gt\":\"\"}`, "*", "%", "$(id)", "`id`", "|id", "${jndi:ldap://127.0.0.1/x}",
		`\u0000`, `\r\nX: y`, `\ud83d\ude00`, "arn:aws:kms:us-east-1:1:key/x", "0", "NULL", "undefined", "__proto__", "constructor", strings.Repeat("k", 4000),
	} {
		name := fmt.Sprintf("%.30s", kid)
		rows = append(rows,
			head(class, name, token.ReasonKey, func(h object, _ *Maker) object { return h.with("kid", quote(kid)) }),
			Row{Class: class, Name: name + ", by an empty secret", Reason: token.ReasonKey, make: func(m *Maker) string {
				header := m.header.with("kid", quote(kid)).with("alg", `"HS256"`)
				return signedBy(Key{private: []byte{}}, "HS256", header.String(), m.claims.String())
			}})
	}
	for name, change := range map[string]func(kid string) string{
		"ours and a NUL":        func(kid string) string { return kid + `\u0000` },
		"ours and a space":      func(kid string) string { return kid + " " },
		"a space and ours":      func(kid string) string { return " " + kid },
		"ours without its end":  func(kid string) string { return kid[:len(kid)-1] },
		"ours in capitals":      strings.ToUpper,
		"ours in small letters": strings.ToLower,
		"ours and padding":      func(kid string) string { return kid + "=" },
		"ours below a path":     func(kid string) string { return "./" + kid },
		"ours twice":            func(kid string) string { return kid + "," + kid },
		"ours as a fragment":    func(kid string) string { return "https://example.com/jwks.json#" + kid },
	} {
		rows = append(rows, Row{Class: class, Name: name, Reason: token.ReasonKey, make: func(m *Maker) string {
			if kid := change(m.Key.ID); kid != m.Key.ID {
				return m.token(m.header.with("kid", quote(kid)), m.claims)
			}
			return ""
		}})
	}
	for name, value := range typed {
		rows = append(rows, head(class, name, token.ReasonMalformed, func(h object, _ *Maker) object { return h.with("kid", value) }))
	}
	return append(rows,
		head(class, "empty", token.ReasonMalformed, func(h object, _ *Maker) object { return h.with("kid", `""`) }),
		head(class, "missing", token.ReasonMalformed, func(h object, _ *Maker) object { return h.without("kid") }),
		head(class, "twice, the same", token.ReasonMalformed, func(h object, _ *Maker) object { return h.and("kid", h.get("kid")) }),
		head(class, "twice, the last is another", token.ReasonMalformed, func(h object, m *Maker) object { return h.and("kid", quote(m.Foreign.ID)) }),
		head(class, "twice, one escaped", token.ReasonMalformed, func(h object, m *Maker) object { return h.and(`k\u0069d`, quote(m.Foreign.ID)) }),
		head(class, "in another case", token.ReasonMalformed, func(h object, _ *Maker) object { return h.called("kid", "Kid") }),
		head(class, "longer than a token may be", token.ReasonMalformed, func(h object, _ *Maker) object { return h.with("kid", quote(strings.Repeat("k", 9000))) }),
	)
}

// headerRows: keys that a token brings along, extensions, types (RFC 7515 section 4.1, RFC 8725 sections 3.10 and 3.11).
func headerRows(typ string) (rows []Row) {
	const brought, extension, types = "key in the header", "extension", "typ"
	for name, value := range map[string]func(m *Maker) (string, string){
		"jku": func(m *Maker) (string, string) { return "jku", quote(m.Elsewhere + "/jwks.json") },
		"x5u": func(m *Maker) (string, string) { return "x5u", quote(m.Elsewhere + "/x5u.pem") },
		"jwk": func(m *Maker) (string, string) { return "jwk", m.Foreign.jwk() },
		"x5c": func(m *Maker) (string, string) { return "x5c", `["` + m.Foreign.certificate() + `"]` },
		"x5t": func(m *Maker) (string, string) { return "x5t#S256", `"AAAA"` },
		"iss": func(m *Maker) (string, string) { return "iss", quote(m.Elsewhere) },
	} {
		rows = append(rows,
			head(brought, name+", which is ignored", "", func(h object, m *Maker) object { return h.and(value(m)) }),
			Row{Class: brought, Name: name + ", signed by that key under our kid", Reason: token.ReasonSignature, make: func(m *Maker) string {
				return signedBy(m.Foreign, "ES256", m.header.with("kid", quote(m.Keys[keyring.ES256].ID)).with("alg", `"ES256"`).and(value(m)).String(), m.claims.String())
			}},
			Row{Class: brought, Name: name + ", signed by that key under its own kid", Reason: token.ReasonKey, make: func(m *Maker) string {
				return signedBy(m.Foreign, "ES256", m.header.with("kid", quote(m.Foreign.ID)).with("alg", `"ES256"`).and(value(m)).String(), m.claims.String())
			}},
			Row{Class: brought, Name: name + ", signed by that key, no kid", Reason: token.ReasonMalformed, make: func(m *Maker) string {
				return signedBy(m.Foreign, "ES256", m.header.without("kid").with("alg", `"ES256"`).and(value(m)).String(), m.claims.String())
			}})
	}
	for _, e := range [][2]string{
		{"crit", `["exp"]`}, {"crit", `["b64"]`}, {"crit", "[]"}, {"crit", `"exp"`}, {"crit", "null"}, {"crit", `["x"]`}, {"crit", `["alg","kid"]`},
		{"crit", `["http://example.com/x"]`}, {"crit", `["exp","exp"]`}, {"crit", "{}"}, {"crit", "false"}, {"b64", "false"}, {"b64", "true"}, {"b64", "null"},
		{"zip", `"DEF"`}, {"zip", "null"}, {"enc", `"A128GCM"`}, {"enc", "null"}, {`cr\u0069t`, "[]"},
	} {
		rows = append(rows, head(extension, e[0]+" "+e[1], token.ReasonMalformed, func(h object, _ *Maker) object { return h.and(e[0], e[1]) }))
	}
	rows = append(rows,
		head(extension, "crit with what it names", token.ReasonMalformed, func(h object, _ *Maker) object { return h.and("crit", `["x"]`).and("x", "1") }),
		Row{Class: extension, Name: "b64 false, and the payload is as it is", Reason: token.ReasonMalformed, make: func(m *Maker) string {
			input := enc64(m.header.and("b64", "false").and("crit", `["b64"]`).String()) + "." + m.claims.String()
			return input + "." + enc64(string(m.Key.sign(string(m.Key.Algorithm), input)))
		}})
	other := map[string]string{token.TypeAccess: token.TypeRefresh, token.TypeRefresh: token.TypeAccess}[typ]
	for _, t := range []string{
		"", "JWT", "jwt", "JOSE", "JOSE+JSON", strings.ToUpper(typ), strings.ToUpper(typ[:1]) + typ[1:], "application/" + typ, "APPLICATION/" + typ, " " + typ, typ + " ",
		typ + `\u0000`, typ + ";v=1", typ + "," + typ, other, "dpop+jwt", "logout+jwt", "secevent+jwt", "at-jwt", typ[:3], "*",
	} {
		rows = append(rows, head(types, fmt.Sprintf("%q", t), token.ReasonType, func(h object, _ *Maker) object { return h.with("typ", quote(t)) }))
	}
	for name, value := range typed {
		rows = append(rows, head(types, name, token.ReasonMalformed, func(h object, _ *Maker) object { return h.with("typ", value) }))
	}
	return append(rows,
		head(types, "missing", token.ReasonType, func(h object, _ *Maker) object { return h.without("typ") }),
		head(types, "in another case", token.ReasonType, func(h object, _ *Maker) object { return h.called("typ", "Typ") }),
		head(types, "twice", token.ReasonMalformed, func(h object, _ *Maker) object { return append(object{{"typ", quote(other)}}, h...) }),
		head(types, "cty", "", func(h object, _ *Maker) object { return h.and("cty", `"JWT"`) }),
		// Revocation takes both kinds, and does not ask whom an access token is for.
		Row{Class: types, Name: "the other kind, by the other kind's key", Reason: token.ReasonType, revocable: typ == token.TypeRefresh, make: func(m *Maker) string {
			k := m.Other
			header := object{{"alg", quote(string(k.Algorithm))}, {"kid", quote(k.ID)}, {"typ", quote(other)}}
			return signedBy(k, string(k.Algorithm), header.String(), m.claims.String())
		}},
		Row{Class: types, Name: "this kind, by the other kind's key", Reason: token.ReasonKey, make: func(m *Maker) string { return m.by(m.Other) }},
	)
}

// jwk is the public half of an attacker's key.
func (k Key) jwk() string {
	out, err := json.Marshal(jose.JSONWebKey{Key: k.public(), KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"})
	if err != nil {
		panic(err)
	}
	return string(out)
}

// certificate is a self-signed one, in base64.
func (k Key) certificate() string {
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, k.public(), k.private.(crypto.Signer))
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// keyRows: keys that are not the ring's, or not any more.
func keyRows() []Row {
	const class = "key"
	row := func(name string, reason token.Reason, make func(m *Maker) string) Row {
		return Row{Class: class, Name: name, Reason: reason, make: make}
	}
	revoked := row("revoked", token.ReasonRevoked, func(m *Maker) string { return m.by(m.Revoked) })
	revoked.revocable = true
	return []Row{
		revoked,
		row("retired", token.ReasonKey, func(m *Maker) string { return m.by(m.Retired) }),
		row("another issuer's", token.ReasonKey, func(m *Maker) string { return m.by(m.Foreign) }),
		row("another issuer's under our kid", token.ReasonSignature, func(m *Maker) string {
			return signedBy(m.Foreign, "ES256", m.header.with("alg", `"ES256"`).with("kid", quote(m.Keys[keyring.ES256].ID)).String(), m.claims.String())
		}),
		row("another issuer's, all of the token", token.ReasonKey, func(m *Maker) string {
			header := m.header.with("alg", `"ES256"`).with("kid", quote(m.Foreign.ID))
			return signedBy(m.Foreign, "ES256", header.String(), m.claims.with("iss", `"https://id.example.org"`).String())
		}),
		row("another environment's", token.ReasonKey, func(m *Maker) string {
			header := m.header.with("alg", `"ES256"`).with("kid", quote(m.Foreign.ID))
			return signedBy(m.Foreign, "ES256", header.String(), m.claims.with("iss", quote(strings.Replace(m.Issuer, "://", "://staging.", 1))).String())
		}),
	}
}
