package authorizer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// oracle is an event as encoding/json reads it.
type oracle struct {
	Version            string                     `json:"version"`
	Type               string                     `json:"type"`
	AuthorizationToken string                     `json:"authorizationToken"`
	MethodArn          string                     `json:"methodArn"`
	Resource           string                     `json:"resource"`
	HTTPMethod         string                     `json:"httpMethod"`
	Path               string                     `json:"path"`
	RouteArn           string                     `json:"routeArn"`
	RouteKey           string                     `json:"routeKey"`
	RawPath            string                     `json:"rawPath"`
	Cookies            []string                   `json:"cookies"`
	IdentitySource     any                        `json:"identitySource"`
	Headers            map[string]json.RawMessage `json:"headers"`
	MultiValueHeaders  map[string][]string        `json:"multiValueHeaders"`
	Query              map[string]json.RawMessage `json:"queryStringParameters"`
	MultiValueQuery    map[string][]string        `json:"multiValueQueryStringParameters"`
	RequestContext     struct {
		RequestID string `json:"requestId"`
		EventType string `json:"eventType"`
		Path      string `json:"path"`
		HTTP      struct {
			Method string `json:"method"`
			Path   string `json:"path"`
		} `json:"http"`
		Identity       certified `json:"identity"`
		Authentication certified `json:"authentication"`
	} `json:"requestContext"`
}

type certified struct {
	ClientCert struct {
		PEM string `json:"clientCertPem"`
	} `json:"clientCert"`
}

// FuzzScan: an event is read as encoding/json reads it, and what that refuses is refused. (Names in another case, and members
// that stand twice, are no event's.)
func FuzzScan(f *testing.F) {
	for _, data := range events(f) {
		f.Add(data)
	}
	for _, text := range []string{
		`null`, `{}`, ` { "type" : null , "cookies":null,"identitySource":"a,b","requestContext":{"http":null,"identity":{"clientCert":{"clientCertPem":"x"}}}} `,
		`{"type":"\u0041\ud83d\ude00\ud800","x":[1,-0.5e+3,true,false,null,{"a":[]}],"path":"` + "\xff" + `"}`, `{"type":1}`, `{"type":"a",}`, `{"type":"a"}x`,
		`{"x":01}`, `{"x":1.}`, `{"x":.1}`, `{"x":1e}`, `{"x":"\x"}`, `{"x":"\u12g4"}`, `{"x":[1,]}`, `{"x":{,}}`, "{\"x\":\"\n\"}", `{"x":"\`, `{"x":"\u12`, `{"x":nul}`, `{"x"}`, `[]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := parseWire(data)
		if !json.Valid(data) {
			if err == nil {
				t.Fatalf("%q was read, and is not JSON", data)
			}
			return
		}
		var o oracle
		if json.Unmarshal(data, &o) != nil || odd(data) || strings.Count(string(data), "[")+strings.Count(string(data), "{") > maxDepth {
			return // what its values are made of is looked at where they are used
		}
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		rc := o.RequestContext
		want := wireEvent{
			o.Version, o.Type, o.AuthorizationToken, o.MethodArn, o.Resource, o.HTTPMethod, o.Path, o.RouteArn, o.RouteKey, o.RawPath, o.Cookies,
			w.IdentitySource, w.Headers, w.MultiValueHeaders, w.Query, w.MultiValueQuery,
			requestContext{rc.RequestID, rc.EventType, rc.Path, rc.HTTP.Method, rc.HTTP.Path, rc.Identity.ClientCert.PEM, rc.Authentication.ClientCert.PEM},
		}
		if len(w.Cookies) == 0 {
			want.Cookies = w.Cookies
		}
		if !reflect.DeepEqual(*w, want) {
			t.Fatalf("%s:\n%+v\nwant\n%+v", data, *w, want)
		}
		for name, values := range o.MultiValueHeaders {
			if !utf8.Valid(data) {
				break // a name may be one of those that stand for what is no UTF-8
			}
			if got := w.MultiValueHeaders.values(name, false); fmt.Sprint(got) != fmt.Sprint(values) {
				t.Fatalf("%s: header %q: %q, want %q", data, name, got, values)
			}
		}
		switch source := o.IdentitySource.(type) {
		case nil:
			if len(w.IdentitySource) > 0 {
				t.Fatalf("%s: %q", data, w.IdentitySource)
			}
		case string:
			if got := strings.Join(w.IdentitySource, ","); got != source {
				t.Fatalf("%s: %q", data, got)
			}
		case []any:
			if len(source) != len(w.IdentitySource) {
				t.Fatalf("%s: %q", data, w.IdentitySource)
			}
		}
	})
}

// odd reports whether two names of an object are equal but for their case, which encoding/json takes for one: it knows no
// order, and keeps the last.
func odd(data []byte) bool {
	d := json.NewDecoder(strings.NewReader(string(data)))
	var walk func() bool
	walk = func() bool {
		start, err := d.Token()
		if err != nil {
			return false
		}
		delim, ok := start.(json.Delim)
		if !ok {
			return false
		}
		seen, found := map[string]bool{}, false
		for d.More() {
			if delim == '{' {
				name, _ := d.Token()
				text := name.(string)
				// ſ and K are S and K by another name.
				folded := strings.Map(func(r rune) rune {
					switch r {
					case 'ſ':
						return 's'
					case 'K':
						return 'k'
					}
					return r
				}, strings.ToLower(text))
				found = found || seen[folded] || known[folded] && !exact[text]
				seen[folded] = true
			}
			found = walk() || found
		}
		_, _ = d.Token()
		return found
	}
	return walk()
}

