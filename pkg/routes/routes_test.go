package routes

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const document = `{
  "version": 1,
  "apis": [
    {"api": "a1b2c3d4e5", "stage": "prod", "audiences": ["https://api.example.com"], "form": "token", "complete": true, "routes": [
      {"method": "GET", "path": "/orders", "all_of": ["orders:read"]},
      {"method": "ANY", "path": "/orders", "all_of": ["orders:write"], "any_of": [["desk"], ["app", "mfa"]]},
      {"method": "GET", "path": "/"}]},
    {"api": "a1b2c3d4e5", "stage": "*", "form": "route", "bound": true, "context": ["auth_time"], "routes": [
      {"method": "GET", "path": "/orders/{id}", "all_of": ["orders:read"]},
      {"path": "$default", "all_of": ["other"]}]},
    {"api": "*", "stage": "live", "form": "token", "routes": [{"path": "$connect"}]}
  ]
}`

func parse(t testing.TB, data string) *Set {
	t.Helper()
	s, err := Parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestChoice(t *testing.T) {
	s := parse(t, document)
	for _, c := range []struct {
		id, stage string
		want      int // index of the API; -1: none
	}{
		{"a1b2c3d4e5", "prod", 0}, {"a1b2c3d4e5", "test", 1}, {"a1b2c3d4e5", "live", 1}, {"z9y8x7w6v5", "live", 2},
		{"z9y8x7w6v5", "prod", -1}, {"a1b2c3d4e", "prod", -1}, {"A1B2C3D4E5", "prod", -1}, {"", "", -1},
	} {
		var want *API
		if c.want >= 0 {
			want = &s.APIs[c.want]
		}
		if s.API(c.id, c.stage) != want {
			t.Errorf("%s, %s: not API %d", c.id, c.stage, c.want)
		}
	}
	if s := parse(t, `{"version": 1, "apis": [{"api": "*", "stage": "*", "form": "token", "routes": [{"path": "$connect"}]}]}`); s.API("x", "y") != &s.APIs[0] {
		t.Error("the rules for all APIs aren't taken")
	}
}

func TestDecision(t *testing.T) {
	s := parse(t, document)
	for _, c := range []struct {
		api           int
		method, path  string
		scope, decide string
	}{
		{0, "GET", "/orders", "orders:read", "allow"},
		{0, "GET", "/orders", "orders:write orders:read", "allow"},
		{0, "GET", "/orders", "orders:write desk", "deny"},
		{0, "GET", "/orders", "", "deny"},
		{0, "GET", "/orders", "ORDERS:READ orders:reader", "deny"},
		{0, "POST", "/orders", "orders:write", "deny"},
		{0, "POST", "/orders", "desk", "deny"},
		{0, "POST", "/orders", "orders:write desk", "allow"},
		{0, "ANY", "/orders", "orders:write desk", "allow"},
		{0, "POST", "/orders", "orders:write app", "deny"},
		{0, "POST", "/orders", "orders:write app mfa", "allow"},
		{0, "GET", "/", "", "allow"},
		{0, "POST", "/", "", "no rule"},
		{0, "get", "/orders", "orders:read", "no rule"},
		{0, "GET", "/orders/", "orders:read", "no rule"},
		{0, "GET", "/Orders", "orders:read", "no rule"},
		{0, "", "/orders", "orders:read", "no rule"},
		{0, "", "$default", "other", "no rule"},
		{1, "GET", "/orders/{id}", "orders:read", "allow"},
		{1, "GET", "/orders/{other}", "orders:read", "no rule"},
		{1, "GET", "/orders/7", "orders:read", "no rule"},
		{1, "", "$default", "other", "allow"},
		{1, "", "$default", "orders:read", "deny"},
		{1, "GET", "$default", "other", "no rule"},
		{2, "", "$connect", "", "allow"},
	} {
		r := s.APIs[c.api].Route(c.method, c.path)
		got := "no rule"
		if r != nil {
			got = map[bool]string{true: "allow", false: "deny"}[r.Allows(strings.Fields(c.scope))]
		}
		if got != c.decide {
			t.Errorf("API %d, %s %s, scope %q: %s", c.api, c.method, c.path, c.scope, got)
		}
	}
}

func TestNeeds(t *testing.T) {
	for text, want := range map[string]string{
		"GET /: -": "any valid token", "GET /: a b": "a and b", "GET /: a | b c": "a or (b and c)",
	} {
		r := rule(text)
		if got := r.Needs(); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	if got := parse(t, document).APIs[0].Routes[1].Needs(); got != "orders:write and (desk or (app and mfa))" {
		t.Errorf("both: %q", got)
	}
}

func TestEncode(t *testing.T) {
	first, err := parse(t, document).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := parse(t, string(first)).Encode(); err != nil || string(again) != string(first) {
		t.Errorf("%v\n%s\nbecomes\n%s", err, first, again)
	}
}

func TestRefusedRules(t *testing.T) {
	for rules, want := range map[string]string{
		"GET /a: x; GET /a: y":                   "GET /a was named before",
		"GET /{a}: x; GET /{b}: y":               "GET /{b} is the route GET /{a}, which was named before",
		"GET /{a}: x; ANY /{b}: y":               "ANY /{b} names the variables of GET /{a} otherwise",
		"ANY /{b}: x; GET /{a}: y":               "GET /{a} names the variables of ANY /{b} otherwise",
		"PUT /a/{b}/{c+}: x; GET /a/{b}/{d+}: y": "GET /a/{b}/{d+} names the variables of PUT /a/{b}/{c+} otherwise",
		"$default: x; $default: y":               "$default was named before",
		"$connect: x; GET /a: y":                 "$connect is the only route",
		"get /a: x":                              `"get" is no method`,
		"TRACE /a: x":                            `"TRACE" is no method`,
		"GET $default: x":                        "$default stands without a method",
		"/a: x":                                  `"" is no method`,
		"GET a: x":                               `"a" is no path`,
		"GET /a/: x":                             "ends with a slash",
		"GET /a//b: x":                           "two slashes in a row",
		"GET /a/../b: x":                         "the segment ..",
		"GET /a/*: x":                            "has a wildcard",
		"GET /a?: x":                             "has a wildcard",
		"GET /a/${b}: x":                         "malformed variable",
		"GET /a/{}: x":                           "malformed variable",
		"GET /a{b}: x":                           "malformed variable",
		"GET /{a b}: x":                          "malformed variable",
		"GET /{a*}: x":                           "has a wildcard",
		"GET /{a}/{a}: x":                        "the variable a twice",
		"GET /{a+}/b: x":                         "{a+} in \"/{a+}/b\" is not last",
		"GET /a%2Fb: x":                          "percent-encoding",
		"GET /ä: x":                              "characters",
		"GET /a\"b: x":                           "characters",
		"GET /a\x00: x":                          "characters",
		"GET /" + strings.Repeat("a", MaxPath) + ": x": "the path has 257 bytes, and may have 256",
		"GET /: a a": `the scope "a" is named twice`,
		`GET /: a"b`: `"a\"b" is no scope`,
		"GET /: ä":   `is no scope`,
	} {
		_, err := New([]API{api(false, strings.Split(rules, "; ")...)})
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Text, want) {
			t.Errorf("%s: %v", rules, err)
		}
	}
	if _, err := New([]API{api(false, "GET /$metadata: x", "GET /a.b~c-d_e@f:(1,2): y", "GET /a/{b}: x", "GET /a/{c}/d: y")}); err != nil {
		t.Error(err)
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	bad := api(false, "GET /a: x", "get /a: x", "GET /*: x")
	bad.ID = "?"
	_, err := New([]API{api(false, "GET /: x"), bad})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 3 {
		t.Fatalf("%v", err)
	}
	var places []string
	for _, err := range joined.Unwrap() {
		e := err.(*Error)
		places = append(places, fmt.Sprintf("%d %d %s", e.API, e.Route, e.Field))
	}
	if want := []string{"1 -1 api", "1 1 path", "1 2 path"}; !slices.Equal(places, want) {
		t.Errorf("%q", places)
	}
}

func TestRefusedDocuments(t *testing.T) {
	const good = `{"version":1,"apis":[{"api":"a","stage":"s","form":"token","complete":true,"routes":[{"method":"GET","path":"/a"}]}]}`
	parse(t, good)
	for _, c := range []struct{ old, new, want string }{
		{`"version":1`, `"version":2`, "has version 2"},
		{`"version":1,`, ``, "has version 0"},
		{`"version":1`, `"version":1,"version":1`, "twice"},
		{`"version"`, `"Version"`, `unknown member "Version"`},
		{`"stage"`, `"Stage"`, `unknown member "Stage"`},
		{`"method"`, `"verb"`, `unknown member "verb"`},
		{`"form":"token",`, ``, "the form is missing"},
		{`"form":"token"`, `"form":"policy"`, `"policy" is no form`},
		{`,"complete":true`, ``, "form token isn't safe here"},
		{`"path":"/a"`, `"path":"/a","any_of":[]`, "no alternative"},
		{`"path":"/a"`, `"path":"/a","any_of":[[]]`, "an alternative names no scope"},
		{`"path":"/a"`, `"path":"/a","all_of":"x"`, "an array is expected"},
		{`"path":"/a"`, `"path":7`, "a string is expected"},
		{`[{"method":"GET","path":"/a"}]`, `[]`, "there must be 1 to 600 routes"},
		{`"api":"a"`, `"api":"a b"`, "is no API's id"},
		{`"api":"a"`, `"api":"a","audiences":["x","x"]`, "named twice"},
		{`"api":"a"`, `"api":"a","audiences":[""]`, "is no audience"},
		{`"api":"a"`, `"api":"a","context":["sub"]`, `"sub" can't be told to backends besides`},
		{`"api":"a"`, `"api":"a","context":["iss","iss"]`, `"iss" is named twice`},
		{`"stage":"s"`, `"stage":"s/t"`, "is no stage's name"},
		{`}]}]}`, `}]}]} x`, "data after the end"},
		{`]}]}`, `]},{"api":"a","stage":"s","form":"token","routes":[{"path":"$connect"}]}]}`, "was named before"},
	} {
		data := strings.Replace(good, c.old, c.new, 1)
		if _, err := Parse([]byte(data)); err == nil || data == good || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: %v", c.new, c.old, err)
		}
	}
	if _, err := Parse([]byte(strings.Repeat(" ", MaxBytes) + good)); err == nil {
		t.Error("a document of any size is read")
	}
}

// FuzzParse has what is accepted written and read again: nothing is lost, and nothing unsafe or unbounded comes in.
func FuzzParse(f *testing.F) {
	f.Add([]byte(document))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			return
		}
		first, err := s.Encode()
		if err != nil {
			return // with its indentation it is too large
		}
		again, err := Parse(first)
		if err != nil {
			t.Fatalf("%q is refused when written again: %v", data, err)
		}
		if second, err := again.Encode(); err != nil || string(second) != string(first) {
			t.Fatalf("%s\nbecomes\n%s, %v", first, second, err)
		}
		for i := range s.APIs {
			a := &s.APIs[i]
			if a.Form == FormToken && len(a.Analyse().Obstacles) > 0 {
				t.Fatalf("%s: form token isn't safe", first)
			}
			for j := range a.Routes {
				if r := &a.Routes[j]; a.Route(r.Method, r.Path) != r {
					t.Fatalf("%s: %s isn't found", first, r.Key())
				}
			}
		}
	})
}

// BenchmarkParse is what rules cost a cold start: 80 routes in form token, 300 in form route.
func BenchmarkParse(b *testing.B) {
	for _, n := range []int{80, 300} {
		var rules []string
		for i := range n {
			rules = append(rules, fmt.Sprintf("GET /v1/things-%03d/{id}: things:read", i))
		}
		s, err := New([]API{api(true, rules...)})
		if err != nil {
			b.Fatal(err)
		}
		data, err := s.Encode()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d-%s", n, s.APIs[0].Form), func(b *testing.B) {
			for b.Loop() {
				if _, err := Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
