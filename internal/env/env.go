// Package env reads a function's configuration from its environment variables. It collects what is wrong with them, each
// error naming the variable and what it may be, so that one start shows all mistakes:
//
//	r := env.Reader{Lookup: os.LookupEnv}
//	c := config{
//		Issuer: r.Issuer("ISSUER"),
//		Mode:   r.OneOf("ACCESS_KEY_MODE", "secretsmanager", "secretsmanager", "kms"),
//	}
//	return c, r.Err()
//
// An empty variable counts as an absent one, because a template can't leave a variable out.
package env

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reader reads variables. After an error it returns zero values and goes on. Not safe for use by many goroutines.
type Reader struct {
	// Lookup is os.LookupEnv, or a test's. Required.
	Lookup func(name string) (string, bool)

	errs      []error
	allowHTTP *bool // once it is known
}

// Err returns what was wrong with the variables read, one line each, or nil.
func (r *Reader) Err() error {
	r.AllowHTTP() // a mistake in it must show, whether or not a URL was read
	return errors.Join(r.errs...)
}

// Fail adds an error about a variable: what says what it must be, as in "it must be positive". The value is shown
// unless the name is that of a secret.
func (r *Reader) Fail(name, what string) {
	value := r.Optional(name, "")
	switch {
	case value == "":
		r.errs = append(r.errs, fmt.Errorf("%s is not set: %s", name, what))
	case secret(name, value):
		r.errs = append(r.errs, fmt.Errorf("%s is not valid: %s", name, what))
	default:
		r.errs = append(r.errs, fmt.Errorf("%s is %s: %s", name, quote(value), what))
	}
}

