package attack

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Request is a request as it goes onto the wire, whatever net/http's client would say to it. Methods return changed copies, so
// that rows of the table can share a beginning. Texts may hold {client.secret}, {client.access} and {client.refresh}: the
// client's secret, and tokens of a sign-in that is made for the request.
type Request struct {
	method, path, query string
	headers             []header
	body                []part
	chunked             bool
	host                string // empty: the issuer's
	bytes               string // all of it, where that is not nil
}

type header struct {
	name, value string
	basic       bool // the value is id:secret, to be written in base64
}

// part is one of the body's that an ampersand sets apart: a pair to be encoded, or one that is sent as it stands.
type part struct {
	name, value string
	raw         bool
}

const formType = "application/x-www-form-urlencoded"

func post(path string) Request {
	return Request{method: http.MethodPost, path: path}.set("Content-Type", formType)
}

func get(path string) Request { return Request{method: http.MethodGet, path: path} }

// wire is a request of these bytes, for what no client would send.
func wire(lines ...string) Request {
	return Request{method: http.MethodPost, path: tokenPath, bytes: strings.Join(lines, "\r\n")}
}

// form adds parameters: name, value, name, value …
func (r Request) form(pairs ...string) Request {
	r.body = slices.Clone(r.body)
	for i := 0; i < len(pairs); i += 2 {
		r.body = append(r.body, part{name: pairs[i], value: pairs[i+1]})
	}
	return r
}

// raw adds to the body what is sent as it stands.
func (r Request) raw(body string) Request {
	r.body = append(slices.Clone(r.body), part{value: body, raw: true})
	return r
}

func (r Request) add(name, value string) Request {
	r.headers = append(slices.Clone(r.headers), header{name: name, value: value})
	return r
}

func (r Request) del(name string) Request {
	r.headers = slices.DeleteFunc(slices.Clone(r.headers), func(h header) bool { return strings.EqualFold(h.name, name) })
	return r
}

func (r Request) set(name, value string) Request { return r.del(name).add(name, value) }

func (r Request) basic(id, secret string) Request {
	r.headers = append(slices.Clone(r.headers), header{name: "Authorization", value: id + ":" + secret, basic: true})
	return r
}

// as authenticates a client as it should be done.
func (r Request) as(id string) Request { return r.basic(id, "{"+id+".secret}") }

func (r Request) by(method string) Request { r.method = method; return r }
func (r Request) at(path string) Request   { r.path = path; return r }
func (r Request) asking(q string) Request  { r.query = q; return r }
func (r Request) to(host string) Request   { r.host = host; return r }
func (r Request) inChunks() Request        { r.chunked = true; return r }

// authorized reports whether the request has an Authorization header.
func (r Request) authorized() bool {
	return slices.ContainsFunc(r.headers, func(h header) bool { return strings.EqualFold(h.name, "Authorization") })
}

var placeholder = regexp.MustCompile(`\{([a-z0-9-]+)\.(secret|access|refresh)\}`)

// bodyBytes are the body's.
func (r Request) bodyBytes(fill func(string) string) string {
	var pairs []string
	for _, p := range r.body {
		if p.raw {
			pairs = append(pairs, fill(p.value))
			continue
		}
		pairs = append(pairs, url.QueryEscape(p.name)+"="+url.QueryEscape(fill(p.value)))
	}
	return strings.Join(pairs, "&")
}

// marshal returns the request's bytes, and of what was put together for it what must not come to light.
func (r Request) marshal(host string, fill func(string) string, secrets *Secrets) []byte {
	if r.bytes != "" {
		return []byte(fill(r.bytes))
	}
	var b bytes.Buffer
	target := r.path
	if r.query != "" {
		target += "?" + fill(r.query)
	}
	if r.host != "" {
		host = r.host
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", r.method, target, host)
	for _, h := range r.headers {
		value := fill(h.value)
		if h.basic {
			secrets.Add("Basic credentials", value)
			value = "Basic " + base64.StdEncoding.EncodeToString([]byte(value))
		}
		if strings.EqualFold(h.name, "Authorization") {
			secrets.Add("an Authorization header", value)
		}
		fmt.Fprintf(&b, "%s: %s\r\n", h.name, value)
	}
	for _, p := range r.body {
		if sensitive[p.name] {
			secrets.Add("a "+p.name, fill(p.value))
		}
	}
	body := r.bodyBytes(fill)
	switch {
	case r.chunked:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	case len(body) > 0 || r.method == http.MethodPost:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	default:
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// sensitive are the parameters whose values are nobody's but the client's.
var sensitive = map[string]bool{
	"client_secret": true, "password": true, "refresh_token": true, "token": true, "client_assertion": true, "assertion": true,
}

// send writes bytes to a server and reads its answer.
func send(address string, request []byte, method string) (*http.Response, []byte, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, nil, err
	}
	if _, err := conn.Write(request); err != nil {
		return nil, nil, err
	}
	reader := bufio.NewReader(conn)
	res, err := http.ReadResponse(reader, &http.Request{Method: method})
	if err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(reader, &http.Request{Method: method})
	}
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res, body, err
}
