package interop

import (
	"encoding/json"
	"os/exec"
	"slices"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// TestDPoP has openid-client go through the recommended profile (RFC 9449), and a thief through it without the key.
func TestDPoP(t *testing.T) {
	t.Parallel()
	i := startIssuer(t, keyring.ES256)
	var made struct {
		Secret string `json:"client_secret"`
	}
	out, err := exec.Command(i.bin, "client", "create", "till", "--dir", i.dir, "--refresh-mode", "dpop", "--scope", "orders:read orders:write", "--json").Output()
	if err != nil || json.Unmarshal(out, &made) != nil {
		t.Fatalf("client create: %v\n%s", err, out)
	}
	for _, alg := range []string{"ES256", "Ed25519", "RS256"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			var got struct {
				Types, Algorithms []string
				Called, Thief     []int
				Refused           []string
			}
			node(t, "dpop.mjs", map[string]string{
				"issuer": i.URL, "client_id": "till", "client_secret": made.Secret, "whoami_url": i.WhoamiURL, "audience": audience, "algorithm": alg,
			}, &got)
			if !slices.Equal(got.Types, []string{"dpop", "dpop", "dpop"}) || !slices.Contains(got.Algorithms, alg) {
				t.Errorf("token types %q, algorithms %q", got.Types, got.Algorithms)
			}
			if !slices.Equal(got.Called, []int{200, 200, 200}) {
				t.Errorf("the owner's calls: %v", got.Called)
			}
			if !slices.Equal(got.Thief, []int{401, 401, 401, 200}) {
				t.Errorf("the token alone, as a bearer token, with another key, and once more by its owner: %v", got.Thief)
			}
			if want := []string{"400 invalid_dpop_proof", "400 invalid_dpop_proof", "400 invalid_grant", "400 invalid_dpop_proof"}; !slices.Equal(got.Refused, want) {
				t.Errorf("refreshes and a sign-in without the key: %q, want %q", got.Refused, want)
			}
		})
	}
}
