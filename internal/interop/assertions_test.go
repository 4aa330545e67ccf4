package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// TestAssertions has others' clients sign in by their own key, and a user by password.
func TestAssertions(t *testing.T) {
	t.Parallel()
	i := startIssuer(t, keyring.ES256)
	private, public := newJWK(t)
	file := filepath.Join(t.TempDir(), "jwks.json")
	set, err := json.Marshal(map[string]any{"keys": []any{public}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(i.bin, "client", "create", "signing", "--dir", i.dir, "--scope", "orders:read orders:write", "--jwks", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var demo map[string]any
	data, err := os.ReadFile(filepath.Join(i.dir, "demo.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &demo); err != nil {
		t.Fatal(err)
	}
	var got struct{ Methods, Called []string }
	node(t, "assertions.mjs", map[string]any{
		"issuer": i.URL, "client_id": "signing", "jwk": private, "demo": demo, "whoami_url": i.WhoamiURL, "audience": audience,
	}, &got)
	if !slices.Contains(got.Methods, "private_key_jwt") {
		t.Errorf("the metadata name %q", got.Methods)
	}
	want := []string{"signing orders:read orders:write", "signing orders:read", "signing orders:read orders:write", "u_ orders:read"}
	if !slices.Equal(got.Called, want) {
		t.Errorf("the sample API was told %q, want %q", got.Called, want)
	}
}

// TestLoopbackIssuer brings a person in by the word of an issuer on this machine, whose keys are found by its metadata.
func TestLoopbackIssuer(t *testing.T) {
	t.Parallel()
	i := startIssuer(t, keyring.ES256, "--allow-loopback-issuers")
	key, public := newSigner(t)
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		self := "http://" + r.Host
		answer := map[string]any{"issuer": self, "jwks_uri": self + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}}
		if r.URL.Path == "/keys" {
			answer = map[string]any{"keys": []any{public}}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer idp.Close()
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(i.bin, append(args, "--dir", i.dir)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, &stderr)
		}
		return out
	}
	run("issuer", "add", idp.URL, "--allow-loopback", "--audience", "latchkey", "--scope", "orders:read")
	var web struct {
		Secret string `json:"client_secret"`
	}
	if err := json.Unmarshal(run("client", "create", "web", "--json", "--grant", "jwt-bearer", "--assertion-issuer", idp.URL, "--scope", "orders:read"), &web); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": idp.URL, "sub": "somebody", "aud": "latchkey", "iat": now, "exp": now + 300})
	token.Header["kid"] = "mine"
	raw, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{200, 400} {
		res, err := http.PostForm(i.URL+oauth.PathToken, url.Values{
			"grant_type": {oauth.GrantJWTBearer}, "assertion": {raw}, "client_id": {"web"}, "client_secret": {web.Secret},
		})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("status %d, want %d", res.StatusCode, want)
		}
	}
}

// newJWK makes a key, with its private half and without.
func newJWK(t *testing.T) (private, public map[string]string) {
	t.Helper()
	key, public := newSigner(t)
	d, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	private = maps.Clone(public)
	private["d"] = base64.RawURLEncoding.EncodeToString(d)
	return private, public
}

// newSigner makes a key, with the JWK of its public half.
func newSigner(t *testing.T) (key *ecdsa.PrivateKey, public map[string]string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return key, map[string]string{"kty": "EC", "crv": "P-256", "kid": "mine", "x": b64(point[1:33]), "y": b64(point[33:])}
}
