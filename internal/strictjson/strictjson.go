// Package strictjson reads JSON documents that come from strangers.
//
// encoding/json is lenient where security needs it strict: it folds the case of member names (so that "EXP" is read as
// "exp"), takes the last of two equal names, and replaces what is not UTF-8. This decoder compares names exactly,
// refuses duplicates at every depth, refuses invalid UTF-8, lone surrogates, a byte order mark and trailing data
// (RFC 8259, RFC 7493), and bounds nesting and the number of members.
//
//	err := strictjson.Object(data, func(d *strictjson.Decoder, name []byte) (err error) {
//		switch string(name) {
//		case "exp":
//			claims.Expiry, err = d.Int()
//		default:
//			err = d.Skip()
//		}
//		return err
//	})
package strictjson

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// MaxDepth is how deep objects and arrays may nest.
	MaxDepth = 8
	// MaxMembers is how many members an object, and elements an array, may have.
	MaxMembers = 128
)

// ErrSyntax is wrapped by every error of this package. The errors' texts hold no part of the input.
var ErrSyntax = errors.New("invalid JSON")

func fail(what string) error { return fmt.Errorf("%w: %s", ErrSyntax, what) }

// Decoder reads one value after the other. It is valid only within the callback that it was handed to.
type Decoder struct {
	data  []byte
	pos   int
	depth int
	text  string // data again, where strings are cut from it
	name  int    // where the member's name began, in the document
}

// Object reads data as exactly one object. member is called for each member and must consume its value by one call of
// String, Int, Bool, Scalar, Strings, Array, Object or Skip. name is valid during the call only.
func Object(data []byte, member func(d *Decoder, name []byte) error) error {
	d := Decoder{data: data}
	return d.whole(member)
}

// Cut is the function Object for whom an allocation matters: d is any Decoder that is not in use, and all strings are cut
// from one copy of data, which lives as long as any of them does.
func (d *Decoder) Cut(data []byte, member func(d *Decoder, name []byte) error) error {
	*d = Decoder{data: data, text: string(data)}
	err := d.whole(member)
	*d = Decoder{}
	return err
}

func (d *Decoder) whole(member func(d *Decoder, name []byte) error) error {
	if err := d.Object(member); err != nil {
		return err
	}
	d.space()
	if d.pos != len(d.data) {
		return fail("data after the end")
	}
	return nil
}

// Object reads an object at this place; see the function Object.
func (d *Decoder) Object(member func(d *Decoder, name []byte) error) error {
	if err := d.enter('{', "an object"); err != nil {
		return err
	}
	var room [24][]byte
	names := room[:0]
	for first := true; ; first = false {
		done, err := d.next('}', first)
		if err != nil || done {
			return err
		}
		d.name = d.pos + 1
		name, err := d.bytes()
		if err != nil {
			return err
		}
		for _, seen := range names {
			if string(seen) == string(name) {
				return fail("a member name appears twice")
			}
		}
		if len(names) == MaxMembers {
			return fail("too many members")
		}
		names = append(names, name)
		d.space()
		if !d.take(':') {
			return fail("a colon is missing")
		}
		d.space()
		before := d.pos
		if err := member(d, name); err != nil {
			return err
		}
		if d.pos == before {
			return fail("a member was not read")
		}
	}
}

// Array reads an array; element is called for each element and must consume it.
func (d *Decoder) Array(element func(d *Decoder) error) error {
	return d.ArrayUpTo(MaxMembers, element)
}

// ArrayUpTo is Array for as many elements as are said.
func (d *Decoder) ArrayUpTo(most int, element func(d *Decoder) error) error {
	if err := d.enter('[', "an array"); err != nil {
		return err
	}
	for n := 0; ; n++ {
		done, err := d.next(']', n == 0)
		if err != nil || done {
			return err
		}
		if n == most {
			return fail("too many elements")
		}
		before := d.pos
		if err := element(d); err != nil {
			return err
		}
		if d.pos == before {
			return fail("an element was not read")
		}
	}
}

