package oauth

import (
	"encoding/json"
	"slices"
	"strings"
)

// Scope is a set of scope tokens (RFC 6749 §3.3) in the order in which they were first named. The zero value is empty.
type Scope []string

// MaxScopeTokens is how many tokens a scope may hold.
const MaxScopeTokens = 128

// ParseScope reads the wire form: tokens of printable ASCII without quotes and backslashes, each set apart by one space.
// The empty string is the empty scope. A token that is named twice counts once.
func ParseScope(s string) (Scope, error) {
	if s == "" {
		return nil, nil
	}
	scope := make(Scope, 0, min(strings.Count(s, " ")+1, MaxScopeTokens))
	for token := range strings.SplitSeq(s, " ") {
		if !validScopeToken(token) {
			return nil, Errorf(InvalidScope, "scope must be scope tokens, each set apart by one space (RFC 6749 section 3.3).")
		}
		if slices.Contains(scope, token) {
			continue
		}
		if len(scope) == MaxScopeTokens {
			return nil, Errorf(InvalidScope, "scope names more than %d tokens.", MaxScopeTokens)
		}
		scope = append(scope, token)
	}
	return scope, nil
}

// validScopeToken is scope-token of RFC 6749 §3.3: 1*( %x21 / %x23-5B / %x5D-7E ).
func validScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// Within reports whether each token of s is one of outer's.
func (s Scope) Within(outer Scope) bool {
	for _, token := range s {
		if !slices.Contains(outer, token) {
			return false
		}
	}
	return true
}

// String returns the wire form.
func (s Scope) String() string { return strings.Join(s, " ") }

// MarshalJSON writes the wire form (RFC 8693 §4.2: the claim is one string).
func (s Scope) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalJSON reads the wire form.
func (s *Scope) UnmarshalJSON(data []byte) error {
	var wire string
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	parsed, err := ParseScope(wire)
	*s = parsed
	return err
}
