package oauth

import (
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

const urlencoded = "application/x-www-form-urlencoded"

// post is a request as a client would send it; edits are header lines, "Name: value", set in place of what is there, or
// added for "+Name: value", or removed for "-Name".
func post(body string, edits ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body))
	r.Header.Set("Content-Type", urlencoded)
	for _, edit := range edits {
		name, value, _ := strings.Cut(edit, ": ")
		switch {
		case strings.HasPrefix(name, "-"):
			r.Header.Del(name[1:])
		case strings.HasPrefix(name, "+"):
			r.Header.Add(name[1:], value)
		default:
			r.Header.Set(name, value)
		}
	}
	return r
}

// refused fails the test unless err is an Error of that code and status.
func refused(t *testing.T, what string, err error, code Code, status int) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%s: got %v, want %s", what, err, code)
		return &Error{}
	}
	if e.Code != code || e.Status() != status {
		t.Errorf("%s: got %s with status %d, want %s with %d", what, e.Code, e.Status(), code, status)
	}
	return e
}

func TestParseForm(t *testing.T) {
	for body, want := range map[string]Form{
		"":                              {},
		"&&":                            {},
		"grant_type=client_credentials": {"grant_type": "client_credentials"},
		"a=1&b=2&c=3":                   {"a": "1", "b": "2", "c": "3"},
		"scope=read+write%20all":        {"scope": "read write all"},
		"a=%2B%26%3D%25&%61b=1":         {"a": "+&=%", "ab": "1"},
		"a=b=c":                         {"a": "b=c"},
		"a=1;b=2":                       {"a": "1;b=2"}, // a semicolon separates nothing
		"a=%c3%A9&b=é":                  {"a": "é", "b": "é"},
		"scope=&client_id":              {},                   // empty ones count as absent (RFC 6749 §3.2)
		"A=1&a=2":                       {"A": "1", "a": "2"}, // names are told by their case
		"unknown=x&_=y":                 {"unknown": "x", "_": "y"},
		"a=%0d%0a%7f":                   {"a": "\r\n\x7f"},
	} {
		if got, err := ParseForm(post(body)); err != nil || !maps.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", body, got, err, want)
		}
	}
}

func TestParseFormRefuses(t *testing.T) {
	for body, code := range map[string]Code{
		"a=1&a=2": InvalidRequest, "a=1&a=1": InvalidRequest, "a=1&%61=1": InvalidRequest, "a=&a=1": InvalidRequest,
		"a=1&a": InvalidRequest, "resource=x&resource=y": InvalidTarget,
		"a=%": InvalidRequest, "a=%4": InvalidRequest, "a=%zz": InvalidRequest, "a=%4g": InvalidRequest, "a=%g4": InvalidRequest,
		"%=1": InvalidRequest, "a=%+1": InvalidRequest, "a=%u0041": InvalidRequest,
		"a=%00": InvalidRequest, "a\x00=1": InvalidRequest, "%00=1": InvalidRequest,
		"a=%ff": InvalidRequest, "a=\xff": InvalidRequest, "%c0%af=1": InvalidRequest, "a=%ed%a0%80": InvalidRequest,
	} {
		_, err := ParseForm(post(body))
		refused(t, body, err, code, http.StatusBadRequest)
	}
}

func TestParseFormMethod(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post"} {
		r := post("a=1")
		r.Method = method
		_, err := ParseForm(r)
		e := refused(t, method, err, InvalidRequest, http.StatusMethodNotAllowed)
		if e.header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow is %q, want POST", method, e.header.Get("Allow"))
		}
	}
}