// Strings reads an array of strings, or one string as an array of one (the two forms of "aud", RFC 7519 §4.1.3).
func (d *Decoder) Strings() ([]string, error) { return d.AppendStrings([]string{}) }

// AppendStrings is Strings, and appends to list.
func (d *Decoder) AppendStrings(list []string) ([]string, error) {
	d.space()
	if d.peek() == '"' {
		s, err := d.String()
		if err != nil {
			return nil, err
		}
		return append(list, s), nil
	}
	err := d.Array(func(d *Decoder) error {
		s, err := d.String()
		list = append(list, s)
		return err
	})
	return list, err
}

// String reads a string.
func (d *Decoder) String() (string, error) {
	d.space()
	start := d.pos + 1
	b, err := d.bytes()
	if err != nil {
		return "", err
	}
	return d.cut(b, start), nil
}

// Name returns name, which must be the one that the callback was handed, as a string: at the callback's beginning, before
// the member's value is read.
func (d *Decoder) Name(name []byte) string { return d.cut(name, d.name) }

// cut returns what was read from a place on as a string: a part of the text where that holds it as it is, which it does not
// if there were escapes.
func (d *Decoder) cut(b []byte, start int) string {
	if end := start + len(b); end < len(d.text) && d.text[start:end] == string(b) {
		return d.text[start:end]
	}
	return string(b)
}

// Int reads a number that is an integer in plain digits: no fraction, no exponent, no more than 2⁵³ either way.
func (d *Decoder) Int() (int64, error) {
	d.space()
	negative := d.take('-')
	start := d.pos
	var n int64
	for d.pos < len(d.data) && d.data[d.pos] >= '0' && d.data[d.pos] <= '9' {
		if d.pos-start == 16 {
			return 0, fail("a number is too large")
		}
		n = n*10 + int64(d.data[d.pos]-'0')
		d.pos++
	}
	switch {
	case d.pos == start:
		return 0, fail("a number is expected")
	case d.data[start] == '0' && d.pos-start > 1:
		return 0, fail("a number begins with 0")
	case d.peek() == '.' || d.peek() == 'e' || d.peek() == 'E':
		return 0, fail("an integer is expected")
	case n > 1<<53:
		return 0, fail("a number is too large")
	}
	if negative {
		n = -n
	}
	return n, nil
}

// Bool reads true or false.
func (d *Decoder) Bool() (bool, error) {
	d.space()
	switch {
	case d.word("true"):
		return true, nil
	case d.word("false"):
		return false, nil
	}
	return false, fail("true or false is expected")
}

// Scalar reads a string, an integer, true or false, and returns it as text.
func (d *Decoder) Scalar() (string, error) {
	d.space()
	switch c := d.peek(); {
	case c == '"':
		return d.String()
	case c == 't' || c == 'f':
		b, err := d.Bool()
		return strconv.FormatBool(b), err
	}
	n, err := d.Int()
	return strconv.FormatInt(n, 10), err
}

// Skip reads a value of any kind and drops it. It is checked as strictly as what is kept.
func (d *Decoder) Skip() error {
	d.space()
	switch c := d.peek(); {
	case c == '{':
		return d.Object(func(d *Decoder, _ []byte) error { return d.Skip() })
	case c == '[':
		return d.Array(func(d *Decoder) error { return d.Skip() })
	case c == '"':
		_, err := d.bytes()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if d.word(word) {
			return nil
		}
	}
	return fail("a value is expected")
}

func (d *Decoder) word(word string) bool {
	found := len(d.data)-d.pos >= len(word) && string(d.data[d.pos:d.pos+len(word)]) == word
	if found {
		d.pos += len(word)
	}
	return found
}

