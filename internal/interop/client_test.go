package interop

import (
	"slices"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// TestClients has others' clients go through the whole flow. An answer that they can't make sense of ends them.
func TestClients(t *testing.T) {
	t.Parallel()
	i := startIssuer(t, keyring.ES256)
	for _, script := range []string{"openid-client.mjs", "oauth4webapi.mjs"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			var got struct {
				Said   []string // the scope of each token, as the token endpoints say it
				Called []string // and as the sample API was told it
				More   string   // the answer to asking for more
			}
			node(t, script, map[string]string{
				"issuer": i.URL, "client_id": i.ClientID, "client_secret": i.ClientSecret, "whoami_url": i.WhoamiURL, "audience": audience,
			}, &got)
			want := []string{"orders:read orders:write", "orders:read", "orders:write", "orders:read orders:write"}
			if !slices.Equal(got.Said, want) || !slices.Equal(got.Called, want) {
				t.Errorf("the scopes are %q, and to the API %q, want %q", got.Said, got.Called, want)
			}
			if got.More != "400 invalid_scope" {
				t.Errorf("more than was granted: %s", got.More)
			}
		})
	}
}
