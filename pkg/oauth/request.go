package oauth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxBody is the largest request body read, in bytes.
const MaxBody = 16 << 10

// Form holds the parameters of a request body: each at most once, without the empty ones, which RFC 6749 §3.2 counts as
// absent. The zero value of a lookup is "".
type Form map[string]string

// ParseForm reads the body of a request to an endpoint that takes a form (RFC 6749 §3.2): POST, urlencoded, at most
// MaxBody bytes, no parameter twice. The query string is never read: it ends up in logs, and §2.3.1 forbids credentials
// there. Unknown parameters are kept and do no harm.
func ParseForm(r *http.Request) (Form, error) {
	if r.Method != http.MethodPost {
		return nil, MethodNotAllowed(http.MethodPost)
	}
	if err := checkContentType(r.Header); err != nil {
		return nil, err
	}
	if r.ContentLength > MaxBody {
		return nil, errTooLarge()
	}
	body, err := readBody(r)
	if err != nil {
		return nil, Errorf(InvalidRequest, "The request body could not be read.").Because(err)
	}
	if len(body) > MaxBody {
		return nil, errTooLarge()
	}
	return parseForm(body)
}

// readBody reads to the body's end, or one byte more than MaxBody. It is io.ReadAll, but that the length is known beforehand
// as a rule.
func readBody(r *http.Request) ([]byte, error) {
	body := make([]byte, 0, max(r.ContentLength, bytes.MinRead)+1)
	for len(body) <= MaxBody {
		if len(body) == cap(body) {
			body = slices.Grow(body, bytes.MinRead)
		}
		n, err := r.Body.Read(body[len(body):min(cap(body), MaxBody+1)])
		body = body[:len(body)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return body, nil
}

func errTooLarge() *Error {
	return Errorf(InvalidRequest, "The request body is larger than %d bytes.", MaxBody).with(http.StatusRequestEntityTooLarge, "", "")
}

const formType = "application/x-www-form-urlencoded"

func checkContentType(h http.Header) error {
	types := h["Content-Type"]
	if len(types) != 1 {
		return errContentType().Becausef("%d Content-Type headers", len(types))
	}
	if !isForm(types[0]) {
		return errContentType()
	}
	for _, encoding := range h["Content-Encoding"] {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return errContentType().Becausef("a Content-Encoding")
		}
	}
	return nil
}

// isForm does not look at a charset parameter: the media type has none (WHATWG URL §5.2), and what is not UTF-8 is refused.
func isForm(contentType string) bool {
	if contentType == formType { // as nearly all clients send it
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && kind == formType
}

func errContentType() *Error {
	return Errorf(InvalidRequest, "The request body must be "+formType+".").with(http.StatusUnsupportedMediaType, "Accept-Post", formType)
}

// parseForm decodes strictly where net/url is lenient or differs: a broken escape, invalid UTF-8, NUL or a repeated name
// is an error, and a semicolon is a character like any other (WHATWG URL §5.1).
func parseForm(body []byte) (Form, error) {
	form := Form{}
	var empty map[string]bool // the names without a value
	for pair := range bytes.SplitSeq(body, []byte{'&'}) {
		if len(pair) == 0 {
			continue
		}
		rawName, rawValue, _ := bytes.Cut(pair, []byte{'='})
		name, errName := formDecode(rawName)
		value, errValue := formDecode(rawValue)
		if errName != nil || errValue != nil {
			return nil, Errorf(InvalidRequest, "The request body is not well-formed.").Because(errors.Join(errName, errValue))
		}
		if _, named := form[name]; named || empty[name] {
			if name == "resource" {
				// RFC 8707 §2 allows several; a token of ours is for one.
				return nil, Errorf(InvalidTarget, "Name one resource: a token is issued for one audience.")
			}
			return nil, Errorf(InvalidRequest, "A parameter is given more than once.")
		}
		if value != "" {
			form[name] = value
			continue
		}
		if empty == nil {
			empty = map[string]bool{}
		}
		empty[name] = true
	}
	return form, nil
}

var errEncoding = errors.New("broken percent-encoding, invalid UTF-8 or NUL")

// formDecode undoes application/x-www-form-urlencoded.
func formDecode(s []byte) (string, error) {
	if bytes.IndexByte(s, '+') < 0 && bytes.IndexByte(s, '%') < 0 {
		return wellFormed(string(s))
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if len(s)-i < len("%00") {
				return "", errEncoding
			}
			high, low := hexDigits[s[i+1]], hexDigits[s[i+2]]
			if high|low == notHex {
				return "", errEncoding
			}
			c = high<<4 | low
			i += 2
		}
		out = append(out, c)
	}
	return wellFormed(string(out))
}

func wellFormed(decoded string) (string, error) {
	if !utf8.ValidString(decoded) || strings.IndexByte(decoded, 0) >= 0 {
		return "", errEncoding
	}
	return decoded, nil
}

const notHex = 0xff

// hexDigits are the values of the digits in either case; of all other bytes, notHex.
var hexDigits = func() (values [256]byte) {
	for c := range values {
		values[c] = notHex
	}
	for i := range byte(10) {
		values['0'+i] = i
	}
	for i := range byte(6) {
		values['a'+i], values['A'+i] = 10+i, 10+i
	}
	return values
}()

// AuthMethod is how a client authenticates (RFC 7591 §2, token_endpoint_auth_method).
type AuthMethod string

// The methods that Latchkey knows.
const (
	AuthNone  AuthMethod = "none" // no credential; perhaps a client_id
	AuthBasic AuthMethod = "client_secret_basic"
	AuthPost  AuthMethod = "client_secret_post"
	// AuthAssertion is any JWT as client_assertion, another issuer's too (RFC 7523 §2.2).
	AuthAssertion AuthMethod = "private_key_jwt"
)

// AssertionType is the only client_assertion_type that is taken (RFC 7523 §2.2).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Credentials are what a request says of its client. Secret is empty but with AuthBasic and AuthPost, Assertion but with
// AuthAssertion, where ClientID may be empty: the assertion says whose it is.
type Credentials struct {
	Method    AuthMethod
	ClientID  string
	Secret    string
	Assertion string
}

// String keeps the secret out of logs and error texts.
func (c Credentials) String() string { return string(c.Method) + " of client " + c.ClientID }

// GoString keeps the secret out of %#v.
func (c Credentials) GoString() string { return c.String() }

// Refuse returns an invalid_client error for these credentials, with a challenge where RFC 6749 §5.2 asks for one. The
// description is the same whatever the reason, so that nobody learns which clients exist.
func (c Credentials) Refuse(cause error) *Error {
	e := Errorf(InvalidClient, "Client authentication failed.").Because(cause)
	if c.Method == AuthBasic {
		return e.Challenged()
	}
	return e
}

// ParseCredentials reads the client's credentials (RFC 6749 §2.3.1): the Authorization header or the body, not both.
func ParseCredentials(r *http.Request, form Form) (Credentials, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return Credentials{}, Errorf(InvalidRequest, "There is more than one Authorization header.")
	}
	for _, name := range []string{"client_assertion", "client_assertion_type"} {
		if _, ok := form[name]; ok {
			if len(headers) > 0 || form["client_secret"] != "" {
				return Credentials{}, errTwoMethods()
			}
			return parseAssertion(form)
		}
	}
	id, secret := form["client_id"], form["client_secret"]
	if len(headers) == 1 {
		c, err := parseBasic(headers[0])
		switch {
		case err != nil:
			return Credentials{}, Credentials{Method: AuthBasic}.Refuse(err)
		case secret != "":
			return Credentials{}, errTwoMethods()
		case id != "" && id != c.ClientID:
			return Credentials{}, Errorf(InvalidRequest, "client_id is not the client of the Authorization header.")
		}
		return c, nil
	}
	if secret == "" {
		return Credentials{Method: AuthNone, ClientID: id}, nil
	}
	if id == "" {
		return Credentials{}, Errorf(InvalidRequest, "client_secret is given without client_id.")
	}
	return Credentials{Method: AuthPost, ClientID: id, Secret: secret}, nil
}

