package token_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-auth/latchkey/internal/attack"
	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// others are the two verifiers that ours is held against, each made as strict as its settings have it: go-jose, and
// golang-jwt's parser, of which we use nothing (its primitives for HMAC and Ed25519 are all that we link of it).
type others struct {
	keys map[string]jose.JSONWebKey // the published JWKS
	now  func() time.Time
}

func newOthers(tb testing.TB, now func() time.Time) *others {
	tb.Helper()
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		d.Keys = append(d.Keys, testKeys()[alg])
	}
	public, err := d.Public()
	if err != nil {
		tb.Fatal(err)
	}
	published, err := json.Marshal(public.JWKS(now()))
	if err != nil {
		tb.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(published, &set); err != nil {
		tb.Fatal(err)
	}
	o := &others{keys: map[string]jose.JSONWebKey{}, now: now}
	for _, k := range set.Keys {
		o.keys[k.KeyID] = k
	}
	return o
}

// goJose returns the claims of a token that go-jose takes.
func (o *others) goJose(raw string) (map[string]any, error) {
	parsed, err := josejwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil {
		return nil, err
	}
	key, ok := o.keys[parsed.Headers[0].KeyID]
	if !ok || key.Algorithm != parsed.Headers[0].Algorithm || parsed.Headers[0].ExtraHeaders[jose.HeaderType] != "at+jwt" {
		return nil, fmt.Errorf("header %+v", parsed.Headers[0])
	}
	var registered josejwt.Claims
	var payload json.RawMessage
	if err := parsed.Claims(key, &registered, &payload); err != nil {
		return nil, err
	}
	if registered.Expiry == nil || registered.IssuedAt == nil {
		return nil, fmt.Errorf("claims %+v", registered)
	}
	expected := josejwt.Expected{Issuer: issuer, AnyAudience: josejwt.Audience{"urn:other", api}, Time: o.now()}
	if err := registered.ValidateWithLeeway(expected, token.Leeway); err != nil {
		return nil, err
	}
	return map[string]any{
		"iss": registered.Issuer, "sub": registered.Subject, "aud": []string(registered.Audience), "jti": registered.ID,
		"exp": int64(*registered.Expiry), "iat": int64(*registered.IssuedAt),
	}, nil
}

// golangJWT returns the claims of a token that golang-jwt takes.
func (o *others) golangJWT(raw string) (map[string]any, error) {
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256", "RS256", "EdDSA"}), jwt.WithIssuer(issuer), jwt.WithAudience("urn:other", api),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(token.Leeway), jwt.WithTimeFunc(o.now), jwt.WithStrictDecoding(), jwt.WithJSONNumber())
	_, err := parser.ParseWithClaims(raw, claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		key, ok := o.keys[kid]
		if !ok || key.Algorithm != t.Method.Alg() || t.Header["typ"] != "at+jwt" {
			return nil, fmt.Errorf("header %v", t.Header)
		}
		return key.Key, nil
	})
	if err != nil {
		return nil, err
	}
	aud, err := claims.GetAudience()
	if err != nil {
		return nil, err
	}
	out := map[string]any{"iss": claims["iss"], "sub": claims["sub"], "aud": []string(aud), "jti": claims["jti"]}
	for _, name := range []string{"exp", "iat"} {
		n, _ := claims[name].(json.Number) // it does not ask for iat
		if out[name], err = n.Int64(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// take sees to it that what our verifier takes, both take too, and read as we do.
func (o *others) take(t *testing.T, raw string, ours *token.Access) {
	t.Helper()
	want := map[string]any{
		"iss": ours.Issuer, "sub": ours.Subject, "aud": ours.Audience, "jti": ours.ID, "exp": ours.ExpiresAt.Unix(), "iat": ours.IssuedAt.Unix(),
	}
	for name, verify := range map[string]func(string) (map[string]any, error){"go-jose": o.goJose, "golang-jwt": o.golangJWT} {
		if name == "go-jose" && bringsKeys(raw) {
			continue
		}
		got, err := verify(raw)
		if err != nil {
			t.Errorf("we take what %s refuses: %v\n%s", name, err, said(raw))
		} else if !reflect.DeepEqual(want, got) {
			t.Errorf("we read %v, %s %v\n%s", want, name, got, said(raw))
		}
	}
}

// bringsKeys: go-jose reads jwk and x5c, whether or not they are used, and refuses those that can't be read; and its nonce is
// ACME's. We pass over them (RFC 7515 §4: what is not understood is ignored).
func bringsKeys(raw string) bool {
	var header map[string]json.RawMessage
	data, _ := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[0])
	if json.Unmarshal(data, &header) != nil {
		return false
	}
	return slices.ContainsFunc([]string{"jwk", "x5c", "nonce"}, func(name string) bool { return header[name] != nil })
}

// said is a token's header and claims in plain text.
func said(raw string) string {
	parts := strings.Split(raw, ".")
	var out string
	for _, p := range parts[:min(2, len(parts))] {
		data, _ := base64.RawURLEncoding.DecodeString(p)
		out += fmt.Sprintf("%q ", data)
	}
	return out
}

// corpus calls do with each hostile token of package attack, made by the test's keys.
func corpus(tb testing.TB, now func() time.Time, do func(alg keyring.Algorithm, row attack.Row, raw string)) {
	tb.Helper()
	f := &attack.Forge{
		Type: token.TypeAccess, Issuer: issuer, Audience: api, Client: "app", Now: now, Keys: map[keyring.Algorithm]attack.Key{},
		RevokedGrant: "g_revoked", Elsewhere: "http://127.0.0.1:1",
	}
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		f.Keys[alg] = attack.NewKey(tb, testKeys()[alg])
	}
	f.Other = attack.NewKey(tb, testKeys()[keyring.HS256])
	for _, to := range []*attack.Key{&f.Foreign, &f.Retired, &f.Revoked} {
		k, err := keyring.Generate(keyring.ES256, at(0))
		if err != nil {
			tb.Fatal(err)
		}
		*to = attack.NewKey(tb, k)
	}
	f.Each([]keyring.Algorithm{keyring.ES256, keyring.EdDSA, keyring.RS256}, func(m *attack.Maker, row attack.Row, raw string) {
		do(m.Key.Algorithm, row, raw)
	})
}