func TestParseFormContentType(t *testing.T) {
	for _, accepted := range []string{
		"Content-Type: application/x-www-form-urlencoded", "Content-Type: Application/X-WWW-Form-URLencoded",
		"Content-Type: application/x-www-form-urlencoded;charset=UTF-8", `Content-Type: application/x-www-form-urlencoded; charset="utf-8"`,
		"Content-Type: application/x-www-form-urlencoded; other=thing", "Content-Encoding: identity",
		"Content-Type: application/x-www-form-urlencoded; charset=ISO-8859-1", "Content-Type: application/x-www-form-urlencoded; charset=utf-16",
	} {
		if form, err := ParseForm(post("a=1", accepted)); err != nil || form["a"] != "1" {
			t.Errorf("%s: got %v, %v", accepted, form, err)
		}
	}
	for _, wrong := range []string{
		"-Content-Type", "Content-Type: ", "Content-Type: application/json", "Content-Type: text/plain", "Content-Type: multipart/form-data; boundary=x",
		"Content-Type: application/x-www-form-urlencoded-not", "Content-Type: application/x-www-form-urlencoded; charset=",
		"Content-Type: application/x-www-form-urlencoded; charset=utf-8; charset=utf-7", "+Content-Type: application/json",
		"+Content-Type: application/x-www-form-urlencoded", "Content-Type: application/x-www-form-urlencoded, application/json",
		"Content-Encoding: gzip", "Content-Encoding: identity, gzip",
	} {
		_, err := ParseForm(post("a=1", wrong))
		refused(t, wrong, err, InvalidRequest, http.StatusUnsupportedMediaType)
	}
	_, err := ParseForm(post("a=%E9", "Content-Type: application/x-www-form-urlencoded; charset=ISO-8859-1"))
	refused(t, "what is Latin-1", err, InvalidRequest, http.StatusBadRequest)
	_, err = ParseForm(post("a=1", "Content-Encoding: identity", "+Content-Encoding: gzip"))
	refused(t, "a second Content-Encoding", err, InvalidRequest, http.StatusUnsupportedMediaType)
}

// reader hides what a body is, so that its length is not known beforehand.
type reader struct{ io.Reader }

// broken is a body that fails.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("secret of the transport") }

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestParseFormSize(t *testing.T) {
	most := "a=" + strings.Repeat("x", MaxBody-2)
	chunked := func(body io.Reader) *http.Request {
		r := post("")
		r.Body, r.ContentLength = io.NopCloser(reader{body}), -1
		return r
	}
	for what, r := range map[string]*http.Request{"with a length": post(most), "chunked": chunked(strings.NewReader(most))} {
		if form, err := ParseForm(r); err != nil || len(form["a"]) != MaxBody-2 {
			t.Errorf("MaxBody %s: got %d bytes, %v", what, len(form["a"]), err)
		}
	}
	for declared := range int64(12) { // a body is read to its end whatever length is declared, and in whatever pieces
		for _, body := range []io.Reader{strings.NewReader("a=1&b=2"), iotest.OneByteReader(strings.NewReader("a=1&b=2")), iotest.DataErrReader(strings.NewReader("a=1&b=2"))} {
			r := chunked(body)
			r.ContentLength = declared
			if form, err := ParseForm(r); err != nil || !maps.Equal(form, Form{"a": "1", "b": "2"}) {
				t.Errorf("%d declared: %v, %v", declared, form, err)
			}
		}
	}
	_, err := ParseForm(chunked(strings.NewReader(most + "x")))
	refused(t, "MaxBody + 1 chunked", err, InvalidRequest, http.StatusRequestEntityTooLarge)

	declared := post("a=1")
	declared.Body, declared.ContentLength = io.NopCloser(unread{t}), MaxBody+1
	_, err = ParseForm(declared)
	refused(t, "MaxBody + 1 declared", err, InvalidRequest, http.StatusRequestEntityTooLarge)

	endless := new(counter)
	_, err = ParseForm(chunked(endless))
	refused(t, "endless", err, InvalidRequest, http.StatusRequestEntityTooLarge)
	if *endless > 2*MaxBody {
		t.Errorf("%d bytes of an endless body were read", *endless)
	}
	_, err = ParseForm(chunked(broken{}))
	refused(t, "broken", err, InvalidRequest, http.StatusBadRequest)
}

// counter is an endless body that counts what was read of it.
type counter int

