package authorizer

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// What is read of headers is what encoding/json reads of them.
func FuzzPairs(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"a":"b"}`, `{"a":["b","c"],"d":["e"]}`, ` { "a" : [ "b" , "\"c\"" ] , "d\u0041\\" : "é\n]}{[," } `,
		`{"a":[],"b":[""],"":"x"}`, `{"a]":"[","b,":"{"}`, `{"Authorization":["Bearer x"],"authorization":["y"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) {
			return // Lambda's payloads are
		}
		var lists map[string][]string
		if json.Unmarshal(data, &lists) != nil {
			var single map[string]string
			if json.Unmarshal(data, &single) != nil {
				return
			}
			lists = map[string][]string{}
			for name, value := range single {
				lists[name] = []string{value}
			}
		}
		// A name that stands there twice counts once for encoding/json; here each value is seen.
		var p pairs
		s := scanner{text: string(data)}
		if err := s.pairs(&p); err != nil {
			t.Fatal(err)
		}
		got := map[string][]string{}
		p.each(func(name, value string) bool {
			got[unquote(name)] = append(got[unquote(name)], unquote(value))
			return true
		})
		for name, want := range lists {
			values := p.values(name, false)
			if !reflect.DeepEqual(got[name], values) || len(values) < len(want) {
				t.Fatalf("%s: %q has %q and %q, want %q", data, name, got[name], values, want)
			}
			if last := values[len(values)-len(want):]; len(want) > 0 && !reflect.DeepEqual(last, want) {
				t.Fatalf("%s: %q has %q, want %q at its end", data, name, values, want)
			}
			for _, value := range values {
				if half := value[len(value)/2:]; !p.contain(half) {
					t.Fatalf("%s: it does not contain %q", data, half)
				}
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Fatalf("%s: more than there is: %q", data, got)
		}
	})
}