// FuzzDifferential: of whatever bytes, we take nothing that either of the others refuses.
func FuzzDifferential(f *testing.F) {
	now := new(clocktest.Clock).Now
	v, o := accessVerifier(f, now), newOthers(f, now)
	taken := 0
	corpus(f, now, func(_ keyring.Algorithm, row attack.Row, raw string) {
		if len(raw) <= token.MaxLength {
			f.Add(raw)
		}
		if _, err := v.Verify(context.Background(), raw); err == nil {
			taken++
		}
	})
	if taken == 0 {
		f.Fatal("nothing of the corpus is taken")
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if ours, err := v.Verify(context.Background(), raw); err == nil {
			o.take(t, raw, ours)
		}
	})
}

// FuzzResigned: the same of whatever header and claims, signed by the key that they are to be verified by, so that all of the
// claims are reached; and of signatures and texts that are changed after that.
func FuzzResigned(f *testing.F) {
	now := new(clocktest.Clock).Now
	v, o := accessVerifier(f, now), newOthers(f, now)
	algs := []keyring.Algorithm{keyring.ES256, keyring.EdDSA}
	for i, alg := range algs {
		f.Add(byte(i), []byte(head(alg, "at+jwt")), []byte(accessClaims), uint16(0), byte(0))
	}
	corpus(f, now, func(alg keyring.Algorithm, row attack.Row, raw string) {
		parts := strings.Split(raw, ".")
		i := slices.Index(algs, alg)
		if i < 0 || len(raw) > token.MaxLength || len(parts) != 3 {
			return
		}
		header, err1 := base64.RawURLEncoding.DecodeString(parts[0])
		claims, err2 := base64.RawURLEncoding.DecodeString(parts[1])
		if err1 == nil && err2 == nil {
			f.Add(byte(i), header, claims, uint16(0), byte(0))
		}
	})
	f.Fuzz(func(t *testing.T, by byte, header, claims []byte, where uint16, flip byte) {
		raw := []byte(forge(t, algs[int(by)%len(algs)], string(header), string(claims)))
		raw[int(where)%len(raw)] ^= flip
		if ours, err := v.Verify(context.Background(), string(raw)); err == nil {
			o.take(t, string(raw), ours)
		}
	})
}

// FuzzStructured: the same of headers and claims that are made by a program, so that most of them are JSON, and many are taken.
func FuzzStructured(f *testing.F) {
	now := new(clocktest.Clock).Now
	v, o := accessVerifier(f, now), newOthers(f, now)
	f.Add([]byte{})
	for i := range 64 {
		f.Add([]byte{byte(i), byte(i), byte(i), byte(7 * i), byte(i), byte(5 * i)})
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		header, claims := programmed(program)
		raw := forge(t, keyring.EdDSA, header, claims)
		if ours, err := v.Verify(context.Background(), raw); err == nil {
			o.take(t, raw, ours)
		}
	})
}

