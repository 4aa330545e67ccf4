package issuer

import (
	"maps"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

func record() *Record {
	return &Record{
		Version: RecordVersion, URL: "https://id.example.com", Keys: "https://id.example.com/keys", Audiences: []string{"us"}, Algorithms: []string{"RS256"},
		Scopes: oauth.Scope{"read"}, Epoch: 1, Handle: "i_x",
	}
}

func TestValidate(t *testing.T) {
	long := strings.Repeat("x", 513)
	ada := LocalUser{"ada", "u_0123456789abcdefghij_-"}
	for what, change := range map[string]func(*Record){
		"as it is":       func(*Record) {},
		"tenant":         func(r *Record) { r.URL = "https://id.example.com/tenant/v2.0" },
		"claims":         func(r *Record) { r.Claims = map[string][]string{"hd": {"a", "b"}, "email_verified": {"true"}} },
		"a user":         func(r *Record) { r.Users, r.UsersOnly = map[string]LocalUser{"1": ada}, true },
		"a subject":      func(r *Record) { r.SubjectClaim = "oid" },
		"no scope":       func(r *Record) { r.Scopes = nil },
		"a day":          func(r *Record) { r.MaxAge = 86400 },
		"all algorithms": func(r *Record) { r.Algorithms = []string{"ES256", "RS256", "EdDSA"} },
	} {
		r := record()
		if change(r); r.Validate() != nil {
			t.Errorf("%s: %v", what, r.Validate())
		}
	}
	for what, change := range map[string]func(*Record){
		"http":                 func(r *Record) { r.URL = "http://id.example.com" },
		"no keys":              func(r *Record) { r.Keys = "" },
		"keys over http":       func(r *Record) { r.Keys = "http://id.example.com" },
		"no audience":          func(r *Record) { r.Audiences = nil },
		"an empty audience":    func(r *Record) { r.Audiences = []string{""} },
		"a long audience":      func(r *Record) { r.Audiences = []string{long} },
		"no algorithm":         func(r *Record) { r.Algorithms = nil },
		"none":                 func(r *Record) { r.Algorithms = []string{"none"} },
		"a symmetric one":      func(r *Record) { r.Algorithms = []string{"RS256", "HS256"} },
		"subject by e-mail":    func(r *Record) { r.SubjectClaim = "email" },
		"subject by name":      func(r *Record) { r.SubjectClaim = "preferred_username" },
		"subject by phone":     func(r *Record) { r.SubjectClaim = "phone_number" },
		"subject by iss":       func(r *Record) { r.SubjectClaim = "iss" },
		"claims of none":       func(r *Record) { r.Claims = map[string][]string{"hd": {}} },
		"an empty claim":       func(r *Record) { r.Claims = map[string][]string{"hd": {""}} },
		"a claim read anyhow":  func(r *Record) { r.Claims = map[string][]string{"aud": {"x"}} },
		"two days":             func(r *Record) { r.MaxAge = 2 * 86400 },
		"a negative age":       func(r *Record) { r.MaxAge = -1 },
		"a scope with a quote": func(r *Record) { r.Scopes = oauth.Scope{`"`} },
		"a scope twice":        func(r *Record) { r.Scopes = oauth.Scope{"a", "a"} },
		"users only, and none": func(r *Record) { r.UsersOnly = true },
		"a user without an id": func(r *Record) { r.Users = map[string]LocalUser{"1": {"ada", ""}} },
		"no subject for one":   func(r *Record) { r.Users = map[string]LocalUser{"": ada} },
		"no handle":            func(r *Record) { r.Handle = "" },
		"no epoch":             func(r *Record) { r.Epoch = 0 },
	} {
		r := record()
		if change(r); r.Validate() == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// TestSubject: ours tell issuers and subjects apart, and are no client's and no user's.
func TestSubject(t *testing.T) {
	ids := map[string]bool{}
	for _, pair := range [][2]string{{"https://a.example", "1"}, {"https://a.example", "2"}, {"https://b.example", "1"}, {"https://a.example1", ""}} {
		id := Subject(pair[0], pair[1])
		if ids[id] || client.ValidID(id) || user.ValidID(id) || !strings.HasPrefix(id, "x_") {
			t.Errorf("%v is %s", pair, id)
		}
		ids[id] = true
	}
	if got := Subject("https://a.example", "1"); got != "x_OzSZlZZL3c2WbLLCAShj_sbu96Zz4jNzLtSkMoaWGfk" {
		t.Errorf("%s: it has to stay what it was, for others keep it", got)
	}
}

// TestClone: what a change is tried on shares nothing with what is stored.
func TestClone(t *testing.T) {
	r := record()
	r.Claims, r.Users = map[string][]string{"hd": {"a"}}, map[string]LocalUser{"1": {"ada", "u_x"}}
	c := r.clone()
	c.Claims["hd"][0], c.Scopes[0], c.Audiences[0], c.Algorithms[0] = "b", "write", "them", "ES256"
	delete(c.Users, "1")
	if r.Claims["hd"][0] != "a" || r.Scopes[0] != "read" || r.Audiences[0] != "us" || r.Algorithms[0] != "RS256" || len(r.Users) != 1 {
		t.Errorf("%+v", r)
	}
	if !maps.Equal(record().Users, record().clone().Users) {
		t.Error("none becomes some")
	}
}
