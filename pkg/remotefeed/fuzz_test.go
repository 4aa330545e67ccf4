package remotefeed

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// FuzzParse: what is read of a page is what encoding/json reads, all of it is there, and it is written and read as the same.
func FuzzParse(f *testing.F) {
	for _, page := range []string{
		`{"version":1,"feed":"f","as_of":1767225600,"next":"c","more":false,"entries":["g AAAAAAAAAAAAAAAAAAAAAA 0 0"]}`,
		`{"version":1,"feed":"f","as_of":1767225600,"next":"c","more":true,"entries":[]}`,
		`{"version":1,"feed":"f","as_of":0,"next":"","more":false,"entries":[]}`,
		`{"version":2,"what":{"ever":[1,2.5e3,null]}}`, `{"version":1,"feed":"f"}`, `{"version":1,"version":1}`, `{"Version":1}`, `[]`, ``,
		`{"version":1,"feed":"f","as_of":1,"next":"c","more":false,"entries":[1]}`, `{"version":1,"feed":"f","as_of":1,"next":"c","more":false,"entries":null}`,
	} {
		f.Add([]byte(page))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parse(body)
		if err != nil {
			if p != nil {
				t.Errorf("%v, and a page", err)
			}
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatalf("accepted %q: %v", body, err)
		}
		want := &revocation.Page{}
		for name, into := range map[string]any{
			"version": &want.Version, "feed": &want.Feed, "as_of": &want.AsOf, "next": &want.Next, "more": &want.More, "entries": &want.Entries,
		} {
			if value, ok := members[name]; ok {
				if err := json.Unmarshal(value, into); err != nil {
					t.Fatalf("accepted %q: %s: %v", body, name, err)
				}
			} else if p.Version == revocation.PageVersion {
				t.Errorf("accepted %q without %s", body, name)
			}
		}
		if diff := cmp.Diff(want, p); diff != "" {
			t.Errorf("%q (-encoding/json +ours):\n%s", body, diff)
		}
		if p.Version != revocation.PageVersion {
			return // another's: what it says is not gone by
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := parse(again); err != nil || !cmp.Equal(p, q) {
			t.Errorf("%s, written again, reads as %+v, %v", again, q, err)
		}
	})
}
