package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Code is an error code of RFC 6749 §5.2 or of an extension in IANA's registry of OAuth errors.
type Code string

// The codes that Latchkey answers with.
const (
	InvalidRequest       Code = "invalid_request"
	InvalidClient        Code = "invalid_client"
	InvalidGrant         Code = "invalid_grant"
	UnauthorizedClient   Code = "unauthorized_client"
	UnsupportedGrantType Code = "unsupported_grant_type"
	InvalidScope         Code = "invalid_scope"
	InvalidTarget        Code = "invalid_target"     // RFC 8707 §2
	InvalidDPoPProof     Code = "invalid_dpop_proof" // RFC 9449 §5
	UseDPoPNonce         Code = "use_dpop_nonce"     // RFC 9449 §8
	ServerError          Code = "server_error"
	// Unavailable says that an outage, and nothing in the request, is the reason: the same request can succeed later.
	Unavailable Code = "temporarily_unavailable"
)

// status gives the HTTP status of a code (RFC 6749 §5.2: 400 unless said otherwise).
func (c Code) status() int {
	switch c {
	case InvalidClient:
		return http.StatusUnauthorized
	case ServerError:
		return http.StatusInternalServerError
	case Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// RetryAfter is what a 503 tells clients to wait.
const RetryAfter = 2 * time.Second

// Error is a refusal or a fault as the client sees it. Its cause goes to the log and never to the client.
type Error struct {
	Code        Code
	Description string // for the client's developer; fixed texts only, never a part of the request

	status int         // 0: the code's own
	header http.Header // what the status asks for, such as Allow
	cause  error
}

// Errorf makes an Error. The description must be safe to show: build it from constants.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Description: fmt.Sprintf(format, args...)}
}

// Because returns e with a cause for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Becausef is Because with a text.
func (e *Error) Becausef(format string, args ...any) *Error {
	return e.Because(fmt.Errorf(format, args...))
}

// Challenged returns e with a WWW-Authenticate header for the Basic scheme, which RFC 6749 §5.2 asks for when a client
// authenticated by the Authorization header and failed.
func (e *Error) Challenged() *Error {
	return e.with(e.status, "WWW-Authenticate", `Basic realm="latchkey", charset="UTF-8"`)
}

// WithDPoPNonce returns e with the nonce that the client's next proof is to have (RFC 9449 §8).
func (e *Error) WithDPoPNonce(nonce string) *Error { return e.with(e.status, headerDPoPNonce, nonce) }

// MethodNotAllowed is the answer to a method that is not the one allowed, or not one of a list of them.
func MethodNotAllowed(allow string) *Error {
	return Errorf(InvalidRequest, "This endpoint takes %s only.", allow).with(http.StatusMethodNotAllowed, "Allow", allow)
}

// TooManyRequests is the answer to a client that has to wait. The code is that of an overload: no other one is registered
// for it.
func TooManyRequests(wait time.Duration) *Error {
	return tooMany("This client asks too often. Wait, and try again.", wait)
}

// TooManyTries is the same answer to a sign-in that others like it have failed before, whoever's they were.
func TooManyTries(wait time.Duration) *Error {
	return tooMany("Too many sign-ins like this one have failed. Wait, and try again.", wait)
}

func tooMany(description string, wait time.Duration) *Error {
	seconds := max(1, int64((wait+time.Second-1)/time.Second))
	return Errorf(Unavailable, "%s", description).
		with(http.StatusTooManyRequests, "Retry-After", strconv.FormatInt(seconds, 10))
}

// with returns e with another status and one more header.
func (e *Error) with(status int, name, value string) *Error {
	c := *e
	c.status = status
	c.header = e.header.Clone()
	if name != "" {
		if c.header == nil {
			c.header = http.Header{}
		}
		c.header.Set(name, value)
	}
	return &c
}

func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Description, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Description)
}

// Unwrap returns the cause, which may be nil.
func (e *Error) Unwrap() error { return e.cause }

// Status returns the HTTP status that e is answered with.
func (e *Error) Status() int {
	if e.status != 0 {
		return e.status
	}
	return e.Code.status()
}

// asError returns err as an *Error: what is not one is a fault of ours, of which the client learns nothing.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Errorf(ServerError, "The server failed. The fault is not in the request.").Because(err)
}

// WriteError answers with err in the form of RFC 6749 §5.2. An error that holds no *Error is a server_error.
func WriteError(w http.ResponseWriter, err error) {
	e := asError(err)
	h := w.Header()
	for name, values := range e.header {
		h[name] = values
	}
	if e.Status() == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.Itoa(int(RetryAfter/time.Second)))
	}
	body, _ := json.Marshal(struct { // two strings can't fail
		Error       Code   `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{e.Code, descriptionText(e.Description)})
	write(w, e.Status(), body)
}

// write answers with a document that must not be stored (RFC 6749 §5.1).
func write(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	v := [...]string{"application/json;charset=UTF-8", "no-store", "no-cache", "nosniff"} // one allocation for all
	h["Content-Type"] = v[0:1:1]
	h["Cache-Control"] = v[1:2:2]
	h["Pragma"] = v[2:3:3]
	h["X-Content-Type-Options"] = v[3:4:4]
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is no fault of ours
}

// descriptionText keeps to the characters of RFC 6749 §5.2: printable ASCII without the double quote and the backslash.
func descriptionText(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			out[i] = '\''
		}
	}
	return string(out)
}