// programmed changes members of a good header and of good claims: three bytes say which, how and to what.
func programmed(program []byte) (header, claims string) {
	members := [][2]string{{"alg", `"EdDSA"`}, {"kid", `"key-EdDSA"`}, {"typ", `"at+jwt"`}}
	const inHeader = 3
	members = append(members, [][2]string{
		{"iss", `"` + issuer + `"`}, {"aud", `"` + api + `"`}, {"sub", `"app"`}, {"client_id", `"app"`}, {"iat", "1767225600"}, {"exp", "1767226500"},
		{"jti", `"j1"`}, {"scope", `"read"`}, {"grant_id", `"g_1"`}, {"auth_time", "1767225500"}, {"epochs", `{"c_1":3}`}, {"x", "1"}, {"nbf", "1767225600"},
	}...)
	values := []string{
		`"` + api + `"`, `["` + api + `"]`, `["urn:x","` + api + `","` + api + `"]`, `["urn:other"]`, "[]", "{}", "null", "true", "0", "-1", "-0", "1", "1.5", "1e3", "1767225600",
		"1767226499", "1767226500.0", "17672265e2", "9007199254740992", "9007199254740993", "1e999", `""`, `"app"`, `"\u0061pp"`, `"\ud83d\ude00"`, `"\ud800"`, "\"\xff\"",
		`"a\u0000"`, `{"c_1":3,"c_2":0}`, `{"a":{"a":[[[[1]]]]}}`, `["b64"]`, `"` + issuer + `"`, `"EdDSA"`, `"at+jwt"`, " 1767226500 ", `"at\u002bjwt"`,
	}
	names := []string{"exp", "EXP", `\u0065xp`, "sub", "\u017fub", "aud", "iss", "nbf", "iat", "jti", "crit", "b64", "zip", "enc", "cnf", "", "x", "typ", "alg", "kid", "jku", "cty", "client_id", "scope"}
	dropped := map[int]bool{}
	extra := map[bool][]string{}
	for ; len(program) >= 3; program = program[3:] {
		at, arg := int(program[0])%len(members), int(program[2])
		switch program[1] % 5 {
		case 0:
			members[at][1] = values[arg%len(values)]
		case 1:
			dropped[at] = true
		case 2:
			members[at][0] = names[arg%len(names)]
		case 3:
			extra[at < inHeader] = append(extra[at < inHeader], `"`+names[arg%len(names)]+`":`+values[(at+arg)%len(values)])
		case 4:
			other := arg % len(members)
			members[at][1], members[other][1] = members[other][1], members[at][1]
		}
	}
	object := func(from, to int, more []string) string {
		var parts []string
		for i := from; i < to; i++ {
			if !dropped[i] {
				parts = append(parts, `"`+members[i][0]+`":`+members[i][1])
			}
		}
		return "{" + strings.Join(append(parts, more...), ",") + "}"
	}
	return object(0, inHeader, extra[true]), object(inHeader, len(members), extra[false])
}

// TestCorpusDifferentially: the corpus with every algorithm, the control of which all three take.
func TestCorpusDifferentially(t *testing.T) {
	now := new(clocktest.Clock).Now
	v, o := accessVerifier(t, now), newOthers(t, now)
	taken, laxer := 0, map[string]int{}
	others := named(t, now)
	corpus(t, now, func(_ keyring.Algorithm, row attack.Row, raw string) {
		ours, err := v.Verify(t.Context(), raw)
		// Whether or not an issuer goes by other names, and by whichever of them a token names it: a verdict is the same.
		for i, other := range others {
			if _, got := other.Verify(t.Context(), raw); fmt.Sprint(got) != fmt.Sprint(err) {
				t.Errorf("%s, %s: %v, and of names %d %v", row.Class, row.Name, err, i, got)
			}
		}
		if err == nil {
			taken++
			o.take(t, raw, ours)
			return
		}
		if _, err := o.goJose(raw); err == nil {
			laxer["go-jose"]++
		}
		if _, err := o.golangJWT(raw); err == nil {
			laxer["golang-jwt"]++
		}
	})
	if taken < 10 {
		t.Errorf("%d were taken", taken)
	}
	t.Logf("%d taken by all; of those that we refuse, others take: %v", taken, laxer)
}
