package authorizer

import "strings"

// pairs is a JSON object of headers or parameters as it stands in the event: its values are strings, or lists of strings. It
// stays text until it is asked, since of what may be dozens one or two are. Its syntax has been checked with the event's.
type pairs string

// present tells an object from null and from none.
func (p pairs) present() bool { return len(p) > 0 && p[0] == '{' }

// each calls f with each value and its name, both as JSON, until f returns false. Values that are no strings are passed over.
func (p pairs) each(f func(name, value string) bool) {
	if !p.present() {
		return
	}
	name := ""
	inList := false
	for i := 1; i < len(p); i++ {
		switch p[i] {
		case '[':
			inList = true
		case ']':
			inList = false
		case ',':
			if !inList {
				name = ""
			}
		case '"':
			end := stringEnd(string(p), i)
			text := string(p[i:end])
			i = end - 1
			if name == "" {
				name = text
			} else if !f(name, text) {
				return
			}
		}
	}
}

// stringEnd is where the JSON string ends that begins at a place.
func stringEnd(text string, at int) int {
	for i := at + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// is says whether a JSON string is a name, in any case where fold is set.
func is(quoted, name string, fold bool) bool {
	if len(quoted) != len(name)+2 && strings.IndexByte(quoted, '\\') < 0 {
		return false
	}
	said := unquote(quoted)
	return said == name || fold && strings.EqualFold(said, name)
}

// values returns all of a name, in any case where fold is set.
func (p pairs) values(name string, fold bool) []string {
	var values []string
	p.each(func(n, value string) bool {
		if is(n, name, fold) {
			values = append(values, unquote(value))
		}
		return true
	})
	return values
}

// contain says whether a text is in one of the values.
func (p pairs) contain(text string) bool {
	found := false
	p.each(func(_, value string) bool {
		found = strings.Contains(unquote(value), text)
		return !found
	})
	return found
}
