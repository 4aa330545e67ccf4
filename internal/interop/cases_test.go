package interop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// object is a JSON object.
type object = map[string]any

// tokenCase is a token, and what verifiers must make of it.
type tokenCase struct {
	name  string
	token string
	scope string // of a good one; empty: it must be refused
}

// cases are the tokens that every verifier gets: two from the endpoints, and such as an attacker or a mistake could bring.
func (i *issuer) cases(t *testing.T) []tokenCase {
	t.Helper()
	grant := i.post(t, oauth.PathToken, url.Values{"grant_type": {"client_credentials"}})
	refreshed := i.post(t, oauth.PathRefresh, url.Values{
		"grant_type": {"refresh_token"}, "client_id": {i.ClientID}, "refresh_token": {grant.RefreshToken}, "scope": {"orders:read"},
	})
	good := grant.AccessToken
	parts := strings.Split(good, ".")
	head, claims := decoded(t, parts[0]), decoded(t, parts[1])
	now := time.Now()

	sign := func(key keyring.SigningKey, changes ...object) string {
		h, c := maps.Clone(head), maps.Clone(claims)
		maps.Copy(h, changes[0])
		if len(changes) > 1 {
			maps.Copy(c, changes[1])
		}
		input := encoded(t, h) + "." + encoded(t, c)
		signature, err := key.Sign(t.Context(), []byte(input))
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	ours := func(changes ...object) string { return sign(i.key, append([]object{{}}, changes...)...) }
	typed := func(typ string) string { return sign(i.key, object{"typ": typ}) }
	thief, thiefs := newKey(t, i.key.Algorithm)
	hmacked := encoded(t, object{"alg": "HS256", "kid": i.key.ID, "typ": token.TypeAccess}) + "." + parts[1]
	mac := hmac.New(sha256.New, i.publicPEM)
	mac.Write([]byte(hmacked))

	return []tokenCase{
		{"signed in", good, "orders:read orders:write"},
		{"refreshed", refreshed.AccessToken, "orders:read"},
		{"signed by the test", ours(), "orders:read orders:write"}, // that the bad ones differ from by what their names say alone

		{"expired", ours(object{"iat": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(-time.Hour).Unix()}), ""},
		{"of another issuer", ours(object{"iss": "https://other.example"}), ""},
		{"for another audience", ours(object{"aud": "https://other.example"}), ""},
		{"for nobody", ours(object{"aud": []string{}}), ""},
		{"with another signature", parts[0] + "." + parts[1] + "." + strings.Split(refreshed.AccessToken, ".")[2], ""},
		{"with more scope", parts[0] + "." + encoded(t, merged(claims, object{"scope": "orders:read orders:write admin"})) + "." + parts[2], ""},
		{"without a signature", parts[0] + "." + parts[1] + ".", ""},
		{"alg none", encoded(t, object{"alg": "none", "kid": i.key.ID, "typ": token.TypeAccess}) + "." + parts[1] + ".", ""},
		{"alg none, with a signature", encoded(t, object{"alg": "none", "kid": i.key.ID, "typ": token.TypeAccess}) + "." + parts[1] + "." + parts[2], ""},
		{"by the public key as a secret", hmacked + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), ""},
		{"by another key, in our key's name", sign(thief, object{}), ""},
		{"by a key that is not published", sign(thief, object{"kid": thief.ID}), ""},
		{"by a key that it brings along", sign(thief, object{"kid": thief.ID, "jwk": thiefs}), ""},
		{"a refresh token", grant.RefreshToken, ""},
		{"typed as a refresh token", typed(token.TypeRefresh), ""},
		{"typed as any JWT", typed("JWT"), ""},
		{"bound to a key", ours(object{"cnf": object{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}), ""},
		{"bound to a certificate", ours(object{"cnf": object{"x5t#S256": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}), ""},
		{"cut off", parts[0] + "." + parts[1], ""},
		{"no token at all", "opaque", ""},
	}
}

// post sends a form to an endpoint, with the client's secret where that is taken.
func (i *issuer) post(t *testing.T, path string, form url.Values) oauth.TokenResponse {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if path == oauth.PathToken {
		req.SetBasicAuth(i.ClientID, i.ClientSecret)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer oauth.TokenResponse
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("%s: %d %s", path, res.StatusCode, body)
	}
	return answer
}

// newKey is a key that the issuer does not have.
func newKey(t *testing.T, alg keyring.Algorithm) (keyring.SigningKey, keyring.JWK) {
	t.Helper()
	key, err := keyring.Generate(alg, time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	d := &keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{key}}
	public, err := d.Public()
	if err != nil {
		t.Fatal(err)
	}
	signing, _ := signing(t, d)
	return signing, public.Keys[0].JWK
}

func decoded(t *testing.T, segment string) object {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	var o object
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	if err := d.Decode(&o); err != nil {
		t.Fatal(err)
	}
	return o
}

func encoded(t *testing.T, o object) string {
	t.Helper()
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func merged(a, b object) object {
	c := maps.Clone(a)
	maps.Copy(c, b)
	return c
}
