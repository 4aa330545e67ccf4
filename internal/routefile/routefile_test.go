package routefile

import (
	"os"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/pkg/routes"
)

const rules = `version: 1
apis:
  - api: a1b2c3d4e5
    stage: prod
    audiences: [https://api.acme.example]
    complete: true
    bound: true
    context: [auth_time]
    routes:
      GET /orders: orders:read
      POST /orders:
        all: [orders:write]
        any: [desk, app mfa]
      GET /orders/{id}: [orders:read, orders:detail]
      GET /health: []
  - api: "*"
    stage: "*"
    form: route
    routes:
      $default: other
`

func TestParse(t *testing.T) {
	f, err := Parse("rules.yaml", []byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Set.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "version": 1,
  "apis": [
    {
      "api": "a1b2c3d4e5",
      "stage": "prod",
      "audiences": [
        "https://api.acme.example"
      ],
      "form": "token",
      "complete": true,
      "bound": true,
      "context": [
        "auth_time"
      ],
      "routes": [
        {
          "method": "GET",
          "path": "/orders",
          "all_of": [
            "orders:read"
          ]
        },
        {
          "method": "POST",
          "path": "/orders",
          "all_of": [
            "orders:write"
          ],
          "any_of": [
            [
              "desk"
            ],
            [
              "app",
              "mfa"
            ]
          ]
        },
        {
          "method": "GET",
          "path": "/orders/{id}",
          "all_of": [
            "orders:read",
            "orders:detail"
          ]
        },
        {
          "method": "GET",
          "path": "/health"
        }
      ]
    },
    {
      "api": "*",
      "stage": "*",
      "form": "route",
      "routes": [
        {
          "path": "$default",
          "all_of": [
            "other"
          ]
        }
      ]
    }
  ]
}
`
	if string(got) != want {
		t.Errorf("%s", got)
	}
	if p := f.Place(0, 2); p != (Place{14, 7}) {
		t.Errorf("GET /orders/{id} is at %v", p)
	}
	if p := f.Place(1, -1); p != (Place{16, 5}) || f.Forced(0) || !f.Forced(1) {
		t.Errorf("the second API is at %v", p)
	}
}

func TestErrors(t *testing.T) {
	const good = "version: 1\napis:\n  - api: a\n    stage: s\n    routes:\n      GET /a: x\n"
	if _, err := Parse("f", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{good, "", "f: the file is empty"},
		{good, "# nothing\n", "f: the file is empty"},
		{good, "- a\n", "f:1:1: a rules file must be a mapping, and is a list"},
		{"version: 1", "version: 2", "f:1:10: the version must be 1: no other is known"},
		{"version: 1", `version: "1"`, "f:1:10: the version must be 1: no other is known"},
		{"version: 1\n", "", "f:1:1: the version is missing: version: 1"},
		{"apis:", "api:", `f:2:1: a rules file has no "api": it may have version, apis`},
		{"    stage: s\n", "", `f:3:5: stage is missing ("*" is any)`},
		{"stage: s", "stage: [s]", "f:4:12: stage must be text, and is a list"},
		{"stage: s", "stage: 7", "f:4:12: stage must be text, and is a number (quote it if it is text)"},
		{"api: a", "api: 1234567890", "f:3:10: api must be text, and is a number (quote it if it is text)"},
		{"stage: s", "stage: s/t", `f:4:12: "s/t" is no stage's name: those are letters, digits, - and _, or $default, or * for any`},
		{"stage: s", "stage: s\n    stage: t", "f:5:5: stage was there before, in line 4"},
		{"stage: s", "stage: s\n    audience: [a]", `f:5:5: an API has no "audience": it may have api, stage, audiences, form, complete, bound, context, routes`},
		{"stage: s", "stage: s\n    audiences: []", "f:5:16: audiences names none: without it they are the deployment's"},
		{"stage: s", "stage: s\n    audiences: a", "f:5:16: audiences must be a list, and is text"},
		{"stage: s", "stage: s\n    complete: yes", "f:5:15: complete must be true or false"},
		{"stage: s", "stage: s\n    form: cached", `f:5:11: "cached" is no form: those are token and route`},
		{"stage: s", "stage: s\n    context: [sub]", `f:5:14: "sub" can't be told to backends besides: that is aud, auth_time, iat, iss`},
		{"GET /a: x", "GET /a: x\n      GET /a: y", "f:7:7: GET /a was there before, in line 6"},
		{"GET /a: x", "GET /{a}: x\n      GET /{b}: y", "f:7:7: GET /{b} is the route GET /{a}, which was named before: names of variables don't tell routes apart"},
		{"GET /a: x", "GET /{a}: x\n      ANY /{b}: y", "f:7:7: ANY /{b} names the variables of GET /{a} otherwise: the rules of one path must write it alike, as must the API's routes"},
		{"GET /a: x", "get /a: x", `f:6:7: "get" is no method: those are GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS and ANY`},
		{"GET /a: x", "/a: x", `f:6:7: "" is no method: those are GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS and ANY`},
		{"GET /a: x", "GET  /a: x", `f:6:7: " /a" is no path: those begin with /, or are $default or $connect`},
		{"GET /a: x", "GET /a/*: x", `f:6:7: "/a/*" has a wildcard: variables are written {name}, and {name+} for all the rest`},
		{"GET /a: x", "GET /a:", "f:6:7: GET /a doesn't say what it needs: scopes, or [] for any valid token"},
		{"GET /a: x", "GET /a: {}", "f:6:15: GET /a doesn't say what it needs: scopes, or [] for any valid token"},
		{"GET /a: x", `GET /a: ""`, "f:6:15: a scope is empty"},
		{"GET /a: x", "GET /a: true", "f:6:15: a scope must be text, and is true or false (quote it if it is text)"},
		{"GET /a: x", "GET /a: x  y", `f:6:15: "" is no scope: those are printable ASCII without spaces, quotes and backslashes (RFC 6749 section 3.3)`},
		{"GET /a: x", "GET /a: [x y]", `f:6:15: "x y" is no scope: those are printable ASCII without spaces, quotes and backslashes (RFC 6749 section 3.3)`},
		{"GET /a: x", "GET /a: x x", `f:6:15: the scope "x" is named twice`},
		{"GET /a: x", "GET /a: {all: []}", "f:6:21: all names no scope"},
		{"GET /a: x", "GET /a: {any: []}", "f:6:21: any names no scope"},
		{"GET /a: x", "GET /a: {any: x}", "f:6:21: any must be a list, and is text"},
		{"GET /a: x", "GET /a: {any: [[x]]}", "f:6:22: each of any must be text, and is a list"},
		{"GET /a: x", "GET /a: {one: x}", `f:6:16: a rule has no "one": it may have all, any`},
		{"GET /a: x", "GET /ä: x", `f:6:7: "/ä" has characters that the path of a route doesn't have`},
		{"stage: s", "stage: s\n    form: token\n    complete: true", ""},
		{"stage: s\n    routes:\n      GET /a: x", "stage: s\n    form: token\n    complete: true\n    routes:\n      GET /{a}: x\n      GET /{a}/b: y",
			"f:5:11: form token isn't safe here: GET /{a} would be listed as GET/*, which may match a request of GET /{a}/b, and who has x need not have y"},
		// What YAML has beyond this.
		{"api: a", "api: &x a", "f:3:10: &x is an anchor: aliases aren't followed"},
		{"api: a\n    stage: s", "api: &x a\n    stage: *x", "f:3:10: &x is an anchor: aliases aren't followed\nf:4:12: *x is an alias: write out what it stands for (and * in quotes)"},
		{"api: a", "api: !!str a", "f:3:10: !!str is a tag: values are taken as they are"},
		{"stage: s", "stage: s\n    <<: {form: token}", "f:5:5: << is a merge: write out what it stands for"},
		{"stage: s", "stage: s\n    [a]: b", "f:5:5: a key must be text"},
		{good, good + "---\nversion: 1\n", "f:7:1: a second document begins here: a file has one"},
		{"stage: s", "stage: [s", "f:5:11: did not find expected ',' or ']'"},
		{"stage: s", "\tstage: s", "f:4:5: found a tab character that violates indentation"},
		{"api: a", "api: *", `f:3:11: did not find expected alphabetic or numeric character (a value that begins with * or & stands in quotes)`},
	} {
		data := strings.Replace(good, c.old, c.new, 1)
		_, err := Parse("f", []byte(data))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s:\n  %s\nwant\n  %s", c.new, got, c.want)
		}
	}
}

