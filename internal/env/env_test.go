package env_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/env"
)

// reader reads from lines of NAME=value.
func reader(lines ...string) *env.Reader {
	return &env.Reader{Lookup: func(name string) (string, bool) {
		for _, line := range lines {
			if n, value, _ := strings.Cut(line, "="); n == name {
				return value, true
			}
		}
		return "", false
	}}
}

// accept checks that read returns want without an error.
func accept[T comparable](t *testing.T, line string, want T, read func(*env.Reader) T) {
	t.Helper()
	r := reader(strings.Split(line, "\n")...)
	if got := read(r); got != want || r.Err() != nil {
		t.Errorf("%q: got %v, %v, want %v", line, got, r.Err(), want)
	}
}

// refuse checks the error, and that the value read is the zero value.
func refuse[T comparable](t *testing.T, line, want string, read func(*env.Reader) T) {
	t.Helper()
	r := reader(strings.Split(line, "\n")...)
	var zero T
	got := read(r)
	if err := r.Err(); err == nil || err.Error() != want || got != zero {
		t.Errorf("%q: got %v and the error\n%v\nwant\n%s", line, got, err, want)
	}
}

func TestRequiredAndOptional(t *testing.T) {
	required := func(r *env.Reader) string { return r.Required("A") }
	accept(t, "A=x", "x", required)
	refuse(t, "B=x", "A is not set: it is required", required)
	refuse(t, "A=", "A is not set: it is required", required)

	optional := func(r *env.Reader) string { return r.Optional("A", "d") }
	accept(t, "A=x", "x", optional)
	accept(t, "A=", "d", optional)
	accept(t, "", "d", optional)
}

func TestOneOf(t *testing.T) {
	mode := func(r *env.Reader) string {
		return r.OneOf("ACCESS_KEY_MODE", "secretsmanager", "secretsmanager", "kms")
	}
	accept(t, "", "secretsmanager", mode)
	accept(t, "ACCESS_KEY_MODE=", "secretsmanager", mode)
	accept(t, "ACCESS_KEY_MODE=kms", "kms", mode)
	refuse(t, "ACCESS_KEY_MODE=foo", `ACCESS_KEY_MODE is "foo": it must be secretsmanager or kms`, mode)
	refuse(t, "ACCESS_KEY_MODE=KMS", `ACCESS_KEY_MODE is "KMS": it must be secretsmanager or kms`, mode)
	refuse(t, "ACCESS_KEY_MODE="+strings.Repeat("x", 200), `ACCESS_KEY_MODE is "`+strings.Repeat("x", 80)+`"...: it must be secretsmanager or kms`, mode)

	three := func(r *env.Reader) string { return r.OneOf("A", "", "x", "y", "z") }
	refuse(t, "", "A is not set: it must be x, y or z", three)
}

func TestBool(t *testing.T) {
	yes := func(r *env.Reader) bool { return r.Bool("A", true) }
	no := func(r *env.Reader) bool { return r.Bool("A", false) }
	accept(t, "", true, yes)
	accept(t, "", false, no)
	accept(t, "A=false", false, yes)
	accept(t, "A=true", true, no)
	refuse(t, "A=1", `A is "1": it must be true or false`, yes)
}

func TestDuration(t *testing.T) {
	read := func(r *env.Reader) time.Duration { return r.Duration("A", time.Hour, time.Second, 720*time.Hour) }
	accept(t, "", time.Hour, read)
	accept(t, "A=90s", 90*time.Second, read)
	accept(t, "A=1h30m", 90*time.Minute, read)
	accept(t, "A=3600", time.Hour, read)
	accept(t, "A=1", time.Second, read)
	accept(t, "A=720h", 720*time.Hour, read)
	for _, bad := range []string{"0", "-5", "721h", "1.5", "1e3", "an hour", "99999999999999999999", " 5", "1d"} {
		refuse(t, "A="+bad, `A is "`+bad+`": it must be a duration from 1s to 720h, such as 90s, 15m or 12h, or a number of seconds`, read)
	}
}

