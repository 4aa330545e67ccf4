package attack

import (
	"maps"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// Case is a row of the table: a request, and what it is to be answered.
type Case struct {
	name    string
	request Request
	expect
	rfc string // the section that says so

	headers   []string // "Name: value" that the answer has; an empty value: that it has not
	parts     []string // texts that its body has
	doors     door
	others    map[door]expect // where API Gateway makes another request of it
	writes    bool            // the store may change, unless the request is refused
	counted   bool            // sign-ins that fail are counted (design, section 8)
	transport bool            // the answer is the server's, before any handler is asked
}

type expect struct {
	status int
	code   oauth.Code // empty: no error
}

func (c Case) expected(d door) expect {
	if e, ok := c.others[d]; ok {
		return e
	}
	return c.expect
}

// refuse is a row that is refused with that status and code.
func refuse(name string, r Request, status int, code oauth.Code, rfc string) Case {
	return Case{name: name, request: r, expect: expect{status, code}, rfc: rfc, doors: all}
}

// grant is a row that is answered with 200.
func grant(name string, r Request, rfc string) Case { return refuse(name, r, 200, "", rfc) }

// bad is the commonest refusal.
func bad(name string, r Request, rfc string) Case {
	return refuse(name, r, 400, oauth.InvalidRequest, rfc)
}

// stranger is a client that did not authenticate.
func stranger(name string, r Request, rfc string) Case {
	return refuse(name, r, 401, oauth.InvalidClient, rfc)
}

// garbled is a request that the server refuses before it is one.
func garbled(name string, r Request, status int, rfc string) Case {
	c := refuse(name, r, status, "", rfc).only(plain)
	c.transport = true
	return c
}

func (c Case) only(d door) Case { c.doors = d; return c }

// behind says what comes of it behind that kind of API.
func (c Case) behind(d door, status int, code oauth.Code) Case {
	c.others = maps.Clone(c.others)
	if c.others == nil {
		c.others = map[door]expect{}
	}
	c.others[d] = expect{status, code}
	return c
}

func (c Case) with(headers ...string) Case { c.headers = append(c.headers, headers...); return c }
func (c Case) has(parts ...string) Case    { c.parts = append(c.parts, parts...); return c }
func (c Case) thatWrites() Case            { c.writes = true; return c }
func (c Case) thatCounts() Case            { c.counted = true; return c }