func TestSeveralErrorsAtOnce(t *testing.T) {
	const data = "version: 1\napis:\n  - api: a\n    stage: s\n    routes:\n      GET /a/: x\n      PUT /b: x\n      get /c: x\n  - api: a\n    stage: s\n    bound: maybe\n    routes: {}\n"
	_, err := Parse("f", []byte(data))
	if err == nil || err.Error() != "f:11:12: bound must be true or false" {
		t.Errorf("%v", err) // what the rules say isn't looked into before they can be read
	}
	_, err = Parse("f", []byte(strings.Replace(data, "maybe", "true", 1)))
	const want = `f:6:7: "/a/" ends with a slash: API Gateway routes the path with it like that without
f:8:7: "get" is no method: those are GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS and ANY
f:9:10: API a with stage s was named before
f:12:13: there must be 1 to 600 routes, and here are 0`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestWarnings(t *testing.T) {
	var routeLines = []string{
		"ANY /a: x", "GET /a: x", "HEAD /a: x", "POST /a: x", "PUT /a: x", "PATCH /a: x", "DELETE /a: x", "OPTIONS /a: x",
		"GET /b: {any: [x, x y, z]}", "GET /c: {all: [x], any: [x z, y]}", "GET /d: {any: [x y, y x]}",
	}
	f, err := Parse("f", []byte("version: 1\napis:\n  - api: a\n    stage: s\n    form: route\n    complete: true\n    routes:\n      "+strings.Join(routeLines, "\n      ")))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"f:5:11: form token would be as safe here, and let one answer be cached for all routes",
		"f:8:7: ANY /a is never reached: each method of the path has a rule of its own",
		`f:16:15: GET /b: "x y" of any changes nothing, since "x" suffices`,
		"f:17:15: GET /c: any names x, which all asks for anyway",
		`f:18:15: GET /d: "y x" of any changes nothing, since "x y" suffices`,
	}
	got := Problems(f.Warnings())
	if got.Error() != strings.Join(want, "\n") {
		t.Errorf("%v", got)
	}
}

