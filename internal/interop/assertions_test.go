package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
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

// newJWK makes a key, with its private half and without.
func newJWK(t *testing.T) (private, public map[string]string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	public = map[string]string{"kty": "EC", "crv": "P-256", "kid": "mine", "x": b64(point[1:33]), "y": b64(point[33:])}
	private = map[string]string{"d": b64(d)}
	for name, value := range public {
		private[name] = value
	}
	return private, public
}
