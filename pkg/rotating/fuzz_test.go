package rotating_test

import (
	"bytes"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/rotating"
)

// FuzzUnmarshal: a record that is read is of the grant and the generation that were asked for, and written and read as the same.
func FuzzUnmarshal(f *testing.F) {
	stored, err := (&rotating.Record{GrantID: "g_1", Generation: 2, TokenID: "t_1"}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("g_1", int64(2), stored)
	f.Add("g_1", int64(1), stored)
	f.Add("g_2", int64(2), stored)
	f.Add("", int64(0), []byte("{}"))
	f.Fuzz(func(t *testing.T, id string, generation int64, data []byte) {
		r, err := rotating.Unmarshal(id, generation, data)
		if err != nil {
			return
		}
		if r.GrantID != id || r.Generation != generation || generation < 1 || r.TokenID == "" {
			t.Errorf("%q is read as %+v", data, r)
		}
		again, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		s, err := rotating.Unmarshal(id, generation, again)
		if err != nil {
			t.Fatalf("%s, written again, is refused: %v", again, err)
		}
		if third, err := s.Marshal(); err != nil || !bytes.Equal(again, third) {
			t.Errorf("%s, written again, is %s, %v", again, third, err)
		}
	})
}