func TestLocate(t *testing.T) {
	f, err := Parse("f", []byte(`version: 1
apis:
  - api: a
    stage: s
    routes:
      GET /: x
      GET /orders: x
      ANY /orders: x
      GET /orders/{id}: x
      POST /orders/export: x
      GET /orders/{id}/lines: x
      GET /{a}/{b}/{c+}: x
      $default: x
`))
	if err != nil {
		t.Fatal(err)
	}
	a := &f.Set.APIs[0]
	for _, c := range []struct{ method, path, http, rest string }{
		{"GET", "/", "GET /", "GET /"},
		{"GET", "/orders", "GET /orders", "GET /orders"},
		{"GET", "/orders/", "GET /orders", "GET /orders"},
		{"PUT", "/orders", "ANY /orders", "ANY /orders"},
		{"GET", "/orders/7", "GET /orders/{id}", "GET /orders/{id}"},
		{"GET", "/orders/7/lines", "GET /orders/{id}/lines", "GET /orders/{id}/lines"},
		{"GET", "/orders/7/lines/8", "GET /{a}/{b}/{c+}", "GET /{a}/{b}/{c+}"},
		{"GET", "/orders/7/other", "GET /{a}/{b}/{c+}", "GET /{a}/{b}/{c+}"},
		{"POST", "/orders/export", "POST /orders/export", "POST /orders/export"},
		{"GET", "/orders/export", "GET /orders/{id}", ""}, // the path has no GET of its own
		{"PUT", "/else", "$default", "$default"},
	} {
		for rest, want := range map[bool]string{false: c.http, true: c.rest} {
			got := ""
			if r := Locate(a, rest, c.method, c.path); r != nil {
				got = r.Key()
			}
			if got != want {
				t.Errorf("%s %s, REST %v: %q, want %q", c.method, c.path, rest, got, want)
			}
		}
	}
}

// FuzzParse has no file make the reader panic, and what it takes is what the authorizer takes.
func FuzzParse(f *testing.F) {
	f.Add([]byte(rules))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("f", data)
		if err != nil {
			problems, ok := err.(Problems)
			if !ok || len(problems) == 0 {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		file.Warnings()
		compiled, err := file.Set.Encode()
		if err != nil {
			return // too large
		}
		set, err := routes.Parse(compiled)
		if err != nil {
			t.Fatalf("%q: compiled, it is refused: %v\n%s", data, err, compiled)
		}
		if again, err := set.Encode(); err != nil || string(again) != string(compiled) {
			t.Fatalf("%s\nbecomes\n%s, %v", compiled, again, err)
		}
	})
}

// TestDocumented has the rules of docs/route-rules.md read as that page says.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/route-rules.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```yaml\n")
	block, _, _ = strings.Cut(block, "```\n")
	f, err := Parse("docs", []byte(block))
	if err != nil {
		t.Fatal(err)
	}
	for route, want := range map[string]string{
		"GET /orders": "orders:read", "POST /orders": "orders:write and desk", "GET /health": "any valid token",
		"PUT /orders/{id}": "orders:write and (desk or (app and mfa))", "DELETE /files/{proxy+}": "files",
	} {
		r := f.Set.APIs[0].Route(splitKey(route))
		if r == nil || r.Needs() != want {
			t.Errorf("%s: %v", route, r)
		}
	}
	if a := f.Set.APIs[0]; a.Form != routes.FormToken {
		t.Errorf("form %s: %v", a.Form, a.Analyse().Obstacles)
	}
	if len(f.Warnings()) > 0 {
		t.Error(f.Warnings())
	}
}
