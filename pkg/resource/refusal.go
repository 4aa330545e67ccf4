package resource

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The codes of a Refusal: RFC 6750 §3.1's, and for trouble that no token can help with the two of RFC 6749 §4.1.2.1.
const (
	InvalidRequest    = "invalid_request"
	InvalidToken      = "invalid_token"
	InsufficientScope = "insufficient_scope"
	ServerError       = "server_error"
	Unavailable       = "temporarily_unavailable"
)

// RetryAfter is what a 503 tells clients to wait.
const RetryAfter = 2 * time.Second

// Refusal is why a request does not get through, and how that is answered (RFC 6750 §3): status and challenge, and the same
// in a body, since REST APIs rename the challenge's header.
type Refusal struct {
	Status      int    // 400, 401, 403, 500 or 503
	Code        string // empty: the request has no credentials, of which nothing is said (RFC 6750 §3.1)
	Description string // for the client's developer; fixed texts only, never a part of the request
	Scope       string // that it takes, with InsufficientScope
	Cause       error  // for the log, never for the client; may be nil

	Scheme          string   // that the request used: "DPoP" (RFC 9449 §7.1), or "Bearer", which empty means too
	ProofAlgorithms []string // that DPoP proofs may be signed by; none: DPoP is not taken
}

// nobody says that there is no caller where an authorizer should have named one: the deployment's fault and not the client's.
func nobody(cause string) *Refusal {
	return &Refusal{
		Status: http.StatusInternalServerError, Code: ServerError, Cause: errors.New(cause),
		Description: "The server failed. The fault is not in the request.",
	}
}

// asRefusal takes what is not a Refusal for a fault of ours, of which the client learns nothing.
func asRefusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return nobody(err.Error())
}

func (r *Refusal) Error() string { return r.Code + ": " + r.cause() }

// Unwrap returns the cause, which may be nil.
func (r *Refusal) Unwrap() error { return r.Cause }

func (r *Refusal) cause() string {
	if r.Cause != nil {
		return r.Cause.Error()
	}
	return r.Description
}

// Header is what the answer's headers are to have.
func (r *Refusal) Header() http.Header {
	h := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}
	switch {
	case r.Status == http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(int(RetryAfter/time.Second)))
	case r.Status < http.StatusInternalServerError:
		h["Www-Authenticate"] = r.challenges()
	}
	return h
}

// challenges are those of the schemes that are taken. What is wrong is said in that of the scheme which was used. Each has
// one parameter at least, as both schemes want it.
func (r *Refusal) challenges() []string {
	bearer, dpop := `Bearer realm="api"`, `DPoP algs="`+strings.Join(r.ProofAlgorithms, " ")+`"`
	said := ""
	for _, p := range [][2]string{{"error", r.Code}, {"error_description", r.Description}, {"scope", r.Scope}} {
		if p[1] != "" && r.Code != "" {
			said += ", " + p[0] + `="` + plain(p[1]) + `"`
		}
	}
	switch {
	case len(r.ProofAlgorithms) == 0:
		return []string{bearer + said}
	case r.Scheme == "DPoP":
		return []string{bearer, dpop + said}
	}
	return []string{bearer + said, dpop}
}

// plain keeps to the characters of RFC 6750 §3: printable ASCII without the double quote and the backslash.
func plain(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			out[i] = '\''
		}
	}
	return string(out)
}

// Body is the answer's body, JSON.
func (r *Refusal) Body() []byte {
	body, _ := json.Marshal(struct { // strings can't fail
		Error       string `json:"error,omitempty"`
		Description string `json:"error_description,omitempty"`
		Scope       string `json:"scope,omitempty"`
	}{r.Code, r.Description, r.Scope})
	return append(body, '\n')
}

// Write answers with it.
func (r *Refusal) Write(w http.ResponseWriter) {
	for name, values := range r.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.Body()) //nolint:gosec // JSON, and said to be; a client that went away is no fault of ours
}
