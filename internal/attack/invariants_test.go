package attack

import (
	"encoding/base64"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// refusal is one as it must be, changed by the edits: "Name: value", or "Name: " to leave it out.
func refusal(path string, status int, body string, edits ...string) Answer {
	h := http.Header{"Content-Type": {"application/json;charset=UTF-8"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}}
	if path == tokenPath {
		h.Set("Pragma", "no-cache")
	} else {
		h.Set("Access-Control-Allow-Origin", "*")
	}
	for _, edit := range edits {
		name, value, _ := strings.Cut(edit, ": ")
		h.Set(name, value)
		if value == "" {
			h.Del(name)
		}
	}
	return Answer{Method: http.MethodPost, Path: path, Status: status, Header: h, Body: []byte(body)}
}

// TestBreaches: each thing that must hold is found where it does not.
func TestBreaches(t *testing.T) {
	const body = `{"error":"invalid_request","error_description":"No."}`
	authorized := func(a Answer) Answer { a.Authorization = true; return a }
	faulty := func(a Answer) Answer { a.Faulty = true; return a }
	by := func(method string, a Answer) Answer { a.Method = method; return a }
	jwks, public := oauth.PathJWKS, "Cache-Control: public, max-age=300"
	for name, a := range map[string]Answer{
		"a refusal":                      refusal(tokenPath, 400, body),
		"an answer":                      refusal(tokenPath, 200, `{}`),
		"a public one":                   refusal(jwks, 200, `{}`, public),
		"a refusal of a public one":      refusal(jwks, 400, body),
		"not modified":                   refusal(jwks, 304, "", public, "Content-Type: "),
		"HEAD":                           by("HEAD", refusal(jwks, 200, "", public)),
		"a 401 after none":               refusal(tokenPath, 401, `{"error":"invalid_client","error_description":"x"}`),
		"a 401 after Authorization":      authorized(refusal(tokenPath, 401, `{"error":"invalid_client","error_description":"x"}`, challenge)),
		"a 405":                          refusal(tokenPath, 405, body, "Allow: POST"),
		"an outage, and there is one":    faulty(refusal(tokenPath, 503, `{"error":"temporarily_unavailable","error_description":"x"}`)),
		"whatever another path may have": refusal("/other", 500, "<html>"),
	} {
		if found := Breaches(a); len(found) > 0 {
			t.Errorf("%s: %q", name, found)
		}
	}
	for name, a := range map[string]Answer{
		"500":                            refusal(tokenPath, 500, `{"error":"server_error","error_description":"x"}`),
		"502 of a public one":            refusal(jwks, 502, `{"error":"server_error"}`),
		"no challenge":                   authorized(refusal(tokenPath, 401, `{"error":"invalid_client","error_description":"x"}`)),
		"a challenge to none":            refusal(tokenPath, 401, `{"error":"invalid_client","error_description":"x"}`, challenge),
		"no Allow":                       refusal(tokenPath, 405, body),
		"a cookie":                       refusal(tokenPath, 200, `{}`, "Set-Cookie: a=b"),
		"a redirection":                  refusal(tokenPath, 200, `{}`, "Location: /"),
		"no nosniff":                     refusal(tokenPath, 200, `{}`, "X-Content-Type-Options: "),
		"stored":                         refusal(tokenPath, 200, `{}`, "Cache-Control: private"),
		"stored, a refusal":              refusal(jwks, 400, body, public),
		"stored by HTTP/1.0":             refusal(tokenPath, 200, `{}`, "Pragma: "),
		"not stored, though public":      refusal(jwks, 200, `{}`),
		"read by another origin":         refusal(tokenPath, 200, `{}`, "Access-Control-Allow-Origin: *"),
		"with another's credentials":     refusal(jwks, 200, `{}`, public, "Access-Control-Allow-Credentials: true"),
		"HTML":                           refusal(tokenPath, 400, body, "Content-Type: text/html"),
		"no type":                        refusal(tokenPath, 400, body, "Content-Type: "),
		"no JSON":                        refusal(tokenPath, 400, "Bad Request"),
		"an array":                       refusal(tokenPath, 200, "[]"),
		"more than JSON":                 refusal(tokenPath, 400, body+"{}"),
		"no error":                       refusal(tokenPath, 400, `{}`),
		"an error that is none":          refusal(tokenPath, 200, body),
		"a code of its own":              refusal(tokenPath, 400, `{"error":"oops","error_description":"x"}`),
		"a code of resource servers":     refusal(tokenPath, 400, `{"error":"invalid_token","error_description":"x"}`),
		"no description":                 refusal(tokenPath, 400, `{"error":"invalid_request"}`),
		"a description of quotes":        refusal(tokenPath, 400, `{"error":"invalid_request","error_description":"a \"b\""}`),
		"a description of a line feed":   refusal(tokenPath, 400, `{"error":"invalid_request","error_description":"a\nb"}`),
		"a description of other letters": refusal(tokenPath, 400, `{"error":"invalid_request","error_description":"é"}`),
		"a description that is a number": refusal(tokenPath, 400, `{"error":"invalid_request","error_description":1}`),
		"a member besides":               refusal(tokenPath, 400, `{"error":"invalid_request","error_description":"x","trace":"x"}`),
		"HEAD with a body":               by("HEAD", refusal(jwks, 200, "{}", public)),
	} {
		if found := Breaches(a); len(found) == 0 {
			t.Errorf("%s: found nothing", name)
		}
	}
}

// TestSecrets: a secret is found in whatever form it comes to light.
func TestSecrets(t *testing.T) {
	var s Secrets
	const secret = "lk_secret_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"
	payload, signature := strings.Repeat("cGF5bG9hZA", 10), strings.Repeat("c2lnbmF0dXJl", 6)
	s.AddBasic("shop", secret)
	s.Add("a password", "a+b c/d=é", "short")
	s.Add("a token", "eyJhbGciOiJFUzI1NiJ9."+payload+"."+signature)
	for _, line := range []string{
		secret, "shop:" + secret, base64.StdEncoding.EncodeToString([]byte("shop:" + secret)), secret[:len(secret)/2], secret[len(secret)/2:],
		base64.StdEncoding.EncodeToString([]byte(secret)), "a+b c/d=é", "a%2Bb+c%2Fd%3D%C3%A9", "eyJhbGciOiJFUzI1NiJ9." + payload, payload, signature,
	} {
		if s.Find(`{"x":"`+line+`"}`) == "" {
			t.Errorf("not found: %s", line)
		}
	}
	for _, line := range []string{"", "short", "shop", "lk_secret_", "eyJhbGciOiJFUzI1NiJ9", `{"client_id":"shop"}`} {
		if what := s.Find(line); what != "" {
			t.Errorf("%s is taken for %s", line, what)
		}
	}
}

// TestChanges: whatever is added, altered or removed in a store is told.
func TestChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	write := func(change func(*bolt.Bucket) error) state {
		t.Helper()
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("clients"))
			if err != nil {
				return err
			}
			return change(b)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return readState(t, path)
	}
	first := write(func(b *bolt.Bucket) error { return b.Put([]byte("a"), []byte("1")) })
	second := write(func(*bolt.Bucket) error { return nil })
	third := write(func(b *bolt.Bucket) error { return b.Put([]byte("a"), []byte("2")) })
	fourth := write(func(b *bolt.Bucket) error { return b.Put([]byte("b"), []byte("2")) })
	fifth := write(func(b *bolt.Bucket) error { return b.Delete([]byte("a")) })
	for name, c := range map[string]struct {
		before, after state
		want          string
	}{
		"nothing": {first, second, ""}, "altered": {second, third, `clients/"a"`}, "added": {third, fourth, `clients/"b"`}, "removed": {fourth, fifth, `clients/"a"`},
	} {
		if got := strings.Join(changes(t, c.before, c.after), " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestTable: each row says by which section it is right, and no two have one name.
func TestTable(t *testing.T) {
	source := regexp.MustCompile(`^(RFC \d{4} (section \d+(\.\d+)*|appendix [A-Z])|Fetch section|design section|docs/)`)
	total := 0
	for class, rows := range Table() {
		seen := map[string]bool{}
		for _, c := range rows {
			if !source.MatchString(c.rfc) {
				t.Errorf("%s/%s cites %q", class, c.name, c.rfc)
			}
			if seen[c.name] {
				t.Errorf("%s/%s is there twice", class, c.name)
			}
			seen[c.name] = true
			total++
		}
	}
	if total < 200 || total != Count() {
		t.Errorf("%d rows, counted as %d, want 200 and more", total, Count())
	}
}
