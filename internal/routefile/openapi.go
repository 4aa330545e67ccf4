package routefile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/latchkey-auth/latchkey/pkg/routes"
)

// Operation is one route of an OpenAPI document, in the document's order.
type Operation struct {
	routes.Route
	Place Place
	// Without says why the route has no rule; empty where it has one.
	Without string
	// Notes are what people should know of the rule.
	Notes []string
}

// OpenAPI is what an OpenAPI document says of who may call its routes.
type OpenAPI struct {
	Name       string
	Operations []Operation
	Notes      []string
}

// The members of a path item that are routes of API Gateway.
var operations = map[string]string{
	"get": "GET", "head": "HEAD", "post": "POST", "put": "PUT", "patch": "PATCH", "delete": "DELETE", "options": "OPTIONS",
	"x-amazon-apigateway-any-method": "ANY",
}

// The other members of a path item.
var otherMembers = []string{"summary", "description", "servers", "parameters"}

// document is an OpenAPI document that is being read.
type document struct {
	*reader
	schemes map[string]string // by name, why tokens don't serve it; empty where they do
	global  *yaml.Node        // the document's own security
	out     *OpenAPI
}

// ParseOpenAPI reads the security sections of an OpenAPI 3.0 or 3.1 document, in YAML or JSON. The error is Problems.
//
// Of a route's alternatives (its security requirement objects), each is a conjunction of scopes. The schemes that count are
// oauth2, openIdConnect, http bearer, and what API Gateway takes an authorizer's definition with: what an access token
// serves. A requirement of any other scheme is checked elsewhere, if at all, and noted.
func ParseOpenAPI(name string, data []byte) (*OpenAPI, error) {
	d := &document{reader: &reader{file: name}, schemes: map[string]string{}, out: &OpenAPI{Name: name}}
	if root := d.load(data); root != nil {
		d.read(root)
	}
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	return d.out, nil
}