// parseAssertion reads the credentials of RFC 7521 §4.2.
func parseAssertion(form Form) (Credentials, error) {
	c := Credentials{Method: AuthAssertion, ClientID: form["client_id"], Assertion: form["client_assertion"]}
	switch {
	case c.Assertion == "":
		return Credentials{}, Errorf(InvalidRequest, "client_assertion_type is given without client_assertion.")
	case form["client_assertion_type"] == "":
		return Credentials{}, Errorf(InvalidRequest, "client_assertion is given without client_assertion_type.")
	case form["client_assertion_type"] != AssertionType:
		return Credentials{}, c.Refuse(errors.New("an unknown client_assertion_type"))
	}
	return c, nil
}

// ParsePublicClient reads the client_id where no credential is taken: an endpoint that can't check a secret refuses it, for
// it should not have crossed the network.
func ParsePublicClient(r *http.Request, form Form) (Credentials, error) {
	_, header := r.Header["Authorization"]
	if header || form["client_secret"] != "" || form["client_assertion"] != "" || form["client_assertion_type"] != "" {
		return Credentials{}, Errorf(InvalidRequest,
			"Send no client credential here: this endpoint needs none and does not check any. To authenticate, use %s.", PathToken)
	}
	return Credentials{Method: AuthNone, ClientID: form["client_id"]}, nil
}

func errTwoMethods() *Error {
	return Errorf(InvalidRequest, "The client authenticates in more than one way (RFC 6749 section 2.3).")
}

// parseBasic reads RFC 7617 credentials whose two halves are form-encoded besides (RFC 6749 §2.3.1).
func parseBasic(header string) (Credentials, error) {
	scheme, encoded, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return Credentials{}, errors.New("the Authorization scheme is not Basic")
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(strings.TrimLeft(encoded, " "))
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return Credentials{}, errors.New("the Basic credentials are not base64")
	}
	rawID, rawSecret, ok := bytes.Cut(decoded, []byte{':'})
	if !ok {
		return Credentials{}, errors.New("the Basic credentials have no colon")
	}
	id, errID := formDecode(rawID)
	secret, errSecret := formDecode(rawSecret)
	if errID != nil || errSecret != nil {
		return Credentials{}, errors.Join(errID, errSecret)
	}
	if id == "" || secret == "" {
		return Credentials{}, errors.New("the Basic credentials lack the id or the secret")
	}
	return Credentials{Method: AuthBasic, ClientID: id, Secret: secret}, nil
}
