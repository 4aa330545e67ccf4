package authorizer

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// scanner reads an event once, from its beginning to its end. API Gateway writes the event, so that its member names need no
// suspicion, but are compared exactly; the callers' own words are in the values and in the names of headers and parameters,
// of which there may be any number. The syntax of all of it is checked, of what is passed over too.
type scanner struct {
	text  string
	pos   int
	depth int
}

// maxDepth is how deep an event may nest. API Gateway's nest five deep, whatever callers send.
const maxDepth = 32

var errSyntax = errors.New("the event is not JSON of the shape that authorizers get")

// event reads all of the text as one object.
func (s *scanner) event(member func(name string) error) error {
	if err := s.object(member); err != nil {
		return err
	}
	s.space()
	if s.pos != len(s.text) {
		return errSyntax
	}
	return nil
}

// object reads an object, or null for one without members. member must read the value of each by a method of s.
func (s *scanner) object(member func(name string) error) error {
	s.space()
	if s.word("null") {
		return nil
	}
	return s.list('{', '}', func() error {
		name, err := s.quoted()
		if err != nil {
			return err
		}
		s.space()
		if !s.take(':') {
			return errSyntax
		}
		return member(unquote(name))
	})
}

// list reads what stands between two brackets, with commas between.
func (s *scanner) list(opening, closing byte, element func() error) error {
	s.space()
	if !s.take(opening) || s.depth == maxDepth {
		return errSyntax
	}
	s.depth++
	defer func() { s.depth-- }()
	s.space()
	if s.take(closing) {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		s.space()
		switch {
		case s.take(closing):
			return nil
		case !s.take(','):
			return errSyntax
		}
	}
}

// string reads a string, or null for an empty one.
func (s *scanner) string(to *string) error {
	s.space()
	if s.word("null") {
		return nil
	}
	quoted, err := s.quoted()
	*to = unquote(quoted)
	return err
}

// strings reads a list of strings, or null for none.
func (s *scanner) strings(to *[]string) error {
	s.space()
	if s.word("null") {
		return nil
	}
	*to = nil
	return s.list('[', ']', func() error {
		var text string
		err := s.string(&text)
		*to = append(*to, text)
		return err
	})
}

// pairs reads what is to stay text.
func (s *scanner) pairs(to *pairs) error {
	s.space()
	start := s.pos
	if err := s.skip(); err != nil {
		return err
	}
	*to = pairs(s.text[start:s.pos])
	return nil
}

// skip passes over a value.
func (s *scanner) skip() error {
	s.space()
	switch c := s.peek(); c {
	case '{':
		return s.list('{', '}', func() error {
			s.space()
			if _, err := s.quoted(); err != nil {
				return err
			}
			s.space()
			if !s.take(':') {
				return errSyntax
			}
			return s.skip()
		})
	case '[':
		return s.list('[', ']', s.skip)
	case '"':
		_, err := s.quoted()
		return err
	default:
		if s.word("true") || s.word("false") || s.word("null") {
			return nil
		}
		return s.number()
	}
}

// quoted returns a string as it stands, in its quotation marks.
func (s *scanner) quoted() (string, error) {
	s.space()
	start := s.pos
	if !s.take('"') {
		return "", errSyntax
	}
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		s.pos++
		switch {
		case c == '"':
			return s.text[start:s.pos], nil
		case c < 0x20:
			return "", errSyntax
		case c == '\\':
			if err := s.escape(); err != nil {
				return "", err
			}
		}
	}
	return "", errSyntax
}

func (s *scanner) escape() error {
	c := s.peek()
	s.pos++
	if c != 'u' {
		if c == 0 || strings.IndexByte(`"\/bfnrt`, c) < 0 {
			return errSyntax
		}
		return nil
	}
	for range 4 {
		c := s.peek()
		s.pos++
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return errSyntax
		}
	}
	return nil
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return errSyntax
	}
	if s.take('.') && !s.digits() {
		return errSyntax
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return errSyntax
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the byte at this place, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) word(word string) bool {
	found := strings.HasPrefix(s.text[min(s.pos, len(s.text)):], word)
	if found {
		s.pos += len(word)
	}
	return found
}

// unquote returns what a JSON string says whose syntax has been checked: a part of it, where it has no escapes. What is not
// UTF-8 is replaced, as encoding/json does.
func unquote(quoted string) string {
	if len(quoted) < 2 {
		return ""
	}
	inner := quoted[1 : len(quoted)-1]
	if strings.IndexByte(inner, '\\') < 0 && utf8.ValidString(inner) {
		return inner
	}
	var said string
	_ = json.Unmarshal([]byte(quoted), &said)
	return said
}
