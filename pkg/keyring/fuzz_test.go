package keyring_test

import (
	"crypto"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// FuzzParseJWKS: each key that is taken is the one that go-jose reads there, public, and for signatures.
func FuzzParseJWKS(f *testing.F) {
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		f.Add(jwks(jwk(f, alg)))
		f.Add(jwks(jwk(f, alg, "alg", "", "use", "")))
	}
	f.Add([]byte(`{"keys":[{"kty":"oct","kid":"1","k":"AAAA"}]}`))
	f.Add([]byte(`{"KEYS":[],"keys":[{"kty":"EC","crv":"P-521","kid":"1","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := keyring.ParseJWKS(data)
		if err != nil {
			return
		}
		var raw struct {
			Keys []json.RawMessage `json:"keys"`
		}
		if err := json.Unmarshal(data, &raw); err != nil {
			t.Fatalf("accepted %q: %v", data, err)
		}
		taken := 0
		for _, one := range raw.Keys {
			var named map[string]any
			if err := json.Unmarshal(one, &named); err != nil {
				t.Fatalf("accepted %q: %v", data, err)
			}
			kid, _ := named["kid"].(string)
			ours, err := set.Key(kid)
			if err != nil || kid == "" || named["use"] != nil && named["use"] != "sig" && named["use"] != "" {
				continue
			}
			theirs, ok := independently(t, named)
			if !ok {
				continue // not of a kind that is taken: another of the same id was
			}
			taken++
			if !theirs.Valid() || !theirs.IsPublic() {
				t.Errorf("%s: go-jose has no valid public key of it", one)
			}
			want, err := theirs.Thumbprint(crypto.SHA256)
			got, err2 := ours.Thumbprint()
			if err != nil || err2 != nil || got != b64(want) {
				t.Errorf("%s: thumbprint %s, %v; go-jose has %s, %v", one, got, err2, b64(want), err)
			}
		}
		if taken == 0 {
			t.Errorf("accepted %q, of which go-jose takes nothing", data)
		}
	})
}

// independently has go-jose read a key by what we read of it: what else there is, such as a certificate, or a member
// of another kind of key, we pass over.
func independently(t *testing.T, named map[string]any) (key jose.JSONWebKey, ok bool) {
	t.Helper()
	alg := map[any]any{"EC": "ES256", "RSA": "RS256", "OKP": "EdDSA"}[named["kty"]]
	if a := named["alg"]; alg == nil || a != nil && a != "" && a != alg {
		return key, false
	}
	known := map[string]any{}
	members := map[any][]string{"EC": {"crv", "x", "y"}, "RSA": {"n", "e"}, "OKP": {"crv", "x"}}[named["kty"]]
	for _, name := range append(members, "kty", "kid", "use", "alg") {
		if v, ok := named[name]; ok {
			known[name] = v
		}
	}
	if crv := named["crv"]; named["kty"] == "EC" && crv != "P-256" || named["kty"] == "OKP" && crv != "Ed25519" {
		return key, false
	}
	text, err := json.Marshal(known)
	if err == nil {
		err = json.Unmarshal(text, &key)
	}
	if err != nil {
		t.Errorf("taken: %s; go-jose: %v", text, err)
	}
	return key, err == nil
}

// FuzzParseDocument: what is read is written and read as the same, and shows nothing that is private.
func FuzzParseDocument(f *testing.F) {
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.EdDSA, keyring.HS256} {
		key, err := keyring.Generate(alg, start)
		if err != nil {
			f.Fatal(err)
		}
		use := keyring.UseAccess
		if alg == keyring.HS256 {
			use = keyring.UseRefresh
		}
		f.Add(toJSON(f, document(use, key)), use == keyring.UseAccess)
	}
	f.Add([]byte(`{"version":1,"use":"access","keys":[]}`), true)
	f.Fuzz(func(t *testing.T, data []byte, access bool) {
		use := keyring.UseRefresh
		if access {
			use = keyring.UseAccess
		}
		d, err := keyring.ParseDocument(data, use)
		if err != nil {
			if d != nil {
				t.Errorf("%v, and a document", err)
			}
			return
		}
		again, err := keyring.ParseDocument(toJSON(t, d), use)
		if err != nil || !again.Same(d) {
			t.Fatalf("%q reads as %s, and that as %s, %v", data, toJSON(t, d), toJSON(t, again), err)
		}
		shown := fmt.Sprintf("%v %+v %#v", d, d, d)
		for _, k := range d.Keys {
			shown += fmt.Sprintf("%v %+v %#v", k, k, k)
			for _, private := range [][]byte{k.Secret, k.Private} {
				if len(private) > 8 && (strings.Contains(shown, string(private)) || strings.Contains(shown, b64(private)[:10])) {
					t.Errorf("%s shows what is private", shown)
				}
			}
		}
		if _, err := d.Public(); (err == nil) != access {
			t.Errorf("public: %v", err)
		}
	})
}

// FuzzParsePublicDocument: what is read can be published, and verifies.
func FuzzParsePublicDocument(f *testing.F) {
	for _, alg := range []keyring.Algorithm{keyring.ES256, keyring.RS256, keyring.EdDSA} {
		key, err := keyring.Generate(alg, start)
		if err != nil {
			f.Fatal(err)
		}
		public, err := document(keyring.UseAccess, key).Public()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(toJSON(f, public))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := keyring.ParsePublicDocument(data)
		if err != nil {
			return
		}
		for _, k := range p.JWKS(start).Keys {
			key, err := k.VerificationKey()
			if err != nil {
				t.Fatalf("%q: %v", data, err)
			}
			if _, err := key.Thumbprint(); err != nil {
				t.Errorf("%q: %v", data, err)
			}
			text := strings.ToLower(string(toJSON(t, k)))
			for _, private := range []string{`"d":`, `"k":`, `"p":`} {
				if strings.Contains(text, private) {
					t.Errorf("%s is published", text)
				}
			}
		}
	})
}
