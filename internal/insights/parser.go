package insights

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// parser reads a query from its beginning.
type parser struct{ rest string }

// space passes over white space and comments.
func (p *parser) space() {
	for {
		p.rest = strings.TrimLeft(p.rest, " \t\r\n")
		if !strings.HasPrefix(p.rest, "#") {
			return
		}
		_, p.rest, _ = strings.Cut(p.rest, "\n")
	}
}

func (p *parser) end() bool {
	p.space()
	return p.rest == ""
}

// take passes over a symbol, if it is next.
func (p *parser) take(symbol string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, symbol)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *parser) expect(symbol string) error {
	if !p.take(symbol) {
		return fmt.Errorf("%q is expected before %.30q", symbol, p.rest)
	}
	return nil
}

var (
	words   = regexp.MustCompile(`^[A-Za-z_@][A-Za-z0-9_.@]*`)
	numbers = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?`)
	strs    = regexp.MustCompile(`^("[^"\\]*"|'[^'\\]*')`)
	regexes = regexp.MustCompile(`^/((?:[^/\\]|\\.)+)/`)
)

func (p *parser) match(r *regexp.Regexp, what string) (string, error) {
	p.space()
	found := r.FindString(p.rest)
	if found == "" {
		return "", fmt.Errorf("%s is expected before %.30q", what, p.rest)
	}
	p.rest = p.rest[len(found):]
	return found, nil
}

func (p *parser) word() (string, error) { return p.match(words, "a name") }

// keyword passes over a word, if it is next.
func (p *parser) keyword(word string) bool {
	p.space()
	found := words.FindString(p.rest)
	if !strings.EqualFold(found, word) {
		return false
	}
	p.rest = p.rest[len(found):]
	return true
}

func (p *parser) number() (float64, error) {
	s, err := p.match(numbers, "a number")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(s, 64)
}

func (p *parser) string() (string, error) {
	s, err := p.match(strs, "a string")
	if err != nil {
		return "", err
	}
	return s[1 : len(s)-1], nil
}

func (p *parser) regex() (*regexp.Regexp, error) {
	s, err := p.match(regexes, "a regular expression")
	if err != nil {
		return nil, err
	}
	return regexp.Compile(s[1 : len(s)-1])
}

// expression is a value of an event, nil where there is none.
type expression func(Event) any

// value reads a field, a literal or bin(…), and returns what a column of it is called.
func (p *parser) value() (e expression, name string, err error) {
	p.space()
	switch {
	case strs.MatchString(p.rest):
		s, err := p.string()
		return func(Event) any { return s }, s, err
	case numbers.MatchString(p.rest):
		n, err := p.number()
		return func(Event) any { return n }, text(n), err
	}
	name, err = p.word()
	if err != nil {
		return nil, "", err
	}
	if !p.take("(") {
		return func(e Event) any { return e[name] }, name, nil
	}
	if name != "bin" {
		return nil, "", fmt.Errorf("function %s is not known here", name)
	}
	n, err := p.match(regexp.MustCompile(`^[0-9]+[smhd]`), "a length of time")
	if err != nil {
		return nil, "", err
	}
	span, err := time.ParseDuration(strings.Replace(n, "d", "h", 1))
	if strings.HasSuffix(n, "d") {
		span *= 24
	}
	bin := func(e Event) any {
		at, ok := e[timestamp].(time.Time)
		if !ok {
			return nil
		}
		return at.UTC().Truncate(span)
	}
	if err == nil {
		err = p.expect(")")
	}
	return bin, "bin(" + n + ")", err
}

// condition is a filter's.
type condition func(Event) bool

func (p *parser) or() (condition, error) {
	c, err := p.and()
	for err == nil && p.keyword("or") {
		var other condition
		one := c
		other, err = p.and()
		c = func(e Event) bool { return one(e) || other(e) }
	}
	return c, err
}

func (p *parser) and() (condition, error) {
	c, err := p.not()
	for err == nil && p.keyword("and") {
		var other condition
		one := c
		other, err = p.not()
		c = func(e Event) bool { return one(e) && other(e) }
	}
	return c, err
}

func (p *parser) not() (condition, error) {
	if p.keyword("not") {
		c, err := p.not()
		return func(e Event) bool { return !c(e) }, err
	}
	if p.take("(") {
		c, err := p.or()
		if err == nil {
			err = p.expect(")")
		}
		return c, err
	}
	if p.keyword("ispresent") {
		if err := p.expect("("); err != nil {
			return nil, err
		}
		name, err := p.word()
		if err == nil {
			err = p.expect(")")
		}
		return func(e Event) bool { return e[name] != nil }, err
	}
	return p.comparison()
}

func (p *parser) comparison() (condition, error) {
	left, _, err := p.value()
	if err != nil {
		return nil, err
	}
	for _, operator := range []string{"!=", "<=", ">=", "=", "<", ">"} {
		if !p.take(operator) {
			continue
		}
		right, _, err := p.value()
		return func(e Event) bool { return holds(operator, left(e), right(e)) }, err
	}
	negated := p.keyword("not")
	var c condition
	switch {
	case p.keyword("like"):
		c, err = p.like(left)
	case p.keyword("in"):
		c, err = p.in(left)
	default:
		err = fmt.Errorf("a comparison is expected before %.30q", p.rest)
	}
	if negated {
		return func(e Event) bool { return !c(e) }, err
	}
	return c, err
}

// holds compares. What is absent equals nothing and is neither less nor more.
func holds(operator string, a, b any) bool {
	if a == nil || b == nil {
		return operator == "!="
	}
	c := compare(a, b)
	switch operator {
	case "=":
		return c == 0
	case "!=":
		return c != 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	default:
		return c >= 0
	}
}

func (p *parser) like(left expression) (condition, error) {
	if p.space(); strings.HasPrefix(p.rest, "/") {
		r, err := p.regex()
		return func(e Event) bool { return left(e) != nil && r.MatchString(text(left(e))) }, err
	}
	s, err := p.string()
	return func(e Event) bool { return left(e) != nil && strings.Contains(text(left(e)), s) }, err
}

func (p *parser) in(left expression) (condition, error) {
	if err := p.expect("["); err != nil {
		return nil, err
	}
	var list []expression
	for {
		v, _, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if !p.take(",") {
			break
		}
	}
	return func(e Event) bool {
		for _, v := range list {
			if holds("=", left(e), v(e)) {
				return true
			}
		}
		return false
	}, p.expect("]")
}