func (d *Decoder) number() error {
	digits := func() bool {
		start := d.pos
		for d.pos < len(d.data) && d.data[d.pos] >= '0' && d.data[d.pos] <= '9' {
			d.pos++
		}
		return d.pos > start
	}
	start := d.pos
	d.take('-')
	if d.peek() == '0' {
		d.pos++
	} else if !digits() {
		return fail("a number is malformed")
	}
	if d.take('.') && !digits() {
		return fail("a number is malformed")
	}
	if d.take('e') || d.take('E') {
		if !d.take('+') {
			d.take('-')
		}
		if !digits() {
			return fail("a number is malformed")
		}
	}
	// One that no double holds, some parsers refuse and others make infinite (RFC 7493 §2.2).
	if _, err := strconv.ParseFloat(string(d.data[start:d.pos]), 64); err != nil {
		return fail("a number is too large")
	}
	return nil
}

func (d *Decoder) enter(open byte, what string) error {
	d.space()
	if !d.take(open) {
		return fail(what + " is expected")
	}
	if d.depth == MaxDepth {
		return fail("nested too deep")
	}
	d.depth++
	return nil
}

// next moves to the next member or element, or past the closing byte.
func (d *Decoder) next(closing byte, first bool) (done bool, err error) {
	d.space()
	if d.take(closing) {
		d.depth--
		return true, nil
	}
	if !first {
		if !d.take(',') {
			return false, fail("a comma is missing")
		}
		d.space()
	}
	return false, nil
}

// bytes reads a string and returns its decoded bytes: a part of the input where that holds no escapes.
func (d *Decoder) bytes() ([]byte, error) {
	d.space()
	if !d.take('"') {
		return nil, fail("a string is expected")
	}
	start := d.pos
	for d.pos < len(d.data) {
		switch c := d.data[d.pos]; {
		case c == '"':
			s := d.data[start:d.pos]
			d.pos++
			if !utf8.Valid(s) {
				return nil, fail("not UTF-8")
			}
			return s, nil
		case c == '\\':
			return d.escaped(start)
		case c < 0x20:
			return nil, fail("a control character in a string")
		}
		d.pos++
	}
	return nil, fail("a string does not end")
}

// escaped reads on from the first backslash of a string that began at start.
func (d *Decoder) escaped(start int) ([]byte, error) {
	out := append([]byte(nil), d.data[start:d.pos]...)
	for d.pos < len(d.data) {
		c := d.data[d.pos]
		d.pos++
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return nil, fail("not UTF-8")
			}
			return out, nil
		case c < 0x20:
			return nil, fail("a control character in a string")
		case c != '\\':
			out = append(out, c)
			continue
		}
		e := d.peek()
		d.pos++
		switch e {
		case '"', '\\', '/':
			out = append(out, e)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := d.hex4()
			if ok && utf16.IsSurrogate(r) {
				// A pair, or nothing: a lone surrogate has no UTF-8 form.
				ok = d.take('\\') && d.take('u')
				if ok {
					var low rune
					low, ok = d.hex4()
					r = utf16.DecodeRune(r, low)
					ok = ok && r != utf8.RuneError
				}
			}
			if !ok {
				return nil, fail("a malformed escape")
			}
			out = utf8.AppendRune(out, r)
		default:
			return nil, fail("a malformed escape")
		}
	}
	return nil, fail("a string does not end")
}

func (d *Decoder) hex4() (rune, bool) {
	if len(d.data)-d.pos < 4 {
		return 0, false
	}
	var r rune
	for _, c := range d.data[d.pos : d.pos+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	d.pos += 4
	return r, true
}

func (d *Decoder) space() {
	for d.pos < len(d.data) {
		switch d.data[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

// peek returns the byte at this place, 0 at the end.
func (d *Decoder) peek() byte {
	if d.pos < len(d.data) {
		return d.data[d.pos]
	}
	return 0
}

func (d *Decoder) take(c byte) bool {
	if d.pos < len(d.data) && d.data[d.pos] == c {
		d.pos++
		return true
	}
	return false
}
