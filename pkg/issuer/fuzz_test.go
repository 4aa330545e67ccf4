package issuer

import (
	"testing"

	"github.com/latchkey-auth/latchkey/internal/recordtest"
)

// FuzzUnmarshal: a record that is read is valid, of the issuer that was asked for, and written and read as the same.
func FuzzUnmarshal(f *testing.F) {
	stored, err := record().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("https://id.example.com", stored)
	f.Add("other", stored)
	f.Add("https://id.example.com", []byte(`{"version":1,"client_id":"https://id.example.com"}`))
	f.Fuzz(func(t *testing.T, id string, data []byte) {
		r, err := Unmarshal(id, data)
		if err != nil {
			return
		}
		if r.URL != id || r.Version != RecordVersion {
			t.Errorf("%q is read as issuer %q's", data, r.URL)
		}
		recordtest.Rewritten(t, r, func(data []byte) (*Record, error) { return Unmarshal(id, data) })
	})
}
