package routefile

import (
	"strings"
	"testing"
)

const openapi = `openapi: 3.0.3
info: {title: Orders, version: "1"}
servers:
  - url: https://api.acme.example/v1
security:
  - oauth: [orders:read]
paths:
  /orders:
    summary: All orders
    get: {responses: {200: {description: OK}}}
    post:
      security:
        - oauth: [orders:write, orders:read]
        - oidc: ["admin"]
  /orders/{id}:
    parameters: []
    delete:
      security: [{oauth: [orders:write], key: []}, {key: []}]
    put: {security: [{oauth: []}, {oidc: [admin]}]}
  /health:
    get: {security: []}
    head: {security: [{}, {oauth: [a]}]}
  /key:
    get: {security: [{key: []}, {basic: []}]}
  /$default:
    x-amazon-apigateway-any-method: {security: [{lambda: []}]}
  /any/{proxy+}:
    x-amazon-apigateway-any-method: {security: [{token: ["1", "a:b", "yes", "#x"]}]}
    x-amazon-apigateway-cors: {}
components:
  securitySchemes:
    oauth: {type: oauth2, flows: {}}
    oidc: {type: openIdConnect, openIdConnectUrl: https://id.acme.example}
    token: {type: http, scheme: Bearer}
    basic: {type: http, scheme: basic}
    key: {type: apiKey, in: header, name: X-API-Key}
    lambda: {type: apiKey, in: header, name: Authorization, x-amazon-apigateway-authorizer: {type: request}}
`

func TestOpenAPI(t *testing.T) {
	doc, err := ParseOpenAPI("orders.yaml", []byte(openapi))
	if err != nil {
		t.Fatal(err)
	}
	got, err := doc.Rules(Header{API: "*", Stage: "prod", Audiences: []string{"https://api.acme.example"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = "# Made by `latchkey routes from-openapi` of orders.yaml." + `
# Note: a server's URL has the path /v1: the rules are without it, as an import into API Gateway is (basepath=ignore).
version: 1
apis:
  - api: "*"
    stage: prod
    audiences:
      - https://api.acme.example
    complete: true # these are all routes of the API
    routes:
      GET /orders: orders:read
      POST /orders: {any: [orders:write orders:read, admin]}
      # DELETE /orders/{id}: key (apiKey), asked for besides, is not checked by the authorizer.
      # DELETE /orders/{id}: the alternative key (apiKey) is left out: no access token serves it.
      DELETE /orders/{id}: orders:write
      PUT /orders/{id}: [] # any valid token
      # GET /health is public: its security is [].
      # HEAD /health is public: its security has the alternative {}.
      # GET /key is not for access tokens: none of its security schemes is.
      # GET /key: the alternative key (apiKey) is left out: no access token serves it.
      # GET /key: the alternative basic (http basic) is left out: no access token serves it.
      $default: [] # any valid token
      ANY /any/{proxy+}: "1 a:b yes #x"
`
	if string(got) != want {
		t.Errorf("%s", got)
	}
}

func TestOpenAPIInJSON(t *testing.T) {
	doc, err := ParseOpenAPI("d.json", []byte(`{"openapi": "3.1.0", "paths": {"/a": {"get": {"security": [{"t": ["a\u002fb"]}]}}},
"components": {"securitySchemes": {"t": {"type": "http", "scheme": "bearer"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := doc.Rules(Header{API: "0123456789", Stage: "$default"})
	if err != nil || !strings.HasSuffix(string(got), "      GET /a: a/b\n") || !strings.Contains(string(got), `api: "0123456789"`) {
		t.Errorf("%s, %v", got, err)
	}
}

func TestOpenAPIErrors(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"openapi: 3.0.3", "swagger: 2.0", "d:1:1: this is no OpenAPI 3 document: it has no member openapi"},
		{"openapi: 3.0.3", "openapi: 4.0.0", `d:1:10: the version is "4.0.0": 3.0 and 3.1 are known`},
		{"paths:", "x-paths:", "d:1:1: the document has no paths"},
		{"    summary: All orders\n", "    $ref: x\n", "d:9:5: $ref isn't followed: write the path /orders out"},
		{"    summary: All orders\n", "    GET: {}\n", `d:9:5: a path has no "GET"`},
		{"    summary: All orders\n", "    trace: {}\n", "d:9:5: API Gateway has no routes for TRACE"},
		{"    summary: All orders\n", "    <<: {}\n", "d:9:5: << is a merge: write out what it stands for"},
		{"    summary: All orders\n", "    head: []\n", "d:9:11: an operation must be a mapping, and is a list"},
		{"        - oidc:", "        - idp:", "d:14:11: components.securitySchemes has no idp"},
		{`["admin"]`, `admin`, "d:14:17: scopes must be a list, and is text"},
		{"get: {security: []}", "get: {security: {}}", "d:21:21: security must be a list, and is a mapping"},
		{"{type: http, scheme: Bearer}", "{scheme: Bearer}", "d:34:5: the scheme token has no type"},
		{"{type: http, scheme: Bearer}", "{$ref: x}", "d:34:12: $ref isn't followed: write the scheme token out"},
	} {
		data := strings.Replace(openapi, c.old, c.new, 1)
		_, err := ParseOpenAPI("d", []byte(data))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want || data == openapi {
			t.Errorf("%s:\n  %s\nwant\n  %s", c.new, got, c.want)
		}
	}
	// What is no rule has the place of the operation.
	for old, want := range map[string]string{
		"  /orders/{id}:|  /orders/{id}.json:": `d:17:5: "/orders/{id}.json" has a malformed variable: a variable is a whole segment, {name} or, at the end, {name+}
d:19:5: "/orders/{id}.json" has a malformed variable: a variable is a whole segment, {name} or, at the end, {name+}`,
		"orders:write, orders:read|\"\\u00e4\"": `d:11:5: "ä" is no scope: those are printable ASCII without spaces, quotes and backslashes (RFC 6749 section 3.3)`,
	} {
		old, new, _ := strings.Cut(old, "|")
		doc, err := ParseOpenAPI("d", []byte(strings.Replace(openapi, old, new, 1)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = doc.Rules(Header{API: "*", Stage: "*"})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", new, err)
		}
	}
	doc, err := ParseOpenAPI("d", []byte("openapi: 3.0.0\npaths: {/a: {get: {}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := doc.Rules(Header{API: "*", Stage: "*"}); err == nil || !strings.Contains(err.Error(), "no rules to write") {
		t.Errorf("%v", err)
	}
}

// FuzzOpenAPI has no document make the reader panic, and what it makes rules of, its rules say.
func FuzzOpenAPI(f *testing.F) {
	f.Add([]byte(openapi))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := ParseOpenAPI("d", data)
		if err != nil {
			return
		}
		out, err := doc.Rules(Header{API: "*", Stage: "*"})
		if err != nil {
			return
		}
		file, err := Parse("rules", out)
		if err != nil {
			t.Fatalf("%q gives rules that are refused: %v\n%s", data, err, out)
		}
		var with []Operation
		for _, op := range doc.Operations {
			if op.Without == "" {
				with = append(with, op)
			}
		}
		got := file.Set.APIs[0].Routes
		if len(got) != len(with) {
			t.Fatalf("%q: %d rules of %d operations\n%s", data, len(got), len(with), out)
		}
		for i := range got {
			want := &with[i].Route
			if got[i].Key() != want.Key() || !got[i].Implies(want) || !want.Implies(&got[i]) {
				t.Fatalf("%q: %s needs %s, and the rule is %s: %s", data, want.Key(), want.Needs(), got[i].Key(), got[i].Needs())
			}
		}
	})
}