func TestList(t *testing.T) {
	read := func(line string) ([]string, error) {
		r := reader(line)
		return r.List("A"), r.Err()
	}
	for line, want := range map[string][]string{"": nil, "A=": nil, "A=x": {"x"}, "A=x, y ,z": {"x", "y", "z"}} {
		if got, err := read(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{"A=,", "A=x,", "A=x,,y", "A= "} {
		if got, err := read(line); err == nil || got != nil {
			t.Errorf("%q: got %q, want an error", line, got)
		}
	}
}

func TestIssuer(t *testing.T) {
	const what = ": it must be an https URL of a host without a path, a query or a slash at the end, such as https://id.example.com"
	read := func(r *env.Reader) string { return r.Issuer("ISSUER") }
	for _, good := range []string{"https://id.example.com", "https://id.example.com:8443", "https://[::1]:3000"} {
		accept(t, "ISSUER="+good, good, read)
	}
	for _, bad := range []string{
		"http://id.example.com", "https://id.example.com/", "https://id.example.com/path", "https://id.example.com?", "https://id.example.com?a=b",
		"https://id.example.com#", "https://id.example.com#a", "id.example.com", "https://", "https:id.example.com", "ftp://id.example.com",
		"https://ID.example.com", "HTTPS://id.example.com", "https://id.example.com:", "https://id.example.com:x", "https://:443", " https://id.example.com",
	} {
		refuse(t, "ISSUER="+bad, `ISSUER is "`+bad+`"`+what, read)
	}
	refuse(t, "", "ISSUER is not set"+what, read)
	refuse(t, "ISSUER=https://user:hunter2@id.example.com", "ISSUER is not valid"+what, read)
}

func TestIssuers(t *testing.T) {
	read := func(line string) ([]string, error) {
		r := reader(line)
		return r.Issuers("A", "https://id.example.com"), r.Err()
	}
	for line, want := range map[string][]string{
		"": nil, "A=": nil, "A=https://old.example.com": {"https://old.example.com"},
		"A=https://old.example.com, https://older.example.com:8443": {"https://old.example.com", "https://older.example.com:8443"},
		"A=https://1,https://2,https://3,https://4,https://5":       {"https://1", "https://2", "https://3", "https://4", "https://5"},
	} {
		if got, err := read(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", line, got, err, want)
		}
	}
	const form = "each must be an https URL of a host without a path"
	for line, says := range map[string]string{
		"A=https://id.example.com":                                      "the issuer itself must not be among its other names",
		"A=https://a.example.com,https://a.example.com":                 "an issuer must not be there twice",
		"A=https://1,https://2,https://3,https://4,https://5,https://6": "it must be 5 issuers at most",
		"A=https://a.example.com,":                                      "without empty members",
		"A=https://a.example.com https://b.example.com":                 form,
		"A=https://a.example.com;https://b.example.com":                 form,
		"A=https://a.example.com,http://b.example.com":                  form,
		"A=https://a.example.com/":                                      form,
		"A=https://A.example.com":                                       form,
		"A=a.example.com":                                               form,
		"A=*":                                                           form,
		"A=https://user:hunter2@a.example.com":                          "A is not valid: " + form,
	} {
		got, err := read(line)
		if got != nil || err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %q, %v, want none and %q", line, got, err, says)
		}
	}
}

func TestOrigin(t *testing.T) {
	read := func(r *env.Reader) string { return r.Origin("MTLS_ORIGIN") }
	accept(t, "", "", read)
	accept(t, "MTLS_ORIGIN=https://mtls.example.com", "https://mtls.example.com", read)
	refuse(t, "MTLS_ORIGIN=https://mtls.example.com/",
		`MTLS_ORIGIN is "https://mtls.example.com/": it must be an https URL of a host without a path, a query or a slash at the end, such as https://id.example.com`, read)
}

func TestURL(t *testing.T) {
	read := func(r *env.Reader) string { return r.URL("JWKS_URL", "https://d/") }
	accept(t, "", "https://d/", read)
	accept(t, "JWKS_URL=https://a/b/c.json?d=e", "https://a/b/c.json?d=e", read)
	for _, bad := range []string{"http://a/b", "/b", "a/b", "file:///b", "https:///b", "https://a/b#c"} {
		refuse(t, "JWKS_URL="+bad, `JWKS_URL is "`+bad+`": it must be an https URL, such as https://id.example.com/path`, read)
	}
}

func TestAllowHTTP(t *testing.T) {
	read := func(r *env.Reader) string { return r.Issuer("ISSUER") }
	accept(t, "ISSUER=http://127.0.0.1:3000\nALLOW_HTTP=true", "http://127.0.0.1:3000", read)
	accept(t, "ISSUER=http://127.0.0.1:3000\nALLOW_HTTP=true\nAWS_LAMBDA_FUNCTION_NAME=f\nAWS_SAM_LOCAL=true", "http://127.0.0.1:3000", read)
	refuse(t, "ISSUER=ftp://a\nALLOW_HTTP=true",
		`ISSUER is "ftp://a": it must be an https or http URL of a host without a path, a query or a slash at the end, such as https://id.example.com`, read)

	// Whether or not a URL is read.
	none := func(*env.Reader) bool { return false }
	refuse(t, "ALLOW_HTTP=true\nAWS_LAMBDA_FUNCTION_NAME=f", `ALLOW_HTTP is "true": it must be false on AWS Lambda`, none)
	refuse(t, "ALLOW_HTTP=yes", `ALLOW_HTTP is "yes": it must be true or false`, none)

	lambda := reader("ALLOW_HTTP=true", "AWS_LAMBDA_FUNCTION_NAME=f", "ISSUER=http://a")
	if got := lambda.Issuer("ISSUER"); got != "" {
		t.Errorf("an http issuer on AWS Lambda: %q", got)
	}
}

func TestErrNamesAllThatIsWrong(t *testing.T) {
	r := reader("B=x", "CLIENT_SECRET=hunter2")
	r.Required("A")
	r.Bool("B", false)
	r.OneOf("CLIENT_SECRET", "", "a", "b")
	const want = "A is not set: it is required\nB is \"x\": it must be true or false\nCLIENT_SECRET is not valid: it must be a or b"
	if err := r.Err(); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
