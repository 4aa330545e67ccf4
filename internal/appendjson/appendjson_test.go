package appendjson

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzString: what is written is one JSON string that says the text.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a", `"`, `\`, "\x00\x1f\x7f", "\n\t", "<a>&", "ü\u2028\U0001f600", "\xff", "a\xc3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := String([]byte("x:"), s)
		var got string
		if err := json.Unmarshal(out[2:], &got); err != nil || string(out[:2]) != "x:" {
			t.Fatalf("%q: %s: %v", s, out, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && got != want {
			t.Fatalf("%q: %q", s, got)
		}
		for _, c := range out {
			if c < 0x20 {
				t.Fatalf("%q: a control character in %q", s, out)
			}
		}
	})
}
