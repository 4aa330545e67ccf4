package dpop_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/clocktest"
	"github.com/latchkey-auth/latchkey/internal/dpoptest"
	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

const (
	url         = "https://api.example/orders"
	accessToken = "a.b.c"
)

type object = dpoptest.Object

func verify(v *dpop.Verifier, proof string) (*dpop.Proof, error) {
	return v.Verify(context.Background(), []string{proof}, dpop.Request{Method: "GET", URLs: []string{"https://other.example/orders", url}, AccessToken: accessToken})
}

// refused fails the test unless err is that verdict.
func refused(t *testing.T, what string, proof *dpop.Proof, err error, reason dpop.Reason) {
	t.Helper()
	var bad *dpop.InvalidError
	if !errors.As(err, &bad) || bad.Reason != reason || proof != nil {
		t.Errorf("%s: got %+v, %v; want it refused for %s", what, proof, err, reason)
	}
}

// TestStandardVectors takes the proofs printed in RFC 9449, whose key has the thumbprint printed in its section 6.1.
func TestStandardVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/rfc9449.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Section, Proof, Method, URL, JTI string
		IAT                              int64
		AccessToken                      string `json:"access_token"`
	}
	if err := json.Unmarshal(data, &vectors); err != nil || len(vectors) != 2 {
		t.Fatal(err, len(vectors))
	}
	for _, x := range vectors {
		v := &dpop.Verifier{Now: func() time.Time { return time.Unix(x.IAT, 0) }}
		r := dpop.Request{Method: x.Method, URLs: []string{x.URL}, AccessToken: x.AccessToken}
		got, err := v.Verify(t.Context(), []string{x.Proof}, r)
		if err != nil {
			t.Errorf("%s: %v", x.Section, err)
			continue
		}
		want := dpop.Proof{Thumbprint: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", ID: x.JTI, IssuedAt: time.Unix(x.IAT, 0)}
		if *got != want {
			t.Errorf("%s: got %+v, want %+v", x.Section, *got, want)
		}
	}
}

func TestAlgorithms(t *testing.T) {
	var clock clocktest.Clock
	v := &dpop.Verifier{Now: clock.Now}
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		key := dpoptest.New(t, alg)
		got, err := verify(v, key.Proof("GET", url, clock.Now(), dpoptest.For(accessToken)))
		if err != nil || got.Thumbprint != key.Thumbprint() {
			t.Errorf("%s: %+v, %v; want the thumbprint %s", alg, got, err, key.Thumbprint())
		}
	}
	key := dpoptest.New(t, "EdDSA")
	header := key.Header()
	header["alg"] = "Ed25519" // RFC 9864
	if _, err := verify(v, key.Sign(header, with(dpoptest.Claims("GET", url, clock.Now()), dpoptest.For(accessToken)))); err != nil {
		t.Errorf("Ed25519: %v", err)
	}
}

func with(o object, more ...object) object {
	o = maps.Clone(o)
	for _, m := range more {
		for name, value := range m {
			if value == nil {
				delete(o, name)
			} else {
				o[name] = value
			}
		}
	}
	return o
}

