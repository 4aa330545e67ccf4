package routes

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// The forms are those of these expressions, for any text.
func TestForms(t *testing.T) {
	variable := regexp.MustCompile(`^\{([A-Za-z0-9._:-]{1,64})(\+?)\}$`)
	forms := []struct {
		expression string
		valid      func(string) bool
	}{
		{`^[A-Za-z0-9_-]{1,64}$`, validID},
		{`^[A-Za-z0-9_-]{1,128}$`, validStage},
		{`^[\x21\x23-\x5b\x5d-\x7e]{1,512}$`, validAudience},
		{`^[\x21\x23-\x5b\x5d-\x7e]{1,256}$`, validScope},
		{`^[A-Za-z0-9._~!$&'()+,;=:@-]+$`, validLiteral},
		{variable.String(), func(s string) bool { _, _, ok := parseVariable(s); return ok }},
	}
	texts := []string{"", "{}", "{+}", "{a}", "{a+}", "{a++}", "{{a}}", "{a", "a}", "é", "a\n", "\n", "{a}\n", "\xff", "{é}"}
	for c := range 256 {
		texts = append(texts, string([]byte{byte(c)}), "a"+string([]byte{byte(c)}), "{a"+string([]byte{byte(c)})+"}")
	}
	for _, n := range []int{63, 64, 65, 128, 129, 256, 257, 512, 513} {
		long := strings.Repeat("a", n)
		texts = append(texts, long, "{"+long+"}", "{"+long+"+}")
	}
	const alphabet = "aZ0_-.~!$&'()+,;=:@{}+*?%/\\\" \x7f"
	for range 20_000 {
		b := make([]byte, rand.IntN(8))
		for i := range b {
			b[i] = alphabet[rand.IntN(len(alphabet))]
		}
		texts = append(texts, string(b))
	}
	for _, form := range forms {
		expression := regexp.MustCompile(form.expression)
		for _, s := range texts {
			if got, want := form.valid(s), expression.MatchString(s); got != want && len(s) <= MaxPath {
				t.Errorf("%q by %s: %v, want %v", s, form.expression, got, want)
			}
		}
	}
	for _, s := range texts {
		m := variable.FindStringSubmatch(s)
		if name, rest, ok := parseVariable(s); ok && (name != m[1] || rest != (m[2] == "+")) {
			t.Errorf("%q: %q, %v, want %q", s, name, rest, m)
		}
	}
}
