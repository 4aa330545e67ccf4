package user

import (
	"testing"

	"github.com/latchkey-auth/latchkey/internal/recordtest"
)

// FuzzUnmarshal: a record that is read is valid, of the user that was asked for, and written and read as the same.
func FuzzUnmarshal(f *testing.F) {
	// The hash is one of the right form, of nothing.
	stored := []byte(`{"version":1,"username":"ada","user_id":"u_AAAAAAAAAAAAAAAAAAAAAA","scopes":"a b","epoch":1,"handle":"h",` +
		`"password":"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`)
	if _, err := Unmarshal("ada", stored); err != nil {
		f.Fatal(err)
	}
	f.Add("ada", stored)
	f.Add("other", stored)
	f.Add("ada", []byte(`{"version":1,"client_id":"ada"}`))
	f.Fuzz(func(t *testing.T, id string, data []byte) {
		r, err := Unmarshal(id, data)
		if err != nil {
			return
		}
		if r.Username != id || r.Version != RecordVersion {
			t.Errorf("%q is read as user %q's", data, r.Username)
		}
		recordtest.Rewritten(t, r, func(data []byte) (*Record, error) { return Unmarshal(id, data) })
	})
}
