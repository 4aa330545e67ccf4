package interop

import (
	"encoding/json"
	"os/exec"
	"slices"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// TestPassword has others' clients sign a user in.
func TestPassword(t *testing.T) {
	t.Parallel()
	i := startIssuer(t, keyring.ES256)
	var demo struct{ Username, Password string }
	if err := json.Unmarshal([]byte(beside(t, i.dir+"/demo.json")), &demo); err != nil {
		t.Fatal(err)
	}
	var ada struct {
		ID string `json:"user_id"`
	}
	out, err := exec.Command(i.bin, "user", "show", demo.Username, "--dir", i.dir, "--json").Output()
	if err != nil || json.Unmarshal(out, &ada) != nil {
		t.Fatalf("user show: %v\n%s", err, out)
	}
	var got struct {
		Grants, Scopes, Subjects []string
		Refused                  string
	}
	node(t, "password.mjs", map[string]string{
		"issuer": i.URL, "client_id": i.ClientID, "client_secret": i.ClientSecret, "whoami_url": i.WhoamiURL,
		"username": demo.Username, "password": demo.Password,
	}, &got)
	if want := []string{"orders:read", "orders:read", "orders:read"}; !slices.Equal(got.Scopes, want) {
		t.Errorf("the scopes are %q", got.Scopes)
	}
	if want := []string{ada.ID, ada.ID, ada.ID}; !slices.Equal(got.Subjects, want) {
		t.Errorf("the API is told of %q, want %s", got.Subjects, ada.ID)
	}
	if got.Refused != "400 invalid_grant" || !slices.Contains(got.Grants, "password") {
		t.Errorf("a wrong password: %s; grants: %q", got.Refused, got.Grants)
	}
}
