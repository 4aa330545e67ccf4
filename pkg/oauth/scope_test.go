package oauth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestParseScope(t *testing.T) {
	for wire, want := range map[string]Scope{
		"": nil, "a": {"a"}, "b a": {"b", "a"}, "a b a b": {"a", "b"}, "a A": {"a", "A"},
		"!#[]^~ orders:read https://a/b?c=d,e;f": {"!#[]^~", "orders:read", "https://a/b?c=d,e;f"},
	} {
		if got, err := ParseScope(wire); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", wire, got, err, want)
		}
	}
	for _, wire := range []string{" ", " a", "a ", "a  b", "a\tb", "a\nb", `a"b`, `a\b`, "é", "a\x7f", "a\x00", "\xff", "a\u00a0b"} {
		_, err := ParseScope(wire)
		refused(t, fmt.Sprintf("%q", wire), err, InvalidScope, http.StatusBadRequest)
	}
}

func TestParseScopeBound(t *testing.T) {
	tokens := make([]string, MaxScopeTokens)
	for i := range tokens {
		tokens[i] = fmt.Sprint(i)
	}
	most := strings.Join(tokens, " ")
	for what, wire := range map[string]string{"the most": most, "the most and one of them again": most + " 0"} {
		if got, err := ParseScope(wire); err != nil || len(got) != MaxScopeTokens {
			t.Errorf("%s: %d tokens, %v", what, len(got), err)
		}
	}
	_, err := ParseScope(most + " more")
	refused(t, "one too many", err, InvalidScope, http.StatusBadRequest)
}

func TestWithin(t *testing.T) {
	within := func(want bool, inner, outer Scope) {
		t.Helper()
		if inner.Within(outer) != want {
			t.Errorf("%q within %q: want %v", inner, outer, want)
		}
	}
	within(true, nil, nil)
	within(true, nil, Scope{"a"})
	within(true, Scope{"a"}, Scope{"a"})
	within(true, Scope{"b", "a"}, Scope{"a", "b", "c"})
	within(false, Scope{"a"}, nil)
	within(false, Scope{"a", "d"}, Scope{"a", "b"})
	within(false, Scope{"d", "a"}, Scope{"a", "b"})
	within(false, Scope{"A"}, Scope{"a"})
	within(false, Scope{"rea"}, Scope{"read"})
	within(false, Scope{"read"}, Scope{"rea"})
}

func TestScopeJSON(t *testing.T) {
	type doc struct {
		Scope Scope `json:"scope"`
	}
	for text, want := range map[string]Scope{`{"scope":"a b"}`: {"a", "b"}, `{"scope":""}`: nil} {
		var d doc
		if err := json.Unmarshal([]byte(text), &d); err != nil || !slices.Equal(d.Scope, want) {
			t.Errorf("%s: got %q, %v", text, d.Scope, err)
		}
		if out, err := json.Marshal(d); err != nil || string(out) != text {
			t.Errorf("%q is written as %s, %v, want %s", d.Scope, out, err, text)
		}
	}
	for _, text := range []string{`{"scope":["a"]}`, `{"scope":"a  b"}`, `{"scope":1}`} {
		if err := json.Unmarshal([]byte(text), new(doc)); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}

// FuzzScope: what is accepted reads the same when written, and is a set.
func FuzzScope(f *testing.F) {
	for _, s := range []string{"", "a b", "a a", " a", "a  b", "é", `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		scope, err := ParseScope(wire)
		if err != nil {
			return
		}
		if again, err := ParseScope(scope.String()); err != nil || !slices.Equal(again, scope) {
			t.Errorf("%q: %q reads as %q, %v", wire, scope, again, err)
		}
		seen := map[string]bool{}
		for _, token := range scope {
			if seen[token] || strings.ContainsAny(token, " \"\\") || token == "" {
				t.Errorf("%q: %q", wire, scope)
			}
			seen[token] = true
		}
		for word := range strings.SplitSeq(wire, " ") {
			if wire != "" && !seen[word] {
				t.Errorf("%q: %q lost %q", wire, scope, word)
			}
		}
	})
}
