package members

import (
	"encoding/json"
	"testing"
)

type times struct {
	From int64 `json:"from"`
}

type record struct {
	Version int `json:"version"`
	times
	Name  string `json:"name,omitempty"`
	Plain bool
	Later Later `json:"-"`
}

type plain record

func (r record) MarshalJSON() ([]byte, error) { return Marshal(plain(r), r.Later) }

func (r *record) UnmarshalJSON(b []byte) (err error) {
	r.Later, err = Unmarshal(b, (*plain)(r))
	return err
}

func TestRoundTrip(t *testing.T) {
	for in, want := range map[string]string{
		`{"version":1,"from":2,"name":"x","Plain":true}`: `{"version":1,"from":2,"name":"x","Plain":true}`,
		`{}`: `{"version":0,"from":0,"Plain":false}`,
		`{"z": {"a": [1, 2]}, "version":1,"a":null,"from":2,"inner":1,"hidden":2,"Later":3,"-":4}`: `{"version":1,"from":2,"Plain":false,"-":4,"Later":3,"a":null,"hidden":2,"inner":1,"z":{"a":[1,2]}}`,
		// What the decoder takes for a member of ours is one, and is not there twice.
		`{"VERSION":7,"\u0061 \"b\"":"<&>"}`: `{"version":7,"from":0,"Plain":false,"a \"b\"":"\u003c\u0026\u003e"}`,
	} {
		var r record
		if err := json.Unmarshal([]byte(in), &r); err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		got, err := json.Marshal(r)
		if err != nil || string(got) != want {
			t.Errorf("%s was written as %s, %v, want %s", in, got, err, want)
		}
		var again record
		if err := json.Unmarshal(got, &again); err != nil {
			t.Fatal(err)
		}
		if twice, err := json.Marshal(again); err != nil || string(twice) != want {
			t.Errorf("%s, written twice, is %s, %v", in, twice, err)
		}
	}
	if got, err := Marshal(struct{}{}, Later{"b": json.RawMessage("1"), "a": json.RawMessage("2")}); err != nil || string(got) != `{"a":2,"b":1}` {
		t.Errorf("of an object without members of its own: %s, %v", got, err)
	}
	for _, bad := range []string{`[]`, `"x"`, `{"version":"1"}`, `{"a":}`, ``} {
		if err := json.Unmarshal([]byte(bad), new(record)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