// exact are the names that are read, known the same in lower case.
var exact, known = func() (map[string]bool, map[string]bool) {
	exact, known := map[string]bool{}, map[string]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			name := f.Tag.Get("json")
			exact[name], known[strings.ToLower(name)] = true, true
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[oracle]())
	return exact, known
}()

// events are the samples.
func events(tb testing.TB) [][]byte {
	files, err := filepath.Glob("../../events/authorizer-*.json")
	if err != nil || len(files) < 5 {
		tb.Fatalf("%d events, %v", len(files), err)
	}
	var list [][]byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, data)
	}
	return list
}

// However many headers a caller sends, the event is read.
func TestManyHeaders(t *testing.T) {
	var headers strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&headers, `"h%d":"v",`, i)
	}
	w, err := parseWire([]byte(`{"type":"REQUEST","headers":{` + headers.String() + `"authorization":"Bearer x"},"rawPath":"/a"}`))
	if err != nil || w.RawPath != "/a" {
		t.Fatal(err)
	}
	if got := w.Headers.values("Authorization", true); len(got) != 1 || got[0] != "Bearer x" {
		t.Errorf("%q", got)
	}
}

func TestNestedTooDeep(t *testing.T) {
	for depth, fine := range map[int]bool{maxDepth - 1: true, maxDepth: false, 100_000: false} {
		_, err := parseWire([]byte(`{"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`))
		if (err == nil) != fine {
			t.Errorf("%d: %v", depth, err)
		}
	}
}

// TestAnswers: whatever the claims, an answer is the JSON that encoding/json would write of it.
func TestAnswers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	texts := []string{"a", "orders:read", `"`, `\`, "\x00", "\x1f\x7f", "<&>", "ü", "\u2028", "\xff", "😀", strings.Repeat("x", 300)}
	text := func() string { return texts[random.IntN(len(texts))] + texts[random.IntN(len(texts))] }
	type statement struct {
		Effect, Action string
		Resource       []string
		Condition      map[string]map[string]string `json:",omitempty"`
	}
	type answer struct {
		IsAuthorized *bool  `json:"isAuthorized,omitempty"`
		PrincipalID  string `json:"principalId,omitempty"`
		Policy       *struct {
			Version   string
			Statement []statement
		} `json:"policyDocument,omitempty"`
		Context map[string]string `json:"context"`
	}
	for range 2000 {
		at := time.Unix(random.Int64N(1<<33), 0)
		access := &token.Access{
			Grant:  token.Grant{GrantID: text(), ClientID: text(), Subject: text(), AuthTime: at},
			Issuer: text(), Audience: []string{text(), text()}, IssuedAt: at, ExpiresAt: at.Add(time.Minute), ID: text(), Scope: oauth.Scope{text()},
		}
		extra := extraClaims{random.IntN(2) == 0, random.IntN(2) == 0, random.IntN(2) == 0, random.IntN(2) == 0}
		want := answer{Context: map[string]string{
			"client_id": access.ClientID, "exp": fmt.Sprint(access.ExpiresAt.Unix()), "grant_id": access.GrantID, "jti": access.ID,
			"scope": access.Scope.String(), "sub": access.Subject,
		}}
		for name, is := range map[string]struct {
			set   bool
			value string
		}{
			"aud": {extra.audience, access.Audience[0] + " " + access.Audience[1]}, "auth_time": {extra.authTime, fmt.Sprint(at.Unix())},
			"iat": {extra.issued, fmt.Sprint(at.Unix())}, "iss": {extra.issuer, access.Issuer},
		} {
			if is.set {
				want.Context[name] = is.value
			}
		}
		a := &Authorizer{Config: Config{SimpleResponses: true, Now: time.Now}}
		e := &event{kind: kind(random.IntN(5)), arn: arn{prefix: text() + "/"}, wire: &wireEvent{}}
		resources := []string{text(), text()}[:1+random.IntN(2)]
		out, refused := a.permit(e, &rules{extra: extra}, access, resources)
		if e.kind == kindHTTP2 {
			yes := true
			want.IsAuthorized = &yes
		} else {
			want.PrincipalID, want.Policy = access.Subject, &struct {
				Version   string
				Statement []statement
			}{"2012-10-17", []statement{{"Allow", "execute-api:Invoke", resources, map[string]map[string]string{
				"DateLessThan": {"aws:CurrentTime": access.ExpiresAt.UTC().Format(time.RFC3339)},
			}}}}
		}
		equal(t, out, refused, want)

		r := &refusal{reason: text(), denied: random.IntN(2) == 0}
		if random.IntN(2) == 0 {
			r.code = text()
		}
		want = answer{Context: map[string]string{"reason": r.reason}}
		if r.code != "" {
			want.Context["error"] = r.code
		}
		if e.kind == kindHTTP2 {
			no := false
			want.IsAuthorized = &no
		} else {
			want.PrincipalID, want.Policy = nobody, &struct {
				Version   string
				Statement []statement
			}{"2012-10-17", []statement{{Effect: "Deny", Action: "execute-api:Invoke", Resource: []string{e.arn.prefix + "*"}}}}
			if r.denied {
				want.PrincipalID = access.Subject
			}
		}
		equal(t, a.refuse(e, access, r), nil, want)
	}
}

// equal compares two documents: member names, order of lists and text.
func equal(t *testing.T, out []byte, refused *refusal, want any) {
	t.Helper()
	if refused != nil {
		t.Fatalf("refused: %+v", refused)
	}
	expected, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if err := json.Unmarshal(expected, &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("%s\nwant\n%s", out, expected)
	}
}