// TestRefusals goes through RFC 9449 §4.3, item by item.
func TestRefusals(t *testing.T) {
	var clock clocktest.Clock
	now := clock.Now()
	v := &dpop.Verifier{Now: clock.Now}
	key, other, rsa, p384 := dpoptest.New(t, "ES256"), dpoptest.New(t, "ES256"), dpoptest.New(t, "RS256"), dpoptest.New(t, "ES384")
	head, claims := key.Header(), with(dpoptest.Claims("GET", url, now), dpoptest.For(accessToken))
	good := key.Sign(head, claims)
	if _, err := verify(v, good); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	h := func(change object) string { return key.Sign(with(head, change), claims) }
	c := func(change object) string { return key.Sign(head, with(claims, change)) }
	jwk := func(change object) string { return h(object{"jwk": with(key.JWK(), change)}) }
	text := func(o object) string {
		data, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	// A member that is there already, once more.
	twice := func(o object, name string) string {
		return strings.Replace(text(o), `{`, `{"`+name+`":"x",`, 1)
	}

	request := dpop.Request{Method: "GET", URLs: []string{url}, AccessToken: accessToken}
	p, err := v.Verify(t.Context(), nil, request)
	refused(t, "no header", p, err, dpop.ReasonMissing)
	p, err = v.Verify(t.Context(), []string{good, good}, request)
	refused(t, "1: two headers", p, err, dpop.ReasonRepeated)

	for _, row := range []struct {
		what, proof string
		reason      dpop.Reason
	}{
		{"1: two headers in one", good + "," + good, dpop.ReasonMalformed},
		{"2: empty", "", dpop.ReasonMalformed},
		{"2: two parts", parts[0] + "." + parts[1], dpop.ReasonMalformed},
		{"2: four parts", good + ".x", dpop.ReasonMalformed},
		{"2: no signature", parts[0] + "." + parts[1] + ".", dpop.ReasonMalformed},
		{"2: padding", parts[0] + "=." + parts[1] + "." + parts[2], dpop.ReasonMalformed},
		{"2: a space before it", " " + good, dpop.ReasonMalformed},
		{"2: a line break", parts[0] + "\n." + parts[1] + "." + parts[2], dpop.ReasonMalformed},
		{"2: too long", c(object{"x": strings.Repeat("x", dpop.MaxLength)}), dpop.ReasonMalformed},
		{"2: a header that is no object", key.SignRaw(`[]`, text(claims)), dpop.ReasonMalformed},
		{"2: claims that are no object", key.SignRaw(text(head), `"x"`), dpop.ReasonMalformed},
		{"2: alg twice", key.SignRaw(twice(head, "alg"), text(claims)), dpop.ReasonMalformed},
		{"2: jwk twice", key.SignRaw(twice(head, "jwk"), text(claims)), dpop.ReasonMalformed},
		{"2: htu twice", key.SignRaw(text(head), twice(claims, "htu")), dpop.ReasonMalformed},
		{"2: crit", h(object{"crit": []string{"exp"}}), dpop.ReasonMalformed},
		{"2: b64", h(object{"b64": false}), dpop.ReasonMalformed},
		{"3: no jti", c(object{"jti": nil}), dpop.ReasonMalformed},
		{"3: an empty jti", c(object{"jti": ""}), dpop.ReasonMalformed},
		{"3: a jti that is a number", c(object{"jti": 1}), dpop.ReasonMalformed},
		{"3: a long jti", c(object{"jti": strings.Repeat("x", dpop.MaxID+1)}), dpop.ReasonMalformed},
		{"3: no htm", c(object{"htm": nil}), dpop.ReasonMalformed},
		{"3: no htu", c(object{"htu": nil}), dpop.ReasonMalformed},
		{"3: no iat", c(object{"iat": nil}), dpop.ReasonMalformed},
		{"3: an iat that is a text", c(object{"iat": "1767225600"}), dpop.ReasonMalformed},
		{"3: the name in upper case", c(object{"iat": nil, "IAT": now.Unix()}), dpop.ReasonMalformed},
		{"4: no typ", h(object{"typ": nil}), dpop.ReasonType},
		{"4: typ JWT", h(object{"typ": "JWT"}), dpop.ReasonType},
		{"4: typ in upper case", h(object{"typ": "DPoP+JWT"}), dpop.ReasonType},
		{"5: no alg", h(object{"alg": nil}), dpop.ReasonAlgorithm},
		{"5: none", h(object{"alg": "none"}), dpop.ReasonAlgorithm},
		{"5: HS256", h(object{"alg": "HS256"}), dpop.ReasonAlgorithm},
		{"5: one that is not taken", h(object{"alg": "PS256"}), dpop.ReasonAlgorithm},
		{"5: ES384 with its key", p384.Sign(p384.Header(), claims), dpop.ReasonAlgorithm},
		{"5: alg and key of two kinds", h(object{"alg": "RS256"}), dpop.ReasonKey},
		{"5: another curve than alg's", h(object{"jwk": p384.JWK()}), dpop.ReasonKey},
		{"5: an RSA key for ES256", h(object{"jwk": rsa.JWK()}), dpop.ReasonKey},
		{"5: a jwk for another alg", jwk(object{"alg": "RS256"}), dpop.ReasonKey},
		{"5: a jwk for encryption", jwk(object{"use": "enc"}), dpop.ReasonKey},
		{"6: no jwk", h(object{"jwk": nil}), dpop.ReasonKey},
		{"6: another jwk", h(object{"jwk": other.JWK()}), dpop.ReasonSignature},
		{"6: another's claims", parts[0] + "." + strings.Split(other.Sign(head, dpoptest.Claims("GET", url, now)), ".")[1] + "." + parts[2], dpop.ReasonSignature},
		{"6: a point that is not on the curve", jwk(object{"x": other.JWK()["x"]}), dpop.ReasonKey},
		{"6: a short coordinate", jwk(object{"x": "AAAA"}), dpop.ReasonKey},
		{"6: a jwk that is a text", h(object{"jwk": "x"}), dpop.ReasonMalformed},
		{"7: a private key", h(object{"jwk": key.PrivateJWK()}), dpop.ReasonKey},
		{"7: a private RSA key", rsa.Sign(with(rsa.Header(), object{"jwk": rsa.PrivateJWK()}), claims), dpop.ReasonKey},
		{"7: a private member that is empty", jwk(object{"d": ""}), dpop.ReasonKey},
		{"7: a symmetric key", h(object{"jwk": object{"kty": "oct", "k": "AAAA"}}), dpop.ReasonKey},
		{"8: another method", c(object{"htm": "POST"}), dpop.ReasonMethod},
		{"8: in lower case", c(object{"htm": "get"}), dpop.ReasonMethod},
		{"9: another path", c(object{"htu": url + "/1"}), dpop.ReasonURL},
		{"9: another host", c(object{"htu": "https://evil.example/orders"}), dpop.ReasonURL},
		{"9: another scheme", c(object{"htu": "http://api.example/orders"}), dpop.ReasonURL},
		{"9: a path alone", c(object{"htu": "/orders"}), dpop.ReasonURL},
		{"9: a user", c(object{"htu": "https://api.example@evil.example/orders"}), dpop.ReasonURL},
		{"11: too old", c(object{"iat": now.Add(-dpop.DefaultWindow - token.Leeway).Unix()}), dpop.ReasonTime},
		{"11: too new", c(object{"iat": now.Add(token.Leeway + time.Second).Unix()}), dpop.ReasonTime},
		{"11: a negative iat", c(object{"iat": -1}), dpop.ReasonTime},
		{"11: it has ended", c(object{"exp": now.Add(-token.Leeway).Unix()}), dpop.ReasonTime},
		{"11: it has not begun", c(object{"nbf": now.Add(token.Leeway + time.Second).Unix()}), dpop.ReasonTime},
		{"12: no ath", c(object{"ath": nil}), dpop.ReasonToken},
		{"12: for another token", c(dpoptest.For("another")), dpop.ReasonToken},
	} {
		p, err := verify(v, row.proof)
		refused(t, row.what, p, err, row.reason)
	}

	for what, proof := range map[string]string{
		"a query and a fragment in htu": c(object{"htu": url + "?a=b#c"}),
		"just new enough":               c(object{"iat": now.Add(token.Leeway).Unix()}),
		"just not too old":              c(object{"iat": now.Add(time.Second - dpop.DefaultWindow - token.Leeway).Unix()}),
		"a nonce that nobody asked for": c(object{"nonce": "x"}),
		"what is passed over":           h(object{"kid": "x", "jku": "https://evil.example", "x5c": []string{"x"}}),
		"a jwk that says its alg":       jwk(object{"alg": "ES256", "use": "sig", "kid": "x"}),
		"a long jti":                    c(object{"jti": strings.Repeat("x", dpop.MaxID)}),
	} {
		if _, err := verify(v, proof); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBound(t *testing.T) {
	p := &dpop.Proof{Thumbprint: "mine"}
	if err := p.Bound(token.Confirmation{JKT: "mine"}); err != nil {
		t.Error(err)
	}
	refused(t, "another's", nil, p.Bound(token.Confirmation{JKT: "other"}), dpop.ReasonBinding)
	refused(t, "nobody's", nil, p.Bound(token.Confirmation{}), dpop.ReasonBinding)
}

func source(t testing.TB, clock *clocktest.Clock, alg keyring.Algorithm) *keyring.Source {
	t.Helper()
	key, err := keyring.Generate(alg, clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseRefresh, Keys: []keyring.Key{key}}
	return keyring.NewSource(keyring.SourceConfig{Now: clock.Now, Load: func(context.Context) (*keyring.Document, error) { return d, nil }})
}

func TestNonces(t *testing.T) {
	for _, alg := range []keyring.Algorithm{keyring.HS256, keyring.ES256, keyring.RS256} { // the latter as with KMS
		var clock clocktest.Clock
		keys := source(t, &clock, alg)
		v := &dpop.Verifier{Now: clock.Now, Nonces: &dpop.Nonces{Keys: keys, Now: clock.Now}}
		elsewhere := &dpop.Nonces{Keys: keys, Now: clock.Now}
		strangers := &dpop.Nonces{Keys: source(t, &clock, alg), Now: clock.Now}
		key := dpoptest.New(t, "ES256")
		try := func(nonce string) error {
			_, err := verify(v, key.Proof("GET", url, clock.Now(), dpoptest.For(accessToken), object{"nonce": nonce}))
			return err
		}
		current := func(n *dpop.Nonces) string {
			nonce, err := n.Current(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return nonce
		}
		var wanted *dpop.NonceError
		if err := try(""); !errors.As(err, &wanted) {
			t.Fatalf("%s: no nonce: %v", alg, err)
		}
		if err := try(wanted.Nonce); err != nil {
			t.Errorf("%s: the nonce that was asked for: %v", alg, err)
		}
		if err := try(current(elsewhere)); err != nil {
			t.Errorf("%s: another process's nonce: %v", alg, err)
		}
		mine := strings.Split(wanted.Nonce, ".")
		for what, nonce := range map[string]string{
			"a stranger's":           current(strangers),
			"not one of the shape":   "x",
			"no time":                "x." + mine[1] + "." + mine[2],
			"a later time":           "1767225601." + mine[1] + "." + mine[2],
			"an overflowing time":    "99999999999999999999." + mine[1] + "." + mine[2],
			"no signature":           mine[0] + "." + mine[1] + ".",
			"an id that is not b64":  mine[0] + ".!." + mine[2],
			"too long to be ours":    mine[0] + "." + mine[1] + "." + strings.Repeat("A", 1024),
			"a part that is no part": wanted.Nonce + ".x",
		} {
			if err := try(nonce); !errors.As(err, new(*dpop.NonceError)) {
				t.Errorf("%s: %s: %v", alg, what, err)
			}
		}
		clock.Move(dpop.NonceLife - time.Second)
		if err := try(wanted.Nonce); err != nil {
			t.Errorf("%s: in its last second: %v", alg, err)
		}
		clock.Move(time.Second)
		if err := try(wanted.Nonce); !errors.As(err, new(*dpop.NonceError)) {
			t.Errorf("%s: after its life: %v", alg, err)
		}
	}
}

// TestNonceOutage: keys that can't be read are no fault of the proof.
func TestNonceOutage(t *testing.T) {
	var clock clocktest.Clock
	outage := errors.New("no keys")
	keys := keyring.NewSource(keyring.SourceConfig{Now: clock.Now, Log: slog.New(slog.DiscardHandler), Load: func(context.Context) (*keyring.Document, error) { return nil, outage }})
	v := &dpop.Verifier{Now: clock.Now, Nonces: &dpop.Nonces{Keys: keys, Now: clock.Now}}
	nonce, err := (&dpop.Nonces{Keys: source(t, &clock, keyring.HS256), Now: clock.Now}).Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, nonce := range []string{"", nonce} {
		key := dpoptest.New(t, "ES256")
		if _, err := verify(v, key.Proof("GET", url, clock.Now(), dpoptest.For(accessToken), object{"nonce": nonce})); !errors.Is(err, outage) {
			t.Errorf("nonce %q: %v", nonce, err)
		}
	}
}

func TestReplays(t *testing.T) {
	var clock clocktest.Clock
	v := &dpop.Verifier{Now: clock.Now, Replays: &dpop.Replays{Max: 3}}
	key, other := dpoptest.New(t, "ES256"), dpoptest.New(t, "ES256")
	claims := with(dpoptest.Claims("GET", url, clock.Now().Add(token.Leeway)), dpoptest.For(accessToken))
	mine := key.Sign(key.Header(), claims)
	ok := func(what, proof string) {
		t.Helper()
		if _, err := verify(v, proof); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	again := func(what string) {
		t.Helper()
		p, err := verify(v, mine)
		refused(t, what, p, err, dpop.ReasonReplayed)
	}
	ok("the first time", mine)
	again("the second time")
	ok("another client with the same jti", other.Sign(other.Header(), claims))
	for range 5 {
		ok("more than are remembered", key.Proof("GET", url, clock.Now(), dpoptest.For(accessToken)))
	}
	again("what is remembered stays so")
	clock.Move(dpop.DefaultWindow + 2*token.Leeway - time.Second)
	again("to its end")
	clock.Move(dpop.DefaultWindow + 2*token.Leeway)
	ok("there is room again", key.Proof("GET", url, clock.Now(), dpoptest.For(accessToken)))
}

// FuzzVerify: nothing panics, and what is accepted is a proof for this request whose key is told by its thumbprint.
func FuzzVerify(f *testing.F) {
	var clock clocktest.Clock
	v := &dpop.Verifier{Now: clock.Now}
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		key := dpoptest.New(f, alg)
		f.Add(key.Proof("GET", url, clock.Now(), dpoptest.For(accessToken)))
		f.Add(key.Sign(key.Header(), object{}))
	}
	f.Add("..")
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := verify(v, raw)
		switch {
		case err != nil && !errors.As(err, new(*dpop.InvalidError)):
			t.Errorf("%q: %v is no verdict", raw, err)
		case err == nil && (len(p.Thumbprint) != 43 || p.ID == "" || strings.Count(raw, ".") != 2):
			t.Errorf("%q: accepted as %+v", raw, p)
		}
	})
}
