package client

import (
	"testing"

	"github.com/latchkey-auth/latchkey/internal/recordtest"
)

// FuzzUnmarshal: a record that is read is valid, of the client that was asked for, and written and read as the same.
func FuzzUnmarshal(f *testing.F) {
	stored, err := record().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("app", stored)
	f.Add("other", stored)
	f.Add("app", []byte(`{"version":1,"client_id":"app"}`))
	f.Fuzz(func(t *testing.T, id string, data []byte) {
		r, err := Unmarshal(id, data)
		if err != nil {
			return
		}
		if r.ID != id || !ValidID(id) || r.Version != RecordVersion {
			t.Errorf("%q is read as client %q's", data, r.ID)
		}
		recordtest.Rewritten(t, r, func(data []byte) (*Record, error) { return Unmarshal(id, data) })
	})
}