// secret reports whether a value is kept out of error texts: by its name, or because it is a URL with a password in it.
func secret(name, value string) bool {
	for _, end := range []string{"SECRET", "PASSWORD", "TOKEN", "CREDENTIALS", "PRIVATE_KEY", "ACCESS_KEY"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return strings.Contains(value, "@")
}

// quote shows a value in one line, and not all of a long one.
func quote(value string) string {
	const most = 80
	if len(value) > most {
		return strconv.Quote(value[:most]) + "..."
	}
	return strconv.Quote(value)
}

// Optional returns the variable, or otherwise where it is absent.
func (r *Reader) Optional(name, otherwise string) string {
	if value, ok := r.Lookup(name); ok && value != "" {
		return value
	}
	return otherwise
}

// Required returns the variable, which must be there.
func (r *Reader) Required(name string) string {
	value := r.Optional(name, "")
	if value == "" {
		r.Fail(name, "it is required")
	}
	return value
}

// OneOf returns the variable, or otherwise where it is absent; it must be one of allowed.
func (r *Reader) OneOf(name, otherwise string, allowed ...string) string {
	value := r.Optional(name, otherwise)
	for _, a := range allowed {
		if value == a {
			return value
		}
	}
	r.Fail(name, "it must be "+or(allowed))
	return ""
}

func or(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// Bool returns the variable, or otherwise where it is absent; it must be true or false.
func (r *Reader) Bool(name string, otherwise bool) bool {
	return r.OneOf(name, strconv.FormatBool(otherwise), "true", "false") == "true"
}

// Duration returns the variable, or otherwise where it is absent: a Go duration ("90s", "1h30m") or a number of whole
// seconds, within min and max.
func (r *Reader) Duration(name string, otherwise, min, max time.Duration) time.Duration {
	value := r.Optional(name, "")
	if value == "" {
		return otherwise
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		// Whole seconds; ParseDuration sees to numbers that are too large.
		d, err = time.ParseDuration(value + "s")
		if strings.Trim(value, "0123456789") != "" {
			err = errors.New("not a number of whole seconds")
		}
	}
	if err != nil || d < min || d > max {
		r.Fail(name, fmt.Sprintf("it must be a duration from %s to %s, such as 90s, 15m or 12h, or a number of seconds", short(min), short(max)))
		return 0
	}
	return d
}

// short writes 1h0m0s as 1h.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// List returns the members of a comma-separated variable without the space around them, nil where it is absent. A member
// may not be empty.
func (r *Reader) List(name string) []string {
	value := r.Optional(name, "")
	if value == "" {
		return nil
	}
	list := strings.Split(value, ",")
	for i, member := range list {
		if list[i] = strings.TrimSpace(member); list[i] == "" {
			r.Fail(name, "it must be a list separated by commas, without empty members")
			return nil
		}
	}
	return list
}

// AllowHTTP reports whether ALLOW_HTTP is "true", which permits http URLs on a laptop. On AWS Lambda it is an error: what
// goes over plain http there are tokens and keys.
func (r *Reader) AllowHTTP() bool {
	if r.allowHTTP == nil {
		allow := r.Bool("ALLOW_HTTP", false)
		if allow && r.Optional("AWS_LAMBDA_FUNCTION_NAME", "") != "" && r.Optional("AWS_SAM_LOCAL", "") != "true" {
			r.Fail("ALLOW_HTTP", "it must be false on AWS Lambda")
			allow = false
		}
		r.allowHTTP = &allow
	}
	return *r.allowHTTP
}

// Issuer returns the variable, which must be there and an issuer identifier (RFC 8414 §2) without a path: https, a host,
// perhaps a port, and no slash at the end.
func (r *Reader) Issuer(name string) string {
	value := r.Optional(name, "")
	if !r.validIssuer(value) {
		r.Fail(name, "it must be "+r.issuerForm())
		return ""
	}
	return value
}

func (r *Reader) validIssuer(value string) bool {
	u, ok := r.parse(value)
	return ok && value == u.Scheme+"://"+u.Host
}

func (r *Reader) issuerForm() string {
	return r.scheme() + " URL of a host without a path, a query or a slash at the end, such as https://id.example.com"
}

// MostIssuers is how many Issuers takes.
const MostIssuers = 5

// Issuers returns a comma-separated variable of other names that an issuer goes by, nil where it is absent. Each has the form
// of an issuer; none is that issuer, or there twice.
func (r *Reader) Issuers(name, issuer string) []string {
	list := r.List(name)
	if len(list) > MostIssuers {
		r.Fail(name, fmt.Sprintf("it must be %d issuers at most", MostIssuers))
		return nil
	}
	for i, member := range list {
		switch {
		case !r.validIssuer(member):
			r.Fail(name, "each must be "+r.issuerForm()+", with commas between them")
		case member == issuer:
			r.Fail(name, "the issuer itself must not be among its other names")
		case slices.Contains(list[:i], member):
			r.Fail(name, "an issuer must not be there twice")
		default:
			continue
		}
		return nil
	}
	return list
}

// Origin returns the variable, of the form of an issuer, or "" where it is absent.
func (r *Reader) Origin(name string) string {
	if r.Optional(name, "") == "" {
		return ""
	}
	return r.Issuer(name)
}

// URL returns the variable, or otherwise where it is absent: an https URL, with a path or a query perhaps, without a user
// or a fragment.
func (r *Reader) URL(name, otherwise string) string {
	value := r.Optional(name, "")
	if value == "" {
		return otherwise
	}
	if _, ok := r.parse(value); !ok {
		r.Fail(name, "it must be "+r.scheme()+" URL, such as https://id.example.com/path")
		return ""
	}
	return value
}

func (r *Reader) scheme() string {
	if r.AllowHTTP() {
		return "an https or http"
	}
	return "an https"
}

// parse checks what all URLs have in common.
func (r *Reader) parse(value string) (*url.URL, bool) {
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" || u.Opaque != "" || u.User != nil || strings.Contains(value, "#") {
		return nil, false
	}
	if strings.HasSuffix(u.Host, ":") || strings.ToLower(u.Host) != u.Host {
		return nil, false // two spellings of one URL are two issuers
	}
	return u, u.Scheme == "https" || u.Scheme == "http" && r.AllowHTTP()
}