func (c *counter) Read(p []byte) (int, error) {
	*c += counter(len(p))
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestParseFormIgnoresQuery(t *testing.T) {
	r := post("a=1")
	r.URL.RawQuery = "a=2&client_id=evil&client_secret=s"
	form, err := ParseForm(r)
	if err != nil || !maps.Equal(form, Form{"a": "1"}) {
		t.Errorf("got %v, %v", form, err)
	}
}

// basic is an Authorization header of these two halves as they are.
func basic(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

func parse(body string, edits ...string) (Credentials, error) {
	r := post(body, edits...)
	form, err := ParseForm(r)
	if err != nil {
		return Credentials{}, err
	}
	return ParseCredentials(r, form)
}

func TestParseCredentials(t *testing.T) {
	accepted := func(what string, want Credentials, body string, edits ...string) {
		t.Helper()
		if got, err := parse(body, edits...); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", what, got, err, want)
		}
	}
	accepted("none", Credentials{AuthNone, "", "", ""}, "")
	accepted("an id alone", Credentials{AuthNone, "app", "", ""}, "client_id=app")
	accepted("an empty secret is none", Credentials{AuthNone, "app", "", ""}, "client_id=app&client_secret=")
	accepted("in the body", Credentials{AuthPost, "app", "s", ""}, "client_id=app&client_secret=s")
	accepted("in the header", Credentials{AuthBasic, "app", "s", ""}, "", basic("app", "s"))
	accepted("the same id in both", Credentials{AuthBasic, "app", "s", ""}, "client_id=app", basic("app", "s"))
	accepted("an empty id in the body", Credentials{AuthBasic, "app", "s", ""}, "client_id=", basic("app", "s"))
	accepted("form-encoded halves", Credentials{AuthBasic, "a:p é", "s%+ /", ""}, "", basic("a%3Ap+%C3%A9", "s%25%2B%20%2F"))
	accepted("a colon in the secret", Credentials{AuthBasic, "app", "s:t:", ""}, "", basic("app", "s:t:"))
	accepted("a scheme in small letters", Credentials{AuthBasic, "app", "s", ""}, "", strings.Replace(basic("app", "s"), "Basic", "bASIC", 1))
	accepted("an assertion", Credentials{AuthAssertion, "", "", "a.b.c"}, "client_assertion=a.b.c&client_assertion_type="+AssertionType)
	accepted("an assertion and an id", Credentials{AuthAssertion, "app", "", "a.b.c"}, "client_id=app&client_assertion=a.b.c&client_assertion_type="+AssertionType)
	accepted("two spaces", Credentials{AuthBasic, "app", "s", ""}, "", strings.Replace(basic("app", "s"), "Basic", "Basic ", 1))
}

func TestParseCredentialsRefuses(t *testing.T) {
	encode := func(s string) string { return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for what, header := range map[string]string{
		"empty": "Authorization: ", "no scheme": "Authorization: YXBwOnM=", "Bearer": "Authorization: Bearer YXBwOnM=",
		"no credentials": "Authorization: Basic", "blank credentials": "Authorization: Basic ", "not base64": "Authorization: Basic !!!!",
		"no padding": "Authorization: Basic YXBwOnM", "base64url": "Authorization: Basic YXBwOj8_", "trailing bits": "Authorization: Basic YXBwOnN=",
		"data after the padding": "Authorization: Basic YXBwOnM=x", "a line break": "Authorization: Basic YXBw\r\nOnM=", "a tab": "Authorization: Basic\tYXBwOnM=",
		"a prefix of the scheme": "Authorization: Basi YXBwOnM=", "no colon": encode("app"), "no id": encode(":s"), "no secret": encode("app:"), "nothing": encode(":"),
		"broken escape in the id": encode("%zz:s"), "broken escape in the secret": encode("app:%4"),
		"NUL": encode("app\x00:s"), "NUL by escape": encode("app:s%00"), "invalid UTF-8": encode("app:\xff"),
		"two in one header": basic("app", "s") + ", Basic YXBwOnM=",
	} {
		_, err := parse("client_id=app", header)
		if e := refused(t, what, err, InvalidClient, http.StatusUnauthorized); !strings.HasPrefix(e.header.Get("WWW-Authenticate"), "Basic realm=") {
			t.Errorf("%s: WWW-Authenticate is %q", what, e.header.Get("WWW-Authenticate"))
		}
	}
	invalid := func(what, body string, edits ...string) {
		t.Helper()
		_, err := parse(body, edits...)
		if e := refused(t, what, err, InvalidRequest, http.StatusBadRequest); e.header != nil {
			t.Errorf("%s: headers %v", what, e.header)
		}
	}
	invalid("two headers", "", basic("app", "s"), "+"+basic("app", "s"))
	invalid("both methods", "client_id=app&client_secret=s", basic("app", "s"))
	invalid("both methods without an id", "client_secret=s", basic("app", "s"))
	invalid("another id", "client_id=other", basic("app", "s"))
	invalid("an id of another case", "client_id=App", basic("app", "s"))
	invalid("a secret without an id", "client_secret=s")
	invalid("an assertion and a header", "client_assertion=x", basic("app", "s"))
	invalid("an assertion and a secret", "client_assertion_type=x&client_id=app&client_secret=s")

	invalid("an assertion without a type", "client_id=app&client_assertion=x")
	invalid("a type without an assertion", "client_assertion_type="+AssertionType)
	for _, body := range []string{"client_assertion=x&client_assertion_type=x", "client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer"} {
		_, err := parse(body)
		if e := refused(t, body, err, InvalidClient, http.StatusUnauthorized); e.header != nil {
			t.Errorf("%s: headers %v, though no Authorization was sent", body, e.header)
		}
	}
}

func TestParsePublicClient(t *testing.T) {
	public := func(body string, edits ...string) (Credentials, error) {
		r := post(body, edits...)
		form, err := ParseForm(r)
		if err != nil {
			t.Fatal(err)
		}
		return ParsePublicClient(r, form)
	}
	for body, id := range map[string]string{"": "", "client_id=app": "app", "client_id=app&client_secret=&client_assertion=": "app"} {
		if got, err := public(body); err != nil || got != (Credentials{AuthNone, id, "", ""}) {
			t.Errorf("%q: got %+v, %v", body, got, err)
		}
	}
	for _, credential := range []string{"client_secret=s", "client_assertion=x", "client_assertion_type=x"} {
		_, err := public("client_id=app&" + credential)
		refused(t, credential, err, InvalidRequest, http.StatusBadRequest)
	}
	for _, header := range []string{basic("app", "s"), "Authorization: Bearer x", "Authorization: "} {
		_, err := public("client_id=app", header)
		if e := refused(t, header, err, InvalidRequest, http.StatusBadRequest); !strings.Contains(e.Description, PathToken) {
			t.Errorf("%s: the description %q does not name %s", header, e.Description, PathToken)
		}
	}
}

func TestRefuse(t *testing.T) {
	cause := errors.New("the cause")
	for method, challenge := range map[AuthMethod]bool{AuthBasic: true, AuthPost: false, AuthNone: false} {
		e := Credentials{Method: method}.Refuse(cause)
		if e.Code != InvalidClient || !errors.Is(e, cause) || strings.Contains(e.Description, "cause") {
			t.Errorf("%s: got %+v", method, e)
		}
		if got := e.header.Get("WWW-Authenticate") != ""; got != challenge {
			t.Errorf("%s: a challenge %v, want %v", method, got, challenge)
		}
	}
}

// FuzzParseForm holds the decoder to net/url: what both accept, they read alike.
func FuzzParseForm(f *testing.F) {
	for _, s := range []string{"a=1&b=%20+&c", "a=1&a=2", "a=%zz", "a=;", "&&=", "%61=\xff", "a=%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		form, err := parseForm([]byte(body))
		if err != nil {
			return
		}
		values, err := url.ParseQuery(body)
		if err != nil {
			if strings.Contains(body, ";") {
				return // which net/url refuses
			}
			t.Fatalf("%q: net/url refuses it: %v", body, err)
		}
		for name, all := range values {
			if len(all) != 1 || all[0] != form[name] {
				t.Errorf("%q: %q is %q, and %q for net/url", body, name, form[name], all)
			}
		}
		for name, value := range form {
			if value == "" || values.Get(name) != value {
				t.Errorf("%q: %q is %q, and %q for net/url", body, name, value, values.Get(name))
			}
		}
	})
}

// FuzzBasic holds parseBasic to net/http, and to what form-encoding its result gives.
func FuzzBasic(f *testing.F) {
	for _, s := range []string{"Basic YXBwOnM=", "basic  YXBwOnM=", "Basic YXBw\nOnM=", "Basic YTpiOmM=", "Basic JTQxOiUyQg==", "Bearer x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c, err := parseBasic(header)
		if err != nil {
			if c != (Credentials{}) {
				t.Errorf("%q: %+v along with %v", header, c, err)
			}
			return
		}
		if c.Method != AuthBasic || c.ClientID == "" || c.Secret == "" {
			t.Errorf("%q: accepted as %+v", header, c)
		}
		scheme, rest, _ := strings.Cut(header, " ")
		r := &http.Request{Header: http.Header{"Authorization": {scheme + " " + strings.TrimLeft(rest, " ")}}}
		id, secret, ok := r.BasicAuth()
		if !ok {
			t.Fatalf("%q: net/http refuses it", header)
		}
		id, err1 := url.QueryUnescape(id)
		secret, err2 := url.QueryUnescape(secret)
		if err1 != nil || err2 != nil || id != c.ClientID || secret != c.Secret {
			t.Errorf("%q: got %q and %q, net/http and net/url say %q and %q (%v, %v)", header, c.ClientID, c.Secret, id, secret, err1, err2)
		}
	})
}
