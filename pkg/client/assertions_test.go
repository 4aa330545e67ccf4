package client

import (
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

func TestIdentity(t *testing.T) {
	claims := map[string]string{"repository_id": "74", "ref": "refs/heads/main", "empty": ""}
	for _, row := range []struct {
		what string
		id   Identity
		want bool
	}{
		{"the subject", Identity{Subject: "job"}, true},
		{"a part of it", Identity{Subject: "jo"}, false},
		{"another case", Identity{Subject: "Job"}, false},
		{"a claim", Identity{Claims: map[string]string{"ref": "refs/heads/main"}}, true},
		{"both claims", Identity{Claims: map[string]string{"ref": "refs/heads/main", "repository_id": "74"}}, true},
		{"one of two", Identity{Claims: map[string]string{"ref": "refs/heads/main", "repository_id": "75"}}, false},
		{"a claim that is not there", Identity{Claims: map[string]string{"absent": ""}}, false},
		{"the subject and another claim", Identity{Subject: "job", Claims: map[string]string{"ref": "x"}}, false},
		{"nothing", Identity{}, false},
	} {
		if row.id.Matches("job", claims) != row.want {
			t.Errorf("%s: want %v", row.what, row.want)
		}
	}
}

func TestValidateAssertions(t *testing.T) {
	const ci = "https://ci.example.com"
	for what, change := range map[string]func(*Record){
		"an identity":              func(r *Record) { r.Identities = []Identity{{Issuer: ci, Subject: "job"}} },
		"keys at a URL":            func(r *Record) { r.Keys = "https://app.example.com/jwks.json?v=1" },
		"the grant with an issuer": func(r *Record) { r.Grants, r.AssertionIssuers = []string{oauth.GrantJWTBearer}, []string{ci} },
	} {
		r := record()
		if change(r); r.Validate() != nil {
			t.Errorf("%s: %v", what, r.Validate())
		}
	}
	for what, change := range map[string]func(*Record){
		"an identity of nothing":      func(r *Record) { r.Identities = []Identity{{Issuer: ci}} },
		"of nobody":                   func(r *Record) { r.Identities = []Identity{{Subject: "job"}} },
		"of an issuer over http":      func(r *Record) { r.Identities = []Identity{{Issuer: "http://ci.example.com", Subject: "job"}} },
		"an audience, which all have": func(r *Record) { r.Identities = []Identity{{Issuer: ci, Claims: map[string]string{"aud": "x"}}} },
		"an empty claim":              func(r *Record) { r.Identities = []Identity{{Issuer: ci, Claims: map[string]string{"ref": ""}}} },
		"a long subject":              func(r *Record) { r.Identities = []Identity{{Issuer: ci, Subject: strings.Repeat("x", 513)}} },
		"too many":                    func(r *Record) { r.Identities = make([]Identity, MaxIdentities+1) },
		"the grant without an issuer": func(r *Record) { r.Grants = []string{oauth.GrantJWTBearer} },
		"an issuer that is no URL":    func(r *Record) { r.AssertionIssuers = []string{"accounts.google.com"} },
		"keys over http":              func(r *Record) { r.Keys = "http://app.example.com" },
		"keys that are none":          func(r *Record) { r.Keys = `{"keys":[]}` },
	} {
		r := record()
		if change(r); r.Validate() == nil {
			t.Errorf("%s is taken", what)
		}
	}
	s := Spec{ID: "app", Audiences: []string{"urn:a"}, NoSecret: true}
	if _, _, err := newWorld(t).registry().Create(ctx, s); err == nil {
		t.Error("a client that can sign in by nothing is taken")
	}
}