// member returns a mapping's value for a key, nil where there is none.
func member(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func value(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

func (d *document) read(root *yaml.Node) {
	version := member(root, "openapi")
	switch v := value(version); {
	case version == nil:
		d.bad(at(root), "this is no OpenAPI 3 document: it has no member openapi")
		return
	case !strings.HasPrefix(v, "3.0.") && !strings.HasPrefix(v, "3.1."):
		d.bad(at(version), "the version is %q: 3.0 and 3.1 are known", v)
		return
	}
	paths := member(root, "paths")
	if paths == nil {
		d.bad(at(root), "the document has no paths")
		return
	}
	d.readSchemes(member(member(root, "components"), "securitySchemes"))
	d.global = member(root, "security")
	d.noteServers(member(root, "servers"))
	for _, p := range d.pairs(paths, "paths") {
		if !strings.HasPrefix(p.key.Value, "x-") {
			d.readPath(p)
		}
	}
	if len(d.out.Operations) == 0 && len(d.problems) == 0 {
		d.bad(at(paths), "paths has no operation")
	}
}

func (d *document) readSchemes(n *yaml.Node) {
	if n == nil {
		return
	}
	for _, p := range d.pairs(n, "securitySchemes") {
		name, scheme := p.key.Value, p.value
		d.schemes[name] = ""
		if member(scheme, "$ref") != nil {
			d.bad(at(p.value), "$ref isn't followed: write the scheme %s out", name)
			continue
		}
		switch kind := value(member(scheme, "type")); {
		case kind == "oauth2", kind == "openIdConnect",
			kind == "http" && strings.EqualFold(value(member(scheme, "scheme")), "bearer"),
			kind == "apiKey" && member(scheme, "x-amazon-apigateway-authorizer") != nil:
		case kind == "http":
			d.schemes[name] = "http " + value(member(scheme, "scheme"))
		case kind == "":
			d.bad(at(p.key), "the scheme %s has no type", name)
		default:
			d.schemes[name] = kind
		}
	}
}

// noteServers says where routes begin: API Gateway leaves the path of a server out unless it is told otherwise.
func (d *document) noteServers(n *yaml.Node) {
	if n == nil || n.Kind != yaml.SequenceNode {
		return
	}
	for _, server := range n.Content {
		u, err := url.Parse(value(member(server, "url")))
		if err == nil && strings.Trim(u.Path, "/") != "" {
			d.out.Notes = append(d.out.Notes, fmt.Sprintf(
				"a server's URL has the path %s: the rules are without it, as an import into API Gateway is (basepath=ignore)", u.Path))
			return
		}
	}
}

func (d *document) readPath(p pair) {
	if member(p.value, "$ref") != nil {
		d.bad(at(p.value), "$ref isn't followed: write the path %s out", p.key.Value)
		return
	}
	for _, op := range d.pairs(p.value, "a path") {
		name := op.key.Value
		method, known := operations[name]
		switch {
		case known:
			d.readOperation(p.key.Value, method, op)
		case name == "trace":
			d.bad(at(op.key), "API Gateway has no routes for TRACE")
		case !strings.HasPrefix(name, "x-") && !slices.Contains(otherMembers, name):
			d.bad(at(op.key), "a path has no %q", name)
		}
	}
}

func (d *document) readOperation(path, method string, p pair) {
	op := Operation{Route: routes.Route{Method: method, Path: path}, Place: at(p.key)}
	if path == "/$default" && method == "ANY" { // as HTTP APIs are exported
		op.Method, op.Path = "", "$default"
	}
	if p.value.Kind != yaml.MappingNode {
		d.bad(at(p.value), "an operation must be a mapping, and is %s", kind(p.value))
		return
	}
	security := member(p.value, "security")
	if security == nil {
		security = d.global
	}
	switch {
	case security == nil:
		op.Without = "is public: neither it nor the document has security"
	case security.Kind != yaml.SequenceNode:
		d.bad(at(security), "security must be a list, and is %s", kind(security))
		return
	case len(security.Content) == 0:
		op.Without = "is public: its security is []"
	default:
		d.readSecurity(&op, security)
	}
	d.out.Operations = append(d.out.Operations, op)
}

// readSecurity makes a rule of a list of alternatives.
func (d *document) readSecurity(op *Operation, security *yaml.Node) {
	var alternatives [][]string
	tokenOnly := false // an alternative asks for a valid token without any scope
	for _, n := range security.Content {
		requirement := d.pairs(n, "a security requirement")
		if n.Kind == yaml.MappingNode && len(requirement) == 0 {
			op.Without = "is public: its security has the alternative {}"
			return
		}
		scopes, others, token := []string{}, []string{}, false
		for _, p := range requirement {
			other, known := d.schemes[p.key.Value]
			switch {
			case !known:
				d.bad(at(p.key), "components.securitySchemes has no %s", p.key.Value)
			case other != "":
				others = append(others, fmt.Sprintf("%s (%s)", p.key.Value, other))
			default:
				token = true
				for _, s := range d.list(p.value, "scopes") {
					if !slices.Contains(scopes, s) {
						scopes = append(scopes, s)
					}
				}
			}
		}
		switch {
		case !token && len(others) > 0:
			op.Notes = append(op.Notes, fmt.Sprintf("the alternative %s is left out: no access token serves it", strings.Join(others, " and ")))
			continue
		case len(others) > 0:
			op.Notes = append(op.Notes, fmt.Sprintf("%s, asked for besides, is not checked by the authorizer", strings.Join(others, " and ")))
		}
		tokenOnly = tokenOnly || token && len(scopes) == 0
		alternatives = append(alternatives, scopes)
	}
	switch {
	case len(alternatives) == 0:
		op.Without = "is not for access tokens: none of its security schemes is"
	case tokenOnly: // and the other alternatives ask for more
	case len(alternatives) == 1:
		op.AllOf = alternatives[0]
	default:
		op.AnyOf = alternatives
	}
}
