package assertion

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

func TestValidURL(t *testing.T) {
	for _, s := range []string{"https://a.example", "https://a.example:8443/tenant", "http://127.0.0.1:3000", "http://localhost", "http://[::1]:1/x"} {
		if err := ValidURL("issuer", s, false); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{
		"", "a.example", "http://a.example", "http://127.0.0.1.example", "https://", "https:///x", "https://u@a.example", "https://a.example#x", "ftp://a.example",
		"https://a.example?x=1", "https://a.example?", "https://a.example/" + strings.Repeat("x", MaxURL), "http://169.254.169.254",
		"https://a.example/a b", "https://a.example/\u009b2J", "https://a.example/\u202e", "https://b\u00fccher.example",
	} {
		if ValidURL("issuer", s, false) == nil {
			t.Errorf("%s is taken", s)
		}
	}
	if ValidURL("jwks_uri", "https://a.example/keys?v=1", true) != nil {
		t.Error("a jwks_uri may have a query")
	}
}

const aJWKS = `{ "keys": [{"kty":"EC","crv":"P-256","kid":"1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`

func TestParseKeys(t *testing.T) {
	s, err := ParseKeys([]byte(aJWKS))
	if err != nil || s.URL() != "" || s.JWKS() == nil || strings.Contains(string(s), " ") {
		t.Errorf("%s, %v", s, err)
	}
	for what, set := range map[string]string{
		"nothing": "", "no JSON": "{", "a list": "[" + aJWKS + "]", "a text": `"x"`, "no keys": `{"keys":[]}`, "no kid": strings.Replace(aJWKS, `"kid":"1",`, "", 1),
		"a private key": strings.Replace(aJWKS, `"kid"`, `"d":"AA","kid"`, 1), "too much": strings.Replace(aJWKS, `"1"`, `"`+strings.Repeat("1", MaxStoredJWKS)+`"`, 1),
	} {
		if s, err := ParseKeys([]byte(set)); err == nil {
			t.Errorf("%s is taken: %s", what, s)
		}
	}
	remote := KeySource("https://a.example/keys")
	if remote.URL() != string(remote) || remote.JWKS() != nil || remote.Validate() != nil || KeySource("keys.json").Validate() == nil || KeySource("").Validate() != nil {
		t.Error("a URL is a source, and a file's name is none")
	}
}

// TestHash: what is kept apart can't be put together otherwise.
func TestHash(t *testing.T) {
	seen := map[string]string{}
	for _, texts := range [][]string{{"a", "bc"}, {"ab", "c"}, {"abc"}, {"abc", ""}, {"", "abc"}, {"a", "b", "c"}, {}} {
		h := Hash(texts...)
		if other, twice := seen[h]; twice || len(h) != 43 {
			t.Errorf("%q has the hash of %s", texts, other)
		}
		seen[h] = strings.Join(texts, "|")
	}
}

type noKeys struct{ err error }

func (k noKeys) VerificationKey(context.Context, string) (keyring.VerificationKey, error) {
	return keyring.VerificationKey{}, k.err
}

// TestOutage: keys that can't be had are no fault of the assertion's.
func TestOutage(t *testing.T) {
	part := base64.RawURLEncoding.EncodeToString
	raw := part([]byte(`{"alg":"ES256","kid":"1"}`)) + "." + part([]byte(`{"iss":"a","sub":"b"}`)) + "." + part([]byte("x"))
	var bad *InvalidError
	e := Expect{Issuer: "a", Algorithms: Algorithms}
	if _, err := Verify(t.Context(), raw, noKeys{errors.New("away")}, e, time.Now()); err == nil || errors.As(err, &bad) {
		t.Errorf("an outage: %v", err)
	}
	if _, err := Verify(t.Context(), raw, noKeys{keyring.ErrUnknownKey}, e, time.Now()); !errors.As(err, &bad) {
		t.Errorf("an unknown key: %v", err)
	}
}

// FuzzVerify: whatever it is, it is refused, and in words that hold nothing of it.
func FuzzVerify(f *testing.F) {
	part := base64.RawURLEncoding.EncodeToString
	for _, parts := range [][2]string{
		{`{"alg":"ES256","kid":"1"}`, `{"iss":"a","sub":"b","aud":"c","exp":1,"iat":1}`}, {`{"alg":"none","kid":"1"}`, `{}`},
		{`{"alg":"ES256","kid":"1","crit":["x"]}`, `{"iss":1}`}, {`[]`, `null`},
	} {
		f.Add(part([]byte(parts[0])) + "." + part([]byte(parts[1])) + "." + part([]byte("signature")))
	}
	f.Add("..")
	set, err := keyring.ParseJWKS([]byte(aJWKS))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var bad *InvalidError
		if _, _, err := Peek(raw); err != nil && !errors.As(err, &bad) {
			t.Errorf("Peek: %v", err)
		}
		_, err := Verify(t.Context(), raw, keysOf{set}, Expect{Issuer: "a", Audiences: []string{"c"}, Algorithms: Algorithms}, time.Unix(1, 0))
		if !errors.As(err, &bad) {
			t.Errorf("Verify: %v", err)
		}
	})
}

type keysOf struct{ set *keyring.KeySet }

func (k keysOf) VerificationKey(_ context.Context, kid string) (keyring.VerificationKey, error) {
	return k.set.Key(kid)
}
